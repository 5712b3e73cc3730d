//! What follows for each resource of a group from where the others are, kept from one event to the
//! next, so that an event costs what it changes and not what the group holds.
//!
//! Whoever changes a machine touches it ([`Outlook::touch`]). What follows is then worked out anew
//! for the machine, for what it stands on (nothing may wait for it any more) and for what stands on
//! it (it may be online now); a resource that must go down takes along what stands on it, upward
//! through the tree. Only those are looked at for orders.
//!
//! The rules are those of [`super::orders`]; here is only who is asked again. An outlook that was
//! mended step by step is the same as a new one: small groups are held against that with debug
//! assertions always, and in the simulator's soaks now and then.

use std::collections::{BTreeMap, BTreeSet};

use stead_model::resource::ResourceConfig;
use stead_model::{ResourceId, Time};

use super::holding::{Holding, cannot_stop};
use super::machine::{Machine, State};
use super::orders;
use super::timers::Timers;
use crate::db::tree;

/// Larger groups are not held against a look at everything.
const CHECKED_MAX: usize = 16;
/// In the simulator's soaks one of so many looks is.
const CHECKED_OF: u64 = 8;

type Ids = BTreeSet<ResourceId>;

/// What follows for the resources of one group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Outlook {
    /// Places in the order in which resources come online; in or above a circle there is none.
    places: BTreeMap<ResourceId, usize>,
    /// What stands, or stood when this was made, on each resource; and what each stands on.
    above: BTreeMap<ResourceId, Ids>,
    below: BTreeMap<ResourceId, Ids>,
    /// Those that shall be online.
    pub(super) wanted: Ids,
    /// Those that shall not stay online, or not come online.
    pub(super) down: Ids,
    /// Those of which something may act.
    up: Ids,
    online: Ids,
    /// Those that would be started, if the epoch allowed it.
    pub(super) startable: Ids,
    /// Those that failed beyond their policy or cannot be stopped.
    pub(super) hopeless: Ids,
    /// When each is to be looked at again by time alone.
    pub(super) timers: Timers<ResourceId>,
    /// Those whose machines changed since the last look.
    touched: Ids,
    /// Those for which something else follows than before: orders may be due.
    pub(super) look: Ids,
    /// Those whose orders were refused: looked at again under a newer lease.
    pub(super) waiting: Ids,
    /// Those that others may have to be told of.
    pub(super) untold: Ids,
    /// How many times a resource was looked at.
    pub(super) looks: u64,
}

impl Outlook {
    pub(super) const fn new() -> Self {
        Self {
            places: BTreeMap::new(),
            above: BTreeMap::new(),
            below: BTreeMap::new(),
            wanted: Ids::new(),
            down: Ids::new(),
            up: Ids::new(),
            online: Ids::new(),
            startable: Ids::new(),
            hopeless: Ids::new(),
            timers: Timers::new(),
            touched: Ids::new(),
            look: Ids::new(),
            waiting: Ids::new(),
            untold: Ids::new(),
            looks: 0,
        }
    }

    /// The machine of this resource changed.
    pub(super) fn touch(&mut self, id: &ResourceId) {
        self.touched.insert(id.clone());
    }

    /// Whether a resource can come online at all: it is in no circle, nor above one.
    pub(super) fn has_place(&self, id: &ResourceId) -> bool {
        self.places.contains_key(id)
    }

    /// Whether nothing of any resource acts.
    pub(super) fn is_down(&self) -> bool {
        self.up.is_empty()
    }

    /// Whether as many are online as shall be.
    pub(super) fn may_be_online(&self) -> bool {
        self.online.len() >= self.wanted.len()
    }

    /// What may stand on a resource.
    pub(super) fn above(&self, id: &ResourceId) -> impl Iterator<Item = &ResourceId> {
        self.above.get(id).into_iter().flatten()
    }

    /// The tree of the group changed: all that runs and all that the database has now.
    fn shape(&mut self, resources: &tree::Resources, machines: &BTreeMap<ResourceId, Machine>) {
        let order = tree::online_order(resources).into_iter();
        self.places = order.enumerate().map(|(place, r)| (r.id.clone(), place)).collect();
        (self.above, self.below) = Default::default();
        let running = machines.iter().filter_map(|(id, m)| Some((id, m.running.as_ref()?)));
        for (id, config) in resources.iter().chain(running) {
            for on in &config.depends_on {
                self.above.entry(on.clone()).or_default().insert(id.clone());
                self.below.entry(id.clone()).or_default().insert(on.clone());
            }
        }
    }

    fn put(set: &mut Ids, id: &ResourceId, belongs: bool) -> bool {
        if belongs { !set.contains(id) && set.insert(id.clone()) } else { set.remove(id) }
    }
}

