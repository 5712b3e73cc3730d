//! The kernel's FUSE protocol, as far as one regular file needs it.
//!
//! Every path is a FUSE file system whose root is a regular file: there are no names, no other
//! inode and no handles. So a dozen requests are all there is, in a binary form the kernel keeps
//! compatible; version 7.31 of it is spoken. Numbers are in the order of this machine.
//!
//! Not here: reading and writing of the device (`path`), the mount (`attach`).

use rustix::io::Errno;

/// The largest read or write the kernel may ask for.
pub(super) const IO_BYTES_MAX: usize = 1 << 20;

/// Room for the largest request.
pub(super) const REQUEST_BYTES_MAX: usize = IO_BYTES_MAX + 4096;

/// One request of the kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Request {
    /// Names it in the reply.
    pub(super) unique: u64,
    pub(super) operation: Operation,
}

/// What the kernel asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Operation {
    /// The first: agree on version and limits.
    Init,
    Attributes,
    Open,
    /// Nothing is to be done, but it is to be said.
    Nothing,
    Read {
        offset: u64,
        length: u32,
    },
    Write {
        offset: u64,
        data: Vec<u8>,
    },
    Sync,
    /// Wants no reply.
    Silent,
    /// Not for a disk.
    Unsupported,
}

impl Operation {
    /// Whether it is a request to the disk, which faults act on.
    pub(super) const fn is_io(&self) -> bool {
        match self {
            Self::Read { .. } | Self::Write { .. } | Self::Sync => true,
            Self::Init
            | Self::Attributes
            | Self::Open
            | Self::Nothing
            | Self::Silent
            | Self::Unsupported => false,
        }
    }
}

impl Request {
    /// Understands one packet; `None` when it is not whole.
    pub(super) fn parse(packet: &[u8]) -> Option<Self> {
        let opcode = u32_at(packet, 4)?;
        let unique = u64_at(packet, 8)?;
        let body = packet.get(HEADER_BYTES..)?;
        let operation = match opcode {
            FORGET | INTERRUPT | BATCH_FORGET => Operation::Silent,
            INIT => Operation::Init,
            // A block device's backing file is asked for its times and told them.
            GETATTR | SETATTR => Operation::Attributes,
            OPEN => Operation::Open,
            RELEASE | FLUSH | ACCESS | DESTROY => Operation::Nothing,
            READ => Operation::Read { offset: u64_at(body, 8)?, length: u32_at(body, 16)? },
            WRITE => {
                let length = usize::try_from(u32_at(body, 16)?).ok()?;
                let data = body.get(WRITE_IN_BYTES..)?.get(..length)?.to_vec();
                Operation::Write { offset: u64_at(body, 8)?, data }
            }
            FSYNC => Operation::Sync,
            _ => Operation::Unsupported,
        };
        Some(Self { unique, operation })
    }
}

/// The reply that a request failed.
pub(super) fn failed(unique: u64, errno: Errno) -> Vec<u8> {
    packet(unique, -errno.raw_os_error(), &[])
}

/// The reply to `Nothing` and `Sync`.
pub(super) fn done(unique: u64) -> Vec<u8> {
    packet(unique, 0, &[])
}

/// The reply to `Read`.
pub(super) fn data(unique: u64, bytes: &[u8]) -> Vec<u8> {
    packet(unique, 0, bytes)
}

/// The reply to `Write`.
pub(super) fn written(unique: u64, length: usize) -> Vec<u8> {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    packet(unique, 0, &Body::new().u32(length).u32(0).0)
}

/// The reply to `Init`.
pub(super) fn init(unique: u64) -> Vec<u8> {
    let body = Body::new()
        .u32(7)
        .u32(31)
        .u32(0)
        .u32(ASYNC_READ | BIG_WRITES | ASYNC_DIO | MAX_PAGES)
        .u16(u16::MAX) // requests in the background
        .u16(u16::MAX)
        .u32(IO_BYTES_MAX as u32)
        .u32(1) // granularity of times, nanoseconds
        .u16((IO_BYTES_MAX / 4096) as u16)
        .u16(0)
        .zeros(32);
    packet(unique, 0, &body.0)
}

