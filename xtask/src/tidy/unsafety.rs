//! `unsafe` only where the kernel is spoken to. That each block has its SAFETY comment is
//! clippy's (`undocumented_unsafe_blocks`).

use super::Finding;
use super::scanner::words;
use super::source::Source;

/// The places that may: they speak to the kernel or to C for everyone else.
const ALLOWED: &[&str] = &[
    "crates/guard/",
    "crates/lab/",
    "crates/netlink/",
    "crates/node/src/net/",
    "crates/resmon/src/host/",
    "crates/resmon/src/host.rs",
    // A library that C programs call.
    "e2e/preload/",
];

/// Every `unsafe` outside the named places.
pub(crate) fn check(source: &Source) -> Vec<Finding> {
    if ALLOWED.iter().any(|place| source.path.starts_with(place)) {
        return Vec::new();
    }
    let text =
        "`unsafe` belongs to guard, lab, netlink, node/src/net, resmon/src/host, e2e/preload";
    let found = words(&source.code, "unsafe");
    found.into_iter().map(|at| Finding::at(source.place(at), text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "//! unsafe\n#![deny(unsafe_code)]\nfn f() { unsafe { g() } }\n";

    #[test]
    fn the_core_may_not() {
        let found = check(&Source::new("crates/core/src/log.rs", TEXT));
        let places: Vec<&str> = found.iter().map(|finding| finding.place.as_str()).collect();
        assert_eq!(places, ["crates/core/src/log.rs:3"]);
    }

    #[test]
    fn the_guard_may_and_the_rest_of_resmon_may_not() {
        assert_eq!(check(&Source::new("crates/guard/src/clone.rs", TEXT)), []);
        assert_eq!(check(&Source::new("crates/resmon/src/host/net.rs", TEXT)), []);
        assert_eq!(check(&Source::new("crates/resmon/src/monitor.rs", TEXT)).len(), 1);
    }
}
