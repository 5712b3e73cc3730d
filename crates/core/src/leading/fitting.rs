//! Resources are looked at before they are committed: the leader asks their possible owners
//! whether they could run there, and refuses what a node lacks something for.
//!
//! Asked is who can be asked: a node that is away or whose monitor does not answer within
//! [`PATIENCE`] holds nothing up for longer, and whoever asked is told of it. A request that is
//! forced asks nobody. No safety hangs on any of this: what is missing on a node only makes a
//! start there fail.

use std::collections::{BTreeMap, BTreeSet};

use stead_model::change::Change;
use stead_model::ocf::{self, Reach};
use stead_model::order::Fitness;
use stead_model::reason::{Code, Reason};
use stead_model::request::{Answer, Envelope, Request};
use stead_model::resource::ResourceConfig;
use stead_model::resource_type::{MOUNT_POINT, PHYSICAL_DISK};
use stead_model::wire::peer::{FitAnswer, PeerMessage, WantedResource};
use stead_model::{GroupId, NodeId, RequestId, ResourceId, Span, Time};

use super::advice::Advised;
use super::{Around, Leading, Mail, requests, send_answer};
use crate::consensus::replica::Replica;
use crate::db::Db;
use crate::effect::Channel;
use crate::groups::Decision;
use crate::resources::machine;

/// How long a request waits for the possible owners. An agent that describes itself is a shell
/// script, and there may be many of them.
pub const PATIENCE: Span = Span::from_secs(2);
/// Findings that a refusal names; it says how many more there are.
const NAMED_MAX: usize = 5;

/// A request whose resources are looked at.
#[derive(Debug)]
pub(super) struct Fitting {
    envelope: Envelope,
    /// The nodes that wait for the answer to the request.
    askers: Vec<NodeId>,
    waits_for: BTreeSet<NodeId>,
    /// What does not fit, by resource and node.
    unfit: BTreeMap<(ResourceId, NodeId), Vec<String>>,
    /// Where types want more time.
    advised: Advised,
    /// What whoever asked shall know, with the nodes that say it.
    notices: BTreeMap<String, BTreeSet<NodeId>>,
    /// When the request goes on, answered or not.
    pub(super) until: Time,
}

/// What a request waits for before its entry, and what whoever asked shall know.
#[derive(Default, Debug)]
pub(super) struct Waiting {
    /// The nodes that wait for the answer.
    pub(super) askers: Vec<NodeId>,
    /// Sentences for the answer.
    pub(super) notices: Vec<String>,
}

/// The question for one node.
type Question = Vec<WantedResource>;

impl Leading {
    /// Whether possible owners look at what this request wants already; then whoever asks waits.
    pub(super) fn is_fitting(&mut self, id: RequestId, from: NodeId) -> bool {
        let Some(fitting) = self.fitting.get_mut(&id) else { return false };
        if !fitting.askers.contains(&from) {
            fitting.askers.push(from);
        }
        true
    }

    /// Asks the possible owners of what a decision makes or changes; `false`: there is nobody to
    /// ask about anything.
    pub(super) fn fit(
        &mut self,
        replica: &Replica,
        (from, envelope): (NodeId, &Envelope),
        decision: &Decision,
        around: &mut Around<'_>,
    ) -> bool {
        if matches!(envelope.request, Request::Force { .. }) {
            return false;
        }
        let wanted = wanted(&replica.db, decision.changes(), around.nodes);
        let mounts = mounts(&replica.db, decision.changes());
        let mut notices: BTreeMap<String, BTreeSet<NodeId>> = BTreeMap::new();
        let mut waits_for = BTreeSet::new();
        for (to, wanted) in wanted {
            if !around.heard.contains(&to) {
                notices.entry(unchecked("it does not answer")).or_default().insert(to);
                continue;
            }
            let (id, mounts) = (envelope.id, mounts.clone());
            let message = PeerMessage::FitQuestion { id, wanted, mounts };
            around.mail.push(Mail { to, channel: Channel::Stream, message });
            waits_for.insert(to);
        }
        if waits_for.is_empty() && notices.is_empty() {
            return false;
        }
        let until = if waits_for.is_empty() { around.now } else { around.now + PATIENCE };
        let (envelope, askers) = (envelope.clone(), vec![from]);
        let (unfit, advised) = (BTreeMap::new(), Advised::default());
        let fitting = Fitting { envelope, askers, waits_for, unfit, advised, notices, until };
        self.fitting.insert(fitting.envelope.id, fitting);
        true
    }

