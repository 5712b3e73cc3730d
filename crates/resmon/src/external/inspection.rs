//! Hears what external types are and what they say to properties, from their programs, without a
//! resource.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use stead_model::external::{Installed, OwnProperty};
use stead_model::order::Fitness;
use stead_model::reason::Reason;
use stead_resource_sdk::protocol::{Ask, Description, Opening};

use super::companion::Companion;
use super::session::End;
use super::{catalogue, described, describing, table, why};
use crate::bell::{Bell, Cancel};
use crate::monitor::STACK_BYTES;

/// How long an answer about a resource that somebody wants may take: who asks waits.
const LOOK_LIMIT: Duration = Duration::from_secs(2);
/// Programs that are asked at once.
const AT_ONCE: usize = 8;

/// All types that are installed here. One that cannot be used says why.
pub(crate) fn installed(root: &Path) -> Vec<Installed> {
    let names: Vec<String> = catalogue::names(root).into_iter().collect();
    let mut all = Vec::new();
    for some in names.chunks(AT_ONCE) {
        all.extend(thread::scope(|scope| {
            let asked = some.iter().filter_map(|name| {
                let builder = thread::Builder::new().stack_size(STACK_BYTES);
                builder.spawn_scoped(scope, || entry(root, name)).ok()
            });
            let asked: Vec<_> = asked.collect();
            asked.into_iter().filter_map(|one| one.join().ok()).collect::<Vec<_>>()
        }));
    }
    all
}

fn entry(root: &Path, name: &str) -> Installed {
    let kind = format!("ext:{name}");
    match describe(root, name) {
        Ok(Description { version, about, properties, controls, .. }) => Installed {
            name: kind,
            about: format!("{about} (version {version})"),
            properties: properties
                .into_iter()
                .map(|own| OwnProperty {
                    name: own.name,
                    about: own.about,
                    form: table::form(own.form),
                    required: own.required,
                    default: own.default,
                })
                .collect(),
            controls: controls.into_iter().map(|own| (own.code, own.about)).collect(),
            actions: Vec::new(),
        },
        Err(why) => Installed {
            name: kind,
            about: why,
            properties: Vec::new(),
            controls: Vec::new(),
            actions: Vec::new(),
        },
    }
}

/// What an external type says of itself, from the program of that name.
fn describe(root: &Path, name: &str) -> Result<Description, String> {
    let program = catalogue::find(root, name)?;
    let (companion, cancel) = start(&program, name)?;
    described(&companion.session, name, &cancel)
}

/// Whether a resource of a type could run here: whether the type is there, whether the properties
/// fit its table, and what its program says to them.
pub(crate) fn fitness(root: &Path, name: &str, given: &BTreeMap<String, String>) -> Fitness {
    let of_type = |why: String| Fitness::Unfit(vec![format!("`type`: {why}")]);
    let program = match catalogue::find(root, name) {
        Ok(program) => program,
        Err(why) => return of_type(why),
    };
    let (companion, cancel) = match start(&program, name) {
        Ok(begun) => begun,
        Err(why) => return of_type(why),
    };
    let session = &companion.session;
    let description: Description = match session.ask(describing(), LOOK_LIMIT, &cancel) {
        Ok(description) => description,
        // A busy node is no reason to refuse.
        Err(end @ (End::Late(_) | End::Cancelled)) => return Fitness::Unsure(why(end, name)),
        Err(end) => return of_type(why(end, name)),
    };
    if let Err(why) = table::check(&description, name) {
        return of_type(why);
    }
    let properties = match table::settle(&description, given) {
        Ok(properties) => properties,
        Err(Reason { text, cause, hint, .. }) => {
            let parts = [Some(text), cause, hint].into_iter().flatten();
            return Fitness::Unfit(vec![parts.collect::<Vec<_>>().join(": ")]);
        }
    };
    let opening = Opening { properties, ..Opening::default() };
    match session.call(Ask::Open(opening), LOOK_LIMIT, &cancel) {
        End::Done(_) => Fitness::Fit,
        End::Failed(why) => Fitness::Unfit(vec![why]),
        end @ (End::Late(_) | End::Cancelled) => Fitness::Unsure(why(end, name)),
        end @ End::Broken(_) => of_type(why(end, name)),
    }
}

fn start(program: &Path, name: &str) -> Result<(Companion, Cancel), String> {
    let bell = Arc::new(Bell::default());
    let begun = Companion::start(program, Arc::clone(&bell), Box::new(|_| {}));
    let companion = begun.map_err(|e| {
        format!("resource type `ext:{name}` cannot be used here: {}: {e}", program.display())
    })?;
    Ok((companion, Cancel::new(bell)))
}
