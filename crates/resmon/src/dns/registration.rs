//! Publishing a name with its addresses, and removing it again.
//!
//! ```text
//!  look (A, AAAA, CNAME, marker) ─► judge whose it is ─► update with what was seen as prerequisite
//!        ▲                                                      │ it changed meanwhile
//!        └──────────────────────────────────────────────────────┘
//!  then, address by address, the names of the addresses (PTR): those of ours only
//! ```
//!
//! The zone of the name is one transaction. The zones of the addresses are others, often on other
//! servers: what fails there is said and hurts nothing else.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use domain::base::Message;
use domain::base::iana::{Rcode, Rtype};

use super::exchange::Server;
use super::key::Key;
use super::message::{self, Answer, Data, Prerequisite, Step};
use super::ownership::{Marker, Standing};
use super::{Name, Trouble, sign};

/// The label of the text that says whose a name is.
const MARKER_LABEL: &str = "_stead";
/// Looks at a name that others change at the same time.
const LOOKS_MAX: u32 = 5;

/// A name as it is published.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Registration {
    /// The name without its zone.
    pub(crate) name: String,
    /// The zone, without the dot at its end.
    pub(crate) zone: String,
    /// Who takes updates, in order of preference.
    pub(crate) servers: Vec<SocketAddr>,
    /// The file with the key to sign them with.
    pub(crate) key: Option<PathBuf>,
    /// Whether the addresses get their names, too.
    pub(crate) pointers: Pointers,
    /// Who publishes.
    pub(crate) marker: Marker,
}

/// Whether addresses get names (PTR).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pointers {
    Published,
    LeftAlone,
}

/// What removing came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Removal {
    /// It was there and is gone.
    Removed,
    /// There was nothing of ours.
    Nothing,
}

/// What is to be published.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Content {
    /// The addresses.
    pub(crate) addresses: BTreeSet<IpAddr>,
    /// How long others may keep what they were told, seconds.
    pub(crate) ttl_s: u32,
}

/// What there is of a name.
struct Seen {
    addresses: Vec<(IpAddr, u32)>,
    texts: Vec<(String, u32)>,
    is_alias: bool,
}

/// The names of one registration, and a server to talk to.
struct Talk<'a> {
    own: &'a Registration,
    server: Server<'a>,
    full: Name,
    zone: Name,
    marked: Name,
}

impl Registration {
    /// The full name.
    pub(crate) fn full_name(&self) -> String {
        format!("{}.{}", self.name, self.zone)
    }

    /// Publishes it on the first server that answers; tells what could not be done about the names
    /// of its addresses, one sentence each.
    ///
    /// # Errors
    /// It is not published, or not known to be.
    pub(crate) fn publish(&self, content: &Content) -> Result<Vec<String>, Trouble> {
        self.with_server(|talk| talk.publish(content))
    }

    /// Removes it there.
    ///
    /// # Errors
    /// It is not removed, or not known to be.
    pub(crate) fn remove(&self) -> Result<Removal, Trouble> {
        self.with_server(|talk| talk.remove())
    }

    /// Tries server after server; the last word of one that answered counts more than silence.
    fn with_server<T>(&self, act: impl Fn(&Talk<'_>) -> Result<T, Trouble>) -> Result<T, Trouble> {
        let key = self.key.as_deref().map(Key::read).transpose()?;
        let name = |text: String| {
            let wrong = |_| Trouble::Senseless(format!("`{text}` is too long for a name"));
            text.parse::<Name>().map_err(wrong)
        };
        let full = name(self.full_name())?;
        let marked = name(format!("{MARKER_LABEL}.{}", self.full_name()))?;
        let zone = name(self.zone.clone())?;
        let mut trouble = None;
        for address in &self.servers {
            let server = Server { address: *address, key: key.as_ref(), now_s: sign::now_s };
            let (full, zone, marked) = (full.clone(), zone.clone(), marked.clone());
            let talk = Talk { own: self, server, full, zone, marked };
            match act(&talk) {
                Err(why @ (Trouble::Refused { .. } | Trouble::Garbled { .. })) => {
                    trouble = Some(why);
                }
                Err(why @ Trouble::Silent { .. }) => {
                    trouble.get_or_insert(why);
                }
                decided => return decided,
            }
        }
        Err(trouble.unwrap_or_else(|| Trouble::Senseless("there is no server".into())))
    }
}

impl Talk<'_> {
    fn publish(&self, content: &Content) -> Result<Vec<String>, Trouble> {
        let mark = self.own.marker.to_string();
        for _ in 0..LOOKS_MAX {
            let seen = self.look()?;
            let needs = match self.judge(&seen)? {
                Some(text) => vec![self.is_marked(text)],
                None => self.is_free(),
            };
            let steps = self.steps(content, mark.clone());
            if !seen.says(content, &mark) && !self.update(&self.zone, &needs, &steps)? {
                continue;
            }
            let former = seen.addresses.iter().map(|(address, _)| *address);
            let former = former.filter(|address| !content.addresses.contains(address));
            return Ok(match self.own.pointers {
                Pointers::Published => self.point(content, former),
                Pointers::LeftAlone => Vec::new(),
            });
        }
        Err(self.server.garbled("others change the name again and again"))
    }

