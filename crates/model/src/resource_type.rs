//! Resource types: the property table each declares, the one source for validation, help and docs.
//!
//! What a type *does* lives in crate `resmon`; the table is here so that the leader can refuse a
//! wrong property before anything is committed.

use serde::{Deserialize, Serialize};

use crate::amounts::Amounts;
use crate::external;
use crate::group::{Failback, FailoverPreset};
use crate::ocf;
use crate::probe::{Probe, is_of_probe};
use crate::reason::{Code, Reason};
use crate::rules::{self, Priority};
use crate::server;
use crate::unit;

/// A resource type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
pub struct ResourceType {
    /// Its name, as in `ip-address`.
    pub name: &'static str,
    /// One sentence.
    pub about: &'static str,
    /// Its properties.
    pub properties: &'static [Property],
}

/// One property of a type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
pub struct Property {
    /// Its name.
    pub name: &'static str,
    /// What it means.
    pub about: &'static str,
    /// Its form.
    pub form: Form,
    /// Whether it must be given.
    pub required: bool,
    /// The default, if it need not be given.
    pub default: Option<&'static str>,
}

/// The form of a property's value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// Any text without control characters.
    Text,
    /// An absolute path.
    Path,
    /// A whole number.
    Number,
    /// A length of time: a number with `ms`, `s`, `min` or `h`.
    Time,
    /// An amount of memory: a number with `KiB`, `MiB` or `GiB`.
    Size,
    /// `true` or `false`.
    Flag,
    /// An IP address with prefix length, as in `10.0.0.5/24`.
    AddressPrefix,
    /// A signal name, as in `TERM`.
    Signal,
    /// A command with arguments; quotes as in a shell, nothing is expanded.
    Command,
    /// `NAME=VALUE` pairs, separated like the words of a command.
    Environment,
    /// `required` or `none`.
    Reservation,
    /// A systemd service that may be a resource, as in `nginx.service`.
    Unit,
    /// What a health probe looks at, as in `tcp:5432`, `http:8080/health`, `command:/bin/check`.
    Probe,
    /// A host name without domain.
    HostName,
    /// A domain such as `example.org`.
    Domain,
    /// Addresses of DNS servers, separated by commas.
    Servers,
    /// `restart` or `none`.
    Restart,
    /// `course`, `mscs` or `wsfc`.
    Preset,
    /// `prevent`, `immediate`, or hours of a day in a time zone, as in `22-4@Europe/Berlin`.
    Failback,
    /// `low`, `medium`, `high` or a number from 1 to 9999.
    Priority,
    /// Names of groups, as in `db,cache`.
    Groups,
    /// Amounts by unit, as in `cpu=2,memory=4G`.
    Amounts,
    /// The same, or `measured`, or that and amounts.
    Demand,
}

const fn needed(name: &'static str, form: Form, about: &'static str) -> Property {
    Property { name, about, form, required: true, default: None }
}

const fn optional(
    name: &'static str,
    form: Form,
    default: Option<&'static str>,
    about: &'static str,
) -> Property {
    Property { name, about, form, required: false, default }
}

/// Name of the type of virtual addresses.
pub const IP_ADDRESS: &str = "ip-address";
/// Name of the type of host names of virtual servers.
pub const NETWORK_NAME: &str = "network-name";
/// The property that names the file with the key of DNS updates of a [`NETWORK_NAME`].
pub const TSIG_KEY: &str = "tsig-key";
/// Name of the type of systemd services.
pub const GENERIC_SERVICE: &str = "generic-service";
/// The property that names the unit of a [`GENERIC_SERVICE`].
pub const UNIT: &str = "unit";
/// The property that says how long clients keep the records of a [`NETWORK_NAME`].
pub const TTL: &str = "ttl";
/// The property that says whether the addresses of a [`NETWORK_NAME`] get their name.
pub const PTR: &str = "ptr";
/// The property that makes DNS a condition of a [`NETWORK_NAME`]'s coming online.
pub const REQUIRE_DNS: &str = "require-dns";
/// The property that has a [`NETWORK_NAME`] removed from DNS when it goes offline.
pub const REMOVE_OFFLINE: &str = "remove-offline";
/// Name of the type of scripts.
pub const GENERIC_SCRIPT: &str = "generic-script";
/// Name of the type of shared disks.
pub const PHYSICAL_DISK: &str = "physical-disk";
/// The property that names the disk of a [`PHYSICAL_DISK`].
pub const DISK: &str = "disk";
/// The property that says where the file system of a [`PHYSICAL_DISK`] is mounted.
pub const MOUNT_POINT: &str = "mount-point";
/// The property that says whether a [`PHYSICAL_DISK`] is reserved.
pub const RESERVATION: &str = "reservation";

