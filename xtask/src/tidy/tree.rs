//! The repository's files, loaded once for all rules.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::source::Source;

/// Folders that hold nothing of ours.
const SKIPPED: &[&str] = &[".git", "target", "data", "node_modules"];

/// One text file.
pub(super) struct File {
    /// From the repository's top, with `/` on every system.
    pub(super) path: String,
    pub(super) text: String,
    /// The parsed form of a Rust file, empty for others.
    pub(super) source: Source,
}

impl File {
    fn new(path: &str, text: &str) -> Self {
        let source = if path.ends_with(".rs") { Source::parse(text) } else { Source::default() };
        Self { path: path.to_owned(), text: text.to_owned(), source }
    }

    /// Says whether the file lies in this folder or is the module file of the same name.
    pub(super) fn is_in(&self, module: &str) -> bool {
        self.path.strip_prefix(module).is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
    }

    /// Says whether the file is code of tests, benchmarks or examples only.
    pub(super) fn is_test(&self) -> bool {
        ["/tests/", "/benches/", "/examples/"].iter().any(|folder| self.path.contains(folder))
            || self.is_in("shared/src/testkit")
    }
}

/// All files of the repository.
pub(super) struct Tree {
    pub(super) files: Vec<File>,
}

impl Tree {
    /// Loads everything below a folder.
    pub(super) fn load(root: &Path) -> Result<Self> {
        let mut files = Vec::new();
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            let absolute = root.join(&folder);
            let entries = fs::read_dir(&absolute)
                .with_context(|| format!("{} could not be read", absolute.display()))?;
            for entry in entries {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
                if !entry.file_type()?.is_dir() {
                    // What is no text has a name that pages may mention, and nothing to look at.
                    files.push(File::new(&path, &fs::read_to_string(entry.path()).unwrap_or_default()));
                } else if !SKIPPED.contains(&name.as_str()) {
                    folders.push(path);
                }
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { files })
    }

    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        Self { files: files.iter().map(|(path, text)| File::new(path, text)).collect() }
    }

    /// Returns the file at a path.
    pub(super) fn get(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Returns the Rust files.
    pub(super) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }

    /// Returns the paths of all files and folders.
    pub(super) fn paths(&self) -> BTreeSet<&str> {
        let files = self.files.iter().map(|file| file.path.as_str());
        files.flat_map(|path| path.match_indices('/').map(|(at, _)| &path[..at]).chain([path])).collect()
    }
}
