//! The Debian packages that the tests use, each with its reason.
//!
//! A fresh Debian with Rust has none of them. As root they are installed where missing; as an
//! ordinary user they are named, with what the run does without.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Failure;

/// A package that some test wants, known by a program that it brings.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: &'static str,
    program: &'static str,
    reason: &'static str,
    need: Need,
}

/// What a run is worth without the package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// The tests still pass; the text says what they do instead.
    Wanted { without: &'static str },
    /// A test cannot run at all.
    Required,
}

const PACKAGES: &[Package] = &[
    Package {
        name: "busybox",
        program: "busybox",
        reason: "an unmodified web server for the demo and its end-to-end rounds",
        need: Need::Wanted { without: "the rounds use the demo's own small web server" },
    },
    Package {
        name: "qemu-system-x86",
        program: "qemu-system-x86_64",
        reason: "a machine of its own that a watchdog may reset",
        need: Need::Wanted { without: "the watchdog is not tried" },
    },
    Package {
        name: "postgresql",
        program: "pg_ctlcluster",
        reason: "the database of the rounds, and the example of that name",
        need: Need::Wanted { without: "its rounds are skipped" },
    },
    Package {
        name: "nginx-light",
        program: "nginx",
        reason: "the example `nginx`",
        need: Need::Wanted { without: "it is not tried" },
    },
    Package {
        name: "redis-server",
        program: "redis-server",
        reason: "the example `redis`",
        need: Need::Wanted { without: "it is not tried" },
    },
    Package {
        name: "resource-agents",
        program: "ocf-tester",
        reason: "agents for the type `ocf`",
        need: Need::Wanted { without: "they are not tried" },
    },
    Package {
        name: "bind9",
        program: "named",
        reason: "a name server that network names are published on",
        need: Need::Wanted { without: "that is not tried" },
    },
    Package {
        name: "bind9-dnsutils",
        program: "dig",
        reason: "a client that asks it",
        need: Need::Wanted { without: "that is not tried" },
    },
    Package {
        name: "kmod",
        program: "modprobe",
        reason: "what the agent `ocf:heartbeat:Filesystem` calls",
        need: Need::Wanted { without: "that agent refuses every start" },
    },
    Package {
        name: "mmdebstrap",
        program: "mmdebstrap",
        reason: "machines with systemd as PID 1 on which the package is installed",
        need: Need::Wanted { without: "rounds on such machines are skipped" },
    },
    Package {
        name: "pacemaker-resource-agents",
        program: "/usr/lib/ocf/resource.d/pacemaker/Dummy",
        reason: "the agent `ocf:pacemaker:Dummy`",
        need: Need::Wanted { without: "it is not tried" },
    },
    Package {
        name: "python3",
        program: "/usr/bin/python3",
        reason: "the sample of an external resource type in Python",
        need: Need::Wanted {
            without: "that sample, and programs that break the rules, are not tried",
        },
    },
];

/// While this file is there and says no, Debian's packages do not start what they install.
const START_POLICY: &str = "/usr/sbin/policy-rc.d";

/// Who runs us, as far as it matters for installing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    Root,
    Ordinary,
}

/// Installs what is missing, or says what it is and what follows from it.
pub(crate) fn prepare() -> Result<(), Failure> {
    let missing: Vec<&Package> =
        PACKAGES.iter().filter(|package| !on_path(package.program)).collect();
    if missing.is_empty() {
        println!("packages: all there ({})", names(PACKAGES.iter()));
        return Ok(());
    }
    match user() {
        User::Root => install(&missing),
        User::Ordinary => {
            println!("{}", notice(&missing));
            required(&missing)
        }
    }
}

fn install(missing: &[&Package]) -> Result<(), Failure> {
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    println!("packages: installing {}", names.join(" "));
    let mut words = vec!["install", "-y", "--no-install-recommends"];
    words.extend(&names);
    let installed = apt_get(&["update"]).and_then(|()| {
        let _quiet = NothingStarts::begin()?;
        apt_get(&words)
    });
    match installed {
        Ok(()) => Ok(()),
        Err(error) => {
            println!("packages: {error}\n{}", notice(missing));
            required(missing)
        }
    }
}