/// All built-in types.
pub const BUILTIN: &[ResourceType] = &[
    ResourceType {
        name: IP_ADDRESS,
        about: "a virtual IP address that clients use",
        properties: &[
            needed(
                "address",
                Form::AddressPrefix,
                "the address; its prefix only chooses the interface",
            ),
            optional("interface", Form::Text, None, "the interface, instead of by prefix"),
            optional(
                "tickle",
                Form::Flag,
                Some("true"),
                "after a takeover clients that wait for the former owner are told at once",
            ),
        ],
    },
    ResourceType {
        name: NETWORK_NAME,
        about: "the host name of a virtual server, for its programs and its clients",
        properties: &[
            needed(server::NAME, Form::HostName, "the host name, without domain"),
            optional(server::ZONE, Form::Domain, None, "its domain; the zone that is updated"),
            optional(
                server::DNS_SERVERS,
                Form::Servers,
                None,
                "servers of the zone that take dynamic updates, the preferred first; none: no DNS",
            ),
            optional(TSIG_KEY, Form::Path, None, "file with the key, as `tsig-keygen` writes it"),
            optional(TTL, Form::Time, Some("20min"), "how long clients may keep what DNS says"),
            optional(PTR, Form::Flag, Some("true"), "the addresses get their name (PTR), too"),
            optional(
                REQUIRE_DNS,
                Form::Flag,
                Some("false"),
                "it comes online only when it is in DNS; else DNS is told in the background",
            ),
            optional(
                REMOVE_OFFLINE,
                Form::Flag,
                Some("false"),
                "it is removed from DNS when it goes offline, not only when it is deleted",
            ),
        ],
    },
    ResourceType {
        name: "generic-application",
        about: "a program that runs in the foreground",
        properties: &[
            needed("command", Form::Command, "the program and its arguments"),
            optional("cwd", Form::Path, Some("/"), "working directory"),
            optional("env", Form::Environment, None, "environment variables added to PATH"),
            optional("user", Form::Text, None, "user to run as; needs root"),
            optional("stop-signal", Form::Signal, Some("TERM"), "signal that asks it to end"),
            optional("stop-timeout", Form::Time, Some("10s"), "after this it is killed"),
            optional(
                "check",
                Form::Command,
                None,
                "ends with 0 when it works: awaited at its start, then the thorough check",
            ),
        ],
    },
    ResourceType {
        name: GENERIC_SCRIPT,
        about: "a script called with the entry point's name, or a command per entry point",
        properties: &[
            optional("script", Form::Path, None, "called as `SCRIPT online`, `SCRIPT offline` …"),
            optional("online-command", Form::Command, None, "returns when it serves"),
            optional("offline-command", Form::Command, None, "returns when nothing of it acts"),
            optional(
                "terminate-command",
                Form::Command,
                None,
                "undoes what is no process, after all processes were killed",
            ),
            optional("looks-alive-command", Form::Command, None, "the light check: 0 is good"),
            optional("is-alive-command", Form::Command, None, "the thorough check: 0 is good"),
            optional("open-command", Form::Command, None, "run before `online`"),
            optional("close-command", Form::Command, None, "run after `offline`"),
            optional("cwd", Form::Path, Some("/"), "working directory"),
            optional("env", Form::Environment, None, "environment variables added to PATH"),
            optional("user", Form::Text, None, "user to run as; needs root"),
            optional(
                "check-timeout",
                Form::Time,
                Some("60s"),
                "a check that takes longer is ended, and health is unknown",
            ),
        ],
    },
    ResourceType {
        name: GENERIC_SERVICE,
        about: "a systemd service: installed on every node, disabled at boot",
        properties: &[
            needed(UNIT, Form::Unit, "its unit, as in `nginx.service` or `web@one.service`"),
            optional("start-timeout", Form::Time, Some("90s"), "a longer start has failed"),
            optional("stop-timeout", Form::Time, Some("90s"), "after this it is killed"),
            optional(
                "check",
                Form::Command,
                None,
                "the thorough check beside what systemd says: ends with 0 when it works",
            ),
        ],
    },
    ResourceType {
        name: PHYSICAL_DISK,
        about: "a shared disk: a whole LUN with a file system, reserved for its owner",
        properties: &[
            needed(DISK, Form::Path, "the whole disk, by a path that is the same on every node"),
            needed(MOUNT_POINT, Form::Path, "where its file system is mounted; made if missing"),
            optional("partition", Form::Number, None, "number of the partition that is mounted"),
            optional("file-system", Form::Text, None, "`ext4` or `xfs`, instead of looking"),
            optional("mount-options", Form::Text, None, "options such as `noatime,nodev`"),
            optional(
                RESERVATION,
                Form::Reservation,
                Some("required"),
                "`required`: the device refuses a former owner; `none`: lease and guard only",
            ),
            optional("check", Form::Flag, Some("true"), "repair a damaged file system before"),
            optional("force-unmount", Form::Flag, Some("true"), "end processes that keep it busy"),
            optional("hang-limit", Form::Time, Some("60s"), "a disk that hangs longer has failed"),
        ],
    },
    ResourceType {
        name: ocf::TABLE,
        about: "an OCF agent, as in `ocf:heartbeat:nginx`; its parameters are properties, too",
        properties: &[
            optional(
                "check-level",
                Form::Number,
                Some("0"),
                "level of the thorough check; the light one is what the kernel tells",
            ),
            optional(
                "check-timeout",
                Form::Time,
                Some("60s"),
                "a check that takes longer is ended, and health is unknown",
            ),
        ],
    },
    ResourceType {
        name: external::TABLE,
        about: "a program that speaks stead's protocol; it has properties of its own, too",
        properties: &[optional(
            "check-timeout",
            Form::Time,
            Some("60s"),
            "a check that takes longer is given up, and health is unknown",
        )],
    },
    ResourceType {
        name: "dummy",
        about: "does nothing, for tests and rehearsals",
        properties: &[
            optional("online-delay", Form::Time, Some("0ms"), "going online takes this long"),
            optional("offline-delay", Form::Time, Some("0ms"), "going offline takes this long"),
            optional("fail-online", Form::Flag, Some("false"), "going online fails"),
            optional("fail-offline", Form::Flag, Some("false"), "going offline fails"),
            optional("hang", Form::Flag, Some("false"), "every call hangs until terminated"),
            optional("fail-after", Form::Time, None, "fails by itself after this time online"),
            optional("bad-health", Form::Flag, Some("false"), "checks say it does not work"),
        ],
    },
];

