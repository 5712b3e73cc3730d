//! The rotation of keys at the leader: every phase is one entry, as soon as all nodes told that
//! they are ready for it (`db/rotation` says what that is).

use stead_model::LogIndex;
use stead_model::change::{Change, Entry};
use stead_model::keys::Phase;
use stead_model::reason::Reason;

use super::{Around, cluster_time};
use crate::consensus::replica::Replica;
use crate::db::rotation::{self, Member};

/// The change with which one begins.
pub(super) fn begin(replica: &Replica, around: &Around<'_>) -> Result<Change, Reason> {
    rotation::begin(&replica.db, has_disk(around), &members(around))
}

/// Proposes the next phase, if its time has come; the index of the entry.
pub(super) fn go_on(replica: &mut Replica, around: &Around<'_>) -> Option<LogIndex> {
    replica.db.rotation().filter(|rotation| rotation.phase != Phase::Ended)?;
    let members = members(around);
    let next = rotation::next(&replica.db, around.host, has_disk(around), &members);
    let (change, why) = match next {
        Some(change) => (change, "all nodes are ready for it".to_owned()),
        None => nobody_has_them(replica, around, &members)?,
    };
    let at = cluster_time(replica, around.utc);
    let entry = Entry { at, request: None, why, changes: vec![change] };
    replica.propose(&entry).ok()
}

/// The node that made the new keys was evicted before anybody had them: the rotation is abandoned.
fn nobody_has_them(
    replica: &Replica,
    around: &Around<'_>,
    members: &[Member<'_>],
) -> Option<(Change, String)> {
    let rotation = replica.db.rotation().filter(|r| r.phase == Phase::Known)?;
    let print = rotation.print?;
    let has = |m: &Member<'_>| m.seals.is_some_and(|seals| rotation::knows(seals, print));
    if around.nodes.contains(&rotation.maker) || members.iter().any(has) {
        return None;
    }
    let why = format!("{}, which alone had the new keys, is no member any more", rotation.maker);
    Some((Change::RotationAbandoned { number: rotation.number }, why))
}

fn has_disk(around: &Around<'_>) -> bool {
    around.config.quorum.disk.is_some()
}

fn members<'a>(around: &Around<'a>) -> Vec<Member<'a>> {
    let member = |node: &stead_model::NodeId| Member {
        node: *node,
        heard: around.heard.contains(node),
        seals: around.reports.get(node).map(|report| &*report.seals),
    };
    around.nodes.iter().map(member).collect()
}
