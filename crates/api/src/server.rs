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
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::backend::Backend;
use crate::routes::{Caller, router};

/// A handler that has no answer after this time answers `timeout`.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The head of a request must arrive, and an idle connection be used again, within this time.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections served at once; more wait in the socket's queue.
const CONNECTIONS_MAX: usize = 128;
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

/// Makes the socket, in the place of one that nobody answers on any more. Only root and the
/// user of the node service can connect.
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
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

/// Serves the API until the future is dropped. Runs on a current-thread runtime.
pub async fn serve(listener: UnixListener, backend: Arc<dyn Backend>) {
    let routes = router(backend);
    let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors: connections that end make room.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        if let Some(caller) = admit(&stream) {
            let routes = routes.clone().layer(Extension(caller));
            tokio::spawn(async move {
                connection(stream, routes).await;
                drop(permit);
            });
        }
    }
}

/// Who is at the other end, if it may ask: root or the user this process runs as.
fn admit(stream: &UnixStream) -> Option<Caller> {
    let peer = stream.peer_cred().ok()?;
    let own = rustix::process::geteuid().as_raw();
    if peer.uid() != 0 && peer.uid() != own {
        return None;
    }
    let who = match peer.pid() {
        Some(pid) => format!("uid {} (pid {pid}) on the local socket", peer.uid()),
        None => format!("uid {} on the local socket", peer.uid()),
    };
    Some(Caller(who.into()))
}

/// One connection. Its errors are the client's: it went away or spoke no HTTP.
async fn connection(stream: UnixStream, routes: Router) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes))
        .await;
    drop(served);
}
