//! `stead lab …`: orders to the supervisor of a lab.

use std::net::SocketAddr;
use std::process::ExitCode;

use serde::Serialize;
use stead_lab::cluster::Cluster;
use stead_lab::demo::{DemoError, DemoOptions};
use stead_lab::disks::Condition;
use stead_lab::example::{self, Example};
use stead_lab::{
    ControlError, CutSpec, Direction, DownError, ExecError, Fault, Home, Jitter, Lab, NodeError,
    OpenPort, Station, Swallows, UpError, UpOptions,
};
use stead_model::NodeId;

use super::{Asked, with_runtime, write};
use crate::arguments::{
    CutArguments, DemoArguments, DiskArguments, JitterArguments, LabCommand, UpArguments,
};
use crate::failure::{Exit, Failure};
use crate::place;
use crate::{render, screen};

/// What an order to a lab answers.
#[derive(Serialize)]
struct Begun {
    /// CLOCK_BOOTTIME when it was begun, nanoseconds.
    boot_ns: u64,
}

/// Carries out a command about labs.
pub(crate) fn run(asked: &Asked, command: LabCommand) -> Result<ExitCode, Failure> {
    match command {
        LabCommand::Up(arguments) => up(asked, arguments),
        LabCommand::Demo(arguments) => demo(asked, &arguments),
        LabCommand::Status { name } => status(asked, name),
        LabCommand::List => list(asked),
        LabCommand::Down { name } => down(asked, name),
        LabCommand::Crash { machine } => order(asked, "crash", machine.0, Lab::crash),
        LabCommand::Freeze { machine } => order(asked, "freeze", machine.0, Lab::freeze),
        LabCommand::Thaw { machine } => order(asked, "thaw", machine.0, Lab::thaw),
        LabCommand::Hang { machine } => order(asked, "hang", machine.0, Lab::hang),
        LabCommand::Join { machine } => join(asked, machine.0),
        LabCommand::Start { machine } => switch(asked, "start", machine.0, Lab::start),
        LabCommand::Stop { machine } => switch(asked, "stop", machine.0, Lab::stop),
        LabCommand::Cut(arguments) => cut(asked, &arguments),
        LabCommand::Jitter(arguments) => jitter(asked, &arguments),
        LabCommand::Heal => {
            let begun = open(asked)?.heal().map_err(|e| of_control("heal the cables", &e))?;
            Ok(said(asked, begun, "all cables are whole"))
        }
        LabCommand::FailDisk(path) => disk(asked, &path, Condition::Failing),
        LabCommand::SlowDisk { path, delay } => {
            disk(asked, &path, Condition::Slow { delay_ms: delay })
        }
        LabCommand::HangDisk(path) => disk(asked, &path, Condition::Hanging),
        LabCommand::HealDisk(path) => disk(asked, &path, Condition::Healthy),
        LabCommand::Exec { machine, command } => exec(asked, machine, &command),
        LabCommand::Open { group, port } => open_group(asked, &group, port),
    }
}

fn open(asked: &Asked) -> Result<Lab, Failure> {
    place::open(asked.lab.as_deref())
}

fn up(asked: &Asked, arguments: UpArguments) -> Result<ExitCode, Failure> {
    let example = arguments.example.as_deref().map(find_example).transpose()?;
    let mut options = UpOptions {
        nodes: arguments.nodes,
        spares: arguments.spare,
        quorum: arguments.quorum.map(Into::into),
        profile: arguments.profile,
        disks: arguments.disks,
        ..UpOptions::new(&arguments.name)
    };
    let wanted = example.iter().flat_map(|example| example.lab.disks.clone());
    for disk in wanted {
        if !options.disks.contains(&disk) {
            options.disks.push(disk);
        }
    }
    let made = stead_lab::up(&options, &mut |step| screen::talk(step));
    let what = || format!("cannot make lab `{}`", arguments.name);
    let lab = made.map_err(|error| Failure::of_lab(of_up(&error), what(), &error))?;
    let status = lab.status().map_err(|error| of_control("look at the new lab", &error))?;
    for missing in &status.missing {
        screen::talk(&format!("goes without: {missing}"));
    }
    if let Some(example) = &example {
        bring(&lab, example)?;
    }
    if asked.json {
        screen::json(&status);
    } else {
        screen::talk(&format!("lab `{}` is up; `stead status` shows its cluster", lab.name()));
    }
    Ok(ExitCode::SUCCESS)
}

/// An example that this machine can run, before anything is made for it.
fn find_example(name: &str) -> Result<Example, Failure> {
    let found = Example::find(name).map_err(|error| {
        Failure::of_lab(Exit::Usage, format!("cannot use example `{name}`"), &error)
    })?;
    match found.lacks() {
        None => Ok(found),
        Some(need) => Err(Failure::new(Exit::Refused, format!("cannot run example `{name}`"))
            .because(format!("this machine has no `{}`", need.program))
            .hint(format!("`apt-get install {}` brings it", need.package))),
    }
}

