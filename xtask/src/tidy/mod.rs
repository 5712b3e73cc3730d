//! `cargo xtask tidy`: the habits of this project as executable checks.
//!
//! What would be said twice in review is said here once. Each check is a pure function from what
//! was read to findings, with tests that plant a violation; nothing is written. Text checks see
//! one [`Source`] at a time; the others see cargo's metadata.
//!
//! | file | what it holds a change to |
//! |---|---|
//! | `sizes` | line width, file length without tests, with a ratchet for old giants |
//! | `words` | left-over marks, paths of one machine |
//! | `headers` | module docs, file names that say what is inside, no dead files |
//! | `attributes` | no bare `allow`, no reasonless `expect`, no ignored tests |
//! | `links` | pages of ours that a page links to are there |
//! | `unsafety` | `unsafe` only in the named places |
//! | `edges` | which crate may depend on which |
//! | `runtime` | no async runtime below the pure crates |
//! | `supply` | licences, sources and banned packages |

use std::fmt;

use crate::metadata::Metadata;
use crate::{Failure, no_arguments};
use source::Source;

mod attributes;
mod edges;
mod headers;
mod links;
mod runtime;
mod scanner;
mod sizes;
mod source;
mod supply;
mod unsafety;
mod words;

/// Runs every check over the tree and prints what it found, one line each.
pub(crate) fn run(metadata: &Metadata, arguments: &[String]) -> Result<(), Failure> {
    no_arguments("tidy", arguments)?;
    let sources = source::read_tree(&metadata.root)
        .map_err(|error| Failure::Failed(format!("cannot read the tree: {error}")))?;
    let findings = findings(metadata, &sources);
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => {
            println!("tidy: {} files, {} packages", sources.len(), metadata.packages().len());
            Ok(())
        }
        count => Err(Failure::Failed(format!("tidy: {count} findings"))),
    }
}

fn findings(metadata: &Metadata, sources: &[Source]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = sources.iter().flat_map(of_one_file).collect();
    findings.extend(sizes::check_ratchet(sources));
    findings.extend(headers::check_dead_files(sources));
    findings.extend(links::check(sources));
    findings.extend(edges::check(metadata));
    findings.extend(runtime::check(metadata));
    findings.extend(supply::check(metadata));
    findings
}

fn of_one_file(source: &Source) -> Vec<Finding> {
    let mut findings = words::check(source);
    if source.is_rust() {
        findings.extend(sizes::check(source));
        findings.extend(headers::check(source));
        findings.extend(attributes::check(source));
        findings.extend(unsafety::check(source));
    }
    findings
}

/// A place that a check objects to: where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// `path`, `path:line`, or the name of a package.
    pub(crate) place: String,
    pub(crate) text: String,
}

impl Finding {
    fn at(place: impl Into<String>, text: impl Into<String>) -> Self {
        Self { place: place.into(), text: text.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.place, self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::tests::workspace;

    #[test]
    fn a_planted_violation_of_each_text_check_is_found_at_its_line() {
        let long = format!("//! Docs.\n// {}\n", "x".repeat(100));
        let planted = [
            ("crates/core/src/a.rs", long, "crates/core/src/a.rs:2"),
            ("crates/core/src/b.rs", "fn f() {}\n".to_owned(), "crates/core/src/b.rs:1"),
            (
                "crates/core/src/c.rs",
                "//! C.\nunsafe fn f() {}\n".to_owned(),
                "crates/core/src/c.rs:2",
            ),
        ];
        for (path, text, place) in planted {
            let found = of_one_file(&Source::new(path, &text));
            let places: Vec<&str> = found.iter().map(|finding| finding.place.as_str()).collect();
            assert_eq!(places, [place]);
        }
    }

    #[test]
    fn a_clean_file_has_no_finding() {
        let source = Source::new("crates/core/src/lib.rs", "//! Docs.\n\npub fn f() {}\n");
        assert_eq!(findings(&workspace(vec![]), &[source]), []);
    }
}
