//! What the API sees of the node service: the last published view, the records, and a way to ask.
//!
//! Reads never touch the core. A request goes to the core through the inbox; its answer comes
//! back here.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stead_api::contract::{
    AuditLog, Audited, Control, Controlled, Events, Explanation, Fit, Logs, NodeRecords, Place,
    Placement, Tested, Timeouts,
};
use stead_api::{Backend, Later, explain};
use stead_core::{Event, groups};
use stead_model::external::Installed;
use stead_model::program::ClusterLevel;
use stead_model::reason::{Code, Reason};
use stead_model::record::Level;
use stead_model::request::{Answer, Envelope};
use stead_model::view::{GroupView, NodeState, NodeView, View};
use stead_model::wire::monitor::Question;
use stead_model::{AlertId, GroupId, RequestId, ResourceId};
use tokio::sync::{oneshot, watch};

use crate::alerts::Alerts;
use crate::audit::Audit;
use crate::clock;
use crate::elsewhere::Elsewhere;
use crate::inbox::{ExplainWish, Inbox, Item, LogWish, QuestionWish};
use crate::records::Records;

/// Requests under way at once; more are refused.
const REQUESTS_MAX: usize = 1000;
/// About how long a line of output is, for asking the monitor for bytes.
const LINE_BYTES: usize = 200;
/// A monitor that works answers at once.
const OUTPUT_PATIENCE: Duration = Duration::from_secs(5);
/// Programs of others are given more time; the API gives up a little later.
const QUESTION_PATIENCE: Duration = Duration::from_secs(25);
/// Most output asked for.
const OUTPUT_BYTES_MAX: usize = 1 << 20;

/// Shared between the core thread, which publishes, and the API.
#[derive(Debug)]
pub(crate) struct Board {
    shown: Mutex<Shown>,
    waiting: Mutex<BTreeMap<RequestId, Vec<oneshot::Sender<Answer>>>>,
    sources: Sources,
    priority: String,
    client: u64,
    number: AtomicU64,
}

/// What the API sees besides the view.
#[derive(Debug)]
pub(crate) struct Sources {
    pub(crate) records: Arc<Records>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) alerts: Arc<Alerts>,
    pub(crate) elsewhere: Arc<Elsewhere>,
}

/// The last view, in two parts: groups are most of it and change least. They are put together
/// for the first reader, who is rare.
#[derive(Debug)]
struct Shown {
    /// Counts what was published.
    number: u64,
    rest: View,
    groups: Arc<Vec<GroupView>>,
    whole: Option<Arc<View>>,
}

impl Board {
    /// `client`: a random number for requests whose client gives no identity.
    pub(crate) fn new(mut view: View, sources: Sources, priority: String, client: u64) -> Self {
        let groups = Arc::new(std::mem::take(&mut view.groups));
        Self {
            shown: Mutex::new(Shown { number: 0, rest: view, groups, whole: None }),
            waiting: Mutex::default(),
            sources,
            priority,
            client,
            number: AtomicU64::new(1),
        }
    }

    /// Replaces the view; without `groups` it goes on to show those that were published last.
    pub(crate) fn publish(&self, rest: View, groups: Option<Vec<GroupView>>) {
        let groups = groups.map(Arc::new);
        let mut shown = self.shown();
        shown.number += 1;
        // What is replaced is dropped when nobody is kept waiting by it any more.
        let was = (std::mem::replace(&mut shown.rest, rest), shown.whole.take());
        let groups_were = groups.map(|groups| std::mem::replace(&mut shown.groups, groups));
        drop(shown);
        drop((was, groups_were));
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands an answer to whoever asked.
    pub(crate) fn answer(&self, id: RequestId, answer: &Answer) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        for asker in waiting.into_iter().flatten() {
            // Who asked may have gone.
            let _ = asker.send(answer.clone());
        }
    }

