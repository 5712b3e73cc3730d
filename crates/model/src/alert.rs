//! Alerts: which records somebody outside the cluster is told of, and how.
//!
//! An alert is configuration: part of the database, the same on all nodes. It is written as
//! properties, which is how people, files and the API give it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::GroupId;
use crate::reason::{Code, Reason};
use crate::record::Level;
use crate::resource_type::{parse_time_ms, split_words, written_ms};
use crate::rules;
use crate::time::UtcMillis;

/// Most alerts of a cluster.
pub const ALERTS_MAX: usize = 16;
/// Most patterns of codes of one alert.
pub const CODES_MAX: usize = 32;
/// Longest web address and longest command.
pub const TARGET_BYTES_MAX: usize = 2048;
/// Longest pattern of codes.
const CODE_BYTES_MAX: usize = 64;
/// How long a call may take unless it is said: the time a web server is commonly given.
const TIMEOUT_MS: u32 = 10_000;
/// An answer to `alert test` must come within the patience of the API.
const TIMEOUT_MS_MAX: u64 = 20_000;
const TIMEOUT_MS_MIN: u64 = 100;

/// Whom to tell of which records.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Alert {
    /// How.
    pub call: Call,
    /// The least level that is told.
    pub level: Level,
    /// Codes that are told, with a `*` at the end for all that begin so; none: all.
    pub codes: Vec<String>,
    /// Groups that are told of; none: all, and what is about no group.
    pub groups: BTreeSet<GroupId>,
    /// How long one call may take, in milliseconds.
    pub timeout_ms: u32,
}

/// How somebody is told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Call {
    /// The record is posted to this web address.
    Webhook(String),
    /// This command is run, with the record on its standard input.
    Command(String),
}

/// How an alert went on one node since it was set there.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Track {
    /// When somebody was told last.
    pub last_success: Option<UtcMillis>,
    /// When telling was given up last, if ever.
    pub last_failure: Option<UtcMillis>,
    /// Why it was given up then.
    pub why: Option<String>,
    /// Records that wait to be told.
    pub waiting: u32,
    /// Records given up because too many waited.
    pub dropped: u64,
}

impl Track {
    /// Why nobody is told at present: what was tried last failed.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        let why = self.why.as_deref()?;
        (self.last_failure > self.last_success).then_some(why)
    }
}

impl Alert {
    /// Reads the properties of an alert.
    ///
    /// # Errors
    /// The first one that makes no sense.
    pub fn parse(properties: &BTreeMap<String, String>) -> Result<Self, Reason> {
        let known = ["webhook", "command", "level", "codes", "groups", "timeout"];
        if let Some(name) = properties.keys().find(|name| !known.contains(&name.as_str())) {
            let text = format!("an alert has no property `{}`", name.escape_debug());
            return Err(
                Reason::new(Code::NotFound, text).hint(format!("known are {}", known.join(", ")))
            );
        }
        let given = |name: &str| properties.get(name).map(String::as_str);
        let codes = given("codes").map(parse_codes).transpose()?.unwrap_or_default();
        let usual = if codes.is_empty() { Level::Warning } else { Level::Info };
        let level = given("level").map(parse_level).transpose()?.unwrap_or(usual);
        let groups = given("groups").map(parse_groups).transpose()?.unwrap_or_default();
        let timeout_ms = given("timeout").map(parse_timeout).transpose()?.unwrap_or(TIMEOUT_MS);
        let call = match (given("webhook"), given("command")) {
            (Some(address), None) => {
                WebAddress::parse(address)?;
                Call::Webhook(address.to_owned())
            }
            (None, Some(command)) => {
                program(command)?;
                Call::Command(command.to_owned())
            }
            (Some(_), Some(_)) | (None, None) => {
                return Err(Reason::new(
                    Code::Invalid,
                    "an alert calls one web address or command",
                )
                .hint("give either `webhook` or `command`; make two alerts to call both"));
            }
        };
        Ok(Self { call, level, codes, groups, timeout_ms })
    }

