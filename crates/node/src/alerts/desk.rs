//! The desk: what waits to be told, one line per alert, one call of each line at a time.

use std::collections::{BTreeMap, VecDeque};
use std::mem::take;
use std::sync::{Arc, PoisonError};

use stead_core::alerts::{Duty, wants};
use stead_model::AlertId;
use stead_model::alert::{Alert, Track};
use stead_model::record::{Level, Record};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

use super::call::{Failure, Message, call};
use super::memory::{Kept, Memory, forget};
use super::{Setting, Standing, Test};
use crate::{clock, records};

/// Records that wait for one alert; the oldest are given up for newer ones.
pub(super) const WAITING_MAX: usize = 64;
/// Calls under way at once, of all alerts.
const CALLS_MAX: usize = 8;
/// Records looked at in one go.
const BATCH_MAX: usize = 256;

/// All lines.
#[derive(Debug)]
pub(super) struct Desk {
    setting: Setting,
    lines: BTreeMap<AlertId, Line>,
    duty: Duty,
    /// The next record to look at.
    next: u64,
    written: Memory,
    ended: (mpsc::UnboundedSender<Ended>, mpsc::UnboundedReceiver<Ended>),
    calls: Arc<Semaphore>,
    /// Lines that an earlier life left, until it is known which alerts there are.
    left: BTreeMap<AlertId, Kept>,
}

/// What waits for one alert.
#[derive(Debug)]
struct Line {
    alert: Arc<Alert>,
    waiting: VecDeque<Arc<Record>>,
    flying: Option<Flying>,
    /// Given up since it was last said.
    dropped: u64,
    track: Track,
}

/// A record that is being told; it is told no longer when this is dropped.
#[derive(Debug)]
struct Flying {
    record: Arc<Record>,
    task: JoinHandle<()>,
}

impl Drop for Flying {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How a call ended.
#[derive(Clone, Debug)]
struct Ended {
    alert: AlertId,
    /// The number of the record; `None`: it was a test.
    record: Option<u64>,
    result: Result<String, String>,
}

/// Says how a call ended, whatever happens to its task: a line that waited for ever for a task
/// that a bug has ended would tell nothing any more.
#[derive(Debug)]
struct Report {
    ended: Ended,
    to: mpsc::UnboundedSender<Ended>,
}

impl Report {
    fn new(message: &Message, record: Option<u64>, to: mpsc::UnboundedSender<Ended>) -> Self {
        let result = Err("the call ended in a panic: this is a bug of stead".to_owned());
        Self { ended: Ended { alert: message.alert.clone(), record, result }, to }
    }

    fn is(mut self, result: Result<String, String>) {
        self.ended.result = result;
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        // The desk ends only with its calls.
        let _ = self.to.send(self.ended.clone());
    }
}

impl Desk {
    /// Goes on where an earlier life of the service ended; without one, with the next record.
    pub(super) fn open(setting: Setting) -> Self {
        let memory = Memory::read(&setting.path);
        let written = setting.records.since(0, usize::MAX);
        let next = memory.as_ref().map_or(written.next, |m| (m.seen + 1).min(written.next));
        let judged = written.records.iter().filter(|record| record.number < next);
        let duty = Duty::after(judged);
        let left = memory.map(|memory| memory.alerts).unwrap_or_default();
        let (lines, calls) = (BTreeMap::new(), Arc::new(Semaphore::new(CALLS_MAX)));
        let (written, ended) = (Memory::default(), mpsc::unbounded_channel());
        Self { setting, lines, duty, next, written, ended, calls, left }
    }

    /// Works until there are no alerts any more.
    pub(super) async fn run(
        mut self,
        mut standing: watch::Receiver<Standing>,
        mut tests: mpsc::Receiver<Test>,
    ) {
        let mut last = self.setting.records.watch();
        loop {
            let now = standing.borrow_and_update().clone();
            if now.alerts.is_empty() {
                forget(&self.setting.path);
                self.lines.clear();
                self.show();
                return;
            }
            self.stand(&now);
            self.look();
            self.remember();
            self.call_next();
            self.show();
            let next = self.next;
            tokio::select! {
                // An error means that the service ends, and this future with it.
                _ = standing.changed() => {}
                _ = last.wait_for(|number| *number >= next) => {}
                Some(ended) = self.ended.1.recv() => self.settle(ended),
                Some(test) = tests.recv() => self.test(test),
            }
        }
    }

    /// Takes over which alerts there are and who leads.
    fn stand(&mut self, standing: &Standing) {
        self.lines.retain(|id, _| standing.alerts.contains_key(id));
        for (id, properties) in &standing.alerts {
            // What the database has was parsed before.
            let Ok(alert) = Alert::parse(properties) else { continue };
            match self.lines.get_mut(id) {
                Some(line) if *line.alert == alert => {}
                Some(line) => line.alert = Arc::new(alert),
                None => {
                    let line = self.line(id, alert);
                    self.lines.insert(id.clone(), line);
                }
            }
        }
        self.left.clear();
        for due in self.duty.lead(clock::utc(), standing.leads) {
            self.file(&due);
        }
    }

    fn line(&mut self, id: &AlertId, alert: Alert) -> Line {
        let Kept { waiting, track } = self.left.remove(id).unwrap_or_default();
        let find = |number: u64| {
            let found = self.setting.records.since(number, 1).records.pop();
            found.filter(|record| record.number == number).map(Arc::new)
        };
        let (found, alert) = (waiting.into_iter().filter_map(find).collect(), Arc::new(alert));
        Line { alert, waiting: found, flying: None, dropped: 0, track }
    }

