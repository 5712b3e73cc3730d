//! What comes from outside: under which licence, from where, and what may not come at all.
//!
//! The same rules as in `deny.toml`, which `cargo deny` reads where it is installed (it knows
//! advisories, too); here they need nothing but cargo.

use super::Finding;
use crate::metadata::{Metadata, Package};

/// Licences that ask for no more than a notice.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Unlicense",
    "Zlib",
];

/// The one registry, by the name that cargo gives it also where a mirror stands in for it.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Packages that may not be fetched, and why. The stand-ins of the same name in `shims/` are ours
/// and have no source.
const BANNED: &[(&str, &str)] = &[
    ("protobuf", "RUSTSEC-2024-0437; `shims/protobuf` stands in"),
    ("raft-proto", "needs protoc; `shims/raft-proto` stands in"),
    ("fxhash", "RUSTSEC-2025-0057; `shims/fxhash` stands in"),
    ("prost", "not needed: messages are postcard"),
    ("prost-build", "needs protoc"),
    ("bincode", "unmaintained, RUSTSEC-2025-0141: postcard"),
    ("rustables", "GPL: `crates/netlink` speaks nftables"),
    ("openssl", "a C library: rustls with ring"),
    ("openssl-sys", "a C library: rustls with ring"),
    ("native-tls", "a C library: rustls with ring"),
    ("hickory-client", "deprecated: hickory-net"),
    ("sled", "not maintained"),
];

/// Licences, sources and bans over all that was resolved.
pub(crate) fn check(metadata: &Metadata) -> Vec<Finding> {
    let objections = metadata.packages().iter().flat_map(|package| {
        let found = [licence(package), source(metadata, package), banned(package)];
        found.into_iter().flatten().map(move |text| (package, text))
    });
    objections
        .map(|(package, text)| Finding::at(format!("{} {}", package.name, package.version), text))
        .collect()
}

fn licence(package: &Package) -> Option<String> {
    match package.license.as_deref() {
        Some(expression) if is_allowed(expression) => None,
        Some(expression) => Some(format!("licence `{expression}` is not on the list")),
        None => Some("no licence in its manifest".to_owned()),
    }
}

fn source(metadata: &Metadata, package: &Package) -> Option<String> {
    match package.source.as_deref() {
        Some(REGISTRY) => None,
        Some(other) => Some(format!("comes from `{other}`: crates.io and this tree only")),
        None if package.manifest.starts_with(&metadata.root) => None,
        None => Some("a path outside this tree".to_owned()),
    }
}

fn banned(package: &Package) -> Option<String> {
    package.source.as_ref()?;
    let (_, why) = BANNED.iter().find(|(name, _)| *name == package.name)?;
    Some(format!("is banned: {why}"))
}

/// Whether an SPDX expression can be met with licences of the list. `/` is an old `OR`.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader { words: &words };
    let met = reader.any_of();
    met && reader.words.is_empty()
}

/// Reads an expression by descent: OR of ANDs of licences or parentheses.
struct Reader<'a> {
    words: &'a [&'a str],
}

impl Reader<'_> {
    fn any_of(&mut self) -> bool {
        let mut met = self.all_of();
        while self.take("OR") {
            met |= self.all_of();
        }
        met
    }

    fn all_of(&mut self) -> bool {
        let mut met = self.one();
        while self.take("AND") {
            met &= self.one();
        }
        met
    }

    fn one(&mut self) -> bool {
        if self.take("(") {
            let met = self.any_of();
            return self.take(")") && met;
        }
        let Some((name, rest)) = self.words.split_first() else { return false };
        self.words = rest;
        match self.words {
            ["WITH", exception, rest @ ..] => {
                self.words = rest;
                LICENCES.contains(&format!("{name} WITH {exception}").as_str())
            }
            _ => LICENCES.contains(name),
        }
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.words.first() == Some(&word);
        if found {
            self.words = &self.words[1..];
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::tests::{package, workspace};

    #[test]
    fn expressions_are_met_or_not() {
        let allowed = [
            "MIT",
            "MIT OR GPL-3.0",
            "MIT/Apache-2.0",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
        ];
        let refused =
            ["GPL-3.0", "MPL-2.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND LGPL-2.1", "(MIT", ""];
        for expression in allowed {
            assert!(is_allowed(expression), "{expression}");
        }
        for expression in refused {
            assert!(!is_allowed(expression), "{expression}");
        }
    }

    #[test]
    fn a_foreign_licence_and_a_missing_one_are_found() {
        let mut copyleft = package("rusty", Some(REGISTRY), &[]);
        copyleft["license"] = "GPL-3.0-or-later".into();
        let mut silent = package("silent", Some(REGISTRY), &[]);
        silent["license"] = serde_json::Value::Null;
        let found = check(&workspace(vec![copyleft, silent]));
        let places: Vec<&str> = found.iter().map(|finding| finding.place.as_str()).collect();
        assert_eq!(places, ["rusty 1.0.0", "silent 1.0.0"]);
    }

    #[test]
    fn git_and_paths_outside_are_found() {
        let mut outside = package("outside", None, &[]);
        outside["manifest_path"] = "/elsewhere/Cargo.toml".into();
        let git = package("git", Some("git+https://example.invalid/x"), &[]);
        let found = check(&workspace(vec![outside, git]));
        assert_eq!(found[0], Finding::at("outside 1.0.0", "a path outside this tree"));
        assert!(found[1].text.starts_with("comes from `git+"), "{}", found[1]);
    }

    #[test]
    fn a_banned_package_is_found_and_our_stand_in_is_not() {
        let real = check(&workspace(vec![package("protobuf", Some(REGISTRY), &[])]));
        assert!(real[0].text.starts_with("is banned: RUSTSEC"), "{}", real[0]);
        assert_eq!(check(&workspace(vec![package("protobuf", None, &[])])), []);
    }
}
