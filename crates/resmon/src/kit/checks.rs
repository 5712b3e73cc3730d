//! The checks: what a program is brought through.
//!
//! Each begins with a new life of the program, and whatever is left of it is killed afterwards.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use stead_resource_sdk::protocol::{Ask, Health};

use super::subject::{Life, opening};
use super::{Kit, Shown, Went, herd};
use crate::external::session::End;
use crate::prober;

type Trial = fn(&Kit<'_>) -> Went;

/// All checks, in their order.
pub(super) const ALL: &[(&str, Trial)] = &[
    ("describes", describes),
    ("reads", reads),
    ("refuses", refuses),
    ("online", online),
    ("stays", stays),
    ("truth", truth),
    ("offline", offline),
    ("twice", twice),
    ("controls", controls),
    ("terminate", terminate),
    ("killed", killed),
    ("hung", hung),
    ("closes", closes),
    ("signal", signal),
];

/// How long a call that is sent to a stopped program is waited for.
const HANG: Duration = Duration::from_millis(100);

fn fine() -> Went {
    Ok(Shown::Fine(String::new()))
}

/// It says what it is, always the same.
fn describes(kit: &Kit<'_>) -> Went {
    let life = Life::begin(kit)?;
    let (first, second) = (life.describe()?, life.describe()?);
    if first != second || first != kit.description {
        return Err("it describes itself differently each time".into());
    }
    fine()
}

/// Lines that it cannot read are no trouble.
fn reads(kit: &Kit<'_>) -> Went {
    let life = Life::begin(kit)?;
    life.describe()?;
    life.babble(b"\nhalf a line\"}\n[1]\n{\"id\":7}\n{\"id\":1,\"call\":\"cancel\"}\n")?;
    life.open().map_err(|why| format!("after lines that make no sense: {why}"))?;
    fine()
}

/// Wrong properties are refused at once, and nothing is started.
fn refuses(kit: &Kit<'_>) -> Went {
    let mut tried = 0;
    for property in &kit.description.properties {
        if property.required {
            let mut properties = kit.properties.clone();
            properties.remove(&property.name);
            refuses_one(kit, properties, &format!("without property `{}`", property.name))?;
            tried += 1;
        }
        if let Some(text) = Kit::misfit(property.form) {
            let mut properties = kit.properties.clone();
            properties.insert(property.name.clone(), text.to_owned());
            let life = Life::begin(kit)?;
            life.describe()?;
            let end = life.call(Ask::Open(opening(properties)), kit.trials.call_limit);
            if !matches!(end, End::Failed(_) | End::Done(_)) {
                return Err(format!("`open` with `{}={text}` has no answer", property.name));
            }
            life.is_alone("it was only opened")?;
            tried += 1;
        }
    }
    Ok(Shown::Fine(format!("{tried} wrong openings")))
}

fn refuses_one(
    kit: &Kit<'_>,
    properties: std::collections::BTreeMap<String, String>,
    how: &str,
) -> Result<(), String> {
    let life = Life::begin(kit)?;
    life.describe()?;
    match life.call(Ask::Open(opening(properties)), kit.trials.call_limit) {
        End::Failed(_) => life.is_alone("it was only opened"),
        End::Done(_) => Err(format!("it opens {how}, which is required")),
        End::Late(why) | End::Broken(why) => Err(format!("`open` {how}: {why}")),
        End::Cancelled => Err(format!("`open` {how} has no answer")),
    }
}

/// It comes online and says so.
fn online(kit: &Kit<'_>) -> Went {
    let life = Life::opened(kit)?;
    life.is_not_good("it was not brought online yet")?;
    life.must(Ask::Online)?;
    life.is_good("it is online")?;
    fine()
}

/// The program that was started is the one that serves.
fn stays(kit: &Kit<'_>) -> Went {
    let life = Life::online(kit)?;
    life.is_good("it is online")?;
    if !life.runs() {
        return Err("its process ended after it had forked: stead takes that for its end".into());
    }
    fine()
}

/// Online means that it serves; where something of it dies it says so.
fn truth(kit: &Kit<'_>) -> Went {
    let life = Life::online(kit)?;
    life.is_good("it is online")?;
    if let Some(probe) = &kit.trials.probe {
        prober::once(probe, kit.trials.call_limit)
            .map_err(|why| format!("it says that it is online, and probe {probe} says: {why}"))?;
    }
    let all = herd::all_but(life.pid());
    let mut shown = match all.len() {
        0 => "it started no process whose death it could hide".to_owned(),
        count => format!("{count} of its processes were killed"),
    };
    if !all.is_empty() {
        all.iter().for_each(|pid| herd::signal(*pid, Signal::KILL));
        notices(&life, &all, kit.trials.patience)?;
    }
    if let Some(probe) = &kit.trials.probe {
        life.kill();
        let life = Life::online(kit)?;
        life.must(Ask::Offline)?;
        if prober::once(probe, kit.trials.call_limit).is_ok() {
            return Err(format!("it says that it is offline, and probe {probe} works"));
        }
        shown.push_str("; the probe agrees");
    }
    Ok(Shown::Fine(shown))
}

/// Waits until it says that it does not work, or has started something anew. What was killed may
/// be seen a moment longer.
fn notices(life: &Life<'_>, killed: &[i32], patience: Duration) -> Result<(), String> {
    let end = Instant::now() + patience;
    loop {
        let good = life.check(Ask::IsAlive)?.health == Health::Good;
        let anew = herd::all_but(life.pid()).iter().any(|pid| !killed.contains(pid));
        if !good || life.broke().is_some() || anew {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err("its processes are dead, and `is-alive` says good".into());
        }
        thread::sleep(herd::LOOK_AGAIN);
    }
}

/// It goes offline, and nothing of it acts.
fn offline(kit: &Kit<'_>) -> Went {
    let life = Life::online(kit)?;
    life.must(Ask::Offline)?;
    life.is_not_good("it is offline")?;
    life.is_alone("it is offline")?;
    fine()
}

/// What is done already is no error.
fn twice(kit: &Kit<'_>) -> Went {
    let life = Life::opened(kit)?;
    let when = |how: &'static str| move |why: String| format!("{how}: {why}");
    life.must(Ask::Offline).map_err(when("offline before it was online"))?;
    life.must(Ask::Online)?;
    life.must(Ask::Online).map_err(when("online twice"))?;
    life.is_good("it was brought online twice")?;
    life.must(Ask::Offline)?;
    life.must(Ask::Offline).map_err(when("offline twice"))?;
    life.is_not_good("it was taken offline twice")?;
    life.must(Ask::Online).map_err(when("online again"))?;
    life.is_good("it is online again")?;
    fine()
}

/// Codes that it does not know it refuses.
fn controls(kit: &Kit<'_>) -> Went {
    let life = Life::online(kit)?;
    let ask = Ask::Control { code: "no-such-code".into(), text: String::new() };
    match life.call(ask, kit.trials.call_limit) {
        End::Done(_) => Err("it does what control code `no-such-code` wants".into()),
        End::Late(why) | End::Broken(why) => Err(why),
        End::Cancelled => Err("it does not answer".into()),
        End::Failed(_) => {
            life.is_good("it was asked for a control code that it does not know")?;
            Ok(Shown::Fine(format!("{} codes", kit.description.controls.len())))
        }
    }
}

/// It ends at once, whatever it does.
fn terminate(kit: &Kit<'_>) -> Went {
    let life = Life::online(kit)?;
    life.must(Ask::Terminate)?;
    life.is_not_good("it was terminated")?;
    life.is_alone("it was terminated")?;
    life.must(Ask::Terminate).map_err(|why| format!("terminated twice: {why}"))?;
    life.must(Ask::Online).map_err(|why| format!("online after that: {why}"))?;
    life.kill();

    let life = Life::opened(kit)?;
    let session = life.session();
    let (limit, cancel) = (kit.trials.call_limit, life.cancel());
    let (start, end) = thread::scope(|scope| {
        let start = scope.spawn(|| session.call(Ask::Online, limit, &cancel));
        let end = session.call(Ask::Terminate, limit, &cancel);
        (start.join(), end)
    });
    if !matches!(start, Ok(End::Done(_) | End::Failed(_))) {
        return Err("`online` has no answer when `terminate` comes meanwhile".into());
    }
    if !matches!(end, End::Done(_)) {
        return Err("`terminate` does not work while `online` is under way".into());
    }
    // Whichever came first, it is at an end afterwards.
    life.must(Ask::Terminate)?;
    life.is_not_good("it was terminated")?;
    life.is_alone("it was terminated")?;
    fine()
}

/// Where a program is when something happens to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Described,
    Opened,
    GoingOnline,
    Online,
    Checking,
    GoingOffline,
    Offline,
}

