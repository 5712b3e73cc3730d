//! How the node service is held: the process that faces the network can do no more than it needs.
//!
//! A user of its own, no capabilities, no way to gain any, a file system that it can only read but
//! for its own folders, and no system call that administers the machine. The guard prepares all of
//! it before it needs it, when it starts: then nothing runs that a slow disk could keep from being
//! stopped. What cannot be had is told, and the node service runs without it (visible fallback): a
//! node that serves is worth more.
//!
//! Not here: what the child does with it (`sys/confine`). Guard and monitors are not held: they
//! mount, move addresses and start programs of any user, in the host's own namespaces.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use landlock::{ABI, AccessFs, Ruleset, RulesetAttr, RulesetCreatedAttr, path_beneath_rules};
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use stead_model::wire::guard::NODE_PRIORITY;

use super::Notice;
use super::options::NodeService;
use crate::sys::Limits;
use crate::sys::confine::Confine;

/// Ports below this one need a capability.
const PORT_OF_USERS: u16 = 1024;

const CONFINED: &str = "node-service-confined";
const UNCONFINED: &str = "node-service-unconfined";

/// What holds the node service.
#[derive(Debug)]
pub(super) struct Confinement {
    user: Option<User>,
    keeps: CapabilitySet,
    writable: Option<OwnedFd>,
    filters: Vec<BpfProgram>,
}

/// Who it is.
#[derive(Clone, PartialEq, Eq, Debug)]
struct User {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
}

impl Confinement {
    /// Gives the node service what is its own, and says how it is held.
    pub(super) fn prepare(
        root: &Path,
        service: &NodeService,
        limits: Limits,
        notices: &mut Vec<Notice>,
    ) -> Self {
        let user = service.user.as_ref().map(|name| own_user(root, service, name)).transpose();
        let filters = filters();
        let writable = writable(root, service, matches!(user, Ok(Some(_))));
        let back = match &user {
            Ok(Some(_)) => Ok(()),
            Ok(None) | Err(_) => take_back(root, service),
        };
        let (filters_lack, writable_lack) = (filters.as_ref().err(), writable.as_ref().err());
        let lacks = [user.as_ref().err(), back.as_ref().err(), filters_lack, writable_lack];
        let lacks: Vec<&str> = lacks.into_iter().flatten().map(String::as_str).collect();
        let who = user.as_ref().ok().and_then(Option::as_ref);
        let keeps = needed(service, limits);
        notices.push(told(service, (who, keeps), &lacks));
        Self {
            user: user.unwrap_or_default(),
            keeps,
            writable: writable.ok(),
            filters: filters.unwrap_or_default(),
        }
    }

    /// What a node service that is started gives up.
    pub(super) fn of_child(&self) -> Confine<'_> {
        Confine {
            user: self.user.as_ref().map(|user| (user.uid, user.gid, user.groups.as_slice())),
            keeps: self.keeps.bits(),
            writable: self.writable.as_ref().map(AsFd::as_fd),
            filters: &self.filters,
            priority: NODE_PRIORITY.unsigned_abs().into(),
        }
    }
}

/// The capabilities without which it would be late, or not be heard: of those that the guard has.
fn needed(service: &NodeService, limits: Limits) -> CapabilitySet {
    let priority = Some(u64::from(NODE_PRIORITY.unsigned_abs()));
    let before = getrlimit(Resource::Rtprio);
    let is_enough = before.maximum.is_none() || before.maximum >= priority;
    let lifted = Rlimit { current: before.current, maximum: priority };
    let may_ask = is_enough || setrlimit(Resource::Rtprio, lifted).is_ok();
    // Only the node service is to have it; what was lifted may always be lowered.
    let _ = setrlimit(Resource::Rtprio, before);
    let mut needed = CapabilitySet::empty();
    needed.set(CapabilitySet::SYS_NICE, !may_ask);
    needed.set(CapabilitySet::IPC_LOCK, limits.memlock.0 != u64::MAX);
    needed.set(CapabilitySet::NET_BIND_SERVICE, service.port < PORT_OF_USERS);
    let own = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.permitted);
    needed & own
}

