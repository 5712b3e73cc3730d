//! Ending a mount: the gentle rungs of the ladder, up to the proof that nothing is left of it.
//!
//! 0. write everything out, while the guard can still shut the file system down: an unmount that
//!    waits for the device can be stopped by nobody
//! 1. unmount; what is busy only for a moment is waited for
//! 2. end the processes of this group that use it, and unmount
//! 3. name every other process that uses it; end them, too, where `force-unmount` is set
//! 4. the guard shuts the file system down and detaches it
//! 5. an exclusive open of the device proves that no mount is left in any namespace; where that
//!    fails the node is dirty
//!
//! A disk that is known not to work goes to rung 4 at once: nothing gentle would come to an end.
//!
//! Rungs 4 and 5 are the guard's when the resource is terminated as well.

use std::fs::File;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

use super::Mounted;
use super::holders::{self, Holder};
use crate::resource_type::{Call, Context, Fault, Life};

/// A process that ends lets go of its files a moment later.
const BUSY_LIMIT: Duration = Duration::from_millis(250);
/// The guard shuts down and detaches at once; what takes longer waits for the device.
const DETACH_LIMIT: Duration = Duration::from_secs(3);

/// Whether processes outside the group may be ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Force {
    Yes,
    No,
}

/// Ends the mount; afterwards nothing of it is left in any namespace.
///
/// # Errors
/// Something may be left.
pub(super) fn end(
    context: &Context,
    call: &Call,
    mounted: &Mounted,
    force: Force,
) -> Result<(), Fault> {
    if mounted.trouble.known().is_some() {
        return detach(context, call, mounted);
    }
    if let Ok(root) = File::open(&mounted.point) {
        // What cannot be written now fails in the unmount as well.
        let _ = rustix::fs::syncfs(root);
    }
    context.guard.unmounting(mounted.instance);
    let number = mounted.device.number;
    let others = || holders::of_device(number, &call.claim.group);
    if unmounts(mounted) || end_those(mounted, others(), |holder| holder.of_group) {
        return prove(context, mounted);
    }
    let left = others();
    if !left.is_empty() {
        let (listed, point) = (holders::listed(&left), mounted.point.display());
        context.push.notice(format!("the file system at {point} is in use by {listed}"));
    }
    if force == Force::Yes && end_those(mounted, left, |_| true) {
        return prove(context, mounted);
    }
    detach(context, call, mounted)
}

fn end_those(mounted: &Mounted, all: Vec<Holder>, which: impl Fn(&Holder) -> bool) -> bool {
    let chosen: Vec<Holder> = all.into_iter().filter(which).collect();
    if chosen.is_empty() {
        return false;
    }
    holders::end(&chosen, mounted.device.number);
    unmounts(mounted)
}

/// Whether it can be unmounted, or is not mounted any more.
fn unmounts(mounted: &Mounted) -> bool {
    let end = Instant::now() + BUSY_LIMIT;
    loop {
        match unmount(&mounted.point, UnmountFlags::NOFOLLOW) {
            Ok(()) | Err(Errno::INVAL | Errno::NOENT) => return true,
            Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(2)),
            Err(_) => return false,
        }
    }
}

/// The guard does it, and proves it.
fn detach(context: &Context, call: &Call, mounted: &Mounted) -> Result<(), Fault> {
    let point = mounted.point.display();
    let text = format!("the file system at {point} is shut down and detached");
    context.push.notice(text);
    context.guard.kill(mounted.instance);
    let ended = |life: &Life| matches!(life, Life::Ended(_));
    if ended(&context.guard.wait_for(mounted.instance, DETACH_LIMIT, &call.cancel, ended)) {
        return Ok(());
    }
    Err(not_gone(context, mounted.device.used_by()))
}

fn prove(context: &Context, mounted: &Mounted) -> Result<(), Fault> {
    mounted.device.open_alone().map(drop).map_err(|why| not_gone(context, why))
}

/// What the administrator must know before the resource is terminated.
fn not_gone(context: &Context, why: String) -> Fault {
    context.push.notice(why.clone());
    Fault::Failed(why)
}
