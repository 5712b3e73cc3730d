//! What is written down below `/run`, for the guard that follows one that was killed.

use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;

/// Writes a list, whole or not at all. Where nothing is on it there is no file, nor what a guard
/// left that was killed while it wrote.
pub(super) fn write(record: &Path, all: &[impl Serialize]) -> io::Result<()> {
    let new = record.with_extension("new");
    if all.is_empty() {
        return remove(&new).and_then(|()| remove(record));
    }
    if let Some(folder) = record.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(&new, serde_json::to_vec(all)?)?;
    fs::rename(&new, record)
}

/// Removes a file; also right when it is gone.
pub(super) fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_a_file_while_something_is_on_it() {
        let folder = tempfile::tempdir().unwrap();
        let record = folder.path().join("run/list.json");
        write(&record, &["one", "two"]).unwrap();
        assert_eq!(fs::read(&record).unwrap(), br#"["one","two"]"#);
        fs::write(record.with_extension("new"), b"[").unwrap();
        for _ in 0..2 {
            write(&record, &[""; 0]).unwrap();
            assert_eq!(fs::read_dir(record.parent().unwrap()).unwrap().count(), 0);
        }
    }
}
