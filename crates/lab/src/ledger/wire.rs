//! As much of the PostgreSQL protocol (version 3) as the ledger needs: a connection without
//! password and without encryption, and simple queries.
//!
//! Spoken by us: it takes four kinds of messages, a client library would bring 40 more crates.

use std::io;
use std::net::SocketAddrV4;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Version 3.0.
const PROTOCOL: i32 = 196_608;
/// No answer that the ledger asks for has longer messages.
const MESSAGE_MAX: usize = 1 << 20;

/// A connection that is ready for a query.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
}

/// One row: its columns as text, `None` where one is null.
pub(super) type Columns = Vec<Option<String>>;

/// A message of the server.
struct Message {
    kind: u8,
    body: Vec<u8>,
}

impl Connection {
    /// Connects as user `postgres` to the database of that name.
    pub(super) async fn open(target: SocketAddrV4) -> io::Result<Self> {
        let stream = TcpStream::connect(target).await?;
        stream.set_nodelay(true)?;
        let mut connection = Self { stream };
        let mut body = PROTOCOL.to_be_bytes().to_vec();
        body.extend(b"user\0postgres\0database\0postgres\0application_name\0ledger\0\0");
        let mut bytes = length(&body)?.to_vec();
        bytes.extend(body);
        connection.stream.write_all(&bytes).await?;
        connection.until_ready().await?;
        Ok(connection)
    }

    /// Runs one statement in a transaction of its own. When this returns well it is committed.
    pub(super) async fn query(&mut self, statement: &str) -> io::Result<Vec<Columns>> {
        let mut body = statement.as_bytes().to_vec();
        body.push(0);
        let mut bytes = vec![b'Q'];
        bytes.extend(length(&body)?);
        bytes.extend(body);
        self.stream.write_all(&bytes).await?;
        self.until_ready().await
    }

    /// Reads until the server is ready for the next query.
    async fn until_ready(&mut self) -> io::Result<Vec<Columns>> {
        let mut rows = Vec::new();
        let mut error = None;
        loop {
            let message = match self.receive().await {
                Ok(message) => message,
                // Before it is ready it hangs up behind an error.
                Err(end) => return Err(error.unwrap_or(end)),
            };
            match message.kind {
                b'Z' => return error.map_or(Ok(rows), Err),
                b'E' => error = Some(io::Error::other(reason(&message.body))),
                b'D' => rows.push(columns(&message.body).ok_or_else(garbage)?),
                b'R' if message.body != [0; 4] => {
                    return Err(io::Error::other("the server wants a password"));
                }
                // Parameters, keys, descriptions, notices.
                _ => {}
            }
        }
    }

    async fn receive(&mut self) -> io::Result<Message> {
        let kind = self.stream.read_u8().await?;
        let length = usize::try_from(self.stream.read_i32().await?).map_err(|_| garbage())?;
        let length = length.checked_sub(4).filter(|n| *n <= MESSAGE_MAX).ok_or_else(garbage)?;
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        Ok(Message { kind, body })
    }
}

/// The length in front of a body counts itself.
fn length(body: &[u8]) -> io::Result<[u8; 4]> {
    let length = i32::try_from(body.len() + 4).map_err(io::Error::other)?;
    Ok(length.to_be_bytes())
}

fn garbage() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no message of PostgreSQL")
}

/// The columns of a data row.
fn columns(body: &[u8]) -> Option<Columns> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    let mut columns = Vec::new();
    for _ in 0..i16::from_be_bytes(*count) {
        let (length, behind) = rest.split_first_chunk::<4>()?;
        let length = i32::from_be_bytes(*length);
        rest = behind;
        let Ok(length) = usize::try_from(length) else {
            columns.push(None);
            continue;
        };
        let (value, behind) = rest.split_at_checked(length)?;
        columns.push(Some(String::from_utf8_lossy(value).into_owned()));
        rest = behind;
    }
    Some(columns)
}

/// The words of an error: field `M`.
fn reason(body: &[u8]) -> String {
    let fields = body.split(|byte| *byte == 0);
    let text = fields.filter_map(|field| field.strip_prefix(b"M")).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_and_a_short_one_is_garbage() {
        let row = b"\0\x03\0\0\0\x0242\xff\xff\xff\xff\0\0\0\0";
        let read = columns(row).unwrap();
        assert_eq!(read, [Some("42".to_owned()), None, Some(String::new())]);
        for end in 0..row.len() {
            assert_eq!(columns(&row[..end]), None, "{end}");
        }
    }

    #[test]
    fn an_error_says_why() {
        let body = b"SFATAL\0C57P03\0Mthe database system is starting up\0\0";
        assert_eq!(reason(body), "the database system is starting up");
        assert_eq!(reason(b""), "");
    }
}
