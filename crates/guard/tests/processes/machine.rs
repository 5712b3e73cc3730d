//! The watchdog on a whole machine: a guest of QEMU with the kernel's software watchdog.
//!
//! The guest's only program is this one, as PID 1: it is the story's side, and starts the guard and
//! its bodies. What the host sees is whether the machine was reset.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use rustix::mount::{MountFlags, mount};
use rustix::process::Signal;
use rustix::system::{RebootCommand, finit_module, reboot};
use stead_model::Span;
use stead_model::wire::guard::{AddressUndo, ProgramSpec, Thing};

use crate::stories::Story;
use crate::world::{Leash, World, children, eventually, send_signal};

pub(crate) const ALL: &[Story] = &[("a_watchdog_resets_what_the_guard_cannot_stop", resets)];

const QEMU: &str = "qemu-system-x86_64";
/// What the software watchdog consists of, in the order of loading.
const MODULES: [&str; 2] = ["watchdog.ko", "softdog.ko"];
/// Where a guard of the guest finds its watchdog.
pub(crate) const VARIABLE: &str = "STEAD_TEST_WATCHDOG";
pub(crate) const TIMEOUT_S: u32 = 3;
/// What the kernel writes when the time is over.
const RESET: &str = "softdog: Initiating system reboot";
/// What the story writes after a time in which a reset would have come.
const STILL_HERE: &str = "story: still here";
const OBSERVED: Duration = Duration::from_secs(3 * TIMEOUT_S as u64);

