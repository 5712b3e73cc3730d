//! What an agent does besides starting processes, as far as the guard can undo it.
//!
//! The address of `IPaddr2` and the file system of `Filesystem` are admitted before the agent makes
//! them, so the end of the lease reaches them as it reaches those of our own types: the address
//! falls silent and is taken away, the file system is shut down and detached.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use stead_model::ocf::Reach;
use stead_model::wire::guard::{AddressUndo, Claim, InstanceId, MountUndo, Thing, ThingKind};

use crate::resource_type::{Call, Context, Fault};

/// Where agents keep their own state; Debian's `resource-agents` makes it at boot.
const STATE_FOLDER: &str = "/run/resource-agents";

/// Makes the folder in which agents keep their state, where nobody else did.
pub(super) fn make_folder() {
    // An agent that needs it says what is wrong.
    drop(fs::create_dir_all(STATE_FOLDER));
}

/// Asks the guard for what the agent will make besides processes.
pub(super) fn admit(
    reach: &Reach,
    context: &Context,
    call: &Call,
) -> Result<Option<InstanceId>, Fault> {
    let thing = match reach {
        Reach::Processes => return Ok(None),
        Reach::Unknown => {
            let text = "what its agent changes besides starting processes only the agent can \
                        undo: at the end of a lease that stays";
            context.push.notice(text);
            return Ok(None);
        }
        Reach::Address(address) => {
            let what = format!("{address} of resource `{}`", call.claim.resource);
            Thing::Address(AddressUndo { what, address: *address, request: Vec::new() })
        }
        Reach::FileSystem { device, directory } => Thing::Mount(mount(device, directory)?),
    };
    context.guard.admit(&call.claim, thing, &call.cancel).map(Some).map_err(Fault::from)
}

/// What the guard holds since an earlier monitor.
pub(super) fn find(reach: &Reach, context: &Context, claim: &Claim) -> Option<InstanceId> {
    let kind = match reach {
        Reach::Processes | Reach::Unknown => return None,
        Reach::Address(_) => ThingKind::Address,
        Reach::FileSystem { .. } => ThingKind::Mount,
    };
    context.guard.thing_of(&claim.resource, kind)
}

/// The agent made it: the guard gets a descriptor of a file system.
pub(super) fn made(reach: &Reach, context: &Context, instance: Option<InstanceId>) {
    if let (Reach::FileSystem { directory, .. }, Some(instance)) = (reach, instance)
        && let Ok(root) = fs::File::open(directory)
    {
        context.guard.mounted(instance, root.as_fd());
    }
}

/// The agent is about to take it away.
pub(super) fn unmaking(reach: &Reach, context: &Context, instance: Option<InstanceId>) {
    if let (Reach::FileSystem { .. }, Some(instance)) = (reach, instance) {
        context.guard.unmounting(instance);
    }
}

fn mount(device: &str, directory: &str) -> Result<MountUndo, Fault> {
    let named =
        [("LABEL=", "by-label"), ("-L", "by-label"), ("UUID=", "by-uuid"), ("-U", "by-uuid")];
    let link = named.iter().find_map(|(form, folder)| {
        let name = device.strip_prefix(form)?.trim();
        Some(Path::new("/dev/disk").join(folder).join(name))
    });
    let path = link.unwrap_or_else(|| device.into());
    let failed = |why: String| Fault::Failed(format!("device `{device}`: {why}"));
    let path = path.canonicalize().map_err(|e| failed(e.to_string()))?;
    let found = fs::metadata(&path).map_err(|e| failed(e.to_string()))?;
    if !found.file_type().is_block_device() {
        return Err(failed("it is no block device".into()));
    }
    // The agent makes the directory where it is missing.
    let point = Path::new(directory).canonicalize().unwrap_or_else(|_| directory.into());
    Ok(MountUndo {
        what: format!("{device} at {directory}"),
        device: path.to_string_lossy().into_owned(),
        number: found.rdev(),
        point: point.to_string_lossy().into_owned(),
    })
}
