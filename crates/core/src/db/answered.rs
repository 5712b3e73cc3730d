//! The memory of answered requests: a repeated request gets the first answer.
//!
//! Bounded: after [`REMEMBERED`] later requests the oldest is forgotten.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use stead_model::reason::{Code, Reason};
use stead_model::request::Answer;
use stead_model::{LogIndex, RequestId};

/// How many requests are remembered.
pub const REMEMBERED: usize = 4096;

/// The last answered requests.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Answered {
    by_id: BTreeMap<RequestId, (LogIndex, Option<String>)>,
    oldest_first: VecDeque<RequestId>,
}

impl Answered {
    /// The answer given, if the request is remembered.
    #[must_use]
    pub fn get(&self, id: RequestId) -> Option<Answer> {
        let (index, refused) = self.by_id.get(&id)?;
        Some(match refused {
            None => Answer::Done { index: *index },
            Some(cause) => Answer::Refused(
                Reason::new(Code::Conflict, "the cluster changed before the request took effect")
                    .because(cause.clone())
                    .hint("look at the present state and ask again"),
            ),
        })
    }

    /// Remembers an answer; the first one for an id stays.
    pub fn remember(&mut self, id: RequestId, index: LogIndex, refused: Option<String>) {
        if self.by_id.contains_key(&id) {
            return;
        }
        self.by_id.insert(id, (index, refused));
        self.oldest_first.push_back(id);
        if self.oldest_first.len() > REMEMBERED
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.by_id.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> RequestId {
        RequestId { client: 7, number }
    }

    #[test]
    fn the_first_answer_stays_and_the_oldest_is_forgotten() {
        let mut memory = Answered::default();
        for number in 0..REMEMBERED as u64 {
            memory.remember(id(number), LogIndex(number), None);
        }
        memory.remember(id(0), LogIndex(9_999), None);
        assert_eq!(memory.get(id(0)), Some(Answer::Done { index: LogIndex(0) }));
        memory.remember(id(5_000), LogIndex(5_000), None);
        assert_eq!(memory.get(id(0)), None);
        assert_eq!(memory.get(id(1)), Some(Answer::Done { index: LogIndex(1) }));
        assert_eq!(memory.by_id.len(), memory.oldest_first.len());
    }
}
