//! A sample type: a small TCP server that counts its visitors and keeps the count in a file.
//!
//! `/etc/stead/types/counter` is this program; `examples/types/counter.py` is the same in Python.
//! Whoever connects is told the count, one line. The file is written anew and synced before a
//! visitor hears of it, so that no visitor is forgotten, whenever the program dies.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use stead_resource_sdk::{
    Call, Checked, Description, Form, Property, Resource, Setup, Teller, run,
};

/// How long a check waits for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// What a check says, so that it is not counted.
const CHECK: &[u8] = b"check\n";

/// Serves as a counter until stead closes it.
pub(crate) fn main() -> ExitCode {
    run::<Counter>()
}

struct Counter {
    port: u16,
    file: PathBuf,
    delay: Duration,
    teller: Teller,
    count: Arc<Mutex<u64>>,
    serving: Mutex<Option<Serving>>,
}

struct Serving {
    ends: Arc<Mutex<bool>>,
    thread: JoinHandle<()>,
}

impl Resource for Counter {
    fn describe() -> Description {
        Description::new("counter", env!("CARGO_PKG_VERSION"), "counts its visitors")
            .property(Property::required("port", Form::Number, "TCP port on 127.0.0.1"))
            .property(Property::required("file", Form::Path, "where the count is kept"))
            .property(Property::optional("delay-ms", Form::Number, Some("0"), "a slow start"))
            .control("count", "how many visitors came")
            .control("set", "sets the count")
            .data_in("file")
            .trial("set", "count")
    }

    fn open(setup: Setup) -> Result<Self, String> {
        let port: u16 = setup.parsed("port")?;
        if port == 0 {
            return Err("property `port` cannot be `0`".to_owned());
        }
        Ok(Self {
            port,
            file: setup.path("file")?,
            delay: Duration::from_millis(setup.parsed("delay-ms")?),
            teller: setup.teller,
            count: Arc::default(),
            serving: Mutex::default(),
        })
    }

    fn online(&self, call: &Call) -> Result<(), String> {
        if lock(&self.serving).is_some() {
            return Ok(());
        }
        call.progress("reading the count");
        call.wait(self.delay)?;
        *lock(&self.count) = read(&self.file)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port))
            .map_err(|why| format!("port {} cannot be used: {why}", self.port))?;
        let ends = Arc::new(Mutex::new(false));
        let (count, file) = (Arc::clone(&self.count), self.file.clone());
        let (teller, end) = (self.teller.clone(), Arc::clone(&ends));
        let thread = thread::spawn(move || {
            let told = serve(&listener, &count, &file, &end);
            if let Err(why) = told
                && !*lock(&end)
            {
                teller.broke(format!("the server ended: {why}"));
            }
        });
        *lock(&self.serving) = Some(Serving { ends, thread });
        Ok(())
    }

    fn offline(&self, _call: &Call) -> Result<(), String> {
        let Some(Serving { ends, thread }) = lock(&self.serving).take() else { return Ok(()) };
        *lock(&ends) = true;
        // The listener hears of it by a visitor.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        thread.join().map_err(|_| "the server panicked".to_owned())
    }

    fn is_alive(&self, _call: &Call) -> Checked {
        if lock(&self.serving).is_none() {
            return Checked::bad("it is offline");
        }
        match visit(self.port) {
            Ok(_) => Checked::good(),
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => {
                Checked::unknown("it does not answer in time")
            }
            Err(why) => Checked::bad(format!("it does not answer: {why}")),
        }
    }

    fn control(&self, _call: &Call, code: &str, text: &str) -> Result<String, String> {
        if lock(&self.serving).is_none() {
            return Err("it is offline".to_owned());
        }
        let mut count = lock(&self.count);
        match code {
            "count" => Ok(count.to_string()),
            "set" => {
                let new = text.parse().map_err(|_| format!("`{text}` is no count"))?;
                write(&self.file, new).map_err(|why| format!("cannot keep it: {why}"))?;
                *count = new;
                Ok(String::new())
            }
            other => Err(format!("there is no control code `{other}`")),
        }
    }
}

/// Tells visitors the count until it shall end.
fn serve(
    listener: &TcpListener,
    count: &Mutex<u64>,
    file: &Path,
    ends: &Mutex<bool>,
) -> io::Result<()> {
    loop {
        let (mut visitor, _) = listener.accept()?;
        if *lock(ends) {
            return Ok(());
        }
        visitor.set_read_timeout(Some(ANSWER_LIMIT))?;
        let mut said = String::new();
        // One that says nothing is counted, too.
        let _ = BufReader::new(&visitor).read_line(&mut said);
        let now = {
            let mut count = lock(count);
            if said.as_bytes() != CHECK {
                write(file, *count + 1)?;
                *count += 1;
            }
            *count
        };
        // A visitor that is gone need not hear it.
        let _ = writeln!(visitor, "{now}");
    }
}

/// Asks the server for the count, as a check.
fn visit(port: u16) -> io::Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_LIMIT)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    stream.write_all(CHECK)?;
    let mut line = String::new();
    match BufReader::new(stream).read_line(&mut line)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line),
    }
}

fn read(file: &Path) -> Result<u64, String> {
    match fs::read_to_string(file) {
        Ok(text) => text.trim().parse().map_err(|_| format!("{} holds no count", file.display())),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(why) => Err(format!("cannot read {}: {why}", file.display())),
    }
}

/// Whole or not at all, and durable when it returns.
fn write(file: &Path, count: u64) -> io::Result<()> {
    let next = file.with_extension("next");
    let mut new = File::create(&next)?;
    writeln!(new, "{count}")?;
    new.sync_all()?;
    fs::rename(&next, file)?;
    File::open(file.parent().unwrap_or_else(|| Path::new("/")))?.sync_all()
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}
