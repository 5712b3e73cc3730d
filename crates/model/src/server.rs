//! Virtual servers: the name and addresses under which the programs of a group see their machine.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// What a resource stands on, directly or through others: names and addresses of its group.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct VirtualServer {
    /// The host name, as `gethostname` gives it.
    pub name: Option<String>,
    /// The domain that makes it a full name.
    pub domain: Option<String>,
    /// The addresses, in the order of their resources' names.
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<IpAddr>,
}

impl VirtualServer {
    /// Its name with its domain, if it has both; else its name.
    #[must_use]
    pub fn full_name(&self) -> Option<String> {
        let name = self.name.as_ref()?;
        Some(match &self.domain {
            Some(domain) => format!("{name}.{domain}"),
            None => name.clone(),
        })
    }
}

impl fmt::Display for VirtualServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        let name = self.full_name().unwrap_or_default();
        write!(f, "{name} ({})", addresses.join(", "))
    }
}

/// The variable by which a program is told its virtual host name, and its init which to show.
pub const NAME_VARIABLE: &str = "STEAD_SERVER_NAME";
/// The variable with the full name, where there is a domain.
pub const FULL_NAME_VARIABLE: &str = "STEAD_SERVER_FULL_NAME";
/// The variable with the addresses of the virtual server, separated by blanks.
pub const ADDRESSES_VARIABLE: &str = "STEAD_SERVER_ADDRESSES";
/// The variable with the path of the file that stands for `/etc/hosts`.
pub const HOSTS_VARIABLE: &str = "STEAD_SERVER_HOSTS";
/// What a NetBIOS name may have at most; a longer host name is cut there.
pub const NETBIOS_CHARACTERS_MAX: usize = 15;

/// The port of DNS servers.
pub const DNS_PORT: u16 = 53;

/// The property of a network name that is its host name. (`name` is the resource's own in a file.)
pub const NAME: &str = "host-name";
/// The property of a network name that is its DNS zone.
pub const ZONE: &str = "zone";
/// The property of a network name that says which servers are told.
pub const DNS_SERVERS: &str = "dns-servers";

/// Whether a text is a host name without domain: up to 63 letters, digits and inner hyphens.
#[must_use]
pub fn is_host_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Whether a text is a domain such as `example.org`, without the dot at the end.
#[must_use]
pub fn is_domain(text: &str) -> bool {
    let label = |text: &str| is_host_name(&text.replace('_', "x"));
    text.len() <= DOMAIN_BYTES_MAX && text.split('.').all(label)
}

/// A full name has at most 253 characters (RFC 1035), with a host name and a dot before this.
const DOMAIN_BYTES_MAX: usize = 253 - 64;

/// Parses `10.0.0.53,[fd00::53]:5353`: addresses, each with a port or without.
#[must_use]
pub fn parse_servers(text: &str) -> Option<Vec<SocketAddr>> {
    let one = |word: &str| {
        let address = word.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS_PORT));
        address.or_else(|_| word.parse::<SocketAddr>()).ok()
    };
    text.split(',').map(str::trim).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_and_domains_are_told_from_other_texts() {
        for good in ["web", "WEB-1", "1", &"a".repeat(63)] {
            assert!(is_host_name(good), "{good}");
        }
        for bad in ["", "-web", "web-", "web.example", "web_1", "wéb", &"a".repeat(64)] {
            assert!(!is_host_name(bad), "{bad}");
        }
        assert!(is_domain("example.org") && is_domain("local") && is_domain("_x.example.org"));
        for bad in ["", "example.org.", ".org", "a..b", &"a.".repeat(100)] {
            assert!(!is_domain(bad), "{bad}");
        }
    }

    #[test]
    fn servers_have_a_port_or_the_usual_one() {
        let servers = parse_servers("10.0.0.53, fd00::53,[fd00::54]:5353").unwrap();
        let shown: Vec<String> = servers.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.0.0.53:53", "[fd00::53]:53", "[fd00::54]:5353"]);
        assert_eq!(parse_servers("ns.example.org"), None);
        assert_eq!(parse_servers(""), None);
    }
}
