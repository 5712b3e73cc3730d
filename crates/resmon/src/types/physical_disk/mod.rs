//! `physical-disk`: a shared disk, a whole LUN, with a file system for the group that owns it.
//!
//! | online | offline |
//! |---|---|
//! | the guard admits the mount, with its undo | unmount, by a ladder (`unmount`) |
//! | the reservation is taken: the device refuses everyone else | proof that no mount is left |
//! | nobody on this node uses the device; repair, if it says so | the reservation is given back |
//! | mount; the guard gets a descriptor of it | the guard is told |
//!
//! *Invariants.* I-OWN at level A: nothing is read or mounted before the device refuses the former
//! owner's writes. I-STOP-START: offline is told only after the proof. A disk whose resource is
//! terminated stays reserved for this node until the next owner takes it over.
//!
//! Not here: shutting a file system down and detaching it, which is the guard's.

mod device;
mod file_system;
mod holders;
mod mount_table;
mod unmount;
mod watch;

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use stead_model::order::Fitness;
use stead_model::reservation::Owner;
use stead_model::resource::Health;
use stead_model::resource_type::{DISK, RESERVATION};
use stead_model::wire::guard::{Claim, InstanceId, MountUndo, Thing};

use crate::host::node;
use crate::monitor::STACK_BYTES;
use crate::reservation::lab::LabDisk;
use crate::reservation::{self, ReservationError, Reservations};
use crate::resource_type::{Apart, Call, Checked, Context, Fault, Properties, ResourceType};
use device::Device;
use file_system::Kind;
use unmount::Force;
use watch::{Trouble, Watch, Watched};

/// A disk.
#[derive(Debug)]
pub(super) struct PhysicalDisk {
    settings: Settings,
    context: Context,
    acting: Mutex<Acting>,
}

/// Its properties.
#[derive(Debug)]
struct Settings {
    disk: PathBuf,
    partition: Option<u32>,
    point: PathBuf,
    kind: Option<Kind>,
    options: String,
    reserve: Reserve,
    damaged: Damaged,
    force: Force,
    hang_limit: Duration,
}

/// Whether the disk is reserved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reserve {
    Required,
    No,
}

/// What becomes of a damaged file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Damaged {
    Repaired,
    MountedAsItIs,
}

/// What it does on the node. Mounting and closing exclude each other by this lock: after a close
/// nothing is mounted any more.
#[derive(Debug)]
enum Acting {
    No,
    Yes(Arc<Mounted>),
    Closed,
}

/// A mount.
#[derive(Debug)]
struct Mounted {
    instance: InstanceId,
    device: Device,
    /// Without links.
    point: PathBuf,
    reserved: Option<Reserved>,
    trouble: Trouble,
    _watch: Watch,
}

/// A path to the disk and the owner that is registered on it.
#[derive(Clone, Debug)]
struct Reserved {
    path: Arc<dyn Reservations>,
    owner: Owner,
}

impl PhysicalDisk {
    pub(super) fn open(properties: &Properties, context: Context) -> Result<Self, Fault> {
        let file_system = properties.text("file-system");
        let kind = |name: &str| {
            Kind::named(name).ok_or_else(|| {
                Fault::Failed(format!("file system `{name}` is not supported: ext4 and xfs are"))
            })
        };
        let partition = |text: &str| text.parse::<u32>().ok();
        let settings = Settings {
            disk: properties.needed(DISK)?.into(),
            partition: properties.text("partition").and_then(partition),
            point: properties.needed("mount-point")?.into(),
            kind: file_system.map(kind).transpose()?,
            options: properties.text("mount-options").unwrap_or_default().to_owned(),
            reserve: match properties.text(RESERVATION) {
                Some("none") => Reserve::No,
                Some(_) | None => Reserve::Required,
            },
            damaged: if properties.flag("check") {
                Damaged::Repaired
            } else {
                Damaged::MountedAsItIs
            },
            force: if properties.flag("force-unmount") { Force::Yes } else { Force::No },
            hang_limit: properties.time("hang-limit")?,
        };
        Ok(Self { settings, context, acting: Mutex::new(Acting::No) })
    }

    fn device(&self) -> Result<Device, Fault> {
        Device::find(&self.settings.disk, self.settings.partition).map_err(Fault::Failed)
    }

    /// The path over which the disk is reserved, if it is to be.
    fn reserved(&self, claim: &Claim, device: &Device) -> Result<Option<Reserved>, Fault> {
        match self.settings.reserve {
            Reserve::No => return Ok(None),
            Reserve::Required => {}
        }
        let root = &self.context.root;
        let Some(lab) = LabDisk::behind(root, &device.disk) else {
            let shown = self.settings.disk.display();
            return Err(Fault::Failed(format!(
                "{shown} knows no reservations that this version can use (those of lab disks): \
                 set `{RESERVATION}=none` to do with lease and guard alone, safety level C"
            )));
        };
        let owner = owner(root, claim).map_err(Fault::Failed)?;
        Ok(Some(Reserved { path: Arc::new(lab), owner }))
    }

