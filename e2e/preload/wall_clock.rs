//! What stands between a program and its C library: the wall clock says another time, all other
//! clocks what they say anyhow.
//!
//! How many seconds it is wrong by is the text of one file, looked at each time; without the file
//! it is right. A library to be loaded before all others (`LD_PRELOAD`), built by `build.rs`.
//! It is less than `libfaketime`, which has waits, files and random numbers pass through itself.
#![expect(unsafe_code, reason = "it is called by C, and calls it")]

use std::ffi::{CStr, c_char, c_int, c_long};

/// Where a lab has a directory of each node that stead knows nothing of.
const FILE: &CStr = c"/var/lib/stead-witness/wall-clock";

#[repr(C)]
pub struct Timespec {
    seconds: i64,
    nanoseconds: c_long,
}

#[link(name = "c")]
unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn read(fd: c_int, buffer: *mut u8, bytes: usize) -> isize;
    fn close(fd: c_int) -> c_int;
}

/// # Safety
/// As the C library's: `at` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: c_int, at: *mut Timespec) -> c_int {
    // SAFETY: the kernel checks both arguments.
    let result = unsafe { syscall(CLOCK_GETTIME, c_long::from(clock), at) };
    if result != 0 {
        return -1;
    }
    if WALL_CLOCKS.contains(&clock) {
        // SAFETY: the kernel wrote there.
        unsafe { (*at).seconds = (*at).seconds.saturating_add(wrong_by()) };
    }
    0
}

/// Seconds; zero where nobody says anything.
fn wrong_by() -> i64 {
    let mut text = [0; 32];
    // SAFETY: path and buffer are there, and the length is the buffer's.
    let length = unsafe {
        let fd = open(FILE.as_ptr(), CLOEXEC);
        if fd < 0 {
            return 0;
        }
        let length = read(fd, text.as_mut_ptr(), text.len());
        close(fd);
        length
    };
    let text = text.get(..usize::try_from(length).unwrap_or(0)).unwrap_or_default();
    std::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

const CLOCK_GETTIME: c_long = if cfg!(target_arch = "x86_64") { 228 } else { 113 };
/// `CLOCK_REALTIME` and its coarse one.
const WALL_CLOCKS: [c_int; 2] = [0, 5];
const CLOEXEC: c_int = 0o2_000_000;
