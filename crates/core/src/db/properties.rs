//! Property names and their values: from what an administrator typed to the typed policy.
//!
//! The tables are `stead_model::resource_type`; here is the mapping of the common ones to the
//! policy of a resource. That of a group is `stead_model::group_policy`. Values are checked
//! against their form, then against their range, each with the property's name in the refusal.

use std::collections::{BTreeMap, BTreeSet};

use stead_model::NodeId;
use stead_model::group::{Failback, GroupPolicy};
use stead_model::group_policy::{self, FAILOVERS_MAX, PERIOD_S_MAX};
use stead_model::probe::ProbePlan;
use stead_model::reason::{Code, Reason};
use stead_model::resource::{ResourceConfig, ResourcePolicy, RestartAction};
use stead_model::resource_type::{
    COMMON, GENERIC_SCRIPT, LIMITS, PROBE, Property, ResourceType, is_parameter, parse_time_ms,
};

use crate::groups::failback;

/// Shortest interval between two checks of a resource, milliseconds (B2).
const POLL_MS_MIN: u64 = 10;
/// Shortest time a resource is given to go online or offline, milliseconds.
const PENDING_MS_MIN: u64 = 100;
/// Longest period or interval accepted, milliseconds: a year.
const TIME_MS_MAX: u64 = PERIOD_S_MAX * 1_000;

/// New values by property name; `None` resets to the default.
pub type Settings = BTreeMap<String, Option<String>>;

/// Applies settings to a resource of the given type: policy, possible owners and the properties
/// of the type. Everything is checked, also that nothing required is missing.
///
/// # Errors
/// Names the property that is unknown, malformed, out of range or missing.
pub fn set_resource(
    resource: &mut ResourceConfig,
    kind: &ResourceType,
    settings: &Settings,
    nodes: &[NodeId],
) -> Result<(), Reason> {
    for (name, value) in settings {
        if let Some(property) = COMMON.iter().find(|p| p.name == name) {
            let value = value.as_deref().or(property.default);
            set_common(resource, property, value, nodes)?;
        } else if let Some(property) = PROBE.iter().chain(LIMITS).find(|p| p.name == name) {
            set_typed(&mut resource.properties, property, value.as_deref())?;
        } else if let Some(property) = kind.properties.iter().find(|p| p.name == name) {
            set_typed(&mut resource.properties, property, value.as_deref())?;
        } else if is_parameter(kind, name) {
            set_parameter(&mut resource.properties, name, value.as_deref())?;
        } else {
            return Err(unknown(name, kind));
        }
    }
    ProbePlan::check(&resource.properties)?;
    check_script(resource)?;
    complete(resource, kind)
}

/// A script needs a way to come online.
fn check_script(resource: &ResourceConfig) -> Result<(), Reason> {
    let has = |name: &str| resource.properties.contains_key(name);
    if resource.kind != GENERIC_SCRIPT || has("script") || has("online-command") {
        return Ok(());
    }
    let text = format!("resource `{}` cannot come online", resource.id);
    Err(Reason::new(Code::Invalid, text)
        .because("it has neither property `script` nor `online-command`")
        .hint("give `script=` followed by an absolute path"))
}

/// Fills in the defaults of the type and refuses what is required and missing.
fn complete(resource: &mut ResourceConfig, kind: &ResourceType) -> Result<(), Reason> {
    for property in kind.properties {
        if resource.properties.contains_key(property.name) {
            continue;
        }
        if let Some(default) = property.default {
            resource.properties.insert(property.name.to_owned(), default.to_owned());
        } else if property.required {
            let text =
                format!("property `{}` of resource `{}` is missing", property.name, resource.id);
            return Err(Reason::new(Code::Invalid, text)
                .because(format!("type `{}` requires it: {}", kind.name, property.about))
                .hint(format!("give `{}=` followed by {}", property.name, property.form.words())));
        }
    }
    Ok(())
}

fn set_typed(
    properties: &mut BTreeMap<String, String>,
    property: &Property,
    value: Option<&str>,
) -> Result<(), Reason> {
    match value {
        Some(value) => {
            property.check(value)?;
            properties.insert(property.name.to_owned(), value.to_owned());
        }
        None => {
            properties.remove(property.name);
        }
    }
    Ok(())
}

/// A property that only the agent or the external type knows.
fn set_parameter(
    properties: &mut BTreeMap<String, String>,
    name: &str,
    value: Option<&str>,
) -> Result<(), Reason> {
    match value {
        Some(value) if value.contains('\0') => {
            let text = format!("property `{name}` cannot have that value");
            return Err(Reason::new(Code::Invalid, text).because("it has a zero byte"));
        }
        Some(value) => drop(properties.insert(name.to_owned(), value.to_owned())),
        None => drop(properties.remove(name)),
    }
    Ok(())
}

