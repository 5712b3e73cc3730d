//! Changes: asked, confirmed and, if wanted, followed to their end.

use std::collections::BTreeMap;

use stead_model::declaration::NODE_LISTS;
use stead_model::reason::{Code, Reason};
use stead_model::request::Request;
use stead_model::view::{GroupView, ResourceView, View};
use stead_model::{AlertId, GroupId, ResourceId};

use super::Asked;
use crate::arguments::Assignment;
use crate::failure::{Exit, Failure};
use crate::reach::{Reached, find_node, reach};
use crate::screen;
use crate::waiting::{self, Goal};

/// One change to ask for.
pub(super) struct Write {
    /// What is done, completing "cannot …".
    pub(super) doing: String,
    pub(super) request: Request,
    /// What to wait for, if the person wants to wait.
    pub(super) goal: Option<Goal>,
}

/// Asks for a change that needs nothing of the present state.
pub(super) async fn ask(asked: &Asked, doing: String, request: Request) -> Result<Exit, Failure> {
    let reached = reach(&asked.place()?, asked.node.as_deref()).await?;
    carry_out(asked, reached, Write { doing, request, goal: None }).await
}

/// Asks for a change and shows its confirmation.
pub(super) async fn carry_out(
    asked: &Asked,
    reached: Reached,
    write: Write,
) -> Result<Exit, Failure> {
    let Write { doing, request, goal } = write;
    let answer = reached.client.request(&request).await;
    let done = answer.map_err(|error| Failure::of_client(&doing, error))?;
    if asked.json {
        screen::json(&done);
    } else {
        screen::talk(&format!("committed as entry {}", done.index));
        noted(&done.notices);
    }
    if let Some(goal) = goal {
        waiting::wait(&asked.place()?, reached, &goal, done.index).await?;
    }
    Ok(Exit::Ok)
}

/// What else whoever asked should know.
pub(super) fn noted(notices: &[String]) {
    for notice in notices {
        screen::talk(&format!("note: {notice}"));
    }
}

/// The request, with what a person insisted on.
pub(super) fn insisted(force: bool, request: Request) -> Request {
    match force {
        true => Request::Force { request: Box::new(request) },
        false => request,
    }
}

/// The group of that name, as the asked node knows it.
pub(super) fn group<'a>(view: &'a View, doing: &str, name: &str) -> Result<&'a GroupView, Failure> {
    view.groups
        .iter()
        .find(|group| group.group.as_str() == name)
        .ok_or_else(|| missing(doing, "group", name))
}

/// The resource of that name with its group, as the asked node knows it.
pub(super) fn resource<'a>(
    view: &'a View,
    doing: &str,
    name: &str,
) -> Result<(&'a GroupView, &'a ResourceView), Failure> {
    let all = view.groups.iter().flat_map(|g| g.resources.iter().map(move |r| (g, r)));
    let mut named = all.filter(|(_, resource)| resource.resource.as_str() == name);
    named.next().ok_or_else(|| missing(doing, "resource", name))
}

pub(super) fn missing(doing: &str, noun: &str, name: &str) -> Failure {
    let reason = Reason::new(Code::NotFound, format!("there is no {noun} `{name}`"))
        .hint(format!("`stead {} list` shows all", noun.replace(' ', "-")));
    Failure::refused(doing, reason)
}

/// A name for something new, or for what may not exist.
pub(super) fn group_id(doing: &str, name: &str) -> Result<GroupId, Failure> {
    if GroupId::is_valid(name) { Ok(name.into()) } else { Err(bad_name(doing, name)) }
}

pub(super) fn alert_id(doing: &str, name: &str) -> Result<AlertId, Failure> {
    if AlertId::is_valid(name) { Ok(name.into()) } else { Err(bad_name(doing, name)) }
}

pub(super) fn resource_id(doing: &str, name: &str) -> Result<ResourceId, Failure> {
    if ResourceId::is_valid(name) { Ok(name.into()) } else { Err(bad_name(doing, name)) }
}

fn bad_name(doing: &str, name: &str) -> Failure {
    let reason = Reason::new(Code::Invalid, format!("`{}` is no name", name.escape_debug()))
        .hint("a name has 1 to 63 of `a-z A-Z 0-9 . _ -` and starts with none of `.` and `-`");
    Failure::refused(doing, reason)
}

/// Properties as a map; nodes may be given by host name and are sent as `n1`.
pub(super) fn properties(
    view: &View,
    doing: &str,
    typed: Vec<Assignment>,
) -> Result<BTreeMap<String, String>, Failure> {
    let mut all = BTreeMap::new();
    for Assignment { key, value } in typed {
        let value = if NODE_LISTS.contains(&key.as_str()) { numbered(view, &value) } else { value };
        if all.insert(key.clone(), value).is_some() {
            return Err(Failure::new(Exit::Usage, format!("cannot {doing}"))
                .because(format!("property `{key}` is given twice")));
        }
    }
    Ok(all)
}

/// `node1,2` as `n1,n2`; what is no node is left for the cluster to refuse.
pub(super) fn numbered(view: &View, list: &str) -> String {
    let node = |text: &str| {
        let text = text.trim();
        find_node(view, text).map_or_else(|| text.to_owned(), |found| found.node.to_string())
    };
    list.split(',').map(node).collect::<Vec<_>>().join(",")
}

/// Changes of properties: new values, or `None` for the default.
pub(super) fn changes(set: BTreeMap<String, String>) -> BTreeMap<String, Option<String>> {
    set.into_iter().map(|(key, value)| (key, Some(value))).collect()
}

/// Resets of properties.
pub(super) fn resets(keys: Vec<String>) -> BTreeMap<String, Option<String>> {
    keys.into_iter().map(|key| (key, None)).collect()
}

/// What the state of a desire is called in messages.
pub(super) const fn bring(desired: stead_model::group::Desired) -> &'static str {
    match desired {
        stead_model::group::Desired::Online => "bring",
        stead_model::group::Desired::Offline => "take",
    }
}
