//! What no source may reach for: the process's environment outside the program, and I/O or a clock in
//! the crates that only decide.

use crate::source::Source;
use crate::token::{Token, close, matches};

/// The crates that decide and do nothing.
pub(crate) const CORE: &[&str] =
    &["runtime/event/", "runtime/policy/", "runtime/agent/", "runtime/session/"];

/// What `std::env` offers about the process.
const PROCESS: &[&str] = &[
    "args",
    "args_os",
    "current_dir",
    "current_exe",
    "home_dir",
    "remove_var",
    "set_current_dir",
    "set_var",
    "temp_dir",
    "var",
    "var_os",
    "vars",
    "vars_os",
];

/// What else looks at the current directory, by the module it is in.
const WHERE: &[&str] = &["path", "::", "absolute"];

/// Modules of the standard library that act.
const MODULES: &[&str] = &["env", "fs", "process", "thread"];

/// Types that act, or read a clock; `std::net` has addresses too, which are data.
const TYPES: &[&str] =
    &["Instant", "SystemTime", "TcpListener", "TcpStream", "ToSocketAddrs", "UdpSocket"];

/// Where a source outside `program` reads the environment, the arguments or the current directory.
pub(crate) fn process(sources: &[Source], program: &str) -> Vec<String> {
    let mut problems = Vec::new();
    for source in sources.iter().filter(|source| !source.path.starts_with(program)) {
        let tokens = &source.tokens;
        let imports = standard(tokens).into_iter().filter(|at| tokens[*at].is("env"));
        let calls = (2..tokens.len()).filter(|at| {
            PROCESS.contains(&tokens[*at].text.as_str())
                && matches(&tokens[at - 2..], &["env", "::"])
                && !(*at > 2 && tokens[at - 3].is("::"))
        });
        let places = (0..tokens.len()).filter(|at| matches(&tokens[*at..], WHERE));
        problems.extend(imports.chain(calls).chain(places).map(|at| {
            format!(
                "{}: only runtime/cli reads the process's environment: take the value as an argument",
                source.place(at)
            )
        }));
    }
    problems
}

/// Where a source of the core does I/O, starts a thread or reads a clock.
pub(crate) fn io(sources: &[Source], core: &[&str]) -> Vec<String> {
    let mut problems = Vec::new();
    let inside = |source: &&Source| core.iter().any(|folder| source.path.starts_with(folder));
    for source in sources.iter().filter(inside) {
        let tokens = &source.tokens;
        let modules = standard(tokens).into_iter();
        let modules = modules.filter(|at| MODULES.contains(&tokens[*at].text.as_str()));
        let types = (0..tokens.len()).filter(|at| TYPES.contains(&tokens[*at].text.as_str()));
        problems.extend(modules.chain(types).map(|at| {
            format!(
                "{}: `{}` in a crate that only decides: let the driver do it and take the result",
                source.place(at),
                tokens[at].text
            )
        }));
    }
    problems
}

/// The places of all modules and items that are named right below `std`, alone (`std::env`) or in a
/// list (`std::{env, fs}`). Macros are not among them.
fn standard(tokens: &[Token]) -> Vec<usize> {
    let mut places = Vec::new();
    for at in 0..tokens.len() {
        if !matches(&tokens[at..], &["std", "::"]) {
            continue;
        }
        let first = at + 2;
        if !tokens.get(first).is_some_and(|token| token.is("{")) {
            places.push(first);
            continue;
        }
        let end = close(tokens, first);
        let mut next = first + 1;
        let mut starts = true;
        while next < end {
            match tokens[next].text.as_str() {
                "{" => next = close(tokens, next),
                "," => starts = true,
                _ => {
                    if starts {
                        places.push(next);
                    }
                    starts = false;
                }
            }
            next += 1;
        }
    }
    places.retain(|at| *at < tokens.len() && !tokens.get(at + 1).is_some_and(|next| next.is("!")));
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rule: fn(&[Source], &str) -> Vec<String>, text: &str) -> usize {
        let source = Source::new("runtime/policy/src/lib.rs", text);
        rule(&[source], "runtime/cli/").len()
    }

    #[test]
    fn every_way_to_the_environment_is_found() {
        for (text, expected) in [
            ("fn f() { std::env::var(\"A\"); }", 1),
            ("use std::env;", 1),
            ("use std::{fs::{self, File}, env};", 1),
            ("use std::{\n    env::{self, args},\n};", 1),
            ("fn f() { env::current_dir(); }", 1),
            ("fn f() { ::std::env::args(); }", 1),
            ("// std::env::args\nconst A: &str = env!(\"A\");", 0),
            ("const A: &str = std::env!(\"A\");", 0),
            ("#[cfg(test)] mod tests { use std::env; }", 0),
            ("struct Secret { env: String } use crate::env::var;", 0),
            ("const A: &str = \"std::env::args\";", 0),
        ] {
            assert_eq!(found(process, text), expected, "{text}");
        }
    }

    #[test]
    fn the_program_itself_may() {
        let source = Source::new("runtime/cli/src/main.rs", "use std::env;");
        assert!(process(&[source], "runtime/cli/").is_empty());
    }

    #[test]
    fn io_and_clocks_are_found_in_the_core_only() {
        let core = |sources: &[Source], _: &str| io(sources, CORE);
        for (text, expected) in [
            ("use std::fs;", 1),
            ("use std::{collections::BTreeMap, thread};", 1),
            ("fn f() { std::time::SystemTime::now(); }", 1),
            ("fn f(at: Instant) {}", 1),
            ("use std::net::IpAddr; use std::time::Duration;", 0),
            ("struct Roots { fs: BTreeMap<String, Root> }", 0),
        ] {
            assert_eq!(found(core, text), expected, "{text}");
        }
        assert!(io(&[Source::new("runtime/store/src/lib.rs", "use std::fs;")], CORE).is_empty());
    }
}
