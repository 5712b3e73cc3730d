//! Where nodes can be asked: the doors of a lab, of this machine, or those named by hand.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;

use stead_api::Client;
use stead_lab::{Home, Lab, LabState, Power};
use stead_node::remote;
use stead_trust::{AdminCredentials, Secret};

use crate::failure::{Exit, Failure};

/// Where a node service answers or should.
#[derive(Clone, Debug)]
pub(crate) enum Door {
    /// On a socket of this machine.
    Socket(PathBuf),
    /// On another machine.
    Elsewhere(SocketAddr, Arc<AdminCredentials>),
}

impl Door {
    pub(crate) fn client(&self) -> Client {
        match self {
            Self::Socket(path) => Client::new(path),
            Self::Elsewhere(address, credentials) => remote::client(*address, credentials),
        }
    }
}

/// A node that is asked from another machine, and the file that proves who asks.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    pub(crate) host: String,
    pub(crate) identity: PathBuf,
}

/// All nodes that can be asked from here.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// What it is called in messages.
    pub(crate) name: String,
    pub(crate) doors: Vec<Door>,
}

/// Finds the place that is meant: the lab of that name; without a name the sockets in
/// `STEAD_API`, the only running lab, or the node service of this machine.
pub(crate) fn find(lab: Option<&str>) -> Result<Place, Failure> {
    if lab.is_none()
        && let Some(paths) = std::env::var_os("STEAD_API")
    {
        let doors = std::env::split_paths(&paths).map(Door::Socket).collect();
        return Ok(Place { name: "the cluster in STEAD_API".into(), doors });
    }
    if lab.is_none() && running()?.is_empty() {
        return here();
    }
    let lab = open(lab)?;
    doors_of(&lab)
}

/// The node that answers on another machine.
pub(crate) fn elsewhere(Remote { host, identity }: &Remote) -> Result<Place, Failure> {
    let failed = |exit| Failure::new(exit, format!("cannot ask `{host}`"));
    let file = identity.display();
    let text = std::fs::read_to_string(identity)
        .map_err(|error| failed(Exit::Refused).because(format!("`{file}`: {error}")))?;
    let made = AdminCredentials::from_file(&Secret::new(text)).map_err(|error| {
        failed(Exit::Refused)
            .because(format!("`{file}`: {error}"))
            .hint("`stead admin add` on a node writes such a file")
    })?;
    let with_port = (host.as_str(), PORT).to_socket_addrs().or_else(|_| host.to_socket_addrs());
    let address = with_port.ok().and_then(|mut all| all.next()).ok_or_else(|| {
        failed(Exit::Unreachable)
            .because("it is no address, and no name that has one")
            .hint("an address is `10.0.0.1`, `10.0.0.1:7411` or `[2001:db8::1]:7411`")
    })?;
    let doors = vec![Door::Elsewhere(address, Arc::new(made))];
    Ok(Place { name: format!("`{host}`"), doors })
}

/// Opens the lab of that name, or the only running one.
pub(crate) fn open(lab: Option<&str>) -> Result<Lab, Failure> {
    if let (None, names @ [_, _, ..]) = (lab, running()?.as_slice()) {
        let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        return Err(Failure::new(Exit::Usage, "cannot choose a lab")
            .because(format!("several labs run: {}", names.join(", ")))
            .hint("name one with `--lab NAME`"));
    }
    stead_lab::open(&Home::of_user(), lab).map_err(|error| {
        let what =
            lab.map_or_else(|| "cannot open a lab".into(), |n| format!("cannot open lab `{n}`"));
        Failure::of_lab(Exit::Unreachable, what, &error)
    })
}

fn running() -> Result<Vec<String>, Failure> {
    let listed = stead_lab::list(&Home::of_user());
    let entries =
        listed.map_err(|e| Failure::of_lab(Exit::Unreachable, "cannot look for labs", &e))?;
    let running = entries.into_iter().filter(|entry| entry.state == LabState::Running);
    Ok(running.map(|entry| entry.name).collect())
}

fn doors_of(lab: &Lab) -> Result<Place, Failure> {
    let name = format!("lab `{}`", lab.name());
    let cannot = || format!("cannot ask {name}");
    let status = lab.status().map_err(|e| Failure::of_lab(Exit::Unreachable, cannot(), &e))?;
    let on = status.nodes.iter().filter(|node| node.power != Power::Off);
    let doors: Vec<Door> =
        on.filter_map(|node| lab.api_socket(node.node).ok()).map(Door::Socket).collect();
    if doors.is_empty() {
        return Err(Failure::new(Exit::Unreachable, cannot())
            .because("all its nodes are off")
            .hint("start one with `stead lab start n1`"));
    }
    Ok(Place { name, doors })
}

/// The node service of this machine. `STEAD_ROOT` moves it as it moves the service.
fn here() -> Result<Place, Failure> {
    let root = std::env::var_os("STEAD_ROOT").map_or_else(|| PathBuf::from("/"), PathBuf::from);
    let path = root.join("run/stead/api.sock");
    if !path.exists() {
        return Err(Failure::new(Exit::Unreachable, "cannot find a cluster")
            .because(format!("no lab runs, and no node service has made `{}`", path.display()))
            .hint("make a lab with `stead lab up`"));
    }
    Ok(Place { name: "this machine".into(), doors: vec![Door::Socket(path)] })
}

/// Where nodes answer other machines, unless their cluster was made with another port.
const PORT: u16 = remote::port(7410);
