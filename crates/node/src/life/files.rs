//! Files of a host that is on its way into a cluster or out of it: whole or not there.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use stead_model::reason::{Code, Reason};

/// Who may read a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Readers {
    /// Everybody.
    All,
    /// Its owner.
    Owner,
}

/// Writes beside the place and moves: who reads finds the old file or the new one.
pub(super) fn put(path: &Path, bytes: &[u8], readers: Readers) -> Result<(), Reason> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    remove(&new)?;
    let mode = match readers {
        Readers::All => 0o644,
        Readers::Owner => 0o600,
    };
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new);
    let mut file = opened.map_err(failed("make", &new))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed("write", &new))?;
    fs::rename(&new, path).map_err(failed("make", path))?;
    sync_folder(path)
}

/// The same with a value as JSON.
pub(super) fn put_json(path: &Path, value: &impl Serialize) -> Result<(), Reason> {
    let mut text = serde_json::to_vec_pretty(value).expect("own types have text keys only");
    text.push(b'\n');
    put(path, &text, Readers::All)
}

/// Makes a folder and those above it.
pub(super) fn make_folder(path: &Path) -> Result<(), Reason> {
    DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(failed("make", path))
}

/// Removes a file; also right when it is gone.
pub(super) fn remove(path: &Path) -> Result<(), Reason> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Removes a folder with all that is in it; also right when it is gone.
pub(super) fn remove_folder(path: &Path) -> Result<(), Reason> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Makes what happened to a name in a folder durable.
pub(super) fn sync_folder(path: &Path) -> Result<(), Reason> {
    let folder = path.parent().unwrap_or_else(|| Path::new("/"));
    File::open(folder).and_then(|f| f.sync_all()).map_err(failed("sync", folder))
}

/// What the system refuses, with the file.
pub(super) fn failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Reason {
    let text = format!("cannot {verb} `{}`", path.display());
    move |error| {
        let reason = Reason::new(Code::Conflict, text).because(error.to_string());
        match error.kind() {
            io::ErrorKind::PermissionDenied => reason.hint("run it as root"),
            io::ErrorKind::StorageFull => reason.hint("free space there; repeating it goes on"),
            _ => reason,
        }
    }
}
