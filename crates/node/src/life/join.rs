//! This host becomes a node of a cluster that there is, by a token that a member made.
//!
//! ```text
//!   plan ► checks ► admission ► keys ► first-start ► cluster.json ► service
//! ```
//!
//! Until it is admitted nothing has changed anywhere but the plan on this host. What admits it is
//! one entry of the log; a host that was interrupted afterwards shows the same token again, and is
//! told who it is.

use std::cell::{OnceCell, RefCell};
use std::net::IpAddr;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use stead_model::config::{NodeAddress, NodeConfig};
use stead_model::reason::{Code, Reason};
use stead_model::token::{Applicant, TokenHash};
use stead_trust::{Authority, JoinToken, Pki, Secret};

use super::check::{self, Finding};
use super::create::{random, untrusted};
use super::files::{self, Readers};
use super::host::{Plan, Stand, is_member};
use super::line::{Line, confused};
use super::member::{self, begun, left_behind};
use super::steps::{Step, Told, carry_out};
use super::{Host, networks, unit};
use crate::admission::wire::{Admitted, Answer, Ask};

const DOING: &str = "join a cluster";

/// What shall be joined.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Joining {
    /// As a member printed it.
    pub token: String,
    /// Addresses of this host, at most one of each network; none: the first one on each.
    pub addresses: Vec<IpAddr>,
}

/// What was decided and is not done yet: no secret.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct JoinPlan {
    /// Name of the cluster.
    pub(super) cluster: String,
    token: TokenHash,
    by: Applicant,
    addresses: Vec<NodeAddress>,
}

/// Joins the cluster, or goes on with it; tells each step when it is done.
///
/// # Errors
/// This host is in a cluster, or something is refused; what was done is kept for a repetition.
pub fn join(
    host: &Host,
    wanted: &Joining,
    tell: &mut dyn FnMut(Told),
) -> Result<NodeConfig, Reason> {
    carry_out(&STEPS, &planned(host, wanted)?, tell)?;
    match host.stand()? {
        Stand::Member(config) => Ok(config),
        stand @ (Stand::Began(_) | Stand::Free) => {
            Err(refused(Code::Bug).because(format!("it ended in {stand:?}")))
        }
    }
}

/// Looks at this host, and with a token at the cluster; changes nothing. A cluster has a port of
/// its own: the given one is that of a new cluster.
///
/// # Errors
/// This host is in a cluster, or the cluster cannot be asked.
pub fn check(
    host: &Host,
    token: Option<&str>,
    (named, port): (&[IpAddr], u16),
) -> Result<Vec<Finding>, Reason> {
    if let Stand::Member(config) = host.stand()? {
        return Err(is_member(DOING, host, &config));
    }
    let Some(token) = token else { return check::alone(host, named, port) };
    let token = parse(token)?;
    let mut line = Line::call(&token, Applicant(u64::from_le_bytes(random(DOING)?)))?;
    let addresses = networks::beside(&host.held, named, &line.outline.config)?;
    check::all(host, &addresses, &mut line)
}

/// One joining under way.
struct Work {
    host: Host,
    plan: JoinPlan,
    line: RefCell<Line>,
    admitted: OnceCell<Admitted>,
}

const STEPS: [Step<Work>; 8] = [
    Step { name: "plan", run: told },
    Step { name: "checks", run: look },
    Step { name: "admission", run: admit },
    Step { name: "keys", run: keep },
    Step { name: "log", run: |work| member::allow_log(&work.host) },
    Step { name: "configuration", run: |work| member::make_config(&work.host, &own(work)?.config) },
    Step { name: "service", run: |work| unit::start(&work.host) },
    Step { name: "end", run: end },
];

