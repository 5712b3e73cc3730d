//! Resource types: the property table each declares, the one source for validation, help and docs.
//!
//! What a type *does* lives in crate `resmon`; the table is here so that the leader can refuse a
//! wrong property before anything is committed.

use serde::Serialize;

use crate::amounts::Amounts;
use crate::external;
pub use crate::form::Form;
use crate::ocf;
use crate::probe::is_of_probe;
use crate::reason::{Code, Reason};
use crate::rules;
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
