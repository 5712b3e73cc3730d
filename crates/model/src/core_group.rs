//! The cluster's own group: the address and the name by which it is administered.
//!
//! The cluster makes it and ends it; nothing of anybody else is in it or hangs on it. The name of
//! the group and those of its resources are nobody else's, whether there is one or not.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{GroupId, ResourceId};

/// Name of the group.
pub const CORE_GROUP: &str = "cluster";
/// Name of its address, an `ip-address`.
pub const CLUSTER_IP: &str = "cluster-ip";
/// Name of its name, a `network-name`.
pub const CLUSTER_NAME: &str = "cluster-name";

/// Whether this is the cluster's own group.
#[must_use]
pub fn is_core(group: &GroupId) -> bool {
    group.as_str() == CORE_GROUP
}

/// Whether this is the name of a resource of the cluster's own group.
#[must_use]
pub fn is_core_resource(resource: &ResourceId) -> bool {
    matches!(resource.as_str(), CLUSTER_IP | CLUSTER_NAME)
}

/// The cluster IP as somebody wants it; what is absent stays as it is.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterIp {
    /// The address, as in `10.1.0.100` or `10.1.0.100/24`. Without a prefix length it has that of
    /// the cluster's network that it is in.
    #[serde(default)]
    pub address: Option<String>,
    /// How the name of the cluster is published in DNS: properties of `network-name` other than
    /// `host-name`; what is not named stays. Empty: it is published no more.
    #[serde(default)]
    pub name: Option<BTreeMap<String, String>>,
}
