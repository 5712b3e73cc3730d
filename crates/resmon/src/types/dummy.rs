//! `dummy`: does nothing, with knobs for every way to fail. For tests and rehearsals.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use stead_model::resource::Health;
use stead_model::wire::guard::{InstanceId, Thing};

use crate::resource_type::{
    Call, Cancel, Checked, Context, Fault, Properties, ResourceType, Slept,
};

/// A dummy.
#[derive(Debug)]
pub(super) struct Dummy {
    online_delay: Duration,
    offline_delay: Duration,
    fail_online: bool,
    fail_offline: bool,
    hang: bool,
    fail_after: Option<Duration>,
    bad_health: bool,
    context: Context,
    /// Asked when it is closed.
    closed: Cancel,
    mark: Arc<Mutex<Option<InstanceId>>>,
}

impl Dummy {
    pub(super) fn open(properties: &Properties, context: Context) -> Result<Self, Fault> {
        let fail_after = properties.text("fail-after").is_some();
        Ok(Self {
            online_delay: properties.time("online-delay")?,
            offline_delay: properties.time("offline-delay")?,
            fail_online: properties.flag("fail-online"),
            fail_offline: properties.flag("fail-offline"),
            hang: properties.flag("hang"),
            fail_after: fail_after.then(|| properties.time("fail-after")).transpose()?,
            bad_health: properties.flag("bad-health"),
            closed: context.new_cancel(),
            context,
            mark: Arc::default(),
        })
    }

    /// Hangs if it is told to, like a type that waits for a dead server: only a close helps.
    fn hang(&self) {
        while self.hang && !self.closed.is_asked() {
            let _ = self.closed.sleep(Duration::from_secs(3600));
        }
    }

    fn set_mark(&self, instance: Option<InstanceId>) -> Option<InstanceId> {
        std::mem::replace(&mut self.mark.lock().unwrap_or_else(PoisonError::into_inner), instance)
    }

    fn serve(&self, instance: InstanceId) {
        self.set_mark(Some(instance));
        let Some(after) = self.fail_after else { return };
        let (closed, push) = (self.closed.clone(), self.context.push.clone());
        let fail = move || {
            if closed.sleep(after) == Slept::Through {
                push.failed("the time of `fail-after` is over");
            }
        };
        if thread::Builder::new().stack_size(64 << 10).spawn(fail).is_err() {
            self.context.push.notice("no thread for `fail-after`");
        }
    }

    fn check(&self) -> Checked {
        self.hang();
        if self.bad_health {
            (Health::Bad, "`bad-health` is set".into())
        } else {
            (Health::Good, String::new())
        }
    }
}

impl ResourceType for Dummy {
    fn online(&self, call: &Call) -> Result<(), Fault> {
        self.hang();
        if call.cancel.sleep(self.online_delay) == Slept::Cancelled {
            return Err(Fault::Failed("it was cancelled".into()));
        }
        if self.fail_online {
            return Err(Fault::Failed("`fail-online` is set".into()));
        }
        let instance = self.context.guard.admit(&call.claim, Thing::Mark, &call.cancel)?;
        self.serve(instance);
        Ok(())
    }

    fn adopt(&self, _call: &Call, instance: InstanceId) -> Result<(), Fault> {
        self.hang();
        self.serve(instance);
        Ok(())
    }

    fn offline(&self, call: &Call) -> Result<(), Fault> {
        self.hang();
        let _ = call.cancel.sleep(self.offline_delay);
        if self.fail_offline {
            return Err(Fault::Failed("`fail-offline` is set".into()));
        }
        if let Some(instance) = self.set_mark(None) {
            self.context.guard.released(instance);
        }
        Ok(())
    }

    fn looks_alive(&self, _call: &Call) -> Checked {
        self.check()
    }

    fn is_alive(&self, _call: &Call) -> Checked {
        self.check()
    }

    fn close(&self) {
        self.context.ask(&self.closed);
    }
}

impl Drop for Dummy {
    fn drop(&mut self) {
        self.close();
    }
}