/// Whether a notice is one of [`Confinement::prepare`].
pub(super) fn tells(notice: &Notice) -> bool {
    matches!(notice.code.as_str(), CONFINED | UNCONFINED)
}

fn told(
    service: &NodeService,
    (user, keeps): (Option<&User>, CapabilitySet),
    lacks: &[&str],
) -> Notice {
    let who = match (user, &service.user) {
        (Some(user), Some(name)) => format!("as `{name}` (uid {})", user.uid),
        (Some(_) | None, _) => format!("as the guard's user (uid {})", geteuid().as_raw()),
    };
    if lacks.is_empty() {
        let text = format!(
            "the node service runs {who} with {}, and writes in its own folders only",
            names(keeps)
        );
        return Notice::info(CONFINED, text);
    }
    let text = format!(
        "the node service runs {who} and is held less than it should be: {}",
        lacks.join("; ")
    );
    Notice::warning(UNCONFINED, text)
}

fn names(keeps: CapabilitySet) -> String {
    let names: Vec<&str> = keeps.iter_names().map(|(name, _)| name).collect();
    if names.is_empty() { "no capability".into() } else { names.join(", ") }
}

/// Makes this user the owner of what the node service writes or reads alone. Nothing is changed
/// that is as it should be already.
fn own_user(root: &Path, service: &NodeService, name: &str) -> Result<User, String> {
    if !geteuid().is_root() {
        return Err(format!("only a guard that is root can start it as `{name}`"));
    }
    let known = fs::read_to_string("/etc/passwd").map_err(|why| format!("/etc/passwd: {why}"))?;
    let (uid, gid) = user_in(&known, name).ok_or_else(|| {
        format!("there is no user `{name}` in /etc/passwd (`useradd --system {name}` makes it)")
    })?;
    let mut user = User { uid, gid, groups: vec![gid] };
    give_all(root, &user)?;
    if let Some((disk, lock)) = &service.quorum {
        give_quorum(disk, lock, &mut user)?;
    }
    Ok(user)
}

/// Root without capabilities reads only what is its own: what an earlier guard gave away it gets
/// back.
fn take_back(root: &Path, service: &NodeService) -> Result<(), String> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let own = User { uid: 0, gid: 0, groups: Vec::new() };
    give_all(root, &own)?;
    let disk = service.quorum.as_ref().filter(|(disk, _)| disk.is_file());
    for path in disk.into_iter().flat_map(|(disk, lock)| [disk, lock]) {
        give(path, &own).map_err(named(path))?;
    }
    Ok(())
}

fn give_all(root: &Path, user: &User) -> Result<(), String> {
    let [etc, var, run] = folders(root);
    let pki = etc.join("pki");
    for folder in [&etc, &pki, &var, &run] {
        share(folder, user.gid).map_err(named(folder))?;
    }
    let config = etc.join("cluster.json");
    show(&config, user.gid).map_err(named(&config))?;
    // Certificates, too: when keys follow others it replaces all of them.
    let keys = [etc.join("cluster.key"), etc.join("first-start")];
    let pki = ["ca.key", "ca.pem", "node.key", "node.pem", "next"].map(|name| pki.join(name));
    let keys = keys.into_iter().chain(pki);
    let sockets = [run.join("api.sock"), run.join("quorum.lock")];
    for path in keys.chain(sockets).chain(files_in(&var).map_err(named(&var))?) {
        give(&path, user).map_err(named(&path))?;
    }
    Ok(())
}

/// Number and group of a user, by the lines of a passwd file: no name service is asked.
fn user_in(known: &str, name: &str) -> Option<(u32, u32)> {
    known.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_it = fields.next()? == name;
        let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        is_it.then_some((uid, gid))
    })
}

