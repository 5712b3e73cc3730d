//! Little-endian fields at fixed places of a block.
//!
//! Every offset is a constant of the format and lies inside the block, so nothing here can fail.

pub(crate) fn put(block: &mut [u8], offset: usize, field: &[u8]) {
    block[offset..offset + field.len()].copy_from_slice(field);
}

pub(crate) fn take<const N: usize>(block: &[u8], offset: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&block[offset..offset + N]);
    field
}

pub(crate) fn u16_at(block: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes(take(block, offset))
}

pub(crate) fn u32_at(block: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(take(block, offset))
}

pub(crate) fn u64_at(block: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(take(block, offset))
}

pub(crate) fn is_blank(block: &[u8]) -> bool {
    block.iter().all(|byte| *byte == 0)
}
