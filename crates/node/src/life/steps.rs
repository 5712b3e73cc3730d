//! Steps in order, each of which sees whether it is done.

use stead_model::reason::Reason;

/// What a step found or did, told when it is done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    /// Its number, from 1 on.
    pub number: usize,
    /// How many there are.
    pub of: usize,
    /// What it is about.
    pub step: &'static str,
    /// What was done, or that it was done before.
    pub text: String,
}

/// One step.
pub(super) struct Step<W> {
    pub(super) name: &'static str,
    /// Does it unless it is done; says which.
    pub(super) run: fn(&W) -> Result<String, Reason>,
}

/// Carries out all of them; ends at the first that fails. Repeating goes on there.
pub(super) fn carry_out<W>(
    steps: &[Step<W>],
    work: &W,
    tell: &mut dyn FnMut(Told),
) -> Result<(), Reason> {
    for (number, step) in (1..).zip(steps) {
        let text = (step.run)(work).map_err(|reason| match &reason.hint {
            Some(_) => reason,
            None => reason.hint("what was done before is kept: repeat the command to go on"),
        })?;
        tell(Told { number, of: steps.len(), step: step.name, text });
    }
    Ok(())
}
