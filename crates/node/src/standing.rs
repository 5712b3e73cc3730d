//! What this process may do, as the kernel tells it: the guard starts the node service with as
//! little as can be had, and what it did not get rid of is told with its start.

use std::fmt;

use rustix::thread::CapabilitySet;

/// User and privileges of a process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Standing {
    uid: String,
    /// What it has that it should not have.
    excess: Vec<&'static str>,
}

impl Standing {
    /// Of this process.
    pub(crate) fn own() -> Self {
        Self::read(&std::fs::read_to_string("/proc/self/status").unwrap_or_default())
    }

    fn read(status: &str) -> Self {
        let field = |name: &str| {
            let value = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(':')?.to_owned());
            status.lines().find_map(value).unwrap_or_default()
        };
        let word = |name| field(name).split_whitespace().next().unwrap_or_default().to_owned();
        let needed =
            CapabilitySet::SYS_NICE | CapabilitySet::IPC_LOCK | CapabilitySet::NET_BIND_SERVICE;
        let capabilities = u64::from_str_radix(&word("CapEff"), 16).unwrap_or(u64::MAX);
        let excess = [
            (capabilities & !needed.bits() != 0, "capabilities"),
            (word("NoNewPrivs") != "1", "ways to gain privileges"),
            (word("Seccomp") != "2", "all system calls"),
        ];
        let excess = excess.into_iter().filter(|(has, _)| *has).map(|(_, what)| what).collect();
        Self { uid: word("Uid"), excess }
    }

    /// Whether it has nothing that it should not have.
    pub(crate) fn is_held(&self) -> bool {
        self.excess.is_empty()
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid {}, ", self.uid)?;
        if self.is_held() {
            return f.write_str("no needless privileges");
        }
        write!(f, "with {}", self.excess.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_has_too_much_is_named() {
        let held = "Name:\tstead\nUid:\t990\t990\t990\t990\nCapEff:\t0000000000000000\n\
                    NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t2\n";
        assert_eq!(Standing::read(held).to_string(), "uid 990, no needless privileges");
        let bound = held.replace("CapEff:\t0000000000000000", "CapEff:\t0000000000000400");
        assert!(Standing::read(&bound).is_held());
        let root = held.replace("CapEff:\t0000000000000000", "CapEff:\t000001ffffffffff");
        let told = Standing::read(&root.replace("Seccomp:\t2", "Seccomp:\t0")).to_string();
        assert_eq!(told, "uid 990, with capabilities, all system calls");
        assert!(!Standing::read("").is_held(), "nothing is known");
        assert_ne!(Standing::own().uid, "");
    }
}
