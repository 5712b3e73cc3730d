//! The init of an agent's place: runs one program after the other, and keeps what they leave.
//!
//! The programs of an agent (an OCF agent, the entry points of a script) act on the node itself,
//! so they get no namespaces: a daemon that `start` left must be found by `stop` under its number,
//! and what it mounts is for others, too. All of it stays below this process, which is the child
//! subreaper of its descendants and lives in the resource's control group with them.
//!
//! It outlives the guard for as long as it takes to kill all of them: the parent-death signal,
//! which ends every other init, would leave daemons behind that forked away.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, PipeReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    WaitOptions, getpid, set_child_subreaper, set_parent_process_death_signal, wait,
};
use stead_model::wire::codec;
use stead_model::wire::guard::{Act, Acted, ExitStatus};

use super::output::Output;
use super::view::Mounts;
use super::{InitOrder, InitReport, exit_status, launch, show_server, tell};
use crate::sys;

/// The end of an act's output that is told with its end.
const TAIL_BYTES: usize = 1024;

/// Serves until the guard is gone, then ends everything.
pub(super) fn serve(
    (guard, received): (UnixStream, Vec<u8>),
    signals: OwnedFd,
    output: Output,
) -> io::Result<()> {
    set_child_subreaper(Some(getpid()))?;
    // From here on the end of the connection tells of the guard's end.
    set_parent_process_death_signal(None)?;
    guard.set_nonblocking(true)?;
    let mut place = Place {
        guard,
        signals,
        output,
        received,
        acts: BTreeMap::new(),
        pipes: Vec::new(),
        residents: BTreeSet::new(),
        stirred: false,
        shown: false,
    };
    place.tell(&InitReport::Started);
    sys::give_back_code();
    if place.take_orders() {
        while place.turn() {}
    }
    place.end_all();
    Ok(())
}

struct Place {
    guard: UnixStream,
    signals: OwnedFd,
    output: Output,
    received: Vec<u8>,
    /// Programs that run, by process number.
    acts: BTreeMap<i32, Running>,
    /// Output of programs that ended, still held open by what they left.
    pipes: Vec<PipeReader>,
    /// What acts left running that shall not end unnoticed.
    residents: BTreeSet<i32>,
    /// Whether one of them ended since the guard was told last.
    stirred: bool,
    /// Whether programs see their virtual server, if they have one.
    shown: bool,
}

struct Running {
    number: u64,
    settles: bool,
    pipe: Option<PipeReader>,
    tail: Vec<u8>,
}

impl Place {
    /// Waits and does what there is to do; tells whether the guard is still there.
    fn turn(&mut self) -> bool {
        self.wait();
        self.read_output();
        while let Some(signal) = sys::next_signal(&self.signals) {
            if signal == libc::SIGCHLD {
                self.reap();
            }
        }
        let there = self.hear();
        if self.stirred && self.acts.is_empty() {
            self.stirred = false;
            self.tell(&InitReport::Stirred);
        }
        there
    }

    fn wait(&self) {
        let mut fds = vec![
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::new(&self.guard, PollFlags::IN),
        ];
        let acting = self.acts.values().filter_map(|act| act.pipe.as_ref());
        fds.extend(acting.chain(&self.pipes).map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        // An interrupted or failed wait only means to look earlier.
        let _ = poll(&mut fds, None);
    }

    /// Takes all whole orders; tells whether the guard is still there.
    fn hear(&mut self) -> bool {
        let mut chunk = [0; 4096];
        loop {
            match self.guard.read(&mut chunk) {
                Ok(0) => return false,
                Ok(got) => self.received.extend_from_slice(&chunk[..got]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        self.take_orders()
    }

    fn take_orders(&mut self) -> bool {
        loop {
            match codec::decode(&self.received) {
                Ok(Some((order, used))) => {
                    self.received.drain(..used);
                    self.ordered(order);
                }
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    fn ordered(&mut self, order: InitOrder) {
        match order {
            InitOrder::Act(Act { number, program, settles }) => {
                if !std::mem::replace(&mut self.shown, true) {
                    // All acts of a place are of one resource, and see the same.
                    show_server(&program.env, Mounts::Shared, (&mut self.guard, &mut self.output));
                }
                match launch(program, sys::settle_act) {
                    Ok((pid, pipe)) => {
                        let act = Running { number, settles, pipe: Some(pipe), tail: Vec::new() };
                        self.acts.insert(pid, act);
                    }
                    Err(why) => {
                        let status = ExitStatus::NotExecuted(why);
                        self.tell(&acted(number, status, &[]));
                    }
                }
            }
            InitOrder::End(number) => {
                if let Some((pid, _)) = self.acts.iter().find(|(_, act)| act.number == number) {
                    // It leads its group, and was not waited for yet.
                    drop(sys::kill(-pid, libc::SIGKILL));
                }
            }
        }
    }

    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            let pid = pid.as_raw_nonzero().get();
            match self.acts.remove(&pid) {
                Some(act) => self.ended(act, exit_status(status)),
                None => self.stirred |= self.residents.remove(&pid),
            }
        }
    }

    fn ended(&mut self, mut act: Running, status: ExitStatus) {
        let Running { number, settles, pipe, tail } = &mut act;
        let open = pipe
            .take()
            .and_then(|mut pipe| read(&mut self.output, &mut pipe, tail).then_some(pipe));
        self.pipes.extend(open);
        if *settles {
            self.residents = children().collect();
        }
        self.tell(&acted(*number, status, tail));
    }

    fn read_output(&mut self) {
        let output = &mut self.output;
        for act in self.acts.values_mut() {
            let tail = &mut act.tail;
            act.pipe =
                act.pipe.take().and_then(|mut pipe| read(output, &mut pipe, tail).then_some(pipe));
        }
        self.pipes.retain_mut(|pipe| output.take(pipe, |_| {}).is_ok());
    }

    /// What the guard does not take any more it need not know.
    fn tell(&mut self, report: &InitReport) {
        tell(&mut self.guard, report);
    }

    /// Kills everything below this process until nothing is left. Whoever loses its parent
    /// meanwhile becomes a child of this process.
    fn end_all(&mut self) {
        loop {
            children().for_each(|pid| drop(sys::kill(pid, libc::SIGKILL)));
            match wait(WaitOptions::empty()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}

/// Reads what a program printed; tells whether more may come.
fn read(output: &mut Output, pipe: &mut PipeReader, tail: &mut Vec<u8>) -> bool {
    let keep = |bytes: &[u8]| {
        tail.extend_from_slice(bytes);
        let beyond = tail.len().saturating_sub(TAIL_BYTES);
        tail.drain(..beyond);
    };
    output.take(pipe, keep).is_ok()
}

fn acted(number: u64, status: ExitStatus, tail: &[u8]) -> InitReport {
    let said = String::from_utf8_lossy(tail).into_owned();
    InitReport::Acted(Acted { number, status, said })
}

/// The children of this process. Without the kernel's file (`CONFIG_PROC_CHILDREN`) none is found.
fn children() -> impl Iterator<Item = i32> {
    let own = getpid().as_raw_nonzero();
    let list = std::fs::read_to_string(format!("/proc/self/task/{own}/children"));
    let list = list.unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>().into_iter()
}
