//! Packs an image for `crates/lab/assets`: `pack-disk-image IMAGE OUT`. How it is called is told
//! in `assets/README.md`.

use std::io::{self, Write};

/// Shorter gaps of zeros are not worth a new run.
const GAP_BYTES: usize = 16;

/// Shorter repetitions are not worth one.
const FILL_BYTES: usize = 32;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(image), Some(out)) = (arguments.next(), arguments.next()) else {
        return Err(io::Error::other("usage: pack-disk-image IMAGE OUT"));
    };
    let image = std::fs::read(image)?;
    let mut out = std::fs::File::create(out)?;
    out.write_all(b"STEADIMG")?;
    out.write_all(&(image.len() as u64).to_le_bytes())?;
    let mut at = 0;
    while let Some(skipped) = image[at..].iter().position(|byte| *byte != 0) {
        at += skipped;
        let same = image[at..].iter().take_while(|byte| **byte == image[at]).count();
        if same >= FILL_BYTES {
            run(&mut out, at, same, 1)?;
            out.write_all(&image[at..=at])?;
            at += same;
        } else {
            let length = literal(&image[at..]);
            run(&mut out, at, length, 0)?;
            out.write_all(&image[at..at + length])?;
            at += length;
        }
    }
    Ok(())
}

/// How far to go until zeros or a repetition are worth an end.
fn literal(image: &[u8]) -> usize {
    let repeats = |window: &[u8]| window.iter().all(|byte| *byte == window[0]);
    let zeros = image.windows(GAP_BYTES).position(|window| window[0] == 0 && repeats(window));
    let fill = image.windows(FILL_BYTES).position(repeats);
    zeros.into_iter().chain(fill).min().unwrap_or(image.len())
}

fn run(out: &mut impl Write, at: usize, length: usize, kind: u8) -> io::Result<()> {
    let length = u32::try_from(length).map_err(io::Error::other)?;
    out.write_all(&(at as u64).to_le_bytes())?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(&[kind])
}
