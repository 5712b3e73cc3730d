//! Links between our own pages lead somewhere.

use super::Finding;
use super::source::Source;

/// Every relative link of a Markdown file whose target is not in the tree.
pub(crate) fn check(sources: &[Source]) -> Vec<Finding> {
    let pages = sources.iter().filter(|source| source.path.ends_with(".md"));
    pages.flat_map(|page| dead_links(page, sources)).collect()
}

fn dead_links(page: &Source, sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(page.text.lines()) {
        let targets =
            line.match_indices("](").filter_map(|(at, _)| line[at + 2..].split(')').next());
        for target in targets.filter(|target| !target.contains("://") && !target.starts_with('#')) {
            let file = target.split('#').next().unwrap_or(target);
            if !is_there(&resolve(&page.path, file), sources) {
                let place = format!("{}:{number}", page.path);
                findings.push(Finding::at(place, format!("link to `{target}`, which is not here")));
            }
        }
    }
    findings
}

/// A link relative to its page, as a path relative to the root.
fn resolve(page: &str, target: &str) -> String {
    let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// A file of the tree, or a folder that holds one. Files without an ending are text, too.
fn is_there(path: &str, sources: &[Source]) -> bool {
    let below = format!("{path}/");
    sources.iter().any(|source| source.path == path || source.path.starts_with(&below))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_page(text: &str) -> Vec<Finding> {
        let here = ["docs/internals/lease.md", "docs/decisions/0001.md", "README.md"];
        let page = [Source::new("docs/internals/page.md", text)];
        let rest = here.map(|path| Source::new(path, ""));
        check(&page.into_iter().chain(rest).collect::<Vec<_>>())
    }

    #[test]
    fn links_to_files_folders_and_places_outside_are_fine() {
        let text =
            "[a](lease.md#r6) [b](../decisions/) [c](../../README.md) [d](https://x.y) [e](#r6)";
        assert_eq!(check_page(text), []);
    }

    #[test]
    fn a_dead_link_is_found_at_its_line() {
        let found = check_page("one\n[a](lost.md)\n");
        let text = "link to `lost.md`, which is not here";
        assert_eq!(found, [Finding::at("docs/internals/page.md:2", text)]);
    }
}
