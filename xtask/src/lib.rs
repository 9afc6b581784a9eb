//! What developers and CI type: `cargo xtask VERB`. One file a verb, and [`metadata`] and [`deny`]
//! are public because the structure tests ask the same questions of the same data.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]

mod bench;
mod check;
mod ci;
mod command;
mod crash;
mod demo;
pub mod deny;
mod fuzz;
mod generate;
mod guests;
pub mod metadata;
mod schemathesis;
mod test;

use std::process::ExitCode;

use anyhow::Result;

/// One word after `cargo xtask`.
struct Verb {
    name: &'static str,
    arguments: &'static str,
    about: &'static [&'static str],
    run: fn(&[String]) -> Result<()>,
}

const VERBS: &[Verb] = &[
    Verb {
        name: "demo",
        arguments: "[FOLDER]",
        about: &[
            "Builds the guests and the program, then runs an agent through its tools in FOLDER,",
            "this checkout when none is named; it keeps its own files in target/demo. Needs no key and",
            "no network.",
        ],
        run: demo::demo,
    },
    Verb {
        name: "guests",
        arguments: "",
        about: &[
            "Builds every guest component once and copies it to target/guest/NAME.wasm.",
            "Adds the target wasm32-wasip2 when it is missing; RINGFENCE_GUEST_TOOLCHAIN=rustup or",
            "=debian says where the target must come from.",
        ],
        run: |arguments| no_arguments(arguments).and_then(|()| guests::guests()),
    },
    Verb {
        name: "test",
        arguments: "[ARGUMENTS]",
        about: &[
            "Builds the guests, then runs every test and the doctests; with ARGUMENTS, which go to",
            "cargo nextest (to cargo test where nextest is absent), the chosen tests only.",
        ],
        run: test::test,
    },
    Verb {
        name: "bench",
        arguments: "[ARGUMENTS]",
        about: &[
            "Describes the machine, then builds for release and measures; ARGUMENTS go to the",
            "benchmark program. --peers also measures what others use, from PyPI.",
        ],
        run: bench::bench,
    },
    Verb {
        name: "load",
        arguments: "[calls] [streams] [overload] [neighbour] [soak]",
        about: &[
            "Builds for release and measures the service under load, each part or those that are named;",
            "a quarter of an hour for all.",
        ],
        run: bench::load,
    },
    Verb {
        name: "crash",
        arguments: "[--runs N] [--seed N]",
        about: &[
            "Kills the program N times (200 when nobody says) at random moments of busy runs, starts",
            "it again, and looks whether anything is lost or happened twice. Prints the seed.",
        ],
        run: crash::crash,
    },
    Verb {
        name: "fmt",
        arguments: "",
        about: &["Formats the workspace."],
        run: |arguments| no_arguments(arguments).and_then(|()| check::fmt()),
    },
    Verb {
        name: "lint",
        arguments: "",
        about: &["Checks the format, then runs clippy with warnings denied."],
        run: |arguments| no_arguments(arguments).and_then(|()| check::lint()),
    },
    Verb {
        name: "doc",
        arguments: "",
        about: &["Builds the documentation with warnings denied."],
        run: |arguments| no_arguments(arguments).and_then(|()| check::doc()),
    },
    Verb {
        name: "deny",
        arguments: "",
        about: &[
            "Checks the dependencies: licences, sources, banned crates and second versions of the",
            "heavy ones. Advisories too, where cargo-deny is installed.",
        ],
        run: |arguments| no_arguments(arguments).and_then(|()| deny::deny()),
    },
    Verb {
        name: "generate",
        arguments: "",
        about: &[
            "Writes the SDK's bindings again from wit/ and fails if they were out of date.",
            "Installs wit-bindgen under target/tools the first time.",
        ],
        run: |arguments| no_arguments(arguments).and_then(|()| generate::generate()),
    },
    Verb {
        name: "fuzz",
        arguments: "[TARGET] [--seconds N]",
        about: &[
            "Feeds TARGET of fuzz/, or each of them, with bytes that nobody meant, for a minute or N",
            "seconds. What it finds is kept in target/fuzz/found/TARGET. Needs a C++ compiler.",
        ],
        run: fuzz::fuzz,
    },
    Verb {
        name: "schemathesis",
        arguments: "",
        about: &[
            "Lets schemathesis, from PyPI, ask the running service whatever its document allows, and",
            "fails if it meets a server error or an answer that is not in the document.",
        ],
        run: |arguments| no_arguments(arguments).and_then(|()| schemathesis::schemathesis()),
    },
    Verb {
        name: "ci",
        arguments: "",
        about: &["Everything that must pass before a change is in: the checks, then all tests."],
        run: |arguments| no_arguments(arguments).and_then(|()| ci::ci()),
    },
];

/// Runs the verb that the arguments name.
#[must_use]
pub fn main(arguments: &[String]) -> ExitCode {
    let (verb, rest) = match arguments.split_first() {
        None => ("help", arguments),
        Some((verb, rest)) => (verb.as_str(), rest),
    };
    if matches!(verb, "help" | "--help" | "-h") {
        print!("{}", help());
        return ExitCode::SUCCESS;
    }
    let Some(verb) = VERBS.iter().find(|known| known.name == verb) else {
        eprintln!("cargo xtask: no verb `{verb}`\n\n{}", help());
        return ExitCode::from(2);
    };
    if rest.iter().any(|argument| argument == "--help") && !verb.arguments.starts_with("[ARG") {
        print!("{}", describe(verb));
        return ExitCode::SUCCESS;
    }
    match (verb.run)(rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cargo xtask {}: {error:#}", verb.name);
            ExitCode::FAILURE
        }
    }
}

fn help() -> String {
    let verbs: Vec<String> = VERBS.iter().map(describe).collect();
    format!("cargo xtask VERB\n\n{}", verbs.join("\n"))
}

fn describe(verb: &Verb) -> String {
    let mut text = format!("  {}", verb.name);
    if !verb.arguments.is_empty() {
        text = format!("{text} {}", verb.arguments);
    }
    text.push('\n');
    for line in verb.about {
        text.push_str("      ");
        text.push_str(line);
        text.push('\n');
    }
    text
}

fn no_arguments(arguments: &[String]) -> Result<()> {
    match arguments.first() {
        None => Ok(()),
        Some(argument) => anyhow::bail!("takes no argument, got `{argument}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_is_in_the_help_once() {
        let help = help();
        for verb in VERBS {
            let head = format!("\n  {}", verb.name);
            let heads = help
                .match_indices(&head)
                .filter(|(at, _)| help[at + head.len()..].starts_with(['\n', ' ']));
            assert_eq!(heads.count(), 1, "{}", verb.name);
            assert!(!verb.about.is_empty(), "{} says nothing about itself", verb.name);
        }
    }

    #[test]
    fn an_argument_that_nobody_reads_is_an_error() {
        assert!(no_arguments(&["--fast".to_owned()]).is_err());
    }
}
