//! A conversation with the program of an external type.
//!
//! One thread reads what the program says, for as long as the conversation lasts; whoever calls
//! waits at the bell. A program that breaks the rules ends its conversation for good:
//! [`End::Broken`] and [`Heard::Broken`] name how. Rules: messages are lines of JSON of at most
//! [`FRAME_BYTES_MAX`], not more than [`MESSAGES_MAX`] a second, each answer belongs to a call that
//! was made, orders are read, and the output stays open.
//!
//! One call at a time: the next one waits for a former one that was cancelled, as long as a
//! program may take to hear of that.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use serde::de::DeserializeOwned;
use serde_json::Value;
use stead_resource_sdk::protocol::{self, Ask, FRAME_BYTES_MAX, Order, Said};

use super::sentence;
use crate::bell::{Bell, Cancel};
use crate::monitor::STACK_BYTES;

/// Messages that a program may say within a second; nobody could read more.
const MESSAGES_MAX: u32 = 200;
/// How long a program may take to return from a call that was cancelled.
const CANCEL_LIMIT: Duration = Duration::from_secs(5);
/// How long a program may take to read an order.
const READ_LIMIT: Duration = Duration::from_secs(5);

/// How a call ended.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum End {
    /// It worked.
    Done(Value),
    /// The program says that it did not.
    Failed(String),
    /// There is no answer yet: in time, or because the program still is in an earlier call.
    Late(String),
    /// The caller was told to return.
    Cancelled,
    /// The conversation is over.
    Broken(String),
}

/// What a program said without being asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Heard {
    /// The resource failed by itself.
    Broke(String),
    /// Somebody should know.
    Notice(String),
    /// A call goes on.
    Progress(String),
    /// The program broke the rules, or is gone.
    Broken(String),
}

/// Whom the conversation tells what it hears.
pub(crate) type Tell = Box<dyn Fn(Heard) + Send + Sync>;

/// Whether the program had another conversation before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Past {
    /// It was just started.
    None,
    /// An earlier monitor talked with it: there may be half a line, and answers to that one.
    Some,
}

/// A conversation.
pub(crate) struct Session {
    talk: Mutex<Talk>,
    bell: Arc<Bell>,
    tell: Tell,
    /// Readable when the conversation shall end.
    ends: OwnedFd,
}

struct Talk {
    orders: File,
    last: u64,
    /// Calls before this one were another monitor's.
    first: u64,
    /// Calls without an answer, given up ones included.
    open: BTreeMap<u64, Open>,
    over: Option<String>,
    /// What was said before its first answer to us may be the rest of an earlier conversation.
    past: Past,
}

struct Open {
    what: &'static str,
    given_up: bool,
    answer: Option<Result<Value, String>>,
}

impl Session {
    /// Begins a conversation over these two ends.
    ///
    /// # Errors
    /// There is no thread or no descriptor for it.
    pub(crate) fn begin(
        (orders, said): (OwnedFd, OwnedFd),
        past: Past,
        bell: Arc<Bell>,
        tell: Tell,
    ) -> io::Result<Arc<Self>> {
        rustix::io::ioctl_fionbio(&orders, true)?;
        rustix::io::ioctl_fionbio(&said, true)?;
        // Above the numbers of an earlier monitor; small enough for every reader of JSON.
        let first = crate::host::clock::boot_time().0 / 1_000;
        let talk = Talk {
            orders: File::from(orders),
            last: first,
            first,
            open: BTreeMap::new(),
            over: None,
            past,
        };
        let ends = eventfd(0, EventfdFlags::CLOEXEC)?;
        let session = Arc::new(Self { talk: Mutex::new(talk), bell, tell, ends });
        let own = Arc::clone(&session);
        let read = move || own.listen(File::from(said));
        thread::Builder::new().stack_size(STACK_BYTES).spawn(read)?;
        Ok(session)
    }

