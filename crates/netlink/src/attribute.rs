//! Netlink attributes as bytes: a tolerant reader and a small writer.
//!
//! The reader looks only at the attributes asked for and skips the rest, so that a kernel newer
//! than this crate cannot hide a whole interface behind one attribute it extended. The writer
//! serves the families for which we use no message library (nf_tables, sock_diag).

const HEADER_BYTES: usize = 4;
/// Upper bits of the kind: nested, network byte order.
const KIND_MASK: u16 = 0x3fff;
const NESTED: u16 = 0x8000;

/// The attributes in `bytes`; ends at the first that does not fit.
pub(crate) fn attributes(bytes: &[u8]) -> Attributes<'_> {
    Attributes { rest: bytes }
}

/// The value of the first attribute of this kind.
pub(crate) fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// Text as the kernel stores it: up to the first NUL.
pub(crate) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

/// A number in host byte order; `None` when the attribute is too short.
pub(crate) fn number_u32(value: &[u8]) -> Option<u32> {
    value.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// An IPv4 or IPv6 address, told apart by its length.
pub(crate) fn address(value: &[u8]) -> Option<std::net::IpAddr> {
    match value.len() {
        4 => value.first_chunk::<4>().map(|bytes| (*bytes).into()),
        16 => value.first_chunk::<16>().map(|bytes| (*bytes).into()),
        _ => None,
    }
}

#[derive(Debug)]
pub(crate) struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let (header, _) = self.rest.split_first_chunk::<HEADER_BYTES>()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & KIND_MASK;
        if length < HEADER_BYTES || length > self.rest.len() {
            self.rest = &[];
            return None;
        }
        let value = &self.rest[HEADER_BYTES..length];
        self.rest = &self.rest[aligned(length).min(self.rest.len())..];
        Some((kind, value))
    }
}

/// Rounds up to the four byte boundary every attribute and message starts at.
pub(crate) fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// Appends one attribute with its padding.
pub(crate) fn push(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    push_header(out, kind, value.len());
    out.extend_from_slice(value);
    out.resize(aligned(out.len()), 0);
}

/// Appends a text attribute with the NUL the kernel expects.
pub(crate) fn push_text(out: &mut Vec<u8>, kind: u16, value: &str) {
    let mut bytes = value.as_bytes().to_vec();
    bytes.push(0);
    push(out, kind, &bytes);
}

/// Appends a nested attribute whose content `fill` writes.
pub(crate) fn push_nested(out: &mut Vec<u8>, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    fill(&mut inner);
    push(out, kind | NESTED, &inner);
}

fn push_header(out: &mut Vec<u8>, kind: u16, value_len: usize) {
    let length = u16::try_from(HEADER_BYTES + value_len)
        .expect("attributes of this crate hold names, addresses and single rules, below 64 KiB");
    out.extend_from_slice(&length.to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let mut bytes = Vec::new();
        push_text(&mut bytes, 3, "veth0");
        push_nested(&mut bytes, 18, |inner| push(inner, 1, b"bridge"));
        push(&mut bytes, 4, &1500_u32.to_ne_bytes());
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(find(&bytes, 3).map(text).as_deref(), Some("veth0"));
        assert_eq!(find(&bytes, 4).and_then(number_u32), Some(1500));
        assert_eq!(find(&bytes, 18).and_then(|inner| find(inner, 1)), Some(&b"bridge"[..]));
        assert_eq!(find(&bytes, 9), None);
    }

    #[test]
    fn stops_at_damage_without_panic() {
        let mut bytes = Vec::new();
        push(&mut bytes, 1, &[1, 2, 3]);
        for end in 0..bytes.len() {
            let seen = attributes(&bytes[..end]).count();
            assert!(seen <= 1);
        }
        assert_eq!(attributes(&[0, 0, 1, 0, 9, 9]).count(), 0);
        assert_eq!(attributes(&[0xff, 0xff, 1, 0]).count(), 0);
    }
}
