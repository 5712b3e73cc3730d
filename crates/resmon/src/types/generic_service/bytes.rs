//! The D-Bus wire format, as much of it as the talk with systemd needs: calls whose arguments are
//! texts, and whatever comes back.
//!
//! Written for a peer that may say anything: what does not fit is an error, and nothing is
//! allocated for a length that only was claimed.

use super::bus::BusError;

/// Longest message that is taken.
pub(super) const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Bytes of the part of a header that has always the same form.
pub(super) const PREFIX_BYTES: usize = 16;
/// How deep values may lie in one another.
const DEPTH_MAX: usize = 16;

/// A value. Types that are not told apart here are one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Value {
    /// A text, an object path or a signature.
    Text(String),
    /// A number or a flag, as its bits.
    Number(u64),
    /// An array, a structure or an entry of a table.
    List(Vec<Self>),
}

/// A message that came.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Message {
    /// 1 call, 2 answer, 3 error, 4 signal.
    pub(super) kind: u8,
    pub(super) path: String,
    pub(super) member: String,
    /// Name of an error.
    pub(super) error: String,
    /// Number of the call that it answers.
    pub(super) answers: u32,
    pub(super) body: Vec<Value>,
}

/// A call to an object of systemd.
#[derive(Clone, Copy, Debug)]
pub(super) struct Method<'a> {
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
    pub(super) arguments: &'a [&'a str],
}

impl Value {
    /// It as a text; anything else is none.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Number(_) | Self::List(_) => "",
        }
    }

    /// It as a number; anything else is 0.
    pub(super) fn number(&self) -> u64 {
        match self {
            Self::Number(number) => *number,
            Self::Text(_) | Self::List(_) => 0,
        }
    }

    /// Its members; anything else has none.
    pub(super) fn list(&self) -> &[Self] {
        match self {
            Self::List(list) => list,
            Self::Text(_) | Self::Number(_) => &[],
        }
    }
}

/// The bytes of a call.
pub(super) fn call(serial: u32, method: &Method<'_>) -> Vec<u8> {
    const METHOD_CALL: u8 = 1;
    let mut body = Vec::new();
    for argument in method.arguments {
        put_text(&mut body, argument);
    }
    let mut fields = Vec::new();
    let mut field = |code: u8, kind: u8, text: &str| {
        pad(&mut fields, 8);
        fields.extend([code, 1, kind, 0]);
        if kind == b'g' {
            fields.push(text.len() as u8);
            fields.extend(text.bytes().chain([0]));
        } else {
            put_text(&mut fields, text);
        }
    };
    field(1, b'o', method.path);
    field(2, b's', method.interface);
    field(3, b's', method.member);
    field(6, b's', "org.freedesktop.systemd1");
    if !method.arguments.is_empty() {
        field(8, b'g', &"s".repeat(method.arguments.len()));
    }
    let mut bytes = vec![b'l', METHOD_CALL, 0, 1];
    put_number(&mut bytes, body.len() as u32);
    put_number(&mut bytes, serial);
    put_number(&mut bytes, fields.len() as u32);
    bytes.extend(fields);
    pad(&mut bytes, 8);
    bytes.extend(body);
    bytes
}

fn put_number(bytes: &mut Vec<u8>, number: u32) {
    bytes.extend(number.to_le_bytes());
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    pad(bytes, 4);
    put_number(bytes, text.len() as u32);
    bytes.extend(text.bytes().chain([0]));
}

