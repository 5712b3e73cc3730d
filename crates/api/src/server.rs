//! The server on a Unix socket: who may connect, how many, how long.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use stead_model::role::Role;
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::backend::Backend;
use crate::caller::Caller;
use crate::client::Wire;
use crate::routes::router;

/// A handler that has no answer after this time answers `timeout`.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The head of a request must arrive, and an idle connection be used again, within this time.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections of admins served at once; more wait in the socket's queue.
const ADMINS_MAX: usize = 128;
/// Connections of others with a role served at once; more are closed.
const OTHERS_MAX: usize = 64;
/// Connections without a role that are told so at once; more are closed.
const STRANGERS_MAX: usize = 8;
/// Bytes of a request's head; also the size of a connection's read buffer.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Why the socket cannot be listened on.
#[derive(Debug, Error)]
pub enum BindError {
    /// Somebody else answers there.
    #[error("`{path}` is in use: another node service of this node answers there")]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot listen on `{path}`")]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Makes the socket, in the place of one that nobody answers on any more. Every user of the
/// machine can connect, to be told what it may not; who may ask is [`serve`]'s.
///
/// # Errors
/// The path is in use or cannot be made.
pub fn bind(path: &Path) -> Result<UnixListener, BindError> {
    let failed = |source| BindError::Io { path: path.to_owned(), source };
    match StdUnixStream::connect(path) {
        Ok(_) => return Err(BindError::InUse { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(failed)?;
        }
        Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).map_err(failed)?;
    Ok(listener)
}

/// Serves the API until the future is dropped. Runs on a current-thread runtime. `identify` says
/// who is at the other end; `None`: nobody any more.
pub async fn serve(
    listener: UnixListener,
    backend: Arc<dyn Backend>,
    identify: impl Fn(&UnixStream) -> Option<Caller>,
) {
    let routes = router(backend);
    let seats = Seats::new();
    loop {
        let Ok(seat) = Arc::clone(&seats.admins).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors: connections that end make room.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Some(caller) = identify(&stream) else { continue };
        let Some(seat) = seats.of(&caller, seat) else { continue };
        let routes = routes.clone();
        tokio::spawn(async move {
            answer(stream, routes, caller).await;
            drop(seat);
        });
    }
}

/// How many are served at once, so that nobody takes the place of somebody who may do more.
struct Seats {
    admins: Arc<Semaphore>,
    others: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
}

impl Seats {
    fn new() -> Self {
        let seats = |count| Arc::new(Semaphore::new(count));
        let (admins, others) = (seats(ADMINS_MAX), seats(OTHERS_MAX));
        Self { admins, others, strangers: seats(STRANGERS_MAX) }
    }

    /// The seat of a caller, who was given one of an admin before it was known.
    fn of(&self, caller: &Caller, seat: OwnedSemaphorePermit) -> Option<OwnedSemaphorePermit> {
        match caller.role {
            Some(Role::Admin) => Some(seat),
            Some(Role::Operator | Role::Viewer) => {
                Arc::clone(&self.others).try_acquire_owned().ok()
            }
            None => Arc::clone(&self.strangers).try_acquire_owned().ok(),
        }
    }
}

/// Answers one caller until its connection ends.
pub async fn answer(stream: impl Wire, routes: Router, caller: Caller) {
    connection(stream, routes.layer(Extension(caller))).await;
}

/// One connection. Its errors are the client's: it went away or spoke no HTTP.
async fn connection(stream: impl Wire, routes: Router) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes))
        .await;
    drop(served);
}
