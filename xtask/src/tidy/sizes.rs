//! Line width and file length. Function length is clippy's (`too_many_lines`).
//!
//! A file that is over the limit today may stay, written down in [`RATCHET`] with its length; it
//! may only shrink, and the table follows it down.

use super::Finding;
use super::source::Source;

/// Columns of a line of Rust, tests included.
const COLUMNS_MAX: usize = 100;
/// Lines of a file of Rust, tests left out.
const LINES_MAX: usize = 700;

/// Files over the limit: path and the length they may have. An entry only ever goes down.
const RATCHET: &[(&str, usize)] = &[];

/// Line width, and file length of files outside the ratchet.
pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = wide_lines(source);
    let length = length_without_tests(source);
    if length > LINES_MAX && !RATCHET.iter().any(|(path, _)| *path == source.path) {
        let text = format!("{length} lines without tests, {LINES_MAX} at most: split by duty");
        findings.push(Finding::at(source.path.clone(), text));
    }
    findings
}

/// The ratchet against the tree.
pub(crate) fn check_ratchet(sources: &[Source]) -> Vec<Finding> {
    RATCHET.iter().filter_map(|entry| ratchet_entry(*entry, sources)).collect()
}

fn ratchet_entry((path, allowed): (&str, usize), sources: &[Source]) -> Option<Finding> {
    let Some(source) = sources.iter().find(|source| source.path == path) else {
        return Some(Finding::at(path, "is gone: take it out of the ratchet"));
    };
    let length = length_without_tests(source);
    let text = if length > allowed {
        format!("grew to {length} lines, the ratchet allows {allowed}: split by duty")
    } else if length <= LINES_MAX {
        format!("{length} lines are within the limit: take it out of the ratchet")
    } else if length < allowed {
        format!("shrank to {length} lines: lower the ratchet from {allowed}")
    } else {
        return None;
    };
    Some(Finding::at(path, text))
}

fn wide_lines(source: &Source) -> Vec<Finding> {
    let wide = |line: &str| line.chars().count() > COLUMNS_MAX && !line.contains("://");
    let numbered = (1..).zip(source.text.lines());
    numbered
        .filter(|(_, line)| wide(line))
        .map(|(number, line)| {
            let columns = line.chars().count();
            let text = format!("{columns} columns, {COLUMNS_MAX} at most");
            Finding::at(format!("{}:{number}", source.path), text)
        })
        .collect()
}

/// Lines outside `#[cfg(test)] mod name { … }`; a test file has none.
fn length_without_tests(source: &Source) -> usize {
    if source.is_test() {
        return 0;
    }
    let lines: Vec<&str> = source.text.lines().collect();
    let (mut count, mut at) = (0, 0);
    while at < lines.len() {
        let skipped = test_module_length(&lines[at..]);
        count += usize::from(skipped == 0);
        at += skipped.max(1);
    }
    count
}

/// Lines of the test module that begins here, 0 where none does. It ends at the brace in the
/// first column, where rustfmt puts it.
fn test_module_length(lines: &[&str]) -> usize {
    match lines {
        [test, module, rest @ ..] if *test == "#[cfg(test)]" && module.contains("mod ") => {
            if module.ends_with(';') {
                return 2;
            }
            rest.iter().position(|line| *line == "}").map_or(lines.len(), |end| end + 3)
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: usize) -> String {
        "x\n".repeat(count)
    }

    #[test]
    fn a_line_of_101_columns_is_found_and_one_of_100_is_not() {
        let text = format!("{}\n{}\n", "ä".repeat(100), "ä".repeat(101));
        let found = check(&Source::new("a.rs", &text));
        assert_eq!(found, [Finding::at("a.rs:2", "101 columns, 100 at most")]);
    }

    #[test]
    fn tests_do_not_count_for_the_length() {
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", lines(500));
        let source = Source::new("a.rs", &format!("{}{tests}{}", lines(699), lines(1)));
        assert_eq!(length_without_tests(&source), 700);
        assert_eq!(check(&source), []);
    }

    #[test]
    fn a_file_over_the_limit_is_found() {
        let found = check(&Source::new("a.rs", &lines(701)));
        assert_eq!(found.len(), 1);
        assert!(found[0].text.starts_with("701 lines"), "{}", found[0]);
        assert_eq!(check(&Source::new("a/tests/b.rs", &lines(701))), []);
    }

    #[test]
    fn the_ratchet_only_goes_down() {
        let at = |length| ratchet_entry(("a.rs", 800), &[Source::new("a.rs", &lines(length))]);
        assert_eq!(at(800), None);
        assert!(at(801).unwrap().text.starts_with("grew to 801"));
        assert!(at(790).unwrap().text.starts_with("shrank to 790"));
        assert!(at(700).unwrap().text.contains("take it out"));
        assert!(ratchet_entry(("b.rs", 800), &[]).unwrap().text.contains("is gone"));
    }
}
