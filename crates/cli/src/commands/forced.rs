//! `stead node force-quorum`: what there is to lose is shown first, and done when it was confirmed.

use std::time::Duration;

use stead_model::forced;
use stead_model::reason::{Code, Reason};
use stead_model::request::Request;
use stead_model::view::QuorumView;

use super::Asked;
use crate::failure::{Exit, Failure};
use crate::{render, screen};

const DOING: &str = "force quorum";

/// Asks the node at hand, and waits until it has quorum.
pub(super) async fn force(
    asked: &Asked,
    cluster: Option<&str>,
    without_disk: bool,
) -> Result<Exit, Failure> {
    let reached = asked.reach().await?;
    let view = &reached.view;
    let lost = forced::lost(view, without_disk);
    screen::talk(render::forced_loss(view, &lost).trim_end());
    let refused = |cause: String, hint: String| {
        Failure::refused(DOING, Reason::new(Code::Conflict, cause).hint(hint))
    };
    if view.quorum.has_quorum {
        return Err(refused(format!("{} has quorum", view.node), "nothing to force".into()));
    }
    let named = &view.cluster;
    if cluster != Some(named.as_str()) {
        let cause = match cluster {
            Some(other) => format!("the cluster is `{named}`, not `{other}`"),
            None => "it was not confirmed".to_owned(),
        };
        let flag = if without_disk { " --without-disk" } else { "" };
        let hint = format!(
            "see to it that what is given up is off and stays so, then: `stead node force-quorum \
             {named}{flag}`"
        );
        return Err(refused(cause, hint));
    }
    let before = generation(&view.quorum);
    let request = Request::ForceQuorum { node: view.node, lost };
    let done = reached.client.request(&request).await;
    let done = done.map_err(|error| Failure::of_client(DOING, error))?;
    done.notices.iter().for_each(|notice| screen::talk(notice));
    let asked_at = tokio::time::Instant::now();
    while asked_at.elapsed() < FORCED_WITHIN {
        tokio::time::sleep(BETWEEN_LOOKS).await;
        let quorum = asked.view().await?.quorum;
        if quorum.has_quorum {
            asked.show(&quorum, render::quorum);
            return Ok(Exit::Ok);
        }
        if quorum.forcing.is_none() && generation(&quorum) == before {
            let hint = "`stead event list` says why it ended: record `quorum-not-forced`";
            return Err(refused("it ended before".into(), hint.into()));
        }
    }
    let hint = "`stead quorum show` says what it waits for";
    Err(refused("it takes longer than the longest lease".into(), hint.into()))
}

/// How often quorum was forced, as far as somebody is still missing.
fn generation(quorum: &QuorumView) -> Option<u32> {
    quorum.forced.as_ref().map(|forced| forced.generation)
}

/// The longest lease and grace of the slowest profile, and the time in which a disk is claimed.
const FORCED_WITHIN: Duration = Duration::from_secs(150);
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);
