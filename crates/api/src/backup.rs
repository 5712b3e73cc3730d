//! A backup: all that a cluster is configured with, as one file that shows whether it is whole.
//!
//! ```text
//! stead-backup 1 SHA-256 of what follows
//! { "cluster": …, "applied": …, "nodes": {"1": "alpha"}, "declared": … }
//! ```
//!
//! It is taken from one view, so it is one point of the log. Restoring is applying its
//! declaration, which says that it is the whole truth. Nodes are known by their host names: in a
//! cluster that was made anew they may have other numbers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use stead_model::declaration::{Declaration, DeclaredRoom, NODE_LISTS, Whole};
use stead_model::reason::{Code, Reason};
use stead_model::view::View;
use stead_model::{LogIndex, NodeId, UtcMillis};

use crate::export;

/// What the first line begins with, up to the checksum. The number is the version of the format.
const HEAD: &str = "stead-backup ";
const VERSION: &str = "1";

/// All that a cluster is configured with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// Name of the cluster.
    pub cluster: String,
    /// Version of stead on the node that wrote it.
    pub version: String,
    /// The last entry of the log that is in it.
    pub applied: LogIndex,
    /// When it was taken, by that node's clock.
    pub at: UtcMillis,
    /// Host names of the nodes that there were.
    pub nodes: BTreeMap<NodeId, String>,
    /// The configuration.
    pub declared: Declaration,
}

impl Backup {
    /// What a node knows.
    #[must_use]
    pub fn of(view: &View) -> Self {
        let rooms = view.nodes.iter().filter(|node| !node.room.is_empty());
        let rooms = rooms.map(|n| DeclaredRoom { node: n.node, room: n.room.clone() }).collect();
        let whole = Some(Whole { rooms, admins: view.admins.clone() });
        Self {
            cluster: view.cluster.clone(),
            version: view.version.clone(),
            applied: view.applied,
            at: view.at,
            nodes: view.nodes.iter().map(|node| (node.node, node.name.clone())).collect(),
            declared: Declaration { whole, ..export::whole(view) },
        }
    }

    /// The text of the file.
    ///
    /// # Panics
    /// Never: a backup has only types that JSON can write.
    #[must_use]
    pub fn write(&self) -> String {
        let body = serde_json::to_string_pretty(self).expect("a backup is JSON") + "\n";
        format!("{HEAD}{VERSION} {}\n{body}", checksum(&body))
    }

    /// Reads what [`Self::write`] wrote.
    ///
    /// # Errors
    /// It is no backup, of another version, damaged, or was edited.
    pub fn read(text: &str) -> Result<Self, Reason> {
        let no = |cause: &str| Reason::new(Code::Invalid, "this is no good backup").because(cause);
        let head =
            text.split_once('\n').and_then(|(head, body)| Some((head.strip_prefix(HEAD)?, body)));
        let Some(((version, sum), body)) =
            head.and_then(|(head, body)| Some((head.split_once(' ')?, body)))
        else {
            return Err(no("it does not begin as one").hint("`stead cluster backup` writes one"));
        };
        if version != VERSION {
            return Err(no(&format!(
                "its format is {}, and this is {VERSION}",
                version.escape_debug()
            ))
            .hint("restore it with the version of stead that wrote it, or a later one"));
        }
        if sum != checksum(body) {
            return Err(no("its checksum is wrong: it was cut off, damaged or edited")
                .hint("take another copy; groups in it can be written again by hand"));
        }
        serde_json::from_str(body).map_err(|error| {
            no(&error.to_string()).hint("a later version of stead may have written it")
        })
    }

    /// Its declaration with the numbers that its nodes have in the cluster of a view. `renamed`
    /// has the host names that are others now.
    ///
    /// # Errors
    /// A node that something is declared of is not there.
    pub fn declared_for(
        &self,
        view: &View,
        renamed: &BTreeMap<String, String>,
    ) -> Result<Declaration, Reason> {
        if let Some(name) = renamed.keys().find(|name| !self.nodes.values().any(|n| n == *name)) {
            let text = format!("the backup has no node `{}`", name.escape_debug());
            let known: Vec<&str> = self.nodes.values().map(String::as_str).collect();
            return Err(
                Reason::new(Code::NotFound, text).hint(format!("it has {}", known.join(", ")))
            );
        }
        let mut declared = self.declared.clone();
        let number = |node: NodeId| self.number(node, view, renamed);
        let groups = declared.groups.iter_mut().map(|group| &mut group.properties);
        let resources = declared.resources.iter_mut().map(|resource| &mut resource.properties);
        for properties in groups.chain(resources) {
            for (_, list) in properties.iter_mut().filter(|p| NODE_LISTS.contains(&p.0.as_str())) {
                *list = numbered(list, number)?;
            }
        }
        for room in declared.whole.iter_mut().flat_map(|whole| &mut whole.rooms) {
            room.node = number(room.node)?;
        }
        Ok(declared)
    }