impl Holding {
    /// What the database says of the group changed: all is looked at anew.
    pub(super) fn renew_outlook(&mut self) {
        self.outlook.touched.extend(self.outlook.places.keys().cloned());
        self.outlook.shape(&self.resources, &self.machines);
        self.outlook.wanted = self.wants();
        self.touch_all();
    }

    pub(super) fn touch_all(&mut self) {
        self.outlook.touched.extend(self.machines.keys().cloned());
    }

    /// Works out what follows from the machines that were touched.
    pub(super) fn mend_outlook(&mut self) {
        let touched = std::mem::take(&mut self.outlook.touched);
        if touched.is_empty() {
            return;
        }
        let mut look: Ids = touched.clone();
        let mut changed: Ids = touched.clone();
        // From below to above, so that each is judged once.
        let place = |outlook: &Outlook, id: &ResourceId| {
            (outlook.places.get(id).copied().unwrap_or(usize::MAX), id.clone())
        };
        let mut queue: BTreeSet<(usize, ResourceId)> =
            touched.iter().map(|id| place(&self.outlook, id)).collect();
        while let Some((_, id)) = queue.pop_first() {
            let down = self.machines.contains_key(&id) && orders::must_go_down(self, &id);
            let turned = Outlook::put(&mut self.outlook.down, &id, down);
            if turned || touched.contains(&id) {
                changed.insert(id.clone());
                // By what the database has now, which goes in no circle; what runs may.
                let stands = |above: &&ResourceId| stands_on(self.resources.get(*above), &id);
                let placed = |above: &&ResourceId| self.outlook.has_place(above);
                let above = self.outlook.above(&id).filter(stands).filter(placed);
                queue.extend(above.map(|above| place(&self.outlook, above)));
                look.extend(self.outlook.above(&id).cloned());
            }
        }
        let below = changed.iter().filter_map(|id| self.outlook.below.get(id)).flatten();
        look.extend(below.cloned());
        look.append(&mut changed);
        for id in &look {
            self.look_again(id);
        }
        self.outlook.looks += look.len() as u64;
        self.outlook.untold.extend(touched);
        self.outlook.look.extend(look);
    }

    /// What follows for one resource, all others given.
    fn look_again(&mut self, id: &ResourceId) {
        let due = self.machines.get(id).and_then(Machine::due);
        let due = due.filter(|_| orders::may_time_out(self, id));
        let startable = orders::is_startable(self, id);
        let machine = self.machines.get(id);
        let up = machine.is_some_and(|m| !m.is_down());
        let online = machine.is_some_and(Machine::is_online);
        let hopeless = machine
            .is_some_and(|m| matches!(m.state, State::Failed(_)) || cannot_stop(m).is_some());
        let outlook = &mut self.outlook;
        outlook.timers.set(id, due);
        Outlook::put(&mut outlook.startable, id, startable);
        Outlook::put(&mut outlook.up, id, up);
        Outlook::put(&mut outlook.online, id, online);
        Outlook::put(&mut outlook.hopeless, id, hopeless);
    }

    /// Whether what is mended step by step is held against a look at everything now.
    pub(super) fn is_checked(&self) -> bool {
        let sampled = || cfg!(feature = "planted") && self.outlook.looks.is_multiple_of(CHECKED_OF);
        self.machines.len() <= CHECKED_MAX && (cfg!(debug_assertions) || sampled())
    }

    /// Panics if the outlook is not what a look at everything would give.
    pub(super) fn check_outlook(&self) {
        let mut anew = self.clone();
        anew.outlook = Outlook::new();
        anew.renew_outlook();
        anew.mend_outlook();
        let sets = |o: &'_ Outlook| {
            [&o.wanted, &o.down, &o.up, &o.online, &o.startable, &o.hopeless].map(Ids::clone)
        };
        assert_eq!(self.outlook.places, anew.outlook.places, "{}", self.group());
        assert_eq!(sets(&self.outlook), sets(&anew.outlook), "{}", self.group());
    }

    /// Panics if a resource that takes orders is not looked at when it is due.
    pub(super) fn check_timer(&self, id: &ResourceId, now: Time) {
        let due = self.machines.get(id).and_then(Machine::due);
        let due = due.filter(|_| orders::may_time_out(self, id));
        let set = self.outlook.timers.get(id);
        // What was due was looked at; nothing is done about what is left alone.
        let looked_at = set.is_none() && due.is_some_and(|due| due <= now);
        assert!(set == due || looked_at, "resource {id}: {set:?}, not {due:?}");
    }
}

/// What a resource is configured to stand on.
pub(super) fn stands_on(config: Option<&ResourceConfig>, id: &ResourceId) -> bool {
    config.is_some_and(|config| config.depends_on.contains(id))
}
