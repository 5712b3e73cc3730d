//! Live records: an answer that does not end, one record per line.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use hyper::body::{Bytes, Frame};
use serde::Serialize;
use stead_model::record::Record;
use tokio::sync::mpsc;

use crate::backend::{Backend, Later};
use crate::contract::Audited;
use crate::routes::Shared;

/// Most records in one answer or batch.
pub(crate) const BATCH_MAX: usize = 1000;

/// An empty line after this much silence shows a follower that the node still answers.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// What is numbered and can be followed.
pub(crate) trait Followed: Serialize + Send + 'static {
    /// Those from a number on, and the number to go on with.
    fn since(backend: &dyn Backend, since: u64) -> (Vec<Self>, u64)
    where
        Self: Sized;

    /// Completes when there is one with this number or a later one.
    fn after(backend: &dyn Backend, next: u64) -> Later<'_, ()>;
}

impl Followed for Record {
    fn since(backend: &dyn Backend, since: u64) -> (Vec<Self>, u64) {
        let batch = backend.events(since, BATCH_MAX);
        (batch.records, batch.next)
    }

    fn after(backend: &dyn Backend, next: u64) -> Later<'_, ()> {
        backend.events_after(next)
    }
}

impl Followed for Audited {
    fn since(backend: &dyn Backend, since: u64) -> (Vec<Self>, u64) {
        let batch = backend.audited(since, BATCH_MAX);
        (batch.entries, batch.next)
    }

    fn after(backend: &dyn Backend, next: u64) -> Later<'_, ()> {
        backend.audited_after(next)
    }
}

/// Answers with all records from `since` on, now and as they come.
///
/// A follower that does not read is not buffered for: it gets the next batch when it has taken
/// the last one, and what the node no longer keeps by then is left out (numbers show the gap).
pub(crate) fn follow<T: Followed>(backend: Shared, since: u64) -> Response {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(feed::<T>(backend, since, sender));
    let headers = [(CONTENT_TYPE, "application/x-ndjson")];
    (headers, Body::new(Lines(receiver))).into_response()
}

async fn feed<T: Followed>(backend: Shared, since: u64, sender: mpsc::Sender<Bytes>) {
    let mut next = since;
    loop {
        let (batch, after) = T::since(&*backend, next);
        next = after.max(next);
        let mut text = Vec::new();
        for record in &batch {
            if serde_json::to_writer(&mut text, record).is_ok() {
                text.push(b'\n');
            }
        }
        if !text.is_empty() && sender.send(text.into()).await.is_err() {
            return;
        }
        tokio::select! {
            () = T::after(&*backend, next) => {}
            () = sender.closed() => return,
            () = tokio::time::sleep(SIGN_OF_LIFE) => {
                if sender.send(Bytes::from_static(b"\n")).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// The body: what the feeding task sends.
struct Lines(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|bytes| bytes.map(|b| Ok(Frame::data(b))))
    }
}