    fn remove(&self) -> Result<Removal, Trouble> {
        for _ in 0..LOOKS_MAX {
            let seen = self.look()?;
            let Some(text) = self.judge(&seen)? else { return Ok(Removal::Nothing) };
            let mut steps = self.nothing();
            steps.push(Step::DropAll(self.marked.clone(), Rtype::TXT));
            if self.update(&self.zone, &[self.is_marked(text)], &steps)? {
                for (address, _) in seen.addresses {
                    // The name they point to is gone; where they cannot be removed they say so.
                    let _ = self.unpoint(address);
                }
                return Ok(Removal::Removed);
            }
        }
        Err(self.server.garbled("others change the name again and again"))
    }

    /// The text that says that it is ours, `None` if it is nobody's.
    fn judge(&self, seen: &Seen) -> Result<Option<String>, Trouble> {
        let texts: Vec<&str> = seen.texts.iter().map(|(text, _)| text.as_str()).collect();
        let addresses: Vec<IpAddr> = seen.addresses.iter().map(|(address, _)| *address).collect();
        match self.own.marker.judge(&texts, &addresses, seen.is_alias) {
            Standing::Free => Ok(None),
            Standing::Own(text) => Ok(Some(text)),
            Standing::Later(marker) => Err(Trouble::Later(marker)),
            Standing::Foreign(why) => Err(Trouble::Foreign(format!(
                "name `{}` is not this cluster's in DNS: {why}; nothing of it was changed: remove \
                 that, or choose another name",
                self.own.full_name()
            ))),
        }
    }

    fn look(&self) -> Result<Seen, Trouble> {
        let mut seen = Seen { addresses: Vec::new(), texts: Vec::new(), is_alias: false };
        let asked = [(&self.full, Rtype::A), (&self.full, Rtype::AAAA), (&self.marked, Rtype::TXT)];
        for (name, rtype) in asked {
            let answer = self.ask(name, rtype)?;
            if !answer.authoritative {
                return Err(self.server.refused(Rcode::NOTAUTH));
            }
            seen.is_alias |= answer.is_alias;
            for (data, ttl_s) in answer.found {
                match data {
                    Data::Address(address) => seen.addresses.push((address, ttl_s)),
                    Data::Text(text) => seen.texts.push((text, ttl_s)),
                    Data::Pointer(_) => {}
                }
            }
        }
        Ok(seen)
    }

    fn ask(&self, name: &Name, rtype: Rtype) -> Result<Answer, Trouble> {
        let message = self.server.ask(message::question(name, rtype))?;
        match message.header().rcode() {
            Rcode::NOERROR | Rcode::NXDOMAIN => {}
            rcode => return Err(self.server.refused(rcode)),
        }
        message::answer(&message, name).map_err(|why| self.server.garbled(why))
    }

    /// Whether an update was done; not, if a prerequisite did not hold.
    fn update(&self, zone: &Name, needs: &[Prerequisite], steps: &[Step]) -> Result<bool, Trouble> {
        let answer: Message<_> = self.server.ask(message::update(zone, needs, steps))?;
        match answer.header().rcode() {
            Rcode::NOERROR => Ok(true),
            Rcode::YXRRSET | Rcode::NXRRSET | Rcode::YXDOMAIN | Rcode::NXDOMAIN => Ok(false),
            rcode => Err(self.server.refused(rcode)),
        }
    }

    fn is_marked(&self, text: String) -> Prerequisite {
        Prerequisite::Is(self.marked.clone(), Data::Text(text))
    }

