//! The room of a node: what it has for groups, and what else runs there that the cluster does not
//! look after.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::amounts::Amounts;

/// Most services of its own that a node may list.
pub const LOCAL_MAX: usize = 64;

/// What a node has, and what it does besides.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Room {
    /// What it has. Of processors and memory that are not named it is not limited; of any other
    /// unit it has none.
    pub capacity: Amounts,
    /// Services of its own, by name, with what they need: they never fail over.
    pub local: BTreeMap<String, Amounts>,
}

impl Room {
    /// What its own services need of a unit.
    #[must_use]
    pub fn local_use(&self, unit: &str) -> u64 {
        self.local.values().filter_map(|amounts| amounts.get(unit)).sum()
    }

    /// Whether nothing is said of the node.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.capacity.is_empty() && self.local.is_empty()
    }
}
