//! What is secret, blanked: for what leaves a node to be read by others.
//!
//! By structure where there is some: values of `env`, the rest of a web address behind its host,
//! and whatever a key calls a password, secret, token or key. In plain text by the same words
//! before `=` or `:`, and what stands between `://` and `@`. A secret without any such mark cannot
//! be told.

use serde_json::Value;

/// What stands for a secret.
const BLANK: &str = "(redacted)";
/// Words that call what follows secret.
const WORDS: [&str; 7] = ["password", "passwd", "secret", "token", "credential", "apikey", "key"];

/// Blanks what a JSON value holds.
pub(super) fn json(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, below) in map.iter_mut() {
                match below {
                    Value::String(text) if key == "env" => *text = environment(text),
                    Value::String(text) if key == "webhook" => *text = address(text),
                    Value::String(text) if is_secret(key) => *text = BLANK.to_owned(),
                    _ => json(below),
                }
            }
        }
        Value::Array(all) => all.iter_mut().for_each(json),
        Value::String(text) => *text = inline(text),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Blanks a text: JSON by its structure, whole or line by line, the rest by its words.
pub(super) fn text(text: &str) -> String {
    if let Some(whole) = structured(text) {
        return whole + "\n";
    }
    let lines = text.lines().map(|line| structured(line).unwrap_or_else(|| inline(line)));
    lines.map(|line| line + "\n").collect()
}

fn structured(text: &str) -> Option<String> {
    let text = text.trim();
    let mut value = text.starts_with(['{', '[']).then(|| serde_json::from_str(text).ok())??;
    json(&mut value);
    Some(value.to_string())
}

fn inline(line: &str) -> String {
    without_user(&marked(line))
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    WORDS.iter().any(|word| name.ends_with(word))
}

/// `NAME=VALUE` of an environment, without the values.
fn environment(text: &str) -> String {
    let names = text.split_whitespace().filter_map(|pair| Some(pair.split_once('=')?.0));
    names.map(|name| format!("{name}={BLANK}")).collect::<Vec<_>>().join(" ")
}

/// A web address up to its host: paths and queries of hooks are their password.
fn address(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return BLANK.to_owned() };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}/{BLANK}")
}

/// Blanks what follows a word that calls it secret and `=` or `:`.
fn marked(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(['=', ':']) {
        let (before, after) = rest.split_at(at + 1);
        out.push_str(before);
        let name = before[..at].trim_end_matches(['"', '\'', ' ', '\\']);
        rest = after;
        if !is_secret(name) {
            continue;
        }
        let value = after.trim_start_matches([' ', '"', '\'', '\\']);
        out.push_str(&after[..after.len() - value.len()]);
        let end = value.find([' ', '"', '\'', ',', ';', '&', '\\', '}']).unwrap_or(value.len());
        if end > 0 {
            out.push_str(BLANK);
        }
        rest = &value[end..];
    }
    out + rest
}

/// Blanks what stands before the host of a web address.
fn without_user(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after.find(['/', ' ', '"', '\'', '?']).unwrap_or(after.len());
        rest = match after[..end].rfind('@') {
            Some(user) => {
                out.push_str(BLANK);
                &after[user..]
            }
            None => after,
        };
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_key_calls_secret_is_blanked_wherever_it_stands() {
        let mut value = serde_json::json!({
            "groups": [{ "properties": {
                "env": "DB_PASS=hunter1 LANG=C", "command": "/bin/serve", "api-key": "hunter2"
            } }],
            "webhook": "https://me:hunter3@hooks.example/T0/hunter4?x=hunter5",
        });
        json(&mut value);
        let text = value.to_string();
        assert!(!text.contains("hunter"), "{text}");
        for kept in ["DB_PASS=", "LANG=", "/bin/serve", "https://hooks.example/"] {
            assert!(text.contains(kept), "{kept}: {text}");
        }
    }

    #[test]
    fn plain_text_loses_what_is_marked_and_nothing_else() {
        for (line, kept) in [
            ("--password=hunter1 --port=80", "--password=(redacted) --port=80"),
            ("DB_PASSWORD: \"hunter2\", a: 1", "DB_PASSWORD: \"(redacted)\", a: 1"),
            ("GET https://u:hunter3@h/x", "GET https://(redacted)@h/x"),
            ("?access_token=hunter4&a=b", "?access_token=(redacted)&a=b"),
            ("n1: link to n2 is up", "n1: link to n2 is up"),
        ] {
            assert_eq!(text(line), format!("{kept}\n"));
        }
    }

    #[test]
    fn records_are_blanked_line_by_line() {
        let told = text("{\"env\":\"A=hunter\"}\n{\"code\":\"x\"}\ncut {\"env\"\n");
        assert!(!told.contains("hunter") && told.contains("\"code\":\"x\""), "{told}");
        assert!(told.ends_with("cut {\"env\"\n"), "{told}");
    }
}
