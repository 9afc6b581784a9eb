//! No function runs outside the sandbox: what a call returned can only have come from there, and what
//! a tool offers only from what its component answered.

use crate::source::Source;
use crate::token::{Token, close, matches};

/// Where the outcome of a component becomes an outcome; and where a person says how a call ended of
/// which nobody else knows.
const OUTCOMES: [&str; 2] = ["runtime/sandbox/", "runtime/driver/src/reconcile.rs"];

/// Where the answer of a component becomes a tool's functions.
const ANSWERS: &[&str] = &["runtime/catalog/", "runtime/driver/src/tool.rs"];

/// Places that make the outcome of a call that succeeded, or a function, from anything else.
pub(crate) fn elsewhere(sources: &[Source]) -> Vec<String> {
    let mut problems = Vec::new();
    let (mut outcomes, mut functions) = (0, 0);
    for source in sources {
        let tokens = &source.tokens;
        for at in 0..tokens.len() {
            if matches(&tokens[at..], &["Outcome", "::", "Succeeded", "{"]) && makes(tokens, at + 3)
            {
                outcomes += 1;
                if !OUTCOMES.iter().any(|path| source.path.starts_with(path)) {
                    problems.push(format!(
                        "{}: only the sandbox says that a call succeeded",
                        source.place(at)
                    ));
                }
            }
            if matches(&tokens[at..], &["RawDefinition", "{"]) {
                functions += 1;
                if !ANSWERS.iter().any(|place| source.path.starts_with(place)) {
                    problems.push(format!(
                        "{}: only a component's answer becomes a function",
                        source.place(at)
                    ));
                }
            }
        }
    }
    if outcomes == 0 || functions == 0 {
        problems.push("nothing makes an outcome or a function: mend this rule".to_owned());
    }
    problems
}

/// Whether the braces that open here make a value, and are no pattern.
fn makes(tokens: &[Token], open: usize) -> bool {
    let end = close(tokens, open);
    let body = &tokens[open + 1..end.min(tokens.len())];
    let is_pattern = match body {
        [.., last, end] if last.is(".") && end.is(".") => true,
        // `{ output } =>`, `{ output } = …`, `{ output } |`.
        [_] => {
            tokens.get(end + 1).is_some_and(|next| next.is("=") || next.is("|") || next.is("if"))
        }
        _ => false,
    };
    !is_pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_built_in_function_is_found() {
        let real = [
            Source::new(
                "runtime/sandbox/src/convert.rs",
                "fn f() { Outcome::Succeeded { output: make() } }",
            ),
            Source::new("runtime/driver/src/tool.rs", "fn f() { RawDefinition { name } }"),
        ];
        let check = |path: &str, text: &str, expected: usize| {
            let mut sources = vec![Source::new(path, text)];
            sources.extend(
                real.iter()
                    .map(|real| Source { path: real.path.clone(), tokens: real.tokens.clone() }),
            );
            let problems = elsewhere(&sources);
            assert_eq!(problems.len(), expected, "{text}: {problems:?}");
        };
        let driver = "runtime/driver/src/call.rs";
        check(
            driver,
            "fn f() -> Outcome { Outcome::Succeeded { output: Output::text(\"x\") } }",
            1,
        );
        check(driver, "fn f() -> Outcome { Outcome::Succeeded { output } }", 1);
        check(driver, "fn f() { let d = RawDefinition { name }; }", 1);
        check(driver, "fn f() { if let Outcome::Succeeded { output } = x {} }", 0);
        check(
            driver,
            "fn f() { match x { Outcome::Succeeded { output } => y, Outcome::Succeeded { .. } => z } }",
            0,
        );
        check(driver, "#[cfg(test)]\nmod tests { fn f() { Outcome::Succeeded { output: x } } }", 0);
        assert_eq!(elsewhere(&[]).len(), 1, "a rule that nothing meets is found");
    }
}
