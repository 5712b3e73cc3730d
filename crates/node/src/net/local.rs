//! Who is at the other end of the local socket, as the kernel tells, and which role it has.
//!
//! Root and the user of the node service are admins. Members of the groups `stead-viewer`,
//! `stead-operator` and `stead-admin` have that role, if the groups are in `/etc/group`. The
//! groups counted are those the process had when it connected; no name service is asked, so that
//! a directory that hangs holds nobody up.

#![expect(unsafe_code, reason = "the groups of a peer have no safe interface")]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::sync::Arc;

use stead_api::Caller;
use stead_model::role::Role;
use tokio::net::UnixStream;

use super::callers::Callers;

/// Where groups have their names.
const GROUP_FILE: &str = "/etc/group";
/// A process can have so many groups.
const GROUPS_MAX: usize = 65_536;

/// Tells who connects to the local socket.
#[derive(Debug)]
pub(crate) struct Door {
    callers: Arc<Callers>,
    group_file: PathBuf,
}

impl Door {
    pub(crate) fn new(callers: Arc<Callers>) -> Self {
        Self { callers, group_file: GROUP_FILE.into() }
    }

    /// Whoever connected; `None`: it is gone already.
    pub(crate) fn identify(&self, stream: &UnixStream) -> Option<Caller> {
        let peer = stream.peer_cred().ok()?;
        let who = match peer.pid() {
            Some(pid) => format!("uid {} (pid {pid}) on the local socket", peer.uid()),
            None => format!("uid {} on the local socket", peer.uid()),
        };
        let own = rustix::process::geteuid().as_raw();
        let role = if peer.uid() == 0 || peer.uid() == own {
            Some(Role::Admin)
        } else {
            let mut groups = supplementary_groups(stream).ok()?;
            groups.push(peer.gid());
            // Without the file nobody but root has a role.
            let names = std::fs::read_to_string(&self.group_file).unwrap_or_default();
            role_of(&groups, &names)
        };
        if role.is_none() {
            self.callers.without_role(&who);
        }
        Some(Caller { who: who.into(), role })
    }
}

/// The highest role that one of these groups gives, by the lines of a group file.
fn role_of(groups: &[u32], names: &str) -> Option<Role> {
    let role = |line: &str| {
        let mut fields = line.split(':');
        let role = Role::parse(fields.next()?.strip_prefix("stead-")?)?;
        let number: u32 = fields.nth(1)?.parse().ok()?;
        groups.contains(&number).then_some(role)
    };
    names.lines().filter_map(role).max()
}

/// The supplementary groups that the process at the other end had when it connected.
fn supplementary_groups(socket: impl AsFd) -> io::Result<Vec<u32>> {
    let mut groups = vec![0_u32; 64];
    loop {
        let mut bytes = (groups.len() * size_of::<u32>()) as libc::socklen_t;
        // SAFETY: the kernel writes at most `bytes` bytes into `groups`, which has that many, and
        // any bytes are group numbers; the descriptor is open as long as it is borrowed.
        let failed = unsafe {
            libc::getsockopt(
                socket.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut bytes,
            )
        } != 0;
        let count = bytes as usize / size_of::<u32>();
        if !failed {
            groups.truncate(count);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        let is_short = error.raw_os_error() == Some(libc::ERANGE);
        if !is_short || count <= groups.len() || count > GROUPS_MAX {
            return Err(error);
        }
        groups.resize(count, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const NAMES: &str = "root:x:0:\nstead-viewer:x:990:carol\nstead-operator:x:991:\n\
        stead-admin:x:992:\nstead-king:x:993:\nxstead-admin:x:994:\nstead-admin\n\
        stead-admin:x:y:\n";

    #[test]
    fn the_highest_role_of_all_groups_counts_and_other_groups_give_none() {
        for (groups, role) in [
            (&[][..], None),
            (&[1000, 993, 994], None),
            (&[1000, 990], Some(Role::Viewer)),
            (&[991, 990], Some(Role::Operator)),
            (&[990, 992, 991], Some(Role::Admin)),
        ] {
            assert_eq!(role_of(groups, NAMES), role, "{groups:?}");
            assert_eq!(role_of(groups, ""), None);
        }
    }

    /// What a thread with this user and these groups is taken for.
    fn role_as(user: u32, groups: &[u32]) -> Option<Role> {
        use rustix::process::{Gid, Uid};
        let folder = tempfile::tempdir().unwrap();
        let group_file = folder.path().join("group");
        std::fs::write(&group_file, NAMES).unwrap();
        let records = Arc::new(crate::records::Records::in_memory(stead_model::NodeId(1)));
        let door = Door { callers: Arc::new(Callers::new(Arc::clone(&records))), group_file };
        let path = folder.path().join("socket");
        let groups: Vec<Gid> = groups.iter().map(|group| Gid::from_raw(*group)).collect();
        let runtime = crate::threads::runtime().unwrap();
        let role = runtime.block_on(async {
            let listener = tokio::net::UnixListener::bind(&path).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
            std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))
                .unwrap();
            let calls = std::thread::spawn(move || {
                rustix::thread::set_thread_groups(&groups).unwrap();
                let user = Uid::from_raw(user);
                rustix::thread::set_thread_res_uid(user, user, user).unwrap();
                std::os::unix::net::UnixStream::connect(path).unwrap()
            });
            let stream = listener.accept().await.unwrap().0;
            let caller = door.identify(&stream).unwrap();
            calls.join().unwrap();
            assert!(caller.who.starts_with(&format!("uid {} (pid ", user)), "{}", caller.who);
            caller.role
        });
        assert_eq!(records.since(0, 9).records.len(), usize::from(role.is_none()));
        role
    }

    #[test]
    fn users_have_the_role_of_the_groups_they_are_in() {
        if !rustix::process::geteuid().is_root() {
            // Only root can be somebody else: this user is an admin of its own node.
            return;
        }
        assert_eq!(role_as(0, &[]), Some(Role::Admin));
        assert_eq!(role_as(65_534, &[]), None);
        assert_eq!(role_as(65_534, &[1000, 991]), Some(Role::Operator));
        let many: Vec<u32> = (2_000..2_100).chain([990]).collect();
        assert_eq!(role_as(65_534, &many), Some(Role::Viewer), "more groups than are usual");
    }

    #[test]
    fn the_kernel_tells_the_groups_of_the_other_end() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut own: Vec<u32> =
            rustix::process::getgroups().unwrap().iter().map(|group| group.as_raw()).collect();
        let mut told = supplementary_groups(&one).unwrap();
        own.sort_unstable();
        told.sort_unstable();
        assert_eq!(told, own);
    }
}
