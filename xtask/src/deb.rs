//! `cargo xtask deb`: the Debian package, made by `dpkg-deb` from the words of cargo-deb.
//!
//! What goes where is the table `[package.metadata.deb]` of the product's manifest, so that
//! cargo-deb makes the same package where somebody has it; here no tool is built that a Debian
//! has already ([decision 0025](../../docs/decisions/0025-package-by-dpkg-deb.md)). First the
//! product is built as it is shipped, then the manual and what completes the commands are written
//! by programs of its own. The version is the product's, with the revision of the package.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::Failure;
use crate::bench::{PRODUCT, PROFILE};
use crate::metadata::{Metadata, Package, cargo};

/// What a source of the table begins with that is built.
const BUILT: &str = "target/";
/// Folder below cargo's, where what only the package has is written.
const WRITTEN: &str = "package";
/// The program that writes the manual, an example of the product.
const MANUAL: &str = "manual";
/// Shells, with what the file of each is called.
const SHELLS: &[&str] = &["bash", "zsh", "fish"];

/// What is typed after `deb`.
#[derive(Debug, PartialEq, Eq)]
struct Wish {
    /// The program to pack instead of one that is built now.
    program: Option<PathBuf>,
    revision: u32,
    /// Where the package is put.
    out: Option<PathBuf>,
}

/// Makes the package and prints where it is.
pub(crate) fn run(metadata: &Metadata, arguments: &[String]) -> Result<(), Failure> {
    let wish = parse(arguments)?;
    let product = metadata.member(PRODUCT).ok_or_else(|| failed("no package to pack")(PRODUCT))?;
    let table =
        Table::read(&product.deb).map_err(failed("cannot read `[package.metadata.deb]`"))?;
    let program = match wish.program {
        Some(program) => program,
        None => build(metadata)?,
    };
    write_extras(metadata, &program)?;
    let version = format!("{}-{}", product.version, wish.revision);
    let name = format!("{}_{version}_{}", table.name, architecture()?);
    let out = wish.out.unwrap_or_else(|| metadata.target.join("debian"));
    let stage = Stage { root: out.join(&name), metadata, product, program };
    stage.fill(&table).map_err(failed("cannot lay the package out"))?;
    stage.control(&table, &version).map_err(failed("cannot describe the package"))?;
    let file = out.join(format!("{name}.deb"));
    let mut pack = Command::new("dpkg-deb");
    pack.args(["--root-owner-group", "-Zgzip", "--build"]).arg(&stage.root).arg(&file);
    bounded(&mut pack).map_err(failed("cannot pack"))?;
    fs::remove_dir_all(&stage.root).map_err(failed("cannot tidy up"))?;
    println!("{}", file.display());
    Ok(())
}

fn parse(arguments: &[String]) -> Result<Wish, Failure> {
    let mut wish = Wish { program: None, revision: 1, out: None };
    for pair in arguments.chunks(2) {
        match pair {
            [flag, value] if flag == "--program" => wish.program = Some(value.into()),
            [flag, value] if flag == "--out" => wish.out = Some(value.into()),
            [flag, value] if flag == "--revision" => {
                wish.revision = value.parse().map_err(|_| usage())?;
            }
            _ => return Err(usage()),
        }
    }
    Ok(wish)
}

fn usage() -> Failure {
    Failure::Usage("usage: cargo xtask deb [--program FILE] [--revision N] [--out FOLDER]".into())
}

fn failed<E: ToString>(what: &'static str) -> impl FnOnce(E) -> Failure {
    move |why| Failure::Failed(format!("{what}: {}", why.to_string()))
}

/// The product as it is shipped.
fn build(metadata: &Metadata) -> Result<PathBuf, Failure> {
    let mut build = Command::new(cargo());
    build.args(["build", "--profile", PROFILE, "--locked", "-p", PRODUCT]);
    bounded(build.current_dir(&metadata.root)).map_err(failed("cannot build the product"))?;
    Ok(metadata.target.join(PROFILE).join("stead"))
}

