//! Whether another machine already has the name that a cluster is to get.

use std::net::{IpAddr, ToSocketAddrs};
use std::time::Duration;

use stead_model::reason::{Code, Reason};

use super::create::{Creation, address_of, refused};
use super::within::within;

/// How long the resolver of this host is waited for.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// What is known of a name.
enum Known {
    Nobody,
    Has(IpAddr),
    NotInTime,
}

/// Asks the resolver of this host whether somebody has the name of a new cluster. The address that
/// the cluster itself is to get does not count, nor does an answer that any name gets. Gives a note
/// if the resolver does not answer in time: nothing else depends on it.
///
/// # Errors
/// Another machine has the name.
pub fn check_name(wanted: &Creation, cluster_ip: Option<&str>) -> Result<Option<String>, Reason> {
    let own = cluster_ip.and_then(address_of);
    let name = &wanted.name;
    let address = match known(name, own) {
        Known::Nobody => return Ok(None),
        Known::NotInTime => {
            let waited = ANSWERED_WITHIN.as_secs();
            let text = format!(
                "whether another machine is called `{name}` is not known: the resolver of this \
                 host did not answer within {waited} s"
            );
            return Ok(Some(text));
        }
        Known::Has(address) => address,
    };
    match known(&format!("{name}-{:08x}", std::process::id()), own) {
        Known::Has(any) if any == address => Ok(None),
        Known::Has(_) | Known::Nobody | Known::NotInTime => Err(refused(wanted, Code::Exists)
            .because(format!("`{name}` is the name of {address} already"))
            .hint("choose another name, or take that one out of DNS and `/etc/hosts`")),
    }
}

fn known(name: &str, own: Option<IpAddr>) -> Known {
    let asked = name.to_owned();
    let found = within(ANSWERED_WITHIN, move || {
        let found = (asked.as_str(), 0).to_socket_addrs();
        found.into_iter().flatten().map(|found| found.ip()).collect::<Vec<IpAddr>>()
    });
    match found {
        Some(found) => {
            let other = found.into_iter().find(|address| Some(*address) != own);
            other.map_or(Known::Nobody, Known::Has)
        }
        None => Known::NotInTime,
    }
}

#[cfg(test)]
mod tests {
    use stead_model::profile::Profile;

    use super::*;

    fn named(name: &str) -> Creation {
        let (addresses, quorum_disk) = (Vec::new(), None);
        Creation { name: name.into(), addresses, quorum_disk, profile: Profile::Standard, port: 1 }
    }

    #[test]
    fn a193_a_name_that_a_machine_has_is_refused_and_that_of_its_own_address_is_not() {
        let reason = check_name(&named("localhost"), None).unwrap_err();
        assert_eq!(reason.code, Code::Exists);
        assert!(reason.to_string().contains("is the name of "), "{reason}");
        let (address, own) = (named("192.0.2.7"), Some("192.0.2.7"));
        assert_eq!(check_name(&address, own), Ok(None));
        assert_eq!(check_name(&address, Some("192.0.2.8")).unwrap_err().code, Code::Exists);
    }

    #[test]
    fn a_name_that_nobody_has_is_free() {
        let free = named("no-machine-is-called-like-this");
        assert!(check_name(&free, None).is_ok());
    }
}
