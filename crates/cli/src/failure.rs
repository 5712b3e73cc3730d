//! How a command ends, and what is said when it does not end well.
//!
//! Every message names what failed on which object, because of what, and what to do about it.

use std::error::Error;
use std::process::ExitCode;

use serde::Serialize;
use stead_api::ClientError;
use stead_model::reason::{Code, Reason};

use crate::screen;

/// The exit codes, the same for every command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// Done, or healthy.
    Ok = 0,
    /// Refused, failed or unhealthy.
    Refused = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// Nobody answers who could do it.
    Unreachable = 3,
    /// A bug of stead.
    Bug = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A command that did not end well.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Failure {
    /// How the program ends.
    pub(crate) exit: Exit,
    code: String,
    what: String,
    cause: Option<String>,
    hint: Option<String>,
}

/// The same with `--json`, in the shape the API uses for refusals.
#[derive(Serialize)]
struct Problem<'a> {
    error: Told<'a>,
}

#[derive(Serialize)]
struct Told<'a> {
    code: &'a str,
    text: &'a str,
    cause: Option<&'a str>,
    hint: Option<&'a str>,
}

impl Failure {
    /// `what` begins with `cannot` and names the object.
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        let code = match exit {
            Exit::Ok | Exit::Refused => "refused",
            Exit::Usage => "usage",
            Exit::Unreachable => "unreachable",
            Exit::Bug => "bug",
        };
        Self { exit, code: code.into(), what: what.into(), cause: None, hint: None }
    }

    /// What failed and why, on one line.
    pub(crate) fn sentence(&self) -> String {
        let cause = self.cause.as_ref().map_or_else(String::new, |cause| format!(": {cause}"));
        format!("{}{cause}", self.what)
    }

    /// A refusal with a code of the API.
    pub(crate) fn refused(doing: &str, reason: Reason) -> Self {
        let exit = if reason.code == Code::Bug { Exit::Bug } else { Exit::Refused };
        let code = serde_json::to_value(reason.code).ok();
        let code = code.and_then(|c| c.as_str().map(str::to_owned)).unwrap_or_default();
        let (what, cause) = if reason.text.starts_with("cannot ") {
            (reason.text, reason.cause)
        } else {
            let cause = match reason.cause {
                Some(cause) => format!("{}: {cause}", reason.text),
                None => reason.text,
            };
            (format!("cannot {doing}"), Some(cause))
        };
        Self { exit, code, what, cause, hint: reason.hint }
    }

    /// There was no answer, or the answer was no. `doing` completes "cannot …".
    pub(crate) fn of_client(doing: &str, error: ClientError) -> Self {
        let cause = error.to_string();
        let failed = Self::new(Exit::Unreachable, format!("cannot {doing}")).because(cause);
        match error {
            ClientError::Refused(reason) => Self::refused(doing, reason),
            ClientError::Unreachable { .. } => {
                failed.hint("`stead status` shows which nodes answer")
            }
            ClientError::Broken { .. } => failed.hint("`stead status` shows what became of it"),
            ClientError::Silent { .. } => failed
                .hint("it may still take effect; look with `stead status` before repeating it"),
        }
    }

    /// A lab could not do it. Its errors end in what to do, after a semicolon, where they know.
    pub(crate) fn of_lab(exit: Exit, what: impl Into<String>, error: &dyn Error) -> Self {
        let mut causes = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            causes = format!("{causes}: {error}");
            source = error.source();
        }
        let failure = Self::new(exit, what);
        match causes.split_once("; ") {
            Some((cause, hint)) => failure.because(cause).hint(hint),
            None => failure.because(causes),
        }
    }

    pub(crate) fn because(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says it on stderr.
    pub(crate) fn tell(&self, json: bool) {
        screen::talk(&if json { self.as_json() } else { self.as_text() });
    }

    fn as_text(&self) -> String {
        let mut text = format!("error: {}", self.what);
        if let Some(cause) = &self.cause {
            text.push_str(&format!("\n  cause: {cause}"));
        }
        if let Some(hint) = &self.hint {
            text.push_str(&format!("\nhint: {hint}"));
        }
        text
    }

    fn as_json(&self) -> String {
        let (cause, hint) = (self.cause.as_deref(), self.hint.as_deref());
        let error = Told { code: &self.code, text: &self.what, cause, hint };
        serde_json::to_string(&Problem { error }).unwrap_or_else(|_| self.as_text())
    }
}
