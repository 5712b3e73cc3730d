//! Alerts, and how they go on one node.

use stead_model::view::{AlertView, View};

use super::{Table, facts, moment};
use crate::reach::name_of;

/// All alerts.
pub(crate) fn alerts(alerts: &[AlertView]) -> String {
    let mut table = Table::new(&["ALERT", "LEVEL", "CODES", "GROUPS", "CALLS", "GOES"]);
    for alert in alerts {
        let value = |name: &str| alert.properties.get(name).cloned();
        table.row(vec![
            alert.alert.to_string(),
            value("level").unwrap_or_default(),
            value("codes").unwrap_or_else(|| "all".to_owned()),
            value("groups").unwrap_or_else(|| "all".to_owned()),
            value("webhook").or_else(|| value("command")).unwrap_or_default(),
            goes(alert).to_owned(),
        ]);
    }
    table.text_or("no alerts")
}

/// One alert.
pub(crate) fn alert(view: &View, alert: &AlertView) -> String {
    let track = &alert.track;
    let at = |moment: Option<_>| moment.map_or_else(|| "never".to_owned(), moment::to_second);
    let failure = match &track.why {
        Some(why) => format!("{}: {why}", at(track.last_failure)),
        None => at(track.last_failure),
    };
    let mut lines = vec![("alert", alert.alert.to_string())];
    lines.extend(alert.properties.iter().map(|(name, value)| (name.as_str(), value.clone())));
    lines.extend([
        ("seen from", name_of(view, view.node)),
        ("last success", at(track.last_success)),
        ("last failure", failure),
        ("waiting", track.waiting.to_string()),
        ("dropped", track.dropped.to_string()),
    ]);
    facts(&lines)
}

fn goes(alert: &AlertView) -> &'static str {
    match (alert.track.trouble(), alert.track.last_success) {
        (Some(_), _) => "fails",
        (None, Some(_)) => "well",
        (None, None) => "not called yet",
    }
}