fn resets() {
    let kernel = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guest-kernel");
    let runs = Command::new(QEMU).arg("--version").stdout(Stdio::null()).status();
    if !kernel.is_dir() || runs.is_err() {
        println!("skipped: no {QEMU} or no kernel for it; `cargo xtask test` fetches both");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("initramfs");
    write_initramfs(&kernel, &disk);
    let start = |&story: &&'static str| Guest::start(story, &kernel, &disk, folder.path());
    let mut guests: Vec<Guest> =
        ["rests", "frozen", "killed", "overdue"].iter().map(start).collect();
    for guest in &mut guests {
        let told = guest.end();
        let (reset, stays) = (told.contains(RESET), told.contains(STILL_HERE));
        let expected = if guest.story == "rests" { (false, true) } else { (true, false) };
        assert_eq!((reset, stays), expected, "{}: {told}", guest.story);
    }
}

struct Guest {
    story: &'static str,
    machine: Leash,
    console: PathBuf,
}

impl Guest {
    fn start(story: &'static str, kernel: &Path, disk: &Path, folder: &Path) -> Self {
        let console = folder.join(story);
        let words =
            "console=ttyS0 quiet mitigations=off no_timer_check random.trust_cpu=1 panic=-1";
        let command: Child = Command::new(QEMU)
            .args("-M pc -accel tcg,tb-size=64 -cpu max -m 384 -smp 1 -nodefaults".split(' '))
            .args("-no-user-config -display none -no-reboot".split(' '))
            .arg("-kernel")
            .arg(only_file(&kernel.join("boot"), "vmlinuz"))
            .arg("-initrd")
            .arg(disk)
            .args(["-append", &format!("{words} -- as-machine {story}")])
            .args(["-serial", &format!("file:{}", console.display())])
            .stdin(Stdio::null())
            .spawn()
            .expect("qemu-system-x86_64 runs; `cargo xtask test` installs it");
        Self { story, machine: Leash::new(command), console }
    }

    /// Waits until the machine is off, or was reset; gives what its console said.
    fn end(&mut self) -> String {
        let told = || String::from_utf8_lossy(&fs::read(&self.console).unwrap()).into_owned();
        for _ in 0..1200 {
            if self.machine.has_ended() {
                return told();
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("the guest `{}` does not end: {}", self.story, told());
    }
}

/// The guest's side: PID 1 of the machine.
pub(crate) fn be_machine(story: &str) -> ExitCode {
    for (kind, place) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        mount(kind, place, kind, MountFlags::empty(), None).unwrap();
    }
    for module in MODULES {
        let module = File::open(format!("/{module}")).unwrap();
        finit_module(module.as_fd(), c"", 0).unwrap();
    }
    let mut world = World::start_with(Command::new("/init"), |command| {
        command.env(VARIABLE, "/dev/watchdog");
    });
    let guard = world.guard.id().cast_signed();
    println!("story: {story} begins");
    match story {
        "rests" => {
            spared(&mut world);
            // It lives as long as the guard does, and longer when that ends in order.
            thread::sleep(OBSERVED);
            send_signal(guard, Signal::TERM);
            world.node.wait_for_death();
            world.guard.wait();
        }
        "frozen" => send_signal(guard, Signal::STOP),
        "killed" => send_signal(guard, Signal::KILL),
        "overdue" => leave_something(&mut world),
        _ => panic!("no story {story}"),
    }
    thread::sleep(OBSERVED);
    println!("{STILL_HERE}");
    io::stdout().flush().unwrap();
    reboot(RebootCommand::PowerOff).unwrap();
    ExitCode::SUCCESS
}

/// When memory runs out, programs are ended before what watches over them. A machine is where the
/// guard surely may ask for that.
fn spared(world: &mut World) {
    let guard = world.guard.id().cast_signed();
    let score = |pid: i32| fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    assert_eq!(score(guard), "-1000\n");
    for body in [world.node.pid, world.monitor.pid] {
        assert_eq!(score(body), "-900\n");
    }
    world.lease(1, Span::from_secs(60));
    let argv = ["/init", "as-program"].map(String::from).to_vec();
    let spec = ProgramSpec { argv, ..world.spec("web") };
    let (instance, init) = world.admit_spec(1, spec).unwrap();
    world.started(instance);
    for program in [init].into_iter().chain(children(init)) {
        assert_eq!(score(program), "0\n");
    }
}

/// An address that cannot be taken away: the request to do so is none.
fn leave_something(world: &mut World) {
    let until = world.lease(1, Span::from_millis(500));
    let undo = AddressUndo {
        what: "10.77.0.1".into(),
        address: [10, 77, 0, 1].into(),
        request: vec![0; 16],
    };
    world.admit_thing("address", 1, Thing::Address(undo)).unwrap();
    eventually("the lease is over", || crate::world::now() > until);
    println!("story: {}", world.notice("stop-overdue"));
}

/// A root file system that holds this program, its libraries and the module.
fn write_initramfs(kernel: &Path, path: &Path) {
    let mut archive = Archive(File::create(path).unwrap(), 0);
    for folder in ["dev", "proc", "sys", "tmp", "var"] {
        archive.add(folder, 0o040_755, (0, 0), &[]);
    }
    archive.add("dev/console", 0o020_600, (5, 1), &[]);
    let own = std::env::current_exe().unwrap();
    archive.add("init", 0o100_755, (0, 0), &fs::read(&own).unwrap());
    let modules = only_file(&kernel.join("lib/modules"), "");
    for module in MODULES {
        let content = fs::read(modules.join("kernel/drivers/watchdog").join(module)).unwrap();
        archive.add(module, 0o100_644, (0, 0), &content);
    }
    let listed = Command::new("ldd").arg(own).output().unwrap().stdout;
    let listed = String::from_utf8(listed).unwrap();
    let mut folders = Vec::new();
    for library in listed.split_whitespace().filter(|word| word.starts_with('/')) {
        let name = &library[1..];
        for (at, _) in name.match_indices('/') {
            if !folders.contains(&&name[..at]) {
                folders.push(&name[..at]);
                archive.add(&name[..at], 0o040_755, (0, 0), &[]);
            }
        }
        archive.add(name, 0o100_755, (0, 0), &fs::read(library).unwrap());
    }
    archive.add("TRAILER!!!", 0, (0, 0), &[]);
}

/// A cpio archive in the kernel's format ("newc").
struct Archive(File, u32);

impl Archive {
    fn add(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.1 += 1;
        let size = u32::try_from(content.len()).unwrap();
        let name_bytes = u32::try_from(name.len()).unwrap() + 1;
        let (major, minor) = device;
        let fields = [self.1, mode, 0, 0, 1, 0, size, 0, 0, major, minor, name_bytes, 0];
        let mut bytes = b"070701".to_vec();
        fields.iter().for_each(|field| bytes.extend(format!("{field:08x}").bytes()));
        bytes.extend(name.bytes().chain([0]));
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        self.0.write_all(&bytes).unwrap();
    }
}

/// The one entry of a folder whose name begins so.
fn only_file(folder: &Path, prefix: &str) -> PathBuf {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let begins = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(prefix);
    let found: Vec<PathBuf> = entries.filter(begins).collect();
    assert_eq!(found.len(), 1, "{} has one {prefix}*: {found:?}", folder.display());
    found.into_iter().next().unwrap()
}