    /// All properties; what is empty is absent. [`Alert::parse`] reads them again.
    #[must_use]
    pub fn properties(&self) -> BTreeMap<String, String> {
        let call = match &self.call {
            Call::Webhook(address) => ("webhook", address.clone()),
            Call::Command(command) => ("command", command.clone()),
        };
        let groups: Vec<&str> = self.groups.iter().map(GroupId::as_str).collect();
        let lists = [("codes", self.codes.join(",")), ("groups", groups.join(","))];
        let mut all = vec![
            call,
            ("level", self.level.word().to_owned()),
            ("timeout", written_ms(u64::from(self.timeout_ms))),
        ];
        all.extend(lists.into_iter().filter(|(_, list)| !list.is_empty()));
        all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Webhook(address) => write!(f, "webhook {address}"),
            Self::Command(command) => write!(f, "command {command}"),
        }
    }
}

fn bad(what: &str, value: &str, must: &str) -> Reason {
    let text = format!("{what} cannot be `{}`", value.escape_debug());
    Reason::new(Code::Invalid, text).because(format!("it must be {must}"))
}

fn parse_codes(text: &str) -> Result<Vec<String>, Reason> {
    let codes: Vec<String> = text.split(',').map(|code| code.trim().to_owned()).collect();
    let fine = |code: &String| {
        let name = code.strip_suffix('*').unwrap_or(code);
        let bytes = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        bytes && !code.is_empty() && code.len() <= CODE_BYTES_MAX
    };
    if codes.len() <= CODES_MAX && codes.iter().all(fine) {
        return Ok(codes);
    }
    Err(bad("`codes` of an alert", text, "up to 32 codes of records with commas, as in `lease-*`")
        .hint("`docs/reference/records.md` lists the codes; `*` may stand at the end of one"))
}

fn parse_level(text: &str) -> Result<Level, Reason> {
    let all = [Level::Info, Level::Warning, Level::Error];
    let found = all.into_iter().find(|level| level.word() == text);
    found.ok_or_else(|| bad("`level` of an alert", text, "`info`, `warning` or `error`"))
}

fn parse_groups(text: &str) -> Result<BTreeSet<GroupId>, Reason> {
    let must = "names of groups with commas, at most 64";
    rules::groups(text).ok_or_else(|| bad("`groups` of an alert", text, must))
}

fn parse_timeout(text: &str) -> Result<u32, Reason> {
    let ms = parse_time_ms(text).ok().filter(|ms| (TIMEOUT_MS_MIN..=TIMEOUT_MS_MAX).contains(ms));
    let ms = ms.and_then(|ms| u32::try_from(ms).ok());
    ms.ok_or_else(|| bad("`timeout` of an alert", text, "a time from `100ms` to `20s`"))
}

/// The words of a command; the first is the program.
///
/// # Errors
/// It is no command with an absolute path.
pub fn program(command: &str) -> Result<Vec<String>, Reason> {
    let plain = command.len() <= TARGET_BYTES_MAX && !command.chars().any(char::is_control);
    let words = split_words(command).filter(|_| plain);
    let absolute = |words: &Vec<String>| words.first().is_some_and(|word| word.starts_with('/'));
    words.filter(absolute).ok_or_else(|| {
        bad("`command` of an alert", command, "a program's absolute path and its arguments")
            .hint("the program must be there on every node, as in `/usr/local/bin/page --team web`")
    })
}

/// Where a webhook is: an address that plain HTTP reaches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WebAddress {
    /// Host name or IP address, an IPv6 one without its brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// What is asked for there: path and query.
    pub path: String,
    /// Host and port as the request names them.
    pub authority: String,
}

impl WebAddress {
    /// Parses `http://host[:port][/path][?query]`.
    ///
    /// # Errors
    /// It is none, or needs more than plain HTTP.
    pub fn parse(text: &str) -> Result<Self, Reason> {
        if text.starts_with("https://") {
            let text = format!("`webhook` of an alert cannot be `{}`", text.escape_debug());
            return Err(Reason::new(Code::Invalid, text)
                .because("nodes speak plain HTTP only: they have no TLS of their own")
                .hint(
                    "give a `command` instead, such as `/usr/bin/curl --silent --fail \
                     --data-binary @- ADDRESS`",
                ));
        }
        let must = "an address such as `http://alerts.example.org:8080/path`";
        Self::parts(text).ok_or_else(|| bad("`webhook` of an alert", text, must))
    }

