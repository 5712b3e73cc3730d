//! What cargo knows of the workspace: members, what they declare, and what was resolved.
//!
//! One reading of `cargo metadata`, parsed into the few facts that the checks and the list of
//! test steps need. Parsed, not validated: a field that cargo always writes and that is missing
//! here is an error with its name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::Failure;

/// The workspace as cargo sees it.
#[derive(Debug)]
pub(crate) struct Metadata {
    pub(crate) root: PathBuf,
    /// Where cargo builds.
    pub(crate) target: PathBuf,
    packages: Vec<Package>,
    /// Package id → what it is built from, dev-dependencies left out.
    resolved: BTreeMap<String, Vec<String>>,
}

/// One package, of the workspace or from outside.
#[derive(Debug)]
pub(crate) struct Package {
    id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    /// Where it was fetched from; `None` is a path on this disk.
    pub(crate) source: Option<String>,
    pub(crate) license: Option<String>,
    pub(crate) description: String,
    /// Its table `[package.metadata.deb]`; null where it has none.
    pub(crate) deb: Value,
    pub(crate) manifest: PathBuf,
    pub(crate) declared: Vec<Declared>,
    pub(crate) is_member: bool,
}

/// A package that another one is built from.
#[derive(Debug)]
pub(crate) struct Built<'a> {
    pub(crate) package: &'a Package,
    /// The names on one way there, both ends included.
    pub(crate) path: Vec<&'a str>,
}

/// A dependency as written in a manifest.
#[derive(Debug)]
pub(crate) struct Declared {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// In which table of the manifest a dependency stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `[dependencies]` or `[build-dependencies]`: part of what is built.
    Built,
    /// `[dev-dependencies]`: tests only.
    Test,
}

impl Metadata {
    /// Asks cargo, in the workspace that this program was built from.
    pub(crate) fn load() -> Result<Self, Failure> {
        let output = Command::new(cargo())
            .args(["metadata", "--format-version", "1", "--locked"])
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| Failure::Failed(format!("cannot run `cargo metadata`: {error}")))?;
        if !output.status.success() {
            let hint = "if Cargo.lock is out of date, `cargo build` brings it up to date";
            return Err(Failure::Failed(format!("`cargo metadata --locked` failed\nhint: {hint}")));
        }
        Self::parse(&output.stdout)
            .map_err(|what| Failure::Failed(format!("cannot read `cargo metadata`: {what}")))
    }

    /// Reads the JSON of format version 1.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        let members = list(&value, "workspace_members")?
            .iter()
            .map(|id| {
                id.as_str().map(str::to_owned).ok_or_else(|| "a member's id is no text".to_owned())
            })
            .collect::<Result<BTreeSet<String>, String>>()?;
        let packages = list(&value, "packages")?
            .iter()
            .map(|package| Package::parse(package, &members))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            root: PathBuf::from(text(&value, "workspace_root")?),
            target: PathBuf::from(text(&value, "target_directory")?),
            packages,
            resolved: resolved(&value)?,
        })
    }

    /// Every package: the workspace's own and all that were resolved.
    pub(crate) fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// The packages of this workspace, in cargo's order.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| package.is_member)
    }

    /// The member of this name, where the workspace has it.
    pub(crate) fn member(&self, name: &str) -> Option<&Package> {
        self.members().find(|package| package.name == name)
    }

    /// All that `package` is built from, directly or not, with one path that leads there.
    pub(crate) fn built_from<'a>(&'a self, package: &'a Package) -> Vec<Built<'a>> {
        let mut seen = BTreeSet::from([package.id.as_str()]);
        let mut waiting = vec![(package.id.as_str(), vec![package.name.as_str()])];
        let mut found = Vec::new();
        while let Some((id, path)) = waiting.pop() {
            for next in self.resolved.get(id).into_iter().flatten() {
                let Some(package) = self.packages.iter().find(|package| package.id == *next) else {
                    continue;
                };
                if seen.insert(&package.id) {
                    let mut path = path.clone();
                    path.push(&package.name);
                    found.push(Built { package, path: path.clone() });
                    waiting.push((&package.id, path));
                }
            }
        }
        found
    }
}

impl Package {
    fn parse(value: &Value, members: &BTreeSet<String>) -> Result<Self, String> {
        let id = text(value, "id")?;
        Ok(Self {
            name: text(value, "name")?,
            version: text(value, "version")?,
            source: value["source"].as_str().map(str::to_owned),
            license: value["license"].as_str().map(str::to_owned),
            description: value["description"].as_str().unwrap_or_default().to_owned(),
            deb: value["metadata"]["deb"].clone(),
            manifest: PathBuf::from(text(value, "manifest_path")?),
            declared: list(value, "dependencies")?
                .iter()
                .map(Declared::parse)
                .collect::<Result<_, _>>()?,
            is_member: members.contains(&id),
            id,
        })
    }
}

