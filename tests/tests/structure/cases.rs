//! The attacks that are tried: each case of `tests/security/CASES.md` has a test whose name begins
//! with its id, or says why it is not tried; each test that is named for a case stands in its row.

use std::{collections::BTreeSet, fs, path::Path};

use crate::source;
use crate::token::{Token, close, matches, tokens};

/// Where the attacks are.
const FOLDER: &str = "tests/security";

/// What a row says instead of a test.
const NOT_TRIED: &str = "not tried: ";

/// A row of the table.
pub(crate) struct Row {
    line: usize,
    id: String,
    sentence: String,
    tests: String,
}

impl Row {
    /// The tests that it names: what stands between backticks.
    fn names(&self) -> Vec<&str> {
        self.tests.split('`').skip(1).step_by(2).collect()
    }
}

/// Reads the rows of the cases.
pub(crate) fn rows(root: &Path) -> Vec<Row> {
    parse(&fs::read_to_string(root.join(FOLDER).join("CASES.md")).expect("the list of cases"))
}

fn parse(text: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let Some(cells) = line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |")) else {
            continue;
        };
        let cells: Vec<&str> = cells.split(" | ").map(str::trim).collect();
        if let [id, sentence, tests] = cells[..]
            && case_of(&format!("{}_", id.to_lowercase())).is_some()
        {
            let (id, sentence) = (id.to_owned(), sentence.to_owned());
            rows.push(Row { line: number + 1, id, sentence, tests: tests.to_owned() });
        }
    }
    rows
}

/// Every test of the project: one among the attacks by its path there (`file::outside::NAME`),
/// another by its file (`runtime/capability/src/meter.rs::NAME`).
pub(crate) fn tests(root: &Path) -> BTreeSet<String> {
    let mut files = Vec::new();
    source::walk(&root.join("runtime"), &mut files);
    source::walk(&root.join("tests"), &mut files);
    let mut all = BTreeSet::new();
    for file in files {
        let path = file.strip_prefix(root).expect("a file below the root");
        let path = path.to_string_lossy().replace('\\', "/");
        let text = fs::read_to_string(&file).expect("a source file that is text");
        all.extend(functions(&tokens(&text)).map(|name| format!("{}::{name}", module(&path))));
    }
    all
}

fn module(path: &str) -> String {
    let inside = path.strip_prefix(FOLDER).and_then(|path| path.strip_suffix(".rs"));
    inside.map_or_else(|| path.to_owned(), |path| path[1..].replace('/', "::"))
}

/// The names of the functions with an attribute that makes them tests.
fn functions(tokens: &[Token]) -> impl Iterator<Item = &str> {
    (0..tokens.len()).filter_map(|at| {
        if !matches(&tokens[at..], &["#", "["]) {
            return None;
        }
        let end = close(tokens, at + 1);
        let path = tokens[at + 2..end].iter().take_while(|token| !token.is("("));
        if !path.last()?.is("test") {
            return None;
        }
        let mut next = end + 1;
        while matches(&tokens[next..], &["#", "["]) {
            next = close(tokens, next + 1) + 1;
        }
        let mut item = tokens[next..].iter();
        item.find(|token| !token.is("async")).filter(|token| token.is("fn"))?;
        item.next().map(|name| name.text.as_str())
    })
}

/// The case that a function is named for: `f6_nothing_changes` is `F6`.
fn case_of(name: &str) -> Option<String> {
    let (id, _) = name.split_once('_')?;
    let group = id.trim_end_matches(|last: char| last.is_ascii_digit());
    let is_case = group.len() == 1 && group.len() < id.len();
    (is_case && group.starts_with(|first: char| first.is_ascii_lowercase()))
        .then(|| id.to_uppercase())
}

/// What is missing: in a row, or among the rows.
pub(crate) fn complete(rows: &[Row], tests: &BTreeSet<String>) -> Vec<String> {
    let mut problems = Vec::new();
    for row in rows {
        let Row { line, id, sentence, tests: cell } = row;
        let place = format!("{FOLDER}/CASES.md:{line}: {id}");
        if rows.iter().any(|other| other.id == *id && other.line < *line) {
            problems.push(format!("{place} stands there twice: make one row of it"));
        }
        if !sentence.contains(" → ") || !sentence.ends_with('.') {
            problems.push(format!("{place}: write `what is tried → what comes of it.`"));
        }
        let reason = cell.split_once(NOT_TRIED).map(|(_, reason)| reason.trim());
        let names = row.names();
        let own = |name: &&str| last(name).starts_with(&format!("{}_", id.to_lowercase()));
        if !names.iter().any(own) && reason.is_none_or(str::is_empty) {
            problems.push(format!("{place} has no test of its name, and no `{NOT_TRIED}WHY`"));
        }
        for name in names.iter().filter(|name| !tests.contains(**name)) {
            problems.push(format!("{place}: there is no test `{name}`"));
        }
    }
    for test in tests.iter().filter(|test| !test.contains(".rs::")) {
        let Some(id) = case_of(last(test)) else { continue };
        let stands = rows.iter().any(|row| row.id == id && row.names().contains(&test.as_str()));
        if !stands {
            problems.push(format!("{FOLDER}: `{test}` does not stand in the row of {id}"));
        }
    }
    problems
}

fn last(path: &str) -> &str {
    path.rsplit("::").next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_found_by_their_attribute() {
        let text = "#[test] fn a() {} #[tokio::test(flavor = \"x\")] #[ignore] async fn f1_b() {}\n\
            fn no() {} #[cfg(test)] mod tests { fn f() {} #[test] #[should_panic] fn c() {} }";
        assert_eq!(functions(&tokens(text)).collect::<Vec<_>>(), ["a", "f1_b", "c"]);
        assert_eq!(module("tests/security/file/outside.rs"), "file::outside");
        assert_eq!(module("runtime/capability/src/meter.rs"), "runtime/capability/src/meter.rs");
    }

    #[test]
    fn a_name_says_its_case() {
        for (name, case) in [
            ("f6_nothing", Some("F6")),
            ("h10_a_call", Some("H10")),
            ("nothing", None),
            ("a_bucket", None),
            ("x86_64", Some("X86")),
            ("utf8_text", None),
        ] {
            assert_eq!(case_of(name).as_deref(), case, "{name}");
        }
    }

    #[test]
    fn what_is_missing_is_found() {
        let tests = ["file::f1_a", "file::other", "m.rs::f1_b", "m.rs::f9_c"];
        let tests = tests.map(str::to_owned).into();
        for (table, expected) in [
            ("| F1 | A → b. | `file::f1_a` |", 0),
            ("| F1 | A → b. | `file::f1_a`, `m.rs::f1_b`, `file::other` |", 0),
            ("| F1 | A → b. | `file::f1_a` |\n| F2 | A → b. | not tried: no such disk |", 0),
            ("", 1),
            ("| F1 | A. | `file::f1_a` |", 1),
            ("| F1 | A → b. | `m.rs::f1_b` |", 1),
            ("| F1 | A → b. | `file::f1_a` |\n| F2 | A → b. | not tried: |", 1),
            ("| F1 | A → b. | `file::f1_a`, `file::f1_gone` |", 1),
            ("| F1 | A → b. | `file::f1_a` |\n| F2 | A → b. | `file::other` |", 1),
            ("| F1 | A → b. | `file::f1_a` |\n| F1 | A → b. | `file::f1_a` |", 1),
        ] {
            let problems = complete(&parse(table), &tests);
            assert_eq!(problems.len(), expected, "{table}: {problems:?}");
        }
    }
}
