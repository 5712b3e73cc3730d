//! The machine the figures were taken on, and how busy it was.

use std::fs;

use serde::Serialize;

/// What does not change while measuring.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Machine {
    /// Processors that this program may use.
    pub(crate) cpus: usize,
    /// Version of the running kernel.
    pub(crate) kernel: String,
    /// Whether everything ran as root.
    pub(crate) root: bool,
}

impl Machine {
    /// This one.
    pub(crate) fn here() -> Self {
        Self {
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            root: rustix::process::geteuid().is_root(),
        }
    }
}

/// Load averages over 1, 5 and 15 minutes; `None` where the kernel does not tell.
pub(crate) fn load() -> Option<[f64; 3]> {
    parse_load(&fs::read_to_string("/proc/loadavg").ok()?)
}

fn parse_load(text: &str) -> Option<[f64; 3]> {
    let mut words = text.split_whitespace().map(str::parse);
    let mut next = || words.next()?.ok();
    Some([next()?, next()?, next()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_load_averages_come_first() {
        assert_eq!(parse_load("0.83 4.09 6.50 2/214 29307\n"), Some([0.83, 4.09, 6.5]));
        assert_eq!(parse_load("0.83 4.09"), None);
        assert_eq!(parse_load("much"), None);
    }
}