/// Brings the group of an example online and says what may be tried then.
fn bring(lab: &Lab, example: &Example) -> Result<(), Failure> {
    let name = &example.group.group;
    let online = example::install(lab, example, &mut |step| screen::talk(step));
    let online = online.map_err(|error| {
        Failure::of_lab(Exit::Refused, format!("cannot bring group `{name}` online"), &error)
            .hint(format!("lab `{0}` is up; `stead lab down {0}` ends it", lab.name()))
    })?;
    let owner = online.owner.map_or_else(|| "n1".to_owned(), |node| node.to_string());
    screen::talk("what to try next:");
    for suggestion in &example.next {
        let run = suggestion.run.replace("OWNER", &owner);
        screen::talk(&format!("  {run:<60} # {}", suggestion.about));
    }
    Ok(())
}

const fn of_up(error: &UpError) -> Exit {
    match error {
        UpError::Name(_) | UpError::Nodes(_) | UpError::Spares { .. } | UpError::Disk(_) => {
            Exit::Usage
        }
        UpError::Taken(_)
        | UpError::Step(_)
        | UpError::Supervisor { .. }
        | UpError::Node { .. }
        | UpError::NotServing { .. } => Exit::Refused,
    }
}

fn demo(asked: &Asked, arguments: &DemoArguments) -> Result<ExitCode, Failure> {
    let mut options = DemoOptions {
        runs: arguments.runs,
        nodes: arguments.nodes,
        quorum: arguments.quorum.map(Into::into),
        profile: arguments.profile,
        crash: arguments.crash.into(),
        ..DemoOptions::default()
    };
    options.name = asked.lab.clone().unwrap_or(options.name);
    let shown = stead_lab::demo::demo(&options, &mut |step| screen::talk(step));
    let report = shown.map_err(|error| {
        let exit = match &error {
            DemoError::Up(up) => of_up(up),
            DemoError::OneNode => Exit::Usage,
            DemoError::Down(_)
            | DemoError::Cluster(_)
            | DemoError::Control(_)
            | DemoError::Node(_)
            | DemoError::Client(_)
            | DemoError::Step(_)
            | DemoError::NotBack { .. }
            | DemoError::NoLeader => Exit::Refused,
        };
        Failure::of_lab(exit, "cannot show the demo", &error)
    })?;
    asked.show(&report, render::demo);
    Ok(ExitCode::SUCCESS)
}

fn status(asked: &Asked, name: Option<String>) -> Result<ExitCode, Failure> {
    let lab = place::open(name.as_deref().or(asked.lab.as_deref()))?;
    let doing = format!("look at lab `{}`", lab.name());
    let status = lab.status().map_err(|error| of_control(&doing, &error))?;
    asked.show(&status, render::lab);
    Ok(ExitCode::SUCCESS)
}

fn list(asked: &Asked) -> Result<ExitCode, Failure> {
    let listed = stead_lab::list(&Home::of_user());
    let labs = listed.map_err(|e| Failure::of_lab(Exit::Refused, "cannot list the labs", &e))?;
    asked.show(&labs, |labs| render::labs(labs));
    Ok(ExitCode::SUCCESS)
}

fn down(asked: &Asked, name: Option<String>) -> Result<ExitCode, Failure> {
    let name = name.as_deref().or(asked.lab.as_deref());
    let what = name.map_or_else(|| "cannot end a lab".into(), |n| format!("cannot end lab `{n}`"));
    let ended = stead_lab::down(&Home::of_user(), name).map_err(|error| {
        let exit = match &error {
            DownError::Open(stead_lab::OpenError::Several(_)) => Exit::Usage,
            DownError::Open(_) | DownError::Control(_) => Exit::Unreachable,
            DownError::Left { .. } => Exit::Refused,
        };
        Failure::of_lab(exit, what, &error)
    })?;
    if asked.json {
        screen::json(&serde_json::json!({ "name": ended }));
    } else {
        screen::talk(&format!("lab `{ended}` has ended"));
    }
    Ok(ExitCode::SUCCESS)
}

fn join(asked: &Asked, node: NodeId) -> Result<ExitCode, Failure> {
    let lab = open(asked)?;
    let done = Cluster::of(&lab).add(node).map_err(|error| {
        Failure::of_lab(Exit::Refused, format!("cannot make {node} a member"), &error)
    })?;
    if asked.json {
        screen::json(&done);
    } else {
        screen::talk(&format!("committed as entry {}; `stead node list` shows it", done.index));
    }
    Ok(ExitCode::SUCCESS)
}

/// An order that is done when it is answered.
fn order(
    asked: &Asked,
    verb: &str,
    node: NodeId,
    give: impl Fn(&Lab, NodeId) -> Result<u64, ControlError>,
) -> Result<ExitCode, Failure> {
    let begun = give(&open(asked)?, node);
    let begun = begun.map_err(|error| of_control(&format!("{verb} {node}"), &error))?;
    Ok(said(asked, begun, &format!("{verb} {node}: done")))
}