    /// A possible owner says something.
    pub(crate) fn fitted(
        &mut self,
        from: NodeId,
        (id, answer): (RequestId, FitAnswer),
        around: &Around<'_>,
    ) {
        let Some(fitting) = self.fitting.get_mut(&id).filter(|f| f.waits_for.contains(&from))
        else {
            return;
        };
        let mut note = |text: String| {
            fitting.notices.entry(text).or_default().insert(from);
        };
        let left = match answer {
            FitAnswer::Unable(why) => {
                note(unchecked(&why));
                0
            }
            FitAnswer::Looked { misfit, left } => {
                match misfit {
                    Some((resource, Fitness::Unfit(causes))) => {
                        fitting.unfit.insert((resource, from), causes);
                    }
                    Some((resource, Fitness::Unsure(why))) => {
                        note(unchecked(&format!("`{resource}`: {why}")));
                    }
                    Some((resource, Fitness::Advised(all))) => {
                        fitting.advised.hear(&resource, all);
                    }
                    Some((_, Fitness::Fit)) | None => {}
                }
                left
            }
        };
        if left == 0 {
            fitting.waits_for.remove(&from);
        }
        if fitting.waits_for.is_empty() {
            fitting.until = around.now;
        }
    }

    /// Requests whose possible owners have looked, or had their time, are refused, or decided
    /// anew and proposed.
    pub(super) fn fit_on(&mut self, replica: &mut Replica, around: &mut Around<'_>) {
        let due = self.fitting.iter().filter(|(_, f)| f.until <= around.now);
        for id in due.map(|(id, _)| *id).collect::<Vec<_>>() {
            let Some(fitting) = self.fitting.remove(&id) else { continue };
            let answer = match fitting.refusal() {
                Some(reason) => Some(Answer::Refused(reason)),
                None => match self.decide(replica, &fitting.envelope, around) {
                    Err(reason) => Some(Answer::Refused(reason)),
                    Ok(mut decision) => {
                        let nodes = around.nodes;
                        let request = &fitting.envelope.request;
                        let advised = fitting.advised.take(request, &mut decision, nodes);
                        let notices = [fitting.notices(), advised].concat();
                        let at_once = requests::answered_at_once(replica, &decision, &notices);
                        match at_once {
                            Some(answer) => Some(answer),
                            None => {
                                match self.carry_out(replica, &fitting.envelope, decision, around) {
                                    Ok(true) => {
                                        let askers = fitting.askers;
                                        self.requests.insert(id, Waiting { askers, notices });
                                        return;
                                    }
                                    Ok(false) => None,
                                    Err(reason) => Some(Answer::Refused(reason)),
                                }
                            }
                        }
                    }
                },
            };
            for to in fitting.askers {
                send_answer(around, to, id, answer.clone());
            }
        }
    }
}

impl Fitting {
    fn refusal(&self) -> Option<Reason> {
        let (resource, _) = self.unfit.keys().next()?;
        let nodes: BTreeSet<NodeId> = self.unfit.keys().map(|(_, node)| *node).collect();
        let resources: BTreeSet<&ResourceId> = self.unfit.keys().map(|(r, _)| r).collect();
        let (several, alone) = (resources.len() > 1, nodes.len() == 1);
        let nodes = joined(&nodes);
        let text = match several {
            false => format!("resource `{resource}` cannot run on {nodes}"),
            true => format!("{} resources cannot run on {nodes}", resources.len()),
        };
        let all: Vec<String> = self
            .unfit
            .iter()
            .flat_map(|((resource, node), causes)| {
                causes.iter().map(move |cause| match several {
                    false if alone => cause.clone(),
                    false => format!("{node}: {cause}"),
                    true => format!("`{resource}` on {node}: {cause}"),
                })
            })
            .collect();
        let mut cause = all.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join("; ");
        if all.len() > NAMED_MAX {
            cause.push_str(&format!("; and {} more", all.len() - NAMED_MAX));
        }
        let hint = format!(
            "put that right on {nodes}, or leave {nodes} out of `possible-owners`; `--force` does \
             it all the same"
        );
        Some(Reason::new(Code::Conflict, text).because(cause).hint(hint))
    }

