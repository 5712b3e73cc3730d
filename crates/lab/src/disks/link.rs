//! The supervisor's end: the disk server started, ordered about and ended.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use stead_model::NodeId;

use super::attach::{Loop, Unmounted};
use super::condition::Condition;
use super::order::{DiskAnswer, DiskDevice, DiskOrder, DiskStatus, PathStatus};
use super::{SUBCOMMAND, label, wire};
use crate::cabling::Station;
use crate::control::Power;
use crate::init::order::Line;
use crate::ready;
use crate::record::LabRecord;
use crate::step::{Step, StepError};

/// The disks of a running lab.
#[derive(Debug)]
pub(crate) struct Disks {
    child: Child,
    line: Option<Line>,
    record: LabRecord,
    /// The paths in use, by node.
    attached: BTreeMap<NodeId, Vec<(String, Loop)>>,
    /// What is wrong with a path stays over the lives of its node, as with cables.
    conditions: BTreeMap<(NodeId, String), Condition>,
}

impl Disks {
    /// Starts the server of a lab; it has opened or made the disks when this returns.
    pub(crate) fn start(record: &LabRecord) -> Result<Self, StepError> {
        let kind = SocketType::SEQPACKET;
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)
                .step("make", "a line to the disks")?;
        let child = Command::new(&record.program)
            .arg(SUBCOMMAND)
            .arg(&record.dirs.runtime)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .step("start", record.program.display())?;
        let disks = Self {
            child,
            line: Some(Line::new(ours)),
            record: record.clone(),
            attached: BTreeMap::new(),
            conditions: BTreeMap::new(),
        };
        disks.status()?;
        Ok(disks)
    }

    /// Fresh paths for a node that begins a life.
    pub(crate) fn attach(&mut self, node: NodeId) -> Result<Vec<DiskDevice>, StepError> {
        self.attached.insert(node, Vec::new());
        let disks: Vec<String> = self.record.served_disks().map(str::to_owned).collect();
        for disk in disks {
            if let Err(error) = self.attach_one(node, &disk) {
                // The first error tells more than what may go wrong with the rest.
                let _ = self.end(node);
                return Err(error);
            }
        }
        let devices = self.attached.get(&node).into_iter().flatten();
        let device =
            |(disk, found): &(String, Loop)| DiskDevice { disk: disk.clone(), number: found.0 };
        Ok(devices.map(device).collect())
    }

    fn attach_one(&mut self, node: NodeId, disk: &str) -> Result<(), StepError> {
        let (file, device) = Unmounted::make()?;
        let order = DiskOrder::Serve { node, disk: disk.to_owned() };
        self.ask_with(|line| wire::send(line, &order, device.as_fd()))?;
        // The server alone holds it now: where that ends, the kernel sees it.
        drop(device);
        let label = label(&self.record.dirs, &format!("{}-{disk}", Station::Node(node)));
        let found = file.attach(&label)?;
        self.attached.entry(node).or_default().push((disk.to_owned(), found));
        // The kernel syncs the file while it sets the device up: only now there may be faults.
        self.tell(node, disk, self.condition(node, disk))
    }

    fn condition(&self, node: NodeId, disk: &str) -> Condition {
        self.conditions.get(&(node, disk.to_owned())).copied().unwrap_or_default()
    }

    fn tell(&self, node: NodeId, disk: &str, condition: Condition) -> Result<(), StepError> {
        self.order(&DiskOrder::Set { node, disk: disk.to_owned(), condition })
    }

    /// Holds all requests of a node that hangs, or lets go of them when it goes on.
    pub(crate) fn stall(&self, node: NodeId, stalled: bool) -> Result<(), StepError> {
        self.order(&DiskOrder::Stall { node, stalled })
    }

    /// Ends the paths of a node: what it wrote since reaches no disk.
    pub(crate) fn end(&mut self, node: NodeId) -> Result<(), StepError> {
        let Some(own) = self.attached.remove(&node) else { return Ok(()) };
        let ended = self.order(&DiskOrder::End(node));
        for (_, device) in own {
            device.detach()?;
        }
        ended
    }

    /// Ends the paths of a node that has none to end them.
    pub(crate) fn follow(&mut self, node: NodeId, power: Power) -> Result<(), StepError> {
        if power == Power::Off { self.end(node) } else { Ok(()) }
    }

    /// Ends the paths of all nodes.
    pub(crate) fn end_all(&mut self) -> Result<(), StepError> {
        for node in self.attached.keys().copied().collect::<Vec<_>>() {
            self.end(node)?;
        }
        Ok(())
    }

    pub(crate) fn set(
        &mut self,
        node: NodeId,
        disk: &str,
        condition: Condition,
    ) -> Result<(), StepError> {
        self.tell(node, disk, condition)?;
        self.conditions.insert((node, disk.to_owned()), condition);
        Ok(())
    }

    pub(crate) fn status(&self) -> Result<Vec<DiskStatus>, StepError> {
        match self.ask(&DiskOrder::Status)? {
            DiskAnswer::Status(status) => {
                Ok(status.into_iter().map(|disk| self.completed(disk)).collect())
            }
            other => Err(unexpected(&other)),
        }
    }

    /// The server knows the paths in use; this end knows all nodes and their devices.
    fn completed(&self, status: DiskStatus) -> DiskStatus {
        let path = |node: NodeId| {
            let live = status.paths.iter().find(|path| path.node == node);
            let mut own = self.attached.get(&node).into_iter().flatten();
            let device = own.find(|(disk, _)| *disk == status.disk);
            PathStatus {
                node,
                condition: self.condition(node, &status.disk),
                loop_device: device.map(|(_, found)| found.0),
                kept_requests: live.map_or(0, |path| path.kept_requests),
            }
        };
        let paths = self.record.node_ids().map(path).collect();
        DiskStatus { paths, ..status }
    }

    fn order(&self, order: &DiskOrder) -> Result<(), StepError> {
        match self.ask(order)? {
            DiskAnswer::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    fn ask(&self, order: &DiskOrder) -> Result<DiskAnswer, StepError> {
        self.ask_with(|line| line.send(order))
    }

    fn ask_with(&self, send: impl Fn(&Line) -> io::Result<()>) -> Result<DiskAnswer, StepError> {
        let asked = || -> io::Result<DiskAnswer> {
            let line = self.line.as_ref().ok_or(io::ErrorKind::NotConnected)?;
            send(line)?;
            if !ready::one(line, ANSWER_LIMIT)? {
                return Err(io::ErrorKind::TimedOut.into());
            }
            line.receive()?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
        };
        match asked().step("ask", "the disk server")? {
            DiskAnswer::Refused(why) => Err(StepError::new("do that to", "the disks", why)),
            answer => Ok(answer),
        }
    }
}

impl Drop for Disks {
    /// The server ends with its line; it is waited for, so that nothing of it is left.
    fn drop(&mut self) {
        let _ = self.end_all();
        self.line = None;
        let _ = self.child.wait();
    }
}

fn unexpected(answer: &DiskAnswer) -> StepError {
    StepError::new("understand", "the disk server", format!("it said {answer:?}"))
}

/// The server waits for the kernel only.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
