//! Networks as they are on a node: which interface stands for one, and what its kernel says of it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::NetworkId;

/// The addresses that begin with the same bits, as in `10.1.0.0/24`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    first: IpAddr,
    prefix: u8,
}

impl Subnet {
    /// The subnet that an address is in; a prefix that is too long is one of all bits.
    #[must_use]
    pub const fn of(address: IpAddr, prefix: u8) -> Self {
        match address {
            IpAddr::V4(v4) => {
                let prefix = if prefix > 32 { 32 } else { prefix };
                let mask = match u32::MAX.checked_shl(32 - prefix as u32) {
                    Some(mask) => mask,
                    None => 0,
                };
                let first = Ipv4Addr::from_bits(v4.to_bits() & mask);
                Self { first: IpAddr::V4(first), prefix }
            }
            IpAddr::V6(v6) => {
                let prefix = if prefix > 128 { 128 } else { prefix };
                let mask = match u128::MAX.checked_shl(128 - prefix as u32) {
                    Some(mask) => mask,
                    None => 0,
                };
                let first = Ipv6Addr::from_bits(v6.to_bits() & mask);
                Self { first: IpAddr::V6(first), prefix }
            }
        }
    }

    /// How many bits its addresses share.
    #[must_use]
    pub const fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        Self::of(address, self.prefix) == *self
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

impl FromStr for Subnet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no subnet such as 10.1.0.0/24");
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
        let subnet = Self::of(address, prefix);
        if subnet.first == address && subnet.prefix == prefix { Ok(subnet) } else { Err(wrong()) }
    }
}

impl TryFrom<String> for Subnet {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// The interface of a node that has the node's address on a network.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Interface {
    /// The network.
    pub network: NetworkId,
    /// Its name and its subnet, as they were when it was there last; `None`: it never was.
    pub port: Option<Port>,
    /// What the kernel says of it.
    pub state: InterfaceState,
}

/// Where a network ends on a node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Port {
    /// Name of the interface.
    pub name: String,
    /// The subnet of the node's address on it.
    pub subnet: Subnet,
}

/// State of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum InterfaceState {
    /// It is switched on and its cable has another end.
    Up,
    /// It is switched on and nothing is at the other end.
    NoCarrier,
    /// It is switched off.
    Down,
    /// No interface of the node has its address.
    Absent,
}

/// What a node tells the others of an interface.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InterfaceReport {
    /// The interface.
    pub interface: Interface,
    /// What groups with an address there do about it.
    pub stand: Stand,
}

/// What an interface is worth to groups with an address there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Stand {
    /// They may come and stay.
    Works,
    /// It changed a moment ago: they neither come nor leave.
    Wavers,
    /// They leave, if they can work elsewhere.
    Dead,
}

impl InterfaceState {
    /// The state in one word, the one of the API.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::NoCarrier => "no-carrier",
            Self::Down => "down",
            Self::Absent => "absent",
        }
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.port, self.state) {
            (Some(port), InterfaceState::Up) => write!(f, "interface `{}` is up", port.name),
            (Some(port), InterfaceState::NoCarrier) => {
                write!(f, "interface `{}` has no carrier", port.name)
            }
            (Some(port), InterfaceState::Down) => {
                write!(f, "interface `{}` is switched off", port.name)
            }
            (Some(port), InterfaceState::Absent) => {
                write!(f, "interface `{}` or the node's address on it is gone", port.name)
            }
            (None, _) => f.write_str("no interface has the node's address"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_is_the_addresses_that_share_its_first_bits() {
        let of = |address: &str, prefix| Subnet::of(address.parse().unwrap(), prefix);
        let has = |subnet: Subnet, address: &str| subnet.contains(address.parse().unwrap());
        assert_eq!(of("10.1.2.3", 24).to_string(), "10.1.2.0/24");
        assert!(has(of("10.1.2.3", 24), "10.1.2.200") && !has(of("10.1.2.3", 24), "10.1.3.3"));
        assert!(has(of("fd00::1", 64), "fd00::2") && !has(of("fd00::1", 64), "fd01::2"));
        assert!(has(of("0.0.0.9", 0), "200.0.0.1") && !has(of("0.0.0.9", 0), "::9"));
        assert!(has(of("10.1.2.3", 99), "10.1.2.3") && !has(of("10.1.2.3", 32), "10.1.2.2"));
    }

    #[test]
    fn a_subnet_is_written_with_its_first_address_and_no_other() {
        let subnet = Subnet::of("fd00::7".parse().unwrap(), 64);
        assert_eq!(subnet.to_string().parse(), Ok(subnet));
        for wrong in ["10.1.2.3/24", "10.1.2.0", "10.1.2.0/33", "x/8", "10.0.0.0/-1"] {
            assert!(wrong.parse::<Subnet>().is_err(), "{wrong}");
        }
    }
}