const PHASES: [Phase; 7] = [
    Phase::Described,
    Phase::Opened,
    Phase::GoingOnline,
    Phase::Online,
    Phase::Checking,
    Phase::GoingOffline,
    Phase::Offline,
];

/// Brings a new life of the program to that point; `also` sees what is under way there.
fn bring<'a>(kit: &'a Kit<'a>, phase: Phase, under_way: Duration) -> Result<Life<'a>, String> {
    let life = Life::begin(kit)?;
    life.describe()?;
    if phase == Phase::Described {
        return Ok(life);
    }
    life.open()?;
    let begin = |ask: Ask| drop(life.call(ask, under_way));
    match phase {
        Phase::Described | Phase::Opened => {}
        Phase::GoingOnline => begin(Ask::Online),
        Phase::Online => life.must(Ask::Online)?,
        Phase::Checking => {
            life.must(Ask::Online)?;
            begin(Ask::IsAlive);
        }
        Phase::GoingOffline => {
            life.must(Ask::Online)?;
            begin(Ask::Offline);
        }
        Phase::Offline => {
            life.must(Ask::Online)?;
            life.must(Ask::Offline)?;
        }
    }
    Ok(life)
}

/// Killed at any point, the next one comes online.
fn killed(kit: &Kit<'_>) -> Went {
    let mut kills = 0;
    for phase in PHASES {
        let under_way: &[u64] = match phase {
            Phase::GoingOnline | Phase::GoingOffline => &[0, 5, 30],
            Phase::Described | Phase::Opened | Phase::Online | Phase::Checking | Phase::Offline => {
                &[0]
            }
        };
        for ms in under_way {
            bring(kit, phase, Duration::from_millis(*ms))?.kill();
            kills += 1;
            let after = |why: String| format!("after it was killed while {phase:?}: {why}");
            let life = Life::online(kit).map_err(after)?;
            life.is_good("it is online").map_err(after)?;
            life.must(Ask::Offline).map_err(after)?;
            life.is_alone("it is offline").map_err(after)?;
            life.kill();
        }
    }
    Ok(Shown::Fine(format!("{kills} kills")))
}

