//! What raft asks of a membership change, and a one-line text form of it.
//!
//! A change is either one step ([`ConfChange`], the old form) or any number of steps done at once
//! ([`ConfChangeV2`]); [`ConfChangeI`] lets raft treat the first as the second.

use crate::eraftpb::{
    ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2,
};
use std::borrow::Cow;

/// One step of a membership change.
#[must_use]
pub fn new_conf_change_single(node_id: u64, change_type: ConfChangeType) -> ConfChangeSingle {
    ConfChangeSingle { change_type, node_id }
}

/// Reads steps separated by blanks: `v1` makes node 1 a voter, `l1` a learner, `r1` removes it.
///
/// # Errors
/// The message names the first word that is no step.
pub fn parse_conf_change(text: &str) -> Result<Vec<ConfChangeSingle>, String> {
    text.split_ascii_whitespace().map(parse_step).collect()
}

fn parse_step(word: &str) -> Result<ConfChangeSingle, String> {
    let steps = [
        ("v", ConfChangeType::AddNode),
        ("l", ConfChangeType::AddLearnerNode),
        ("r", ConfChangeType::RemoveNode),
    ];
    steps
        .into_iter()
        .find_map(|(letter, change_type)| Some((word.strip_prefix(letter)?, change_type)))
        .and_then(|(id, change_type)| Some(new_conf_change_single(id.parse().ok()?, change_type)))
        .ok_or_else(|| format!("'{word}' is no membership step (v, l or r and a node id)"))
}

/// The text that [`parse_conf_change`] reads back to the same steps.
#[must_use]
pub fn stringify_conf_change(steps: &[ConfChangeSingle]) -> String {
    let words: Vec<String> = steps.iter().map(step_text).collect();
    words.join(" ")
}

fn step_text(step: &ConfChangeSingle) -> String {
    let letter = match step.change_type {
        ConfChangeType::AddNode => 'v',
        ConfChangeType::AddLearnerNode => 'l',
        ConfChangeType::RemoveNode => 'r',
    };
    format!("{letter}{}", step.node_id)
}

/// A membership change in either form.
pub trait ConfChangeI {
    /// The change as any number of steps, consuming it.
    fn into_v2(self) -> ConfChangeV2;

    /// The change as any number of steps.
    fn as_v2(&self) -> Cow<'_, ConfChangeV2>;

    /// The change in the old form, if it has that form.
    fn as_v1(&self) -> Option<&ConfChange>;
}

impl ConfChangeI for ConfChange {
    fn into_v2(self) -> ConfChangeV2 {
        ConfChangeV2 {
            transition: ConfChangeTransition::Auto,
            changes: vec![new_conf_change_single(self.node_id, self.change_type)],
            context: self.context,
        }
    }

    fn as_v2(&self) -> Cow<'_, ConfChangeV2> {
        Cow::Owned(self.clone().into_v2())
    }

    fn as_v1(&self) -> Option<&ConfChange> {
        Some(self)
    }
}

impl ConfChangeI for ConfChangeV2 {
    fn into_v2(self) -> ConfChangeV2 {
        self
    }

    fn as_v2(&self) -> Cow<'_, ConfChangeV2> {
        Cow::Borrowed(self)
    }

    fn as_v1(&self) -> Option<&ConfChange> {
        None
    }
}

impl ConfChangeV2 {
    /// Whether the change goes through a joint configuration: `None` for one that does not, else
    /// whether the joint configuration is left automatically.
    #[must_use]
    pub fn enter_joint(&self) -> Option<bool> {
        match self.transition {
            ConfChangeTransition::Auto => (self.changes.len() > 1).then_some(true),
            ConfChangeTransition::Implicit => Some(true),
            ConfChangeTransition::Explicit => Some(false),
        }
    }

    /// Whether the change is the one that leaves a joint configuration: it has no steps and asks
    /// for no kind of transition.
    #[must_use]
    pub fn leave_joint(&self) -> bool {
        matches!(self.transition, ConfChangeTransition::Auto) && self.changes.is_empty()
    }
}