    /// Asks the programs of external types.
    async fn question(&self, question: Question) -> Result<Vec<u8>, String> {
        let (answer, receiver) = oneshot::channel();
        self.sources.inbox.push(Item::Question(QuestionWish { question, answer }));
        match tokio::time::timeout(QUESTION_PATIENCE, receiver).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err("the node service is ending".into()),
            Err(_) => Err("there is no answer in time".into()),
        }
    }

    fn wait_for(&self, id: RequestId) -> Result<oneshot::Receiver<Answer>, Reason> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= REQUESTS_MAX {
            waiting.retain(|_, askers| askers.iter().any(|a| !a.is_closed()));
        }
        if waiting.len() >= REQUESTS_MAX {
            let text = format!("{REQUESTS_MAX} requests wait on this node already");
            return Err(Reason::new(Code::TooMuch, text).hint("wait and repeat the request"));
        }
        waiting.entry(id).or_default().push(sender);
        Ok(receiver)
    }
}

/// Whether a node's program knows the question for its records: what is new to a program ends the
/// stream that brings it.
fn can_tell(node: &NodeView) -> bool {
    node.program.is_some_and(|program| program.levels.contain(ClusterLevel::PROGRAMS))
}

impl Backend for Board {
    fn view(&self) -> Arc<View> {
        let mut shown = self.shown();
        if let Some(whole) = &shown.whole {
            return Arc::clone(whole);
        }
        let (number, rest, groups) = (shown.number, shown.rest.clone(), Arc::clone(&shown.groups));
        drop(shown);
        let whole = Arc::new(View { groups: groups.to_vec(), ..rest });
        shown = self.shown();
        if shown.number == number {
            shown.whole = Some(Arc::clone(&whole));
        }
        drop(shown);
        whole
    }

