//! The Debian that machines of tests are: bootstrapped once, and changed by none of them.
//!
//! Tests find it in cargo's folder for integration tests (`target/tmp`). What a test changes lies
//! in a layer above it.

use std::fs;
use std::io;
use std::path::Path;

use crate::debian::{self, User, bounded};

/// The release, as the README names it.
const SUITE: &str = "bookworm";
/// What is in it beside `apt` and what is essential: systemd, and what a test calls there.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,iproute2,procps,nftables";
/// Where tests look for it, below cargo's target folder.
const FOLDER: &str = "tmp/debian";

/// Makes it where it is missing; says what follows if it cannot be had.
pub(crate) fn prepare(target: &Path) {
    let folder = target.join(FOLDER);
    if folder.is_dir() {
        println!("machines' Debian: there");
        return;
    }
    if debian::user() == User::Ordinary {
        println!("machines' Debian: not made, it is for root; rounds on such machines are skipped");
        return;
    }
    println!("machines' Debian: bootstrapping {SUITE} with {PACKAGES}");
    if let Err(error) = bootstrap(&folder) {
        println!("machines' Debian: {error}; rounds on machines with systemd are skipped");
    }
}

fn bootstrap(folder: &Path) -> io::Result<()> {
    let new = folder.with_extension("new");
    if new.exists() {
        fs::remove_dir_all(&new)?;
    }
    let parent = new.parent().unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(parent)?;
    let (include, to) = (format!("--include={PACKAGES}"), new.to_string_lossy());
    let words = ["--quiet", "--variant=apt", &include, SUITE, &to];
    bounded(600, "mmdebstrap", &words, parent)?;
    fs::rename(new, folder)
}
