//! Cutting cables inside a bridge: frames that enter by one port and would leave by another are
//! dropped, in one direction.
//!
//! The rules are bridge-family nf_tables, written straight over nfnetlink into one table of ours,
//! `stead`, in the current net namespace. Every change replaces the whole table in one batch, which
//! the kernel applies as a whole or not at all: there is no moment with half of the cuts.
//!
//! Not here: frames between a port and the bridge's own host. They are not forwarded.

use std::fmt;

use netlink_packet_core::{NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REQUEST};
use netlink_sys::protocols::NETLINK_NETFILTER;
use rustix::net::sockopt;

use crate::attribute::{push, push_nested, push_text};
use crate::channel::{self, Channel, ExchangeError};
use crate::route::ANSWER_LIMIT;

/// Frames entering the bridge at `from_port` never leave it at `to_port`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cut {
    pub from_port: Port,
    pub to_port: Port,
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
        Self { from_port: Port::Named(from_port.into()), to_port: Port::Named(to_port.into()) }
    }

    /// What enters at this port is lost.
    pub fn all_from(port: &str) -> Self {
        Self { from_port: Port::Named(port.into()), to_port: Port::Any }
    }

    /// Nothing leaves by this port.
    pub fn all_to(port: &str) -> Self {
        Self { from_port: Port::Any, to_port: Port::Named(port.into()) }
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
        let mut changes = emptied(TABLE);
        changes.extend([add_table(TABLE), add_chain(TABLE)]);
        changes.extend(cuts.iter().map(|cut| add_rule(TABLE, cut)));
        self.commit(changes).map_err(|source| CutError::Set { cuts: cuts.len(), source })
    }

    /// Removes all cuts and our table; also right when there is none.
    pub fn clear(&self) -> Result<(), CutError> {
        self.commit(emptied(TABLE)).map_err(CutError::Clear)
    }

    /// Whether cuts work in the net namespace of the calling thread: tries everything a cut needs
    /// and takes it back in the same batch, so that cuts that are set do not change.
    pub fn support() -> Result<CutSupport, CutError> {
        let tried = match Self::open() {
            Ok(cuts) => cuts.commit(trial()),
            Err(CutError::Open(cause)) => Err(cause),
            Err(error) => return Err(error),
        };
        let Err(cause) = tried else { return Ok(CutSupport::Works) };
        match lacking(cause.errno()) {
            Some(lacking) => Ok(CutSupport::Missing { lacking, cause }),
            None => Err(CutError::Check(cause)),
        }
    }

    fn commit(&self, mut changes: Vec<Vec<u8>>) -> Result<(), ExchangeError> {
        if let Some(last) = changes.last_mut() {
            channel::seal(last, NLM_F_ACK, 0);
        }
        let mut batch = vec![bracket(NFNL_MSG_BATCH_BEGIN)];
        batch.append(&mut changes);
        batch.push(bracket(NFNL_MSG_BATCH_END));
        self.channel.transacted(batch)
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
        write!(f, "{} -> {}", self.from_port, self.to_port)
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

const TABLE: &str = "stead";
const TRIAL_TABLE: &str = "stead-trial";
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
        add_table(TRIAL_TABLE),
        add_chain(TRIAL_TABLE),
        add_rule(TRIAL_TABLE, &Cut::between("stead-a", "stead-b")),
        delete_table(TRIAL_TABLE),
    ]
}

/// Changes that leave no such table, whether there was one or not.
fn emptied(table: &str) -> Vec<Vec<u8>> {
    vec![add_table(table), delete_table(table)]
}

fn add_table(table: &str) -> Vec<u8> {
    change(NFT_MSG_NEWTABLE, NLM_F_CREATE, |body| push_text(body, NFTA_TABLE_NAME, table))
}

fn delete_table(table: &str) -> Vec<u8> {
    change(NFT_MSG_DELTABLE, 0, |body| push_text(body, NFTA_TABLE_NAME, table))
}

