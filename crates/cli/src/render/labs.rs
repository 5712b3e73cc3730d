//! Labs and their machines.

use stead_lab::demo::DemoReport;
use stead_lab::disks::DiskStatus;
use stead_lab::{LabEntry, LabState, LabStatus, NodeStatus, Power};

use super::nodes::voter_name;
use super::{Table, facts};

/// All labs.
pub(crate) fn labs(labs: &[LabEntry]) -> String {
    let mut table = Table::new(&["LAB", "STATE", "NODES", "PROFILE"]);
    for lab in labs {
        let state = match lab.state {
            LabState::Running => "running",
            LabState::Dead => "dead",
        };
        table.row(vec![
            lab.name.clone(),
            state.into(),
            lab.nodes.map_or_else(nothing, |nodes| nodes.to_string()),
            lab.profile.map_or_else(nothing, |profile| profile.name().into()),
        ]);
    }
    table.text_or("no labs")
}

/// What a demo measured.
pub(crate) fn demo(report: &DemoReport) -> String {
    let header =
        ["RUN", "CRASHED", "LED", "DISK HOST", "SERVES", "OUTAGE", "DETECT", "DECIDE", "ONLINE"];
    let mut table = Table::new(&header);
    for run in &report.runs {
        table.row(vec![
            run.run.to_string(),
            run.crashed.to_string(),
            run.leader.map_or_else(nothing, voter_name),
            run.disk_host.map_or_else(nothing, |node| node.to_string()),
            run.owner_after.map_or_else(nothing, |node| node.to_string()),
            ms(Some(run.outage_ms)),
            ms(run.detect_ms),
            ms(run.decide_ms),
            ms(run.online_ms),
        ]);
    }
    let medians = &report.medians;
    let mut last = vec!["median".to_owned()];
    last.resize(5, String::new());
    let figures = [medians.outage_ms, medians.detect_ms, medians.decide_ms, medians.online_ms];
    last.extend(figures.map(ms));
    table.row(last);
    table.text()
}

fn ms(figure: Option<f64>) -> String {
    figure.map_or_else(nothing, |figure| format!("{figure:.0} ms"))
}

fn nothing() -> String {
    "-".to_owned()
}

/// The machines of one lab.
pub(crate) fn lab(status: &LabStatus) -> String {
    let mut lines = vec![
        ("lab", status.name.clone()),
        ("profile", status.profile.name().into()),
        ("supervisor", format!("pid {}, stead {}", status.supervisor_pid, status.version)),
    ];
    lines.extend(status.cuts.iter().map(|cut| ("cut", cut.clone())));
    let ports = status.ports.iter();
    lines.extend(ports.map(|port| ("open", format!("{} leads to {}", port.local, port.target))));
    lines.extend(status.missing.iter().map(|missing| ("without", missing.to_string())));
    let mut text = facts(&lines);
    text.push('\n');
    text.push_str(&machines(&status.nodes));
    if !status.disks.is_empty() {
        text.push('\n');
        text.push_str(&paths(&status.disks));
    }
    text
}

fn machines(nodes: &[NodeStatus]) -> String {
    let header = ["NODE", "POWER", "PID", "BOOTS", "GUARD RESTARTS", "TROUBLE"];
    let mut table = Table::new(&header);
    for node in nodes {
        table.row(vec![
            format!("{} {}", node.node, node.name),
            power(node.power).into(),
            node.pid.map_or_else(nothing, |pid| pid.to_string()),
            node.boots.to_string(),
            node.guard_restarts.to_string(),
            node.trouble.clone().unwrap_or_default(),
        ]);
    }
    table.text()
}

fn paths(disks: &[DiskStatus]) -> String {
    let header = ["DISK", "NODE", "PATH", "KEPT", "HOST'S DEVICE"];
    let mut table = Table::new(&header);
    for disk in disks {
        for path in &disk.paths {
            table.row(vec![
                disk.disk.clone(),
                path.node.to_string(),
                path.condition.to_string(),
                path.kept_requests.to_string(),
                path.loop_device.map_or_else(nothing, |number| format!("loop{number}")),
            ]);
        }
    }
    table.text()
}

const fn power(power: Power) -> &'static str {
    match power {
        Power::Off => "off",
        Power::Booting => "booting",
        Power::On => "on",
        Power::Stopping => "stopping",
        Power::Frozen => "frozen",
        Power::Hung => "hung",
        Power::Failed => "failed",
    }
}
