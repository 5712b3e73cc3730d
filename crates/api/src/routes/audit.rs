//! What changes something: the role of whoever asks is looked at first, and every answer is
//! audited, also one that does not come.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use stead_model::reason::{Code, Reason};
use stead_model::request::{Answer, Envelope, Request};
use stead_model::role::Role;
use stead_model::{NodeId, UtcMillis};
use utoipa::OpenApi;

use super::Shared;
use super::asked::{Asker, Options};
use super::read::EventOptions;
use crate::contract::{AuditLog, Audited, Outcome, Problem};
use crate::stream;

/// The paths of this file for the document.
pub(crate) fn paths() -> utoipa::openapi::OpenApi {
    #[derive(OpenApi)]
    #[openapi(paths(audit))]
    struct Document;
    Document::openapi()
}

/// The audit log of this node: who asked it for which changes, and how they ended.
#[utoipa::path(get, path = "/v1/audit",
    params(
        ("since" = Option<u64>, Query, description = "lines from this number on, default 0"),
        ("limit" = Option<usize>, Query, description = "at most this many, default and most 1000"),
        ("follow" = Option<bool>, Query, description = "true: the answer does not end, as that of \
            `/v1/events`"),
    ),
    responses(
    (status = 200, body = AuditLog, description = "with `follow`: application/x-ndjson"),
    (status = "default", body = Problem)))]
pub(super) async fn audit(
    State(backend): State<Shared>,
    Options(options): Options<EventOptions>,
) -> Response {
    if options.follow == Some(true) {
        return stream::follow::<Audited>(backend, options.since());
    }
    Json(backend.audited(options.since(), options.limit())).into_response()
}

/// Has the core decide a request, if whoever asks may ask for it.
pub(super) async fn decided(backend: &Shared, asker: Asker, request: Request) -> Answer {
    let (needed, what) = (Role::needed(&request), request.to_string());
    if request.is_question() {
        if let Err(reason) = asker.caller.may(needed, &what) {
            return Answer::Refused(reason);
        }
        let who = asker.caller.who.to_string();
        return backend.request(Envelope { id: asker.id, who, request }).await;
    }
    let open = Open::new(backend, &asker, what);
    let allowed = asker.caller.may(needed, &open.entry.what);
    let answer = match allowed {
        Ok(()) => {
            let who = asker.caller.who.to_string();
            backend.request(Envelope { id: asker.id, who, request }).await
        }
        Err(reason) => Answer::Refused(reason),
    };
    match &answer {
        Answer::Done { index } | Answer::Noted { index, .. } => {
            open.close(Outcome::Done, format!("committed as entry {index}"));
        }
        Answer::Refused(reason) => open.refused(reason),
        Answer::Foreseen(_) => open.close(Outcome::Refused, "nothing was changed".into()),
    }
    answer
}

/// Does something on this node that no core decides, if whoever asks may have it done.
pub(super) async fn done<T>(
    backend: &Shared,
    asker: &Asker,
    (needed, what): (Role, String),
    work: impl Future<Output = Result<T, Reason>>,
) -> Result<T, Reason> {
    let open = Open::new(backend, asker, what);
    let result = match asker.caller.may(needed, &open.entry.what) {
        Ok(()) => work.await,
        Err(reason) => Err(reason),
    };
    match &result {
        Ok(_) => open.close(Outcome::Done, "answered".into()),
        Err(reason) => open.refused(reason),
    }
    result
}

/// A line of the audit log on its way. Whatever becomes of the handler, it is written.
struct Open {
    backend: Shared,
    entry: Audited,
}

impl Open {
    fn new(backend: &Shared, asker: &Asker, what: String) -> Self {
        let entry = Audited {
            number: 0,
            at: UtcMillis(0),
            node: NodeId(0),
            who: asker.caller.who.to_string(),
            role: asker.caller.role,
            request: Some(asker.id.to_string()),
            what,
            outcome: Outcome::Unknown,
            answer: "no answer in time; it may still have taken effect".into(),
            left_out: 0,
        };
        Self { backend: Shared::clone(backend), entry }
    }

    fn refused(self, reason: &Reason) {
        let outcome = match reason.code {
            Code::Denied => Outcome::Denied,
            Code::Timeout | Code::Bug => Outcome::Unknown,
            Code::NotFound
            | Code::Exists
            | Code::Invalid
            | Code::Conflict
            | Code::NoQuorum
            | Code::TooMuch => Outcome::Refused,
        };
        self.close(outcome, reason.to_string());
    }

    fn close(mut self, outcome: Outcome, answer: String) {
        (self.entry.outcome, self.entry.answer) = (outcome, answer);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.backend.audit(self.entry.clone());
    }
}
