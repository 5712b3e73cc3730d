//! systemd services as resources: which names may be given, and the file without which one does
//! not start.
//!
//! A unit is the node's own, started by PID 1 for whoever asks. Where one is a resource every start
//! depends on a file that only the guard makes ([`condition`]).

use std::path::{Path, PathBuf};

/// Longest name that systemd takes, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// Services without which there is no node, and our own. A name that ends with `@` or `-` stands
/// for all that begin so.
const OF_THE_NODE: &[&str] = &[
    "stead.service",
    "dbus.service",
    "dbus-broker.service",
    "systemd-",
    "initrd-",
    "user@",
    "user-runtime-dir@",
    "getty@",
    "serial-getty@",
    "console-getty.service",
    "emergency.service",
    "rescue.service",
];

/// Beginnings of names to which systemd gives a control group of another name: they would be files
/// of the kernel's there.
const OF_THE_KERNEL: &[&str] = &[
    "_", ".", "cgroup.", "cpu.", "cpuacct.", "cpuset.", "io.", "blkio.", "memory.", "devices.",
    "pids.", "hugetlb.", "rdma.", "misc.", "bpf-",
];

/// Whether a resource may be a unit of this name.
///
/// # Errors
/// What is wrong with it, as the end of a sentence.
pub fn check(name: &str) -> Result<(), &'static str> {
    let Some(stem) = name.strip_suffix(".service") else {
        return Err("only services are resources: the name ends in `.service`");
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    if stem.is_empty() || name.len() > NAME_BYTES_MAX || !stem.chars().all(fits) {
        return Err("systemd takes up to 255 of `a-z A-Z 0-9 : - _ . \\ @`");
    }
    match stem.split_once('@') {
        Some(("", _)) => return Err("a template has a name before its `@`"),
        Some((_, "")) => {
            return Err("a template does not run: name an instance, `web@one.service`");
        }
        Some(_) | None => {}
    }
    let begins = |of: &str| match of.ends_with(['@', '-']) {
        true => name.starts_with(of),
        false => name == of,
    };
    if OF_THE_NODE.iter().any(|of| begins(of)) {
        return Err("the node itself needs it");
    }
    if OF_THE_KERNEL.iter().any(|of| name.starts_with(of)) {
        return Err("its control group would have another name");
    }
    Ok(())
}

/// The file that must be there for the unit to start, on a node whose files are below `root`. The
/// guard makes it when it admits the unit and removes it first of all at a hard stop.
#[must_use]
pub fn condition(root: &Path, name: &str) -> PathBuf {
    root.join("run/stead/units").join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_and_instances_are_taken() {
        for name in ["nginx.service", "postgresql@15-main.service", "my\\x2dapp.service"] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn what_is_no_service_of_its_own_or_the_node_needs_is_refused() {
        let words = |name: &str| check(name).unwrap_err();
        for name in ["nginx", "x.scope", "multi-user.target", "a.socket"] {
            assert!(words(name).starts_with("only services"), "{name}");
        }
        for name in [".service", "../x.service", "a b.service", "a/b.service"] {
            assert!(words(name).starts_with("systemd takes"), "{name}");
        }
        assert!(words("foo@.service").contains("instance"));
        assert!(words("@x.service").contains("before its `@`"));
        for name in ["stead.service", "systemd-journald.service", "user@0.service"] {
            assert_eq!(words(name), "the node itself needs it", "{name}");
        }
        assert_eq!(words("memory.service"), "its control group would have another name");
    }

    #[test]
    fn the_condition_is_a_file_of_the_unit() {
        let path = condition(Path::new("/"), "nginx.service");
        assert_eq!(path, Path::new("/run/stead/units/nginx.service"));
    }
}
