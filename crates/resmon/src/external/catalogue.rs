//! Where the programs of external types are.
//!
//! A file `NAME` in `/etc/stead/types`, else in `/usr/lib/stead/types`, is the type `ext:NAME`. It
//! is run as whoever runs stead, so nobody else may be able to change it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use stead_model::external::is_name;

/// For what the administrator of a node adds.
const LOCAL: &str = "etc/stead/types";
/// For what packages bring.
const PACKAGED: &str = "/usr/lib/stead/types";

/// The program of a type.
///
/// # Errors
/// There is none here, or it may not be run.
pub(crate) fn find(root: &Path, name: &str) -> Result<PathBuf, String> {
    for folder in folders(root) {
        let path = folder.join(name);
        if let Ok(there) = fs::metadata(&path) {
            let Some(why) = unusable(&there) else { return Ok(path) };
            let path = path.display();
            return Err(format!("resource type `ext:{name}` cannot be used here: {path} {why}"));
        }
    }
    let [local, packaged] = folders(root);
    Err(format!(
        "resource type `ext:{name}` is not installed here: it is neither in {} nor in {}",
        local.display(),
        packaged.display()
    ))
}

/// The names of all types that are installed here.
pub(crate) fn names(root: &Path) -> BTreeSet<String> {
    let entries = folders(root).into_iter().filter_map(|folder| fs::read_dir(folder).ok());
    let names = entries.flatten().flatten().filter_map(|e| e.file_name().into_string().ok());
    names.filter(|name| is_name(name)).collect()
}

fn folders(root: &Path) -> [PathBuf; 2] {
    [root.join(LOCAL), PathBuf::from(PACKAGED)]
}

/// Why a file is no program to be run with all rights of stead.
fn unusable(there: &fs::Metadata) -> Option<&'static str> {
    let own = rustix::process::geteuid().as_raw();
    let mode = there.mode();
    if !there.is_file() {
        Some("is no file")
    } else if mode & 0o111 == 0 {
        Some("is not executable")
    } else if mode & 0o022 != 0 || (there.uid() != 0 && there.uid() != own) {
        Some("may be changed by others than its owner and root")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_what_nobody_else_can_change_is_run() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join(LOCAL);
        fs::create_dir_all(&folder).unwrap();
        let none = find(root.path(), "none").unwrap_err();
        assert!(none.starts_with("resource type `ext:none` is not installed here: "), "{none}");
        for (name, mode) in [("fine", 0o755), ("data", 0o644), ("open", 0o775)] {
            fs::write(folder.join(name), "").unwrap();
            fs::set_permissions(folder.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::write(folder.join("README.md"), "").unwrap();
        assert_eq!(find(root.path(), "fine").unwrap(), folder.join("fine"));
        assert!(find(root.path(), "data").unwrap_err().ends_with("is not executable"));
        assert!(find(root.path(), "open").unwrap_err().contains("may be changed by others"));
        let names = names(root.path());
        assert!(["data", "fine", "open"].iter().all(|name| names.contains(*name)), "{names:?}");
        assert!(!names.contains("README.md"));
    }
}
