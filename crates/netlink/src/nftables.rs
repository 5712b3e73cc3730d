//! Messages of nf_tables: tables, sets, chains and rules as bytes, and the batch that commits them.
//!
//! A batch is applied as a whole or not at all: there is no moment with half of it. Numbers and
//! names are those of the kernel's headers (`linux/netfilter/nf_tables.h`).
//!
//! Not here: what the rules are for (`cuts`, `passage`).

use netlink_packet_core::{NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REQUEST};

use crate::attribute::{push, push_nested, push_text};
use crate::channel::{self, Channel, ExchangeError};

/// The protocol family of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// IPv4 and IPv6.
    Inet = 1,
    Arp = 3,
    Bridge = 7,
}

/// A table of one family.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table {
    pub(crate) family: Family,
    pub(crate) name: &'static str,
}

/// Where a base chain is called: number and priority of the family's hook.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hook {
    pub(crate) number: u32,
    pub(crate) priority: i32,
}

/// A named set and the length of its keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Set {
    pub(crate) name: &'static str,
    pub(crate) key_bytes: u32,
    /// How `nft` shows a key; the kernel does not care.
    pub(crate) key_type: u32,
    pub(crate) elements: Elements,
}

/// How long the elements of a set stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Elements {
    Stay,
    /// Each until its own time is over.
    Expire,
}

/// What becomes of a packet that all expressions before let through.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Verdict {
    Drop,
    Accept,
    Jump(&'static str),
}

/// Part of a packet, counted from the start of a header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    pub(crate) header: Header,
    pub(crate) offset: u32,
    pub(crate) bytes: u32,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Header {
    Network = 1,
    Transport = 2,
}

/// What is known of a packet besides its bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Meta {
    /// How many bytes it has without the header of the link, four bytes in the host's order.
    Length = 0,
    /// Name of the interface it came in at, 16 bytes.
    InputName = 6,
    /// Name of the interface it leaves by, 16 bytes.
    OutputName = 7,
    /// Family of the packet in an inet table, one byte.
    Family = 15,
    /// Transport protocol, one byte.
    Transport = 16,
    /// Four bytes by chance, other ones at each look.
    Random = 24,
}

/// Commits changes in one batch.
pub(crate) fn commit(channel: &Channel, changes: Vec<Vec<u8>>) -> Result<(), ExchangeError> {
    let mut changes = changes;
    if let Some(last) = changes.last_mut() {
        channel::seal(last, NLM_F_ACK, 0);
    }
    channel.transacted(batch(changes))
}

/// Changes between begin and end.
pub(crate) fn batch(mut changes: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut batch = vec![bracket(NFNL_MSG_BATCH_BEGIN)];
    batch.append(&mut changes);
    batch.push(bracket(NFNL_MSG_BATCH_END));
    batch
}

impl Table {
    /// Changes that leave no such table, whether there was one or not.
    pub(crate) fn emptied(self) -> Vec<Vec<u8>> {
        vec![self.added(), self.deleted()]
    }

    pub(crate) fn added(self) -> Vec<u8> {
        self.change(NFT_MSG_NEWTABLE, NLM_F_CREATE, |body| {
            push_text(body, NFTA_TABLE_NAME, self.name);
        })
    }

    pub(crate) fn deleted(self) -> Vec<u8> {
        self.change(NFT_MSG_DELTABLE, 0, |body| push_text(body, NFTA_TABLE_NAME, self.name))
    }

    /// A chain that only rules lead to.
    pub(crate) fn chain(self, name: &str) -> Vec<u8> {
        self.change(NFT_MSG_NEWCHAIN, NLM_F_CREATE, |body| {
            push_text(body, NFTA_CHAIN_TABLE, self.name);
            push_text(body, NFTA_CHAIN_NAME, name);
        })
    }

    /// A chain that the kernel calls; what no rule judges goes on.
    pub(crate) fn base_chain(self, name: &str, hook: Hook) -> Vec<u8> {
        self.change(NFT_MSG_NEWCHAIN, NLM_F_CREATE, |body| {
            push_text(body, NFTA_CHAIN_TABLE, self.name);
            push_text(body, NFTA_CHAIN_NAME, name);
            push_nested(body, NFTA_CHAIN_HOOK, |list| {
                push_number(list, NFTA_HOOK_HOOKNUM, hook.number);
                push_number(list, NFTA_HOOK_PRIORITY, hook.priority.cast_unsigned());
            });
            push_text(body, NFTA_CHAIN_TYPE, "filter");
        })
    }