/// Properties that every resource has besides those of its type: its policy.
pub const COMMON: &[Property] = &[
    optional(
        "restart-action",
        Form::Restart,
        Some("restart"),
        "`restart` in place when it fails, up to the threshold, or `none`",
    ),
    optional("restart-threshold", Form::Number, Some("3"), "restarts in place before failover"),
    optional("restart-period", Form::Time, Some("900s"), "window of the restart threshold"),
    optional(
        "affects-group",
        Form::Flag,
        Some("true"),
        "beyond its restarts the group fails over; `false`: only what depends on it stops",
    ),
    optional(
        "retry-after",
        Form::Time,
        Some("1h"),
        "tried again after this when all else failed; `0s`: never",
    ),
    optional("pending-timeout", Form::Time, Some("180s"), "limit for going online or offline"),
    optional("looks-alive", Form::Time, Some("5s"), "interval of the light check"),
    optional("is-alive", Form::Time, Some("60s"), "interval of the thorough check"),
    optional(
        "separate-monitor",
        Form::Flag,
        Some("false"),
        "hosted by a resource monitor of its own, from its next start on",
    ),
    optional("possible-owners", Form::Text, None, "nodes that may own it, as in `n1,n2`"),
];

/// Properties that every resource may have: its health probe, kept only where given.
pub const PROBE: &[Property] = &[
    optional("probe", Form::Probe, None, "a health probe beside the checks of its type"),
    optional("probe-interval", Form::Time, Some("10s"), "interval of the probe"),
    optional("probe-timeout", Form::Time, Some("5s"), "a probe without an answer by then hangs"),
    optional("probe-failures", Form::Number, Some("3"), "failures in a row that count"),
    optional(
        "probe-hang-fails",
        Form::Flag,
        Some("false"),
        "whether a probe that hangs has failed; else health is unknown",
    ),
];

