//! Builds the library that gives programs of a lab another wall clock (`preload/wall_clock.rs`).

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=preload/wall_clock.rs");
    let variable = |name| env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}"));
    let library = Path::new(&variable("OUT_DIR")).join("wall_clock.so");
    let built = Command::new(variable("RUSTC"))
        .args(["--edition", "2024", "--crate-type", "cdylib", "--crate-name", "wall_clock"])
        .args(["-C", "opt-level=2", "-C", "panic=abort", "-C", "strip=symbols", "--target"])
        .arg(variable("TARGET"))
        .arg("-o")
        .arg(library)
        .arg("preload/wall_clock.rs")
        .status();
    assert!(built.is_ok_and(|status| status.success()), "rustc does not build the library");
}
