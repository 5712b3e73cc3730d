//! Writes the pages of the manual, one for each command: `manual FOLDER`.
//!
//! They come from the table that parses what is typed, so that both always say the same. A
//! program of its own, because only a package needs them: the program that runs knows nothing of
//! pages. The package is made by `cargo xtask deb`.

use std::fs;
use std::io;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

#[path = "../src/arguments/mod.rs"]
#[expect(dead_code, unused_imports, reason = "only how it is typed matters here")]
mod arguments;

fn main() -> io::Result<()> {
    let folder = std::env::args_os().nth(1);
    let folder = folder.ok_or_else(|| io::Error::other("usage: manual FOLDER"))?;
    write(Path::new(&folder))
}

/// Writes all pages into a folder that is there.
fn write(folder: &Path) -> io::Result<()> {
    let mut root = arguments::Arguments::command();
    root.build();
    page(&root, "stead".into(), folder)
}

/// Writes the page of a command and those of all commands below it.
fn page(command: &Command, name: String, folder: &Path) -> io::Result<()> {
    for below in command.get_subcommands() {
        page(below, format!("{name}-{}", below.get_name()), folder)?;
    }
    let source = format!("stead {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).title(&name).source(source).manual("stead");
    man.render(&mut fs::File::create(folder.join(format!("{name}.1")))?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Every command from one on, with the name of its page.
    fn all<'a>(command: &'a Command, name: String, into: &mut BTreeMap<String, &'a Command>) {
        for below in command.get_subcommands() {
            all(below, format!("{name}-{}", below.get_name()), into);
        }
        into.insert(name, command);
    }

    #[test]
    fn every_command_has_a_page_that_says_what_it_does_and_no_other_page_is_there() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path()).unwrap();
        let mut root = arguments::Arguments::command();
        root.build();
        let mut commands = BTreeMap::new();
        all(&root, "stead".into(), &mut commands);
        for (name, command) in &commands {
            let page = fs::read_to_string(folder.path().join(format!("{name}.1")));
            let page = page.unwrap_or_else(|error| panic!("page of `{name}`: {error}"));
            let plain = |text: &str| text.replace("\\*(Aq", "'").replace(['\\', '\n'], "");
            let about = command.get_about().unwrap().to_string();
            assert!(plain(&page).contains(&plain(&about)), "{name}: {about}\n{page}");
            assert!(page.contains(concat!("stead ", env!("CARGO_PKG_VERSION"))), "{page}");
        }
        let pages = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(pages, commands.len(), "{:?}", commands.keys());
    }
}
