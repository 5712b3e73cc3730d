//! What the other nodes recorded: asked of their node services, page by page, over the streams
//! between nodes.
//!
//! Memory of executors, not of the cluster: no core has to do with it. A node that does not answer
//! in time is named with the reason, and the others are told without it. An answer counts once,
//! if it comes from the node that was asked, and if it tells nothing but what that node recorded.
//!
//! Not here: how the records of all nodes become one list (`stead_api::events`).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stead_model::NodeId;
use stead_model::record::{Record, RecordsPage, RecordsWanted};
use stead_model::wire::peer::PeerMessage;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::inbox::{Inbox, Item};
use crate::lines::KEPT;

/// All nodes have answered within this time, or are left out.
const PATIENCE: Duration = Duration::from_secs(2);
/// Readers that ask all nodes at once; more wait for their turn.
const READERS_MAX: usize = 4;
/// Pages taken of one node: more than what a node usually keeps for readers.
const PAGES_MAX: usize = 8;

/// Questions to other nodes.
#[derive(Debug)]
pub(crate) struct Elsewhere {
    asked: Mutex<BTreeMap<u64, Asked>>,
    /// Of the next question; begins at random, so that no answer to a former life counts.
    number: AtomicU64,
    readers: Semaphore,
    patience: Duration,
    inbox: Arc<Inbox>,
}

/// What a node told, or why it did not.
type Told = Result<Vec<Record>, String>;

/// A question under way.
#[derive(Debug)]
struct Asked {
    node: NodeId,
    answer: oneshot::Sender<RecordsPage>,
}

/// Forgets a question that nobody waits for any more.
struct Open<'a>(&'a Elsewhere, u64);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.asked().remove(&self.1);
    }
}

impl Elsewhere {
    /// Nothing is asked yet; `first`: a random number.
    pub(crate) fn new(first: u64, inbox: Arc<Inbox>) -> Self {
        let (asked, number) = (Mutex::default(), AtomicU64::new(first));
        let (readers, patience) = (Semaphore::new(READERS_MAX), PATIENCE);
        Self { asked, number, readers, patience, inbox }
    }

    fn asked(&self) -> MutexGuard<'_, BTreeMap<u64, Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a node answered; dropped if it was not asked that, or not any more.
    pub(crate) fn answered(&self, from: NodeId, page: RecordsPage) {
        let mut asked = self.asked();
        if asked.get(&page.ask).is_some_and(|open| open.node == from)
            && let Some(open) = asked.remove(&page.ask)
        {
            // Who asked may have gone.
            let _ = open.answer.send(page);
        }
    }

    /// The records that nodes keep for readers, or why a node does not tell them.
    pub(crate) async fn records(self: &Arc<Self>, nodes: &[NodeId]) -> Vec<(NodeId, Told)> {
        let Ok(Ok(_reader)) = timeout(self.patience, self.readers.acquire()).await else {
            let late = || Err("too many readers ask all nodes by this one".into());
            return nodes.iter().map(|node| (*node, late())).collect();
        };
        let until = Instant::now() + self.patience;
        let mut asking = tokio::task::JoinSet::new();
        for &node in nodes {
            let own = Arc::clone(self);
            asking.spawn(async move {
                let told = timeout_at(until, own.of_node(node)).await;
                let late = || Err(format!("it did not answer within {:?}", own.patience));
                (node, told.unwrap_or_else(|_| late()))
            });
        }
        let mut told = asking.join_all().await;
        told.sort_by_key(|(node, _)| *node);
        told
    }

    async fn of_node(&self, node: NodeId) -> Told {
        let mut all: Vec<Record> = Vec::new();
        for _ in 0..PAGES_MAX {
            let before = all.first().map_or(u64::MAX, |record| record.number);
            let page = self.page(node, before).await?;
            let mut earlier = read(node, before, &page)?;
            let is_over = earlier.first().is_none_or(|record| record.number <= page.oldest);
            earlier.append(&mut all);
            all = earlier;
            if is_over || all.len() >= KEPT {
                break;
            }
        }
        Ok(all)
    }

    async fn page(&self, node: NodeId, before: u64) -> Result<RecordsPage, String> {
        let (answer, receiver) = oneshot::channel();
        let ask = self.number.fetch_add(1, Ordering::Relaxed);
        self.asked().insert(ask, Asked { node, answer });
        let _open = Open(self, ask);
        let wanted = RecordsWanted { ask, before };
        self.inbox.push(Item::Mail(node, PeerMessage::RecordsWanted(wanted)));
        receiver.await.map_err(|_| "the node service is ending".to_owned())
    }
}

