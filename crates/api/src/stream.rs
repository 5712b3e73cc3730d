//! Live records: an answer that does not end, one record per line.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use hyper::body::{Bytes, Frame};
use tokio::sync::mpsc;

use crate::routes::Shared;

/// Most records in one answer or batch.
pub(crate) const BATCH_MAX: usize = 1000;

/// An empty line after this much silence shows a follower that the node still answers.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// Answers with all records from `since` on, now and as they come.
///
/// A follower that does not read is not buffered for: it gets the next batch when it has taken
/// the last one, and what the node no longer keeps by then is left out (numbers show the gap).
pub(crate) fn follow(backend: Shared, since: u64) -> Response {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(feed(backend, since, sender));
    let headers = [(CONTENT_TYPE, "application/x-ndjson")];
    (headers, Body::new(Lines(receiver))).into_response()
}

async fn feed(backend: Shared, since: u64, sender: mpsc::Sender<Bytes>) {
    let mut next = since;
    loop {
        let batch = backend.events(next, BATCH_MAX);
        next = batch.next.max(next);
        let mut text = Vec::new();
        for record in &batch.records {
            if serde_json::to_writer(&mut text, record).is_ok() {
                text.push(b'\n');
            }
        }
        if !text.is_empty() && sender.send(text.into()).await.is_err() {
            return;
        }
        tokio::select! {
            () = backend.events_after(next) => {}
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