    fn number(
        &self,
        node: NodeId,
        view: &View,
        renamed: &BTreeMap<String, String>,
    ) -> Result<NodeId, Reason> {
        let Some(was) = self.nodes.get(&node) else {
            let text = format!("the backup names {node}, which it does not know");
            return Err(Reason::new(Code::Invalid, text));
        };
        let is = renamed.get(was).unwrap_or(was);
        let found = view.nodes.iter().find(|known| known.name == *is);
        found.map(|known| known.node).ok_or_else(|| {
            let text = format!("node `{is}` is not in cluster `{}`", view.cluster);
            Reason::new(Code::NotFound, text)
                .because(format!("the backup says something of `{was}`"))
                .hint(format!(
                    "let it join first, or say who stands for it: `--node-for {was}=HOST`"
                ))
        })
    }
}

fn numbered(
    list: &str,
    number: impl Fn(NodeId) -> Result<NodeId, Reason>,
) -> Result<String, Reason> {
    let one = |text: &str| {
        let node = text.strip_prefix('n').and_then(|digits| digits.parse().ok()).map(NodeId);
        let node = node.ok_or_else(|| {
            let text = format!("the backup has `{}` for a node", text.escape_debug());
            Reason::new(Code::Invalid, text)
        })?;
        number(node).map(|node| node.to_string())
    };
    let all = list.split(',').filter(|text| !text.is_empty()).map(one);
    Ok(all.collect::<Result<Vec<_>, _>>()?.join(","))
}

fn checksum(body: &str) -> String {
    format!("{:x}", Sha256::digest(body))
}

#[cfg(test)]
mod tests {
    use stead_model::declaration::DeclaredGroup;
    use stead_model::room::Room;
    use stead_model::view::NodeView;

    use super::*;
    use crate::document::example_node;

    fn backup() -> Backup {
        let properties = BTreeMap::from([("preferred-owners".to_owned(), "n1,n2".to_owned())]);
        let group = DeclaredGroup { group: "web".into(), properties, desired: None, line: 0 };
        let room = DeclaredRoom { node: NodeId(2), room: Room::default() };
        let whole = Some(Whole { rooms: vec![room], admins: Vec::new() });
        let names = [(1, "alpha"), (2, "beta")];
        Backup {
            cluster: "office".to_owned(),
            version: "0".to_owned(),
            applied: LogIndex(7),
            at: UtcMillis(9),
            nodes: names.map(|(node, name)| (NodeId(node), name.to_owned())).into(),
            declared: Declaration { groups: vec![group], whole, ..Declaration::default() },
        }
    }

    fn view(names: &[&str]) -> View {
        let node = |(number, name): (u16, &&str)| {
            let name = (*name).to_owned();
            NodeView { name, ..example_node(number) }
        };
        let nodes = (1..).zip(names).map(node).collect();
        View { cluster: "office".to_owned(), nodes, ..View::default() }
    }

    #[test]
    fn what_is_written_is_read_again_and_nothing_else_is() {
        let text = backup().write();
        assert_eq!(Backup::read(&text), Ok(backup()));
        let cause = |text: &str| Backup::read(text).unwrap_err().cause.unwrap();
        assert_eq!(cause("[group]\nname = 'g'\n"), "it does not begin as one");
        assert_eq!(
            cause(&text.replace("backup 1 ", "backup 2 ")),
            "its format is 2, and this is 1"
        );
        let wrong = "its checksum is wrong: it was cut off, damaged or edited";
        assert_eq!(cause(&text.replace("alpha", "alphb")), wrong);
        for end in text.find('{').unwrap()..text.len() {
            assert_eq!(cause(&text[..end]), wrong, "{end}");
        }
    }

    #[test]
    fn nodes_are_known_by_their_host_names() {
        let numbers = |names: &[&str], renamed: &[(&str, &str)]| {
            let renamed = renamed.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
            let declared = backup().declared_for(&view(names), &renamed)?;
            let room = declared.whole.unwrap().rooms[0].node;
            Ok((declared.groups[0].properties["preferred-owners"].clone(), room))
        };
        assert_eq!(numbers(&["alpha", "beta"], &[]), Ok(("n1,n2".to_owned(), NodeId(2))));
        assert_eq!(numbers(&["beta", "alpha"], &[]), Ok(("n2,n1".to_owned(), NodeId(1))));
        let gone: Reason = numbers(&["alpha", "gamma"], &[]).unwrap_err();
        assert_eq!(gone.text, "node `beta` is not in cluster `office`");
        let other = numbers(&["alpha", "gamma"], &[("beta", "gamma")]);
        assert_eq!(other, Ok(("n1,n2".to_owned(), NodeId(2))));
        let typo: Reason = numbers(&["alpha", "beta"], &[("bet", "beta")]).unwrap_err();
        assert_eq!(typo.hint.as_deref(), Some("it has alpha, beta"));
    }
}
