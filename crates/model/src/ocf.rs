//! OCF agents as resource types: `ocf:PROVIDER:AGENT`, one type per agent.
//!
//! An agent's own parameters are properties of the resource beside those of the type `ocf`; which
//! there are only the agent knows, on the nodes where it is installed. What is known here is how
//! far an agent reaches beyond the processes that it starts, for at the end of a lease the guard
//! stops what it knows and nothing else.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Name of the type in the table, which stands for all agents.
pub const TABLE: &str = "ocf:PROVIDER:AGENT";

/// Property for `start` and `stop`: every resource has it.
pub const PENDING_TIMEOUT: &str = "pending-timeout";
/// Property for `monitor`.
pub const CHECK_TIMEOUT: &str = "check-timeout";

/// Whether agents advise the value of a property; it is taken when a resource is made and nobody
/// gave one.
#[must_use]
pub fn is_advised(kind: &str, property: &str) -> bool {
    agent(kind).is_some() && [PENDING_TIMEOUT, CHECK_TIMEOUT].contains(&property)
}

/// An agent's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Agent<'a> {
    /// Folder below `/usr/lib/ocf/resource.d`.
    pub provider: &'a str,
    /// File in it.
    pub name: &'a str,
}

/// What an agent changes on a node besides starting processes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reach {
    /// Nothing: whoever kills its processes has stopped it.
    Processes,
    /// It adds this address.
    Address(IpAddr),
    /// It mounts a file system.
    FileSystem {
        /// The device, as given.
        device: String,
        /// Where it is mounted.
        directory: String,
    },
    /// That is not known: only its own `stop` takes it away.
    Unknown,
}

/// The agent that a type names, if it is one.
#[must_use]
pub fn agent(kind: &str) -> Option<Agent<'_>> {
    let (provider, name) = kind.strip_prefix("ocf:")?.split_once(':')?;
    let fine = |part: &str| {
        let character = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        (1..=63).contains(&part.len()) && !part.starts_with('.') && part.chars().all(character)
    };
    (fine(provider) && fine(name)).then_some(Agent { provider, name })
}

/// Whether an agent's parameter may have this name.
#[must_use]
pub fn is_parameter(name: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (1..=63).contains(&name.len()) && name.chars().all(fine)
}

/// How far an agent reaches with these parameters.
#[must_use]
pub fn reach(agent: Agent<'_>, parameters: &BTreeMap<String, String>) -> Reach {
    let given = |name: &str| parameters.get(name).map(String::as_str).filter(|v| !v.is_empty());
    match (agent.provider, agent.name) {
        ("heartbeat", "IPaddr2") if given("network_namespace").is_none() => {
            let address = given("ip").and_then(|ip| ip.parse().ok());
            address.map_or(Reach::Unknown, Reach::Address)
        }
        ("heartbeat", "Filesystem") => match (given("device"), given("directory")) {
            (Some(device), Some(directory)) if is_local(given("fstype").unwrap_or_default()) => {
                Reach::FileSystem { device: device.into(), directory: directory.into() }
            }
            (Some(_) | None, Some(_) | None) => Reach::Unknown,
        },
        ("heartbeat", name) if PROCESSES_ONLY.contains(&name) => Reach::Processes,
        ("pacemaker", "Dummy" | "Stateful") => Reach::Processes,
        (_, _) => Reach::Unknown,
    }
}

/// Whether a file system of that type lies on a block device of its own.
fn is_local(kind: &str) -> bool {
    matches!(kind, "ext2" | "ext3" | "ext4" | "xfs" | "btrfs" | "f2fs" | "jfs" | "reiserfs")
}

/// Agents of `heartbeat` that start daemons, and nothing that outlives these.
const PROCESSES_ONLY: &[&str] = &[
    "Dummy",
    "Stateful",
    "Squid",
    "Xinetd",
    "anything",
    "apache",
    "dhcpd",
    "dovecot",
    "mariadb",
    "mysql",
    "named",
    "nginx",
    "pgsql",
    "postfix",
    "proftpd",
    "redis",
    "rsyncd",
    "slapd",
    "syslog-ng",
    "tomcat",
    "varnish",
    "vsftpd",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_named_in_full() {
        let found = agent("ocf:heartbeat:IPaddr2").unwrap();
        assert_eq!((found.provider, found.name), ("heartbeat", "IPaddr2"));
        let long = format!("ocf:heartbeat:{}", "x".repeat(64));
        for bad in ["ocf", "ocf:heartbeat", "ocf::x", "ocf:a:..", "ocf:a:b/c", "lsb:a:b", &long] {
            assert_eq!(agent(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_the_guard_cannot_undo_is_known() {
        let reach = |kind, given: &[(&str, &str)]| {
            let given = given.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            reach(agent(kind).unwrap(), &given)
        };
        let address = Reach::Address([10, 0, 0, 5].into());
        assert_eq!(reach("ocf:heartbeat:IPaddr2", &[("ip", "10.0.0.5")]), address);
        let elsewhere = [("ip", "10.0.0.5"), ("network_namespace", "blue")];
        assert_eq!(reach("ocf:heartbeat:IPaddr2", &elsewhere), Reach::Unknown);
        let disk = [("device", "/dev/sdb1"), ("directory", "/srv"), ("fstype", "ext4")];
        assert!(matches!(reach("ocf:heartbeat:Filesystem", &disk), Reach::FileSystem { .. }));
        let share = [("device", "nas:/srv"), ("directory", "/srv"), ("fstype", "nfs")];
        assert_eq!(reach("ocf:heartbeat:Filesystem", &share), Reach::Unknown);
        assert_eq!(reach("ocf:heartbeat:nginx", &[]), Reach::Processes);
        assert_eq!(reach("ocf:linbit:nginx", &[]), Reach::Unknown);
        assert_eq!(reach("ocf:heartbeat:exportfs", &[]), Reach::Unknown);
    }
}
