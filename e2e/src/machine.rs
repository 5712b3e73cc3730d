//! A machine with Debian and systemd as its PID 1, in namespaces of its own, for what only that can
//! show.
//!
//! Its Debian is the one that `cargo xtask test` bootstraps: `/usr` below a layer in which it may
//! change it, `/etc` and `/var` as copies in a folder that outlives a reboot; all else is new with
//! every boot. It runs what Debian runs.
//! `reboot` ends the PID namespace, as the kernel has it; [`Machine::boot`] begins the next life.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal};
use stead_model::mount_table;

use crate::processes::{self, Role};
use crate::program::{self, Said};
use crate::{until, wait};

/// What PID 1 does before it executes systemd. `$1` is the root, `$2` the Debian.
const BOOT: &str = r#"
set -e
mount --make-rprivate /
mount --bind "$1" "$1"
cd "$1"
layers="lowerdir=$2/usr,upperdir=$1/layers/upper,workdir=$1/layers/work"
mount -t overlay -o "$layers" none usr
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=755 none dev
for device in null zero full random urandom tty; do
    touch dev/$device
    mount --bind /dev/$device dev/$device
done
mkdir dev/shm
mount -t tmpfs -o mode=755 none run
mount -t tmpfs none tmp
umount -R sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 none sys/fs/cgroup
exec env -i container=stead PATH=/usr/sbin:/usr/bin unshare --root "$1" \
    /usr/lib/systemd/systemd --log-target=null --show-status=no
"#;

/// A machine.
#[derive(Debug)]
pub struct Machine {
    root: tempfile::TempDir,
    group: PathBuf,
    /// The `unshare` that waits for PID 1.
    outside: Option<Child>,
    init: u32,
}

impl Machine {
    /// Why this host cannot have one, if it cannot.
    #[must_use]
    pub fn lacks() -> Option<String> {
        if !rustix::process::geteuid().is_root() {
            return Some("it is for root".into());
        }
        let debian = debian();
        if !debian.is_dir() {
            return Some(format!("{} is missing: `cargo xtask test` makes it", debian.display()));
        }
        let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
        if !known.contains("\toverlay\n") {
            return Some("its kernel has no overlay file system".into());
        }
        group_folder().is_none().then(|| "there is no cgroup2 file system".into())
    }

