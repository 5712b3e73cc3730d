//! Looks at resources that somebody wants, before they are committed: could they run here?
//!
//! No seat is touched and the guard is not asked. A declaration may want hundreds of them, and a
//! look may hang in a file system that is away, so a few threads take them from one queue: none
//! is there while nobody asks, and one that hangs keeps the others from nothing. Every order is
//! answered, unless its own look hangs.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use stead_model::order::{
    Action, Fitness, OnlineSpec, Outcome, ResourceOrder, ResourceReport, Wanted,
};
use stead_model::probe::{Probe, ProbePlan};
use stead_model::resource_type::split_words;
use stead_model::wire::monitor::MonitorToNode;
use stead_model::{Span, Time};

use super::STACK_BYTES;
use super::node_port::NodeLink;
use super::seat::Desk;
use crate::host::clock::boot_time;
use crate::resource_type::{Apart, Context};
use crate::types;

/// Threads at most, those that hang included.
const THREADS_MAX: usize = 4;
/// After this nobody waits for the answer any more.
const LATE: Span = Span::from_secs(5);

/// The queue and its threads.
#[derive(Clone, Default, Debug)]
pub(super) struct Inspector(Arc<Mutex<Queue>>);

#[derive(Default, Debug)]
struct Queue {
    waiting: VecDeque<Job>,
    threads: usize,
}

#[derive(Debug)]
struct Job {
    order: ResourceOrder,
    context: Context,
    link: NodeLink,
    since: Time,
}

impl Inspector {
    /// Takes an order to look.
    pub(super) fn take(&self, desk: &Desk, order: ResourceOrder, link: NodeLink) {
        let Action::Fit(wanted) = &order.action else { return };
        let context = desk.apart(&wanted.spec);
        let job = Job { order, context, link, since: boot_time() };
        let mut queue = self.lock();
        queue.waiting.push_back(job);
        if queue.threads >= THREADS_MAX {
            return;
        }
        queue.threads += 1;
        drop(queue);
        let own = self.clone();
        let work = move || while own.look_at_next() {};
        if thread::Builder::new().stack_size(STACK_BYTES).spawn(work).is_err() {
            // The queue waits for a thread that is there, or for the next order.
            self.lock().threads -= 1;
        }
    }

    /// Looks at the next one; `false`: there is none, and the thread is no longer counted.
    fn look_at_next(&self) -> bool {
        let mut queue = self.lock();
        let Some(job) = queue.waiting.pop_front() else {
            queue.threads -= 1;
            return false;
        };
        drop(queue);
        let fitness = match boot_time().since(job.since) > LATE {
            true => Fitness::Unsure("its monitor has too much to look at".to_owned()),
            false => catch_unwind(AssertUnwindSafe(|| look(&job)))
                .unwrap_or_else(|_| Fitness::Unsure("the resource type panicked".to_owned())),
        };
        let ResourceOrder { order, group, resource, epoch, .. } = job.order;
        let outcome = Outcome::Fitness(fitness);
        let report = ResourceReport { order, group, resource, epoch, outcome };
        job.link.send(MonitorToNode::Report(report));
        true
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn look(job: &Job) -> Fitness {
    let Action::Fit(wanted) = &job.order.action else {
        return Fitness::Unsure("it was not asked for".to_owned());
    };
    let Wanted { spec, mounts } = &**wanted;
    let apart = Apart(mounts.iter().map(Into::into).collect());
    match types::open(spec, job.context.clone()) {
        Err(fault) => Fitness::Unfit(vec![fault.to_string()]),
        Ok(kind) => match (kind.fitness(&apart), probe(spec, &apart)) {
            (Fitness::Unfit(missing), Some(more)) => {
                Fitness::Unfit(missing.into_iter().chain([more]).collect())
            }
            (_, Some(missing)) => Fitness::Unfit(vec![missing]),
            (fitness, None) => fitness,
        },
    }
}

/// What is missing for its health probe.
fn probe(spec: &OnlineSpec, apart: &Apart) -> Option<String> {
    let Probe::Command { command, .. } = ProbePlan::of(&spec.properties)?.what else { return None };
    let program = split_words(&command)?.into_iter().next()?;
    types::program("probe", Path::new(&program), apart)
}
