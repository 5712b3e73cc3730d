//! Disks: loop devices with real file systems, mounted in a namespace of the guard's own.
//!
//! Without reservations: those are a device's, and the rounds with lab disks have them.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::fs::OFlags;
use rustix::process::{Signal, geteuid};
use stead_model::Span;
use stead_model::order::{Action, GuardReport, OnlineSpec, Outcome};
use stead_model::resource::Health;

use crate::Story;
use crate::world::{World, eventually, send_signal, spec};

macro_rules! stories {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), $name)),*] };
}

pub(crate) const ALL: &[Story] = stories![
    a_disk_is_mounted_and_given_back_with_proof,
    a_disk_in_use_goes_down_the_ladder,
    a_disk_that_cannot_be_used_says_why,
    a_damaged_file_system_is_repaired,
    a_disk_that_is_taken_away_is_reported,
    a_monitor_that_dies_leaves_the_disk_mounted,
    a_hard_stop_lets_nothing_write_and_leaves_a_dirty_node,
];

/// A guard in a mount namespace of its own, and a disk.
pub(crate) struct Bench {
    pub(crate) world: World,
    pub(crate) device: PathBuf,
}

impl Bench {
    /// `None` where it cannot be made, which is told.
    pub(crate) fn set() -> Option<Self> {
        if !geteuid().is_root() {
            println!("  not tried: only root mounts file systems");
            return None;
        }
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private"]);
        command.arg(std::env::current_exe().unwrap());
        let world = World::start_by(command);
        let image = world.path("disk.img");
        File::create(&image).unwrap().set_len(64 << 20).unwrap();
        let made = run("mkfs.ext4", &["-q", "-O", "^metadata_csum", image.to_str().unwrap()]);
        let device = made.and_then(|_| run("losetup", &["-f", "--show", image.to_str().unwrap()]));
        match device {
            Ok(device) => Some(Self { world, device: device.trim().into() }),
            Err(why) => {
                println!("  not tried: no loop device with a file system: {why}");
                None
            }
        }
    }

    fn spec(&self, more: &[(&str, &str)]) -> OnlineSpec {
        let (device, point) = (self.device.to_str().unwrap(), self.world.path("mnt"));
        let own = [
            ("disk", device),
            ("mount-point", point.to_str().unwrap()),
            ("reservation", "none"),
            ("hang-limit", "10s"),
        ];
        spec("physical-disk", &[&own, more].concat())
    }

    fn online(&mut self, more: &[(&str, &str)]) -> Outcome {
        let spec = self.spec(more);
        self.world.ask("disk", Action::Online(spec))
    }

    /// A place on the mounted disk, from outside the namespace.
    pub(crate) fn on_disk(&self, name: &str) -> PathBuf {
        let point = self.world.path("mnt");
        let within = point.strip_prefix("/").unwrap().join(name);
        Path::new("/proc").join(self.world.guard.id().to_string()).join("root").join(within)
    }

    /// A process of no resource, in the namespace, that runs a script.
    fn stranger(&self, script: &str) -> Stranger {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target", &self.world.guard.id().to_string()]);
        command.args(["sh", "-c", script]).env("ROOT", self.world.path(""));
        Stranger(command.stdin(Stdio::null()).spawn().unwrap())
    }

    /// Whether nobody on this host has the device mounted.
    pub(crate) fn is_free(&self) -> bool {
        let exclusive = OFlags::EXCL.bits().cast_signed();
        OpenOptions::new().read(true).custom_flags(exclusive).open(&self.device).is_ok()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        drop(run("losetup", &["-d", self.device.to_str().unwrap()]));
    }
}

struct Stranger(Child);

impl Stranger {
    fn end(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.end();
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|why| format!("{program}: {why}"))?;
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// The next outcome of a kind, whatever comes before.
fn next_of<T>(world: &mut World, wanted: impl Fn(&Outcome) -> Option<T>) -> T {
    loop {
        if let Some(found) = wanted(&world.report().outcome) {
            return found;
        }
    }
}

fn notice(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Notice(text) => Some(text.clone()),
        _ => None,
    }
}

