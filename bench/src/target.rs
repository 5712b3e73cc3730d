//! What the figures should be, and what others need for the same.
//!
//! The figures of the peers were taken on one machine of 2 cores with the same kind of lab and the
//! same client (a fresh connection every 5 ms): Debian 12, Pacemaker 2.1.5 with Corosync 3.1.7,
//! keepalived 2.2.7. Medians; Pacemaker monitors every second, and no fencing delay is in them.
//! "tuned" is a token of 300 ms with the ping timeout set by hand.

use serde::Serialize;
use stead_model::profile::Profile;

use crate::figure::{Case, Kind};
use crate::scale::Load;

/// What somebody else needs.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) settings: &'static str,
    /// In the unit of the figure.
    pub(crate) median: f64,
}

const fn pacemaker(settings: &'static str, median: f64) -> Peer {
    Peer { name: "Pacemaker", settings, median }
}

/// As Debian ships it, without resources.
const fn bare(median: f64) -> Peer {
    pacemaker("bare", median)
}

const fn keepalived(settings: &'static str, median: f64) -> Peer {
    Peer { name: "keepalived", settings, median }
}

/// The most that the median of a figure shall be, in its unit.
pub(crate) fn target(kind: Kind, case: &Case) -> Option<f64> {
    let by_profile = |standard, fast| match case.profile {
        Profile::Standard => standard,
        Profile::Fast => fast,
        Profile::Relaxed => None,
    };
    match kind {
        Kind::Outage => by_profile(Some(1250.0), Some(350.0)),
        Kind::MoveOutage => by_profile(Some(60.0), Some(60.0)),
        Kind::AppRestart => by_profile(Some(30.0), Some(30.0)),
        Kind::IdleCpu if case.nodes == 2 => by_profile(Some(0.5), Some(2.0)),
        Kind::Rss if case.nodes == 2 => by_profile(Some(20.0), None),
        Kind::Up | Kind::UpAnswer => by_profile(Some(3.0), None),
        Kind::DbOurs => Some(250.0),
        Kind::Place => Some(20.0),
        Kind::ScaleUp => by_profile(scale(case).map(|(up, _)| up), None),
        Kind::ScaleTakeover => by_profile(scale(case).map(|(_, after)| LEASE_S + after), None),
        Kind::Detect
        | Kind::Decide
        | Kind::Online
        | Kind::AppAnswer
        | Kind::AppStart
        | Kind::DbOutage
        | Kind::DbDisk
        | Kind::DbStart
        | Kind::DbMove
        | Kind::DbKill
        | Kind::ScaleCpu
        | Kind::ScaleRss
        | Kind::ScalePss
        | Kind::IdleCpu
        | Kind::Rss
        | Kind::IdlePackets
        | Kind::IdleBytes
        | Kind::Join
        | Kind::Form
        | Kind::NodeLost
        | Kind::NodeBack
        | Kind::Pss => None,
    }
}

/// Seconds until the usual loads are online, and after the end of the lost owner's lease.
fn scale(case: &Case) -> Option<(f64, f64)> {
    match case.load? {
        Load { apps: 500, agents: 500, .. } => Some((15.0, 10.0)),
        Load { apps: 500, agents: 0, .. } => Some((3.0, 2.0)),
        Load { .. } => None,
    }
}

/// Power cut to the end of the wait for the lost owner's lease, standard profile: the least that
/// `outage` shows.
const LEASE_S: f64 = 1.1;