/// Properties that every resource may have: what its programs may take together, kept only where
/// given.
pub const LIMITS: &[Property] = &[
    optional("memory-limit", Form::Size, None, "memory its programs may take; none: no limit"),
    optional(
        "process-limit",
        Form::Number,
        None,
        "processes and threads it may have; none: 15 % of what the kernel can have",
    ),
];

/// Properties of a group.
pub const GROUP: &[Property] = &[
    optional("preferred-owners", Form::Text, None, "nodes in order of preference, `n1,n2`"),
    optional(
        "failover-preset",
        Form::Preset,
        Some("course"),
        "`course`: 6 failovers in 10h, `mscs`: 10 in 6h, `wsfc`: nodes - 1 in 6h",
    ),
    optional("failover-threshold", Form::Number, Some("6"), "failovers before it stays failed"),
    optional("failover-period", Form::Time, Some("10h"), "window of the failover threshold"),
    optional(
        "failback",
        Form::Failback,
        Some("prevent"),
        "back to a preferred owner: `prevent`, `immediate` or in hours, `22-4@Europe/Berlin`",
    ),
    optional(
        "retry-after",
        Form::Time,
        Some("1h"),
        "a group that was left failed is tried again after this; `0s`: never",
    ),
    optional(
        "priority",
        Form::Priority,
        Some("medium"),
        "the higher is placed first: `low` 1000, `medium` 2000, `high` 3000, or a number",
    ),
    optional("affinity", Form::Groups, None, "groups it is placed beside, if it can be"),
    optional(
        "affinity-required",
        Form::Groups,
        None,
        "groups it only runs beside: when one moves, the others follow",
    ),
    optional("anti-affinity", Form::Groups, None, "groups it is kept away from, if it can be"),
    optional(
        "anti-affinity-required",
        Form::Groups,
        None,
        "groups it never runs beside: with no other node it waits",
    ),
    optional(
        "start-after",
        Form::Groups,
        None,
        "it starts when these are online; not waited for where they cannot come online",
    ),
    optional("start-after-required", Form::Groups, None, "it only starts when these are online"),
    optional(
        "demand",
        Form::Demand,
        None,
        "what it needs, `cpu=2,memory=4G` or `measured`: placed where that is left, if it can be",
    ),
    optional(
        "demand-required",
        Form::Amounts,
        None,
        "what it needs, or it is not started: with too little left everywhere it waits",
    ),
];

/// The built-in type of that name.
#[must_use]
pub fn builtin(name: &str) -> Option<&'static ResourceType> {
    let table = match (ocf::agent(name), external::program(name)) {
        (Some(_), _) => ocf::TABLE,
        (None, Some(_)) => external::TABLE,
        (None, None) => name,
    };
    BUILTIN.iter().find(|t| t.name == table)
}

/// Whether resources of a type may have a property of that name beside its table: a parameter of an
/// agent, a property of an external type.
#[must_use]
pub fn is_parameter(kind: &ResourceType, name: &str) -> bool {
    match kind.name {
        ocf::TABLE => ocf::is_parameter(name),
        external::TABLE => external::is_name(name),
        _ => false,
    }
}

/// Whether a property of a type may be changed while the resource runs.
#[must_use]
pub fn changes_running(kind: &str, name: &str) -> bool {
    let of_dns = [server::DNS_SERVERS, TSIG_KEY, TTL, PTR, REQUIRE_DNS, REMOVE_OFFLINE];
    is_of_probe(name) || (kind == NETWORK_NAME && of_dns.contains(&name))
}

/// Whether a type needs no light check: between two thorough ones it is told when to look.
#[must_use]
pub fn is_told(kind: &str) -> bool {
    ocf::agent(kind).is_some()
}

/// Parses a length of time such as `250ms`, `5s`, `2min`, `10h` to milliseconds.
///
/// # Errors
/// Names the value and the units allowed.
pub fn parse_time_ms(value: &str) -> Result<u64, Reason> {
    let digits = value.len() - value.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = value.split_at(digits);
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => 0,
    };
    let ms = number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor));
    match ms {
        Some(ms) if factor > 0 => Ok(ms),
        Some(_) | None => Err(Reason::new(Code::Invalid, format!("`{value}` is no time"))
            .because("it must be a whole number with a unit")
            .hint("use ms, s, min or h, as in `250ms` or `5s`")),
    }
}

