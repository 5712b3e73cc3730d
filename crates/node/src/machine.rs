//! What this machine has, as its kernel says: for a capacity that is measured.

use std::num::NonZero;
use std::thread;

use stead_model::usage::Usage;

/// Processors and memory; 0 of what cannot be found out.
pub(crate) fn size() -> Usage {
    // Those this process may run on: what a container was not given is not there.
    let processors = thread::available_parallelism().map_or(0, NonZero::get);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    Usage { cpu: processors as u64 * 1_000, memory: total(&memory) }
}

fn total(text: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map_or(0, |kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_processors_and_memory() {
        assert_eq!(total("MemTotal:       24661344 kB\nMemFree: 1 kB\n"), 24_661_344 << 10);
        assert_eq!(total("MemTotal: much\n"), 0);
        let Usage { cpu, memory } = size();
        assert!(cpu >= 1_000 && memory > 64 << 20, "{cpu} {memory}");
    }
}
