//! A path as a node's kernel sees it: a FUSE file that the disk server answers for, and a loop
//! device on top, so that every node has a block device, a page cache and a superblock of its own.
//!
//! The loop device passes everything by the cache of the FUSE file (direct I/O); what is cached is
//! cached in the node's block device and lost with the node. Nobody here keeps the device open:
//! its cache is dropped when the last user in the node closes it, as with any disk.
//!
//! The FUSE file system is mounted nowhere: the loop device holds its only file. And whoever waits
//! here is not who answers: a killed process that waits for itself would never end.
#![expect(unsafe_code, reason = "ioctls of loop devices")]

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::step::{Step, StepError};

/// A loop device of the host, by its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Loop(pub(crate) u32);

/// A file that whoever reads the descriptor answers for.
#[derive(Debug)]
pub(super) struct Unmounted {
    file_system: OwnedFd,
}

impl Unmounted {
    /// The file, and the descriptor for who answers.
    pub(super) fn make() -> Result<(Self, OwnedFd), StepError> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let device = rustix::fs::open("/dev/fuse", flags, Mode::empty());
        let device = device.step("open", "/dev/fuse")?;
        let file_system = make_file_system(&device).step("make the file system of", "a disk")?;
        Ok((Self { file_system }, device))
    }

    /// Puts a loop device onto it. It must be answered for meanwhile.
    pub(super) fn attach(&self, label: &str) -> Result<Loop, StepError> {
        let place = format!("/proc/self/fd/{}", self.file_system.as_raw_fd());
        let direct = OFlags::DIRECT.bits().cast_signed();
        let opened = OpenOptions::new().read(true).write(true).custom_flags(direct).open(&place);
        configure(&opened.step("open the file of", "a disk")?, label)
    }
}

fn make_file_system(device: &OwnedFd) -> io::Result<OwnedFd> {
    let fuse = rustix::mount::fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let set = |key: &str, value: &str| rustix::mount::fsconfig_set_string(fuse.as_fd(), key, value);
    set("source", "stead-lab")?;
    set("fd", &device.as_raw_fd().to_string())?;
    set("rootmode", &format!("{:o}", libc::S_IFREG | 0o600))?;
    set("user_id", "0")?;
    set("group_id", "0")?;
    rustix::mount::fsconfig_create(fuse.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    Ok(rustix::mount::fsmount(fuse.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

fn configure(file: &File, label: &str) -> Result<Loop, StepError> {
    let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control");
    let control = control.step("open", "/dev/loop-control")?;
    for _ in 0..ATTEMPTS {
        // SAFETY: the request takes no argument and returns a number.
        let free = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
        let number = u32::try_from(free).map_err(|_| io::Error::last_os_error());
        let found = Loop(number.step("find", "a free loop device")?);
        match configure_one(&found.open()?, file, label) {
            Ok(()) => return Ok(found),
            // Somebody else took it first.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::BUSY) => {}
            Err(error) => return Err(StepError::new("set up loop device", free, error)),
        }
    }
    Err(StepError::new("find", "a free loop device", "others take them all"))
}

impl Loop {
    /// Ends it; one that is in use ends with its last user.
    pub(super) fn detach(self) -> Result<(), StepError> {
        clear(&self.open()?).step("end loop device", self.0)
    }

    fn open(self) -> Result<File, StepError> {
        let path = PathBuf::from(format!("/dev/loop{}", self.0));
        let opened = OpenOptions::new().read(true).write(true).open(&path);
        opened.step("open", path.display())
    }

    /// Makes a device file for it.
    pub(crate) fn make_node(self, path: &Path) -> Result<(), StepError> {
        let device = rustix::fs::makedev(LOOP_MAJOR, self.0);
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, path, FileType::BlockDevice, mode, device)
            .step("make the device", path.display())
    }
}

/// Ends all loop devices with this beginning of a label: what a killed lab left.
pub(super) fn clear_labelled(beginning: &str) -> Result<(), StepError> {
    let Ok(devices) = fs::read_dir("/sys/block") else { return Ok(()) };
    for name in devices.flatten().map(|entry| entry.file_name()) {
        let is_loop = name.as_encoded_bytes().starts_with(b"loop");
        if !is_loop || !Path::new("/sys/block").join(&name).join("loop").exists() {
            continue;
        }
        let path = Path::new("/dev").join(&name);
        let Ok(device) = File::open(&path) else { continue };
        if label_of(&device).is_some_and(|label| label.starts_with(beginning.as_bytes())) {
            clear(&device).step("end loop device", path.display())?;
        }
    }
    Ok(())
}

fn configure_one(device: &File, file: &File, label: &str) -> io::Result<()> {
    let mut config = LoopConfig {
        fd: file.as_fd().as_raw_fd().cast_unsigned(),
        block_size: 512,
        info: LoopInfo { flags: LO_FLAGS_DIRECT_IO, ..LoopInfo::ZERO },
        reserved: [0; 8],
    };
    for (to, from) in config.info.file_name.iter_mut().zip(label.bytes().take(63)) {
        *to = from;
    }
    // SAFETY: `config` is the structure the request reads and outlives the call.
    let done = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn clear(device: &File) -> io::Result<()> {
    // SAFETY: the request takes no argument.
    let done = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CLR_FD, 0) };
    let error = io::Error::last_os_error();
    // It has ended already.
    let ended = Errno::from_io_error(&error) == Some(Errno::NXIO);
    if done < 0 && !ended { Err(error) } else { Ok(()) }
}

fn label_of(device: &File) -> Option<Vec<u8>> {
    let mut info = LoopInfo::ZERO;
    // SAFETY: `info` is the structure the request fills and outlives the call.
    let done = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_GET_STATUS64, &raw mut info) };
    let end = info.file_name.iter().position(|byte| *byte == 0);
    (done == 0).then(|| info.file_name[..end.unwrap_or(info.file_name.len())].to_vec())
}

/// `struct loop_config` of the kernel.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

/// `struct loop_info64` of the kernel.
#[repr(C)]
struct LoopInfo {
    numbers: [u64; 5],
    number: u32,
    encryption: [u32; 2],
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    key: [u8; 32],
    init: [u64; 2],
}

impl LoopInfo {
    const ZERO: Self = Self {
        numbers: [0; 5],
        number: 0,
        encryption: [0; 2],
        flags: 0,
        file_name: [0; 64],
        crypt_name: [0; 64],
        key: [0; 32],
        init: [0; 2],
    };
}

const _: () = assert!(size_of::<LoopInfo>() == 232 && size_of::<LoopConfig>() == 304);

const LOOP_MAJOR: u32 = 7;
const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4C82;
const LOOP_CONFIGURE: libc::Ioctl = 0x4C0A;
const LOOP_CLR_FD: libc::Ioctl = 0x4C01;
const LOOP_GET_STATUS64: libc::Ioctl = 0x4C05;
const LO_FLAGS_DIRECT_IO: u32 = 16;

/// Others on this host look for free devices at the same time.
const ATTEMPTS: u32 = 50;
