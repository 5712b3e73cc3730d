//! The five marks of an application that fits a cluster, judged by trials of data and by
//! the checks that were made before.

use std::path::Path;

use stead_resource_sdk::protocol::{Ask, Trial};

use super::subject::Life;
use super::{Check, Kit, Shown, Verdict, Went};

/// How often data is written before a kill.
const ROUNDS: u32 = 3;

/// The five results.
pub(super) fn judge(kit: &Kit<'_>, checks: &[Check]) -> Vec<Check> {
    vec![
        Check::new("data in a configurable location", location(kit)),
        Check::new("transactions", transactions(kit)),
        Check::new(
            "cluster interface",
            all_of(checks, &["describes", "reads", "refuses", "controls", "terminate"]),
        ),
        Check::new("health reports", all_of(checks, &["online", "offline", "stays", "truth"])),
        Check::new("online and offline without data loss", kept(kit, checks)),
    ]
}

fn all_of(checks: &[Check], names: &[&str]) -> Went {
    let bad = |check: &&Check| check.result == Verdict::Failed && names.contains(&check.name);
    match checks.iter().find(bad) {
        Some(check) => Err(format!("check `{}`: {}", check.name, check.detail)),
        None => Ok(Shown::Fine(format!("checks {}", names.join(", ")))),
    }
}

/// Its data lies where its properties say.
fn location(kit: &Kit<'_>) -> Went {
    if kit.description.data.is_empty() {
        return Ok(Shown::Nothing("it says that it keeps no data (`data`)".into()));
    }
    let life = Life::online(kit)?;
    if let Some(trial) = &kit.description.trial {
        write(&life, trial, 1)?;
    }
    for name in &kit.description.data {
        let Some(place) = kit.properties.get(name) else { continue };
        if !Path::new(place).exists() {
            return Err(format!("it is online, and nothing is at `{name}`, {place}"));
        }
    }
    life.kill();
    Ok(Shown::Fine(kit.description.data.join(", ")))
}

const NO_TRIAL: &str = "it names no control codes to write and read by (`trial`)";

/// What it acknowledged survives a kill.
fn transactions(kit: &Kit<'_>) -> Went {
    let Some(trial) = &kit.description.trial else { return Ok(Shown::Nothing(NO_TRIAL.into())) };
    for round in 0..ROUNDS {
        let number = 100 + round;
        let life = Life::online(kit)?;
        write(&life, trial, number)?;
        life.kill();
        let life = Life::online(kit)?;
        reads(&life, trial, number, "killed")?;
        life.kill();
    }
    Ok(Shown::Fine(format!("{ROUNDS} kills after an acknowledged write")))
}

/// What it acknowledged survives offline, terminate, and a move to another life.
fn kept(kit: &Kit<'_>, checks: &[Check]) -> Went {
    all_of(checks, &["twice", "killed", "hung", "closes"])?;
    let Some(trial) = &kit.description.trial else { return Ok(Shown::Nothing(NO_TRIAL.into())) };
    let life = Life::online(kit)?;
    write(&life, trial, 201)?;
    life.must(Ask::Offline)?;
    life.must(Ask::Online)?;
    reads(&life, trial, 201, "taken offline")?;
    write(&life, trial, 202)?;
    life.must(Ask::Terminate)?;
    life.must(Ask::Online)?;
    reads(&life, trial, 202, "terminated")?;
    life.must(Ask::Offline)?;
    life.must(Ask::Close)?;
    life.kill();
    let life = Life::online(kit)?;
    reads(&life, trial, 202, "closed")?;
    life.kill();
    Ok(Shown::Fine("offline, terminate, close".into()))
}

fn write(life: &Life<'_>, trial: &Trial, number: u32) -> Result<(), String> {
    life.control(&trial.write, &number.to_string()).map(drop)
}

fn reads(life: &Life<'_>, trial: &Trial, number: u32, when: &str) -> Result<(), String> {
    let text = life.control(&trial.read, "")?;
    if text == number.to_string() {
        return Ok(());
    }
    Err(format!("`{number}` was acknowledged, it was {when}, and it has `{text}`"))
}