    /// Makes it this node's alone.
    fn take(&self, reserved: &Reserved) -> Result<(), Fault> {
        let shown = self.settings.disk.display();
        reservation::take(&*reserved.path, reserved.owner)
            .map_err(|why| Fault::Failed(format!("{shown} cannot be reserved: {why}")))
    }

    /// From the reserved disk to the mounted file system.
    fn mount(&self, call: &Call, device: &Device, point: &Path) -> Result<(), Fault> {
        let failed = Fault::Failed;
        file_system::check_point_free(point).map_err(failed)?;
        let shown = device.path.display();
        let found = {
            let opened = device.open_alone().map_err(failed)?;
            file_system::look(&opened).map_err(|why| Fault::Failed(format!("{shown}: {why}")))?
        };
        let kind = self.settings.kind.unwrap_or(found.kind);
        if kind != found.kind {
            let (wanted, there) = (kind.driver(), found.kind.driver());
            return Err(Fault::Failed(format!("{shown} holds {there}, not {wanted}")));
        }
        if found.damaged && self.settings.damaged == Damaged::Repaired {
            let done = file_system::repair(&device.path, &call.cancel).map_err(failed)?;
            self.context.push.notice(format!("{shown}: {done}"));
        }
        file_system::mount_at(&device.path, point, kind, &self.settings.options).map_err(failed)
    }

    /// Hands the mount to the guard and watches it.
    fn keep(
        &self,
        instance: InstanceId,
        device: Device,
        point: PathBuf,
        reserved: Option<Reserved>,
    ) -> Result<Arc<Mounted>, Fault> {
        let shown = point.display();
        let opened = File::open(&point);
        let root =
            opened.map_err(|why| Fault::Failed(format!("{shown} cannot be opened: {why}")))?;
        self.context.guard.mounted(instance, root.as_fd());
        drop(root);
        let (flags, _) = file_system::options(&self.settings.options);
        let writes = !flags.contains(rustix::mount::MountFlags::RDONLY);
        let watched = Watched { number: device.number, point: point.clone(), writes };
        let trouble = Trouble::default();
        let watch = Watch::start(watched, trouble.clone(), self.context.push.clone())
            .map_err(|why| Fault::Failed(format!("{shown} cannot be watched: {why}")))?;
        Ok(Arc::new(Mounted { instance, device, point, reserved, trouble, _watch: watch }))
    }

    fn undo(&self, device: &Device, point: &Path) -> MountUndo {
        MountUndo {
            what: format!("{} at {}", self.settings.disk.display(), point.display()),
            device: device.path.to_string_lossy().into_owned(),
            number: device.number,
            point: point.to_string_lossy().into_owned(),
        }
    }

    fn acting(&self) -> MutexGuard<'_, Acting> {
        self.acting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was mounted; afterwards it is not in service.
    fn leave(&self, next: Acting) -> Option<Arc<Mounted>> {
        let mut acting = self.acting();
        if matches!(*acting, Acting::Closed) {
            return None;
        }
        match std::mem::replace(&mut *acting, next) {
            Acting::Yes(mounted) => Some(mounted),
            Acting::No | Acting::Closed => None,
        }
    }

    /// Looks at the device in a thread of its own, for it may hang; a disk that hangs for longer
    /// than it may has failed.
    fn check(&self, call: &Call) -> Checked {
        let mounted = match &*self.acting() {
            Acting::Yes(mounted) => Arc::clone(mounted),
            Acting::No | Acting::Closed => return (Health::Bad, "it is not in service".into()),
        };
        if let Some(why) = mounted.trouble.known() {
            return (Health::Bad, why);
        }
        let (device, reserved) = (mounted.device.clone(), mounted.reserved.clone());
        let found = Arc::new(Mutex::new(None));
        let (told, waker) = (Arc::clone(&found), self.context.clone());
        let look = move || {
            let outcome = look_at(&device, reserved.as_ref());
            *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
            waker.ring();
        };
        if let Err(why) = thread::Builder::new().stack_size(STACK_BYTES).spawn(look) {
            return (Health::Unknown, format!("no thread to look at it: {why}"));
        }
        let taken = || found.lock().unwrap_or_else(PoisonError::into_inner).take();
        match call.cancel.wait_for(self.settings.hang_limit, taken) {
            Some(Looked::Good) => (Health::Good, String::new()),
            Some(Looked::Bad(why)) => {
                mounted.trouble.note(why.clone());
                (Health::Bad, why)
            }
            None if call.cancel.is_asked() => (Health::Unknown, "the check was given up".into()),
            None => {
                let s = self.settings.hang_limit.as_secs_f64();
                let why = format!("the disk has not answered for {s} s");
                mounted.trouble.note(why.clone());
                (Health::Bad, why)
            }
        }
    }
}