    /// What whoever asked shall know, each sentence with its nodes before it.
    fn notices(&self) -> Vec<String> {
        let mut all = self.notices.clone();
        if !self.waits_for.is_empty() {
            let silent = all.entry(unchecked("its monitor does not answer")).or_default();
            silent.extend(&self.waits_for);
        }
        all.iter().map(|(text, nodes)| format!("{}: {text}", joined(nodes))).collect()
    }
}

fn unchecked(why: &str) -> String {
    format!("not checked there: {why}")
}

fn joined(nodes: &BTreeSet<NodeId>) -> String {
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

/// What is asked of each possible owner.
fn wanted(db: &Db, changes: &[Change], nodes: &[NodeId]) -> BTreeMap<NodeId, Question> {
    let mut questions: BTreeMap<NodeId, Question> = BTreeMap::new();
    for change in changes {
        let Some((group, config, known)) = subject(db, change) else { continue };
        let spec = machine::spec(&config);
        let owners = config.possible_owners.as_ref();
        for node in nodes.iter().filter(|node| owners.is_none_or(|all| all.contains(node))) {
            if known.as_ref().is_some_and(|all| all.contains(node)) {
                continue;
            }
            let (group, spec) = (group.clone(), spec.clone());
            let wanted = WantedResource { group, resource: config.id.clone(), spec };
            questions.entry(*node).or_default().push(wanted);
        }
    }
    questions
}

/// Nodes that are not asked, since they had it with the same properties before.
type Known = Option<BTreeSet<NodeId>>;

/// The resource that a change makes, or changes in what its possible owners must have.
fn subject(db: &Db, change: &Change) -> Option<(GroupId, ResourceConfig, Known)> {
    if let Change::CreateResource { group, resource } = change {
        return Some((group.clone(), resource.clone(), None));
    }
    let Change::SetResource { resource, properties, possible_owners, .. } = change else {
        return None;
    };
    let (group, before) = db.resource(resource)?;
    let (properties, possible_owners) = (properties.clone(), possible_owners.clone());
    let known = match &before.possible_owners {
        Some(_) | None if properties != before.properties => None,
        Some(owners) => Some(owners.clone()),
        None => return None,
    };
    let config = ResourceConfig { properties, possible_owners, ..before.clone() };
    Some((group.id.clone(), config, known))
}

/// Where the disks of the cluster are mounted on their owners, those that come with it included.
fn mounts(db: &Db, changes: &[Change]) -> BTreeSet<String> {
    let present = db.groups().values().flat_map(|group| group.resources.values());
    let present = present.filter_map(|r| mount_point(&r.kind, &r.properties));
    let new = changes.iter().filter_map(|change| {
        let (_, config, _) = subject(db, change)?;
        mount_point(&config.kind, &config.properties)
    });
    present.chain(new).collect()
}

fn mount_point(kind: &str, properties: &BTreeMap<String, String>) -> Option<String> {
    if kind == PHYSICAL_DISK {
        return properties.get(MOUNT_POINT).cloned();
    }
    match ocf::reach(ocf::agent(kind)?, properties) {
        Reach::FileSystem { directory, .. } => Some(directory),
        Reach::Unknown => properties.get("directory").cloned(),
        Reach::Processes | Reach::Address(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::validate::tests::resource;

    fn owners(list: &[u16]) -> Option<BTreeSet<NodeId>> {
        Some(list.iter().map(|n| NodeId(*n)).collect())
    }

    fn fitting(unfit: &[(&str, u16, &str)]) -> Fitting {
        let id = RequestId { client: 1, number: 1 };
        let request = Request::SetKey { key: "k".into(), value: None };
        let mut by_node: BTreeMap<(ResourceId, NodeId), Vec<String>> = BTreeMap::new();
        for (resource, node, cause) in unfit {
            let key = (ResourceId::from(*resource), NodeId(*node));
            by_node.entry(key).or_default().push((*cause).to_owned());
        }
        Fitting {
            envelope: Envelope { id, who: "somebody".into(), request },
            askers: Vec::new(),
            waits_for: BTreeSet::new(),
            unfit: by_node,
            advised: Advised::default(),
            notices: BTreeMap::new(),
            until: Time(0),
        }
    }

    /// A database in which `app` may be owned by n1 and n2.
    fn known() -> Db {
        let mut db = Db::default();
        let policy = stead_model::group::GroupPolicy::default();
        db.rehearse(&Change::CreateGroup { group: "web".into(), policy }).unwrap();
        let app = ResourceConfig { possible_owners: owners(&[1, 2]), ..resource("app", &[]) };
        db.rehearse(&Change::CreateResource { group: "web".into(), resource: app }).unwrap();
        db
    }

    fn asked(db: &Db, change: Change) -> Vec<NodeId> {
        let nodes = [1, 2, 3].map(NodeId);
        wanted(db, &[change], &nodes).into_keys().collect()
    }

    #[test]
    fn asked_are_the_possible_owners_of_what_is_new_to_them() {
        let db = known();
        let new = ResourceConfig { possible_owners: owners(&[2, 3]), ..resource("new", &[]) };
        let create = Change::CreateResource { group: "web".into(), resource: new };
        assert_eq!(asked(&db, create), [NodeId(2), NodeId(3)]);
        let anywhere = Change::CreateResource { group: "web".into(), resource: resource("x", &[]) };
        assert_eq!(asked(&db, anywhere).len(), 3);
        let set = |given: &[(&str, &str)], possible_owners| Change::SetResource {
            resource: "app".into(),
            properties: given.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect(),
            policy: Default::default(),
            possible_owners,
        };
        assert_eq!(asked(&db, set(&[], owners(&[1, 2]))), [], "only its policy changes");
        assert_eq!(asked(&db, set(&[], owners(&[1]))), [], "n1 had it before");
        assert_eq!(asked(&db, set(&[], None)), [NodeId(3)], "n3 is new to it");
        let other = [("online-delay", "1s")];
        assert_eq!(asked(&db, set(&other, owners(&[1]))), [NodeId(1)], "it is another one");
    }

    #[test]
    fn mount_points_are_known_before_their_disk_is() {
        let disk = |id: &str, kind: &str, name: &str| {
            let properties = BTreeMap::from([(name.to_owned(), format!("/srv/{id}"))]);
            let resource = ResourceConfig { kind: kind.into(), properties, ..resource(id, &[]) };
            Change::CreateResource { group: "web".into(), resource }
        };
        let mut db = known();
        db.rehearse(&disk("old", PHYSICAL_DISK, "mount-point")).unwrap();
        let new = [
            disk("new", "ocf:heartbeat:Filesystem", "directory"),
            disk("app2", "ocf:heartbeat:nginx", "directory"),
        ];
        let mounts: Vec<String> = mounts(&db, &new).into_iter().collect();
        assert_eq!(mounts, ["/srv/new", "/srv/old"]);
    }

    #[test]
    fn a_refusal_names_node_resource_cause_and_what_to_do() {
        assert_eq!(fitting(&[]).refusal(), None);
        let one = fitting(&[("app", 2, "no program"), ("app", 3, "no user")]).refusal().unwrap();
        assert_eq!(one.text, "resource `app` cannot run on n2 and n3");
        assert_eq!(one.cause.unwrap(), "n2: no program; n3: no user");
        assert_eq!(
            one.hint.unwrap(),
            "put that right on n2 and n3, or leave n2 and n3 out of `possible-owners`; `--force` \
             does it all the same"
        );
        let names = ["a", "b", "c", "d", "e", "f", "g"];
        let all: Vec<_> = names.iter().map(|name| (*name, 2, "no program")).collect();
        let many = fitting(&all).refusal().unwrap();
        assert_eq!(many.text, "7 resources cannot run on n2");
        assert!(many.cause.unwrap().ends_with("`e` on n2: no program; and 2 more"));
    }

    #[test]
    fn whoever_cannot_be_asked_is_named() {
        let mut fitting = fitting(&[]);
        fitting.waits_for.insert(NodeId(3));
        let away = BTreeSet::from([NodeId(1), NodeId(2)]);
        fitting.notices.insert(unchecked("it does not answer"), away);
        assert_eq!(
            fitting.notices(),
            [
                "n1 and n2: not checked there: it does not answer",
                "n3: not checked there: its monitor does not answer",
            ]
        );
    }
}