    /// Judges the records that came.
    fn look(&mut self) {
        loop {
            let came = self.setting.records.since(self.next, BATCH_MAX);
            let Some(first) = came.records.first() else { return };
            let missed = first.number - self.next;
            if missed > 0 {
                let text = format!("{missed} records came too fast: no alert tells of them");
                self.setting.records.note(Level::Warning, "alert-dropped", &text);
            }
            self.next = came.next;
            for record in came.records {
                if let Some(due) = self.duty.take(clock::utc(), Arc::new(record)) {
                    self.file(&due);
                }
            }
        }
    }

    fn file(&mut self, record: &Arc<Record>) {
        for line in self.lines.values_mut().filter(|line| wants(&line.alert, record)) {
            if line.waiting.len() == WAITING_MAX {
                line.waiting.pop_front();
                line.dropped += 1;
                line.track.dropped += 1;
            }
            line.waiting.push_back(Arc::clone(record));
        }
    }

    fn call_next(&mut self) {
        for (id, line) in self.lines.iter_mut().filter(|(_, line)| line.flying.is_none()) {
            let Some(record) = line.waiting.pop_front() else { continue };
            let cluster = self.setting.cluster.clone();
            let message = Message::new(id.clone(), cluster, Arc::clone(&record));
            let (alert, pauses) = (Arc::clone(&line.alert), self.setting.pauses);
            let calls = Arc::clone(&self.calls);
            let report = Report::new(&message, Some(record.number), self.ended.0.clone());
            let task = tokio::spawn(async move {
                let mut pauses = pauses.iter();
                let result = loop {
                    match once(&calls, &alert, &message).await {
                        Ok(said) => break Ok(said),
                        Err(Failure::Lasting(why)) => break Err(why),
                        Err(Failure::Passing(why)) => match pauses.next() {
                            Some(pause) => tokio::time::sleep(*pause).await,
                            None => break Err(format!("{why}, again and again")),
                        },
                    }
                };
                report.is(result);
            });
            line.flying = Some(Flying { record, task });
        }
    }

    /// Notes how a call ended.
    fn settle(&mut self, Ended { alert: id, record: number, result }: Ended) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        let records = &self.setting.records;
        let told = line.flying.take_if(|flying| Some(flying.record.number) == number);
        if number.is_some() && told.is_none() {
            // Of an alert that was removed meanwhile.
            return;
        }
        let failed_before = line.track.trouble().is_some();
        match result {
            Ok(_) => {
                line.track.last_success = Some(clock::utc());
                if failed_before {
                    let text = format!("alert `{id}` gets through again");
                    records.note(Level::Info, "alert-works", &text);
                }
            }
            Err(why) => {
                if let Some(told) = &told {
                    let (number, code) = (told.record.number, &told.record.code);
                    let text =
                        format!("alert `{id}` did not tell of record {number} {code}: {why}");
                    records.note(Level::Warning, "alert-failed", &text);
                }
                line.track.last_failure = Some(clock::utc());
                line.track.why = Some(why);
            }
        }
        let dropped = take(&mut line.dropped);
        if dropped > 0 {
            let text = format!(
                "alert `{id}` told nothing of {dropped} records: more than {WAITING_MAX} waited"
            );
            records.note(Level::Warning, "alert-dropped", &text);
        }
    }

    fn test(&mut self, Test { alert: id, answer }: Test) {
        let Some(line) = self.lines.get(&id) else {
            // Who asked may have gone.
            let _ = answer.send(Err("there is no such alert any more".to_owned()));
            return;
        };
        let (alert, cluster) = (Arc::clone(&line.alert), self.setting.cluster.clone());
        let mut message = Message::new(id, cluster, Arc::new(self.sample()));
        message.key = format!("{}-test-{}", message.cluster, message.record.at.0);
        let calls = Arc::clone(&self.calls);
        let report = Report::new(&message, None, self.ended.0.clone());
        tokio::spawn(async move {
            let result = once(&calls, &alert, &message).await.map_err(|failure| match failure {
                Failure::Passing(why) | Failure::Lasting(why) => why,
            });
            // Who asked may have gone.
            let _ = answer.send(result.clone());
            report.is(result);
        });
    }

    fn sample(&self) -> Record {
        let node = self.setting.node;
        let text = format!("this is a test, asked for on {node}");
        records::plain(node, Level::Info, "alert-test", &text)
    }

    /// Tells readers how the alerts go.
    fn show(&self) {
        let shown = self.lines.iter().map(|(id, line)| {
            let waiting = line.numbers().count();
            (id.clone(), Track { waiting: waiting as u32, ..line.track.clone() })
        });
        let shown = shown.collect();
        *self.setting.tracks.lock().unwrap_or_else(PoisonError::into_inner) = shown;
    }

    /// Remembers what waits, where that has changed.
    fn remember(&mut self) {
        let kept =
            |line: &Line| Kept { waiting: line.numbers().collect(), track: line.track.clone() };
        let alerts = self.lines.iter().map(|(id, line)| (id.clone(), kept(line))).collect();
        if self.written.seen != 0 && alerts == self.written.alerts {
            return;
        }
        self.written = Memory { seen: self.next.saturating_sub(1), alerts };
        // What cannot be remembered is told all the same, unless the service ends before; that
        // the disk takes nothing the records say.
        let _ = self.written.write(&self.setting.path);
    }
}

impl Line {
    /// Of all records that are not told yet.
    fn numbers(&self) -> impl Iterator<Item = u64> {
        let flying = self.flying.iter().map(|flying| flying.record.number);
        flying.chain(self.waiting.iter().map(|record| record.number))
    }
}

async fn once(calls: &Semaphore, alert: &Alert, message: &Message) -> Result<String, Failure> {
    // The places are never closed.
    let _place = calls.acquire().await;
    call(alert, message).await
}