    /// A rule at the end of a chain; `fill` writes its expressions.
    pub(crate) fn rule(self, chain: &str, fill: impl FnOnce(&mut Rule<'_>)) -> Vec<u8> {
        self.change(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, |body| {
            push_text(body, NFTA_RULE_TABLE, self.name);
            push_text(body, NFTA_RULE_CHAIN, chain);
            push_nested(body, NFTA_RULE_EXPRESSIONS, |list| fill(&mut Rule { list }));
        })
    }

    pub(crate) fn set(self, set: Set) -> Vec<u8> {
        self.change(NFT_MSG_NEWSET, NLM_F_CREATE, |body| {
            push_text(body, NFTA_SET_TABLE, self.name);
            push_text(body, NFTA_SET_NAME, set.name);
            push_number(body, NFTA_SET_KEY_TYPE, set.key_type);
            push_number(body, NFTA_SET_KEY_LEN, set.key_bytes);
            // Sets are looked up by name; the number must be there all the same.
            push_number(body, NFTA_SET_ID, 1);
            if set.elements == Elements::Expire {
                push_number(body, NFTA_SET_FLAGS, NFT_SET_TIMEOUT);
                push_number(body, NFTA_SET_GC_INTERVAL, GC_INTERVAL_MS);
            }
        })
    }

    /// Adds an element, for `timeout_ms` where it has a time.
    pub(crate) fn element(self, set: &str, key: &[u8], timeout_ms: Option<u64>) -> Vec<u8> {
        self.change(NFT_MSG_NEWSETELEM, NLM_F_CREATE, |body| {
            self.push_element(body, set, key, timeout_ms);
        })
    }

    pub(crate) fn without_element(self, set: &str, key: &[u8]) -> Vec<u8> {
        self.change(NFT_MSG_DELSETELEM, 0, |body| self.push_element(body, set, key, None))
    }

    /// Deletes all elements of a set, also when there is none.
    pub(crate) fn without_elements(self, set: &str) -> Vec<u8> {
        self.change(NFT_MSG_DELSETELEM, 0, |body| self.push_set(body, set))
    }

    /// Asks for one element: the kernel knows it, or answers `ENOENT`.
    pub(crate) fn asked(self, set: &str, key: &[u8]) -> Vec<u8> {
        self.change(NFT_MSG_GETSETELEM, 0, |body| self.push_element(body, set, key, None))
    }

    /// Asks for a set itself: the kernel knows it, or answers `ENOENT`.
    pub(crate) fn asked_set(self, set: &str) -> Vec<u8> {
        self.change(NFT_MSG_GETSET, 0, |body| {
            push_text(body, NFTA_SET_TABLE, self.name);
            push_text(body, NFTA_SET_NAME, set);
        })
    }

    /// Asks for all elements; to be listed.
    pub(crate) fn asked_all(self, set: &str) -> Vec<u8> {
        self.change(NFT_MSG_GETSETELEM, 0, |body| self.push_set(body, set))
    }

    fn push_set(self, body: &mut Vec<u8>, set: &str) {
        push_text(body, NFTA_SET_ELEM_LIST_TABLE, self.name);
        push_text(body, NFTA_SET_ELEM_LIST_SET, set);
    }

    fn push_element(self, body: &mut Vec<u8>, set: &str, key: &[u8], timeout_ms: Option<u64>) {
        self.push_set(body, set);
        push_nested(body, NFTA_SET_ELEM_LIST_ELEMENTS, |list| {
            push_nested(list, NFTA_LIST_ELEM, |element| {
                push_nested(element, NFTA_SET_ELEM_KEY, |data| push(data, NFTA_DATA_VALUE, key));
                if let Some(ms) = timeout_ms {
                    push(element, NFTA_SET_ELEM_TIMEOUT, &ms.to_be_bytes());
                }
            });
        });
    }

    fn change(self, kind: u16, flags: u16, fill: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        // struct nfgenmsg: family, version, resource.
        let mut body = vec![self.family as u8, 0, 0, 0];
        fill(&mut body);
        channel::message(NFNL_SUBSYS_NFTABLES << 8 | kind, NLM_F_REQUEST | flags, &body)
    }
}

/// The expressions of a rule; each that does not hold ends the rule.
#[derive(Debug)]
pub(crate) struct Rule<'a> {
    list: &'a mut Vec<u8>,
}

