//! Refusals as HTTP statuses: one table with what user and operator do.
//!
//! | code | status | the user | the operator |
//! |---|---|---|---|
//! | `not-found` | 404 | corrects the name | nothing |
//! | `exists` | 409 | chooses another name | nothing |
//! | `invalid` | 400 | corrects the value | nothing |
//! | `conflict` | 409 | changes the object's state first, as the hint says | nothing |
//! | `no-quorum` | 503 | asks another node or waits | brings nodes, links, disk back |
//! | `timeout` | 504 | repeats with the same request id | looks for slow disks and links |
//! | `too-much` | 429 | waits and repeats | looks for the client that floods |
//! | `denied` | 403 | asks somebody with the role | gives the role, if it is right to |
//! | `bug` | 500 | reports it | reports it with the node's last records |

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use stead_model::reason::{Code, Reason};

use crate::contract::Problem;

/// The HTTP status of a refusal.
#[must_use]
pub const fn status(code: Code) -> StatusCode {
    match code {
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Exists | Code::Conflict => StatusCode::CONFLICT,
        Code::Invalid => StatusCode::BAD_REQUEST,
        Code::NoQuorum => StatusCode::SERVICE_UNAVAILABLE,
        Code::Timeout => StatusCode::GATEWAY_TIMEOUT,
        Code::TooMuch => StatusCode::TOO_MANY_REQUESTS,
        Code::Bug => StatusCode::INTERNAL_SERVER_ERROR,
        Code::Denied => StatusCode::FORBIDDEN,
    }
}

/// A refusal on its way out.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) Reason);

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self(reason)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (status(self.0.code), Json(Problem { error: self.0 })).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_in_the_docs_is_the_table_in_the_code() {
        let text = include_str!("status.rs");
        let codes = [
            Code::NotFound,
            Code::Exists,
            Code::Invalid,
            Code::Conflict,
            Code::NoQuorum,
            Code::Timeout,
            Code::TooMuch,
            Code::Bug,
            Code::Denied,
        ];
        for code in codes {
            let name = serde_json::to_value(code).unwrap();
            let row = format!("//! | `{}` | {} |", name.as_str().unwrap(), status(code).as_u16());
            assert!(text.contains(&row), "no row `{row}`");
        }
    }
}
