//! Nobody but `policy` can make a `Permit`: its fields are private, nothing copies or reads one, no
//! public function hands out one that it was not given, and no other crate has a struct of that name.
//! `policy`'s documentation shows the compiler refusing the first two.

use crate::source::Source;
use crate::token::{Token, close, matches};

const PERMIT: &str = "Permit";

/// Traits that would make a permit out of something that is none.
const MAKERS: &[&str] = &["Clone", "Copy", "Default", "Deserialize", "From", "FromStr", "TryFrom"];

/// The ways to a permit that are open outside `policy`, and the absence of what the rule is about.
pub(crate) fn made(sources: &[Source], policy: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let mut structs = 0;
    for source in sources {
        let inside = source.path.starts_with(policy);
        for at in 0..source.tokens.len() {
            let found = if matches(&source.tokens[at..], &["struct", PERMIT]) {
                structs += usize::from(inside);
                if inside { structure(&source.tokens, at) } else { Some("a second `Permit`") }
            } else if inside {
                maker(&source.tokens, at).or_else(|| function(&source.tokens, at))
            } else {
                literal(&source.tokens, at)
            };
            problems.extend(found.map(|what| {
                format!("{}: {what}: only ringfence-policy makes a permit", source.place(at))
            }));
        }
    }
    if structs != 1 {
        problems.push(format!("{policy} has {structs} structs `Permit`: mend this rule"));
    }
    problems
}

/// A permit with a public field, or that derives what makes one.
fn structure(tokens: &[Token], at: usize) -> Option<&'static str> {
    let body = tokens.iter().skip(at).position(|token| token.is("{") || token.is("("))? + at;
    // A visibility with brackets, `pub(crate)`, opens nothing outside the crate.
    let public = |at: usize| tokens[at].is("pub") && !tokens[at + 1].is("(");
    if (body..close(tokens, body)).any(public) {
        return Some("a public field");
    }
    // The attributes stand before it, back to where the item before ends.
    let attributes = tokens[..at].iter().rev().take_while(|token| !token.is(";") && !token.is("}"));
    let mut makers = attributes.filter(|token| MAKERS.contains(&token.text.as_str()));
    makers.next().map(|_| "a derived way to make one")
}

/// `impl MAKER for Permit`.
fn maker(tokens: &[Token], at: usize) -> Option<&'static str> {
    if !tokens[at].is("impl") {
        return None;
    }
    let end = tokens[at..].iter().position(|token| token.is("{"))? + at;
    let head = &tokens[at..end];
    let target = head.iter().position(|token| token.is("for"))?;
    let is_permit = head[target..].iter().any(|token| token.is(PERMIT));
    let makes = head[..target].iter().any(|token| MAKERS.contains(&token.text.as_str()));
    (is_permit && makes).then_some("a trait that makes one")
}

/// A public function that returns a permit, itself and not borrowed, without being given one.
fn function(tokens: &[Token], at: usize) -> Option<&'static str> {
    if !matches(&tokens[at..], &["pub", "fn"]) && !matches(&tokens[at..], &["pub", "const", "fn"]) {
        return None;
    }
    let open = tokens[at..].iter().position(|token| token.is("("))? + at;
    let behind = close(tokens, open) + 1;
    if !tokens.get(behind)?.is("->") {
        return None;
    }
    let given = &tokens[open..behind];
    if given.iter().any(|token| token.is(PERMIT) || token.is("self")) {
        return None;
    }
    let end =
        tokens[behind..].iter().position(|token| token.is("{") || token.is("where"))? + behind;
    let in_permit = || {
        let before = tokens[..at].windows(2).rfind(|pair| pair[0].is("impl"));
        before.is_some_and(|pair| pair[1].is(PERMIT))
    };
    let returns = (behind..end).any(|at| {
        let owned = !tokens[at - 1].is("&") && !tokens[at - 1].is("'");
        owned && (tokens[at].is(PERMIT) || tokens[at].is("Self") && in_permit())
    });
    returns.then_some("a public function that returns one")
}

