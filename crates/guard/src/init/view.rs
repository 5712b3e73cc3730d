//! What the programs of a virtual server see of it: its host name, and its file in the place of
//! `/etc/hosts`.
//!
//! Which server that is stands in the variables that the program gets itself. (No field says so: a
//! guard may start the inits of a newer program.)
//!
//! An application has mounts of its own already. An agent's place shares those of the node, since
//! what an agent mounts is for others; it gets a copy in which only the mount under the file is
//! alone for a moment, and then a member of the same group as before: what is mounted later is
//! seen on both sides, that file excepted.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, open};
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, UnmountFlags, mount_bind, mount_change, move_mount,
    unmount,
};
use rustix::system::sethostname;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use stead_model::mount_table::{self, Mount};
use stead_model::server::{HOSTS_VARIABLE, NAME_VARIABLE};

use crate::sys;

/// What programs look names up in.
const HOSTS: &str = "/etc/hosts";

/// The mounts of the process that shows the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mounts {
    /// They are those of its programs alone.
    Own,
    /// They are the node's, and what is mounted by its programs is for all.
    Shared,
}

/// Shows the virtual server that the variables name to this process and all that it starts; gives
/// what of it was refused, one sentence each. Without one nothing is done.
pub(super) fn show(env: &[String], mounts: Mounts) -> Vec<String> {
    let Some(name) = value(env, NAME_VARIABLE) else { return Vec::new() };
    let named = sys::own_host_name().and_then(|()| Ok(sethostname(name.as_bytes())?));
    let named = named.map_err(|why| {
        format!("its programs see the node's host name, and `{name}` in `{NAME_VARIABLE}`: {why}")
    });
    let hosts = value(env, HOSTS_VARIABLE).map_or(Ok(()), |hosts| put(Path::new(hosts), mounts));
    let hosts = hosts.map_err(|why| {
        format!("its programs see the node's `{HOSTS}`, not that of `{name}`: {why}")
    });
    named.err().into_iter().chain(hosts.err()).collect()
}

/// The last value counts, as in the program itself.
fn value<'a>(env: &'a [String], variable: &str) -> Option<&'a str> {
    env.iter().rev().find_map(|pair| pair.strip_prefix(variable)?.strip_prefix('='))
}

fn put(hosts: &Path, mounts: Mounts) -> io::Result<()> {
    // A link is followed to what is looked up.
    let place = std::fs::canonicalize(HOSTS)?;
    match mounts {
        Mounts::Own => Ok(mount_bind(hosts, place)?),
        Mounts::Shared => beside(hosts, &place),
    }
}

/// Puts the file over the place in a copy of the node's mounts that stays in step with them. Where
/// that is refused everything is as before.
fn beside(hosts: &Path, place: &Path) -> io::Result<()> {
    let under = mount_under(place)?;
    if !under.shared || !mount_under(Path::new("/"))?.shared {
        // What is mounted in the copy would be seen there only.
        return Err(io::Error::other("the node's mounts are not shared, as systemd makes them"));
    }
    let before = File::open("/proc/self/ns/mnt")?;
    let node = open(&under.point, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    sys::own_mounts()?;
    let put = alone(&under.point, &node, || mount_bind(hosts, place), || unmount_quietly(place));
    if put.is_err() {
        move_into_link_name_space(before.as_fd(), Some(LinkNameSpaceType::Mount))?;
    }
    put
}

/// Does something on a mount while it is in no group, and takes it back into that of `node`.
fn alone(
    under: &Path,
    node: &OwnedFd,
    act: impl FnOnce() -> rustix::io::Result<()>,
    undo: impl FnOnce(),
) -> io::Result<()> {
    mount_change(under, MountPropagationFlags::PRIVATE)?;
    act()?;
    // Linux 5.15; an older kernel refuses.
    let group = MoveMountFlags::MOVE_MOUNT_SET_GROUP | MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    let back = move_mount(node, "", CWD, under, group);
    if back.is_err() {
        undo();
    }
    Ok(back?)
}

fn unmount_quietly(place: &Path) {
    // The mounts are given up with it.
    let _ = unmount(place, UnmountFlags::DETACH);
}

/// The mount that a path lies in.
fn mount_under(place: &Path) -> io::Result<Mount> {
    let table = mount_table::parse(&std::fs::read("/proc/self/mountinfo")?);
    let over = table.into_iter().filter(|mount| place.starts_with(&mount.point));
    // Of several at one point the last hides the others.
    let longest = over.max_by_key(|mount| mount.point.components().count());
    longest.ok_or_else(|| io::Error::other("no mount is known there"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_found_among_the_variables() {
        let env = ["STEAD_SERVER_NAMES=no", "STEAD_SERVER_NAME=a", "STEAD_SERVER_NAME=web"];
        let env = env.map(str::to_owned);
        assert_eq!(value(&env, NAME_VARIABLE), Some("web"));
        assert_eq!(value(&env, HOSTS_VARIABLE), None);
        assert!(show(&["PATH=/bin".to_owned()], Mounts::Own).is_empty());
    }
}