impl Rule<'_> {
    /// "This fact is `value`."
    pub(crate) fn is(&mut self, fact: Meta, value: &[u8]) {
        self.look(fact);
        self.equals(value);
    }

    /// "Of so many in 2³² chances this is one."
    pub(crate) fn by_chance(&mut self, chances: u32) {
        self.look(Meta::Random);
        self.compares(NFT_CMP_LT, &chances.to_be_bytes());
    }

    /// "It has more bytes than this, without the header of the link."
    pub(crate) fn is_longer_than(&mut self, bytes: u32) {
        self.look(Meta::Length);
        // Numbers are compared byte by byte, the first one first.
        self.push("byteorder", |data| {
            push_number(data, NFTA_BYTEORDER_SREG, NFT_REG_1);
            push_number(data, NFTA_BYTEORDER_DREG, NFT_REG_1);
            push_number(data, NFTA_BYTEORDER_OP, NFT_BYTEORDER_HTON);
            push_number(data, NFTA_BYTEORDER_LEN, 4);
            push_number(data, NFTA_BYTEORDER_SIZE, 4);
        });
        self.compares(NFT_CMP_GT, &bytes.to_be_bytes());
    }

    /// "These bytes are `value`."
    pub(crate) fn has(&mut self, field: Field, value: &[u8]) {
        self.load(field);
        self.equals(value);
    }

    /// "These bytes are a key of this set."
    pub(crate) fn in_set(&mut self, field: Field, set: &str) {
        self.load(field);
        self.lookup(set);
    }

    /// "This constant is a key of this set."
    pub(crate) fn constant_in_set(&mut self, constant: &[u8], set: &str) {
        self.push("immediate", |data| {
            push_number(data, NFTA_IMMEDIATE_DREG, NFT_REG_1);
            push_nested(data, NFTA_IMMEDIATE_DATA, |value| push(value, NFTA_DATA_VALUE, constant));
        });
        self.lookup(set);
    }

    pub(crate) fn then(&mut self, verdict: Verdict) {
        self.push("immediate", |data| {
            push_number(data, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
            push_nested(data, NFTA_IMMEDIATE_DATA, |value| {
                push_nested(value, NFTA_DATA_VERDICT, |out| {
                    let (code, chain) = match verdict {
                        Verdict::Drop => (NF_DROP, None),
                        Verdict::Accept => (NF_ACCEPT, None),
                        Verdict::Jump(chain) => (NFT_JUMP, Some(chain)),
                    };
                    push_number(out, NFTA_VERDICT_CODE, code.cast_unsigned());
                    if let Some(chain) = chain {
                        push_text(out, NFTA_VERDICT_CHAIN, chain);
                    }
                });
            });
        });
    }

    fn load(&mut self, field: Field) {
        self.push("payload", |data| {
            push_number(data, NFTA_PAYLOAD_DREG, NFT_REG_1);
            push_number(data, NFTA_PAYLOAD_BASE, field.header as u32);
            push_number(data, NFTA_PAYLOAD_OFFSET, field.offset);
            push_number(data, NFTA_PAYLOAD_LEN, field.bytes);
        });
    }

    fn look(&mut self, fact: Meta) {
        self.push("meta", |data| {
            push_number(data, NFTA_META_DREG, NFT_REG_1);
            push_number(data, NFTA_META_KEY, fact as u32);
        });
    }

    fn equals(&mut self, value: &[u8]) {
        self.compares(NFT_CMP_EQ, value);
    }

    fn compares(&mut self, how: u32, value: &[u8]) {
        self.push("cmp", |data| {
            push_number(data, NFTA_CMP_SREG, NFT_REG_1);
            push_number(data, NFTA_CMP_OP, how);
            push_nested(data, NFTA_CMP_DATA, |out| push(out, NFTA_DATA_VALUE, value));
        });
    }

    fn lookup(&mut self, set: &str) {
        self.push("lookup", |data| {
            push_text(data, NFTA_LOOKUP_SET, set);
            push_number(data, NFTA_LOOKUP_SREG, NFT_REG_1);
        });
    }

    fn push(&mut self, name: &str, fill: impl FnOnce(&mut Vec<u8>)) {
        push_nested(self.list, NFTA_LIST_ELEM, |element| {
            push_text(element, NFTA_EXPR_NAME, name);
            push_nested(element, NFTA_EXPR_DATA, fill);
        });
    }
}

