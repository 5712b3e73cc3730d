//! The loop of a type's program: reads orders, makes each call in a thread, writes what it said.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use serde::Serialize;
use serde_json::Value;

use crate::protocol::{self, Ask, Checked, FRAME_BYTES_MAX, Order, PROTOCOL, Said, Told};
use crate::resource::{Call, Resource, Setup, Teller};

/// Serves as a resource of that type until stead closes it or is gone.
#[must_use]
pub fn run<R: Resource>() -> ExitCode {
    let teller = Teller(Arc::new(say));
    let server: Arc<Server<R>> =
        Arc::new(Server { teller, resource: Mutex::default(), calls: Mutex::default() });
    let mut orders = io::stdin().lock();
    let mut line = Vec::new();
    loop {
        line.clear();
        // A line that is too long comes in pieces, none of which can be read.
        let mut rest = (&mut orders).take(FRAME_BYTES_MAX as u64);
        match rest.read_until(b'\n', &mut line) {
            // Whoever gave the orders is gone; what is left of the resource is theirs to end.
            Ok(0) => return ExitCode::SUCCESS,
            Ok(_) => {}
            Err(why) if why.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return ExitCode::FAILURE,
        }
        if let Ok(order) = serde_json::from_slice::<Order>(&line) {
            server.take(order);
        }
    }
}

struct Server<R> {
    teller: Teller,
    resource: Mutex<Option<Arc<R>>>,
    /// Calls that have not returned.
    calls: Mutex<BTreeMap<u64, Call>>,
}

impl<R: Resource> Server<R> {
    fn take(self: &Arc<Self>, Order { id, ask }: Order) {
        if ask == Ask::Cancel {
            if let Some(call) = lock(&self.calls).get(&id) {
                call.cancel();
            }
            return;
        }
        let call = Call::new(id, self.teller.clone());
        lock(&self.calls).insert(id, call.clone());
        let server = Arc::clone(self);
        let ends = ask == Ask::Close;
        let work = move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| server.perform(&call, ask)));
            lock(&server.calls).remove(&id);
            let outcome = outcome.unwrap_or_else(|_| Err("the resource type panicked".to_owned()));
            say(&match outcome {
                Ok(result) => Said::Done { id, result },
                Err(text) => Said::Failed { id, text },
            });
            if ends {
                std::process::exit(0);
            }
        };
        if let Err(why) = thread::Builder::new().spawn(work) {
            lock(&self.calls).remove(&id);
            say(&Said::Failed { id, text: format!("no thread for it: {why}") });
        }
    }

    fn perform(&self, call: &Call, ask: Ask) -> Result<Value, String> {
        let done = |result: Result<(), String>| result.map(|()| Value::Null);
        match ask {
            Ask::Describe { protocols } if protocols.contains(&PROTOCOL) => value(&R::describe()),
            Ask::Describe { protocols } => Err(format!(
                "it speaks version {PROTOCOL} of the protocol, stead speaks {protocols:?}"
            )),
            Ask::Open(opening) => {
                let mut resource = lock(&self.resource);
                if resource.is_some() {
                    return Err("it is open already".to_owned());
                }
                let setup = Setup::new(opening, self.teller.clone());
                *resource = Some(Arc::new(R::open(setup)?));
                Ok(Value::Null)
            }
            Ask::Online => done(self.opened()?.online(call)),
            Ask::Offline => done(self.opened()?.offline(call)),
            Ask::Terminate => done(self.opened()?.terminate(call)),
            Ask::LooksAlive => value(&self.opened()?.looks_alive(call)),
            Ask::IsAlive => value::<Checked>(&self.opened()?.is_alive(call)),
            Ask::Control { code, text } => {
                value(&Told { text: self.opened()?.control(call, &code, &text)? })
            }
            Ask::Close => {
                if let Some(resource) = lock(&self.resource).take() {
                    resource.close();
                }
                Ok(Value::Null)
            }
            // It was taken before.
            Ask::Cancel => Ok(Value::Null),
        }
    }

    fn opened(&self) -> Result<Arc<R>, String> {
        lock(&self.resource).clone().ok_or_else(|| "it is not open".to_owned())
    }
}

fn value<T: Serialize>(result: &T) -> Result<Value, String> {
    serde_json::to_value(result).map_err(|why| why.to_string())
}

/// Writes a message. When nobody reads any more the program has nothing left to do.
fn say(said: &Said) {
    let line = protocol::line(said);
    let mut out = io::stdout().lock();
    if out.write_all(&line).and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}