/// Stopped at any point and let go, it returns from the call that was cancelled meanwhile; killed
/// while it hangs, the next one can end it.
fn hung(kit: &Kit<'_>) -> Went {
    let points = [
        (Phase::Opened, Ask::Online, Ask::Offline),
        (Phase::Online, Ask::IsAlive, Ask::IsAlive),
        (Phase::Online, Ask::Offline, Ask::IsAlive),
    ];
    for (phase, ask, next) in points {
        let what = crate::external::session::name(&ask);
        let life = bring(kit, phase, Duration::ZERO)?;
        life.signal(Signal::STOP);
        let end = life.call(ask.clone(), HANG);
        life.signal(Signal::CONT);
        if !matches!(end, End::Late(_)) {
            return Err(format!("`{what}` was answered by a stopped program"));
        }
        // The next call waits until the cancelled one was answered.
        life.must(next).map_err(|why| format!("`{what}` was cancelled while it hung: {why}"))?;
        life.signal(Signal::STOP);
        life.kill();
        let after = |why: String| format!("killed while it hung after `{what}`: {why}");
        let life = Life::opened(kit).map_err(after)?;
        life.must(Ask::Terminate).map_err(after)?;
        life.is_not_good("it was terminated").map_err(after)?;
        life.is_alone("it was terminated").map_err(after)?;
        life.kill();
    }
    fine()
}

/// It ends when it is not needed any more, and leaves nothing.
fn closes(kit: &Kit<'_>) -> Went {
    let life = Life::online(kit)?;
    life.must(Ask::Offline)?;
    life.must(Ask::Close)?;
    if !life.ends() {
        return Err("it goes on after `close`".into());
    }
    life.is_alone("it ended")?;
    fine()
}

/// It does not ignore TERM.
fn signal(kit: &Kit<'_>) -> Went {
    let life = Life::online(kit)?;
    life.signal(Signal::TERM);
    if !life.ends() {
        return Err("it ignores SIGTERM".into());
    }
    fine()
}
