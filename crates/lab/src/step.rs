//! One step on this host, and why it failed: what was tried, on which object, because of what.

use std::error::Error;
use std::fmt::Display;

/// A step on this host that failed; the cause is the `source`.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} `{object}`")]
pub struct StepError {
    step: &'static str,
    object: String,
    #[source]
    cause: Box<dyn Error + Send + Sync>,
}

impl StepError {
    pub(crate) fn new(
        step: &'static str,
        object: impl Display,
        cause: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self { step, object: object.to_string(), cause: cause.into() }
    }
}

/// Names the step that a result belongs to.
pub(crate) trait Step<T> {
    fn step(self, step: &'static str, object: impl Display) -> Result<T, StepError>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> Step<T> for Result<T, E> {
    fn step(self, step: &'static str, object: impl Display) -> Result<T, StepError> {
        self.map_err(|cause| StepError::new(step, object, cause))
    }
}

/// An error with all its causes in one line, for a process that only gets text.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_names_step_object_and_cause() {
        let failed: Result<(), _> = Err(std::io::Error::from_raw_os_error(libc::ENOENT));
        let error = failed.step("open", "/nowhere").unwrap_err();
        assert_eq!(chain(&error), "cannot open `/nowhere`: No such file or directory (os error 2)");
    }
}