    /// Makes a call and waits for its answer, at most for `limit`.
    pub(crate) fn call(&self, ask: Ask, limit: Duration, cancel: &Cancel) -> End {
        let what = name(&ask);
        if !matches!(ask, Ask::Terminate)
            && let Err(end) = self.wait_for_earlier(limit.min(CANCEL_LIMIT), cancel)
        {
            return end;
        }
        let sent = self.lock().send(ask, what);
        let id = match sent {
            Ok(id) => id,
            Err(End::Broken(why)) => return self.over(why),
            Err(end) => return end,
        };
        let found = self.bell.wait(Some(limit), || {
            let mut talk = self.lock();
            match talk.open.get_mut(&id).and_then(|open| open.answer.take()) {
                Some(Ok(result)) => return Some(End::Done(result)),
                Some(Err(text)) => return Some(End::Failed(text)),
                None => {}
            }
            let over = talk.over.clone().map(End::Broken);
            over.or_else(|| cancel.is_asked().then_some(End::Cancelled))
        });
        let mut talk = self.lock();
        match found {
            None | Some(End::Cancelled) => talk.give_up(id),
            Some(End::Done(_) | End::Failed(_) | End::Late(_) | End::Broken(_)) => {
                talk.open.remove(&id);
            }
        }
        found.unwrap_or_else(|| {
            let ms = limit.as_millis();
            End::Late(format!("its program has not answered `{what}` within {ms} ms"))
        })
    }

    /// Makes a call whose answer has a form of its own.
    ///
    /// # Errors
    /// Anything but such an answer.
    pub(crate) fn ask<T: DeserializeOwned>(
        &self,
        ask: Ask,
        limit: Duration,
        cancel: &Cancel,
    ) -> Result<T, End> {
        let what = name(&ask);
        match self.call(ask, limit, cancel) {
            End::Done(result) => serde_json::from_value(result).map_err(|why| {
                let why = sentence(&why.to_string());
                End::Failed(format!("the answer to `{what}` cannot be read: {why}"))
            }),
            end @ (End::Failed(_) | End::Late(_) | End::Cancelled | End::Broken(_)) => Err(end),
        }
    }

    /// Says something that is no order.
    pub(crate) fn babble(&self, bytes: &[u8]) -> Result<(), String> {
        self.lock().write(bytes)
    }

    /// Ends the conversation from here, for that reason.
    pub(crate) fn over(&self, why: String) -> End {
        let first = {
            let mut talk = self.lock();
            let first = talk.over.is_none();
            talk.over.get_or_insert_with(|| why.clone());
            first
        };
        self.end();
        self.bell.ring();
        if first {
            (self.tell)(Heard::Broken(why.clone()));
        }
        End::Broken(why)
    }

    /// Nothing is heard any more.
    pub(crate) fn end(&self) {
        // One that cannot count any further is readable already.
        let _ = rustix::io::write(&self.ends, &1_u64.to_ne_bytes());
    }

    /// A program that was told to return from a call may take a moment.
    fn wait_for_earlier(&self, limit: Duration, cancel: &Cancel) -> Result<(), End> {
        let free = self.bell.wait(Some(limit), || {
            let talk = self.lock();
            if let Some(why) = &talk.over {
                return Some(Err(End::Broken(why.clone())));
            }
            if talk.open.is_empty() {
                return Some(Ok(()));
            }
            cancel.is_asked().then_some(Err(End::Cancelled))
        });
        free.unwrap_or_else(|| {
            let talk = self.lock();
            let busy = talk.open.values().map(|open| open.what).next().unwrap_or_default();
            Err(End::Late(format!("its program is still busy with `{busy}`")))
        })
    }

    /// Reads until the program or the conversation ends.
    fn listen(&self, mut said: File) {
        let mut lines = Lines::default();
        let mut chunk = vec![0; 8 << 10];
        let broken = loop {
            let mut wanted =
                [PollFd::new(&said, PollFlags::IN), PollFd::new(&self.ends, PollFlags::IN)];
            // An interrupted wait only means to look earlier.
            let _ = poll(&mut wanted, None);
            if !wanted[1].revents().is_empty() {
                return;
            }
            match said.read(&mut chunk) {
                Ok(0) => break "its program closed its output, or ended".to_owned(),
                Ok(got) => {
                    if let Err(why) = lines.take(&chunk[..got], |line| self.hear(line)) {
                        break why;
                    }
                }
                Err(e) if is_passing(&e) => {}
                Err(e) => break format!("its program cannot be heard: {e}"),
            }
        };
        self.over(broken);
    }