fn bad_health(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Health(Health::Bad, why) => Some(why.clone()),
        _ => None,
    }
}

fn a_disk_is_mounted_and_given_back_with_proof() {
    let Some(mut bench) = Bench::set() else { return };
    for text in ["first", "second"] {
        assert_eq!(bench.online(&[]), Outcome::Online);
        assert!(!bench.is_free());
        fs::write(bench.on_disk(text), text).unwrap();
        assert_eq!(bench.world.ask("disk", Action::Offline), Outcome::Offline);
        assert!(bench.is_free(), "offline was told before the proof");
        assert!(bench.world.status().admitted.is_empty());
    }
    assert_eq!(bench.online(&[("mount-options", "ro,noatime")]), Outcome::Online);
    assert_eq!(fs::read_to_string(bench.on_disk("first")).unwrap(), "first");
    assert!(File::create(bench.on_disk("third")).is_err(), "it is read-only");
    assert_eq!(bench.world.ask("disk", Action::Terminate), Outcome::Offline);
    assert!(bench.is_free());
}

fn a_disk_in_use_goes_down_the_ladder() {
    let Some(mut bench) = Bench::set() else { return };
    assert_eq!(bench.online(&[]), Outcome::Online);
    let mut stranger = bench.stranger("cd $ROOT/mnt && touch in && trap '' TERM && sleep 600");
    eventually("the stranger uses the disk", || bench.on_disk("in").exists());
    let order = bench.world.order("disk", Action::Offline);
    let named = next_of(&mut bench.world, notice);
    assert!(named.contains("is in use by") && named.contains("sh ("), "{named}");
    assert_eq!(bench.world.answer(order), Outcome::Offline);
    assert!(bench.is_free());
    stranger.end();

    // One that may not be ended keeps the disk, and the resource is not offline.
    assert_eq!(bench.online(&[("force-unmount", "false")]), Outcome::Online);
    let mut stranger = bench.stranger("cd $ROOT/mnt && { touch again; exec sleep 600; }");
    eventually("the stranger uses the disk", || bench.on_disk("again").exists());
    let order = bench.world.order("disk", Action::Terminate);
    let stuck = bench.world.answer(order);
    assert_eq!(stuck, Outcome::StopFailed("it did not end when it was killed".into()));
    stranger.end();
    assert_eq!(bench.world.ask("disk", Action::Terminate), Outcome::Offline);
    assert!(bench.is_free());
}

fn a_disk_that_cannot_be_used_says_why() {
    let Some(mut bench) = Bench::set() else { return };
    let mut refused = |more: &[(&str, &str)], why: &str| match bench.online(more) {
        Outcome::Failed(text) => assert!(text.contains(why), "{text}"),
        other => panic!("{other:?}"),
    };
    refused(&[("disk", "/dev/stead/none")], "there is no device /dev/stead/none on this node");
    refused(&[("disk", "/dev/null")], "/dev/null is no block device");
    refused(&[("reservation", "required")], "set `reservation=none`");
    refused(&[("file-system", "xfs")], "holds ext4, not xfs");
    refused(&[("mount-options", "no-such-option")], "cannot be mounted at");
    fs::write(bench.world.path("mnt").join("file"), "").unwrap();
    let mut refused = |more: &[(&str, &str)], why: &str| match bench.online(more) {
        Outcome::Failed(text) => assert!(text.contains(why), "{text}"),
        other => panic!("{other:?}"),
    };
    refused(&[], "is not empty");
    fs::remove_file(bench.world.path("mnt").join("file")).unwrap();
    let taken = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::EXCL.bits().cast_signed())
        .open(&bench.device)
        .unwrap();
    let Outcome::Failed(text) = bench.online(&[]) else { panic!("it was started") };
    assert!(text.contains("is in use on this node"), "{text}");
    drop(taken);
    assert_eq!(bench.online(&[]), Outcome::Online);
}

