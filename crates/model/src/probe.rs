//! Health probes: what an administrator attaches to any resource, beside the checks of its type.
//!
//! Kept among the resource's properties, and only where given; the table is
//! [`PROBE`](crate::resource_type::PROBE). A change of them restarts nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::reason::{Code, Reason};
use crate::resource_type::{PROBE, parse_time_ms, split_words};

/// What a probe looks at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Probe {
    /// Whether a TCP port takes a connection.
    Tcp {
        /// Where; `None`: the address that the resource is or stands on, else this node itself.
        host: Option<IpAddr>,
        /// The port.
        port: u16,
    },
    /// Whether a page of a web server is answered with a status of 200 to 399.
    Http {
        /// Where; as with [`Probe::Tcp`].
        host: Option<IpAddr>,
        /// The port.
        port: u16,
        /// What is asked for, as in `/health`.
        path: String,
    },
    /// Whether a command ends with 0.
    Command {
        /// The program, an absolute path, and its arguments; quotes as in a shell.
        command: String,
        /// The address that the resource is or stands on, for the command to use.
        address: Option<IpAddr>,
    },
}

/// A probe, how often it is made and what its answers mean.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProbePlan {
    /// What it looks at.
    pub what: Probe,
    /// From one probe to the next.
    pub interval: Duration,
    /// One that has not answered by then hangs.
    pub timeout: Duration,
    /// So many in a row that came to the same make it the resource's health.
    pub failures: u32,
    /// Whether one that hangs counts as failed; else nothing is known then.
    pub hang_fails: bool,
}

impl Probe {
    /// Parses `tcp:5432`, `tcp:10.0.0.5:5432`, `http:8080/health`, `http:[fd00::5]:80/`,
    /// `command:/usr/bin/pg_isready -q`.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let (kind, rest) = value.split_once(':')?;
        match kind {
            "tcp" => place(rest).map(|(host, port)| Self::Tcp { host, port }),
            "http" => {
                let slash = rest.find('/').unwrap_or(rest.len());
                let (host, port) = place(&rest[..slash])?;
                let path = if slash == rest.len() { "/" } else { &rest[slash..] };
                let fine = path.bytes().all(|byte| byte.is_ascii_graphic());
                fine.then(|| Self::Http { host, port, path: path.to_owned() })
            }
            "command" => {
                let words = split_words(rest)?;
                let fine = words.first().is_some_and(|program| program.starts_with('/'))
                    && !rest.chars().any(char::is_control);
                fine.then(|| Self::Command { command: rest.to_owned(), address: None })
            }
            _ => None,
        }
    }
}

/// `5432` or `10.0.0.5:5432`.
fn place(text: &str) -> Option<(Option<IpAddr>, u16)> {
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    if let Some(port) = port(text) {
        return Some((None, port));
    }
    let address: SocketAddr = text.parse().ok()?;
    (address.port() > 0).then_some((Some(address.ip()), address.port()))
}

impl ProbePlan {
    /// The probe among a resource's properties; `None` if it has none, or one that this version
    /// cannot read.
    #[must_use]
    pub fn of(properties: &BTreeMap<String, String>) -> Option<Self> {
        let text = |name: &str| {
            let default = || PROBE.iter().find(|p| p.name == name)?.default;
            properties.get(name).map(String::as_str).or_else(default)
        };
        let time = |name| parse_time_ms(text(name)?).ok().map(Duration::from_millis);
        Some(Self {
            what: Probe::parse(properties.get("probe")?)?,
            interval: time("probe-interval")?,
            timeout: time("probe-timeout")?,
            failures: text("probe-failures")?.parse().ok()?,
            hang_fails: text("probe-hang-fails")? == "true",
        })
    }

    /// The same, at that address if the probe names none itself.
    #[must_use]
    pub fn at(mut self, address: Option<&IpAddr>) -> Self {
        match &mut self.what {
            Probe::Tcp { host, .. } | Probe::Http { host, .. } => {
                *host = host.or_else(|| address.copied());
            }
            Probe::Command { address: of_resource, .. } => *of_resource = address.copied(),
        }
        self
    }

