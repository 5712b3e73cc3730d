//! Cables that are cut or slow: who no longer reaches whom, and whose frames come late.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stead_netlink::{Cut, Frames};

use crate::cabling::{Network, Station};

/// One order to cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CutSpec {
    /// A station is cut off from everybody.
    Station {
        /// The station.
        station: Station,
        /// Only in this network; `None` means all.
        network: Option<Network>,
    },
    /// One station no longer reaches another.
    Pair {
        /// The first.
        from: Station,
        /// The second.
        to: Station,
        /// Whether the way back is cut as well.
        direction: Direction,
        /// Only in this network; `None` means all.
        network: Option<Network>,
    },
}

/// What a cut swallows.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Swallows {
    /// Everything.
    #[default]
    All,
    /// So many of a hundred frames, by chance.
    Percent(u8),
    /// Packets with more bytes than this, as where a path has a smaller MTU and nobody says so.
    Above(u16),
}

impl Swallows {
    const fn frames(self) -> Frames {
        match self {
            Self::All => Frames::All,
            Self::Percent(percent) => Frames::Percent(percent),
            Self::Above(bytes) => Frames::Above(bytes),
        }
    }
}

/// A cut, and what of the frames it is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fault {
    /// Which cables.
    pub cut: CutSpec,
    /// What of them.
    pub swallows: Swallows,
}

impl Fault {
    /// The directions between bridge ports it cuts.
    #[must_use]
    pub(crate) fn cuts(&self) -> Vec<Cut> {
        let frames = self.swallows.frames();
        self.cut.cuts().into_iter().map(|cut| cut.of(frames)).collect()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.cut, self.swallows.frames())
    }
}

/// Cables of a station on which every frame, both ways, takes a time of its own, so that frames
/// overtake each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Jitter {
    /// The station.
    pub station: Station,
    /// Only in this network; `None` means all.
    pub network: Option<Network>,
    /// The longest time that a frame takes each way, milliseconds; any up to it is as likely.
    pub up_to_ms: u16,
}

/// One cable, and the longest time that a frame takes on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Slowness {
    pub(crate) station: Station,
    pub(crate) network: Network,
    pub(crate) up_to: Duration,
}

impl Jitter {
    /// The cables; none where the station is not plugged in.
    pub(crate) fn cables(self) -> impl Iterator<Item = Slowness> {
        let Self { station, network, up_to_ms } = self;
        let networks = station.networks().iter().copied();
        let networks = networks.filter(move |n| network.is_none_or(|only| only == *n));
        let up_to = Duration::from_millis(up_to_ms.into());
        networks.map(move |network| Slowness { station, network, up_to })
    }
}

impl fmt::Display for Jitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} late by up to {} ms", self.station, self.up_to_ms)?;
        self.network.map_or(Ok(()), |network| write!(f, " in network {network}"))
    }
}

/// Which way is cut between two stations.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// The first no longer reaches the second; the second still reaches the first.
    OneWay,
    /// Neither reaches the other.
    BothWays,
}

impl CutSpec {
    /// The stations it names.
    #[must_use]
    pub fn stations(&self) -> Vec<Station> {
        match *self {
            Self::Station { station, .. } => vec![station],
            Self::Pair { from, to, .. } => vec![from, to],
        }
    }

    /// The directions between bridge ports it cuts. Frames carry no more than that: a station that
    /// is not plugged into a network has no port there.
    #[must_use]
    pub(crate) fn cuts(&self) -> Vec<Cut> {
        let (Self::Station { network, .. } | Self::Pair { network, .. }) = *self;
        let networks = Network::ALL.into_iter().filter(|n| network.is_none_or(|only| only == *n));
        networks.flat_map(|network| self.cuts_in(network)).collect()
    }

    fn cuts_in(&self, network: Network) -> Vec<Cut> {
        let port = |station: Station| station.port(network);
        match *self {
            Self::Station { station, .. } => {
                vec![Cut::all_from(&port(station)), Cut::all_to(&port(station))]
            }
            Self::Pair { from, to, direction: Direction::OneWay, .. } => {
                vec![Cut::between(&port(from), &port(to))]
            }
            Self::Pair { from, to, direction: Direction::BothWays, .. } => {
                vec![Cut::between(&port(from), &port(to)), Cut::between(&port(to), &port(from))]
            }
        }
    }
}

impl fmt::Display for CutSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let network = match *self {
            Self::Station { station, network } => {
                write!(f, "{station} from everybody")?;
                network
            }
            Self::Pair { from, to, direction: Direction::OneWay, network } => {
                write!(f, "{from} no longer reaches {to}")?;
                network
            }
            Self::Pair { from, to, direction: Direction::BothWays, network } => {
                write!(f, "{from} and {to} from each other")?;
                network
            }
        };
        network.map_or(Ok(()), |network| write!(f, " in network {network}"))
    }
}

#[cfg(test)]
mod tests {
    use stead_model::NodeId;

    use super::*;

    const A: Station = Station::Node(NodeId(1));
    const B: Station = Station::Node(NodeId(2));

    fn shown(spec: CutSpec) -> Vec<String> {
        spec.cuts().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn one_way_leaves_the_way_back() {
        let direction = Direction::OneWay;
        let network = Some(Network::Private);
        let cut = CutSpec::Pair { from: A, to: B, direction, network };
        assert_eq!(shown(cut), ["node1-private -> node2-private"]);
        assert_eq!(cut.to_string(), "node1 no longer reaches node2 in network private");
    }

    #[test]
    fn what_a_fault_swallows_is_told() {
        let cut = CutSpec::Station { station: A, network: Some(Network::Public) };
        let of = |swallows| Fault { cut, swallows };
        assert_eq!(of(Swallows::All).to_string(), cut.to_string());
        let above = of(Swallows::Above(1200));
        let told = "node1 from everybody in network public, packets above 1200 bytes";
        assert_eq!(above.to_string(), told);
        let percent = of(Swallows::Percent(30)).cuts();
        assert_eq!(percent[0].to_string(), "node1-public -> any port, 30 % of the frames");
    }

    #[test]
    fn a_station_is_late_where_it_is_plugged_in() {
        let of = |station, network| Jitter { station, network, up_to_ms: 30 };
        let cables = |jitter: Jitter| jitter.cables().map(|c| c.network).collect::<Vec<_>>();
        assert_eq!(cables(of(A, None)), Network::ALL);
        assert_eq!(cables(of(A, Some(Network::Public))), [Network::Public]);
        assert_eq!(cables(of(Station::Client, Some(Network::Private))), []);
        let told = "node1 late by up to 30 ms in network public";
        assert_eq!(of(A, Some(Network::Public)).to_string(), told);
    }

    #[test]
    fn a_station_is_cut_off_in_all_its_networks() {
        let cut = CutSpec::Station { station: B, network: None };
        let expected = [
            "node2-private -> any port",
            "any port -> node2-private",
            "node2-public -> any port",
            "any port -> node2-public",
        ];
        assert_eq!(shown(cut), expected);
    }
}
