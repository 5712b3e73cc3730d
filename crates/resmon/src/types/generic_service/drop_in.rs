//! The drop-in by which a unit is the cluster's while it is a resource here: it starts only by the
//! guard's leave, systemd does not restart it, and at shutdown it is stopped after stead.
//!
//! It lies below `/run`: a node that boots has none, and the unit, which is disabled, stays where
//! it is until it is brought online.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use stead_model::unit;

/// Sorts behind `override.conf`, which `systemctl edit` writes: of two the later one counts.
const FILE: &str = "zz-stead.conf";

/// What it says.
fn text(root: &Path, name: &str) -> String {
    let condition = unit::condition(root, name);
    format!(
        "# Written by stead while {name} is a resource of its cluster on this node.\n\
         [Unit]\n\
         ConditionPathExists={}\n\
         Before=stead.service\n\
         [Service]\n\
         Restart=no\n",
        condition.display()
    )
}

fn folder(root: &Path, name: &str) -> PathBuf {
    root.join("run/systemd/system").join(format!("{name}.d"))
}

/// Writes it, if it is not there as it must be.
pub(super) fn write(root: &Path, name: &str) -> io::Result<()> {
    let (folder, text) = (folder(root, name), text(root, name));
    let file = folder.join(FILE);
    if fs::read_to_string(&file).is_ok_and(|present| present == text) {
        return Ok(());
    }
    fs::create_dir_all(&folder)?;
    // Systemd may read it at any time: half a file must not be there.
    let new = folder.join(format!(".{FILE}.new"));
    fs::write(&new, text)?;
    fs::rename(new, file)
}

/// Whether there is one.
pub(super) fn is_there(root: &Path, name: &str) -> bool {
    folder(root, name).join(FILE).exists()
}

/// Removes it.
pub(super) fn remove(root: &Path, name: &str) -> io::Result<()> {
    let folder = folder(root, name);
    match fs::remove_file(folder.join(FILE)) {
        Err(why) if why.kind() != ErrorKind::NotFound => return Err(why),
        Ok(()) | Err(_) => {}
    }
    // Somebody else's drop-ins may be there.
    drop(fs::remove_dir(folder));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_a_whole_and_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "web.service").unwrap();
        let folder = root.path().join("run/systemd/system/web.service.d");
        let text = fs::read_to_string(folder.join(FILE)).unwrap();
        let condition = root.path().join("run/stead/units/web.service");
        assert!(text.contains(&format!("ConditionPathExists={}\n", condition.display())), "{text}");
        assert!(is_there(root.path(), "web.service") && !is_there(root.path(), "b.service"));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        write(root.path(), "web.service").unwrap();
        remove(root.path(), "web.service").unwrap();
        assert!(!folder.exists());
        remove(root.path(), "web.service").unwrap();
    }
}
