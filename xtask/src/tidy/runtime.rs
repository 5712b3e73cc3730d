//! The pure crates stay pure: nothing below them waits, schedules or owns a thread pool.

use super::Finding;
use crate::metadata::{Metadata, Package};

/// Crates whose code also runs in the simulator or in the guard's single thread.
const PURE: &[&str] =
    &["stead-model", "stead-journal", "stead-core", "stead-advise", "stead-guard", "stead-sim"];

const RUNTIMES: &[&str] =
    &["tokio", "async-std", "smol", "async-executor", "futures-executor", "mio", "monoio"];

/// Every async runtime that a pure crate is built from, with the path that leads there.
pub(crate) fn check(metadata: &Metadata) -> Vec<Finding> {
    let pure = metadata.members().filter(|member| PURE.contains(&member.name.as_str()));
    pure.flat_map(|member| runtimes_below(metadata, member)).collect()
}

fn runtimes_below(metadata: &Metadata, member: &Package) -> Vec<Finding> {
    let built = metadata.built_from(member);
    built
        .iter()
        .filter(|built| RUNTIMES.contains(&built.package.name.as_str()))
        .map(|built| {
            let text = format!("an async runtime below a pure crate: {}", built.path.join(" -> "));
            Finding::at(member.name.clone(), text)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::tests::{package, workspace};

    #[test]
    fn a_runtime_below_the_core_is_found_with_its_path() {
        let metadata = workspace(vec![
            package("stead-core", None, &[("clever", "normal")]),
            package("clever", Some("registry"), &[("tokio", "normal")]),
            package("tokio", Some("registry"), &[]),
        ]);
        let text = "an async runtime below a pure crate: stead-core -> clever -> tokio";
        assert_eq!(check(&metadata), [Finding::at("stead-core", text)]);
    }

    #[test]
    fn the_node_service_may_have_one() {
        let metadata = workspace(vec![
            package("stead-node", None, &[("tokio", "normal")]),
            package("tokio", Some("registry"), &[]),
        ]);
        assert_eq!(check(&metadata), []);
    }
}