fn set_common(
    resource: &mut ResourceConfig,
    property: &Property,
    value: Option<&str>,
    nodes: &[NodeId],
) -> Result<(), Reason> {
    if let Some(value) = value {
        property.check(value)?;
    }
    let default = ResourcePolicy::default();
    let ms = |least, otherwise| time_ms(property, value, least).map(|ms| ms.unwrap_or(otherwise));
    let policy = &mut resource.policy;
    match property.name {
        "restart-action" => {
            policy.restart_action = match value {
                Some("none") => RestartAction::None,
                Some(_) | None => RestartAction::Restart,
            };
        }
        "affects-group" => policy.affects_group = value != Some("false"),
        "separate-monitor" => policy.separate_monitor = value == Some("true"),
        "retry-after" => policy.retry_after_s = ms(0, 0)? / 1_000,
        "restart-threshold" => {
            policy.restart_threshold = number(value).unwrap_or(default.restart_threshold);
        }
        "restart-period" => {
            policy.restart_period_s = ms(1_000, default.restart_period_s * 1_000)? / 1_000;
        }
        "pending-timeout" => {
            policy.pending_timeout_ms = ms(PENDING_MS_MIN, default.pending_timeout_ms)?;
        }
        "looks-alive" => policy.looks_alive_ms = ms(POLL_MS_MIN, default.looks_alive_ms)?,
        "is-alive" => policy.is_alive_ms = ms(POLL_MS_MIN, default.is_alive_ms)?,
        "possible-owners" => {
            let owners = value.map(|v| node_list(property.name, v, nodes)).transpose()?;
            resource.possible_owners = owners.map(BTreeSet::from_iter);
        }
        other => return Err(unhandled(other)),
    }
    Ok(())
}

/// Applies settings to the policy of a group.
///
/// # Errors
/// Names the property that is unknown, malformed or out of range.
pub fn set_group(
    policy: &mut GroupPolicy,
    settings: &Settings,
    nodes: &[NodeId],
) -> Result<(), Reason> {
    policy.set_all(settings)?;
    check_group_policy(policy, nodes)
}

/// Checks a whole policy of a group, as a request to create a group brings one.
///
/// # Errors
/// Names the value that is out of range.
pub fn check_group_policy(policy: &GroupPolicy, nodes: &[NodeId]) -> Result<(), Reason> {
    if policy.failover_threshold > FAILOVERS_MAX {
        return Err(out_of_range("failover-threshold", format!("at most {FAILOVERS_MAX}")));
    }
    if !(1..=PERIOD_S_MAX).contains(&policy.failover_period_s) {
        return Err(out_of_range("failover-period", "1s to 8760h".to_owned()));
    }
    if policy.retry_after_s > PERIOD_S_MAX {
        return Err(out_of_range("retry-after", "at most 8760h".to_owned()));
    }
    if let Failback::Window(window) = &policy.failback
        && !failback::is_zone(&window.zone)
    {
        let text = format!("property `failback` names time zone `{}`", window.zone);
        return Err(Reason::new(Code::Invalid, text)
            .because("there is no such zone")
            .hint("give the IANA name, as in `Europe/Berlin` or `UTC`"));
    }
    check_nodes("preferred-owners", &policy.preferred_owners, nodes)
}

fn number(value: Option<&str>) -> Option<u32> {
    value.and_then(|v| v.parse().ok())
}

fn time_ms(property: &Property, value: Option<&str>, least: u64) -> Result<Option<u64>, Reason> {
    let Some(ms) = value.map(parse_time_ms).transpose()? else { return Ok(None) };
    if (least..=TIME_MS_MAX).contains(&ms) {
        return Ok(Some(ms));
    }
    Err(out_of_range(property.name, format!("{least}ms to {}h", TIME_MS_MAX / 3_600_000)))
}

fn node_list(property: &str, value: &str, nodes: &[NodeId]) -> Result<Vec<NodeId>, Reason> {
    let list = group_policy::nodes(property, Some(value))?;
    check_nodes(property, &list, nodes)?;
    Ok(list)
}

fn check_nodes(property: &str, list: &[NodeId], nodes: &[NodeId]) -> Result<(), Reason> {
    for (at, node) in list.iter().enumerate() {
        if !nodes.contains(node) {
            let known: Vec<String> = nodes.iter().map(ToString::to_string).collect();
            let text = format!("property `{property}` names {node}, which is not in the cluster");
            return Err(Reason::new(Code::NotFound, text)
                .hint(format!("the nodes are {}", known.join(", "))));
        }
        if list[..at].contains(node) {
            let text = format!("property `{property}` names {node} twice");
            return Err(Reason::new(Code::Invalid, text));
        }
    }
    Ok(())
}

fn out_of_range(property: &str, range: String) -> Reason {
    Reason::new(Code::Invalid, format!("property `{property}` is out of range"))
        .because(format!("it must be {range}"))
}

fn unknown(name: &str, kind: &ResourceType) -> Reason {
    let all = [kind.properties, COMMON, PROBE, LIMITS].map(listed);
    Reason::new(Code::NotFound, format!("type `{}` has no property `{name}`", kind.name))
        .hint(format!("known are {}", all.join(", ")))
}

/// A property of the tables that this version does not map: a bug, not the administrator's fault.
fn unhandled(name: &str) -> Reason {
    Reason::new(Code::Bug, format!("property `{name}` is in the table and not in the policy"))
}

fn listed(properties: &[Property]) -> String {
    let names: Vec<String> = properties.iter().map(|p| format!("`{}`", p.name)).collect();
    names.join(", ")
}
