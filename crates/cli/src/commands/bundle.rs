//! `stead support-bundle`: what somebody who helps wants to see of a node, in one archive.
//!
//! It takes what the node service tells, and what files and the kernel tell when it is down; what
//! could not be had is named in `missing.txt`. Keys are not read at all; everything else goes
//! through [`super::redact`], so that nothing secret of ours leaves the node by accident.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{Asked, redact};
use crate::failure::{Exit, Failure};
use crate::screen;

/// Of each file at most this much, its end: some grow for years.
const TAIL_BYTES: u64 = 256 << 10;
/// Files of the node, below its root; a folder stands for the files in it.
const OF_NODE: &[&str] = &[
    "etc/stead/cluster.json",
    "etc/stead/plan.json",
    "var/lib/stead/events.jsonl",
    "var/lib/stead/events.jsonl.1",
    "var/lib/stead/logs",
];
/// What the kernel tells: version, clock, networks, load, pressure, memory, control groups.
const OF_KERNEL: &[&str] = &[
    "/etc/os-release",
    "/proc/version",
    "/proc/cmdline",
    "/proc/uptime",
    "/sys/devices/system/clocksource/clocksource0/current_clocksource",
    "/proc/net/dev",
    "/proc/net/route",
    "/proc/net/arp",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/mounts",
    "/proc/pressure",
    "/sys/fs/cgroup/system.slice/stead.service",
];
/// Programs whose output says more than files do; where one is missing, that is told.
const SAID: &[(&str, &[&str])] = &[
    ("ip-address", &["ip", "-o", "address"]),
    ("timedatectl", &["timedatectl", "show"]),
    ("systemctl-status", &["systemctl", "status", "--no-pager", "stead.service"]),
];

/// What is asked of the node service, and how it is called in the archive.
const ASKED: &[(&str, &str)] = &[
    ("view.json", "/v1/status"),
    ("attention.json", "/v1/attention"),
    ("timeouts.json", "/v1/explain/timeouts"),
    ("events.json", "/v1/events"),
];

/// Writes the archive and says where it is.
pub(super) async fn run(asked: &Asked, out: Option<PathBuf>) -> Result<Exit, Failure> {
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let name = format!("stead-support-{}", seconds.map_or(0, |since| since.as_secs()));
    let out = out.unwrap_or_else(|| format!("{name}.tar.gz").into());
    let failed = |error: io::Error| {
        Failure::new(Exit::Refused, format!("cannot write `{}`", out.display()))
            .because(error.to_string())
    };
    let folder = out.with_file_name(format!(".{name}-{}", std::process::id()));
    let mut bundle = Bundle { folder: folder.clone(), missing: Vec::new() };
    let written = match bundle.fill(asked, &root()).await {
        Ok(()) => pack(&folder, &out),
        Err(error) => Err(error),
    };
    drop(fs::remove_dir_all(&folder));
    written.map_err(failed)?;
    let told = serde_json::json!({ "file": out, "missing": bundle.missing });
    asked.show(&told, |_| format!("{}\n", out.display()));
    if !asked.json {
        let note = "note: keys are left out and secrets blanked as far as they can be told; look \
            before you send it";
        screen::talk(note);
    }
    Ok(Exit::Ok)
}

pub(super) fn root() -> PathBuf {
    std::env::var_os("STEAD_ROOT").map_or_else(|| "/".into(), PathBuf::from)
}

/// An archive on its way.
struct Bundle {
    folder: PathBuf,
    /// What could not be had, with the reason.
    missing: Vec<String>,
}

impl Bundle {
    async fn fill(&mut self, asked: &Asked, root: &Path) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let version = format!("stead {}\n", env!("CARGO_PKG_VERSION"));
        self.put("version.txt", &version)?;
        self.ask(asked).await?;
        for path in OF_NODE {
            self.take(&root.join(path), &Path::new("node").join(path))?;
        }
        for path in OF_KERNEL {
            self.take(Path::new(path), &Path::new("host").join(path.trim_start_matches('/')))?;
        }
        for (name, words) in SAID {
            match Command::new(words[0]).args(&words[1..]).output() {
                Ok(said) => {
                    let text = String::from_utf8_lossy(&said.stdout).into_owned();
                    self.put(&format!("host/{name}.txt"), &redact::text(&text))?;
                }
                Err(error) => self.missing.push(format!("{}: {error}", words[0])),
            }
        }
        let missing = self.missing.join("\n") + "\n";
        self.put("missing.txt", &missing)
    }

    /// What the node service tells; one that is down tells nothing, and that is told.
    async fn ask(&mut self, asked: &Asked) -> io::Result<()> {
        let reached = match asked.reach().await {
            Ok(reached) => reached,
            Err(failure) => {
                self.missing.push(format!("the node service: {}", failure.sentence()));
                return Ok(());
            }
        };
        for (name, path) in ASKED {
            match reached.client.get::<Value>(path).await {
                Ok(mut value) => {
                    redact::json(&mut value);
                    let text = serde_json::to_string_pretty(&value)?;
                    self.put(&format!("told/{name}"), &text)?;
                }
                Err(error) => self.missing.push(format!("{path}: {error}")),
            }
        }
        let figures = stead_api::metrics::text(&reached.view);
        self.put("told/metrics.txt", &figures)
    }

    /// A file, or all files of a folder, their ends.
    fn take(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        if from.is_dir() {
            for entry in fs::read_dir(from)?.flatten().filter(|e| e.path().is_file()) {
                self.take(&entry.path(), &to.join(entry.file_name()))?;
            }
            return Ok(());
        }
        match tail(from) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                self.put(&to.to_string_lossy(), &redact::text(&text))
            }
            // A control group has files that cannot be read.
            Err(error) => {
                self.missing.push(format!("{}: {error}", from.display()));
                Ok(())
            }
        }
    }

    fn put(&self, name: &str, text: &str) -> io::Result<()> {
        let path = self.folder.join(name);
        fs::create_dir_all(path.parent().unwrap_or(&self.folder))?;
        fs::write(path, text)
    }
}

/// The end of a file; what the kernel makes up has no size.
fn tail(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    if size > TAIL_BYTES {
        file.seek(SeekFrom::Start(size - TAIL_BYTES))?;
    }
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn pack(folder: &Path, out: &Path) -> io::Result<()> {
    let part = out.with_extension("part");
    let said =
        Command::new("tar").arg("-czf").arg(&part).arg("-C").arg(folder).arg(".").output()?;
    if !said.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&said.stderr).trim().to_owned()));
    }
    fs::rename(part, out)
}