    fn is_free(&self) -> Vec<Prerequisite> {
        let none = |rtype| Prerequisite::HasNo(self.full.clone(), rtype);
        let unmarked = Prerequisite::HasNo(self.marked.clone(), Rtype::TXT);
        vec![none(Rtype::A), none(Rtype::AAAA), none(Rtype::CNAME), unmarked]
    }

    /// Neither address; whatever else an administrator gave the name stays.
    fn nothing(&self) -> Vec<Step> {
        [Rtype::A, Rtype::AAAA].map(|rtype| Step::DropAll(self.full.clone(), rtype)).to_vec()
    }

    fn steps(&self, content: &Content, mark: String) -> Vec<Step> {
        let mut steps = self.nothing();
        let add =
            |address: &IpAddr| Step::Add(self.full.clone(), content.ttl_s, Data::Address(*address));
        steps.extend(content.addresses.iter().map(add));
        steps.push(Step::DropAll(self.marked.clone(), Rtype::TXT));
        steps.push(Step::Add(self.marked.clone(), content.ttl_s, Data::Text(mark)));
        steps
    }

    /// Gives the addresses their name, and takes it from former ones; tells what was not possible.
    fn point(&self, content: &Content, former: impl Iterator<Item = IpAddr>) -> Vec<String> {
        let gone = former.filter_map(|address| self.unpoint(address).err());
        let mut said: Vec<String> = gone.map(|why| why.to_string()).collect();
        for address in &content.addresses {
            if let Err(why) = self.point_one(*address, content.ttl_s) {
                said.push(format!("address {address} does not get its name: {why}"));
            }
        }
        said
    }

    fn point_one(&self, address: IpAddr, ttl_s: u32) -> Result<(), Trouble> {
        let reverse = reverse(address)?;
        let own = Data::Pointer(self.full.clone());
        let zone = self.zone_of(&reverse)?;
        for _ in 0..LOOKS_MAX {
            let found = self.ask(&reverse, Rtype::PTR)?.found;
            let needs = match found.iter().next() {
                None => Prerequisite::HasNo(reverse.clone(), Rtype::PTR),
                Some((data, ttl)) if *data == own && *ttl == ttl_s && found.len() == 1 => {
                    return Ok(());
                }
                Some((data, _)) if *data == own && found.len() == 1 => {
                    Prerequisite::Is(reverse.clone(), own.clone())
                }
                Some((data, _)) => {
                    let has = match data {
                        Data::Pointer(name) => name.to_string(),
                        Data::Address(_) | Data::Text(_) => "something else".to_owned(),
                    };
                    return Err(Trouble::Foreign(format!("it has the name `{has}` in DNS")));
                }
            };
            let steps = [
                Step::Drop(reverse.clone(), own.clone()),
                Step::Add(reverse.clone(), ttl_s, own.clone()),
            ];
            if self.update(&zone, &[needs], &steps)? {
                return Ok(());
            }
        }
        Err(self.server.garbled("others change it again and again"))
    }

    /// Takes our name from an address; another one stays.
    fn unpoint(&self, address: IpAddr) -> Result<(), Trouble> {
        let reverse = reverse(address)?;
        let own = Data::Pointer(self.full.clone());
        if !self.ask(&reverse, Rtype::PTR)?.found.contains_key(&own) {
            return Ok(());
        }
        let zone = self.zone_of(&reverse)?;
        self.update(&zone, &[], &[Step::Drop(reverse, own)]).map(drop)
    }

    /// The zone of the server that a name lies in.
    fn zone_of(&self, name: &Name) -> Result<Name, Trouble> {
        let answer = self.ask(name, Rtype::SOA)?;
        let zone = answer.zone.filter(|_| answer.authoritative);
        zone.ok_or_else(|| self.server.refused(Rcode::NOTAUTH))
    }
}

impl Seen {
    /// Whether everything is as it shall be.
    fn says(&self, content: &Content, mark: &str) -> bool {
        let kept = |(_, ttl_s): &(IpAddr, u32)| *ttl_s == content.ttl_s;
        let addresses: BTreeSet<IpAddr> = self.addresses.iter().map(|(a, _)| *a).collect();
        addresses == content.addresses
            && self.addresses.iter().all(kept)
            && self.texts == [(mark.to_owned(), content.ttl_s)]
    }
}

/// The name under which the name of an address is found.
fn reverse(address: IpAddr) -> Result<Name, Trouble> {
    Name::reverse_from_addr(address).map_err(|why| Trouble::Senseless(why.to_string()))
}
