//! What a reader of the file tree relies on: every file says in its first line what it is for,
//! is named after what is inside, and is part of the build.

use super::Finding;
use super::scanner::words;
use super::source::Source;

/// Names under which anything could be.
const VAGUE: &[&str] =
    &["utils", "util", "helpers", "helper", "common", "types", "manager", "misc"];

/// Module docs and the file's name.
pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !source.text.starts_with("//!") {
        let place = format!("{}:1", source.path);
        findings.push(Finding::at(place, "begin with `//!`: what this file is for"));
    }
    if VAGUE.contains(&source.stem()) {
        findings.push(Finding::at(source.path.clone(), "name the file after what is inside"));
    }
    findings
}

/// Files in a `src` folder that no module line mentions: they are not compiled.
pub(crate) fn check_dead_files(sources: &[Source]) -> Vec<Finding> {
    let dead = sources.iter().filter(|source| is_dead(source, sources));
    dead.map(|source| Finding::at(source.path.clone(), "no `mod` line names this file")).collect()
}

fn is_dead(source: &Source, sources: &[Source]) -> bool {
    let Some((folder, module)) = module_of(source) else { return false };
    let parents = [
        format!("{folder}/lib.rs"),
        format!("{folder}/main.rs"),
        format!("{folder}/mod.rs"),
        format!("{folder}.rs"),
    ];
    let declares = |parent: &Source| {
        words(&parent.code, "mod").iter().any(|at| {
            let name = parent.code[at + "mod".len()..].trim_start();
            name.strip_prefix(module).is_some_and(|rest| rest.trim_start().starts_with(';'))
        })
    };
    !sources.iter().any(|other| parents.contains(&other.path) && declares(other))
}

/// The folder of the parent module and this file's module name; `None` for the root of a crate
/// and for files outside `src`.
fn module_of(source: &Source) -> Option<(&str, &str)> {
    let (folder, _) = source.path.rsplit_once('/')?;
    let inside = folder.ends_with("/src") || folder.contains("/src/");
    let is_program = folder.ends_with("/src/bin") || folder.contains("/src/bin/");
    if !source.is_rust() || !inside || is_program {
        return None;
    }
    match source.stem() {
        "lib" | "main" if folder.ends_with("/src") => None,
        "mod" => folder.rsplit_once('/'),
        stem => Some((folder, stem)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_module_docs_is_found() {
        assert_eq!(check(&Source::new("a.rs", "use b;\n"))[0].place, "a.rs:1");
        assert_eq!(check(&Source::new("a.rs", "//! A.\n")), []);
    }

    #[test]
    fn a_vague_name_is_found() {
        let found = check(&Source::new("crates/core/src/utils.rs", "//! A.\n"));
        assert_eq!(found[0].text, "name the file after what is inside");
    }

    #[test]
    fn a_file_that_no_module_line_names_is_dead() {
        let lib = Source::new("crates/a/src/lib.rs", "mod used;\n// mod spare;\nmod deep;\n");
        let deep = Source::new("crates/a/src/deep/mod.rs", "mod inner;\n");
        let rest = ["used", "spare", "deep/inner", "deep/lost"]
            .map(|name| Source::new(&format!("crates/a/src/{name}.rs"), ""));
        let sources: Vec<Source> = [lib, deep].into_iter().chain(rest).collect();
        let dead: Vec<String> =
            check_dead_files(&sources).into_iter().map(|finding| finding.place).collect();
        assert_eq!(dead, ["crates/a/src/spare.rs", "crates/a/src/deep/lost.rs"]);
    }
}
