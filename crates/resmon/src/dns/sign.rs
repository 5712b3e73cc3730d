//! Transaction signatures (RFC 8945): a request is signed, and its answer must be.

use std::time::{SystemTime, UNIX_EPOCH};

use domain::base::iana::TsigRcode;
use domain::base::message::RecordSection;
use domain::base::{Message, ParsedName, ToName};
use domain::rdata::Tsig;

use super::Name;
use super::key::Key;

/// How far the clocks of both sides may be apart, seconds: what the standard recommends.
const FUDGE_S: u16 = 300;
const TYPE_TSIG: u16 = 250;
const CLASS_ANY: u16 = 255;

/// What is wrong with the signature of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Unsigned {
    /// It has none.
    Missing,
    /// The server does not know the key.
    BadKey,
    /// The server has another secret for it, or another algorithm.
    BadSignature,
    /// The clocks are too far apart; by so many seconds the server's is ahead.
    BadTime(i64),
    /// It is not made with the key.
    Forged,
    /// Another error code.
    Other(String),
}

/// A signed request.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) bytes: Vec<u8>,
    /// The answer is signed together with this.
    code: Vec<u8>,
}

/// This node's wall clock, in seconds; the one thing here that needs it.
pub(super) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Signs a request.
pub(super) fn sign(key: &Key, mut bytes: Vec<u8>, now_s: u64) -> Signed {
    let end = End { time_s: now_s, fudge: FUDGE_S, error: 0, other: &[] };
    let code = key.code(&[&bytes, &end.variables(key)]);
    let id = [bytes[0], bytes[1]];
    let mut data = algorithm(key);
    data.extend(end.time());
    data.extend(end.fudge.to_be_bytes());
    data.extend(length(&code));
    data.extend(&code);
    data.extend(id);
    data.extend([0, 0, 0, 0]);
    key.name.compose(&mut bytes).unwrap_or_else(|never| match never {});
    bytes.extend(TYPE_TSIG.to_be_bytes());
    bytes.extend(CLASS_ANY.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(length(&data));
    bytes.extend(data);
    // One more additional record.
    let count = u16::from_be_bytes([bytes[10], bytes[11]]) + 1;
    bytes[10..12].copy_from_slice(&count.to_be_bytes());
    Signed { bytes, code }
}

/// Checks the signature of an answer.
pub(super) fn check(
    key: &Key,
    request: &Signed,
    answer: &Message<Vec<u8>>,
    now_s: u64,
) -> Result<(), Unsigned> {
    let found = answer.get_last_additional::<Tsig<_, ParsedName<_>>>();
    let record = found.ok_or(Unsigned::Missing)?;
    let data = record.data();
    match data.error() {
        TsigRcode::BADKEY => return Err(Unsigned::BadKey),
        TsigRcode::BADSIG => return Err(Unsigned::BadSignature),
        _ => {}
    }
    let start = start_of_last(answer).ok_or(Unsigned::Missing)?;
    let mut body = answer.as_slice()[..start].to_vec();
    body[0..2].copy_from_slice(&data.original_id().to_be_bytes());
    let count = u16::from_be_bytes([body[10], body[11]]).saturating_sub(1);
    body[10..12].copy_from_slice(&count.to_be_bytes());
    let time_s = u64_of(data.time_signed().into_octets());
    let (fudge, error) = (data.fudge(), data.error().to_int());
    let other: &[u8] = data.other();
    let end = End { time_s, fudge, error, other };
    let expected = key.code(&[&length(&request.code), &request.code, &body, &end.variables(key)]);
    let fits = record.owner().name_eq(&key.name) && same(&expected, data.mac_slice());
    if !fits {
        return Err(Unsigned::Forged);
    }
    if data.error() == TsigRcode::BADTIME {
        let theirs = data.other_time().map_or(time_s, |time| u64_of(time.into_octets()));
        return Err(Unsigned::BadTime(theirs.cast_signed() - now_s.cast_signed()));
    }
    if error != 0 {
        return Err(Unsigned::Other(data.error().to_string()));
    }
    Ok(())
}

/// What is signed behind a message.
struct End<'a> {
    time_s: u64,
    fudge: u16,
    error: u16,
    other: &'a [u8],
}

impl End<'_> {
    fn time(&self) -> [u8; 6] {
        let [_, _, time @ ..] = self.time_s.to_be_bytes();
        time
    }

    fn variables(&self, key: &Key) -> Vec<u8> {
        let mut bytes = Vec::new();
        key.name.compose_canonical(&mut bytes).unwrap_or_else(|never| match never {});
        bytes.extend(CLASS_ANY.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(algorithm(key));
        bytes.extend(self.time());
        bytes.extend(self.fudge.to_be_bytes());
        bytes.extend(self.error.to_be_bytes());
        bytes.extend(length(self.other));
        bytes.extend(self.other);
        bytes
    }
}

/// The algorithm's name as it travels.
fn algorithm(key: &Key) -> Vec<u8> {
    let name: Name = key.algorithm.name().parse().expect("a name of the standard");
    name.as_slice().to_vec()
}

fn length(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes()
}

fn u64_of(time: [u8; 6]) -> u64 {
    let mut bytes = [0; 8];
    bytes[2..].copy_from_slice(&time);
    u64::from_be_bytes(bytes)
}

/// Equal, in the same time whether or not.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

/// Where the last record begins.
fn start_of_last(message: &Message<Vec<u8>>) -> Option<usize> {
    let mut section: RecordSection<'_, _> = message.additional().ok()?;
    let mut start = None;
    loop {
        let at = section.pos();
        match section.next() {
            Some(Ok(_)) => start = Some(at),
            Some(Err(_)) => return None,
            None => return start,
        }
    }
}