/// `Permit { … }` as an expression or a pattern; `Decision::Permit { … }` is a variant.
fn literal(tokens: &[Token], at: usize) -> Option<&'static str> {
    if !matches(&tokens[at..], &[PERMIT, "{"]) {
        return None;
    }
    let is = |at: usize, text: &str| tokens.get(at).is_some_and(|token| token.is(text));
    // Back over the path and the borrow in front of it: `-> &'a policy::Permit {`.
    let mut start = at;
    while start >= 2 && is(start - 1, "::") {
        if tokens[start - 2].is_type() {
            return None;
        }
        start -= 2;
    }
    let mut before = start.checked_sub(1);
    while let Some(at) = before.filter(|at| ["&", "'", "mut"].iter().any(|text| is(*at, text))) {
        before = at.checked_sub(1);
    }
    let declares = ["impl", "for", "->", "enum", "trait"];
    let declared = before.is_some_and(|at| declares.iter().any(|text| is(at, text)));
    (!declared).then_some("a literal")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "#[derive(Debug)] pub struct Permit { user: User, pub(crate) at: Time }\n\
        impl Permit { pub fn narrow(self) -> Self { self } pub(crate) fn new() -> Self { todo() } }\n\
        impl Decision { pub fn permit(&self) -> Option<&Permit> { None } pub fn no() -> Self { x } }\n\
        pub fn decide(call: &Call) -> Decision { Decision::Permit(Permit::new()) }";

    fn found(path: &str, text: &str) -> Vec<String> {
        let good = Source::new("runtime/policy/src/permit.rs", GOOD);
        made(&[good, Source::new(path, text)], "runtime/policy/")
    }

    #[test]
    fn a_good_policy_and_its_users_pass() {
        let user = "fn open(permit: Permit) -> Permit { match d { Decision::Permit { .. } => x } }\n\
            fn a(&self) -> &'a Permit { x } fn b() -> policy::Permit { x }\n\
            impl Open for Permit { } #[cfg(test)] mod tests { fn f() { Permit { user } } }";
        let problems = found("runtime/capability/src/lib.rs", user);
        assert!(problems.is_empty(), "{problems:?}");
    }

    #[test]
    fn every_other_way_to_a_permit_is_found() {
        for (path, text, what) in [
            ("runtime/sandbox/src/lib.rs", "fn f() { Permit { user } }", "a literal"),
            ("runtime/sandbox/src/lib.rs", "fn f() { policy::Permit { user } }", "a literal"),
            ("runtime/sandbox/src/lib.rs", "fn f() { g(&Permit { user }) }", "a literal"),
            ("runtime/sandbox/src/lib.rs", "struct Permit;", "a second `Permit`"),
            ("runtime/policy/src/a.rs", "impl Default for Permit { }", "a trait"),
            ("runtime/policy/src/a.rs", "impl From<Call> for Permit { }", "a trait"),
            ("runtime/policy/src/a.rs", "pub fn any() -> Permit { x }", "a public function"),
            (
                "runtime/policy/src/a.rs",
                "pub fn any() -> Option<Permit> { x }",
                "a public function",
            ),
            ("runtime/policy/src/a.rs", "impl Permit { pub fn new() -> Self { x } }", "a public"),
        ] {
            let problems = found(path, text);
            assert_eq!(problems.len(), 1, "{text}: {problems:?}");
            assert!(problems[0].starts_with(&format!("{path}:1: {what}")), "{problems:?}");
        }
    }

    #[test]
    fn a_permit_that_opens_itself_is_found() {
        for (text, what) in [
            ("pub struct Permit { pub user: User }", "a public field"),
            ("#[derive(Debug, Clone)] pub struct Permit { user: User }", "a derived way"),
        ] {
            let problems = made(&[Source::new("runtime/policy/src/a.rs", text)], "runtime/policy/");
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].contains(what), "{problems:?}");
        }
        assert_eq!(made(&[], "runtime/policy/").len(), 1, "no permit at all");
    }
}