/// An amount of memory in bytes, as in `512MiB`; less than a mebibyte runs no program.
#[must_use]
pub fn parse_size(value: &str) -> Option<u64> {
    let digits = value.len() - value.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = value.split_at(digits);
    let shift = match unit {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    let bytes = number.parse::<u64>().ok()?.checked_mul(1 << shift)?;
    (bytes >= 1 << 20).then_some(bytes)
}

impl Property {
    /// Checks a value against the form.
    ///
    /// # Errors
    /// Names the property, the value and the form expected.
    pub fn check(&self, value: &str) -> Result<(), Reason> {
        if self.form == Form::Unit
            && let Err(why) = unit::check(value)
        {
            let text = format!("property `{}` cannot be `{value}`", self.name);
            return Err(Reason::new(Code::Invalid, text).because(why));
        }
        if self.form == Form::Amounts {
            return self.named(value, Amounts::parse(value).err());
        }
        if self.form == Form::Demand {
            return self.named(value, rules::demand(value).err());
        }
        if self.form.fits(value) {
            return Ok(());
        }
        Err(Reason::new(Code::Invalid, format!("property `{}` cannot be `{value}`", self.name))
            .because(format!("it must be {}", self.form.words()))
            .hint(format!("`{}`: {}", self.name, self.about)))
    }

    /// Says which of several amounts is none.
    fn named(&self, value: &str, bad: Option<Reason>) -> Result<(), Reason> {
        let Some(bad) = bad else { return Ok(()) };
        let text = format!("property `{}` cannot be `{value}`", self.name);
        Err(Reason { text, cause: Some(bad.to_string()), ..bad })
    }
}

impl Form {
    /// Whether a value has this form.
    #[must_use]
    pub fn fits(self, value: &str) -> bool {
        match self {
            Self::Unit => unit::check(value).is_ok(),
            Self::Text => !value.is_empty() && !value.chars().any(char::is_control),
            Self::Path => value.starts_with('/') && !value.contains('\0'),
            Self::Number => value.parse::<u32>().is_ok(),
            Self::Time => parse_time_ms(value).is_ok(),
            Self::Size => parse_size(value).is_some(),
            Self::Flag => value == "true" || value == "false",
            Self::AddressPrefix => parse_address(value).is_some(),
            Self::Signal => signal_number(value).is_some(),
            Self::Command => split_words(value).is_some_and(|w| !w.is_empty()),
            Self::Reservation => value == "required" || value == "none",
            Self::Probe => Probe::parse(value).is_some(),
            Self::HostName => server::is_host_name(value),
            Self::Domain => server::is_domain(value),
            Self::Servers => server::parse_servers(value).is_some(),
            Self::Restart => value == "restart" || value == "none",
            Self::Preset => FailoverPreset::parse(value).is_some(),
            Self::Failback => Failback::parse(value).is_some(),
            Self::Priority => Priority::parse(value).is_some(),
            Self::Groups => rules::groups(value).is_some(),
            Self::Amounts => Amounts::parse(value).is_ok(),
            Self::Demand => rules::demand(value).is_ok(),
            Self::Environment => split_words(value)
                .is_some_and(|w| w.iter().all(|v| v.find('=').is_some_and(|at| at > 0))),
        }
    }

    /// What a value of this form looks like.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Text => "a text without control characters",
            Self::Path => "an absolute path",
            Self::Number => "a whole number",
            Self::Time => "a time such as `250ms` or `5s`",
            Self::Size => "an amount of at least 1MiB such as `512MiB` or `2GiB`",
            Self::Flag => "`true` or `false`",
            Self::AddressPrefix => "an address with prefix length such as `10.0.0.5/24`",
            Self::Signal => "a signal name such as `TERM`",
            Self::Command => "a command with closed quotes",
            Self::Environment => "`NAME=VALUE` pairs",
            Self::Reservation => "`required` or `none`",
            Self::Unit => "a systemd service such as `nginx.service`",
            Self::Probe => {
                "`tcp:[HOST:]PORT`, `http:[HOST:]PORT/PATH` (HOST is an address) or \
                 `command:/PROGRAM ARGUMENTS`"
            }
            Self::HostName => "up to 63 letters, digits and inner hyphens",
            Self::Domain => "a domain such as `example.org`",
            Self::Servers => "addresses such as `10.0.0.53` or `10.0.0.53:5353`, with commas",
            Self::Restart => "`restart` or `none`",
            Self::Preset => "`course`, `mscs` or `wsfc`",
            Self::Failback => "`prevent`, `immediate` or hours such as `22-4@Europe/Berlin`",
            Self::Priority => "`low`, `medium`, `high` or a number from 1 to 9999",
            Self::Groups => "names of groups with commas, at most 64",
            Self::Amounts => "amounts such as `cpu=2,memory=4G`",
            Self::Demand => "amounts such as `cpu=2,memory=4G`, `measured`, or both",
        }
    }
}

