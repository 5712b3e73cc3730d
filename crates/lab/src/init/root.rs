//! The file system a machine sees: the host's, with places of its own.
//!
//! The new root is a small tmpfs. What a machine shares with the host appears in it as symbolic
//! links into `/.host`, where the old root ends up; what it has of its own is mounted. So a mount
//! point like `/etc/stead` needs no directory on the host, which an ordinary user could not make,
//! and the host's `/run` cannot be reached by its usual name.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use super::order::MachineSpec;
use crate::disks::{DEVICE_DIR, Loop};
use crate::step::{Step, StepError};

/// Where the program of a lab is found in every machine.
pub(crate) const PROGRAM_DIR: &str = "/run/lab/bin";

/// Where programs are looked for in every machine, that one first.
pub(crate) const PATH: &str =
    "/run/lab/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where the host's root ends up.
const HOST: &str = "/.host";

/// What every machine has of its own besides its binds.
const OWN: [&str; 6] = ["/proc", "/run", "/tmp", "/etc/hosts", "/etc/hostname", HOST];

/// Makes the machine's root and moves into it. The calling process is in a mount namespace of its
/// own already.
pub(crate) fn enter(spec: &MachineSpec) -> Result<(), StepError> {
    let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
    rustix::mount::mount_change("/", private).step("make private the mounts under", "/")?;
    let root = spec.mountpoint.as_path();
    tmpfs(root, "mode=755,size=64m")?;
    let own: Vec<PathBuf> = OWN
        .iter()
        .map(PathBuf::from)
        .chain(spec.binds.iter().map(|(_, inside)| inside.clone()))
        .chain((!spec.disks.is_empty()).then(|| PathBuf::from(DEVICE_DIR)))
        .collect();
    mirror(Path::new("/"), root, &own)?;
    own_places(spec, root)?;
    let host = inside(root, Path::new(HOST));
    rustix::process::pivot_root(root, &host).step("move into", root.display())?;
    std::env::set_current_dir("/").step("enter", "/")?;
    hide_host_proc();
    if spec.cgroup.is_some() {
        own_cgroup_view()?;
    }
    shared_memory()
}

/// Fills `to` with links to everything in the host's `dir`, except what is the machine's own.
fn mirror(dir: &Path, root: &Path, own: &[PathBuf]) -> Result<(), StepError> {
    let to = inside(root, dir);
    fs::create_dir_all(&to).step("make the directory", to.display())?;
    for entry in fs::read_dir(dir).step("list", dir.display())? {
        let path = entry.step("list", dir.display())?.path();
        if own.contains(&path) {
            continue;
        }
        let is_dir = fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir());
        if is_dir && own.iter().any(|own| own.starts_with(&path)) {
            mirror(&path, root, own)?;
        } else {
            link(&path, &inside(root, &path))?;
        }
    }
    Ok(())
}

/// A link to the host's file; a link of the host is copied as it is, so that it leads to the
/// machine's own places where it names one (`/var/run`).
fn link(host: &Path, place: &Path) -> Result<(), StepError> {
    let target = match fs::read_link(host) {
        Ok(target) => target,
        Err(_) => inside(Path::new(HOST), host),
    };
    symlink(&target, place).step("make the link", place.display())
}

/// The machine's own directories, files and mounts.
fn own_places(spec: &MachineSpec, root: &Path) -> Result<(), StepError> {
    let place = |path: &str| inside(root, Path::new(path));
    for dir in ["/proc", "/run", "/tmp", "/etc", HOST] {
        make_dir(&place(dir))?;
    }
    write(&place("/etc/hosts"), &spec.hosts)?;
    write(&place("/etc/hostname"), &format!("{}\n", spec.hostname))?;
    tmpfs(&place("/run"), "mode=755")?;
    tmpfs(&place("/tmp"), "mode=1777")?;
    proc(&place("/proc"))?;
    for (outside, within) in &spec.binds {
        let target = inside(root, within);
        make_dir(&target)?;
        bind(outside, &target)?;
    }
    devices(spec, root)?;
    let programs = place(PROGRAM_DIR);
    make_dir(&programs)?;
    let program = programs.join("stead");
    write(&program, "")?;
    bind(&spec.program, &program)
}

/// The machine's disks. Its root is mounted without devices, so they have a place of their own.
fn devices(spec: &MachineSpec, root: &Path) -> Result<(), StepError> {
    if spec.disks.is_empty() {
        return Ok(());
    }
    let dir = inside(root, Path::new(DEVICE_DIR));
    make_dir(&dir)?;
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    rustix::mount::mount("tmpfs", &dir, "tmpfs", flags, c"mode=755,size=64k")
        .step("mount a tmpfs at", dir.display())?;
    for disk in &spec.disks {
        Loop(disk.number).make_node(&dir.join(&disk.disk))?;
    }
    Ok(())
}

/// The process list of the host is not for the machine. Without root the mount is locked and can
/// only be covered; where even that fails it stays, and nothing looks there.
fn hide_host_proc() {
    let host = inside(Path::new(HOST), Path::new("/proc"));
    let _ = rustix::mount::mount_bind("/proc", &host);
}

/// In place of the host's cgroups the machine sees its own, as whole hierarchy.
fn own_cgroup_view() -> Result<(), StepError> {
    let place = inside(Path::new(HOST), Path::new("/sys/fs/cgroup"));
    match rustix::mount::unmount(&place, UnmountFlags::DETACH) {
        Ok(()) | Err(rustix::io::Errno::INVAL) => {}
        Err(errno) => return Err(StepError::new("unmount", place.display(), errno)),
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("cgroup2", &place, "cgroup2", flags, None)
        .step("mount the cgroups at", place.display())
}

fn shared_memory() -> Result<(), StepError> {
    if Path::new("/dev/shm").is_dir() { tmpfs(Path::new("/dev/shm"), "mode=1777") } else { Ok(()) }
}

fn tmpfs(place: &Path, options: &str) -> Result<(), StepError> {
    let options = std::ffi::CString::new(options).step("use mount options", options)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    rustix::mount::mount("tmpfs", place, "tmpfs", flags, options.as_c_str())
        .step("mount a tmpfs at", place.display())
}

fn proc(place: &Path) -> Result<(), StepError> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("proc", place, "proc", flags, None)
        .step("mount the process list at", place.display())
}

fn bind(from: &Path, to: &Path) -> Result<(), StepError> {
    rustix::mount::mount_bind(from, to).step("show in the machine", from.display())
}

fn make_dir(place: &Path) -> Result<(), StepError> {
    fs::create_dir_all(place).step("make the directory", place.display())
}

fn write(place: &Path, text: &str) -> Result<(), StepError> {
    fs::write(place, text).step("write", place.display())
}

/// `path`, which is absolute, below `root`.
fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Joins the calling process to a cgroup and makes that the root of what it sees.
pub(crate) fn join_cgroup(dir: &Path) -> Result<(), StepError> {
    let procs = dir.join("cgroup.procs");
    fs::write(&procs, "0").step("enter the cgroup", dir.display())?;
    unshare_cgroup().step("make a cgroup namespace for", dir.display())
}

#[expect(unsafe_code, reason = "rustix marks every unshare unsafe")]
fn unshare_cgroup() -> io::Result<()> {
    // SAFETY: only the view of the cgroups changes; no memory or descriptor is unshared.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWCGROUP)? };
    Ok(())
}
