//! The text files of the tree, as the checks see them.

use std::fs;
use std::io;
use std::path::Path;

use super::scanner::code_only;

/// One file: its place, its text, and for Rust the text without comments and literals.
#[derive(Debug)]
pub(crate) struct Source {
    /// Relative to the root of the workspace, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The same lines; comments, strings and characters are blanks. Empty for other files.
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code = if path.ends_with(".rs") { code_only(text) } else { String::new() };
        Self { path: path.to_owned(), text: text.to_owned(), code }
    }

    pub(crate) fn is_rust(&self) -> bool {
        // Ends as we name them, always in lower case.
        self.path.strip_suffix(".rs").is_some()
    }

    /// The file's name without folder and ending.
    pub(crate) fn stem(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or(&self.path);
        name.strip_suffix(".rs").unwrap_or(name)
    }

    /// Whether all of the file is test code.
    pub(crate) fn is_test(&self) -> bool {
        self.stem() == "tests" || self.path.split('/').any(|part| part == "tests")
    }

    /// `path:line` of the byte at `offset`; both texts have the same lines.
    pub(crate) fn place(&self, offset: usize) -> String {
        let line = self.code.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1;
        format!("{}:{line}", self.path)
    }
}

/// Every text file below `root` that belongs to the project: no build output, nothing hidden but
/// the folders of ours.
pub(crate) fn read_tree(root: &Path) -> io::Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_symlink() || !is_ours(&name) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Some(text) = text_of(&path)? {
                let relative = path.strip_prefix(root).unwrap_or(&path).display().to_string();
                sources.push(Source::new(&relative, &text));
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

/// A folder or file name that the checks look at. The lock file is cargo's.
fn is_ours(name: &str) -> bool {
    let hidden = name.starts_with('.');
    (!hidden || matches!(name, ".ci" | ".cargo")) && !matches!(name, "target" | "Cargo.lock")
}

/// The text, or nothing for a binary file.
fn text_of(path: &Path) -> io::Result<Option<String>> {
    Ok(String::from_utf8(fs::read(path)?).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_files_are_told_from_production() {
        assert!(Source::new("crates/core/tests/rules.rs", "").is_test());
        assert!(Source::new("crates/core/src/log/tests.rs", "").is_test());
        assert!(!Source::new("crates/core/src/latest.rs", "").is_test());
    }

    #[test]
    fn the_tree_is_read_without_build_output() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let sources = read_tree(root).unwrap();
        assert!(sources.iter().any(|source| source.path == "src/tidy/source.rs"));
        assert!(is_ours(".ci") && !is_ours(".git") && !is_ours("target"));
    }
}