fn pad(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

/// Bytes of the whole message that begins so; at least [`PREFIX_BYTES`] are there.
pub(super) fn length(prefix: &[u8]) -> Result<usize, BusError> {
    let mut reader = Reader { bytes: prefix, at: 4, big: is_big(prefix)? };
    let (body, _, fields) = (reader.number(4)?, reader.number(4)?, reader.number(4)?);
    let fields = (PREFIX_BYTES as u64 + fields).next_multiple_of(8);
    let length = usize::try_from(fields + body).unwrap_or(usize::MAX);
    if length > MESSAGE_BYTES_MAX {
        return Err(BusError::Garbage);
    }
    Ok(length)
}

fn is_big(bytes: &[u8]) -> Result<bool, BusError> {
    match bytes.first() {
        Some(b'l') => Ok(false),
        Some(b'B') => Ok(true),
        Some(_) | None => Err(BusError::Garbage),
    }
}

/// Reads a whole message.
pub(super) fn message(bytes: &[u8]) -> Result<Message, BusError> {
    let kind = *bytes.get(1).ok_or(BusError::Garbage)?;
    let mut reader = Reader { bytes, at: 12, big: is_big(bytes)? };
    let mut message = Message { kind, ..Message::default() };
    let mut signature = String::new();
    for field in reader.value(b"a(yv)", &mut 0, 0)?.list() {
        let [code, value] = field.list() else { return Err(BusError::Garbage) };
        match code.number() {
            1 => message.path = value.text().to_owned(),
            3 => message.member = value.text().to_owned(),
            4 => message.error = value.text().to_owned(),
            5 => message.answers = value.number() as u32,
            8 => signature = value.text().to_owned(),
            _ => {}
        }
    }
    reader.align(8)?;
    let (signature, mut at) = (signature.as_bytes(), 0);
    while at < signature.len() {
        message.body.push(reader.value(signature, &mut at, 0)?);
    }
    Ok(message)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big: bool,
}

impl Reader<'_> {
    fn take(&mut self, length: usize) -> Result<&[u8], BusError> {
        let end = self.at.checked_add(length).ok_or(BusError::Garbage)?;
        let taken = self.bytes.get(self.at..end).ok_or(BusError::Garbage)?;
        self.at = end;
        Ok(taken)
    }

    fn align(&mut self, to: usize) -> Result<(), BusError> {
        self.take(self.at.next_multiple_of(to) - self.at).map(drop)
    }

    fn number(&mut self, size: usize) -> Result<u64, BusError> {
        self.align(size)?;
        let big = self.big;
        let bytes = self.take(size)?.iter();
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Ok(if big { bytes.fold(0, add) } else { bytes.rev().fold(0, add) })
    }

    fn text(&mut self, length_bytes: usize) -> Result<String, BusError> {
        let length = usize::try_from(self.number(length_bytes)?).map_err(|_| BusError::Garbage)?;
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.take(1)?;
        Ok(text)
    }

    /// A value of the type that the signature has at `at`, which is moved behind it.
    fn value(&mut self, signature: &[u8], at: &mut usize, depth: usize) -> Result<Value, BusError> {
        if depth > DEPTH_MAX {
            return Err(BusError::Garbage);
        }
        let kind = *signature.get(*at).ok_or(BusError::Garbage)?;
        *at += 1;
        let value = match kind {
            b'y' => Value::Number(self.number(1)?),
            b'n' | b'q' => Value::Number(self.number(2)?),
            b'b' | b'i' | b'u' | b'h' => Value::Number(self.number(4)?),
            b'x' | b't' | b'd' => Value::Number(self.number(8)?),
            b's' | b'o' => Value::Text(self.text(4)?),
            b'g' => Value::Text(self.text(1)?),
            b'v' => {
                let inner = self.text(1)?;
                self.value(inner.as_bytes(), &mut 0, depth + 1)?
            }
            b'a' => self.array(signature, at, depth)?,
            b'(' | b'{' => {
                self.align(8)?;
                let mut members = Vec::new();
                while !matches!(signature.get(*at), Some(b')' | b'}')) {
                    members.push(self.value(signature, at, depth + 1)?);
                }
                *at += 1;
                Value::List(members)
            }
            _ => return Err(BusError::Garbage),
        };
        Ok(value)
    }

    fn array(&mut self, signature: &[u8], at: &mut usize, depth: usize) -> Result<Value, BusError> {
        let length = usize::try_from(self.number(4)?).map_err(|_| BusError::Garbage)?;
        let aligned = match signature.get(*at) {
            Some(b'x' | b't' | b'd' | b'(' | b'{') => 8,
            Some(_) | None => 1,
        };
        self.align(aligned)?;
        let end = self.at.checked_add(length).ok_or(BusError::Garbage)?;
        let (element, mut values) = (*at, Vec::new());
        *at = behind(signature, element).ok_or(BusError::Garbage)?;
        while self.at < end {
            let before = self.at;
            values.push(self.value(signature, &mut element.clone(), depth + 1)?);
            if self.at == before {
                return Err(BusError::Garbage);
            }
        }
        if self.at == end { Ok(Value::List(values)) } else { Err(BusError::Garbage) }
    }
}

