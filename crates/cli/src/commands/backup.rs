//! `stead cluster backup` and `stead cluster restore`: the configuration of a cluster as a file.

use std::path::Path;

use serde::Serialize;
use stead_api::backup::Backup;
use stead_model::LogIndex;
use stead_model::reason::{Code, Reason};
use stead_model::view::View;

use super::{Asked, declare, put_new};
use crate::arguments::RestoreArguments;
use crate::failure::{Exit, Failure};
use crate::screen;

/// What is in the file.
#[derive(Serialize)]
struct Kept {
    cluster: String,
    /// The last entry of the log that is in it.
    applied: LogIndex,
    groups: usize,
    resources: usize,
}

pub(super) async fn backup(asked: &Asked, path: &Path) -> Result<Exit, Failure> {
    let doing = format!("back the cluster up to `{}`", path.display());
    let view = asked.view().await?;
    let backup = Backup::of(&view);
    let written = put_new(path, &backup.write());
    written.map_err(|error| {
        Failure::new(Exit::Refused, format!("cannot {doing}")).because(error.to_string())
    })?;
    if !view.quorum.has_quorum {
        screen::talk(&format!(
            "note: {} has no quorum: what was changed since it lost it is not in the file",
            view.node
        ));
    }
    let kept = Kept {
        applied: backup.applied,
        groups: backup.declared.groups.len(),
        resources: backup.declared.resources.len(),
        cluster: backup.cluster,
    };
    asked.show(&kept, |kept| {
        let Kept { cluster, applied, groups, resources } = kept;
        format!(
            "cluster `{cluster}` up to entry {applied}: {groups} groups, {resources} resources\n"
        )
    });
    Ok(Exit::Ok)
}

pub(super) async fn restore(asked: &Asked, typed: RestoreArguments) -> Result<Exit, Failure> {
    let RestoreArguments { file: path, from, nodes, manner } = typed;
    let doing = match manner.plan {
        true => format!("plan restoring `{}`", path.display()),
        false => format!("restore `{}`", path.display()),
    };
    let refused = |reason| Failure::refused(&doing, reason);
    let text = declare::text(&path).map_err(refused)?;
    let backup = Backup::read(&text).map_err(refused)?;
    let reached = asked.reach().await?;
    is_meant(&backup, &reached.view, from.as_deref()).map_err(refused)?;
    let renamed = nodes.into_iter().map(|pair| (pair.key, pair.value)).collect();
    let wanted = backup.declared_for(&reached.view, &renamed).map_err(refused)?;
    let admins = wanted.whole.as_ref().is_some_and(|whole| !whole.admins.is_empty());
    let done = declare::carry_out(asked, reached, (&doing, wanted), manner).await?;
    if admins && !manner.plan {
        screen::talk(
            "note: in a cluster that was made anew the files of admins count no more: `stead admin \
             remove NAME`, then `stead admin add NAME …`",
        );
    }
    Ok(done)
}

/// A backup of another cluster is restored by whoever says so.
fn is_meant(backup: &Backup, view: &View, from: Option<&str>) -> Result<(), Reason> {
    let (was, is) = (&backup.cluster, &view.cluster);
    if from.unwrap_or(is) == was {
        return Ok(());
    }
    Err(Reason::new(Code::Conflict, format!("it is a backup of cluster `{was}`"))
        .because(format!("this is cluster `{is}`, which would lose what it has"))
        .hint(format!("if that is meant, add `--from {was}`")))
}
