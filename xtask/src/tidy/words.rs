//! Words that no file may hold: marks of unfinished work, calls for debugging, paths of one
//! machine. The table writes them in pieces, so that this file does not find itself.

use super::Finding;
use super::source::Source;

struct Banned {
    word: &'static str,
    instead: &'static str,
    place: Place,
}

/// Where a word is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In all of every file, comments and prose included.
    Anywhere,
    /// In Rust outside comments and literals.
    Code,
}

const BANNED: &[Banned] = &[
    Banned {
        word: concat!("FIX", "ME"),
        instead: "finish it, or file an issue",
        place: Place::Anywhere,
    },
    Banned {
        word: concat!("TO", "DO"),
        instead: "finish it, or file an issue",
        place: Place::Anywhere,
    },
    Banned { word: concat!("dbg", "!("), instead: "remove it", place: Place::Code },
    Banned { word: concat!("to", "do!("), instead: "write it", place: Place::Code },
    Banned { word: concat!("unimple", "mented!("), instead: "write it", place: Place::Code },
    Banned {
        word: concat!("/", "work/"),
        instead: "a path of one machine: make it relative",
        place: Place::Anywhere,
    },
    Banned {
        word: concat!("/", "root/"),
        instead: "a path of one machine: make it relative",
        place: Place::Anywhere,
    },
    Banned {
        word: concat!("../", "shared"),
        instead: "not part of the project: say it here",
        place: Place::Anywhere,
    },
];

/// Every banned word, with its line.
pub(crate) fn check(source: &Source) -> Vec<Finding> {
    BANNED.iter().flat_map(|banned| find(source, banned)).collect()
}

fn find(source: &Source, banned: &Banned) -> Vec<Finding> {
    let text = match banned.place {
        Place::Anywhere => &source.text,
        Place::Code => &source.code,
    };
    let lines = (1..).zip(text.lines()).filter(|(_, line)| line.contains(banned.word));
    lines
        .map(|(number, _)| {
            let text = format!("`{}`: {}", banned.word, banned.instead);
            Finding::at(format!("{}:{number}", source.path), text)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_found_in_code_with_its_line() {
        for banned in BANNED {
            let text = format!("//! Docs.\n{} x\n", banned.word);
            let found = check(&Source::new("a.rs", &text));
            assert_eq!(found.len(), 1, "{}", banned.word);
            assert_eq!(found[0].place, "a.rs:2");
        }
    }

    #[test]
    fn prose_is_searched_too_but_not_for_calls() {
        for banned in BANNED {
            let found = check(&Source::new("docs/a.md", &format!("see {}", banned.word)));
            assert_eq!(found.is_empty(), banned.place == Place::Code, "{}", banned.word);
        }
    }
}
