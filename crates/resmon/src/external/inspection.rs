//! Hears what external types are, from their programs, without a resource.

use std::path::Path;
use std::sync::Arc;
use std::thread;

use stead_model::external::{Installed, OwnProperty};
use stead_resource_sdk::protocol::Description;

use super::companion::Companion;
use super::{catalogue, described, table};
use crate::bell::{Bell, Cancel};
use crate::monitor::STACK_BYTES;

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
        },
        Err(why) => {
            Installed { name: kind, about: why, properties: Vec::new(), controls: Vec::new() }
        }
    }
}

/// What an external type says of itself, from the program of that name.
fn describe(root: &Path, name: &str) -> Result<Description, String> {
    let program = catalogue::find(root, name)?;
    let bell = Arc::new(Bell::default());
    let companion = Companion::start(&program, Arc::clone(&bell), Box::new(|_| {}));
    let companion = companion.map_err(|e| {
        format!("resource type `ext:{name}` cannot be used here: {}: {e}", program.display())
    })?;
    described(&companion.session, name, &Cancel::new(bell))
}