/// The manual, and what completes the commands in a shell.
fn write_extras(metadata: &Metadata, program: &Path) -> Result<(), Failure> {
    let folder = metadata.target.join(WRITTEN);
    let (man, completions) = (folder.join("man"), folder.join("completions"));
    for folder in [&man, &completions] {
        // Pages of commands that are no more must not stay.
        fs::remove_dir_all(folder).or_else(missing_is_fine).map_err(failed("cannot tidy up"))?;
        fs::create_dir_all(folder).map_err(failed("cannot make a folder"))?;
    }
    // Built with the whole workspace it is the one that the tests have built.
    let mut build = Command::new(cargo());
    build.args(["build", "--quiet", "--locked", "--workspace", "--example", MANUAL]);
    bounded(build.current_dir(&metadata.root)).map_err(failed("cannot build the manual's"))?;
    let mut manual = Command::new(metadata.target.join("debug/examples").join(MANUAL));
    bounded(manual.arg(&man)).map_err(failed("cannot write the manual"))?;
    for shell in SHELLS {
        let script = Command::new(program).args(["completions", shell]).output();
        let script = script.map_err(failed("cannot run the product"))?;
        if !script.status.success() {
            return Err(failed("the product does not complete")(shell));
        }
        fs::write(completions.join(format!("stead.{shell}")), script.stdout)
            .map_err(failed("cannot write completions"))?;
    }
    Ok(())
}

fn missing_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// As dpkg calls this machine.
fn architecture() -> Result<String, Failure> {
    let told = Command::new("dpkg").arg("--print-architecture").output();
    let told = told.map_err(failed("cannot run `dpkg`"))?;
    Ok(String::from_utf8_lossy(&told.stdout).trim().to_owned())
}

fn bounded(command: &mut Command) -> io::Result<()> {
    let status = command.stdout(Stdio::null()).status()?;
    if status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{} failed: {status}", command.get_program().display())))
}

/// `[package.metadata.deb]`, as far as this program knows it; anything else in it is refused, for
/// it would be in the package of cargo-deb only.
#[derive(Debug, PartialEq, Eq)]
struct Table {
    name: String,
    maintainer: String,
    section: String,
    priority: String,
    depends: String,
    about: String,
    scripts: String,
    assets: Vec<Asset>,
}

/// A file, where it is put and its mode.
#[derive(Debug, PartialEq, Eq)]
struct Asset {
    source: String,
    place: String,
    mode: u32,
}

impl Table {
    fn read(table: &Value) -> Result<Self, String> {
        let table = table.as_object().ok_or("it is not there")?;
        let known = [
            "name",
            "maintainer",
            "section",
            "priority",
            "depends",
            "extended-description",
            "maintainer-scripts",
            "assets",
        ];
        if let Some(other) = table.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(format!("`{other}` is not known here"));
        }
        let text = |key: &str| {
            let text = table.get(key).and_then(Value::as_str);
            text.map(str::to_owned).ok_or_else(|| format!("`{key}` is no text"))
        };
        let assets = table.get("assets").and_then(Value::as_array).ok_or("no `assets`")?;
        Ok(Self {
            name: text("name")?,
            maintainer: text("maintainer")?,
            section: text("section")?,
            priority: text("priority")?,
            depends: text("depends")?,
            about: text("extended-description")?,
            scripts: text("maintainer-scripts")?,
            assets: assets.iter().map(Asset::read).collect::<Result<_, _>>()?,
        })
    }
}

impl Asset {
    fn read(row: &Value) -> Result<Self, String> {
        let part = |n: usize| row.get(n).and_then(Value::as_str).map(str::to_owned);
        let asset = || {
            let mode = u32::from_str_radix(&part(2)?, 8).ok()?;
            Some(Self { source: part(0)?, place: part(1)?, mode })
        };
        asset().ok_or_else(|| format!("`{row}` is no source, place and mode"))
    }
}

/// The package before it is packed.
struct Stage<'a> {
    root: PathBuf,
    metadata: &'a Metadata,
    product: &'a Package,
    program: PathBuf,
}

