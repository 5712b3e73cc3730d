//! Roles: how much somebody who asks a node may do, and what each request takes.
//!
//! One table for every way in. Who has which role is told by the way in (the local socket by the
//! user's groups); what a role may do is told here and nowhere else.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::request::Request;

/// What somebody may do; each may do what those before it may.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Runs what there is: on, off, elsewhere, aside for a while.
    Operator,
    /// Decides what there is: groups, resources and the commands they run, nodes, the cluster.
    Admin,
}

impl Role {
    /// All, the least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// As it is written.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// The role that is written so.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.word() == word)
    }

    /// The least role that may ask for this.
    #[must_use]
    pub fn needed(request: &Request) -> Self {
        match request {
            Request::SetGroupDesired { .. }
            | Request::MoveGroup { .. }
            | Request::SetResourceDesired { .. }
            | Request::FailResource { .. }
            | Request::ClearFailures { .. }
            | Request::Upkeep { .. } => Self::Operator,
            // `Foresee` has nodes look for what a declaration names: who may not apply may not ask.
            Request::CreateGroup { .. }
            | Request::SetGroup { .. }
            | Request::DeleteGroup { .. }
            | Request::CreateResource { .. }
            | Request::DeleteResource { .. }
            | Request::SetResource { .. }
            | Request::SetDependencies { .. }
            | Request::SetKey { .. }
            | Request::SetVote { .. }
            | Request::SetAbsence { .. }
            | Request::Leave { .. }
            | Request::Return { .. }
            | Request::Apply { .. }
            | Request::Foresee { .. }
            | Request::AddNode { .. }
            | Request::MakeToken { .. }
            | Request::RotateKeys
            | Request::AbandonKeys
            | Request::RaiseLevel { .. }
            | Request::Evict { .. }
            | Request::ForceQuorum { .. }
            | Request::SetCapacity { .. }
            | Request::SetLocal { .. }
            | Request::AddAlert { .. }
            | Request::RemoveAlert { .. }
            | Request::MeasureCapacity { .. }
            | Request::SetNetwork { .. }
            | Request::SetNode { .. }
            | Request::SetClusterIp { .. }
            | Request::RemoveClusterIp => Self::Admin,
            Request::Force { request } => Self::needed(request),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::Desired;

    #[test]
    fn what_runs_is_the_operators_and_what_there_is_the_admins_forced_or_not() {
        let online = Request::SetGroupDesired { group: "g".into(), desired: Desired::Online };
        let delete = Request::DeleteGroup { group: "g".into() };
        for (request, role) in [(online, Role::Operator), (delete, Role::Admin)] {
            assert_eq!(Role::needed(&request), role);
            let forced = Request::Force { request: Box::new(request) };
            assert_eq!(Role::needed(&forced), role);
        }
    }

    #[test]
    fn roles_are_read_as_they_are_written_and_grow() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.word()), Some(role));
        }
        assert!(Role::ALL.is_sorted());
        assert_eq!(Role::parse("root"), None);
    }
}