fn planned(host: &Host, wanted: &Joining) -> Result<Work, Reason> {
    let begun_before = match host.stand()? {
        Stand::Member(config) => return Err(is_member(DOING, host, &config)),
        Stand::Began(Plan::Join(plan)) => Some(plan),
        Stand::Began(plan @ (Plan::Create(_) | Plan::Destroy { .. })) => {
            return Err(begun(DOING, &plan));
        }
        Stand::Free => None,
    };
    left_behind(DOING, host)?;
    let token = parse(&wanted.token)?;
    // Another token is another attempt: the first one may have run out.
    let same = begun_before.filter(|plan| plan.token == token.hash());
    let by = match &same {
        Some(plan) => plan.by,
        None => Applicant(u64::from_le_bytes(random(DOING)?)),
    };
    let line = Line::call(&token, by)?;
    let config = &line.outline.config;
    let plan = match same {
        Some(plan) => plan,
        None => {
            let addresses = networks::beside(&host.held, &wanted.addresses, config)?;
            let plan =
                JoinPlan { cluster: config.cluster.clone(), token: token.hash(), by, addresses };
            files::make_folder(host.paths.etc())?;
            files::put_json(&host.paths.plan(), &Plan::Join(plan.clone()))?;
            plan
        }
    };
    Ok(Work { host: host.clone(), plan, line: RefCell::new(line), admitted: OnceCell::new() })
}

fn parse(token: &str) -> Result<JoinToken, Reason> {
    token.parse().map_err(|error: stead_trust::TrustError| {
        refused(Code::Invalid)
            .because(error.to_string())
            .hint("`stead cluster token` on a member makes one; put it in quotes")
    })
}

fn told(work: &Work) -> Result<String, Reason> {
    let (line, plan) = (work.line.borrow(), &work.plan);
    let config = &line.outline.config;
    let addresses = super::named(&plan.addresses, config);
    Ok(format!("cluster `{}` by {}, with {addresses}", plan.cluster, config.node))
}

fn look(work: &Work) -> Result<String, Reason> {
    let mut line = work.line.borrow_mut();
    if let Some(node) = line.outline.known_as {
        return Ok(format!("were passed before: this host is {node} already"));
    }
    let findings = check::all(&work.host, &work.plan.addresses, &mut line)?;
    check::judge(&format!("join cluster `{}`", work.plan.cluster), &findings)?;
    let (good, doubts) = check::doubts(&findings);
    Ok(format!("{good} passed{doubts}"))
}

fn admit(work: &Work) -> Result<String, Reason> {
    let ask = Ask::Admit { name: work.host.name.clone(), addresses: work.plan.addresses.clone() };
    let mut line = work.line.borrow_mut();
    let Answer::Admitted(admitted) = line.ask(&ask)? else { return Err(confused()) };
    let text = format!("{} let this host in as {}", line.outline.config.node, admitted.config.node);
    // The step runs once.
    let _ = work.admitted.set(*admitted);
    Ok(text)
}

fn own(work: &Work) -> Result<&Admitted, Reason> {
    work.admitted.get().ok_or_else(confused)
}

/// Its own certificate, signed here with the authority's key: no key of a node ever travels.
fn keep(work: &Work) -> Result<String, Reason> {
    let Admitted { config, key, authority: (certificate, secret) } = own(work)?;
    let authority =
        Authority::from_pem(certificate, &Secret::new(secret.clone())).map_err(untrusted)?;
    if authority.cluster_id() != config.cluster_id {
        return Err(confused());
    }
    let node = authority.issue(config.node, SystemTime::now()).map_err(untrusted)?;
    Pki::below(work.host.paths.etc()).install(&authority, &node).map_err(untrusted)?;
    files::put(&work.host.paths.key(), key, Readers::Owner)?;
    Ok(format!("keys and certificate in `{}`", work.host.paths.etc().display()))
}

fn end(work: &Work) -> Result<String, Reason> {
    member::forget_plan(&work.host)?;
    Ok(format!("this host is {} of cluster `{}`", own(work)?.config.node, work.plan.cluster))
}

fn refused(code: Code) -> Reason {
    Reason::new(code, format!("cannot {DOING}"))
}
