//! The queue of one device: what is carried out next, adjacent writes together.

use std::collections::VecDeque;

use stead_core::{Io, IoOp, Ticket};

/// Most bytes written in one call.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// What one call carries out.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Batch {
    /// One read.
    Read { ticket: Ticket, offset: u64, length: u64 },
    /// One write and, once that is durable, one read.
    WriteThenRead { ticket: Ticket, write: (u64, Vec<u8>), read: (u64, u64) },
    /// Writes that follow one another in the queue and on the device.
    Write { offset: u64, parts: Vec<(Ticket, Vec<u8>)> },
}

/// Takes the next batch off the queue.
pub(crate) fn next_batch(queue: &mut VecDeque<Io>) -> Option<Batch> {
    let Io { ticket, op, .. } = queue.pop_front()?;
    let (offset, data) = match op {
        IoOp::Read { offset, length } => return Some(Batch::Read { ticket, offset, length }),
        IoOp::WriteThenRead { offset, data, read_offset, read_length } => {
            let (write, read) = ((offset, data), (read_offset, read_length));
            return Some(Batch::WriteThenRead { ticket, write, read });
        }
        IoOp::Write { offset, data } => (offset, data),
    };
    let mut bytes = data.len();
    let mut parts = vec![(ticket, data)];
    while let Some(Io { op: IoOp::Write { offset: next, data }, .. }) = queue.front() {
        if *next != offset + bytes as u64 || bytes + data.len() > BATCH_BYTES_MAX {
            break;
        }
        bytes += data.len();
        if let Some(Io { ticket, op: IoOp::Write { data, .. }, .. }) = queue.pop_front() {
            parts.push((ticket, data));
        }
    }
    Some(Batch::Write { offset, parts })
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_core::Device;

    fn write(ticket: u64, offset: u64, length: usize) -> Io {
        let op = IoOp::Write { offset, data: vec![ticket as u8; length] };
        Io { ticket: Ticket(ticket), device: Device::NodeLog, op }
    }

    #[test]
    fn adjacent_writes_go_together_and_order_is_kept() {
        let read = IoOp::Read { offset: 0, length: 1 };
        let data = vec![7; 4096];
        let both = IoOp::WriteThenRead { offset: 8192, data, read_offset: 0, read_length: 1 };
        let mut queue = VecDeque::from([
            write(1, 0, 4096),
            write(2, 4096, 8192),
            write(3, 4096, 4096),
            Io { ticket: Ticket(4), device: Device::NodeLog, op: read },
            write(5, 8192, 4096),
            Io { ticket: Ticket(7), device: Device::NodeLog, op: both },
            write(6, 12288, BATCH_BYTES_MAX),
        ]);
        let mut told = Vec::new();
        while let Some(batch) = next_batch(&mut queue) {
            told.push(match batch {
                Batch::Read { ticket, .. } => format!("read {ticket}"),
                Batch::WriteThenRead { ticket, .. } => format!("write and read {ticket}"),
                Batch::Write { offset, parts } => {
                    let tickets: Vec<u64> = parts.iter().map(|p| p.0.0).collect();
                    format!("write {tickets:?}@{offset}")
                }
            });
        }
        let expected = [
            "write [1, 2]@0",
            "write [3]@4096",
            "read io4",
            "write [5]@8192",
            "write and read io7",
            "write [6]@12288",
        ];
        assert_eq!(told, expected);
    }
}
