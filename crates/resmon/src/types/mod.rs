//! The built-in resource types: one file each.

mod dummy;
mod external;
mod generic_application;
mod generic_script;
mod generic_service;
mod installed;
mod ip_address;
mod network_name;
mod ocf;
mod physical_disk;
mod place;
mod program;

use std::sync::Arc;

use stead_model::order::OnlineSpec;
use stead_model::resource_type::{GENERIC_SCRIPT, GENERIC_SERVICE, NETWORK_NAME, PHYSICAL_DISK};

pub(crate) use generic_application::sentence;
pub(crate) use installed::program;
pub(crate) use ocf::catalogue as agents;
pub(crate) use program::PATH;

use crate::resource_type::{Context, Fault, Properties, ResourceType};

/// Opens a resource: reads its properties, touches nothing.
///
/// # Errors
/// The type is unknown or a property is wrong.
pub fn open(spec: &OnlineSpec, context: Context) -> Result<Arc<dyn ResourceType>, Fault> {
    let properties = Properties::of(spec);
    match spec.kind.as_str() {
        "dummy" => Ok(Arc::new(dummy::Dummy::open(&properties, context)?)),
        "generic-application" => {
            let opened = generic_application::GenericApplication::open(&properties, context)?;
            Ok(Arc::new(opened))
        }
        GENERIC_SCRIPT => {
            Ok(Arc::new(generic_script::GenericScript::open(spec, &properties, context)?))
        }
        GENERIC_SERVICE => {
            Ok(Arc::new(generic_service::GenericService::open(&properties, context)?))
        }
        PHYSICAL_DISK => Ok(Arc::new(physical_disk::PhysicalDisk::open(&properties, context)?)),
        NETWORK_NAME => Ok(Arc::new(network_name::NetworkName::open(spec, &properties, context)?)),
        "ip-address" => Ok(Arc::new(ip_address::IpAddress::open(&properties, context)?)),
        agent if stead_model::ocf::agent(agent).is_some() => {
            Ok(Arc::new(ocf::Ocf::open(spec, &properties, context)?))
        }
        program if stead_model::external::program(program).is_some() => {
            Ok(Arc::new(external::External::open(spec, &properties, context)?))
        }
        other => Err(Fault::Failed(format!("this node knows no resource type `{other}`"))),
    }
}
