//! The keys of the files that people write: an unknown one is an error, and each that is known
//! stands in a test.

use std::fs;
use std::path::{Path, PathBuf};

use crate::source;

/// The crates that read such files. `event` and `catalog` read what the host itself wrote.
const READERS: &[&str] = &["agent", "driver", "model", "policy"];

/// A file of another crate that does; what else that crate reads comes from clients.
const SERVICE: &str = "runtime/server/src/config.rs";

/// Looks at one table of a file that was read strictly before.
const PARTIAL: &str = "runtime/policy/src/edit.rs";

/// Reads what the host itself wrote.
const EXPORTED: &str = "runtime/driver/src/exported.rs";

/// A table of a file: the struct it is read into, and its keys.
#[derive(Debug)]
pub(crate) struct Table {
    place: String,
    is_strict: bool,
    keys: Vec<String>,
}

/// Every struct of these crates that is read from a file.
pub(crate) fn tables(root: &Path) -> Vec<Table> {
    let mut tables = Vec::new();
    let folders =
        READERS.iter().copied().chain(["server"]).map(|name| format!("runtime/{name}/src"));
    for (path, text) in texts(root, folders) {
        let (code, _) = split(&text);
        if path.starts_with("runtime/server/") && path != SERVICE {
            continue;
        }
        if path == PARTIAL || path == EXPORTED {
            continue;
        }
        tables.extend(parse(&path, code));
    }
    assert!(tables.len() > 15, "the tables are not where they were");
    tables
}

/// What the tests of the project say, all in one.
pub(crate) fn tests(root: &Path) -> String {
    let mut folders = vec!["tests".to_owned()];
    for entry in fs::read_dir(root.join("runtime")).expect("the folder `runtime`") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        folders.push(format!("runtime/{name}"));
    }
    let mut all = String::new();
    for (path, text) in texts(root, folders.into_iter()) {
        let is_test = path.starts_with("tests/") || path.contains("/tests/");
        all.push_str(if is_test { &text } else { split(&text).1 });
    }
    all
}

fn texts(root: &Path, folders: impl Iterator<Item = String>) -> Vec<(String, String)> {
    let mut files: Vec<PathBuf> = Vec::new();
    for folder in folders {
        source::walk(&root.join(folder), &mut files);
    }
    let text = |file: PathBuf| {
        let path = file.strip_prefix(root).expect("a file below the root");
        let path = path.to_string_lossy().replace('\\', "/");
        // This file's own examples are no tests of any key.
        let is_own = path.starts_with("tests/tests/structure/");
        (!is_own).then(|| (path, fs::read_to_string(&file).expect("a source file that is text")))
    };
    files.into_iter().filter_map(text).collect()
}

/// A file's code, and the tests at its end.
fn split(text: &str) -> (&str, &str) {
    text.split_at(text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len()))
}

fn parse(path: &str, code: &str) -> Vec<Table> {
    let mut tables = Vec::new();
    let mut lines = code.lines().enumerate().map(|(number, line)| (number + 1, line.trim()));
    while let Some((number, line)) = lines.next() {
        if !(line.starts_with("#[derive(") && line.contains("Deserialize")) {
            continue;
        }
        let mut attributes = String::new();
        let item = lines.by_ref().map(|(_, line)| line).find(|line| {
            attributes.push_str(line);
            !(line.starts_with('#') || line.starts_with("//") || line.ends_with(")]"))
        });
        let Some(item) = item else { break };
        let is_table = item.contains("struct ") && item.ends_with('{');
        if !is_table {
            continue;
        }
        let mut table = Table {
            place: format!("{path}:{number}"),
            is_strict: attributes.contains("deny_unknown_fields"),
            keys: Vec::new(),
        };
        let mut renamed = None;
        for (_, line) in lines.by_ref().take_while(|(_, line)| *line != "}") {
            if let Some((_, rename)) = line.split_once("rename = \"") {
                renamed = rename.split('"').next().map(str::to_owned);
            } else if let Some((name, _)) = line.split_once(": ").filter(|_| !line.starts_with('/'))
            {
                let name = name.rsplit(' ').next().unwrap_or(name).replace('_', "-");
                table.keys.push(renamed.take().unwrap_or(name));
            }
        }
        tables.push(table);
    }
    tables
}

/// Tables that take keys nobody knows, and keys that no test writes.
pub(crate) fn enforced(tables: &[Table], tests: &str) -> Vec<String> {
    let mut problems = Vec::new();
    for Table { place, is_strict, keys } in tables {
        if !is_strict {
            problems.push(format!("{place}: write `#[serde(deny_unknown_fields)]`"));
        }
        // A macro's own name for its keys is no key.
        let keys = keys.iter().filter(|key| !key.starts_with('$'));
        for key in keys.filter(|key| !is_written(tests, key)) {
            problems.push(format!("{place}: no test writes the key `{key}`: show what it does"));
        }
    }
    problems
}

/// `key = …`, `key.…`, `[key…` or `….key]`.
fn is_written(tests: &str, key: &str) -> bool {
    tests.match_indices(key).any(|(at, _)| {
        let word = |letter: char| letter.is_alphanumeric() || letter == '-' || letter == '_';
        let before = tests[..at].chars().next_back().is_none_or(|letter| !word(letter));
        let after = &tests[at + key.len()..];
        // After an escaped line break stands the `n` of `\n`.
        let before = before || tests[..at].ends_with("\\n");
        before && [" = ", ".", "]", "=\""].iter().any(|sign| after.starts_with(sign))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "#[derive(Debug, Deserialize)]\n#[serde(deny_unknown_fields, rename_all = \"kebab-case\")]\nstruct A {\n    /// The first: see there.\n    pub(crate) first_key: u8,\n    #[serde(rename = \"use\")]\n    sets: Vec<u8>,\n}\n\n#[derive(Deserialize)]\nenum B {\n    C,\n}\n";

    #[test]
    fn the_keys_of_a_table_are_found() {
        let tables = parse("a.rs", CODE);
        assert_eq!(tables.len(), 1, "{tables:?}");
        assert_eq!(
            (tables[0].keys.as_slice(), tables[0].is_strict),
            (["first-key".to_owned(), "use".to_owned()].as_slice(), true)
        );
    }

    #[test]
    fn a_key_that_is_not_tried_and_a_lenient_table_are_found() {
        let check = |code: &str, tests: &str, expected: usize| {
            let problems = enforced(&parse("a.rs", code), tests);
            assert_eq!(problems.len(), expected, "{tests}: {problems:?}");
        };
        check(CODE, "first-key = 1\\nuse = []", 0);
        check(CODE, "[first-key]\nuse.x = 1", 0);
        check(CODE, "first-key = 1; reuse = []", 1);
        check(CODE, "", 2);
        check(&CODE.replace("deny_unknown_fields, ", ""), "first-key = 1\nuse = []", 1);
    }
}