/// What a look at the device found.
#[derive(Debug)]
enum Looked {
    Good,
    Bad(String),
}

fn look_at(device: &Device, reserved: Option<&Reserved>) -> Looked {
    if let Err(why) = device.look() {
        return Looked::Bad(format!("{} cannot be read: {why}", device.path.display()));
    }
    let Some(reserved) = reserved else { return Looked::Good };
    match reservation::still_held(&*reserved.path, reserved.owner) {
        Ok(Ok(())) => Looked::Good,
        Ok(Err(lost)) => Looked::Bad(lost),
        Err(why @ (ReservationError::Conflict | ReservationError::Path(_))) => {
            Looked::Bad(format!("its reservation cannot be read: {why}"))
        }
    }
}

/// Who this node is for the disk.
fn owner(root: &Path, claim: &Claim) -> Result<Owner, String> {
    let config = node::config(root)?;
    Ok(Owner::new(config.cluster_id, config.node, &claim.group, claim.epoch))
}

impl ResourceType for PhysicalDisk {
    fn online(&self, call: &Call) -> Result<(), Fault> {
        let device = self.device()?;
        let point = file_system::prepare_point(&self.settings.point).map_err(Fault::Failed)?;
        let reserved = self.reserved(&call.claim, &device)?;
        // Before anything is admitted: of what others do with it the guard could prove no end.
        drop(device.open_alone().map_err(Fault::Failed)?);
        let thing = Thing::Mount(self.undo(&device, &point));
        let instance = self.context.guard.admit(&call.claim, thing, &call.cancel)?;
        if let Some(reserved) = &reserved {
            self.take(reserved)?;
        }
        let mut acting = self.acting();
        let mounted = if call.cancel.is_asked() || !matches!(*acting, Acting::No) {
            Err(Fault::Failed("it was cancelled".into()))
        } else {
            self.mount(call, &device, &point)
        };
        if let Err(fault) = mounted {
            // Nothing of it acts: somebody else may have the disk.
            let given_back = |r: &Reserved| reservation::give_back(&*r.path, r.owner);
            drop(reserved.as_ref().map(given_back));
            return Err(fault);
        }
        *acting = Acting::Yes(self.keep(instance, device, point, reserved)?);
        Ok(())
    }

    fn adopt(&self, call: &Call, instance: InstanceId) -> Result<(), Fault> {
        let device = self.device()?;
        let point = file_system::prepare_point(&self.settings.point).map_err(Fault::Failed)?;
        let reserved = self.reserved(&call.claim, &device)?;
        let entries = mount_table::own().map_err(|why| Fault::Failed(why.to_string()))?;
        if mount_table::of_device(&entries, device.number, &point).is_none() {
            return Err(Fault::Failed("its file system is not mounted any more".into()));
        }
        let mut acting = self.acting();
        match *acting {
            Acting::No => {}
            Acting::Yes(_) => return Ok(()),
            Acting::Closed => return Err(Fault::Failed("it was cancelled".into())),
        }
        *acting = Acting::Yes(self.keep(instance, device, point, reserved)?);
        Ok(())
    }

    fn offline(&self, call: &Call) -> Result<(), Fault> {
        let Some(mounted) = self.leave(Acting::No) else { return Ok(()) };
        unmount::end(&self.context, call, &mounted, self.settings.force)?;
        if let Some(Reserved { path, owner }) = &mounted.reserved
            && let Err(why) = reservation::give_back(&**path, *owner)
        {
            // The next owner takes it over all the same.
            self.context.push.notice(format!("its reservation was not given back: {why}"));
        }
        self.context.guard.released(mounted.instance);
        Ok(())
    }

    fn looks_alive(&self, call: &Call) -> Checked {
        self.check(call)
    }

    fn is_alive(&self, call: &Call) -> Checked {
        self.check(call)
    }

    fn fitness(&self, _apart: &Apart) -> Fitness {
        let Settings { disk, partition, .. } = &self.settings;
        let found = Device::find(disk, *partition);
        let missing = found.err().map(|why| format!("`{DISK}`: {why}"));
        Fitness::lacking(missing.into_iter().collect())
    }

    fn close(&self) {
        drop(self.leave(Acting::Closed));
    }
}
