//! A database of a run: the example `postgresql` under another name, and what a client was
//! promised by it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddrV4;

use stead_lab::Network;
use stead_lab::disks::{self, Deed, Happened};
use stead_lab::example::{self, BUILTIN, Example};
use stead_lab::ledger::{self, Entry, Ledger, Row};
use stead_model::NodeId;
use stead_model::request::Request;

use crate::{Roles, World, tell};

/// The port of PostgreSQL.
const PORT: u16 = 5432;

/// A group with PostgreSQL on a disk of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Database {
    /// Its group; its disk and its place are called so, too.
    pub group: String,
    host: u8,
}

impl Database {
    /// The database of that name; `host` makes its address its own.
    #[must_use]
    pub fn new(group: &str, host: u8) -> Self {
        Self { group: group.to_owned(), host }
    }

    /// Why it cannot run here; told, because a run is skipped then.
    #[must_use]
    pub fn impossible() -> bool {
        let why = if !rustix::process::geteuid().is_root() {
            "an ordinary user has no disks to mount and no other users"
        } else if !std::path::Path::new("/dev/fuse").exists() {
            "this machine has no /dev/fuse"
        } else if Example::find("postgresql").unwrap().lacks().is_some() {
            "this machine has no PostgreSQL: `cargo xtask test` as root installs it"
        } else {
            return false;
        };
        tell(&format!("SKIPPED: {why}"));
        true
    }

    /// Where clients connect.
    #[must_use]
    pub fn target(&self) -> SocketAddrV4 {
        SocketAddrV4::new(Network::Public.address(self.host), PORT)
    }

    /// The directory of its data on the node that runs it; a word of its command, too.
    #[must_use]
    pub fn data(&self) -> String {
        format!("/srv/{}/data", self.group)
    }

    /// The example with our names; the server tells the client its epoch and node.
    fn example(&self) -> Example {
        let (_, text) = BUILTIN.iter().find(|(name, _)| *name == "postgresql").unwrap();
        let group = &self.group;
        let text = text
            .replace("\"db\"", &format!("\"{group}\""))
            .replace("\"db-", &format!("\"{group}-"))
            .replace("/srv/postgresql", &format!("/srv/{group}"))
            .replace("/dev/stead/data", &format!("/dev/stead/{group}"))
            .replace("[\"data\"]", &format!("[\"{group}\"]"))
            .replace("10.77.2.50", &self.target().ip().to_string());
        let mut example = Example::parse(group, &text).unwrap().telling();
        let programs = example.resources.iter_mut().filter(|r| r.kind == "generic-application");
        for program in programs {
            program.properties.insert("restart-threshold".into(), "1000".into());
        }
        example
    }

    /// Creates it with empty data and brings it online on a node.
    pub fn create(&self, world: &World, on: NodeId) {
        let made = example::install(world.lab(), &self.example(), &mut |_| {});
        made.unwrap_or_else(|error| panic!("{}: {error}", self.group));
        let often = BTreeMap::from([("failover-threshold".into(), Some("1000".into()))]);
        world.ask(&Request::SetGroup { group: self.group.as_str().into(), properties: often });
        let _ = Roles::settled(world);
        world.place(&self.group, on);
    }

    /// A client that writes from now on, from the number `first`.
    #[must_use]
    pub fn write(&self, world: &World, first: u64) -> Ledger {
        Ledger::start(world.lab(), self.target(), first).unwrap_or_else(|error| panic!("{error}"))
    }

    /// What its disk saw.
    #[must_use]
    pub fn history(&self, world: &World) -> Vec<Happened> {
        let history = disks::history(world.lab().record(), &self.group);
        history.unwrap_or_else(|error| panic!("{}: {error}", self.group))
    }

    /// What is in it now.
    #[must_use]
    pub fn rows(&self, world: &World) -> Vec<Row> {
        let rows = ledger::rows(world.lab(), self.target());
        rows.unwrap_or_else(|error| panic!("{}: {error}", self.group))
    }
}

/// The disk's own story: every write came from the one node that was registered and held the
/// reservation, so that never two could write.
///
/// # Errors
/// Names the first deed that breaks it.
pub fn one_writer(history: &[Happened]) -> Result<(), String> {
    for happened in history {
        let holds = happened.holder == Some(happened.node);
        let alone = happened.registered == [happened.node];
        let fine = match happened.what {
            Deed::Wrote => holds && alone,
            Deed::Refused => !holds,
            Deed::Asked(_) => true,
        };
        if !fine {
            return Err(happened.to_string());
        }
    }
    Ok(())
}

