//! What a request says, parsed: who asks, under which identity, which object, which body.
//!
//! Everything malformed is a [`Reason`], never a bare text.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use stead_model::reason::{Code, Reason};
use stead_model::{AlertId, GroupId, NodeId, RequestId, ResourceId};

use super::Shared;
use crate::caller::Caller;
use crate::contract::REQUEST_ID_HEADER;
use crate::status::Refusal;

/// Who asks and under which identity.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) id: RequestId,
    pub(super) caller: Caller,
}

impl FromRequestParts<Shared> for Asker {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, backend: &Shared) -> Result<Self, Refusal> {
        let caller = parts
            .extensions
            .get::<Caller>()
            .cloned()
            .ok_or_else(|| Refusal(Reason::new(Code::Bug, "nobody said who asks")))?;
        let id = match parts.headers.get(REQUEST_ID_HEADER) {
            None => backend.next_request_id(),
            Some(text) => text.to_str().ok().and_then(parse_request_id).ok_or_else(|| {
                Reason::new(Code::Invalid, format!("header `{REQUEST_ID_HEADER}` is malformed"))
                    .hint("it is `client.number`: hexadecimal, dot, decimal, as in `5ca1ab1e.7`")
            })?,
        };
        Ok(Self { id, caller })
    }
}

/// Parses `client.number`.
fn parse_request_id(text: &str) -> Option<RequestId> {
    let (client, number) = text.split_once('.')?;
    let client = u64::from_str_radix(client, 16).ok()?;
    Some(RequestId { client, number: number.parse().ok()? })
}

/// A JSON body.
#[derive(Debug)]
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Shared> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, backend: &Shared) -> Result<Self, Refusal> {
        let bytes = Bytes::from_request(request, backend).await.map_err(|error| {
            Reason::new(Code::TooMuch, "the body cannot be taken").because(error.body_text())
        })?;
        let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        let body = serde_json::from_slice(bytes).map_err(|error| {
            Reason::new(Code::Invalid, "the body does not fit")
                .because(error.to_string())
                .hint("`/v1/openapi.json` describes every body")
        })?;
        Ok(Self(body))
    }
}

/// Query parameters.
#[derive(Debug)]
pub(super) struct Options<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Shared> for Options<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, Refusal> {
        let options = Query::<T>::try_from_uri(&parts.uri).map_err(|error| {
            Reason::new(Code::Invalid, "the query does not fit").because(error.body_text())
        })?;
        Ok(Self(options.0))
    }
}

/// The group of that name, if it may be one.
pub(super) fn group_id(name: &str) -> Result<GroupId, Refusal> {
    if GroupId::is_valid(name) { Ok(name.into()) } else { Err(bad_name("group", name)) }
}

/// The alert of that name, if it may be one.
pub(super) fn alert_id(name: &str) -> Result<AlertId, Refusal> {
    if AlertId::is_valid(name) { Ok(name.into()) } else { Err(bad_name("alert", name)) }
}

/// The resource of that name, if it may be one.
pub(super) fn resource_id(name: &str) -> Result<ResourceId, Refusal> {
    if ResourceId::is_valid(name) { Ok(name.into()) } else { Err(bad_name("resource", name)) }
}

fn bad_name(noun: &str, name: &str) -> Refusal {
    let reason =
        Reason::new(Code::Invalid, format!("`{}` is no name of a {noun}", name.escape_debug()))
            .because(
                "a name has 1 to 63 of `a-z A-Z 0-9 . _ -` and starts with none of `.` and `-`",
            );
    Refusal(reason)
}

/// The node meant by `n1`, `1` or its host name.
pub(super) fn node_id(backend: &Shared, text: &str) -> Result<NodeId, Refusal> {
    let view = backend.view();
    let number = text.strip_prefix('n').unwrap_or(text).parse::<u16>().ok().map(NodeId);
    let node = view.nodes.iter().find(|n| n.name == text || Some(n.node) == number);
    node.map(|n| n.node).ok_or_else(|| {
        let reason =
            Reason::new(Code::NotFound, format!("there is no node `{}`", text.escape_debug()))
                .hint("`stead node list` shows all nodes");
        Refusal(reason)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_read_as_they_are_printed() {
        let id = RequestId { client: 0x5ca1_ab1e, number: 7 };
        assert_eq!(parse_request_id(&id.to_string()), Some(id));
        for bad in ["", ".", "1", "1.", ".1", "x.1", "1.x", "1.2.3", "1.-2"] {
            assert_eq!(parse_request_id(bad), None, "{bad}");
        }
    }
}
