//! Who may ask nodes from other machines: names, roles and certificates, kept in the registry.
//!
//! The registry of the cluster carries them under a prefix of its own, so that adding somebody and
//! taking the right away is a change like any other: committed, the same on all nodes, audited.

use serde::{Deserialize, Serialize};

use crate::ids::AdminId;
use crate::role::Role;

/// Keys of the registry below which they are.
pub const ADMIN_KEYS: &str = "stead/admins/";

/// Somebody who may ask nodes from other machines.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RemoteAdmin {
    /// The name in the certificate.
    pub admin: AdminId,
    /// What it may do.
    pub role: Role,
    /// SHA-256 of the one certificate that counts, in hexadecimal.
    pub certificate: String,
}

impl RemoteAdmin {
    /// Key and value of the registry.
    #[must_use]
    pub fn entry(&self) -> (String, String) {
        let key = format!("{ADMIN_KEYS}{}", self.admin);
        (key, format!("{} {}", self.role, self.certificate))
    }

    /// What a key and its value of the registry say; `None`: nobody may ask by them.
    #[must_use]
    pub fn read(key: &str, value: &str) -> Option<Self> {
        let name = key.strip_prefix(ADMIN_KEYS).filter(|name| AdminId::is_valid(name))?;
        let (role, certificate) = value.split_once(' ')?;
        let is_hash = certificate.len() == 64
            && certificate.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let role = Role::parse(role).filter(|_| is_hash)?;
        Some(Self { admin: name.into(), role, certificate: certificate.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admin_is_read_as_it_is_written_and_nothing_else_is_one() {
        let ops =
            RemoteAdmin { admin: "ops".into(), role: Role::Operator, certificate: "5a".repeat(32) };
        let (key, value) = ops.entry();
        assert_eq!(RemoteAdmin::read(&key, &value), Some(ops));
        for (key, value) in [
            ("stead/admins/", value.as_str()),
            ("stead/admins/a/b", &value),
            ("other/ops", &value),
            (&key, "operator"),
            (&key, "operator 5a5a"),
            (&key, &value.replace("operator", "root")),
            (&key, &value.replace('a', "A")),
        ] {
            assert_eq!(RemoteAdmin::read(key, value), None, "{key} {value}");
        }
    }
}