/// nf_tables takes its numbers in network byte order.
fn push_number(out: &mut Vec<u8>, kind: u16, value: u32) {
    push(out, kind, &value.to_be_bytes());
}

/// Begin or end of a batch for nf_tables.
fn bracket(kind: u16) -> Vec<u8> {
    let mut body = vec![libc::AF_UNSPEC as u8, 0];
    body.extend(NFNL_SUBSYS_NFTABLES.to_be_bytes());
    channel::message(kind, NLM_F_REQUEST, &body)
}

/// The keys of listed elements in one message of the answer.
pub(crate) fn listed_keys(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    use crate::attribute::{attributes, find};
    let list = payload.get(NFGENMSG_BYTES..).unwrap_or_default();
    let list = find(list, NFTA_SET_ELEM_LIST_ELEMENTS).unwrap_or_default();
    attributes(list).filter_map(|(_, element)| {
        let key = find(element, NFTA_SET_ELEM_KEY)?;
        find(key, NFTA_DATA_VALUE)
    })
}

/// Expired elements are no longer found; this is only when the kernel gives their memory back.
const GC_INTERVAL_MS: u32 = 60_000;
const NFGENMSG_BYTES: usize = 4;

// Numbers of the kernel's interface, named as in its headers.
const NF_DROP: i32 = 0;
const NF_ACCEPT: i32 = 1;
const NFT_JUMP: i32 = -3;
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
const NFT_MSG_NEWTABLE: u16 = 0;
const NFT_MSG_DELTABLE: u16 = 2;
const NFT_MSG_NEWCHAIN: u16 = 3;
const NFT_MSG_NEWRULE: u16 = 6;
const NFT_MSG_NEWSET: u16 = 9;
const NFT_MSG_GETSET: u16 = 10;
const NFT_MSG_NEWSETELEM: u16 = 12;
const NFT_MSG_GETSETELEM: u16 = 13;
const NFT_MSG_DELSETELEM: u16 = 14;
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
const NFTA_SET_TABLE: u16 = 1;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_FLAGS: u16 = 3;
const NFTA_SET_KEY_TYPE: u16 = 4;
const NFTA_SET_KEY_LEN: u16 = 5;
const NFTA_SET_ID: u16 = 10;
const NFTA_SET_GC_INTERVAL: u16 = 12;
const NFT_SET_TIMEOUT: u32 = 0x10;
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_TIMEOUT: u16 = 4;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_META_DREG: u16 = 1;
const NFTA_META_KEY: u16 = 2;
const NFTA_PAYLOAD_DREG: u16 = 1;
const NFTA_PAYLOAD_BASE: u16 = 2;
const NFTA_PAYLOAD_OFFSET: u16 = 3;
const NFTA_PAYLOAD_LEN: u16 = 4;
const NFTA_LOOKUP_SET: u16 = 1;
const NFTA_LOOKUP_SREG: u16 = 2;
const NFTA_CMP_SREG: u16 = 1;
const NFTA_CMP_OP: u16 = 2;
const NFTA_CMP_DATA: u16 = 3;
const NFT_CMP_EQ: u32 = 0;
const NFT_CMP_LT: u32 = 2;
const NFT_CMP_GT: u32 = 4;
const NFTA_BYTEORDER_SREG: u16 = 1;
const NFTA_BYTEORDER_DREG: u16 = 2;
const NFTA_BYTEORDER_OP: u16 = 3;
const NFTA_BYTEORDER_LEN: u16 = 4;
const NFTA_BYTEORDER_SIZE: u16 = 5;
const NFT_BYTEORDER_HTON: u32 = 1;
const NFTA_IMMEDIATE_DREG: u16 = 1;
const NFTA_IMMEDIATE_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_VERDICT_CHAIN: u16 = 2;
const NFT_REG_VERDICT: u32 = 0;
const NFT_REG_1: u32 = 1;