/// An order whose end is waited for.
fn switch(
    asked: &Asked,
    verb: &str,
    node: NodeId,
    give: impl Fn(&Lab, NodeId) -> Result<u64, NodeError>,
) -> Result<ExitCode, Failure> {
    let begun = give(&open(asked)?, node).map_err(|error| match &error {
        NodeError::Control(control) => of_control(&format!("{verb} {node}"), control),
        NodeError::NotThere { .. } => {
            Failure::of_lab(Exit::Refused, format!("cannot {verb} {node}"), &error)
                .hint("`stead lab status` shows all machines")
        }
    })?;
    Ok(said(asked, begun, &format!("{verb} {node}: done")))
}

fn cut(asked: &Asked, arguments: &CutArguments) -> Result<ExitCode, Failure> {
    let CutArguments { machine, other, network, one_way, loss, above } = *arguments;
    let cut = match other {
        None => CutSpec::Station { station: machine, network },
        Some(other) => CutSpec::Pair {
            from: machine,
            to: other,
            direction: if one_way { Direction::OneWay } else { Direction::BothWays },
            network,
        },
    };
    let swallows = match (loss, above) {
        (Some(percent), _) => Swallows::Percent(percent),
        (None, Some(bytes)) => Swallows::Above(bytes),
        (None, None) => Swallows::All,
    };
    let fault = Fault { cut, swallows };
    let begun = open(asked)?.fault(fault);
    let begun = begun.map_err(|error| of_control(&format!("cut {fault}"), &error))?;
    Ok(said(asked, begun, &format!("cut: {fault}")))
}

fn jitter(asked: &Asked, arguments: &JitterArguments) -> Result<ExitCode, Failure> {
    let JitterArguments { machine: station, network, up_to: up_to_ms } = *arguments;
    let jitter = Jitter { station, network, up_to_ms };
    let begun = open(asked)?.jitter(jitter);
    let begun = begun.map_err(|error| of_control(&format!("make {jitter}"), &error))?;
    Ok(said(asked, begun, &format!("jitter: {jitter}")))
}

/// A fault of a path, or its end.
fn disk(asked: &Asked, path: &DiskArguments, condition: Condition) -> Result<ExitCode, Failure> {
    let way = format!("path of {} to disk `{}`", path.machine.0, path.disk);
    let begun = open(asked)?.set_disk(path.machine.0, &path.disk, condition);
    let begun = begun.map_err(|error| of_control(&format!("change the {way}"), &error))?;
    Ok(said(asked, begun, &format!("{way}: {condition}")))
}

fn exec(
    asked: &Asked,
    station: Station,
    command: &[std::ffi::OsString],
) -> Result<ExitCode, Failure> {
    let ended = open(asked)?.exec(station, command).map_err(|error| {
        let what = format!("run a command on {station}");
        match &error {
            ExecError::Control(control) => of_control(&what, control),
            ExecError::Off(_) | ExecError::Step(_) => {
                Failure::of_lab(Exit::Refused, format!("cannot {what}"), &error)
            }
        }
    })?;
    Ok(ExitCode::from(u8::try_from(ended).unwrap_or(1)))
}

/// Opens a port to the address of a group; the address is asked of the cluster.
fn open_group(asked: &Asked, group: &str, port: u16) -> Result<ExitCode, Failure> {
    let doing = format!("open a port to group `{group}`");
    let lab = open(asked)?;
    let there = Asked { lab: Some(lab.name().to_owned()), ..asked.clone() };
    let view = with_runtime(there.view())?;
    let found = write::group(&view, &doing, group)?;
    let addresses = found.resources.iter().filter(|resource| resource.kind == "ip-address");
    let mut addresses = addresses.filter_map(|resource| resource.properties.get("address"));
    let address = addresses.find_map(|text| stead_model::resource_type::parse_address(text));
    let Some((address, _)) = address else {
        return Err(Failure::new(Exit::Refused, format!("cannot {doing}"))
            .because("it has no resource of type ip-address")
            .hint(format!("`stead group show {group}` shows its resources")));
    };
    let target = SocketAddr::new(address, port);
    let local = lab.open_port(target).map_err(|error| of_control(&doing, &error))?;
    if asked.json {
        screen::json(&OpenPort { local, target });
    } else {
        screen::talk(&format!("leads to {target} until the lab ends:"));
        screen::data(&format!("{local}\n"));
    }
    Ok(ExitCode::SUCCESS)
}

fn said(asked: &Asked, boot_ns: u64, text: &str) -> ExitCode {
    if asked.json {
        screen::json(&Begun { boot_ns });
    } else {
        screen::talk(text);
    }
    ExitCode::SUCCESS
}

fn of_control(doing: &str, error: &ControlError) -> Failure {
    let exit = match error {
        ControlError::Unreachable { .. } | ControlError::Unexpected { .. } => Exit::Unreachable,
        ControlError::Refused(_) => Exit::Refused,
    };
    Failure::of_lab(exit, format!("cannot {doing}"), error)
}
