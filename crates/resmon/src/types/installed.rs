//! What a resource needs on a node: programs, folders, users. Looked at before it is committed.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::program::Manner;
use crate::resource_type::Apart;

/// What is missing of what all programs of a resource have in common.
pub(super) fn manner(manner: &Manner, apart: &Apart) -> Vec<String> {
    let mut missing = Vec::new();
    if let Err(why) = manner.user() {
        missing.push(format!("`user`: {why}"));
    }
    let cwd = Path::new(&manner.cwd);
    match fs::metadata(cwd) {
        _ if apart.holds(cwd) => {}
        Ok(found) if found.is_dir() => {}
        Ok(_) => missing.push(format!("`cwd`: {} is no folder", manner.cwd)),
        Err(why) => missing.push(format!("`cwd`: {}", absent("folder", cwd, &why))),
    }
    missing
}

/// What is wrong with the program of a command; `property` names it.
pub(super) fn command(
    property: &str,
    argv: &[String],
    manner: &Manner,
    apart: &Apart,
) -> Option<String> {
    let name = argv.first()?;
    let cwd = Path::new(&manner.cwd);
    if !name.contains('/') {
        return searched(property, name, manner, apart);
    }
    program(property, &cwd.join(name), apart)
}

/// What is wrong with a program; `property` names it.
pub(crate) fn program(property: &str, path: &Path, apart: &Apart) -> Option<String> {
    if apart.holds(path) {
        return None;
    }
    let why = match fs::metadata(path) {
        Ok(found) if !found.is_file() => format!("{} is no program", path.display()),
        Ok(found) if found.permissions().mode() & 0o111 == 0 => {
            format!("{} may not be executed", path.display())
        }
        Ok(_) => return None,
        Err(why) => absent("program", path, &why),
    };
    Some(format!("`{property}`: {why}"))
}

/// A name without a slash is looked for as the guard does when it clones.
fn searched(property: &str, name: &str, manner: &Manner, apart: &Apart) -> Option<String> {
    let folders: Vec<PathBuf> = manner.search().map(PathBuf::from).collect();
    let is_there = |folder: &PathBuf| {
        apart.holds(folder) || program(property, &folder.join(name), apart).is_none()
    };
    if folders.iter().any(is_there) {
        return None;
    }
    let folders: Vec<String> = folders.iter().map(|f| f.display().to_string()).collect();
    Some(format!("`{property}`: there is no program `{name}` in {}", folders.join(":")))
}

fn absent(what: &str, path: &Path, why: &std::io::Error) -> String {
    match why.kind() {
        ErrorKind::NotFound => format!("there is no {what} {}", path.display()),
        _ => format!("{} cannot be looked at: {why}", path.display()),
    }
}
