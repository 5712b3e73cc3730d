//! The small web server of the demo, for hosts that have neither busybox nor nginx: an ordinary
//! program that says who answers. It knows nothing of stead.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

/// The subcommand of the program that leads to [`main`].
pub const SUBCOMMAND: &str = "demo-web";

/// Entry point of the hidden subcommand `demo-web [PORT]`: serves until it is killed.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let port = match arguments.into_iter().next() {
        None => Some(80),
        Some(word) => word.to_str().and_then(|word| word.parse().ok()),
    };
    let Some(port) = port else {
        let _ = writeln!(io::stderr(), "error: `{SUBCOMMAND}` takes one port number");
        return ExitCode::from(2);
    };
    match TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)) {
        Ok(listener) => serve(&listener),
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: cannot listen on port {port}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(listener: &TcpListener) -> ! {
    let answer = answer();
    loop {
        // A connection that is gone again is not the server's trouble.
        let Ok((stream, _)) = listener.accept() else { continue };
        let answer = answer.clone();
        // Without a thread to spare this caller gets no answer; the next one may.
        drop(thread::Builder::new().stack_size(STACK_BYTES).spawn(move || reply(stream, &answer)));
    }
}

fn reply(mut stream: TcpStream, answer: &str) {
    let asked = stream.set_read_timeout(Some(PATIENCE)).and_then(|()| {
        let mut request = [0; 2048];
        stream.read(&mut request)
    });
    if asked.is_ok_and(|bytes| bytes > 0) {
        let _ = stream.write_all(answer.as_bytes());
    }
}

fn answer() -> String {
    let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let epoch = std::env::var("STEAD_EPOCH").unwrap_or_else(|_| "-".into());
    let body = format!("{node} {epoch}\n");
    let length = body.len();
    format!(
        "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
}

const PATIENCE: Duration = Duration::from_secs(30);
const STACK_BYTES: usize = 64 << 10;