/// A time in which packages start no services: the tests want programs, not servers on this host.
struct NothingStarts {
    /// A policy that was there before is somebody's decision and stays.
    ours: bool,
}

impl NothingStarts {
    fn begin() -> io::Result<Self> {
        let made = OpenOptions::new().write(true).create_new(true).mode(0o755).open(START_POLICY);
        match made {
            Ok(mut file) => {
                file.write_all(b"#!/bin/sh\nexit 101\n")?;
                Ok(Self { ours: true })
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Self { ours: false }),
            Err(error) => Err(error),
        }
    }
}

impl Drop for NothingStarts {
    fn drop(&mut self) {
        if self.ours {
            // What cannot be removed is seen by the next installation, which leaves it.
            let _ = fs::remove_file(START_POLICY);
        }
    }
}

/// One bounded call; the lock of another apt is waited for instead of failed on.
fn apt_get(words: &[&str]) -> io::Result<()> {
    let status = Command::new("timeout")
        .args(["--kill-after=10", "600", "apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"])
        .args(words)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status()?;
    if status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("`apt-get {}` failed: {status}", words.join(" "))))
}

/// A call in a folder, ended after so many seconds; what it prints as data is nobody's.
pub(crate) fn bounded(
    limit_s: u32,
    program: &str,
    words: &[&str],
    folder: &Path,
) -> io::Result<()> {
    let status = Command::new("timeout")
        .args(["--kill-after=10", &limit_s.to_string(), program])
        .args(words)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()?;
    if status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("`{program} {}` failed: {status}", words.join(" "))))
}

/// What an ordinary user is told: the names, why, and what the run does without.
fn notice(missing: &[&Package]) -> String {
    let mut lines = vec!["packages: these are missing".to_owned()];
    for package in missing {
        let effect = match package.need {
            Need::Wanted { without } => without,
            Need::Required => "its tests cannot run",
        };
        let Package { name, reason, .. } = package;
        lines.push(format!("  {name}: {reason}; without it {effect}"));
    }
    let names = names(missing.iter().copied());
    lines.push(format!("hint: `apt-get install {names}` as root, or run this command as root"));
    lines.join("\n")
}

/// An error only where a test cannot run at all.
fn required(missing: &[&Package]) -> Result<(), Failure> {
    let hard: Vec<&str> =
        missing.iter().filter(|p| p.need == Need::Required).map(|p| p.name).collect();
    if hard.is_empty() {
        return Ok(());
    }
    Err(Failure::Failed(format!("tests cannot run without {}", hard.join(", "))))
}

fn names<'a>(packages: impl Iterator<Item = &'a Package>) -> String {
    packages.map(|package| package.name).collect::<Vec<_>>().join(" ")
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path).collect::<Vec<_>>();
    // An ordinary user's path lacks these on Debian.
    folders.extend([Path::new("/usr/sbin").to_owned(), Path::new("/sbin").to_owned()]);
    folders.iter().any(|folder| folder.join(program).is_file())
}

pub(crate) fn user() -> User {
    // The owner of this directory is our effective user id.
    match fs::metadata("/proc/self") {
        Ok(own) if own.uid() == 0 => User::Root,
        Ok(_) | Err(_) => User::Ordinary,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HARD: Package = Package {
        name: "hard",
        program: "no-such-program",
        reason: "a test's reason",
        need: Need::Required,
    };

    #[test]
    fn the_notice_names_package_reason_and_effect() {
        let notice = notice(&[&PACKAGES[0], &HARD]);
        assert!(notice.contains("busybox: an unmodified web server"), "{notice}");
        assert!(notice.contains("hard: a test's reason; without it its tests cannot run"));
        assert!(notice.ends_with("or run this command as root"), "{notice}");
    }

    #[test]
    fn only_a_required_package_is_an_error() {
        assert!(required(&[&PACKAGES[0]]).is_ok());
        let failure = required(&[&PACKAGES[0], &HARD]).unwrap_err();
        assert_eq!(failure.to_string(), "tests cannot run without hard");
    }

    #[test]
    fn programs_are_found_on_the_path() {
        assert!(on_path("sh"));
        assert!(!on_path(HARD.program));
    }
}