impl Declared {
    fn parse(value: &Value) -> Result<Self, String> {
        let kind = if value["kind"] == "dev" { Kind::Test } else { Kind::Built };
        Ok(Self { name: text(value, "name")?, kind })
    }
}

/// A cargo command of these words, ready for a part.
pub(crate) fn cargo_words(words: &[&str]) -> Vec<String> {
    let words = words.iter().copied().map(str::to_owned);
    std::iter::once(cargo()).chain(words).collect()
}

/// The cargo that started us, else the one on the path.
pub(crate) fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

fn resolved(value: &Value) -> Result<BTreeMap<String, Vec<String>>, String> {
    let nodes = list(&value["resolve"], "nodes")?;
    nodes
        .iter()
        .map(|node| {
            let links = list(node, "deps")?.iter().filter(|link| is_built(link));
            let ids = links.map(|link| text(link, "pkg")).collect::<Result<_, _>>()?;
            Ok((text(node, "id")?, ids))
        })
        .collect()
}

/// Whether a resolved link is more than a dev-dependency (cargo writes `null` for a normal one).
fn is_built(link: &Value) -> bool {
    let kinds = link["dep_kinds"].as_array();
    kinds.is_none_or(|kinds| kinds.iter().any(|kind| kind["kind"] != "dev"))
}

fn text(value: &Value, field: &str) -> Result<String, String> {
    value[field].as_str().map(str::to_owned).ok_or_else(|| format!("no text in field `{field}`"))
}

fn list<'a>(value: &'a Value, field: &str) -> Result<&'a Vec<Value>, String> {
    value[field].as_array().ok_or_else(|| format!("no list in field `{field}`"))
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// A package as cargo prints it; `dependencies` are `(name, kind)`.
    pub(crate) fn package(
        name: &str,
        source: Option<&str>,
        dependencies: &[(&str, &str)],
    ) -> Value {
        let declared = dependencies.iter().map(|(name, kind)| {
            let kind = if *kind == "dev" { json!("dev") } else { Value::Null };
            json!({ "name": name, "kind": kind })
        });
        json!({
            "id": name, "name": name, "version": "1.0.0", "source": source,
            "license": "MIT OR Apache-2.0", "manifest_path": format!("/tree/{name}/Cargo.toml"),
            "dependencies": declared.collect::<Vec<_>>(),
        })
    }

    /// A workspace of these packages; those without a source are its members, and everything
    /// declared resolves to the package of that name.
    pub(crate) fn workspace(packages: Vec<Value>) -> Metadata {
        let members: Vec<&Value> =
            packages.iter().filter(|p| p["source"].is_null()).map(|p| &p["id"]).collect();
        let nodes: Vec<Value> = packages
            .iter()
            .map(|p| {
                let deps = p["dependencies"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|d| json!({ "pkg": d["name"], "dep_kinds": [{ "kind": d["kind"] }] }));
                json!({ "id": p["id"], "deps": deps.collect::<Vec<_>>() })
            })
            .collect();
        let value = json!({
            "workspace_root": "/tree", "target_directory": "/tree/target",
            "workspace_members": members,
            "packages": packages, "resolve": { "nodes": nodes },
        });
        Metadata::parse(value.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn members_are_told_from_the_rest() {
        let metadata = workspace(vec![
            package("stead-core", None, &[("raft", "normal")]),
            package("raft", Some("registry"), &[]),
        ]);
        assert!(metadata.member("stead-core").is_some());
        assert!(metadata.member("raft").is_none());
        assert_eq!(metadata.packages().len(), 2);
    }

    #[test]
    fn what_a_package_is_built_from_leaves_tests_out_and_names_the_path() {
        let metadata = workspace(vec![
            package("stead-core", None, &[("raft", "normal"), ("proptest", "dev")]),
            package("raft", Some("registry"), &[("slog", "normal")]),
            package("slog", Some("registry"), &[]),
            package("proptest", Some("registry"), &[]),
        ]);
        let built = metadata.built_from(metadata.member("stead-core").unwrap());
        let paths: Vec<String> = built.iter().map(|built| built.path.join(" -> ")).collect();
        assert_eq!(paths, ["stead-core -> raft", "stead-core -> raft -> slog"]);
    }

    #[test]
    fn a_missing_field_is_named() {
        let error = Metadata::parse(br#"{"workspace_members":[],"packages":[]}"#).unwrap_err();
        assert!(error.contains("workspace_root"), "{error}");
    }
}
