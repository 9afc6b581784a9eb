//! `test`: every test of the workspace, with the guests that they run built first.

use std::env;

use anyhow::{Result, bail};

use crate::command::{answers, cargo, cargo_path, run};
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

/// SQLite and the TLS provider are C: without a compiler the build ends far away with a long error.
fn c_compiler() -> Result<()> {
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    // The variable may hold a launcher and arguments: `ccache gcc`.
    let mut words = compiler.split_whitespace();
    let name = words.next().unwrap_or("cc");
    if !answers(name, words.chain(["--version"])) {
        bail!("no C compiler: `{compiler}` does not run. Install gcc or clang, or name one in CC");
    }
    Ok(())
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
