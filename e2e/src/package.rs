//! The Debian package of the program under test, made once for all rounds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::{Machine, program, tell};

/// The package as revision 1, and the same as revision 2.
#[derive(Debug)]
pub struct Packages {
    folder: PathBuf,
    /// What is in it, without `/` before.
    pub files: Vec<String>,
}

/// Makes them with the first call.
#[must_use]
pub fn packages() -> &'static Packages {
    static MADE: OnceLock<Packages> = OnceLock::new();
    MADE.get_or_init(make)
}

impl Packages {
    /// Installs a revision on a machine, as a person does.
    pub fn install(&self, machine: &Machine, revision: u32) {
        let there = format!("var/tmp/{revision}.deb");
        fs::copy(self.folder.join(format!("{revision}.deb")), machine.path(&there)).unwrap();
        machine.must(&["dpkg", "-i", &format!("/{there}")]);
        fs::remove_file(machine.path(&there)).unwrap();
    }
}

fn make() -> Packages {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folder = program::kept("packages");
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    let mut xtask = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    xtask.args(["xtask", "deb", "--program"]).arg(program::path()).arg("--out").arg(&folder);
    assert!(xtask.current_dir(root).status().unwrap().success());
    let first = only_file(&folder);
    let shell = "dpkg-deb -R \"$1\" \"$2/new\" && sed -i '/^Version:/s/-1$/-2/' \
        \"$2/new/DEBIAN/control\" && dpkg-deb -Zgzip -z1 -b \"$2/new\" \"$2/2.deb\" >/dev/null && \
        rm -r \"$2/new\" && mv \"$1\" \"$2/1.deb\"";
    let made = Command::new("sh").args(["-c", shell, "sh"]).arg(&first).arg(&folder).status();
    assert!(made.unwrap().success());
    tell("packages made");
    let listed = Command::new("dpkg-deb").arg("-c").arg(folder.join("1.deb")).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let files = listed.lines().filter(|line| line.starts_with('-'));
    let files = files.map(|line| line.rsplit_once(" ./").unwrap().1.to_owned()).collect();
    Packages { folder, files }
}

fn only_file(folder: &Path) -> PathBuf {
    let mut all = fs::read_dir(folder).unwrap();
    let first = all.next().unwrap().unwrap().path();
    assert!(all.next().is_none(), "more than one package");
    first
}
