//! A tool as it lies on disk: a folder with a manifest and a component, or a component alone.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use ringfence_event::{Digest, ToolName};
use ringfence_policy::{MANIFEST_FILE, Manifest};

use crate::Error;

/// A Python or JavaScript component takes 10 to 20 MiB; more than this is no tool.
const COMPONENT_BYTES_MAX: u64 = 256 << 20;

/// A manifest is written by hand.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// A tool as it lies on disk. Nothing of it is believed yet.
#[derive(Clone, Debug)]
pub struct ToolFolder {
    /// The manifest; a bare one where there is none.
    pub manifest: Manifest,
    /// The manifest's text; empty where there is none.
    pub manifest_text: String,
    /// The component.
    pub component: Vec<u8>,
    /// The component's digest.
    pub digest: Digest,
    /// Where it was loaded from: the folder, or the component alone.
    pub path: PathBuf,
}

impl ToolFolder {
    /// Loads a folder that has a `tool.toml`, or a single `.wasm` file.
    ///
    /// # Errors
    /// A file that is missing, too large, or wrong.
    pub fn load(path: &Path) -> Result<Self, Error> {
        if path.is_dir() {
            let file = path.join(MANIFEST_FILE);
            if !file.exists() {
                return Err(Error::NotATool { path: path.to_owned() });
            }
            let bytes = read(&file, MANIFEST_BYTES_MAX)?;
            let text =
                String::from_utf8(bytes).map_err(|_| Error::NotText { path: file.clone() })?;
            let manifest = Manifest::parse(&file.display().to_string(), &text)?;
            let component = path.join(&manifest.component);
            return Self::with(path, manifest, text, &component);
        }
        if path.extension().is_none_or(|extension| extension != "wasm") {
            return Err(Error::NotATool { path: path.to_owned() });
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        Self::with(path, Manifest::bare(tool_name(&stem)), String::new(), path)
    }

    fn with(
        path: &Path,
        manifest: Manifest,
        text: String,
        component: &Path,
    ) -> Result<Self, Error> {
        let component = read(component, COMPONENT_BYTES_MAX)?;
        let digest = Digest::of(&component);
        Ok(Self { manifest, manifest_text: text, component, digest, path: path.to_owned() })
    }
}

/// Reads a file that a stranger may have made: never more than `bytes_max` of it.
pub(crate) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    // Opening a named pipe would wait for a writer that never comes.
    if !path.metadata().map_err(failed)?.is_file() {
        let source = std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is no regular file");
        return Err(failed(source));
    }
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > bytes_max {
        return Err(Error::TooLarge { path: path.to_owned(), bytes_max });
    }
    Ok(bytes)
}

/// A tool's name out of a file's: what does not fit becomes a dash.
fn tool_name(stem: &str) -> ToolName {
    let mut name = String::new();
    for character in stem.chars().map(|character| character.to_ascii_lowercase()) {
        match character {
            'a'..='z' => name.push(character),
            '0'..='9' if !name.is_empty() => name.push(character),
            _ if !name.is_empty() && !name.ends_with('-') => name.push('-'),
            _ => {}
        }
    }
    name.truncate(40);
    let name = name.trim_end_matches('-');
    name.parse().unwrap_or_else(|_| "tool".parse().expect("a word of small letters is a name"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn names_come_from_files() {
        for (stem, name) in [
            ("hello", "hello"),
            ("repo_search", "repo-search"),
            ("My Tool (2)", "my-tool-2"),
            ("9lives", "lives"),
            ("漢", "tool"),
            ("", "tool"),
        ] {
            assert_eq!(tool_name(stem).as_str(), name);
        }
        assert_eq!(tool_name(&"a".repeat(99)).as_str().len(), 40);
    }

    #[test]
    fn folders_and_components_are_loaded() {
        let home = tempfile::tempdir().unwrap();
        let check = |path: &Path, expected: Result<&str, &str>| {
            let loaded = ToolFolder::load(path).map(|tool| tool.manifest.name.to_string());
            let loaded = loaded.map_err(|error| {
                error.to_string().replace(&home.path().display().to_string(), "~")
            });
            assert_eq!(loaded.as_deref().map_err(String::as_str), expected);
        };
        check(home.path(), Err("~ is no tool: a folder with tool.toml, or a .wasm file"));
        let manifest = home.path().join("tool.toml");
        fs::write(&manifest, "tool = { name = \"x\", component = \"a_b.wasm\" }").unwrap();
        check(home.path(), Err("cannot read ~/a_b.wasm"));
        let component = home.path().join("a_b.wasm");
        fs::write(&component, b"\0asm").unwrap();
        check(home.path(), Ok("x"));
        check(&component, Ok("a-b"));
        check(&manifest, Err("~/tool.toml is no tool: a folder with tool.toml, or a .wasm file"));
        check(&home.path().join("none.wasm"), Err("cannot read ~/none.wasm"));
        fs::write(&manifest, vec![b'#'; (1 << 20) + 1]).unwrap();
        check(home.path(), Err("~/tool.toml is larger than 1048576 bytes"));
        fs::write(&manifest, b"\xff").unwrap();
        check(home.path(), Err("~/tool.toml is not UTF-8"));
        fs::write(&manifest, "[tool]\nname = \"x\"\ncomponent = \"/a_b.wasm\"").unwrap();
        check(
            home.path(),
            Err("~/tool.toml:3:13: the component is a file, by its path from the manifest's \
                 folder; such as `component = \"tool.wasm\"`"),
        );
    }
}