/// Reads a page: records of that node and of no other, in order, below a number.
fn read(node: NodeId, before: u64, page: &RecordsPage) -> Told {
    if page.lines.len() > 2 * RecordsPage::BYTES_MAX {
        return Err("its answer is too long".into());
    }
    let mut records: Vec<Record> = Vec::new();
    for line in page.lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let record: Record = serde_json::from_slice(line)
            .map_err(|error| format!("its answer cannot be read: {error}"))?;
        let is_next = records.last().is_none_or(|last| last.number < record.number);
        if record.node != node || record.number >= before || !is_next {
            return Err("its answer is not what it was asked".into());
        }
        records.push(record);
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Records;
    use stead_model::record::Level;

    fn elsewhere() -> (Arc<Elsewhere>, Arc<Inbox>) {
        let inbox = Arc::new(Inbox::new().unwrap());
        let own = Elsewhere::new(7, Arc::clone(&inbox));
        (Arc::new(Elsewhere { patience: Duration::from_secs(60), ..own }), inbox)
    }

    fn wanted(inbox: &Inbox) -> Option<(NodeId, RecordsWanted)> {
        match inbox.pop()? {
            Item::Mail(to, PeerMessage::RecordsWanted(wanted)) => Some((to, wanted)),
            other => panic!("{other:?}"),
        }
    }

    /// Asks nodes; `act` carries questions to them.
    fn ask(
        nodes: &[NodeId],
        mut act: impl FnMut(&Elsewhere, NodeId, RecordsWanted),
    ) -> Vec<(NodeId, Told)> {
        let (own, inbox) = elsewhere();
        crate::threads::runtime().unwrap().block_on(async {
            let asking = own.records(nodes);
            let answering = async {
                loop {
                    while let Some((to, wanted)) = wanted(&inbox) {
                        act(&own, to, wanted);
                    }
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                told = asking => told,
                () = answering => unreachable!("it goes on for ever"),
            }
        })
    }

    #[test]
    fn all_that_a_node_keeps_is_told_page_by_page() {
        let two = Records::in_memory(NodeId(2));
        for number in 0..1500 {
            two.note(Level::Info, "test", &format!("{number} {}", "x".repeat(800)));
        }
        let mut pages = 0;
        let told = ask(&[NodeId(2)], |own, to, wanted| {
            let page = two.page(wanted);
            assert!(page.lines.len() <= RecordsPage::BYTES_MAX);
            pages += 1;
            own.answered(to, page);
        });
        assert_eq!(told, [(NodeId(2), Ok(two.since(0, usize::MAX).records))]);
        assert!(pages > 2, "{pages}");
    }

    #[test]
    fn nothing_counts_that_another_node_says_or_that_is_not_about_itself() {
        let two = Records::in_memory(NodeId(2));
        two.note(Level::Info, "test", "said by n2");
        let told = ask(&[NodeId(2)], |own, to, wanted| {
            // An evicted or foreign node that guesses the number of the question.
            own.answered(NodeId(9), RecordsPage { lines: Vec::new(), ..two.page(wanted) });
            own.answered(to, RecordsPage { ask: wanted.ask + 1, ..two.page(wanted) });
            own.answered(to, two.page(wanted));
            own.answered(to, RecordsPage { lines: Vec::new(), ..two.page(wanted) });
        });
        assert_eq!(told[0].1.as_ref().unwrap().len(), 1);
        let lies = |change: &dyn Fn(&mut Record)| {
            let mut records = two.since(0, 9).records;
            change(&mut records[0]);
            let lines = serde_json::to_vec(&records[0]).unwrap();
            read(NodeId(2), 5, &RecordsPage { ask: 1, oldest: 1, lines })
        };
        assert_eq!(lies(&|_| {}).unwrap().len(), 1);
        assert!(lies(&|record| record.node = NodeId(3)).is_err());
        assert!(lies(&|record| record.number = 5).is_err());
        let long = vec![b'\n'; 2 * RecordsPage::BYTES_MAX + 1];
        assert!(read(NodeId(2), 5, &RecordsPage { ask: 1, oldest: 1, lines: long }).is_err());
    }

    #[test]
    fn a_silent_node_is_named_what_it_was_asked_forgotten_and_readers_are_bounded() {
        let inbox = Arc::new(Inbox::new().unwrap());
        let own = Elsewhere { patience: Duration::ZERO, ..Elsewhere::new(7, inbox) };
        let own = Arc::new(own);
        crate::threads::runtime().unwrap().block_on(async {
            let nodes = [NodeId(2)];
            let readers: Vec<_> = (0..READERS_MAX).map(|_| own.readers.try_acquire()).collect();
            let why = own.records(&nodes).await.remove(0).1.unwrap_err();
            assert!(why.starts_with("too many"), "{why}");
            drop(readers);
            let told = own.records(&nodes).await;
            assert_eq!(told, [(NodeId(2), Err("it did not answer within 0ns".into()))]);
        });
        assert!(own.asked().is_empty());
    }
}