/// Configuration, state, sockets.
fn folders(root: &Path) -> [PathBuf; 3] {
    ["etc/stead", "var/lib/stead", "run/stead"].map(|folder| root.join(folder))
}

/// The plain files of a folder: what lies deeper there belongs to applications.
fn files_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    let files = entries.iter().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    Ok(files.map(fs::DirEntry::path).collect())
}

/// Lets the group make files in a folder of root, and touch none of others (sticky). What is made
/// there has the folder's group: so the node service can connect to the monitors. A folder that is
/// root's alone stays as it is.
fn share(folder: &Path, gid: u32) -> io::Result<()> {
    const SHARED: u32 = 0o3775;
    fs::create_dir_all(folder)?;
    let found = fs::metadata(folder)?;
    if gid == 0 && (found.uid(), found.gid()) == (0, 0) {
        return Ok(());
    }
    if (found.uid(), found.gid()) != (0, gid) {
        std::os::unix::fs::chown(folder, Some(0), Some(gid))?;
    }
    if found.mode() & 0o7777 != SHARED {
        fs::set_permissions(folder, Permissions::from_mode(SHARED))?;
    }
    Ok(())
}

/// Lets the group read a file of root, if it is there.
fn show(path: &Path, gid: u32) -> io::Result<()> {
    let found = match fs::metadata(path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if found.mode() & 0o004 == 0 {
        std::os::unix::fs::chown(path, None, Some(gid))?;
        fs::set_permissions(path, Permissions::from_mode(found.mode() & 0o7777 | 0o040))?;
    }
    Ok(())
}

/// Gives it a file or socket of its own, if it is there. A second name of a file could be one that
/// somebody made to be given what is not theirs.
fn give(path: &Path, to: &User) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if found.uid() == to.uid {
        return Ok(());
    }
    if found.is_symlink() || found.nlink() != 1 {
        return Err(io::Error::other("it is a link, or has another name too"));
    }
    std::os::unix::fs::lchown(path, Some(to.uid), Some(to.gid))
}

/// A device is used by way of the group that it has: device managers give devices their owners
/// again and again. A file is given, and so is the lock beside it.
fn give_quorum(disk: &Path, lock: &Path, user: &mut User) -> Result<(), String> {
    let found = fs::metadata(disk).map_err(named(disk))?;
    if found.file_type().is_block_device() {
        let by_group = found.gid() != 0 && found.mode() & 0o060 == 0o060;
        if !by_group {
            let shown = disk.display();
            return Err(format!("`{shown}` has no group other than root's that may write it"));
        }
        user.groups.push(found.gid());
        return Ok(());
    }
    std::os::unix::fs::chown(disk, Some(user.uid), Some(user.gid)).map_err(named(disk))?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(lock) {
        Err(why) if why.kind() != io::ErrorKind::AlreadyExists => Err(named(lock)(why)),
        Ok(_) | Err(_) => give(lock, user).map_err(named(lock)),
    }
}

fn named(path: &Path) -> impl FnOnce(io::Error) -> String {
    move |why| format!("`{}` cannot be given to it: {why}", path.display())
}

/// Where it may write: its folders, the quorum disk, and what every user may write.
fn writable(root: &Path, service: &NodeService, is_own: bool) -> Result<OwnedFd, String> {
    let mut places: Vec<PathBuf> = folders(root).into();
    for folder in &places {
        fs::create_dir_all(folder).map_err(|why| format!("`{}`: {why}", folder.display()))?;
    }
    places.extend(["/dev/null", "/tmp", "/var/tmp"].map(PathBuf::from));
    // A user of its own may write there what concerns its own processes.
    places.extend(is_own.then(|| PathBuf::from("/proc")));
    if let Some((disk, lock)) = &service.quorum {
        // A device may be made anew there; a file has its lock beside it.
        let is_device = disk.starts_with("/dev") && !disk.is_file();
        let folder = if is_device { Some(Path::new("/dev")) } else { lock.parent() };
        places.extend(folder.map(Path::to_owned));
    }
    let access = AccessFs::from_write(ABI::V3);
    let made = Ruleset::default().handle_access(access).and_then(Ruleset::create);
    let ruled = made.and_then(|made| made.add_rules(path_beneath_rules(places, access)));
    let ruled = ruled.map_err(|why| format!("it may write everywhere: {why}"))?;
    let ruleset: Option<OwnedFd> = ruled.into();
    ruleset.ok_or_else(|| "it may write everywhere: the kernel has no Landlock".into())
}

