//! Searches in a small tree, each as data.

use std::fs;

use super::*;

const TREE: &[(&str, &[u8])] = &[
    (".gitignore", b"/target\n*.log\n!keep.log\n"),
    (".hidden/a.rs", b"needle\n"),
    (".git/config", b"needle\n"),
    ("a.rs", b"one\nneedle\nthree\nNeedle\nfive\n"),
    ("b.log", b"needle\n"),
    ("keep.log", b"needle\n"),
    ("picture.png", b"needle\n\0needle\n"),
    ("src/.gitignore", b"generated.rs\n"),
    ("src/deep/c.rs", b"a needle in c\n"),
    ("src/generated.rs", b"needle\n"),
    ("target/d.rs", b"needle\n"),
];

/// Searches for `needle` with further arguments in JSON; the lines found, or the error.
#[track_caller]
fn check(arguments: &str, expected: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, content) in TREE {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, content).expect("a file");
    }
    let arguments = format!(r#"{{"pattern": "needle", {arguments}}}"#).replace(", }", "}");
    let args: Search = ringfence_sdk::serde_json::from_str(&arguments).expect("arguments");
    let found = match searched(folder.path(), &folder.path().join(&args.path), &args, |_| {}) {
        Err(error) => error.to_string(),
        Ok(report) => report.to_string(),
    };
    let root = format!("{}/", folder.path().display());
    let found = found.replace(&root, "").replace("\n\n", "\n").trim_end().replace('\n', "|");
    assert_eq!(found, expected, "{arguments}");
}

#[test]
fn what_is_ignored_or_hidden_or_binary_stays_out() {
    check(
        "",
        "a.rs|2: needle|keep.log|1: needle|src/deep/c.rs|1: a needle in c|[3 matches in 3 files searched]",
    );
    check(
        r#""ignored": true, "glob": "*.rs""#,
        "a.rs|2: needle|src/deep/c.rs|1: a needle in c|src/generated.rs|1: needle|target/d.rs|1: needle\
         |[4 matches in 4 files searched]",
    );
    check(
        r#""hidden": true, "glob": "**/a.rs""#,
        ".hidden/a.rs|1: needle|a.rs|2: needle|[2 matches in 2 files searched]",
    );
    check(
        r#""hidden": true, "glob": "config""#,
        "[0 matches in 0 files searched]|[no text file was searched: is it hidden, ignored, or excluded by `glob`?]",
    );
}

#[test]
fn a_path_narrows_and_keeps_the_ignore_files_above() {
    check(r#""path": "src""#, "src/deep/c.rs|1: a needle in c|[1 matches in 1 files searched]");
    check(
        r#""path": "src", "glob": "deep/*.rs""#,
        "src/deep/c.rs|1: a needle in c|[1 matches in 1 files searched]",
    );
    check(r#""path": "b.log""#, "b.log|1: needle|[1 matches in 1 files searched]");
    check(
        r#""path": "target""#,
        "[0 matches in 0 files searched]|[no text file was searched: is it hidden, ignored, or excluded by `glob`?]",
    );
}

#[test]
fn lines_around_a_match_are_shown() {
    check(
        r#""path": "a.rs", "context": 1"#,
        "a.rs|1- one|2: needle|3- three|[1 matches in 1 files searched]",
    );
    check(
        r#""path": "a.rs", "ignore_case": true"#,
        "a.rs|2: needle|4: Needle|[2 matches in 1 files searched]",
    );
}

#[test]
fn a_cut_says_so() {
    let hint = "narrow `pattern`, `path` or `glob`, or raise `matches_max`]";
    check(
        r#""matches_max": 2"#,
        &format!("a.rs|2: needle|keep.log|1: needle|[truncated after 2 matches: {hint}"),
    );
    check(r#""bytes_max": 8"#, &format!("a.rs|2: needle|[truncated after 1 matches: {hint}"));
    check(
        r#""matches_max": 3"#,
        "a.rs|2: needle|keep.log|1: needle|src/deep/c.rs|1: a needle in c|[3 matches in 3 files searched]",
    );
}

#[test]
fn a_mistake_says_how_to_mend_it() {
    let failure = |pattern: &str| match Scanner::new(pattern, false, 0) {
        Err(error) => error.to_string(),
        Ok(_) => "no failure".to_owned(),
    };
    assert!(failure("a(b").contains("unclosed group"), "{}", failure("a(b"));
    assert!(failure("a\\nb").contains("`a\\nb` cannot be searched for"), "{}", failure("a\\nb"));
    assert!(
        failure("((a{1000}){1000}){1000}").contains("size limit"),
        "{}",
        failure("((a{1000}){1000}){1000}")
    );
}
