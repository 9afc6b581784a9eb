//! `test`: every test of the workspace, with the guests that they run built first.

use anyhow::Result;

use crate::command::{answers, c_compiler, cargo, cargo_path, run};
use crate::guests;

/// Runs all tests, or the ones that the arguments choose.
pub(crate) fn test(arguments: &[String]) -> Result<()> {
    c_compiler()?;
    guests::guests()?;
    let mut tests = if answers(cargo_path(), ["nextest", "--version"]) {
        cargo(["nextest", "run"])
    } else {
        eprintln!("cargo-nextest is not installed: using cargo test, which is slower");
        cargo(["test"])
    };
    if !arguments.iter().any(|argument| names_a_package(argument)) {
        tests.arg("--workspace");
    }
    let all = run(tests.args(arguments));
    if !arguments.is_empty() {
        eprintln!("only the chosen tests; `cargo xtask test` alone runs the doctests too");
        return all;
    }
    // Doctests run whatever the tests said, so that one run shows everything that is wrong.
    let documented = run(&mut cargo(["test", "--doc", "--workspace"]));
    all.and(documented)
}

fn names_a_package(argument: &str) -> bool {
    argument == "--package" || argument.starts_with("--package=") || argument.starts_with("-p")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chosen_package_replaces_the_workspace() {
        assert!(names_a_package("-pxtask"));
        assert!(names_a_package("--package=xtask"));
        assert!(!names_a_package("--profile"));
        assert!(!names_a_package("policy"));
    }
}
