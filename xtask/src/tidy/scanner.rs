//! Rust text with everything blanked that is not code, so that a check for a word is not fooled
//! by a comment, a string, or its own table.
//!
//! Not a lexer: it knows just where comments and literals begin and end. Lines and columns stay.

/// The same text; comments, strings and character literals are blanks.
pub(crate) fn code_only(text: &str) -> String {
    let mut scanner = Scanner { rest: text, code: String::with_capacity(text.len()) };
    while !scanner.rest.is_empty() {
        scanner.step();
    }
    scanner.code
}

struct Scanner<'a> {
    rest: &'a str,
    code: String,
}

impl Scanner<'_> {
    fn step(&mut self) {
        match self.blank_length() {
            0 => {
                let width = self.rest.chars().next().map_or(0, char::len_utf8);
                let (kept, rest) = self.rest.split_at(width);
                self.code.push_str(kept);
                self.rest = rest;
            }
            length => {
                let (blank, rest) = self.rest.split_at(length.min(self.rest.len()));
                let blanks = blank.chars().map(|c| if c == '\n' { '\n' } else { ' ' });
                self.code.extend(blanks);
                self.rest = rest;
            }
        }
    }

    /// How many bytes from here on are a comment or a literal; 0 is code.
    fn blank_length(&self) -> usize {
        let rest = self.rest;
        if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if rest.starts_with('"') {
            quoted(rest)
        } else if rest.starts_with('\'') {
            character(rest)
        } else if self.inside_word() {
            0
        } else {
            raw_string(rest)
        }
    }

    fn inside_word(&self) -> bool {
        self.code.ends_with(is_word)
    }
}

/// Whether a character can be part of an identifier.
pub(crate) fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The byte offsets at which `word` stands alone, not inside a longer identifier.
pub(crate) fn words(code: &str, word: &str) -> Vec<usize> {
    let alone = |at: &usize| {
        !code[..*at].ends_with(is_word) && !code[at + word.len()..].starts_with(is_word)
    };
    code.match_indices(word).map(|(at, _)| at).filter(alone).collect()
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    loop {
        let here = &rest[at..];
        if here.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if here.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += here.chars().next().map_or(0, char::len_utf8);
        }
        if depth == 0 || at >= rest.len() {
            return at;
        }
    }
}

fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A character literal; a lifetime is code.
fn character(rest: &str) -> usize {
    let mut inner = rest.char_indices().skip(1);
    match (inner.next(), inner.next()) {
        (Some((_, '\\')), Some((at, escaped))) => {
            let after = at + escaped.len_utf8();
            rest[after..].find('\'').map_or(0, |end| after + end + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 0,
    }
}

/// `r"…"`, `r#"…"#` and their byte and C forms.
fn raw_string(rest: &str) -> usize {
    let after_prefix = rest.strip_prefix(['b', 'c']).unwrap_or(rest);
    let Some(fenced) = after_prefix.strip_prefix('r') else { return 0 };
    let hashes = fenced.len() - fenced.trim_start_matches('#').len();
    let Some(body) = fenced[hashes..].strip_prefix('"') else { return 0 };
    let fence = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&fence).map_or(body.len(), |end| end + fence.len());
    rest.len() - body.len() + length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(code_only(text), expected);
    }

    #[test]
    fn comments_are_blank_and_lines_stay() {
        check("a // b\nc", "a     \nc");
        check("a /* b /* c */ d\n */ e", "a               \n    e");
    }

    #[test]
    fn strings_are_blank_escapes_and_raw_ones_too() {
        check(r#"f("a\"b", c)"#, "f(      , c)");
        check(r##"f(r#"a"b"#, c)"##, "f(        , c)");
        check(r#"f(br"a", b"c")"#, "f(     , b   )");
        check("r#type", "r#type");
    }

    #[test]
    fn characters_are_blank_and_lifetimes_stay() {
        check(r"f('a', '\'', '\u{1F600}')", "f(   ,     ,            )");
        check("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)");
    }

    #[test]
    fn what_never_ends_is_blank_to_the_end() {
        check("a \"b", "a   ");
        check("a /* b", "a     ");
    }

    #[test]
    fn words_stand_alone() {
        assert_eq!(words("unsafe_code unsafe{ notunsafe", "unsafe"), [12]);
    }
}
