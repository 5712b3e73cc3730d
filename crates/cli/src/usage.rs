//! A command line that makes no sense, said as every other failure.

use std::error::Error;
use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::failure::{Exit, Failure};

/// What is wrong with the command line.
pub(crate) fn failure(error: &clap::Error, typed: &[OsString]) -> Failure {
    let line: Vec<_> = typed.iter().map(|word| word.to_string_lossy()).collect();
    let failure =
        Failure::new(Exit::Usage, format!("cannot understand `stead {}`", line.join(" ")))
            .because(cause(error));
    failure.hint(hint(error))
}

fn cause(error: &clap::Error) -> String {
    let argument = context(error, ContextKind::InvalidArg).unwrap_or_default();
    let value = context(error, ContextKind::InvalidValue).unwrap_or_default();
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let word = context(error, ContextKind::InvalidSubcommand).unwrap_or_default();
            format!("there is no command `{word}`")
        }
        ErrorKind::UnknownArgument => format!("nothing is expected where `{argument}` stands"),
        ErrorKind::MissingRequiredArgument => format!("{} is missing", quoted(&argument)),
        ErrorKind::InvalidValue if value.is_empty() => format!("`{argument}` needs a value"),
        ErrorKind::InvalidValue => format!("`{value}` is no value for `{argument}`"),
        ErrorKind::ValueValidation => match error.source() {
            Some(why) => format!("`{value}` is no value for `{argument}`: {why}"),
            None => format!("`{value}` is no value for `{argument}`"),
        },
        ErrorKind::ArgumentConflict => match context(error, ContextKind::PriorArg) {
            Some(prior) if prior != argument => {
                format!("`{argument}` and `{prior}` exclude each other")
            }
            _ => format!("`{argument}` is given twice"),
        },
        _ => first_line(error),
    }
}

fn hint(error: &clap::Error) -> String {
    for kind in
        [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue]
    {
        if let Some(meant) = context(error, kind) {
            return format!("did you mean {}?", quoted(&meant));
        }
    }
    if let Some(valid) = context(error, ContextKind::ValidValue).filter(|v| !v.is_empty()) {
        return format!("use one of {}", quoted(&valid));
    }
    match context(error, ContextKind::Usage) {
        Some(usage) => {
            let usage = usage.trim().trim_start_matches("Usage: ");
            format!("it is used as `{usage}`")
        }
        None => "add `--help` to see what is expected".into(),
    }
}

/// What clap knows about the error, several values separated by commas.
fn context(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => Some(texts.join(", ")),
        ContextValue::StyledStr(text) => Some(text.to_string()),
        _ => None,
    }
}

fn quoted(list: &str) -> String {
    list.split(", ").map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

fn first_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}
