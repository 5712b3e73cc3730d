//! Forms that values of properties have: which texts fit, and what they look like.

use serde::{Deserialize, Serialize};

use crate::amounts::Amounts;
use crate::group::{Failback, FailoverPreset};
use crate::probe::Probe;
use crate::resource_type::{parse_address, parse_size, parse_time_ms, signal_number, split_words};
use crate::rules::{self, Priority};
use crate::{server, unit};

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
