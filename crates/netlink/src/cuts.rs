//! Cutting cables inside a bridge: frames that enter by one port and would leave by another are
//! dropped, in one direction.
//!
//! The rules are bridge-family nf_tables, written straight over nfnetlink into one table of ours,
//! `stead`, in the current net namespace. Every change replaces the whole table in one batch, which
//! the kernel applies as a whole or not at all: there is no moment with half of the cuts.
//!
//! Not here: frames between a port and the bridge's own host. They are not forwarded.

use std::fmt;

use netlink_sys::protocols::NETLINK_NETFILTER;
use rustix::net::sockopt;

use crate::channel::{Channel, ExchangeError};
use crate::nftables::{Family, Hook, Meta, Rule, Table, Verdict, commit};
use crate::route::ANSWER_LIMIT;

/// Frames entering the bridge at `from_port` do not leave it at `to_port`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cut {
    pub from_port: Port,
    pub to_port: Port,
    pub frames: Frames,
}

/// Which frames a cut is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Frames {
    /// All.
    All,
    /// So many of a hundred, by chance.
    Percent(u8),
    /// Those whose packet has more bytes than this.
    Above(u16),
}

/// A port of a bridge.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Port {
    /// The interface of this name, at most 15 bytes.
    Named(String),
    /// Every port.
    Any,
}

impl Cut {
    /// The first no longer reaches the second; the way back stays.
    pub fn between(from_port: &str, to_port: &str) -> Self {
        Self::at(Port::Named(from_port.into()), Port::Named(to_port.into()))
    }

    /// What enters at this port is lost.
    pub fn all_from(port: &str) -> Self {
        Self::at(Port::Named(port.into()), Port::Any)
    }

    /// Nothing leaves by this port.
    pub fn all_to(port: &str) -> Self {
        Self::at(Port::Any, Port::Named(port.into()))
    }

    /// The same for some of the frames.
    #[must_use]
    pub fn of(self, frames: Frames) -> Self {
        Self { frames, ..self }
    }

    const fn at(from_port: Port, to_port: Port) -> Self {
        Self { from_port, to_port, frames: Frames::All }
    }
}

/// The cuts of one net namespace.
#[derive(Debug)]
pub struct BridgeCuts {
    channel: Channel,
}

/// Whether this kernel can cut.
#[derive(Debug)]
pub enum CutSupport {
    /// Cuts take effect.
    Works,
    /// What it lacks, in words, with the kernel's own answer.
    Missing { lacking: &'static str, cause: ExchangeError },
}

/// The cuts could not be changed; the cause is the `source`.
#[derive(Debug, thiserror::Error)]
pub enum CutError {
    #[error("cannot open a netfilter socket")]
    Open(#[source] ExchangeError),
    #[error("cannot write {cuts} bridge cuts into nf_tables")]
    Set { cuts: usize, source: ExchangeError },
    #[error("cannot remove the bridge cuts from nf_tables")]
    Clear(#[source] ExchangeError),
    #[error("cannot find out whether the kernel can cut bridges")]
    Check(#[source] ExchangeError),
    /// Longer than the kernel allows, or empty: no interface has this name.
    #[error("`{name}` cannot be a bridge port: interface names have 1 to 15 bytes")]
    PortName { name: String },
}

impl BridgeCuts {
    /// Opens a socket in the net namespace of the calling thread.
    pub fn open() -> Result<Self, CutError> {
        let channel = Channel::open(NETLINK_NETFILTER, ANSWER_LIMIT).map_err(CutError::Open)?;
        // A batch is one datagram, some 300 bytes per cut. Where more room is refused the kernel
        // says so when a batch is too long.
        if sockopt::set_socket_send_buffer_size_force(&channel, BATCH_BYTES).is_err() {
            let _ = sockopt::set_socket_send_buffer_size(&channel, BATCH_BYTES);
        }
        Ok(Self { channel })
    }

    /// Replaces all cuts by these, at once.
    pub fn set(&self, cuts: &[Cut]) -> Result<(), CutError> {
        for port in cuts.iter().flat_map(|cut| [&cut.from_port, &cut.to_port]) {
            port.check()?;
        }
        let mut changes = TABLE.emptied();
        changes.extend([TABLE.added(), add_chain(TABLE)]);
        changes.extend(cuts.iter().map(|cut| add_rule(TABLE, cut)));
        let committed = commit(&self.channel, changes);
        committed.map_err(|source| CutError::Set { cuts: cuts.len(), source })
    }

    /// Removes all cuts and our table; also right when there is none.
    pub fn clear(&self) -> Result<(), CutError> {
        commit(&self.channel, TABLE.emptied()).map_err(CutError::Clear)
    }

    /// Whether cuts work in the net namespace of the calling thread: tries everything a cut needs
    /// and takes it back in the same batch, so that cuts that are set do not change.
    pub fn support() -> Result<CutSupport, CutError> {
        let tried = match Self::open() {
            Ok(cuts) => commit(&cuts.channel, trial()),
            Err(CutError::Open(cause)) => Err(cause),
            Err(error) => return Err(error),
        };
        let Err(cause) = tried else { return Ok(CutSupport::Works) };
        match lacking(cause.errno()) {
            Some(lacking) => Ok(CutSupport::Missing { lacking, cause }),
            None => Err(CutError::Check(cause)),
        }
    }
}

impl Port {
    fn check(&self) -> Result<(), CutError> {
        match self {
            Self::Named(name) if (1..IFNAME_BYTES).contains(&name.len()) => Ok(()),
            Self::Named(name) => Err(CutError::PortName { name: name.clone() }),
            Self::Any => Ok(()),
        }
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}{}", self.from_port, self.to_port, self.frames)
    }
}

impl fmt::Display for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => Ok(()),
            Self::Percent(percent) => write!(f, ", {percent} % of the frames"),
            Self::Above(bytes) => write!(f, ", packets above {bytes} bytes"),
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Any => f.write_str("any port"),
        }
    }
}

