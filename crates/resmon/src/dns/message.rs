//! Questions and updates as they travel, and what answers say.

use std::collections::BTreeMap;
use std::net::IpAddr;

use domain::base::iana::{Class, Opcode, Rtype};
use domain::base::wire::ParseError;
use domain::base::{Message, MessageBuilder, ParsedName, ToName, UnknownRecordData};
use domain::rdata::AllRecordData;

use super::Name;

/// A record's data, of the types that are published.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Data {
    Address(IpAddr),
    Text(String),
    Pointer(Name),
}

/// What must be so, or nothing of an update is done (RFC 2136, 2.4).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Prerequisite {
    /// The name has exactly this, and no other of its type.
    Is(Name, Data),
    /// The name has nothing of this type.
    HasNo(Name, Rtype),
}

/// One step of an update.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    Add(Name, u32, Data),
    /// All of one type.
    DropAll(Name, Rtype),
    /// One record.
    Drop(Name, Data),
}

/// What one question found.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// Records of the name that was asked for, with their times to live in seconds.
    pub(super) found: BTreeMap<Data, u32>,
    /// Whether the name is only another name for something.
    pub(super) is_alias: bool,
    /// The zone that the name lies in, where the answer says so.
    pub(super) zone: Option<Name>,
    /// Whether the server is authoritative for it.
    pub(super) authoritative: bool,
}

impl Data {
    pub(super) const fn rtype(&self) -> Rtype {
        match self {
            Self::Address(IpAddr::V4(_)) => Rtype::A,
            Self::Address(IpAddr::V6(_)) => Rtype::AAAA,
            Self::Text(_) => Rtype::TXT,
            Self::Pointer(_) => Rtype::PTR,
        }
    }

    fn encoded(&self) -> UnknownRecordData<Vec<u8>> {
        let bytes = match self {
            Self::Address(IpAddr::V4(address)) => address.octets().to_vec(),
            Self::Address(IpAddr::V6(address)) => address.octets().to_vec(),
            Self::Pointer(name) => name.as_slice().to_vec(),
            Self::Text(text) => text
                .as_bytes()
                .chunks(TEXT_BYTES_MAX)
                .flat_map(|part| [&[part.len() as u8], part].concat())
                .collect(),
        };
        data(self.rtype(), bytes)
    }
}

/// A character string has at most so many bytes.
const TEXT_BYTES_MAX: usize = 255;

fn data(rtype: Rtype, bytes: Vec<u8>) -> UnknownRecordData<Vec<u8>> {
    UnknownRecordData::from_octets(rtype, bytes).expect("it is far shorter than a message")
}

fn nothing(rtype: Rtype) -> UnknownRecordData<Vec<u8>> {
    data(rtype, Vec::new())
}

/// A question for all records of one type. The number is set by who sends it.
pub(super) fn question(name: &Name, rtype: Rtype) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec().question();
    builder.push((name, rtype)).expect("a name is far shorter than a message");
    builder.finish()
}

/// An update of a zone, or nothing of it if a prerequisite does not hold.
pub(super) fn update(zone: &Name, needs: &[Prerequisite], steps: &[Step]) -> Vec<u8> {
    const FITS: &str = "a few records are far shorter than a message";
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_opcode(Opcode::UPDATE);
    let mut builder = builder.question();
    builder.push((zone, Rtype::SOA)).expect(FITS);
    let mut builder = builder.answer();
    for need in needs {
        let record = match need {
            Prerequisite::Is(name, data) => (name, Class::IN, 0, data.encoded()),
            Prerequisite::HasNo(name, rtype) => (name, Class::NONE, 0, nothing(*rtype)),
        };
        builder.push(record).expect(FITS);
    }
    let mut builder = builder.authority();
    for step in steps {
        let record = match step {
            Step::Add(name, ttl_s, data) => (name, Class::IN, *ttl_s, data.encoded()),
            Step::DropAll(name, rtype) => (name, Class::ANY, 0, nothing(*rtype)),
            Step::Drop(name, data) => (name, Class::NONE, 0, data.encoded()),
        };
        builder.push(record).expect(FITS);
    }
    builder.finish()
}

/// Reads the answer to a question.
///
/// # Errors
/// It is cut off or makes no sense.
pub(super) fn answer(message: &Message<Vec<u8>>, name: &Name) -> Result<Answer, ParseError> {
    let authoritative = message.header().aa();
    let mut answer = Answer { authoritative, ..Answer::default() };
    for record in message.answer()? {
        let record = record?;
        if record.owner() != name {
            continue;
        }
        let ttl_s = record.ttl().as_secs();
        match record.into_any_record::<AllRecordData<_, ParsedName<_>>>()?.into_data() {
            AllRecordData::A(a) => answer.take(Data::Address(a.addr().into()), ttl_s),
            AllRecordData::Aaaa(a) => answer.take(Data::Address(a.addr().into()), ttl_s),
            AllRecordData::Txt(txt) => {
                let text = String::from_utf8_lossy(&txt.text::<Vec<u8>>()).into_owned();
                answer.take(Data::Text(text), ttl_s);
            }
            AllRecordData::Ptr(ptr) => answer.take(Data::Pointer(ptr.ptrdname().to_name()), ttl_s),
            AllRecordData::Soa(_) => answer.zone = Some(name.clone()),
            AllRecordData::Cname(_) => answer.is_alias = true,
            // Of no interest, whatever it is.
            _ => {}
        }
    }
    for record in message.authority()? {
        let record = record?;
        if record.rtype() == Rtype::SOA && name.ends_with(&record.owner()) {
            answer.zone.get_or_insert_with(|| record.owner().to_name());
        }
    }
    Ok(answer)
}

impl Answer {
    fn take(&mut self, data: Data, ttl_s: u32) {
        self.found.insert(data, ttl_s);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_says_what_it_needs_and_does() {
        let name: Name = "web.example.org".parse().unwrap();
        let zone: Name = "example.org".parse().unwrap();
        let needs = [
            Prerequisite::Is(name.clone(), Data::Text("mine".into())),
            Prerequisite::HasNo(name.clone(), Rtype::CNAME),
        ];
        let address = Data::Address("10.0.0.25".parse().unwrap());
        let steps = [Step::DropAll(name.clone(), Rtype::A), Step::Add(name, 1200, address)];
        let message = Message::from_octets(update(&zone, &needs, &steps)).unwrap();
        assert_eq!(message.header().opcode(), Opcode::UPDATE);
        let counts = message.header_counts();
        assert_eq!((counts.zocount(), counts.prcount(), counts.upcount()), (1, 2, 2));
        let classes = |section: domain::base::message::RecordSection<'_, Vec<u8>>| {
            section.map(|r| r.unwrap().class()).collect::<Vec<_>>()
        };
        assert_eq!(classes(message.answer().unwrap()), [Class::IN, Class::NONE]);
        assert_eq!(classes(message.authority().unwrap()), [Class::ANY, Class::IN]);
    }

    #[test]
    fn an_answer_that_is_cut_off_is_an_error_and_no_panic() {
        let name: Name = "web.example.org".parse().unwrap();
        let address = Data::Address("10.0.0.25".parse().unwrap());
        let whole = update(&name, &[Prerequisite::Is(name.clone(), address)], &[]);
        assert_eq!(
            answer(&Message::from_octets(whole.clone()).unwrap(), &name).unwrap().found.len(),
            1
        );
        for length in 12..whole.len() {
            let cut = Message::from_octets(whole[..length].to_vec()).unwrap();
            let _ = answer(&cut, &name);
        }
    }
}