impl Stage<'_> {
    fn fill(&self, table: &Table) -> io::Result<()> {
        fs::remove_dir_all(&self.root).or_else(missing_is_fine)?;
        for asset in &table.assets {
            for source in self.sources(&asset.source)? {
                let place = self.root.join(&asset.place);
                let name = source.file_name().unwrap_or_default();
                let place = if asset.place.ends_with('/') { place.join(name) } else { place };
                put(&source, &place, asset.mode)?;
                if source == self.program {
                    bounded(Command::new("strip").arg("--strip-debug").arg(&place))?;
                }
                if asset.place.contains("/man/") {
                    let place = place.to_string_lossy().into_owned();
                    bounded(Command::new("gzip").args(["-9n", &place]))?;
                }
            }
        }
        Ok(())
    }

    /// The files that a source of the table means.
    fn sources(&self, source: &str) -> io::Result<Vec<PathBuf>> {
        if source == "target/release/stead" {
            return Ok(vec![self.program.clone()]);
        }
        let path = match source.strip_prefix(BUILT) {
            Some(built) => self.metadata.target.join(built),
            None => self.product.manifest.with_file_name(source),
        };
        let Some(folder) = path.parent().filter(|_| source.ends_with("/*")) else {
            return Ok(vec![path]);
        };
        let entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
        let mut files: Vec<_> = entries.iter().map(fs::DirEntry::path).collect();
        files.sort();
        Ok(files)
    }

    fn control(&self, table: &Table, version: &str) -> io::Result<()> {
        let folder = self.root.join("DEBIAN");
        fs::create_dir_all(&folder)?;
        let scripts = self.product.manifest.with_file_name(&table.scripts);
        for name in ["postinst", "prerm", "postrm"] {
            put(&scripts.join(name), &folder.join(name), 0o755)?;
        }
        let kib = size(&self.root)?.div_ceil(1024);
        let architecture = architecture().map_err(|why| io::Error::other(why.to_string()))?;
        let text = control(table, &self.product.description, (version, &architecture, kib));
        fs::write(folder.join("control"), text)
    }
}

/// The text of `DEBIAN/control`; `kib` is what it takes on a disk.
fn control(
    table: &Table,
    description: &str,
    (version, architecture, kib): (&str, &str, u64),
) -> String {
    let Table { name, maintainer, section, priority, depends, about, .. } = table;
    let mut text = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: {architecture}\n\
         Maintainer: {maintainer}\nInstalled-Size: {kib}\nDepends: {depends}\n\
         Section: {section}\nPriority: {priority}\nDescription: {description}\n"
    );
    for line in about.lines() {
        // Writing into a text does not fail.
        let _ = writeln!(text, " {}", if line.is_empty() { "." } else { line });
    }
    text
}

fn put(source: &Path, place: &Path, mode: u32) -> io::Result<()> {
    let with_name = |error| io::Error::other(format!("`{}`: {error}", source.display()));
    fs::create_dir_all(place.parent().unwrap_or(place))?;
    fs::copy(source, place).map_err(with_name)?;
    fs::set_permissions(place, fs::Permissions::from_mode(mode))
}

fn size(folder: &Path) -> io::Result<u64> {
    fs::read_dir(folder)?.try_fold(0, |sum, entry| {
        let entry = entry?;
        let meta = entry.metadata()?;
        Ok(sum + if meta.is_dir() { size(&entry.path())? } else { meta.len() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_product_is_read_and_every_file_of_the_tree_is_there() {
        let metadata = Metadata::load().unwrap();
        let product = metadata.member(PRODUCT).unwrap();
        let table = Table::read(&product.deb).unwrap();
        assert!(table.assets.iter().any(|a| a.place == "lib/systemd/system/"), "{table:?}");
        let of_tree = |source: &str| product.manifest.with_file_name(source);
        for asset in table.assets.iter().filter(|a| !a.source.starts_with(BUILT)) {
            assert!(of_tree(&asset.source).is_file(), "{asset:?}");
        }
        for script in ["postinst", "prerm", "postrm"] {
            let path = of_tree(&table.scripts).join(script);
            let checked = Command::new("sh").arg("-n").arg(&path).status().unwrap();
            assert!(checked.success(), "{}", path.display());
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let mut deb = Metadata::load().unwrap().member(PRODUCT).unwrap().deb.clone();
        deb["changelog"] = "x".into();
        assert!(Table::read(&deb).unwrap_err().contains("`changelog`"));
        let odd: Value = serde_json::from_str(r#"["a", "b/", "rw"]"#).unwrap();
        assert!(Asset::read(&odd).is_err());
        assert!(parse(&["--out".to_owned()]).is_err());
        assert_eq!(parse(&["--revision".to_owned(), "2".to_owned()]).unwrap().revision, 2);
    }

    #[test]
    fn the_description_of_a_package_is_what_dpkg_reads() {
        let table = Table::read(&Metadata::load().unwrap().member(PRODUCT).unwrap().deb);
        let table = table.unwrap();
        let text = control(&table, "short", ("1.0-2", "amd64", 7));
        assert!(text.starts_with("Package: stead\nVersion: 1.0-2\nArchitecture: amd64\n"));
        let long = text.split_once("Description: short\n").unwrap().1;
        assert!(!long.is_empty() && long.lines().all(|line| line.starts_with(' ')), "{text}");
    }
}
