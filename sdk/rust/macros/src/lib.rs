//! The attribute behind `ringfence-sdk`: it reads a function's name, doc comment and types, and
//! writes down beside it what the host asks a tool for. It knows syntax only; what a schema or an
//! outcome looks like is the SDK's.

#![forbid(unsafe_code)]

use proc_macro::TokenStream;

mod expansion;
mod options;
mod signature;

/// Makes an ordinary function a function of a tool.
///
/// The doc comment is the description that a model reads; the one parameter, if there is one, is
/// the arguments: a struct with `Deserialize` and `JsonSchema`; the return type is anything with
/// `IntoOutput`. The function stays what it was and can be called and tested as before.
///
/// ```ignore
/// /// Greets somebody by name.
/// #[tool(effect = "pure")]
/// fn greet(args: Greet) -> Result<String> {
///     Ok(format!("Hello, {}!", args.name))
/// }
/// ```
///
/// Options, all of them optional:
/// - `effect = "pure" | "read" | "idempotent" | "unsafe"`: what calling it twice would do; without
///   it, `unsafe`;
/// - `name = "…"`: the name a model sees, where it differs from the function's;
/// - `title = "…"`: a short name for people.
#[proc_macro_attribute]
pub fn tool(options: TokenStream, item: TokenStream) -> TokenStream {
    expansion::expand(options.into(), item.into()).into()
}
