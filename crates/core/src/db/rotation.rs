//! Keys that follow others (decision 0037): what may be asked, what is waited for, and what comes
//! next. Reports say what nodes have; the log says what they are to do with it.
//!
//! *Known* takes every node of the cluster, heard now: one that is away would come back with keys
//! that nobody believes. From *used* on nobody can be left behind that has them.

use stead_model::NodeId;
use stead_model::change::Change;
use stead_model::keys::{Other, Phase, Print, Rotation, Seals};
use stead_model::reason::{Code, Reason};
use stead_model::remote::ADMIN_KEYS;

use super::Db;
use super::apply::Skip;

/// A node of the cluster, as whoever looks sees it.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// The node.
    pub node: NodeId,
    /// Whether it answers now.
    pub heard: bool,
    /// What it told of its keys.
    pub seals: Option<&'a Seals>,
}

/// Begins a rotation; the first node that answers makes the new keys.
pub(crate) fn begin(db: &Db, has_disk: bool, members: &[Member<'_>]) -> Result<Change, Reason> {
    let refused = |because: String| {
        Reason::new(Code::Conflict, "cannot rotate the keys of the cluster").because(because)
    };
    if let Some(rotation) = db.rotation {
        let awaited = awaited(&rotation, has_disk, members);
        if rotation.phase != Phase::Ended {
            return Err(refused(format!("{rotation} is under way"))
                .hint("`stead attention` says which nodes it waits for"));
        }
        if let Some((node, why)) = awaited.first() {
            return Err(refused(format!("the last rotation is not over: {node} {why}"))
                .hint("bring the node back, or evict it"));
        }
    }
    let clean =
        |m: &&Member<'_>| m.heard && m.seals.is_some_and(|seals| seals.other == Other::None);
    let Some(maker) = members.iter().find(clean) else {
        return Err(refused("no node has forgotten the keys that were abandoned".into())
            .hint("repeat the command in a moment"));
    };
    let number = db.rotations + 1;
    let (phase, maker, print) = (Phase::Known, maker.node, None);
    Ok(Change::Rotate { to: Rotation { number, phase, maker, print } })
}

/// Goes back to the keys of before.
pub(crate) fn abandon(db: &Db) -> Result<Change, Reason> {
    let refused = |because: &str| {
        Reason::new(Code::Conflict, "cannot abandon a rotation of the keys").because(because)
    };
    match db.rotation {
        Some(Rotation { phase: Phase::Known, number, .. }) => {
            Ok(Change::RotationAbandoned { number })
        }
        Some(Rotation { phase: Phase::Used, .. }) => {
            Err(refused("the new keys are used already: it can only be brought to its end")
                .hint("`stead attention` says which nodes it waits for"))
        }
        Some(Rotation { phase: Phase::Ended, .. }) | None => {
            Err(refused("there is none under way"))
        }
    }
}

/// Refuses what new keys would make worthless at once, while they are on their way.
pub(crate) fn none_under_way(db: &Db, text: impl FnOnce() -> String) -> Result<(), Reason> {
    match db.rotation {
        Some(rotation) if rotation.phase != Phase::Ended => {
            Err(Reason::new(Code::Conflict, text())
                .because("the keys of the cluster are being rotated")
                .hint("`stead attention` says how far that is; repeat the command when it is over"))
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether a registry key lets somebody ask from another machine.
pub(crate) fn names_admin(key: &str) -> bool {
    key.starts_with(ADMIN_KEYS)
}

/// The nodes that have not done what the present phase asks of them, and what they lack.
#[must_use]
pub fn awaited(
    rotation: &Rotation,
    has_disk: bool,
    members: &[Member<'_>],
) -> Vec<(NodeId, &'static str)> {
    let lacks = |m: &Member<'_>| lack(rotation, has_disk, m).map(|why| (m.node, why));
    members.iter().filter_map(lacks).collect()
}

fn lack(rotation: &Rotation, has_disk: bool, member: &Member<'_>) -> Option<&'static str> {
    let Some(seals) = member.seals else {
        return Some(if member.heard { "has not told of its keys" } else { "is silent" });
    };
    let Some(print) = rotation.print else {
        let makes = member.node == rotation.maker;
        return makes.then_some(if member.heard { "makes them" } else { "is silent" });
    };
    let sealed = !has_disk || seals.disk == Some(print);
    let why = match rotation.phase {
        Phase::Known if !member.heard => "is silent",
        Phase::Known if knows(seals, print) => return None,
        Phase::Known => "has not got them",
        Phase::Used if seals.own != print => "does not use them",
        Phase::Used if !sealed => "has not seen the whole quorum disk sealed with them",
        Phase::Ended if seals.other != Other::None => "still believes the former ones",
        Phase::Used | Phase::Ended => return None,
    };
    Some(if member.heard { why } else { "is silent" })
}

/// Whether a node has these keys.
pub(crate) fn knows(seals: &Seals, print: Print) -> bool {
    seals.own == print || seals.other.set() == Some(print)
}

/// What the leader on `host` does next about a rotation.
pub(crate) fn next(
    db: &Db,
    host: NodeId,
    has_disk: bool,
    members: &[Member<'_>],
) -> Option<Change> {
    let rotation = db.rotation?;
    let Rotation { number, phase, maker, print } = rotation;
    let to = match (print, phase) {
        (None, _) => match members.iter().find(|m| m.node == maker) {
            None => Rotation { maker: host, ..rotation },
            Some(maker) => match maker.seals?.other {
                Other::Next(made, print) if made == number => {
                    Rotation { print: Some(print), ..rotation }
                }
                Other::Next(..) | Other::Former(..) | Other::None => return None,
            },
        },
        (Some(_), Phase::Ended) => return None,
        (Some(_), _) if !awaited(&rotation, has_disk, members).is_empty() => return None,
        (Some(_), Phase::Known) => Rotation { phase: Phase::Used, ..rotation },
        (Some(_), Phase::Used) => Rotation { phase: Phase::Ended, ..rotation },
    };
    Some(Change::Rotate { to })
}

impl Db {
    /// The last rotation, unless it was abandoned.
    #[must_use]
    pub fn rotation(&self) -> Option<Rotation> {
        self.rotation
    }

    /// Its number, or that of the one that was abandoned.
    #[must_use]
    pub fn rotations(&self) -> u64 {
        self.rotations
    }

    pub(super) fn rotate(&mut self, to: Rotation) -> Result<(), Skip> {
        let stands = |r: Rotation| (r.number, r.phase, r.print.is_some());
        let begins = to.number == self.rotations + 1 && to.phase == Phase::Known;
        let goes_on = self.rotation.is_some_and(|is| {
            is.number == to.number
                && (stands(is) < stands(to) || (is.print.is_none() && to.print.is_none()))
                && (is.print.is_none() || is.print == to.print)
        });
        if !begins && !goes_on {
            return Err(Skip::Rotation(to.number));
        }
        if begins {
            // They pin an authority that goes; whom one has let in may ask on.
            self.tokens.retain(|_, token| token.used.is_some());
        }
        if to.phase == Phase::Ended {
            for admin in self.admin_keys() {
                self.set_key(&admin, None);
            }
        }
        self.rotations = to.number;
        self.rotation = Some(to);
        Ok(())
    }

    pub(super) fn abandon_rotation(&mut self, number: u64) -> Result<(), Skip> {
        match self.rotation {
            Some(Rotation { number: n, phase: Phase::Known, .. }) if n == number => {
                self.rotation = None;
                Ok(())
            }
            Some(_) | None => Err(Skip::Rotation(number)),
        }
    }

    fn admin_keys(&self) -> Vec<String> {
        let keys = self.keys.range(ADMIN_KEYS.to_owned()..).map(|(key, _)| key);
        keys.take_while(|key| names_admin(key)).cloned().collect()
    }
}

#[cfg(test)]
mod tests;