    fn request(&self, envelope: Envelope) -> Later<'_, Answer> {
        let waiting = self.wait_for(envelope.id);
        Box::pin(async move {
            let receiver = match waiting {
                Ok(receiver) => receiver,
                Err(reason) => return Answer::Refused(reason),
            };
            self.sources.inbox.push(Item::Event(Event::Request(envelope)));
            receiver.await.unwrap_or_else(|_| {
                Answer::Refused(
                    Reason::new(Code::Timeout, "the node service is ending")
                        .hint("the request may still take effect; repeat it with the same id"),
                )
            })
        })
    }

    fn events(&self, since: u64, limit: usize) -> Events {
        self.sources.records.since(since, limit)
    }

    fn events_of_all(&self) -> Later<'_, Vec<NodeRecords>> {
        Box::pin(async move {
            let view = self.view();
            let others = view.nodes.iter().filter(|node| node.node != view.node);
            let (up, silent): (Vec<_>, Vec<_>) = others.partition(|n| n.state == NodeState::Up);
            let (asked, former): (Vec<_>, Vec<_>) = up.into_iter().partition(|n| can_tell(n));
            let asked: Vec<_> = asked.iter().map(|node| node.node).collect();
            let mut told = self.sources.elsewhere.records(&asked).await;
            let unasked = "its program is a former one, which others cannot ask for its records";
            told.extend(former.iter().map(|node| (node.node, Err(unasked.into()))));
            told.extend(silent.iter().map(|node| (node.node, Err("it is silent".into()))));
            told.push((view.node, Ok(self.sources.records.since(0, usize::MAX).records)));
            told.sort_by_key(|(node, _)| *node);
            let name = |id| view.nodes.iter().find(|n| n.node == id).map(|n| n.name.clone());
            let named = told.into_iter().map(|(node, records)| {
                let name = name(node).unwrap_or_else(|| node.to_string());
                NodeRecords { node, name, records }
            });
            named.collect()
        })
    }

    fn events_after(&self, next: u64) -> Later<'_, ()> {
        reaches(self.sources.records.watch(), next)
    }

    fn audit(&self, entry: Audited) {
        self.sources.audit.add(entry, (clock::now(), clock::utc()));
    }

    fn audited(&self, since: u64, limit: usize) -> AuditLog {
        self.sources.audit.since(since, limit)
    }

    fn audited_after(&self, next: u64) -> Later<'_, ()> {
        reaches(self.sources.audit.watch(), next)
    }

    fn logs<'a>(
        &'a self,
        resource: &'a ResourceId,
        lines: usize,
    ) -> Later<'a, Result<Logs, Reason>> {
        Box::pin(async move {
            let view = self.view();
            let mut all = view.groups.iter().flat_map(|g| &g.resources);
            if !all.any(|r| r.resource == *resource) {
                let text = format!("there is no resource `{resource}`");
                return Err(Reason::new(Code::NotFound, text)
                    .hint("`stead resource list` shows all resources"));
            }
            let (answer, receiver) = oneshot::channel();
            let bytes_max = (lines * LINE_BYTES).clamp(64 << 10, OUTPUT_BYTES_MAX) as u32;
            let wish = LogWish { resource: resource.clone(), bytes_max, answer };
            self.sources.inbox.push(Item::Logs(wish));
            let output = match tokio::time::timeout(OUTPUT_PATIENCE, receiver).await {
                Ok(Ok(output)) => output,
                Ok(Err(_)) => Err("the node service is ending".into()),
                Err(_) => Err("the resource monitor does not answer".into()),
            };
            match output {
                Ok(bytes) => Ok(last_lines(&bytes, lines)),
                Err(why) => Err(Reason::new(
                    Code::Conflict,
                    format!("no output of resource `{resource}` on this node"),
                )
                .because(why)
                .hint("ask the node that owns its group, with `--node`")),
            }
        })
    }

    fn installed_types(&self) -> Later<'_, Result<Vec<Installed>, Reason>> {
        Box::pin(async move {
            let none = || Reason::new(Code::Conflict, "cannot tell what types are installed here");
            let json = self.question(Question::Types).await.map_err(|why| none().because(why))?;
            serde_json::from_slice(&json).map_err(|error| none().because(error.to_string()))
        })
    }

    fn agent<'a>(&'a self, kind: &'a str) -> Later<'a, Result<Installed, Reason>> {
        Box::pin(async move {
            let none = |why: String| {
                Reason::new(Code::NotFound, format!("`{kind}` does not tell its table here"))
                    .because(why)
                    .hint(
                        "`stead resource-type list` shows what is installed; `--node` asks another \
                           node",
                    )
            };
            let json = self.question(Question::Agent { kind: kind.to_owned() }).await;
            serde_json::from_slice(&json.map_err(none)?).map_err(|error| none(error.to_string()))
        })
    }

    fn control<'a>(
        &'a self,
        who: &'a str,
        resource: &'a ResourceId,
        Control { code, text }: Control,
    ) -> Later<'a, Result<Controlled, Reason>> {
        Box::pin(async move {
            let what = format!("`{}` of resource `{resource}`", code.escape_debug());
            self.sources.records.note(Level::Info, "control", &format!("{who} asks {what}"));
            let resource = resource.clone();
            let asked = self.question(Question::Control { resource, code, text }).await;
            let answer = asked.map_err(|why| {
                Reason::new(Code::Conflict, format!("cannot ask {what}"))
                    .because(why)
                    .hint("`stead resource-type show TYPE` shows the control codes of a type")
            })?;
            Ok(Controlled { text: String::from_utf8_lossy(&answer).into_owned() })
        })
    }

    fn test_alert<'a>(
        &'a self,
        who: &'a str,
        alert: &'a AlertId,
    ) -> Later<'a, Result<Tested, Reason>> {
        Box::pin(async move {
            if !self.view().alerts.iter().any(|known| known.alert == *alert) {
                let text = format!("there is no alert `{alert}`");
                return Err(
                    Reason::new(Code::NotFound, text).hint("`stead alert list` shows all alerts")
                );
            }
            let text = format!("{who} tests alert `{alert}`");
            self.sources.records.note(Level::Info, "alert-tested", &text);
            let told = self.sources.alerts.test(alert).await;
            told.map(|text| Tested { text }).map_err(|why| {
                let text = format!("the test of alert `{alert}` did not get through");
                Reason::new(Code::Conflict, text).because(why)
            })
        })
    }

    fn explain_group<'a>(&'a self, group: &'a GroupId) -> Later<'a, Result<Explanation, Reason>> {
        Box::pin(async move {
            let (answer, receiver) = oneshot::channel();
            self.sources.inbox.push(Item::Explain(ExplainWish { group: group.clone(), answer }));
            let placement = receiver.await.ok().flatten().map(placement).unwrap_or_default();
            let told = self.events_of_all().await;
            explain::group(&self.view(), told, placement, group)
        })
    }

    fn explain_timeouts(&self) -> Timeouts {
        explain::timeouts(self.view().profile, &self.priority)
    }

    fn next_request_id(&self) -> RequestId {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        RequestId { client: self.client, number }
    }
}

