//! Resource types that are programs of others: `ext:NAME`.
//!
//! `types/external` is such a type as a resource; here is what it is made of. [`catalogue`] finds
//! programs, [`session`] talks with one, [`table`] judges descriptions and properties, [`stage`]
//! puts one into a place under the guard, [`companion`] runs one without, and by
//! that [`inspection`] hears what is installed.
//!
//! Nothing that a program does may hurt the monitor: every call has a time limit, messages have a
//! size and a rate, and what breaks the rules is named.

pub(crate) mod catalogue;
pub(crate) mod companion;
pub(crate) mod inspection;
pub(crate) mod session;
pub(crate) mod stage;
pub(crate) mod table;

use std::time::Duration;

use stead_resource_sdk::protocol::{Ask, Description, PROTOCOL};

use crate::bell::Cancel;
use session::{End, Session};

/// `describe`, `open` and `close` touch nothing and need no longer.
pub(crate) const SHORT_LIMIT: Duration = Duration::from_secs(10);

/// What a program said, for people: one line without control characters, not too long.
pub(crate) fn sentence(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut line = line.trim().to_owned();
    if let Some((end, _)) = line.char_indices().nth(SENTENCE_CHARS_MAX) {
        line.truncate(end);
        line.push('…');
    }
    line
}

const SENTENCE_CHARS_MAX: usize = 400;

/// The description that a program gives, if it makes sense.
///
/// # Errors
/// It gives none, or it does not.
pub(crate) fn described(
    session: &Session,
    name: &str,
    cancel: &Cancel,
) -> Result<Description, String> {
    let description: Description =
        session.ask(describing(), SHORT_LIMIT, cancel).map_err(|end| why(end, name))?;
    table::check(&description, name).map_err(|why| {
        format!("resource type `ext:{name}` does not describe itself well: {why}")
    })?;
    Ok(description)
}

/// The first call.
pub(crate) fn describing() -> Ask {
    Ask::Describe { protocols: vec![PROTOCOL] }
}

/// Why a call to a type's program came to nothing.
pub(crate) fn why(end: End, name: &str) -> String {
    match end {
        End::Done(_) => String::new(),
        End::Failed(why) | End::Late(why) | End::Broken(why) => {
            format!("resource type `ext:{name}`: {why}")
        }
        End::Cancelled => "it was cancelled".to_owned(),
    }
}