    /// Refuses settings without a probe, and values out of range.
    ///
    /// # Errors
    /// Names the property.
    pub fn check(properties: &BTreeMap<String, String>) -> Result<(), Reason> {
        let given = PROBE.iter().find(|p| properties.contains_key(p.name));
        let Some(plan) = Self::of(properties) else {
            return given.map_or(Ok(()), |property| {
                let text = format!("property `{}` has no effect", property.name);
                Err(Reason::new(Code::Invalid, text)
                    .because("the resource has no probe")
                    .hint("give one, as in `probe=tcp:5432`"))
            });
        };
        let refused = |name: &str, range: &str| {
            Err(Reason::new(Code::Invalid, format!("property `{name}` is out of range"))
                .because(format!("it must be {range}")))
        };
        if !(INTERVAL_MIN..=TIME_MAX).contains(&plan.interval) {
            return refused("probe-interval", "100ms to 24h");
        }
        if !(TIMEOUT_MIN..=TIME_MAX).contains(&plan.timeout) {
            return refused("probe-timeout", "10ms to 24h");
        }
        if !(1..=1000).contains(&plan.failures) {
            return refused("probe-failures", "1 to 1000");
        }
        Ok(())
    }
}

/// Shortest interval between two probes: more often is a load, not a probe.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Shortest time a probe is given.
const TIMEOUT_MIN: Duration = Duration::from_millis(10);
/// Longest interval or timeout.
const TIME_MAX: Duration = Duration::from_secs(24 * 3600);

/// Whether a property belongs to the probe of a resource and not to its type.
#[must_use]
pub fn is_of_probe(name: &str) -> bool {
    PROBE.iter().any(|property| property.name == name)
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, host, port, path) = match self {
            Self::Tcp { host, port } => ("tcp", host, port, ""),
            Self::Http { host, port, path } => ("http", host, port, path.as_str()),
            Self::Command { command, .. } => return write!(f, "command:{command}"),
        };
        match host {
            Some(host) => write!(f, "{kind}:{}{path}", SocketAddr::new(*host, *port)),
            None => write!(f, "{kind}:{port}{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_are_read_as_they_are_written() {
        for text in [
            "tcp:5432",
            "tcp:10.0.0.5:5432",
            "tcp:[fd00::5]:22",
            "http:80/",
            "http:[fd00::5]:8080/health?deep=1",
            "command:/usr/bin/check 'a b' -q",
        ] {
            assert_eq!(Probe::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Probe::parse("http:80").unwrap().to_string(), "http:80/");
        for bad in ["5432", "tcp:", "tcp:0", "tcp:70000", "tcp:host:5", "http:80/a b", "udp:53"]
            .into_iter()
            .chain(["command:", "command:check", "command:/a 'b", "command:/a\nb"])
        {
            assert_eq!(Probe::parse(bad), None, "{bad}");
        }
    }

    fn properties(given: &[(&str, &str)]) -> BTreeMap<String, String> {
        given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_plan_has_the_defaults_of_the_table() {
        let plan = ProbePlan::of(&properties(&[("probe", "tcp:80")])).unwrap();
        assert_eq!(plan.interval, Duration::from_secs(10));
        assert_eq!((plan.timeout, plan.failures), (Duration::from_secs(5), 3));
        assert!(!plan.hang_fails);
        assert_eq!(ProbePlan::of(&properties(&[])), None);
    }

    #[test]
    fn settings_without_a_probe_and_out_of_range_are_refused() {
        assert!(ProbePlan::check(&properties(&[("command", "x")])).is_ok());
        assert!(ProbePlan::check(&properties(&[("probe", "tcp:80")])).is_ok());
        let lonely = ProbePlan::check(&properties(&[("probe-timeout", "1s")])).unwrap_err();
        assert!(lonely.to_string().contains("has no probe"), "{lonely}");
        for (name, value) in
            [("probe-interval", "1ms"), ("probe-timeout", "0s"), ("probe-failures", "0")]
        {
            let given = properties(&[("probe", "tcp:80"), (name, value)]);
            let refused = ProbePlan::check(&given).unwrap_err().to_string();
            assert!(refused.contains(name), "{refused}");
        }
    }
}