/// What others need for the same.
pub(crate) const fn peers(kind: Kind, case: &Case) -> &'static [Peer] {
    match kind {
        Kind::Outage => match case.nodes {
            2 => OUTAGE_2_NODES,
            3 => OUTAGE_3_NODES,
            _ => &[],
        },
        Kind::MoveOutage => MOVE,
        Kind::AppAnswer => APP,
        Kind::IdleCpu => match (case.owner, case.nodes) {
            (Some(true), _) => IDLE_OWNER,
            (Some(false), _) | (None, 2) => IDLE_OTHER,
            (None, 3) => const { &[bare(0.64)] },
            (None, 5) => const { &[bare(0.57)] },
            (None, 8) => const { &[bare(0.52)] },
            (None, 16) => const { &[bare(0.50)] },
            (None, _) => &[],
        },
        Kind::IdlePackets => match case.nodes {
            2 => const { &[bare(5.5)] },
            3 => const { &[bare(7.4)] },
            5 => const { &[bare(10.1)] },
            8 => const { &[bare(9.5)] },
            16 => const { &[bare(11.9)] },
            _ => &[],
        },
        Kind::IdleBytes => match case.nodes {
            2 => const { &[bare(567.0)] },
            3 => const { &[bare(767.0)] },
            5 => const { &[bare(1110.0)] },
            8 => const { &[bare(1002.0)] },
            16 => const { &[bare(1517.0)] },
            _ => &[],
        },
        Kind::NodeLost => match case.nodes {
            2 => const { &[pacemaker("to the client's next answer", 6552.0)] },
            3 => const { &[pacemaker("to the client's next answer", 8239.0)] },
            _ => &[],
        },
        Kind::NodeBack => match case.nodes {
            2 => const { &[bare(5.0)] },
            3 => const { &[bare(6.1)] },
            _ => &[],
        },
        Kind::Form => match case.nodes {
            2 => const { &[pacemaker("to the first answer", 24.0)] },
            3 => const { &[pacemaker("to the first answer", 24.5)] },
            _ => &[],
        },
        Kind::Rss => RSS,
        Kind::Pss => PSS,
        Kind::UpAnswer => UP,
        // The peers' figure has the start of the application in it, which is a few milliseconds.
        Kind::AppRestart => APP,
        Kind::ScaleUp => SCALE_UP,
        Kind::ScaleTakeover => SCALE_TAKEOVER,
        Kind::Place => match case.nodes {
            16 => PLACE_16_NODES,
            32 => PLACE_32_NODES,
            _ => &[],
        },
        Kind::ScaleCpu | Kind::ScaleRss | Kind::ScalePss => &[],
        Kind::DbOutage => DB_OUTAGE,
        Kind::DbMove => DB_MOVE,
        Kind::DbKill => DB_KILL,
        Kind::Detect | Kind::Decide | Kind::Online | Kind::AppStart | Kind::Up => &[],
        Kind::DbDisk | Kind::DbStart | Kind::DbOurs | Kind::Join => &[],
    }
}

const OUTAGE_2_NODES: &[Peer] = &[
    pacemaker("as Debian ships it", 6552.0),
    pacemaker("tuned", 858.0),
    keepalived("1 s adverts, no quorum", 2713.0),
    keepalived("20 ms adverts, no quorum", 60.0),
];

const OUTAGE_3_NODES: &[Peer] =
    &[pacemaker("as Debian ships it", 8239.0), pacemaker("tuned", 951.0)];

const MOVE: &[Peer] = &[
    pacemaker("as Debian ships it", 326.0),
    keepalived("1 s adverts", 238.0),
    keepalived("100 ms adverts", 34.0),
];

const APP: &[Peer] =
    &[pacemaker("as Debian ships it", 678.0), keepalived("1 s adverts, moves the address", 977.0)];

const IDLE_OWNER: &[Peer] =
    &[pacemaker("two 1 s monitors", 4.4), pacemaker("bare", 0.7), keepalived("1 s adverts", 0.2)];

const IDLE_OTHER: &[Peer] = &[pacemaker("bare", 0.7), keepalived("1 s adverts", 0.2)];

const RSS: &[Peer] = &[pacemaker("alone on the machine", 194.2), keepalived("alone", 6.1)];

const PSS: &[Peer] = &[pacemaker("alone on the machine", 125.2), keepalived("alone", 2.3)];

const UP: &[Peer] = &[
    pacemaker("as Debian ships it", 24.0),
    pacemaker("dc-deadtime 2 s", 5.5),
    keepalived("1 s adverts", 3.4),
];

/// The same client and database under Pacemaker's agents Filesystem, IPaddr2 and pgsql, checks of
/// address and server every second; a loop device per node over one image. Nothing is fenced
/// there, and nobody refuses a former owner's writes.
const DB_OUTAGE: &[Peer] = &[pacemaker("as Debian ships it", 9667.0), pacemaker("tuned", 4380.0)];

const DB_MOVE: &[Peer] = &[pacemaker("as Debian ships it", 2605.0)];

const DB_KILL: &[Peer] = &[pacemaker("as Debian ships it", 3914.0)];

/// 1000 `ocf:pacemaker:Dummy` with 60 s monitors.
const SCALE_UP: &[Peer] = &[pacemaker("1000 Dummy, 60 s monitors", 365.0)];

const SCALE_TAKEOVER: &[Peer] = &[pacemaker("1000 Dummy, 60 s monitors", 139.0)];

/// Wall time of `crm_simulate` for as many groups on as many nodes, one lost; no capacities and no
/// rules between groups.
const PLACE_16_NODES: &[Peer] = &[pacemaker("crm_simulate, groups of two", 113_560.0)];

const PLACE_32_NODES: &[Peer] = &[pacemaker("crm_simulate, groups of two", 172_290.0)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profile_and_number_of_nodes_choose_target_and_peers() {
        let outage = |profile, nodes| target(Kind::Outage, &Case::of(profile, nodes));
        assert_eq!(outage(Profile::Standard, 3), Some(1250.0));
        assert_eq!(outage(Profile::Fast, 2), Some(350.0));
        assert_eq!(outage(Profile::Relaxed, 2), None);
        let slowest = |nodes| peers(Kind::Outage, &Case::of(Profile::Fast, nodes))[0].median;
        assert_eq!((slowest(2), slowest(3)), (6552.0, 8239.0));
    }
}
