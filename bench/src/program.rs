//! The program that is measured: `stead`, built beside this one.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// There is nothing to measure.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    /// The running program has no place.
    #[error("cannot find the running program")]
    Here(#[source] io::Error),
    /// It was not built.
    #[error("there is no program `{}`; build it: {BUILD}", .0.display())]
    Missing(PathBuf),
    /// It does not run.
    #[error("cannot run `{} --version`; build it again: {BUILD}", .program.display())]
    Broken {
        /// Which.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Finds `stead` in the directory of the running program: the same build.
pub(crate) fn find() -> Result<PathBuf, ProgramError> {
    let here = std::env::current_exe().map_err(ProgramError::Here)?;
    let program = here.with_file_name("stead");
    if program.is_file() { Ok(program) } else { Err(ProgramError::Missing(program)) }
}

/// What it says it is.
pub(crate) fn version(program: &Path) -> Result<String, ProgramError> {
    let broken = |source| ProgramError::Broken { program: program.to_owned(), source };
    let mut command = Command::new(program);
    let said = command.arg("--version").stdin(Stdio::null()).output().map_err(broken)?;
    Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
}

/// Why the figures could be those of another program than meant.
pub(crate) fn doubts(program: &Path) -> Vec<String> {
    let mut doubts = Vec::new();
    if cfg!(debug_assertions) {
        doubts.push("this is a debug build: its figures mean little".to_owned());
    } else if !program.parent().is_some_and(|folder| folder.ends_with("dist")) {
        doubts.push(format!("this is not the build that is shipped; {BUILD}"));
    }
    if newer_source(program).is_some() {
        doubts.push(format!("its sources were changed after `stead` was built; {BUILD}"));
    }
    doubts
}

/// A source that was changed after the program was built; cargo lists them all beside it.
fn newer_source(program: &Path) -> Option<PathBuf> {
    let changed = |path: &Path| path.metadata().and_then(|found| found.modified()).ok();
    let built = changed(program)?;
    let listed = std::fs::read_to_string(program.with_extension("d")).ok()?;
    sources(&listed).into_iter().find(|source| changed(source).is_some_and(|at| at > built))
}

/// The prerequisites in a rule of make: `program: source source`, blanks in names as `\ `.
fn sources(rule: &str) -> Vec<PathBuf> {
    let list = rule.split_once(": ").map_or("", |(_, list)| list);
    let one_line = list.lines().next().unwrap_or_default().replace("\\ ", "\0");
    let names = one_line.split(' ').filter(|name| !name.is_empty());
    names.map(|name| PathBuf::from(name.replace('\0', " "))).collect()
}

const BUILD: &str = "cargo build --profile dist -p stead-cli";

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn blanks_in_names_of_sources_are_escaped() {
        let rule = "/t/release/stead: /a/main.rs /a\\ b/lib.rs\n";
        assert_eq!(sources(rule), [Path::new("/a/main.rs"), Path::new("/a b/lib.rs")]);
        assert_eq!(sources(""), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_source_that_was_changed_after_the_build_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let (program, source) = (dir.path().join("stead"), dir.path().join("main.rs"));
        let now = SystemTime::now();
        File::create(&program).unwrap().set_modified(now).unwrap();
        let source_file = File::create(&source).unwrap();
        assert_eq!(newer_source(&program), None);
        let rule = format!("{}: {}\n", program.display(), source.display());
        fs::write(program.with_extension("d"), rule).unwrap();
        source_file.set_modified(now - Duration::from_secs(1)).unwrap();
        assert_eq!(newer_source(&program), None);
        source_file.set_modified(now + Duration::from_secs(1)).unwrap();
        assert_eq!(newer_source(&program), Some(source));
    }
}
