//! Attributes that silence something: each needs a reason, and some may not be there at all.

use super::Finding;
use super::source::Source;

/// Bare `allow`, `expect` without a reason, and ignored tests.
pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, attribute) in attributes(&source.code) {
        let objection = match attribute.split(['(', ' ', '=']).next() {
            Some("allow") => "`expect` with a reason, which warns when it is no longer needed",
            Some("expect") if !attribute.contains("reason") => "say the `reason`",
            Some("ignore") => "an ignored test is dead: mend it or delete it",
            Some(_) | None => continue,
        };
        findings.push(Finding::at(source.place(at), objection));
    }
    findings
}

/// Offset and inside of every `#[…]` and `#![…]`.
fn attributes(code: &str) -> Vec<(usize, &str)> {
    let opens = code.match_indices('#').filter_map(|(at, _)| {
        let after = &code[at + 1..];
        let inside = after.strip_prefix('!').unwrap_or(after).strip_prefix('[')?;
        Some((at, &inside[..closing(inside)]))
    });
    opens.collect()
}

/// Offset of the bracket that closes what was opened just before `inside`.
fn closing(inside: &str) -> usize {
    let mut depth = 1_usize;
    for (at, character) in inside.char_indices() {
        match character {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    inside.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_text(text: &str, lines: &[&str]) {
        let found = check(&Source::new("a.rs", text));
        let places: Vec<&str> = found.iter().map(|finding| finding.place.as_str()).collect();
        assert_eq!(places, lines);
    }

    #[test]
    fn a_bare_allow_is_found() {
        check_text("//! A.\n#[allow(dead_code)]\nfn f() {}", &["a.rs:2"]);
        check_text("#![allow(unsafe_code, reason = \"r\")]", &["a.rs:1"]);
    }

    #[test]
    fn an_expect_needs_a_reason_also_over_several_lines() {
        check_text("#[expect(dead_code)]", &["a.rs:1"]);
        check_text("#[expect(\n    dead_code,\n    reason = \"r\"\n)]", &[]);
    }

    #[test]
    fn an_ignored_test_is_found_with_and_without_a_reason() {
        check_text("#[test]\n#[ignore]\nfn f() {}\n#[ignore = \"slow\"]", &["a.rs:2", "a.rs:4"]);
    }

    #[test]
    fn words_in_comments_and_other_attributes_are_fine() {
        check_text("// #[ignore]\n#[derive(Debug)]\n#[serde(default)]", &[]);
    }
}
