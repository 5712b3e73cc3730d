//! Lab disks: shared disks that every node reaches over a path of its own.
//!
//! ```text
//!   node1: /dev/stead/data ── loop device ── FUSE file ─┐ path of node1    disk server
//!                                                       ├──────────────► media (one sparse file)
//!   node2: /dev/stead/data ── loop device ── FUSE file ─┘ path of node2    reservations
//! ```
//!
//! Page cache and superblock belong to a node's own block device: what its kernel has not written
//! is lost with it. Each path can fail, be slow or hang by itself; a power cut ends the paths of a
//! node *before* its processes, so that nothing its kernel still flushes reaches the media.
//! Reservations have the meaning of SCSI-3 and are asked for over a socket beside the path.
//!
//! Reading order: `reservation`, `condition` (pure), `history`, `media`, `image`, `fuse`, `path`,
//! `paths`, `registrar`, `server`, `wire`, then the supervisor's end: `link`, `attach`.
//!
//! Not here: the product's way of using disks. Only root has lab disks.

mod attach;
mod condition;
mod fuse;
mod history;
mod image;
mod link;
mod media;
mod order;
mod path;
mod paths;
mod registrar;
mod reservation;
mod server;
mod wire;

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

use rustix::process::Signal;

use crate::clock;
use crate::home::LabDirs;
use crate::init::order::Line;
use crate::step::{Step, StepError, chain};
use crate::supervisor::fingerprint;

pub(crate) use attach::Loop;
pub use condition::Condition;
pub use history::{Deed, Happened};
pub(crate) use link::Disks;
pub(crate) use order::DiskDevice;
pub use order::{DiskStatus, PathStatus};
pub use registrar::answer;
pub use reservation::{Outcome, Reservations};

/// The subcommand of the program that leads to [`main`].
pub const SUBCOMMAND: &str = "lab-disks";

/// Where a node finds its disks, each under its name.
pub const DEVICE_DIR: &str = "/dev/stead";

/// The name of the quorum disk among the lab's disks.
pub const QUORUM: &str = "quorum";

/// Where a node finds the socket of each disk for reservations: `NAME.sock`.
pub const SOCKET_DIR: &str = "/run/stead-disks";

/// Entry point of the hidden subcommand `lab-disks`; the argument is the lab's runtime directory,
/// standard input the line to the supervisor.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Some(dir) = arguments.into_iter().next() else {
        return ExitCode::from(2);
    };
    match run(Path::new(&dir)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(&chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(runtime: &Path) -> Result<(), StepError> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .step("follow", "the supervisor")?;
    let line = io::stdin().as_fd().try_clone_to_owned();
    let line = Line::new(line.step("take", "the line to the supervisor")?);
    server::Server::begin(runtime)?.serve(&line)
}

/// A line into the supervisor's log.
fn log(line: &str) {
    let _ = writeln!(io::stderr(), "{}: disks: {line}", clock::boot_ns());
}

/// What happened to a data disk of a lab, as the disk saw it.
///
/// # Errors
/// The lab has no such disk, or its history cannot be read.
pub fn history(record: &crate::record::LabRecord, disk: &str) -> Result<Vec<Happened>, StepError> {
    history::read(&media(record, disk))
}

/// The file of this host that is the medium of a data disk of a lab.
#[must_use]
pub fn media(record: &crate::record::LabRecord, disk: &str) -> std::path::PathBuf {
    record.dirs.state.join(MEDIA_DIR).join(disk)
}

/// Makes a file that is a disk with an empty ext4 file system of that name, for hosts that are in
/// no lab.
///
/// # Errors
/// It is there already, or cannot be written.
pub fn make(file: &Path, name: &str) -> Result<(), StepError> {
    image::write_new(file, name)
}

/// Where the media of data disks lie in a lab's directory.
const MEDIA_DIR: &str = "disks";

/// Whether a text may name a data disk: as a lab's name, 1 to 15 long.
#[must_use]
pub fn is_valid_name(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX && name != QUORUM && crate::home::is_valid_name(name)
}

/// Whether this user of this machine can have lab disks.
pub(crate) fn possible() -> bool {
    let writable = |path: &str| std::fs::OpenOptions::new().write(true).open(path).is_ok();
    rustix::process::geteuid().is_root() && DEVICES.into_iter().all(writable)
}

/// What lab disks are made with.
const DEVICES: [&str; 2] = ["/dev/fuse", "/dev/loop-control"];

/// Marks a loop device as ours, so that one a killed lab left is known.
fn label(dirs: &LabDirs, path: &str) -> String {
    format!("{}{path}", label_of_lab(dirs))
}

fn label_of_lab(dirs: &LabDirs) -> String {
    format!("stead-lab:{:08x}:", fingerprint(&dirs.runtime))
}

/// Ends what a supervisor that was killed left.
pub(crate) fn remove_left_by(dirs: &LabDirs) -> Result<(), StepError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    attach::clear_labelled(&label_of_lab(dirs))
}

/// It becomes the label of a file system.
const NAME_BYTES_MAX: usize = 15;
