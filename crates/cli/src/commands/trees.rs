//! What depends on what: trees, forks, and what goes offline with a resource.

use stead_api::tree::{self, Step, Tree};
use stead_model::declaration::{Declaration, Foreseen};

use super::{Asked, write};
use crate::arguments::TreeFormat;
use crate::failure::{Exit, Failure};
use crate::{render, screen};

pub(super) async fn tree(asked: &Asked, name: &str, format: TreeFormat) -> Result<Exit, Failure> {
    let view = asked.view().await?;
    let group = write::group(&view, &format!("show group `{name}`"), name)?;
    match format {
        TreeFormat::Text => {
            asked.show(group, render::tree);
            tell_fork(asked, &Tree::of_group(group));
        }
        TreeFormat::Dot => asked.show(group, render::dot),
    }
    Ok(Exit::Ok)
}

/// The commands that make a row of it; nothing is changed.
pub(super) async fn fix(asked: &Asked, name: &str) -> Result<Exit, Failure> {
    let view = asked.view().await?;
    let group = write::group(&view, &format!("show group `{name}`"), name)?;
    let steps = Tree::of_group(group).steps();
    let commands: Vec<String> = steps.iter().map(command).collect();
    asked.show(&commands, |all| all.iter().map(|line| format!("{line}\n")).collect());
    if !asked.json {
        let nothing = format!("group `{name}` does not fork: there is nothing to change");
        let proposal = "nothing was changed; these commands make it vertical".to_owned();
        screen::talk(if commands.is_empty() { &nothing } else { &proposal });
    }
    Ok(Exit::Ok)
}

fn command(step: &Step) -> String {
    match step {
        Step::Depend(resource, on) => format!("stead resource depend {resource} --on {on}"),
        Step::Undepend(resource, on) => format!("stead resource undepend {resource} --on {on}"),
    }
}

pub(super) async fn impact(asked: &Asked, name: &str) -> Result<Exit, Failure> {
    let view = asked.view().await?;
    let doing = format!("show what stands on resource `{name}`");
    let (group, resource) = write::resource(&view, &doing, name)?;
    asked.show(&tree::impact(group, resource), render::impact);
    Ok(Exit::Ok)
}

/// The hint about a tree that forks, for people.
pub(super) fn tell_fork(asked: &Asked, tree: &Tree) {
    if let Some(hint) = tree.hint().filter(|_| !asked.json) {
        screen::talk(&format!("hint: {hint}"));
    }
}

/// The same for the groups of a declaration that would change.
pub(super) fn tell_forks(asked: &Asked, wanted: &Declaration, foreseen: &Foreseen) {
    let changes =
        |tree: &Tree| foreseen.differences.iter().any(|d| d.group.as_ref() == Some(tree.group()));
    let trees = Tree::of_declaration(wanted);
    trees.iter().filter(|tree| changes(tree)).for_each(|tree| tell_fork(asked, tree));
}
