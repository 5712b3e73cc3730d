//! How events and effects read in a trace: as they say themselves, with raft messages opened.

use std::fmt;

use raft::eraftpb::Message;
use stead_core::{Effect, Event};
use stead_model::wire::peer::{PeerMessage, RaftMessage};

/// A raft message in words.
struct Opened<'a>(&'a RaftMessage);

impl fmt::Display for Opened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RaftMessage { from, to, age, bytes } = self.0;
        let Ok(m) = postcard::from_bytes::<Message>(bytes) else {
            return write!(f, "raft {from}->{to} unreadable");
        };
        let kind = format!("{:?}", m.get_msg_type());
        let kind = kind.trim_start_matches("Msg");
        write!(f, "raft {from}->{to} {kind} t{} i{}/t{}", m.term, m.index, m.log_term)?;
        write!(f, " commit {} entries {}", m.commit, m.entries.len())?;
        if let (Some(first), Some(last)) = (m.entries.first(), m.entries.last()) {
            write!(f, " (i{}..i{}/t{})", first.index, last.index, last.term)?;
        }
        if m.reject {
            write!(f, " REJECTED hint {}/t{}", m.reject_hint, m.log_term)?;
        }
        age.map_or(Ok(()), |age| write!(f, " age {age}"))
    }
}

/// An event in words.
#[must_use]
pub fn event(event: &Event) -> String {
    match event {
        Event::Received { from, message: PeerMessage::Raft(raft), .. } => {
            format!("from {from}: {}", Opened(raft))
        }
        _ => event.to_string(),
    }
}

/// An effect in words.
#[must_use]
pub fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Send { to, message: PeerMessage::Raft(raft), .. } => {
            format!("to {to}: {}", Opened(raft))
        }
        _ => effect.to_string(),
    }
}