    /// One that is off.
    #[must_use]
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        for folder in ["usr", "proc", "sys", "dev", "run", "tmp", "root", "layers"] {
            fs::create_dir(at(folder)).unwrap();
        }
        for folder in ["upper", "work"] {
            fs::create_dir(at("layers").join(folder)).unwrap();
        }
        for folder in ["bin", "sbin", "lib", "lib64"] {
            symlink(format!("usr/{folder}"), at(folder)).unwrap();
        }
        let mut copy = Command::new("cp");
        copy.arg("-a").args(["etc", "var"].map(|folder| debian().join(folder))).arg(root.path());
        assert!(copy.status().unwrap().success(), "{copy:?}");
        let machine = Self { root, group: group_folder().unwrap(), outside: None, init: 0 };
        machine.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        let target = "/usr/lib/systemd/system/multi-user.target";
        symlink(target, machine.path("etc/systemd/system/default.target")).unwrap();
        machine
    }

    /// A file of its disk, as this host sees it; what is new with every boot is not there. The path
    /// is that of the machine, with or without the slash it begins with.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    /// Writes a file of its disk.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Boots it and waits until all its units are started.
    pub fn boot(&mut self) {
        fs::create_dir_all(&self.group).unwrap();
        let procs = self.group.join("cgroup.procs");
        let enter = format!("echo $$ >{} && exec \"$@\"", procs.display());
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &enter, "sh", "unshare", "-m", "-p", "-u", "-i", "-n", "-C"]);
        command.args(["--fork", "--kill-child", "/bin/sh", "-c", BOOT, "boot"]);
        let words = fs::File::create(self.path("var/log/boot")).unwrap();
        command.arg(self.root.path()).arg(debian()).stdin(Stdio::null()).stderr(words);
        let child = command.spawn().unwrap();
        self.init = wait("the machine has a PID 1", || {
            let found = processes::children(child.id(), "systemd/systemd");
            let said = || fs::read_to_string(self.path("var/log/boot")).unwrap_or_default();
            found.first().copied().ok_or_else(said)
        });
        self.outside = Some(child);
        until("the machine has booted", || {
            self.run(&["systemctl", "is-system-running"]).out.trim() == "running"
        });
    }

    /// Runs a command in it.
    #[must_use]
    pub fn run(&self, words: &[&str]) -> Said {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.init.to_string(), "-m", "-p", "-u", "-i", "-n", "-C"]);
        command.arg(format!("--root=/proc/{}/root", self.init)).arg("--wd=/");
        command
            .args(["timeout", "30"])
            .args(words)
            .env("PATH", "/usr/sbin:/usr/bin")
            .env_remove("STEAD_API")
            .stdin(Stdio::null());
        Said::from(command.output().unwrap())
    }

    /// Runs a command in it that must succeed; gives what it printed.
    pub fn must(&self, words: &[&str]) -> String {
        let said = self.run(words);
        assert_eq!(said.code, 0, "{words:?}: {}{}", said.out, said.err);
        said.out
    }

    /// Whether it has an address.
    #[must_use]
    pub fn has_address(&self, address: &str) -> bool {
        self.must(&["ip", "-o", "address"]).contains(&format!(" {address}/"))
    }

    /// One property of a unit.
    #[must_use]
    pub fn property(&self, unit: &str, property: &str) -> String {
        self.must(&["systemctl", "show", "--value", "-p", property, unit]).trim().to_owned()
    }

    /// Its PID 1, as this host numbers it.
    #[must_use]
    pub const fn init(&self) -> u32 {
        self.init
    }

    /// Sends a signal to its PID 1: one that is stopped hangs.
    pub fn signal_init(&self, which: Signal) {
        processes::signal(self.init, which);
    }

    /// The process of it that plays a role; waits for it.
    #[must_use]
    pub fn find(&self, role: Role<'_>) -> u32 {
        wait(&format!("{role:?}"), || {
            processes::below(self.init, role).first().copied().ok_or_else(String::new)
        })
    }

    /// The folder of one of its control groups, on this host.
    #[must_use]
    pub fn control_group(&self, group: &str) -> PathBuf {
        self.group.join(group.trim_start_matches('/'))
    }

    /// The processes of a control group, as this host numbers them.
    #[must_use]
    pub fn processes_of(&self, group: &str) -> Vec<u32> {
        let text = fs::read_to_string(self.control_group(group).join("cgroup.procs"));
        text.unwrap_or_default().lines().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// Cuts its power: its PID 1 is killed, and with it everything in it. When this returns,
    /// nothing of it runs any more.
    pub fn kill(&mut self) {
        self.signal_init(Signal::KILL);
        self.wait_off();
    }

    /// Waits until its PID 1 has ended.
    pub fn wait_off(&mut self) {
        let mut outside = self.outside.take().unwrap();
        until("the machine goes off", || outside.try_wait().unwrap().is_some());
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(mut outside) = self.outside.take() {
            if let Some(init) = Pid::from_raw(i32::try_from(self.init).unwrap_or_default()) {
                // Without its PID 1 the kernel kills everything in it.
                rustix::process::kill_process(init, Signal::KILL).ok();
            }
            outside.wait().ok();
        }
        remove_groups(&self.group);
    }
}

/// The Debian of all machines.
fn debian() -> PathBuf {
    program::kept("debian")
}

/// Where a machine has its control groups.
fn group_folder() -> Option<PathBuf> {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    let name = format!("/stead-machine-{}-{number}", std::process::id());
    mount_table::control_group(&table, &name)
}

/// Removes empty control groups, the lowest first.
fn remove_groups(folder: &Path) {
    for below in fs::read_dir(folder).into_iter().flatten().flatten() {
        if below.path().is_dir() {
            remove_groups(&below.path());
        }
    }
    fs::remove_dir(folder).ok();
}
