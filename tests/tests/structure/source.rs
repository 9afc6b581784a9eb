//! The sources of a crate as tokens, without what only its tests see.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::token::{self, Token};

/// One file.
pub(crate) struct Source {
    /// From the root, with `/`.
    pub(crate) path: String,
    pub(crate) tokens: Vec<Token>,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let (tokens, _) = token::without_tests(&token::tokens(text));
        Self { path: path.to_owned(), tokens }
    }

    /// `path:line` of the token there.
    pub(crate) fn place(&self, at: usize) -> String {
        format!("{}:{}", self.path, self.tokens[at].line)
    }
}

/// Reads every Rust file below the folder, except modules that are declared for tests.
pub(crate) fn read(root: &Path, folder: &str) -> Vec<Source> {
    let mut files = Vec::new();
    walk(&root.join(folder), &mut files);
    files.sort();
    let texts: Vec<(PathBuf, String)> = files
        .into_iter()
        .map(|file| {
            let text = fs::read_to_string(&file).expect("a source file that is text");
            (file, text)
        })
        .collect();
    let tests: BTreeSet<PathBuf> =
        texts.iter().flat_map(|(file, text)| test_modules(file, text)).collect();
    texts
        .iter()
        .filter(|(file, _)| !file.ancestors().any(|part| tests.contains(&part.with_extension(""))))
        .map(|(file, text)| {
            let path = file.strip_prefix(root).expect("a file below the root");
            Source::new(&path.to_string_lossy().replace('\\', "/"), text)
        })
        .collect()
}

/// Every Rust file below the folder.
pub(crate) fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The modules of this file that only tests see, as paths without an ending.
fn test_modules(file: &Path, text: &str) -> Vec<PathBuf> {
    let (_, names) = token::without_tests(&token::tokens(text));
    let is_root = file
        .file_name()
        .is_some_and(|name| ["lib.rs", "main.rs", "mod.rs"].iter().any(|root| name == *root));
    let folder = if is_root { file.with_file_name("") } else { file.with_extension("") };
    names.iter().map(|name| folder.join(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_module_is_beside_the_root_or_below_the_file() {
        let text = "#[cfg(test)]\nmod kit;\n";
        assert_eq!(test_modules(Path::new("src/lib.rs"), text), [Path::new("src/kit")]);
        assert_eq!(test_modules(Path::new("src/a.rs"), text), [Path::new("src/a/kit")]);
        assert!(test_modules(Path::new("src/a.rs"), "mod kit;").is_empty());
    }
}
