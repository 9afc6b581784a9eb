//! Every first-party tool can be read about, granted and trusted: a README, a manifest, tests.

use std::fs;
use std::path::Path;

/// A folder of `tools/`: every file in it, by its path from there, with its text.
pub(crate) struct Folder {
    name: String,
    files: Vec<(String, String)>,
}

/// Reads the folders of all tools.
pub(crate) fn folders(tools: &Path) -> Vec<Folder> {
    let folders = fs::read_dir(tools)
        .expect("the folder `tools`")
        .map(|entry| entry.expect("an entry").path());
    let folders: Vec<Folder> = folders
        .filter(|path| path.is_dir())
        .map(|path| {
            let mut files = Vec::new();
            walk(&path, &path, &mut files);
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            Folder { name, files }
        })
        .collect();
    assert!(!folders.is_empty(), "there is no tool in {}", tools.display());
    folders
}

fn walk(top: &Path, folder: &Path, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("a folder of a tool") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            walk(top, &path, files);
        } else {
            let name = path.strip_prefix(top).expect("a file below its folder");
            // Fixtures may be anything; as text they are only searched.
            let text = fs::read(&path).expect("a file of a tool");
            let text = String::from_utf8_lossy(&text).into_owned();
            files.push((name.to_string_lossy().replace('\\', "/"), text));
        }
    }
}

/// What the tools lack.
pub(crate) fn complete(folders: &[Folder]) -> Vec<String> {
    let mut problems = Vec::new();
    for Folder { name, files } in folders {
        for (wanted, why) in [
            ("README.md", "say what the tool does and what it asks for"),
            ("tool.toml", "say what the tool needs, each with its reason"),
        ] {
            let filled =
                |(path, text): &(String, String)| path == wanted && !text.trim().is_empty();
            if !files.iter().any(filled) {
                problems.push(format!("tools/{name} has no {wanted}: {why}"));
            }
        }
        if !files.iter().any(|(path, text)| is_test(path, text)) {
            problems.push(format!("tools/{name} has no test: show that it does what it says"));
        }
    }
    problems
}

/// What the README promises of the tool it shows, and shows of it.
const LINES_MAX: usize = 25;
const BYTES_MAX: u64 = 250_000;

/// How the tool in the README is not the tool of the example, or not as small as it says.
pub(crate) fn shown(readme: &str, source: &str, component_bytes: u64) -> Vec<String> {
    let mut problems = Vec::new();
    let lines = source.lines().count();
    if lines > LINES_MAX {
        problems.push(format!("examples/hello has {lines} lines, more than {LINES_MAX}"));
    }
    if component_bytes > BYTES_MAX {
        problems.push(format!("its component has {component_bytes} bytes, more than {BYTES_MAX}"));
    }
    let mut blocks = readme.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next());
    if !blocks.any(|block| block.trim_end() == source.trim_end()) {
        problems.push("README.md does not show examples/hello/src/lib.rs as it is".to_owned());
    }
    problems
}

/// A Rust test in a line of its own, or a file of tests in Python or JavaScript.
fn is_test(path: &str, text: &str) -> bool {
    let file = path.rsplit('/').next().unwrap_or(path);
    match file.rsplit_once('.') {
        Some((_, "rs")) => text.lines().any(|line| line.trim() == "#[test]"),
        Some((stem, "py")) => stem.starts_with("test_"),
        Some((stem, "js" | "mjs")) => stem.ends_with(".test"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> Folder {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        Folder { name: "a".to_owned(), files: files.collect() }
    }

    #[test]
    fn a_tool_that_is_not_as_it_is_shown_is_found() {
        let readme = "# A\n```rust\nfn a() {}\n```\n";
        for (source, bytes, expected) in [
            ("fn a() {}\n", 250_000, 0),
            ("fn a() {}\n", 250_001, 1),
            ("fn b() {}\n", 1, 1),
            (&"fn a() {}\n".repeat(26), 1, 2),
        ] {
            assert_eq!(shown(readme, source, bytes).len(), expected, "{source} {bytes}");
        }
    }

    #[test]
    fn what_a_tool_lacks_is_found() {
        let readme = ("README.md", "# a");
        let manifest = ("tool.toml", "[tool]");
        let tested = ("src/lib.rs", "    #[test]\n    fn it_works() {}");
        for (files, expected) in [
            (&[readme, manifest, tested][..], 0),
            (&[readme, manifest, ("test_a.py", "")], 0),
            (&[manifest, tested], 1),
            (&[("README.md", " \n"), manifest, tested], 1),
            (&[readme, tested], 1),
            (&[readme, manifest, ("src/lib.rs", "// #[test]")], 1),
            (&[], 3),
        ] {
            assert_eq!(complete(&[folder(files)]).len(), expected, "{files:?}");
        }
    }
}
