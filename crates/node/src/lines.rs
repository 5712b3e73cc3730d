//! A log of lines: the last ones in memory for readers, all of them in a bounded file.
//!
//! The file is written by a thread of its own: a disk that hangs delays no heartbeat and no
//! reader. Numbers go on over restarts.
//!
//! Not here: what a line says (`records`, `audit`).

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::inbox::Inbox;
use crate::threads;

/// Lines kept in memory for readers.
pub(crate) const KEPT: usize = 1024;

/// What has a number on its node, growing by one.
pub(crate) trait Numbered:
    Clone + Serialize + DeserializeOwned + Send + Sync + 'static
{
    fn number(&self) -> u64;
    fn set_number(&mut self, number: u64);
}

/// A log of one node.
#[derive(Debug)]
pub(crate) struct Lines<T> {
    kept: Mutex<Kept<T>>,
    last: watch::Sender<u64>,
    file: Option<Sender<Order<T>>>,
    /// Why the file does not get the lines, if it does not.
    trouble: Arc<Mutex<Option<String>>>,
}

/// Where the lines go.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    /// Name of the thread that writes, and of what it writes.
    pub(crate) thread: &'static str,
    pub(crate) path: &'a Path,
    /// The file is put aside at this size; one earlier file is kept.
    pub(crate) bytes_max: u64,
    /// Who may read a file that is made.
    pub(crate) mode: u32,
}

/// What the writer is told.
#[derive(Debug)]
enum Order<T> {
    Append(Arc<T>),
    /// Tell when everything before this is written.
    Flush(Sender<()>),
}

#[derive(Debug)]
struct Kept<T> {
    lines: VecDeque<Arc<T>>,
    number: u64,
}

impl<T: Numbered> Lines<T> {
    /// Goes on with the log at a place, all of which `seen` sees; its writer runs until the
    /// service ends.
    pub(crate) fn open(
        place: Place<'_>,
        inbox: Arc<Inbox>,
        mut seen: impl FnMut(&T),
    ) -> io::Result<Self> {
        let mut kept = Kept { lines: VecDeque::new(), number: 0 };
        for path in [earlier(place.path), place.path.to_owned()] {
            if let Ok(file) = File::open(path) {
                kept.read(file, &mut seen);
            }
        }
        let (file, orders) = channel();
        let lines = Self::new(kept, Some(file));
        let writer = Writer::new(&place, Arc::clone(&lines.trouble));
        threads::start(place.thread, inbox, move || writer.run(&orders))?;
        Ok(lines)
    }

    /// A log without a file.
    #[cfg(test)]
    pub(crate) fn in_memory() -> Self {
        Self::new(Kept { lines: VecDeque::new(), number: 0 }, None)
    }

    fn new(kept: Kept<T>, file: Option<Sender<Order<T>>>) -> Self {
        let last = watch::Sender::new(kept.number);
        Self { kept: Mutex::new(kept), last, file, trouble: Arc::default() }
    }

    /// Adds a line and gives it its number.
    pub(crate) fn add(&self, mut line: T) -> Arc<T> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.number += 1;
        let number = kept.number;
        line.set_number(number);
        let line = Arc::new(line);
        kept.push(Arc::clone(&line));
        // Under the lock: the file has the lines in the order of their numbers.
        if let Some(file) = &self.file {
            // The writer ends only with the service.
            let _ = file.send(Order::Append(Arc::clone(&line)));
        }
        drop(kept);
        self.last.send_replace(number);
        line
    }

    /// Lines from number `since` on, at most `limit`, and the number to go on with.
    pub(crate) fn since(&self, since: u64, limit: usize) -> (Vec<T>, u64) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let from = kept.lines.partition_point(|line| line.number() < since);
        let lines: Vec<T> =
            kept.lines.iter().skip(from).take(limit).map(|line| T::clone(line)).collect();
        let next = lines.last().map_or_else(|| since.max(kept.number + 1), |l| l.number() + 1);
        (lines, next)
    }

    /// Waits until everything is in the file, but not for ever: the disk may hang.
    pub(crate) fn flush(&self, limit: Duration) {
        let (written, is_written) = channel();
        if let Some(file) = &self.file
            && file.send(Order::Flush(written)).is_ok()
        {
            let _ = is_written.recv_timeout(limit);
        }
    }

    /// Why the file does not get the lines, if it does not: readers still do.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells the number of the last line.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }
}

impl<T: Numbered> Kept<T> {
    fn push(&mut self, line: Arc<T>) {
        if self.lines.len() == KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// Takes what an earlier life wrote; a line that a crash cut is left out.
    fn read(&mut self, file: File, seen: &mut impl FnMut(&T)) {
        for line in BufReader::new(file).split(b'\n').map_while(Result::ok) {
            let Ok(line) = serde_json::from_slice::<T>(&line) else { continue };
            self.number = self.number.max(line.number());
            seen(&line);
            self.push(Arc::new(line));
        }
    }
}

pub(crate) fn earlier(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// Appends to the file. What cannot be written is told once on stderr and left out.
struct Writer {
    what: &'static str,
    path: PathBuf,
    bytes_max: u64,
    mode: u32,
    file: Option<File>,
    bytes: u64,
    trouble: Arc<Mutex<Option<String>>>,
}

impl Writer {
    fn new(place: &Place<'_>, trouble: Arc<Mutex<Option<String>>>) -> Self {
        let Place { thread: what, path, bytes_max, mode } = *place;
        Self { what, path: path.to_owned(), bytes_max, mode, file: None, bytes: 0, trouble }
    }

    fn run<T: Serialize>(mut self, orders: &Receiver<Order<T>>) {
        while let Ok(order) = orders.recv() {
            let line = match order {
                Order::Append(line) => line,
                Order::Flush(written) => {
                    // Who waits may have given up.
                    let _ = written.send(());
                    continue;
                }
            };
            let result = self.append(&*line);
            let (what, path) = (self.what, self.path.display());
            let why = result.err().map(|e| format!("cannot write {what} to `{path}`: {e}"));
            if why.is_some() {
                self.file = None;
            }
            let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
            if let (None, Some(why)) = (&*trouble, &why) {
                crate::say(&format!("warning: {why}"));
            }
            *trouble = why;
        }
    }

    fn append(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(line)?;
        line.push(b'\n');
        if self.bytes + line.len() as u64 > self.bytes_max {
            self.file = None;
            std::fs::rename(&self.path, earlier(&self.path))?;
        }
        if self.file.is_none() {
            let mut options = OpenOptions::new();
            let mut file = options.create(true).append(true).mode(self.mode).open(&self.path)?;
            self.bytes = file.metadata()?.len();
            if self.bytes > 0 {
                // An earlier life may have been cut in the middle of a line.
                file.write_all(b"\n")?;
                self.bytes += 1;
            }
            self.file = Some(file);
        }
        if let Some(file) = &mut self.file {
            file.write_all(&line)?;
            self.bytes += line.len() as u64;
        }
        Ok(())
    }
}