    fn parts(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("http://")?;
        let fine = text.len() <= TARGET_BYTES_MAX && text.bytes().all(|b| b.is_ascii_graphic());
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if !fine || authority.contains(['@', '#', '\\']) || path.contains('#') {
            return None;
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']')?;
                host.parse::<std::net::Ipv6Addr>().ok()?;
                (host, port)
            }
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let port = match port {
            "" => 80,
            port => port.strip_prefix(':')?.parse().ok().filter(|port| *port != 0)?,
        };
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let (host, authority) = (host.to_owned(), authority.to_owned());
        (!host.is_empty()).then_some(Self { host, port, path, authority })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(given: &[(&str, &str)]) -> Result<Alert, Reason> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Alert::parse(&given.iter().map(own).collect())
    }

    #[test]
    fn properties_are_read_as_they_are_written() {
        let hook = ("webhook", "http://[::1]:9/a?b=c");
        let alert = parse(&[hook]).unwrap();
        assert_eq!((alert.level, alert.timeout_ms), (Level::Warning, 10_000));
        let alert = parse(&[hook, ("codes", "group-*, lease-lost"), ("groups", "web")]).unwrap();
        assert_eq!(alert.level, Level::Info, "who names codes wants them whatever their level");
        assert_eq!(Alert::parse(&alert.properties()), Ok(alert));
        let alert = parse(&[("command", "/bin/page -x 'a b'"), ("timeout", "2s")]).unwrap();
        assert_eq!(Alert::parse(&alert.properties()), Ok(alert));
    }

    #[test]
    fn what_cannot_be_called_is_refused() {
        let hook = ("webhook", "http://a/");
        for given in [
            &[][..],
            &[hook, ("command", "/bin/true")],
            &[("command", "page me")],
            &[("command", "/bin/page 'open")],
            &[("command", "")],
            &[("command", "/bin/page\n")],
            &[hook, ("colour", "red")],
            &[hook, ("level", "fatal")],
            &[hook, ("codes", "Group")],
            &[hook, ("codes", "a*b")],
            &[hook, ("codes", "a,,b")],
            &[hook, ("groups", "a b")],
            &[hook, ("timeout", "21s")],
            &[hook, ("timeout", "0s")],
        ] {
            assert!(parse(given).is_err(), "{given:?}");
        }
        let tls = parse(&[("webhook", "https://a/")]).unwrap_err();
        assert!(tls.hint.unwrap().contains("curl"));
    }

    #[test]
    fn web_addresses_have_a_host_and_nothing_that_leads_astray() {
        let fine = [
            ("http://a", ("a", 80, "/", "a")),
            ("http://a?q=1", ("a", 80, "/?q=1", "a")),
            ("http://a.b:8080/x/y?z", ("a.b", 8080, "/x/y?z", "a.b:8080")),
            ("http://[fd00::1]/", ("fd00::1", 80, "/", "[fd00::1]")),
            ("http://[::1]:81", ("::1", 81, "/", "[::1]:81")),
        ];
        for (text, (host, port, path, authority)) in fine {
            let found = WebAddress::parse(text).unwrap();
            assert_eq!((found.host.as_str(), found.port), (host, port), "{text}");
            assert_eq!((found.path.as_str(), found.authority.as_str()), (path, authority));
        }
        for bad in [
            "",
            "a",
            "ftp://a/",
            "http://",
            "http:///x",
            "http://:80",
            "http://a:0",
            "http://a:x",
            "http://a:99999",
            "http://u@a/",
            "http://a/#b",
            "http://a b/",
            "http://[a]/",
            "http://a\r\nX: y/",
            "http://[::1]x/",
            "http://a:1:2/",
        ] {
            assert!(WebAddress::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_later_success_ends_a_trouble() {
        let mut track = Track { why: Some("refused".into()), ..Track::default() };
        assert_eq!(track.trouble(), None);
        track.last_failure = Some(UtcMillis(5));
        assert_eq!(track.trouble(), Some("refused"));
        track.last_success = Some(UtcMillis(6));
        assert_eq!(track.trouble(), None);
    }
}