    /// Takes one line.
    fn hear(&self, line: &[u8]) -> Result<(), String> {
        let said = match serde_json::from_slice::<Said>(line) {
            Ok(said) => said,
            Err(_) if self.lock().past == Past::Some => return Ok(()),
            Err(_) => {
                let text: String = String::from_utf8_lossy(line).chars().take(60).collect();
                let text = sentence(&text);
                return Err(format!("its program said what is no message: `{text}`"));
            }
        };
        match said {
            Said::Done { id, result } => self.answered(id, Ok(result)),
            Said::Failed { id, text } => self.answered(id, Err(sentence(&text))),
            Said::Progress { id, text } => {
                let what = self.lock().open.get(&id).map(|open| open.what);
                if let Some(what) = what {
                    (self.tell)(Heard::Progress(format!("`{what}`: {}", sentence(&text))));
                }
                Ok(())
            }
            Said::Broke { text } => {
                (self.tell)(Heard::Broke(sentence(&text)));
                Ok(())
            }
            Said::Notice { text } => {
                (self.tell)(Heard::Notice(sentence(&text)));
                Ok(())
            }
        }
    }

    fn answered(&self, id: u64, answer: Result<Value, String>) -> Result<(), String> {
        let mut talk = self.lock();
        let first = talk.first;
        match talk.open.get_mut(&id) {
            Some(open) if open.given_up => drop(talk.open.remove(&id)),
            Some(open) if open.answer.is_none() => open.answer = Some(answer),
            Some(_) => return Err("its program answered a call twice".to_owned()),
            None if id <= first => return Ok(()),
            None => return Err("its program answered a call that nobody made".to_owned()),
        }
        talk.past = Past::None;
        drop(talk);
        self.bell.ring();
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Talk> {
        self.talk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end();
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session")
    }
}

impl Talk {
    fn send(&mut self, ask: Ask, what: &'static str) -> Result<u64, End> {
        if let Some(why) = &self.over {
            return Err(End::Broken(why.clone()));
        }
        let id = self.last + 1;
        let mut line = protocol::line(&Order { id, ask });
        if line.len() > FRAME_BYTES_MAX {
            let text = format!("`{what}` has more to say than {FRAME_BYTES_MAX} bytes hold");
            return Err(End::Failed(text));
        }
        if self.past == Past::Some && self.last == self.first {
            // Ends a line that an earlier monitor may have begun.
            line.insert(0, b'\n');
        }
        self.write(&line).map_err(End::Broken)?;
        self.last = id;
        self.open.insert(id, Open { what, given_up: false, answer: None });
        Ok(id)
    }

    fn give_up(&mut self, id: u64) {
        let Some(open) = self.open.get_mut(&id) else { return };
        if open.answer.is_some() {
            self.open.remove(&id);
            return;
        }
        open.given_up = true;
        // One that does not read is found by the next call.
        let _ = self.write(&protocol::line(&Order { id, ask: Ask::Cancel }));
    }

    /// A pipe holds many orders, so a program that reads is never waited for.
    fn write(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        let end = Instant::now() + READ_LIMIT;
        while !bytes.is_empty() {
            match self.orders.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(e) if is_passing(&e) => {
                    if Instant::now() >= end {
                        return Err("its program does not read its orders".to_owned());
                    }
                    let mut wanted = [PollFd::new(&self.orders, PollFlags::OUT)];
                    let _ = poll(&mut wanted, Some(&LOOK_AGAIN));
                }
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {
                    return Err("its program closed its input, or ended".to_owned());
                }
                Err(e) => return Err(format!("its program cannot be told anything: {e}")),
            }
        }
        Ok(())
    }
}

const LOOK_AGAIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Cuts what comes into lines, within bounds of size and rate.
struct Lines {
    begun: Vec<u8>,
    second: Instant,
    count: u32,
}

impl Default for Lines {
    fn default() -> Self {
        Self { begun: Vec::new(), second: Instant::now(), count: 0 }
    }
}

