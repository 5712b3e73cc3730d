//! The disk server of a lab (`lab-disks DIR`), a child of the supervisor: it holds the media and
//! answers the kernel for the paths of all nodes.
//!
//! A process of its own, because the supervisor waits for the kernel, which waits for these
//! answers. It touches no device itself. It ends when the supervisor's end of the line is gone;
//! paths that are in use then fail.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use stead_model::NodeId;

use super::QUORUM;
use super::media::Disk;
use super::order::{DiskAnswer, DiskOrder, DiskStatus, PathStatus};
use super::path::NodePath;
use super::paths::Paths;
use super::registrar::Registrar;
use super::wire;
use crate::cabling::Station;
use crate::home::LabDirs;
use crate::init::order::Line;
use crate::ready;
use crate::record::LabRecord;
use crate::step::{Step, StepError, chain};

/// Everything of it.
#[derive(Debug)]
pub(super) struct Server {
    record: LabRecord,
    disks: Vec<Arc<Disk>>,
    paths: Arc<Paths>,
}

impl Server {
    /// Opens or makes the disks.
    pub(super) fn begin(runtime: &Path) -> Result<Self, StepError> {
        let dirs = LabDirs { runtime: runtime.to_owned(), state: runtime.to_owned() };
        let record = LabRecord::read(&dirs)?;
        let dir = record.dirs.state.join(super::MEDIA_DIR);
        fs::create_dir_all(&dir).step("make the directory", dir.display())?;
        let open = |name: &str| {
            let file = match name {
                QUORUM => record.dirs.quorum_disk(),
                _ => dir.join(name),
            };
            Disk::open(&file, name).map(Arc::new)
        };
        let disks = record.served_disks().map(open).collect::<Result<_, _>>()?;
        Ok(Self { record, disks, paths: Arc::default() })
    }

    /// Obeys until the supervisor is gone.
    pub(super) fn serve(&self, line: &Line) -> Result<(), StepError> {
        loop {
            ready::one(line.as_fd(), IDLE_LIMIT).step("wait for", "orders")?;
            let (order, device) = match wire::receive(line) {
                Ok(Some(order)) => order,
                Ok(None) => continue,
                Err(_) => return Ok(()),
            };
            let answer = self.obey(order, device);
            let answer = answer.unwrap_or_else(|error| DiskAnswer::Refused(chain(&error)));
            line.send(&answer).step("answer", "the supervisor")?;
        }
    }

    fn obey(&self, order: DiskOrder, device: Option<OwnedFd>) -> Result<DiskAnswer, StepError> {
        match order {
            DiskOrder::Serve { node, disk } => {
                let none = || StepError::new("serve", &disk, "no descriptor came along");
                self.begin_path(node, self.disk(&disk)?, device.ok_or_else(none)?)?;
            }
            DiskOrder::End(node) => self.paths.end(node),
            DiskOrder::Set { node, disk, condition } => {
                let disk = self.disk(&disk)?;
                let own = self.paths.of(node);
                own.iter().filter(|path| path.disk.name == disk.name).for_each(|path| {
                    path.set(condition);
                });
            }
            DiskOrder::Stall { node, stalled } => {
                self.paths.of(node).iter().for_each(|path| path.stall(stalled));
            }
            DiskOrder::Status => return Ok(DiskAnswer::Status(self.status())),
        }
        Ok(DiskAnswer::Done)
    }

    fn disk(&self, name: &str) -> Result<&Arc<Disk>, StepError> {
        let found = self.disks.iter().find(|disk| disk.name == name);
        found.ok_or_else(|| StepError::new("find the disk", name, "the lab has no such disk"))
    }

    fn begin_path(&self, node: NodeId, disk: &Arc<Disk>, device: OwnedFd) -> Result<(), StepError> {
        let path = NodePath::new(node, Arc::clone(disk), device);
        let path = Arc::new(path.step("serve", &disk.name)?);
        let socket = self.socket(node, disk);
        let registrar = Registrar::new(Arc::clone(&path), Arc::clone(&self.paths), socket)?;
        self.paths.add(Arc::clone(&path));
        thread::spawn(move || registrar.serve());
        thread::spawn(move || {
            if let Err(error) = path.serve() {
                super::log(&format!("{}: a path ended: {error}", path.node));
            }
        });
        Ok(())
    }

    fn socket(&self, node: NodeId, disk: &Disk) -> PathBuf {
        let station = self.record.dirs.station(&Station::Node(node).name());
        station.join("disks").join(format!("{}.sock", disk.name))
    }

    fn status(&self) -> Vec<DiskStatus> {
        let status = |disk: &Arc<Disk>| {
            // Paths are locked before reservations; nobody holds these while asking those.
            let reservations = disk.reservations().keys();
            let paths = self.paths.to(&disk.name);
            let paths = paths.iter().filter_map(|path| path_status(path)).collect();
            let (name, size_bytes) = (disk.name.clone(), disk.size_bytes);
            DiskStatus { disk: name, size_bytes, reservations, paths }
        };
        self.disks.iter().map(status).collect()
    }
}

/// Which device it is, only the supervisor knows.
fn path_status(path: &NodePath) -> Option<PathStatus> {
    let condition = path.condition()?;
    let (node, kept_requests) = (path.node, path.kept());
    Some(PathStatus { node, condition, loop_device: None, kept_requests })
}

/// Nothing depends on it; a wait without limit is only harder to look at.
const IDLE_LIMIT: Duration = Duration::from_secs(3600);