/// The chain every forwarded frame passes; what no rule drops goes on.
fn add_chain(table: &str) -> Vec<u8> {
    change(NFT_MSG_NEWCHAIN, NLM_F_CREATE, |body| {
        push_text(body, NFTA_CHAIN_TABLE, table);
        push_text(body, NFTA_CHAIN_NAME, CHAIN);
        push_nested(body, NFTA_CHAIN_HOOK, |hook| {
            push_number(hook, NFTA_HOOK_HOOKNUM, NF_BR_FORWARD);
            push_number(hook, NFTA_HOOK_PRIORITY, 0);
        });
        push_text(body, NFTA_CHAIN_TYPE, "filter");
    })
}

fn add_rule(table: &str, cut: &Cut) -> Vec<u8> {
    change(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, |body| {
        push_text(body, NFTA_RULE_TABLE, table);
        push_text(body, NFTA_RULE_CHAIN, CHAIN);
        push_nested(body, NFTA_RULE_EXPRESSIONS, |list| {
            push_port(list, NFT_META_IIFNAME, &cut.from_port);
            push_port(list, NFT_META_OIFNAME, &cut.to_port);
            push_expression(list, "immediate", |data| {
                push_number(data, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
                push_nested(data, NFTA_IMMEDIATE_DATA, |value| {
                    push_nested(value, NFTA_DATA_VERDICT, |verdict| {
                        push_number(verdict, NFTA_VERDICT_CODE, NF_DROP);
                    });
                });
            });
        });
    })
}

/// "The name of the port, which `key` says, is this", or nothing for any port.
fn push_port(list: &mut Vec<u8>, key: u32, port: &Port) {
    let Port::Named(name) = port else { return };
    let mut padded = name.as_bytes().to_vec();
    padded.resize(IFNAME_BYTES, 0);
    push_expression(list, "meta", |data| {
        push_number(data, NFTA_META_DREG, NFT_REG_1);
        push_number(data, NFTA_META_KEY, key);
    });
    push_expression(list, "cmp", |data| {
        push_number(data, NFTA_CMP_SREG, NFT_REG_1);
        push_number(data, NFTA_CMP_OP, NFT_CMP_EQ);
        push_nested(data, NFTA_CMP_DATA, |value| push(value, NFTA_DATA_VALUE, &padded));
    });
}

fn push_expression(list: &mut Vec<u8>, name: &str, fill: impl FnOnce(&mut Vec<u8>)) {
    push_nested(list, NFTA_LIST_ELEM, |element| {
        push_text(element, NFTA_EXPR_NAME, name);
        push_nested(element, NFTA_EXPR_DATA, fill);
    });
}

/// nf_tables takes its numbers in network byte order.
fn push_number(out: &mut Vec<u8>, kind: u16, value: u32) {
    push(out, kind, &value.to_be_bytes());
}

fn change(kind: u16, flags: u16, fill: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    // struct nfgenmsg: family, version, resource.
    let mut body = vec![NFPROTO_BRIDGE, 0, 0, 0];
    fill(&mut body);
    channel::message(NFNL_SUBSYS_NFTABLES << 8 | kind, NLM_F_REQUEST | flags, &body)
}

/// Begin or end of a batch for nf_tables.
fn bracket(kind: u16) -> Vec<u8> {
    let mut body = vec![libc::AF_UNSPEC as u8, 0];
    body.extend(NFNL_SUBSYS_NFTABLES.to_be_bytes());
    channel::message(kind, NLM_F_REQUEST, &body)
}

// Numbers of the kernel's interface, named as in its headers.
const NFPROTO_BRIDGE: u8 = 7;
const NF_BR_FORWARD: u32 = 2;
const NF_DROP: u32 = 0;
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
const NFT_MSG_NEWTABLE: u16 = 0;
const NFT_MSG_DELTABLE: u16 = 2;
const NFT_MSG_NEWCHAIN: u16 = 3;
const NFT_MSG_NEWRULE: u16 = 6;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_META_DREG: u16 = 1;
const NFTA_META_KEY: u16 = 2;
const NFT_META_IIFNAME: u32 = 6;
const NFT_META_OIFNAME: u32 = 7;
const NFTA_CMP_SREG: u16 = 1;
const NFTA_CMP_OP: u16 = 2;
const NFTA_CMP_DATA: u16 = 3;
const NFT_CMP_EQ: u32 = 0;
const NFTA_IMMEDIATE_DREG: u16 = 1;
const NFTA_IMMEDIATE_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFT_REG_VERDICT: u32 = 0;
const NFT_REG_1: u32 = 1;