impl Lines {
    fn take(
        &mut self,
        mut bytes: &[u8],
        mut hear: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        while let Some(at) = bytes.iter().position(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(&bytes[..at]);
            bytes = &bytes[at + 1..];
            self.check_size()?;
            self.check_rate()?;
            let line = std::mem::take(&mut self.begun);
            if !line.is_empty() {
                hear(&line)?;
            }
        }
        self.begun.extend_from_slice(bytes);
        self.check_size()
    }

    fn check_size(&self) -> Result<(), String> {
        if self.begun.len() < FRAME_BYTES_MAX {
            return Ok(());
        }
        Err(format!("its program said a message of more than {FRAME_BYTES_MAX} bytes"))
    }

    fn check_rate(&mut self) -> Result<(), String> {
        if self.second.elapsed() >= Duration::from_secs(1) {
            (self.second, self.count) = (Instant::now(), 0);
        }
        self.count += 1;
        if self.count <= MESSAGES_MAX {
            return Ok(());
        }
        Err(format!("its program said more than {MESSAGES_MAX} messages within a second"))
    }
}

/// A call as people know it.
pub(crate) const fn name(ask: &Ask) -> &'static str {
    match ask {
        Ask::Describe { .. } => "describe",
        Ask::Open(_) => "open",
        Ask::Online => "online",
        Ask::Offline => "offline",
        Ask::Terminate => "terminate",
        Ask::LooksAlive => "looks-alive",
        Ask::IsAlive => "is-alive",
        Ask::Control { .. } => "control",
        Ask::Close => "close",
        Ask::Cancel => "cancel",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A conversation, the ends of its program, and what it tells.
    fn conversation() -> (Arc<Session>, io::PipeReader, io::PipeWriter, mpsc::Receiver<Heard>) {
        let (orders, own_orders) = io::pipe().unwrap();
        let (own_said, said) = io::pipe().unwrap();
        let (sender, told) = mpsc::channel();
        let tell: Tell = Box::new(move |heard| drop(sender.send(heard)));
        let ends = (own_orders.into(), own_said.into());
        let session = Session::begin(ends, Past::None, Arc::default(), tell).unwrap();
        (session, orders, said, told)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_program_that_is_gone_is_told_and_nobody_waits_for_it() {
        let (session, orders, said, told) = conversation();
        drop(orders);
        let cancel = Cancel::new(Arc::default());
        let broken = End::Broken("its program closed its input, or ended".into());
        assert_eq!(session.call(Ask::Online, LONG, &cancel), broken);
        assert_eq!(session.call(Ask::Offline, LONG, &cancel), broken);
        let why = "its program closed its input, or ended".to_owned();
        assert_eq!(told.recv_timeout(LONG), Ok(Heard::Broken(why)));
        drop(said);
    }

    #[test]
    fn a_call_that_is_given_up_holds_the_next_one_back_until_it_is_answered() {
        let (session, mut heard_from, mut said, _told) = conversation();
        let cancel = Cancel::new(Arc::default());
        let late = session.call(Ask::Online, Duration::from_millis(1), &cancel);
        assert!(
            matches!(&late, End::Late(why) if why.contains("`online` within 1 ms")),
            "{late:?}"
        );
        let busy = session.call(Ask::IsAlive, Duration::from_millis(1), &cancel);
        assert_eq!(busy, End::Late("its program is still busy with `online`".into()));
        let mut heard = vec![0; 4096];
        let got = heard_from.read(&mut heard).unwrap();
        let lines = String::from_utf8(heard[..got].to_vec()).unwrap();
        let orders: Vec<Order> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let asks: Vec<&Ask> = orders.iter().map(|order| &order.ask).collect();
        assert_eq!(asks, [&Ask::Online, &Ask::Cancel]);
        let id = orders[0].id;
        said.write_all(&protocol::line(&Said::Failed { id, text: "cancelled".into() })).unwrap();
        let next = thread::spawn(move || session.call(Ask::Offline, LONG, &cancel));
        let got = heard_from.read(&mut heard).unwrap();
        let order: Order = serde_json::from_slice(&heard[..got]).unwrap();
        let result = Value::Null;
        said.write_all(&protocol::line(&Said::Done { id: order.id, result })).unwrap();
        assert_eq!(next.join().unwrap(), End::Done(Value::Null));
    }
}
