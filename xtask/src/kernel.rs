//! The kernel that guests of tests boot: Debian's package, unpacked and not installed.
//!
//! Tests find it in cargo's folder for integration tests (`CARGO_TARGET_TMPDIR`). Unpacking needs
//! no rights; installing would run the hooks of boot loaders on this host.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::debian::bounded;

/// The package that always depends on the present kernel. Its kernels are for guests, and small.
const META_PACKAGE: &str = "linux-image-cloud-amd64";

/// Where tests look for it, below cargo's target folder.
const FOLDER: &str = "tmp/guest-kernel";

/// Fetches it where it is missing; says what follows if it cannot be had.
pub(crate) fn prepare(target: &Path) {
    let folder = target.join(FOLDER);
    if folder.is_dir() {
        println!("guest kernel: there");
        return;
    }
    println!("guest kernel: fetching {META_PACKAGE}");
    if let Err(error) = fetch(&folder) {
        println!("guest kernel: {error}; the watchdog is not tried on a machine of its own");
    }
}

fn fetch(folder: &Path) -> io::Result<()> {
    let name = present_kernel()?;
    let new = folder.with_extension("new");
    if new.exists() {
        fs::remove_dir_all(&new)?;
    }
    fs::create_dir_all(&new)?;
    bounded(300, "apt-get", &["-q", "download", &name], &new)?;
    let packages = fs::read_dir(&new)?.collect::<io::Result<Vec<_>>>()?;
    let [package] = packages.as_slice() else {
        return Err(io::Error::other(format!("`apt-get download {name}` left no package")));
    };
    bounded(300, "dpkg-deb", &["-x", &package.path().to_string_lossy(), "."], &new)?;
    fs::remove_file(package.path())?;
    fs::rename(new, folder)
}

/// The name of the package with the kernel itself.
fn present_kernel() -> io::Result<String> {
    let output = Command::new("apt-cache").args(["depends", META_PACKAGE]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    kernel_in(&text)
        .map(str::to_owned)
        .ok_or_else(|| io::Error::other(format!("`apt-cache depends {META_PACKAGE}` names none")))
}

fn kernel_in(depends: &str) -> Option<&str> {
    let lines = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    lines.into_iter().find(|name| name.starts_with("linux-image-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_what_the_meta_package_depends_on() {
        let text = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-9-cloud-amd64\n";
        assert_eq!(kernel_in(text), Some("linux-image-6.1.0-9-cloud-amd64"));
        assert_eq!(kernel_in("linux-image-cloud-amd64\n"), None);
    }
}