/// System calls that administer the machine or look into other processes, and those that serve
/// attacks more than services (io_uring, user namespaces, keys). Programs that alerts call have the
/// same limits, so it is these that are refused and not all but a few that are allowed.
const REFUSED: &[libc::c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];
/// On x86-64 a system call has a second number for programs with short pointers (x32).
const X32: i64 = 0x4000_0000;

fn filters() -> Result<Vec<BpfProgram>, String> {
    let refused = REFUSED.iter().map(|call| (*call, Vec::new()));
    let refused = refused.chain([(libc::SYS_clone, new_namespaces()?)]);
    // Its flags lie where a filter cannot look; programs then use the older call.
    let unknown = [(libc::SYS_clone3, Vec::new())];
    Ok(vec![filter(refused, libc::EPERM)?, filter(unknown, libc::ENOSYS)?])
}

fn filter(
    calls: impl IntoIterator<Item = (libc::c_long, Vec<SeccompRule>)>,
    errno: i32,
) -> Result<BpfProgram, String> {
    let calls = calls.into_iter().flat_map(|(call, rules)| {
        let twice = cfg!(target_arch = "x86_64").then(|| (call | X32, rules.clone()));
        std::iter::once((call, rules)).chain(twice)
    });
    let rules: BTreeMap<i64, Vec<SeccompRule>> = calls.collect();
    let action = SeccompAction::Errno(errno.cast_unsigned());
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(no_filter)?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, arch);
    filter.and_then(BpfProgram::try_from).map_err(no_filter)
}

/// A process with a namespace of its own has all capabilities in it.
fn new_namespaces() -> Result<Vec<SeccompRule>, String> {
    let flags = [
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWNS,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWUTS,
    ];
    let rules = flags.into_iter().map(|flag| {
        let flag = u64::from(flag.cast_unsigned());
        let has = SeccompCmpOp::MaskedEq(flag);
        let condition = SeccompCondition::new(0, SeccompCmpArgLen::Qword, has, flag)?;
        SeccompRule::new(vec![condition])
    });
    rules.collect::<Result<_, _>>().map_err(no_filter)
}

fn no_filter(why: impl std::fmt::Display) -> String {
    format!("no system call is refused: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let known = "root:x:0:0:root:/root:/bin/sh
steady:x:7:8::/:
stead:x:990:991::/:
stead";
        assert_eq!(user_in(known, "stead"), Some((990, 991)));
        assert_eq!(user_in(known, "ste"), None);
        assert_eq!(
            user_in(
                "stead:x:y:1::/:
",
                "stead"
            ),
            None
        );
    }

    #[test]
    fn files_with_a_second_name_and_links_are_not_given() {
        let folder = tempfile::tempdir().unwrap();
        let [file, other, link] = ["file", "other", "link"].map(|name| folder.path().join(name));
        fs::write(&file, b"").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let to = User { uid: 4_000_000, gid: 4_000_000, groups: Vec::new() };
        assert!(give(&link, &to).is_err(), "a link was followed");
        fs::hard_link(&file, &other).unwrap();
        assert!(give(&file, &to).is_err(), "it has two names");
        give(&folder.path().join("absent"), &to).unwrap();
    }

    #[test]
    fn all_filters_are_programs_of_this_machine() {
        assert_eq!(filters().unwrap().len(), 2);
    }
}
