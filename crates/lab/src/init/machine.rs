//! PID 1 of a machine.
//!
//! It is born in fresh namespaces, waits for the order to boot, makes mounts and addresses, starts
//! the node's one unit and reaps. When the supervisor is gone it ends, and the kernel ends the rest
//! of the PID namespace with it.

use std::os::fd::AsFd;
use std::time::Duration;

use super::order::{Line, MachineSpec, Order, Report};
use super::signals::{Signal, Signals, signal_all};
use super::unit::{Ended, Unit};
use super::{network, root};
use crate::ready;
use crate::step::{Step, StepError, chain};

/// Runs the machine to its end.
pub(crate) fn run(line: &Line) -> Result<(), StepError> {
    let signals = Signals::open().step("receive", "signals")?;
    let Some(spec) = wait_for_boot(line)? else { return Ok(()) };
    let mut unit = match boot(&spec) {
        Ok(unit) => unit,
        Err(error) => {
            report(line, &Report::NotBooted(chain(&error)));
            return Err(error);
        }
    };
    report(line, &Report::Booted);
    while !unit.over() {
        let ready = ready::any(&[signals.as_fd(), line.as_fd()], unit.idle_for());
        let ready = ready.step("wait for", "signals and orders")?;
        if ready[0] {
            read_signals(&signals, &mut unit, line)?;
        }
        if ready[1] && !obey(line) {
            return Ok(());
        }
        if let Some(ended) = unit.wake() {
            tell(line, ended);
        }
    }
    Ok(())
}

fn wait_for_boot(line: &Line) -> Result<Option<Box<MachineSpec>>, StepError> {
    if !ready::one(line, BOOT_LIMIT).step("wait for", "the order to boot")? {
        return Ok(None);
    }
    match line.receive::<Order>().step("read", "the order to boot")? {
        Some(Order::Boot(spec)) => Ok(Some(spec)),
        Some(Order::Freeze | Order::Thaw) | None => Ok(None),
    }
}

fn boot(spec: &MachineSpec) -> Result<Unit, StepError> {
    if let Some(cgroup) = &spec.cgroup {
        root::join_cgroup(cgroup)?;
    }
    rustix::system::sethostname(spec.hostname.as_bytes()).step("set the name", &spec.hostname)?;
    root::enter(spec)?;
    network::configure(&spec.interfaces)?;
    Unit::start(spec).step("start", spec.command.join(" "))
}

fn read_signals(signals: &Signals, unit: &mut Unit, line: &Line) -> Result<(), StepError> {
    while let Some(signal) = signals.next().step("read", "signals")? {
        match signal {
            Signal::Stop => unit.stop(),
            // Several ends may be one signal, and one end several: `reap` takes what is there.
            Signal::Child => {}
        }
        if let Some(ended) = unit.reap() {
            tell(line, ended);
        }
    }
    Ok(())
}

/// Does what the supervisor orders; `false` when it is gone.
fn obey(line: &Line) -> bool {
    match line.receive() {
        Ok(Some(Order::Freeze)) => {
            signal_all(libc::SIGSTOP);
            report(line, &Report::Frozen);
            true
        }
        Ok(Some(Order::Thaw)) => {
            signal_all(libc::SIGCONT);
            report(line, &Report::Thawed);
            true
        }
        Ok(Some(Order::Boot(_)) | None) => true,
        Err(_) => false,
    }
}

fn tell(line: &Line, ended: Ended) {
    let report_of = match ended {
        Ended::Restarting(why) => Report::Restarting(why),
        Ended::GaveUp(why) => Report::GaveUp(why),
    };
    report(line, &report_of);
}

/// A supervisor that does not read is about to end, or ended; the next wait tells.
fn report(line: &Line, report: &Report) {
    let _ = line.send(report);
}

/// The supervisor makes the cables in between: milliseconds.
const BOOT_LIMIT: Duration = Duration::from_secs(30);
