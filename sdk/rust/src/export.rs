//! From a table of functions to the contract's two exports.

use std::io::Write;

use crate::bindings::ringfence::tool::types::{Definition, Failure, Outcome};
use crate::error::Error;
use crate::function::Entry;

/// Makes the crate a tool that offers the functions named, in this order.
///
/// Each has the attribute [`tool`](macro@crate::tool); one in another module is named by its path.
///
/// ```
/// # use ringfence_sdk::prelude::*;
/// mod clock {
///     # use ringfence_sdk::prelude::*;
///     /// The answer, always.
///     #[tool(effect = "pure")]
///     pub(crate) fn answer() -> &'static str {
///         "42"
///     }
/// }
///
/// ringfence_sdk::export!(clock::answer);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export {
    ($($function:path),+ $(,)?) => {
        const _: () = {
            const FUNCTIONS: &[$crate::function::Entry] = &[$($crate::function::Entry::of::<$function>()),+];

            /// What the component exports.
            struct Exports;

            impl $crate::bindings::exports::ringfence::tool::tools::Guest for Exports {
                fn definitions() -> ::std::result::Result<
                    ::std::vec::Vec<$crate::bindings::ringfence::tool::types::Definition>,
                    ::std::string::String,
                > {
                    $crate::export::definitions(FUNCTIONS)
                }

                fn call(
                    name: ::std::string::String,
                    arguments: ::std::string::String,
                ) -> ::std::result::Result<
                    $crate::bindings::ringfence::tool::types::Outcome,
                    $crate::bindings::ringfence::tool::types::Failure,
                > {
                    $crate::export::call(FUNCTIONS, &name, &arguments)
                }
            }

            // Elsewhere the names of the exports would be symbols that a linker cannot read.
            #[cfg(target_family = "wasm")]
            $crate::bindings::export_tools!(Exports with_types_in $crate::bindings);
            #[cfg(not(target_family = "wasm"))]
            const _: Exports = Exports;
        };
    };
}

/// The definitions of a table, or why the host could not use it.
pub fn definitions(functions: &[Entry]) -> Result<Vec<Definition>, String> {
    for (index, function) in functions.iter().enumerate() {
        if functions[..index].iter().any(|earlier| earlier.name == function.name) {
            return Err(format!("two functions are named `{}`: rename one", function.name));
        }
    }
    functions.iter().map(Entry::definition).collect()
}

/// Makes one call.
pub fn call(functions: &[Entry], name: &str, arguments: &str) -> Result<Outcome, Failure> {
    let ended = match functions.iter().find(|function| function.name == name) {
        Some(function) => function.call(arguments),
        None => Err(Error::failed(format!("the tool has no function `{name}`"))),
    };
    // Nothing flushes when a component's export returns, and the instance is gone after it.
    let flushed = std::io::stdout().flush();
    match (ended, flushed) {
        (Ok(output), Ok(())) => Ok(Outcome::Done(output.into())),
        (Ok(_), Err(error)) => Error::from(error).context("standard output").into_outcome(),
        (Err(error), _) => error.into_outcome(),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::bindings::ringfence::tool::types::{Content, FailureKind};
    use crate::error::Result;
    use crate::function::{Effect, Function};

    #[derive(Deserialize, schemars::JsonSchema)]
    struct Twice {
        text: String,
        #[serde(default)]
        marks: Vec<Mark>,
    }

    #[derive(Deserialize, schemars::JsonSchema)]
    struct Mark {
        #[serde(rename = "a/b")]
        at: u8,
    }

    impl Function for Twice {
        const NAME: &'static str = "twice";
        const TITLE: Option<&'static str> = None;
        const DESCRIPTION: &'static str = "Says it twice.";
        const EFFECT: Effect = Effect::Pure;
        type Arguments = Self;
        type Output = Result<String>;

        fn call(arguments: Self) -> Result<String> {
            let marks: String = arguments.marks.iter().map(|mark| char::from(mark.at)).collect();
            Ok(arguments.text.repeat(2) + &marks)
        }
    }

    const FUNCTIONS: &[Entry] = &[Entry::of::<Twice>()];

    #[test]
    fn a_call_ends_with_an_output_or_says_what_to_mend() {
        let check =
            |name: &str,
             arguments: &str,
             expected: std::result::Result<&str, (FailureKind, &str, Option<&str>)>| {
                match (call(FUNCTIONS, name, arguments), expected) {
                    (Ok(Outcome::Done(output)), Ok(text)) => {
                        assert!(
                            matches!(&output.content[..], [Content::Text(found)] if found == text),
                            "{output:?}"
                        );
                    }
                    (Err(failure), Err((kind, message, path))) => {
                        assert_eq!(failure.kind, kind, "{failure:?}");
                        assert!(failure.message.contains(message), "{failure:?}");
                        assert_eq!(failure.path.as_deref(), path, "{failure:?}");
                    }
                    (found, expected) => panic!("{arguments}: {found:?}, expected {expected:?}"),
                }
            };
        let invalid = FailureKind::InvalidInput;
        check("twice", r#"{"text": "ab"}"#, Ok("abab"));
        check("twice", r#"{"text": "a", "marks": [{"a/b": 33}]}"#, Ok("aa!"));
        check("twice", "{}", Err((invalid, "missing field `text`", Some(""))));
        check("twice", r#"{"text": 1}"#, Err((invalid, "expected a string", Some("/text"))));
        check(
            "twice",
            r#"{"text": "", "marks": [{"a/b": 1}, {"a/b": 300}]}"#,
            Err((invalid, "expected u8", Some("/marks/1/a~1b"))),
        );
        check(
            "twice",
            r#"{"text": "", "txt": ""}"#,
            Err((invalid, "no such argument", Some("/txt"))),
        );
        check(
            "twice",
            r#"{"text": "", "marks": [{"a/b": 1, "c": 2}]}"#,
            Err((invalid, "no such argument", Some("/marks/0/c"))),
        );
        check("thrice", "{}", Err((FailureKind::Failed, "no function `thrice`", None)));
    }

    #[test]
    fn a_table_names_each_function_once() {
        let found = definitions(FUNCTIONS).expect("one function");
        assert_eq!(found[0].name, "twice");
        assert!(found[0].output_schema.is_none());
        let twice = [FUNCTIONS[0], FUNCTIONS[0]];
        assert_eq!(
            definitions(&twice).expect_err("a clash"),
            "two functions are named `twice`: rename one"
        );
    }
}