/// Where the signature goes on behind the complete type at `at`.
fn behind(signature: &[u8], at: usize) -> Option<usize> {
    let mut open = 0_usize;
    for (i, kind) in signature.iter().enumerate().skip(at) {
        match kind {
            b'a' => continue,
            b'(' | b'{' => open += 1,
            b')' | b'}' => open = open.checked_sub(1)?,
            _ => {}
        }
        if open == 0 {
            return Some(i + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call is a message, too: what is written is read.
    #[test]
    fn a_call_is_read_as_it_was_written() {
        for arguments in [&[][..], &["web.service"], &["web.service", "replace"]] {
            let method = Method { path: "/a/b", interface: "c.D", member: "Start", arguments };
            let bytes = call(7, &method);
            assert_eq!(length(&bytes).unwrap(), bytes.len());
            let read = message(&bytes).unwrap();
            assert_eq!((read.kind, read.path.as_str(), read.member.as_str()), (1, "/a/b", "Start"));
            let texts: Vec<&str> = read.body.iter().map(Value::text).collect();
            assert_eq!(texts, arguments);
        }
    }

    /// An answer of systemd 252 to `Properties.Get`: the conditions of a unit, `a(sbbsi)`.
    fn answer() -> Vec<u8> {
        let mut body = b"\x08a(sbbsi)\0".to_vec();
        pad(&mut body, 4);
        let at = body.len();
        put_number(&mut body, 0);
        pad(&mut body, 8);
        let begin = body.len();
        put_text(&mut body, "ConditionPathExists");
        pad(&mut body, 4);
        put_number(&mut body, 0);
        put_number(&mut body, 1);
        put_text(&mut body, "/run/x");
        pad(&mut body, 4);
        put_number(&mut body, 1);
        let length = (body.len() - begin) as u32;
        body[at..at + 4].copy_from_slice(&length.to_le_bytes());
        let mut bytes = vec![b'l', 2, 0, 1];
        put_number(&mut bytes, body.len() as u32);
        put_number(&mut bytes, 1);
        let fields = [5, 1, b'u', 0, 7, 0, 0, 0, 8, 1, b'g', 0, 1, b'v', 0];
        put_number(&mut bytes, fields.len() as u32);
        bytes.extend(fields);
        pad(&mut bytes, 8);
        bytes.extend(body);
        bytes
    }

    #[test]
    fn tables_of_structures_are_read() {
        let read = message(&answer()).unwrap();
        assert_eq!((read.kind, read.answers), (2, 7));
        let [table] = &read.body[..] else { panic!("{read:?}") };
        let [row] = table.list() else { panic!("{table:?}") };
        assert_eq!(row.list()[0].text(), "ConditionPathExists");
        assert_eq!(row.list()[2].number(), 1);
        assert_eq!(row.list()[3].text(), "/run/x");
    }

    /// Whatever comes, an error is the worst that follows.
    #[test]
    fn what_is_cut_or_changed_does_no_harm() {
        let good = answer();
        for cut in 0..good.len() {
            assert!(message(&good[..cut]).is_err(), "{cut}");
        }
        for at in 0..good.len() {
            for byte in [0, 1, 7, b'a', b'(', b'v', 0x7f, 0xff] {
                let mut bytes = good.clone();
                bytes[at] = byte;
                let _ = length(&bytes);
                let _ = message(&bytes);
            }
        }
    }
}