fn a_damaged_file_system_is_repaired() {
    const STATE: u64 = 1024 + 0x3a;
    const ERRORS: u16 = 2;
    let Some(mut bench) = Bench::set() else { return };
    let device = OpenOptions::new().write(true).open(&bench.device).unwrap();
    device.write_all_at(&ERRORS.to_le_bytes(), STATE).unwrap();
    device.sync_all().unwrap();
    drop(device);
    let spec = bench.spec(&[]);
    let order = bench.world.order("disk", Action::Online(spec));
    let told = next_of(&mut bench.world, notice);
    assert!(told.ends_with("`e2fsck -p` has repaired it"), "{told}");
    assert_eq!(bench.world.answer(order), Outcome::Online);
    assert_eq!(bench.world.ask("disk", Action::Offline), Outcome::Offline);
    let mut state = [0; 2];
    File::open(&bench.device).unwrap().read_exact_at(&mut state, STATE).unwrap();
    assert_eq!(u16::from_le_bytes(state) & ERRORS, 0);
}

fn a_disk_that_is_taken_away_is_reported() {
    let Some(mut bench) = Bench::set() else { return };
    for (script, why) in [
        ("umount $ROOT/mnt", "is not mounted at"),
        ("mount -o remount,ro $ROOT/mnt", "takes no write any more"),
    ] {
        assert_eq!(bench.online(&[]), Outcome::Online);
        // What the guard holds would keep it busy: whoever unmounts does it lazily.
        let script = script.replace("umount ", "umount -l ");
        assert!(bench.stranger(&script).0.wait().unwrap().success());
        let told = next_of(&mut bench.world, bad_health);
        assert!(told.contains(why), "{told}");
        assert_eq!(bench.world.ask("disk", Action::Offline), Outcome::Offline);
        assert!(bench.is_free());
    }
}

fn a_monitor_that_dies_leaves_the_disk_mounted() {
    let Some(mut bench) = Bench::set() else { return };
    assert_eq!(bench.online(&[]), Outcome::Online);
    let mut file = File::create(bench.on_disk("file")).unwrap();
    send_signal(bench.world.monitor_pid(), Signal::KILL);
    bench.world.next_monitor();
    bench.world.hello(1);
    let mut spec = bench.spec(&[]);
    spec.looks_alive_ms = 20;
    assert_eq!(bench.world.ask("disk", Action::Adopt(spec)), Outcome::Online);
    // On a busy machine the first check may be late, which is unknown.
    let health = next_of(&mut bench.world, |outcome| match outcome {
        Outcome::Health(health, why) if *health != Health::Unknown => Some((*health, why.clone())),
        _ => None,
    });
    assert_eq!(health, (Health::Good, String::new()));
    file.write_all(b"all the time").unwrap();
    drop(file);
    assert_eq!(bench.world.ask("disk", Action::Offline), Outcome::Offline);
    assert!(bench.is_free());
}

fn a_hard_stop_lets_nothing_write_and_leaves_a_dirty_node() {
    let Some(mut bench) = Bench::set() else { return };
    assert_eq!(bench.online(&[]), Outcome::Online);
    let script = "cd $ROOT/mnt; while echo x 2>/dev/null >>file; do sleep 0.01; done; \
                  echo >$ROOT/refused; exec sleep 600";
    let mut stranger = bench.stranger(script);
    eventually("the stranger writes", || bench.on_disk("file").exists());
    bench.world.renew(Span::from_millis(50));
    bench.world.guard_report(|r| matches!(r, GuardReport::HardStopBegan { .. }));
    eventually("its writes are refused", || bench.world.path("refused").exists());
    eventually("it is detached", || !bench.on_disk("file").exists());
    let (code, text) = bench.world.guard_notice();
    assert_eq!(code, "node-dirty");
    assert!(
        text.contains("mnt: this node is dirty") && text.contains("asks for no lease"),
        "{text}"
    );
    assert!(bench.world.status().stopping && !bench.is_free());
    stranger.end();
    bench.world.guard_report(|r| matches!(r, GuardReport::HardStopDone { .. }));
    assert!(bench.is_free() && bench.world.status().admitted.is_empty());
}
