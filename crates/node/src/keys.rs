//! The keys of this node: orders of the core carried out on files, and then everywhere they count.
//!
//! Files are written by a thread of their own: no heartbeat waits for them. What they say is taken
//! up here in one go, and told to the core after that: datagrams, and connections from then on.
//! When a former set ends, all streams are opened anew, so that none goes on that was proved with
//! it.

use std::sync::Arc;
use std::time::SystemTime;

use stead_core::Event;
use stead_model::keys::{KeyOrder, KeyReport, Keys, Other};
use stead_trust::{Loaded, Pki, TrustError};

use crate::inbox::Item;
use crate::service::{Ending, Service, failed};

/// What became of the files.
pub(crate) type Done = Result<Loaded, String>;

impl Service {
    pub(crate) fn order_keys(&mut self, order: KeyOrder) -> Result<(), Ending> {
        let (pki, inbox) = (self.pki.clone(), Arc::clone(&self.inbox));
        let thread = std::thread::Builder::new().name("keys".into());
        let begun = thread.spawn(move || {
            let done = carry_out(&pki, order).map_err(|error| told(&error));
            inbox.push(Item::Keys(Box::new(done)));
        });
        begun.map(drop).map_err(failed("start a thread for keys"))
    }

    /// The files say something else: everything goes by it from now on.
    pub(crate) fn keys_are(&mut self, done: Done) -> Result<(), Ending> {
        let report = match done.and_then(|loaded| self.take_up(loaded).map_err(|e| told(&e))) {
            Ok(keys) => {
                if keys.other == Other::None {
                    self.open_anew()?;
                }
                KeyReport::Has(Box::new(keys))
            }
            Err(why) => KeyReport::Failed(why),
        };
        self.happen(Event::Keys(report))
    }

    fn take_up(&mut self, Loaded { keys, credentials }: Loaded) -> Result<Keys, TrustError> {
        self.streams.rekey(&credentials)?;
        self.remote.rekey(&credentials)?;
        self.admission.rekey(&credentials)?;
        self.datagrams.rekey(&keys);
        Ok(keys)
    }
}

fn carry_out(pki: &Pki, order: KeyOrder) -> Result<Loaded, TrustError> {
    match order {
        KeyOrder::Make(number) => pki.make_next(number, SystemTime::now())?,
        KeyOrder::Keep(new) => pki.keep_next(&new, SystemTime::now())?,
        KeyOrder::Use(print) => pki.use_next(print)?,
        KeyOrder::End(print) => pki.end_former(print)?,
        KeyOrder::Forget(number) => pki.forget_next(number)?,
    }
    pki.load()
}

fn told(error: &TrustError) -> String {
    let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
    format!("the keys of this node cannot follow: {error}{hint}")
}