/// A length of time in its largest whole unit, as [`parse_time_ms`] reads it.
#[must_use]
pub fn written_ms(ms: u64) -> String {
    match ms {
        0 => "0s".to_owned(),
        ms if ms % 1_000 != 0 => format!("{ms}ms"),
        ms if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        ms if ms % 60_000 == 0 => format!("{}min", ms / 60_000),
        ms => format!("{}s", ms / 1_000),
    }
}

/// Parses `10.0.0.5/24` or `fd00::5/64`.
#[must_use]
pub fn parse_address(value: &str) -> Option<(std::net::IpAddr, u8)> {
    let (address, prefix) = value.split_once('/')?;
    let address: std::net::IpAddr = address.parse().ok()?;
    let prefix: u8 = prefix.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    (prefix <= longest && !address.is_unspecified() && !address.is_multicast())
        .then_some((address, prefix))
}

/// Number of a signal by its name, with or without `SIG`.
#[must_use]
pub fn signal_number(name: &str) -> Option<i32> {
    let name = name.strip_prefix("SIG").unwrap_or(name);
    let table = [("HUP", 1), ("INT", 2), ("QUIT", 3), ("KILL", 9), ("USR1", 10), ("USR2", 12)];
    let table = table.into_iter().chain([("TERM", 15), ("WINCH", 28)]);
    table.into_iter().find(|(n, _)| *n == name).map(|(_, number)| number)
}

/// Splits a command into words; single and double quotes group, a backslash takes the next
/// character as it is. `None` if a quote stays open.
#[must_use]
pub fn split_words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None | Some('"'), '\\') => word.get_or_insert_default().push(chars.next()?),
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_like_a_shell_would() {
        let words = split_words(r#"httpd -p "80 81" '' a\ b"#).unwrap();
        assert_eq!(words, ["httpd", "-p", "80 81", "", "a b"]);
        assert_eq!(split_words("open 'quote"), None);
    }

    #[test]
    fn times_need_a_unit() {
        assert_eq!(parse_time_ms("5s").unwrap(), 5_000);
        assert_eq!(parse_time_ms("2min").unwrap(), 120_000);
        for bad in ["5", "s", "", "5 s", "-1s", "99999999999999999999s", "18446744073709551615h"] {
            assert!(parse_time_ms(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_read_as_they_are_written() {
        for (ms, text) in [(0, "0s"), (250, "250ms"), (90_000, "90s"), (900_000, "15min")] {
            assert_eq!((written_ms(ms).as_str(), parse_time_ms(text).unwrap()), (text, ms));
        }
        assert_eq!(written_ms(7_200_000), "2h");
    }

    #[test]
    fn a_resources_policy_is_written_with_every_common_property() {
        let written = crate::resource::ResourcePolicy::default().properties();
        for property in COMMON.iter().filter(|p| p.name != "possible-owners") {
            let value = written.get(property.name);
            let value = value.unwrap_or_else(|| panic!("{} is not written", property.name));
            property.check(value).unwrap();
        }
    }

    #[test]
    fn every_default_fits_its_form() {
        let types = BUILTIN.iter().flat_map(|t| t.properties);
        for property in types.chain(COMMON).chain(PROBE).chain(LIMITS).chain(GROUP) {
            if let Some(value) = property.default {
                property.check(value).unwrap();
            }
        }
    }

    #[test]
    fn amounts_of_memory_have_a_unit() {
        assert_eq!(parse_size("1024KiB"), Some(1 << 20));
        assert_eq!(parse_size("3GiB"), Some(3 << 30));
        for bad in ["", "5", "5MB", "1.5GiB", "MiB", "0MiB", "1023KiB", "99999999999999GiB"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }

    #[test]
    fn addresses_need_a_fitting_prefix() {
        assert!(parse_address("10.0.0.5/24").is_some());
        assert!(parse_address("fd00::1/64").is_some());
        for bad in ["10.0.0.5", "10.0.0.5/33", "0.0.0.0/0", "224.0.0.1/24", "x/1"] {
            assert!(parse_address(bad).is_none(), "{bad}");
        }
    }
}
