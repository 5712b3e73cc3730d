//! The output of an application: a file that never grows beyond two mebibytes.
//!
//! At 1 MiB the file becomes `NAME.log.1` and a new one begins. Kept by the init and not by the
//! guard, so that a disk that hangs never holds the guard up.

use std::fs::{self, File, OpenOptions};
use std::io::{self, PipeReader, Read, Write};
use std::path::PathBuf;

/// Size at which a file is put aside.
pub(crate) const FILE_BYTES_MAX: u64 = 1 << 20;

/// The file of one application.
#[derive(Debug)]
pub(super) struct Output {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
}

impl Output {
    /// Opens the file; output is dropped where that fails.
    pub(super) fn open(path: PathBuf) -> Self {
        let file = OpenOptions::new().create(true).append(true).open(&path).ok();
        let bytes = file.as_ref().and_then(|f| f.metadata().ok()).map_or(0, |m| m.len());
        Self { path, file, bytes }
    }

    /// A line of our own.
    pub(super) fn note(&mut self, text: &str) {
        self.write(format!("[stead] {text}\n").as_bytes());
    }

    /// Takes what the pipe holds now, and shows it.
    ///
    /// # Errors
    /// Nothing will come any more: all writers are gone.
    pub(super) fn take(
        &mut self,
        pipe: &mut PipeReader,
        mut show: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        let mut chunk = [0; 8192];
        // Bounded, so that a program that never stops writing cannot keep its signals waiting.
        for _ in 0..8 {
            match pipe.read(&mut chunk) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(got) => {
                    self.write(&chunk[..got]);
                    show(&chunk[..got]);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.bytes + bytes.len() as u64 > FILE_BYTES_MAX {
            self.rotate();
        }
        if let Some(file) = &mut self.file {
            // A full disk loses output, nothing else.
            drop(file.write_all(bytes));
            self.bytes += bytes.len() as u64;
        }
    }

    fn rotate(&mut self) {
        let mut aside = self.path.clone().into_os_string();
        aside.push(".1");
        drop(fs::rename(&self.path, aside));
        self.file = File::create(&self.path).ok();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_files_hold_the_last_output() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.log");
        let mut output = Output::open(path.clone());
        for number in 0..5 {
            output.write(&vec![b'0' + number; FILE_BYTES_MAX as usize - 10]);
        }
        output.note("end");
        let read = |path| fs::read(path).unwrap();
        assert!(read(path.clone()).starts_with(b"4444") || read(path.clone()).starts_with(b"[st"));
        let both = read(path.clone()).len() + read(path.with_extension("log.1")).len();
        assert!(both as u64 <= 2 * FILE_BYTES_MAX, "{both}");
    }

    #[test]
    fn output_goes_on_in_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.log");
        for text in ["one", "two"] {
            Output::open(path.clone()).note(text);
        }
        assert_eq!(fs::read_to_string(path).unwrap(), "[stead] one\n[stead] two\n");
    }
}