/// Completes when a number reaches another one.
fn reaches<'a>(mut number: watch::Receiver<u64>, next: u64) -> Later<'a, ()> {
    Box::pin(async move {
        // An error means that the service ends, and this future with it.
        let _ = number.wait_for(|last| *last >= next).await;
    })
}

fn placement(told: groups::Explanation) -> Placement {
    let place = |candidate: groups::Candidate| Place {
        node: candidate.node,
        fit: match candidate.fit {
            groups::Fit::Possible => Fit::Possible,
            groups::Fit::Barred => Fit::Barred,
            groups::Fit::Unavailable => Fit::Unavailable,
            groups::Fit::Excluded => Fit::Excluded,
        },
        why: candidate.why,
    };
    let places = told.nodes.into_iter().map(place).collect();
    Placement { decides: told.decides, next: told.next, places }
}

fn last_lines(bytes: &[u8], lines: usize) -> Logs {
    let text = String::from_utf8_lossy(bytes);
    let mut last: Vec<String> = text.lines().rev().take(lines).map(str::to_owned).collect();
    last.reverse();
    Logs { lines: last }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_model::request::Request;
    use stead_model::{LogIndex, NodeId};

    fn board() -> Board {
        let inbox = Arc::new(Inbox::new().unwrap());
        let records = Arc::new(Records::in_memory(NodeId(1)));
        let path = std::path::PathBuf::from("/nowhere");
        let alerts = Alerts::new(path, String::new(), NodeId(1), Arc::clone(&records));
        let (audit, alerts) = (Arc::new(Audit::in_memory(NodeId(1))), Arc::new(alerts));
        let elsewhere = Arc::new(Elsewhere::new(1, Arc::clone(&inbox)));
        let sources = Sources { records, audit, inbox, alerts, elsewhere };
        Board::new(View::default(), sources, String::new(), 7)
    }

    fn envelope(id: RequestId) -> Envelope {
        let request = Request::SetKey { key: "k".into(), value: None };
        Envelope { id, who: "test".into(), request }
    }

    #[test]
    fn everybody_who_asks_under_one_identity_gets_the_answer() {
        let (board, id) = (board(), RequestId { client: 1, number: 1 });
        let (first, second) = (board.request(envelope(id)), board.request(envelope(id)));
        let answer = Answer::Done { index: LogIndex(3) };
        board.answer(id, &answer);
        let runtime = crate::threads::runtime().unwrap();
        runtime.block_on(async {
            assert_eq!(first.await, answer);
            assert_eq!(second.await, answer);
        });
    }

    #[test]
    fn readers_see_the_last_view_with_the_last_groups() {
        let board = board();
        let group = stead_api::document::example_group("web");
        board.publish(View { applied: LogIndex(1), ..View::default() }, Some(vec![group.clone()]));
        assert_eq!((board.view().applied, board.view().groups.len()), (LogIndex(1), 1));
        assert!(Arc::ptr_eq(&board.view(), &board.view()), "put together once");
        board.publish(View { applied: LogIndex(2), ..View::default() }, None);
        assert_eq!((board.view().applied, &board.view().groups), (LogIndex(2), &vec![group]));
        board.publish(View::default(), Some(Vec::new()));
        assert_eq!(board.view().groups, []);
    }

    #[test]
    fn requests_without_an_answer_are_bounded_and_make_room_when_given_up() {
        let board = board();
        let id = |number| RequestId { client: 1, number };
        let held: Vec<_> =
            (0..REQUESTS_MAX as u64).map(|n| board.request(envelope(id(n)))).collect();
        assert!(board.wait_for(id(9999)).is_err());
        drop(held);
        assert!(board.wait_for(id(9999)).is_ok());
    }

    #[test]
    fn the_last_lines_are_shown_oldest_first() {
        assert_eq!(last_lines(b"a\nb\nc\xff\n", 2).lines, ["b", "c\u{fffd}"]);
    }
}