/// The reply to `Open`: past the page cache, several at a time.
pub(super) fn opened(unique: u64) -> Vec<u8> {
    let flags = OPEN_DIRECT_IO | OPEN_NO_FLUSH | OPEN_PARALLEL_WRITES;
    packet(unique, 0, &Body::new().u64(0).u32(flags).u32(0).0)
}

/// The reply to `Attributes`: a regular file of root, of this size.
pub(super) fn attributes(unique: u64, size_bytes: u64) -> Vec<u8> {
    let body = Body::new()
        .u64(3600) // valid for so many seconds
        .u32(0)
        .u32(0)
        .u64(1) // inode
        .u64(size_bytes)
        .u64(size_bytes.div_ceil(512))
        .zeros(3 * 8 + 3 * 4)
        .u32(libc::S_IFREG | 0o600)
        .u32(1) // links
        .zeros(3 * 4)
        .u32(4096)
        .u32(0);
    packet(unique, 0, &body.0)
}

fn packet(unique: u64, error: i32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(REPLY_HEADER_BYTES + body.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(REPLY_HEADER_BYTES + body.len());
    bytes.extend(length.to_ne_bytes());
    bytes.extend(error.to_ne_bytes());
    bytes.extend(unique.to_ne_bytes());
    bytes.extend(body);
    bytes
}

/// The fields of a reply, one after another.
struct Body(Vec<u8>);

impl Body {
    const fn new() -> Self {
        Self(Vec::new())
    }

    fn u16(mut self, value: u16) -> Self {
        self.0.extend(value.to_ne_bytes());
        self
    }

    fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_ne_bytes());
        self
    }

    fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_ne_bytes());
        self
    }

    fn zeros(mut self, bytes: usize) -> Self {
        self.0.resize(self.0.len() + bytes, 0);
        self
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

const HEADER_BYTES: usize = 40;
const WRITE_IN_BYTES: usize = 40;
const REPLY_HEADER_BYTES: usize = 16;

const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const SETATTR: u32 = 4;
const OPEN: u32 = 14;
const READ: u32 = 15;
const WRITE: u32 = 16;
const RELEASE: u32 = 18;
const FSYNC: u32 = 20;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const ACCESS: u32 = 34;
const INTERRUPT: u32 = 36;
const DESTROY: u32 = 38;
const BATCH_FORGET: u32 = 42;

const ASYNC_READ: u32 = 1;
const BIG_WRITES: u32 = 1 << 5;
const ASYNC_DIO: u32 = 1 << 15;
const MAX_PAGES: u32 = 1 << 22;

const OPEN_DIRECT_IO: u32 = 1;
const OPEN_NO_FLUSH: u32 = 1 << 5;
const OPEN_PARALLEL_WRITES: u32 = 1 << 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn request(opcode: u32, body: &[u8]) -> Vec<u8> {
        let head = Body::new().u32((HEADER_BYTES + body.len()) as u32).u32(opcode).u64(77);
        let mut bytes = head.zeros(HEADER_BYTES - 16).0;
        bytes.extend(body);
        bytes
    }

    #[test]
    fn a_write_is_understood_only_whole() {
        let body = Body::new().u64(0).u64(8192).u32(3).zeros(20);
        let mut packet = request(WRITE, &body.0);
        packet.extend(b"ab");
        assert_eq!(Request::parse(&packet), None);
        packet.push(b'c');
        let operation = Operation::Write { offset: 8192, data: b"abc".to_vec() };
        assert_eq!(Request::parse(&packet), Some(Request { unique: 77, operation }));
    }

    #[test]
    fn what_is_not_known_is_unsupported_and_nothing_is_no_request() {
        let unknown = Request::parse(&request(4000, &[])).unwrap();
        assert_eq!(unknown.operation, Operation::Unsupported);
        assert_eq!(Request::parse(&[0; 12]), None);
        assert!(!unknown.operation.is_io());
    }

    #[test]
    fn replies_have_the_sizes_the_kernel_expects() {
        assert_eq!(init(1).len(), 16 + 64);
        assert_eq!(attributes(1, 1).len(), 16 + 104);
        assert_eq!(opened(1).len(), 16 + 16);
        assert_eq!(written(1, 5).len(), 16 + 8);
        let failed = failed(9, Errno::IO);
        assert_eq!(failed[..8], [16, 0, 0, 0, 0xfb, 0xff, 0xff, 0xff]);
    }
}
