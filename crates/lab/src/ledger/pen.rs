//! The writing itself: one row after the other over one connection, and another connection as
//! soon as that one fails or is silent.

use std::io::{self, Read, Write};
use std::net::SocketAddrV4;
use std::time::Duration;

use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};

use super::wire::{Columns, Connection};
use super::{Entry, Row, Told};
use crate::clock::boot_ns;

/// Between an acknowledgement and the next row.
const PAUSE: Duration = Duration::from_millis(5);
/// A row that is not acknowledged by then is given up, with its connection.
const PATIENCE: Duration = Duration::from_millis(250);
/// While there is no connection another one is tried this often, without waiting for the others.
const NEXT_TRY: Duration = Duration::from_millis(20);

const CREATE: &str = "create table if not exists ledger \
    (seq bigint primary key, epoch bigint not null, node text not null)";
const READ: &str = "select seq, epoch, node from ledger order by seq";

/// Writes until standard input ends; one line of JSON per row that was tried.
pub(super) async fn write(target: SocketAddrV4, first: u64) -> io::Result<()> {
    tokio::select! {
        // Nobody writes anything there; whatever happens is the end.
        _ = spawn_blocking(|| io::stdin().read(&mut [0])) => Ok(()),
        ended = on_and_on(target, first) => ended,
    }
}

async fn on_and_on(target: SocketAddrV4, first: u64) -> io::Result<()> {
    let mut seq = first;
    loop {
        let mut connection = connected(target).await;
        loop {
            let entry = one(&mut connection, seq).await;
            seq += 1;
            say(&entry)?;
            if entry.told.is_none() {
                break;
            }
            sleep(PAUSE).await;
        }
    }
}

/// One row, in a transaction of its own; the server adds the epoch it runs in and its node.
async fn one(connection: &mut Connection, seq: u64) -> Entry {
    let statement = format!(
        "insert into ledger values ({seq}, ltrim(current_setting('stead.epoch'), 'e')::bigint, \
         current_setting('cluster_name')) returning seq, epoch, node"
    );
    let sent_ns = boot_ns();
    let answer = timeout(PATIENCE, connection.query(&statement)).await;
    let rows = answer.ok().and_then(Result::ok).unwrap_or_default();
    let told = rows.first().and_then(row).map(|row| row.told);
    Entry { seq, sent_ns, done_ns: boot_ns(), told }
}

/// The first connection that works.
async fn connected(target: SocketAddrV4) -> Connection {
    let mut tries = JoinSet::new();
    loop {
        tries.spawn(timeout(PATIENCE, open(target)));
        let next = sleep(NEXT_TRY);
        tokio::pin!(next);
        loop {
            tokio::select! {
                () = &mut next => break,
                Some(ended) = tries.join_next() => {
                    if let Ok(Ok(Ok(connection))) = ended {
                        return connection;
                    }
                }
            }
        }
    }
}

async fn open(target: SocketAddrV4) -> io::Result<Connection> {
    let mut connection = Connection::open(target).await?;
    connection.query(CREATE).await?;
    Ok(connection)
}

/// Prints every row of the table, a line of JSON each.
pub(super) async fn read(target: SocketAddrV4) -> io::Result<()> {
    let mut connection = Connection::open(target).await?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    for columns in connection.query(READ).await? {
        let row = row(&columns).ok_or_else(|| io::Error::other("a row that nobody wrote"))?;
        serde_json::to_writer(&mut out, &row)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

fn row(columns: &Columns) -> Option<Row> {
    let [Some(seq), Some(epoch), Some(node)] = &columns[..] else { return None };
    let told = Told { epoch: epoch.parse().ok()?, node: node.clone() };
    Some(Row { seq: seq.parse().ok()?, told })
}

fn say(entry: &Entry) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, entry)?;
    out.write_all(b"\n")?;
    out.flush()
}
