//! Who is at the other end of a connection, and how much it may do.
//!
//! A node service tells a [`Caller`] by the way it came in; here its role is held against what it
//! asks for, once for all routes. Which role a request needs is [`Role::needed`]'s.

use std::sync::Arc;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use stead_model::reason::{Code, Reason};
use stead_model::role::Role;

use crate::status::Refusal;

/// Whoever asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caller {
    /// Who and from where, for records, as in `uid 0 (pid 12) on the local socket`.
    pub who: Arc<str>,
    /// What it may do; `None`: nothing.
    pub role: Option<Role>,
}

impl Caller {
    /// Whether it may do what takes a role.
    ///
    /// # Errors
    /// It may not.
    pub(crate) fn may(&self, needed: Role, what: &str) -> Result<(), Reason> {
        match self.role {
            Some(role) if role >= needed => Ok(()),
            Some(role) => {
                let text = format!("{} may not {what}", self.who);
                Err(Reason::new(Code::Denied, text)
                    .because(format!("that takes the role {needed}, and this is the role {role}"))
                    .hint(HINT))
            }
            None => Err(self.stranger()),
        }
    }

    fn stranger(&self) -> Reason {
        Reason::new(Code::Denied, format!("{} may ask nothing of this node", self.who))
            .because("it has no role")
            .hint(HINT)
    }
}

const HINT: &str = "root may everything; members of the groups `stead-viewer`, `stead-operator` \
    and `stead-admin` may what their role says";

/// Answers whoever has no role, whatever it asks.
pub(crate) async fn known(request: Request, next: Next) -> Response {
    match request.extensions().get::<Caller>() {
        Some(Caller { role: Some(_), .. }) => next.run(request).await,
        Some(caller) => Refusal(caller.stranger()).into_response(),
        None => {
            let reason = Reason::new(Code::Bug, "nobody said who asks");
            Refusal(reason).into_response()
        }
    }
}