const TABLE: Table = Table { family: Family::Bridge, name: "stead" };
const TRIAL_TABLE: Table = Table { family: Family::Bridge, name: "stead-trial" };
/// The chain every forwarded frame passes; what no rule drops goes on.
const CHAIN: &str = "forward";
const BATCH_BYTES: usize = 4 << 20;
const IFNAME_BYTES: usize = libc::IFNAMSIZ;

/// What the kernel lacks when it refuses with this number; `None` when it is something else.
fn lacking(errno: Option<i32>) -> Option<&'static str> {
    match errno? {
        libc::EPROTONOSUPPORT => Some("netfilter over netlink (NETFILTER_NETLINK)"),
        libc::EOPNOTSUPP | libc::EAFNOSUPPORT => {
            Some("nf_tables for bridges (NF_TABLES, NF_TABLES_BRIDGE)")
        }
        libc::ENOENT => Some("the forward chain of bridges in nf_tables (NF_TABLES_BRIDGE)"),
        _ => None,
    }
}

fn trial() -> Vec<Vec<u8>> {
    vec![
        TRIAL_TABLE.added(),
        add_chain(TRIAL_TABLE),
        add_rule(TRIAL_TABLE, &Cut::between("stead-a", "stead-b")),
        TRIAL_TABLE.deleted(),
    ]
}

fn add_chain(table: Table) -> Vec<u8> {
    table.base_chain(CHAIN, Hook { number: NF_BR_FORWARD, priority: 0 })
}

fn add_rule(table: Table, cut: &Cut) -> Vec<u8> {
    table.rule(CHAIN, |rule| {
        is_port(rule, Meta::InputName, &cut.from_port);
        is_port(rule, Meta::OutputName, &cut.to_port);
        match cut.frames {
            Frames::All => {}
            Frames::Percent(percent) => rule.by_chance(chances(percent)),
            Frames::Above(bytes) => rule.is_longer_than(bytes.into()),
        }
        rule.then(Verdict::Drop);
    })
}

/// Of 2³² chances.
const fn chances(percent: u8) -> u32 {
    let percent = if percent > 100 { 100 } else { percent };
    (u32::MAX / 100) * percent as u32
}

/// "The name of the port is this", or nothing for any port.
fn is_port(rule: &mut Rule<'_>, name_of: Meta, port: &Port) {
    let Port::Named(name) = port else { return };
    let mut padded = name.as_bytes().to_vec();
    padded.resize(IFNAME_BYTES, 0);
    rule.is(name_of, &padded);
}

/// The hook of a bridge for frames it forwards, as in `linux/netfilter_bridge.h`.
const NF_BR_FORWARD: u32 = 2;
