//! A disk that hosts share: one loop device with an empty file system, and who is registered on
//! it.
//!
//! Its reservations are asked for as those of a lab disk are. It refuses no write: it is for what
//! becomes of mounts and registrations, and the kernel lets one host mount it at a time.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use stead_lab::disks::{self, DEVICE_DIR, Reservations, SOCKET_DIR};
use stead_model::NodeId;

use crate::Machine;

/// The disk.
#[derive(Debug)]
pub struct SharedDisk {
    name: String,
    /// The loop device, as this host calls it.
    device: String,
    reservations: Arc<Mutex<Reservations>>,
    /// Where its file is.
    _folder: tempfile::TempDir,
}

impl SharedDisk {
    /// Why this host cannot have one, if it cannot.
    #[must_use]
    pub fn lacks() -> Option<String> {
        if !Path::new("/dev/loop-control").exists() {
            return Some("there are no loop devices".into());
        }
        let asked = Command::new("losetup").arg("--version").output();
        asked.err().map(|error| format!("no program `losetup`: {error}"))
    }

    /// A blank one.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        disks::make(&file, name).unwrap();
        let device = losetup(&["--find", "--show", file.to_str().unwrap()]);
        Self { name: name.to_owned(), device, reservations: Arc::default(), _folder: folder }
    }

    /// Plugs it into a host that was switched on: `/dev/stead/NAME`, and the socket for its
    /// reservations. The host is told apart by its number.
    pub fn connect(&self, machine: &Machine, host: u16) {
        let number = self.device.trim_start_matches("/dev/loop");
        machine.must(&["mkdir", "-p", DEVICE_DIR, SOCKET_DIR]);
        machine.must(&["mknod", &format!("{DEVICE_DIR}/{}", self.name), "b", "7", number]);
        let (init, name) = (machine.init(), &self.name);
        let socket = format!("/proc/{init}/root{SOCKET_DIR}/{name}.sock");
        let listener = UnixListener::bind(socket).unwrap();
        let reservations = Arc::clone(&self.reservations);
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                disks::answer(stream, |request| {
                    Some(live(&reservations).ask(NodeId(host), request))
                });
            }
        });
    }

    /// The hosts that are registered on it, by their numbers, and the one that holds it.
    #[must_use]
    pub fn registered(&self) -> (Vec<NodeId>, Option<NodeId>) {
        live(&self.reservations).nodes()
    }
}

impl Drop for SharedDisk {
    /// One that is in use ends with its last user.
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.device]).output();
    }
}

fn live(reservations: &Mutex<Reservations>) -> MutexGuard<'_, Reservations> {
    // Nothing panics half way through a change.
    reservations.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `losetup …` on this host; gives what it printed.
fn losetup(words: &[&str]) -> String {
    let output = Command::new("losetup").args(words).output().unwrap();
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "losetup {words:?}: {why}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