/// What a client was promised and what is there: every row that was acknowledged is there as it
/// was acknowledged, nothing is there that nobody sent, and no owner wrote after its successor.
///
/// # Errors
/// Names the first row that breaks it.
pub fn kept(entries: &[Entry], rows: &[Row]) -> Result<(), String> {
    let there: BTreeMap<u64, &Row> = rows.iter().map(|row| (row.seq, row)).collect();
    for entry in entries {
        let Some(told) = &entry.told else { continue };
        match there.get(&entry.seq) {
            None => return Err(format!("row {} was acknowledged and is lost", entry.seq)),
            Some(row) if row.told != *told => {
                return Err(format!("{row:?} was acknowledged as {told:?}"));
            }
            Some(_) => {}
        }
    }
    let mut sent: BTreeSet<u64> = entries.iter().map(|entry| entry.seq).collect();
    // One may have been on its way when the client was ended.
    sent.extend(sent.last().map(|last| last + 1));
    if let Some(row) = rows.iter().find(|row| !sent.contains(&row.seq)) {
        return Err(format!("{row:?} was never sent"));
    }
    for pair in rows.windows(2) {
        let (before, after) = (&pair[0].told, &pair[1].told);
        // The client sends one row after the other: a lower epoch behind a higher one is a row of
        // an owner that was fenced.
        if after.epoch < before.epoch {
            return Err(format!("{:?} was written behind {:?}", pair[1], pair[0]));
        }
        if after.epoch == before.epoch && after.node != before.node {
            return Err(format!("two nodes in one epoch: {:?} {:?}", pair[0], pair[1]));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use stead_lab::ledger::Told;

    use super::*;

    fn told(epoch: u64, node: &str) -> Told {
        Told { epoch, node: node.into() }
    }

    fn entry(seq: u64, told: Option<Told>) -> Entry {
        Entry { seq, sent_ns: seq * 10, done_ns: seq * 10 + 5, told }
    }

    fn row(seq: u64, epoch: u64, node: &str) -> Row {
        Row { seq, told: told(epoch, node) }
    }

    #[test]
    fn a_write_of_anybody_but_the_only_holder_is_seen() {
        let (one, two) = (NodeId(1), NodeId(2));
        let happened = |node, what, registered: &[NodeId], holder| Happened {
            boot_ns: 1,
            node,
            what,
            registered: registered.to_vec(),
            holder,
        };
        let fine = [
            happened(one, Deed::Wrote, &[one], Some(one)),
            happened(one, Deed::Refused, &[two], Some(two)),
        ];
        assert_eq!(one_writer(&fine), Ok(()));
        assert!(one_writer(&[happened(one, Deed::Wrote, &[one, two], Some(one))]).is_err());
        assert!(one_writer(&[happened(one, Deed::Wrote, &[two], Some(two))]).is_err());
        assert!(one_writer(&[happened(one, Deed::Wrote, &[one], None)]).is_err());
    }

    #[test]
    fn every_way_to_break_the_promise_is_seen() {
        let entries =
            [entry(1, Some(told(2, "node1"))), entry(2, None), entry(3, Some(told(3, "node2")))];
        let fine = [row(1, 2, "node1"), row(3, 3, "node2")];
        assert_eq!(kept(&entries, &fine), Ok(()));
        let doubtful = [row(1, 2, "node1"), row(2, 2, "node1"), row(3, 3, "node2")];
        assert_eq!(kept(&entries, &doubtful), Ok(()), "a row in doubt may be there");
        let broken: [(&[Row], &str); 5] = [
            (&[row(3, 3, "node2")], "row 1 was acknowledged and is lost"),
            (&[row(1, 2, "node2"), row(3, 3, "node2")], "was acknowledged as"),
            (&[fine[0].clone(), fine[1].clone(), row(5, 3, "node2")], "was never sent"),
            (&[fine[0].clone(), row(2, 4, "node1"), fine[1].clone()], "was written behind"),
            (&[fine[0].clone(), row(2, 3, "node1"), fine[1].clone()], "two nodes in one epoch"),
        ];
        for (rows, why) in broken {
            let found = kept(&entries, rows).unwrap_err();
            assert!(found.contains(why), "{found}");
        }
    }
}
