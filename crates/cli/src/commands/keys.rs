//! `stead cluster rotate-keys`: new keys follow those of the cluster, and are waited for.

use std::time::{Duration, Instant};

use serde::Serialize;
use stead_model::keys::Phase;
use stead_model::reason::{Code, Reason};
use stead_model::request::Request;
use stead_model::view::{NodeState, RotationView, View};

use super::Asked;
use crate::arguments::RotateArguments;
use crate::failure::{Exit, Failure};
use crate::reach::{Reached, name_of, reach};
use crate::screen;

/// What a rotation takes and ends.
#[derive(Serialize)]
struct Plan {
    /// How far the last one is, unless it is over.
    under_way: Option<RotationView>,
    /// Nodes that do not answer: it waits for them.
    silent: Vec<String>,
    /// Certificates of whoever asks from other machines: they end with it.
    ends: Vec<String>,
}

/// How it ended.
#[derive(Serialize)]
struct Rotated {
    /// How far it is.
    rotation: Option<RotationView>,
}

pub(super) async fn rotate(asked: &Asked, typed: &RotateArguments) -> Result<Exit, Failure> {
    let reached = asked.reach().await?;
    let plan = plan(&reached.view);
    if typed.plan {
        asked.show(&plan, |plan| shown(&reached.view, plan));
        return Ok(if plan.silent.is_empty() { Exit::Ok } else { Exit::Refused });
    }
    let doing = if typed.abandon { "abandon the rotation" } else { "rotate the keys" };
    if typed.abandon {
        ask(&reached, doing, &Request::AbandonKeys).await?;
        asked.show(&Rotated { rotation: None }, |_| {
            "the keys of before are those that count\n".into()
        });
        return Ok(Exit::Ok);
    }
    if !plan.ends.is_empty() {
        let ends = plan.ends.join(", ");
        screen::talk(&format!(
            "note: these certificates end, make new ones with `stead admin add`: {ends}"
        ));
    }
    ask(&reached, doing, &Request::RotateKeys).await?;
    let rotation = follow(asked, reached, (doing, Duration::from_millis(typed.wait))).await?;
    asked.show(&Rotated { rotation: Some(rotation) }, |rotated| told(rotated.rotation.as_ref()));
    Ok(Exit::Ok)
}

fn told(rotation: Option<&RotationView>) -> String {
    match rotation {
        Some(rotation) if rotation.is_over() => {
            format!("rotation {} is over: every node believes the new keys only\n", rotation.number)
        }
        Some(rotation) => format!("rotation {} is begun\n", rotation.number),
        None => String::new(),
    }
}

fn plan(view: &View) -> Plan {
    let silent = view.nodes.iter().filter(|node| node.state != NodeState::Up);
    Plan {
        under_way: view.rotation.clone().filter(|rotation| !rotation.is_over()),
        silent: silent.map(|node| name_of(view, node.node)).collect(),
        ends: view.admins.iter().map(|admin| format!("{} ({})", admin.admin, admin.role)).collect(),
    }
}

fn shown(view: &View, plan: &Plan) -> String {
    let mut text = String::new();
    match &plan.under_way {
        Some(rotation) => text.push_str(&format!("under way: {}\n", progress(view, rotation))),
        None => text.push_str("every node gets a new cluster key, authority and certificate\n"),
    }
    if !plan.silent.is_empty() {
        let silent = plan.silent.join(", ");
        text.push_str(&format!("waits for nodes that do not answer: {silent}\n"));
    }
    text.push_str(
        "join tokens end as soon as it begins; none is made and no host joins meanwhile\n",
    );
    if !plan.ends.is_empty() {
        text.push_str(&format!("certificates that end with it: {}\n", plan.ends.join(", ")));
    }
    text
}

async fn ask(reached: &Reached, doing: &str, request: &Request) -> Result<(), Failure> {
    let done = reached.client.request(request).await;
    let done = done.map_err(|error| Failure::of_client(doing, error))?;
    screen::talk(&format!("committed as entry {}", done.index));
    Ok(())
}

/// Waits until it is over; says what it waits for.
async fn follow(
    asked: &Asked,
    reached: Reached,
    (doing, limit): (&str, Duration),
) -> Result<RotationView, Failure> {
    let begun = Instant::now();
    let number = reached.view.rotation.as_ref().map_or(0, |rotation| rotation.number);
    let mut said = String::new();
    loop {
        let seen = reach(&asked.place()?, asked.node.as_deref()).await.ok();
        let now = seen.and_then(|reached| {
            let rotation = reached.view.rotation.clone().filter(|r| r.number > number);
            rotation.map(|rotation| (rotation, reached.view))
        });
        let text = match &now {
            Some((rotation, _)) if rotation.is_over() || limit.is_zero() => {
                return Ok(rotation.clone());
            }
            Some((rotation, view)) => progress(view, rotation),
            None => "no node tells how far it is".to_owned(),
        };
        if text != said {
            screen::talk(&format!("  {text}"));
            said = text;
        }
        if begun.elapsed() >= limit.max(SEEN_WITHIN) {
            let known = now.is_none_or(|(rotation, _)| rotation.phase == Phase::Known);
            return Err(given_up(doing, (&said, limit), known));
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

fn given_up(doing: &str, (said, limit): (&str, Duration), may_go_back: bool) -> Failure {
    let hint = match may_go_back {
        true => "it goes on by itself: bring that node back or evict it; `--abandon` goes back",
        false => "it goes on by itself: bring that node back or evict it",
    };
    let reason = Reason::new(Code::Timeout, format!("cannot {doing} within {} s", limit.as_secs()));
    Failure::refused(doing, reason.because(said.to_owned()).hint(hint))
}

fn progress(view: &View, rotation: &RotationView) -> String {
    let awaited = rotation.awaited.iter();
    let awaited: Vec<String> =
        awaited.map(|wait| format!("{} {}", name_of(view, wait.node), wait.why)).collect();
    let awaited =
        if awaited.is_empty() { "all nodes are ready".into() } else { awaited.join(", ") };
    format!("{}: {awaited}", rotation.phase.word())
}

const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
/// That it is begun is seen within this time.
const SEEN_WITHIN: Duration = Duration::from_secs(5);
