//! The function as it was, and beside it a type of the same name that says what it is. Types and
//! functions have namespaces of their own, so `export!(greet)` finds the one and `greet(…)` the
//! other.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{ItemFn, Result};

use crate::options::{Effect, Options};
use crate::signature::Signature;

/// The function with its definition, or the function with the error that its author should read:
/// keeping it spares them a second error for every place that calls it.
pub(crate) fn expand(options: TokenStream, item: TokenStream) -> TokenStream {
    let definition =
        definition(options, item.clone()).unwrap_or_else(|error| error.to_compile_error());
    quote! {
        #item
        #definition
    }
}

fn definition(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let options = Options::parse(options)?;
    let function: ItemFn = syn::parse2(item)?;
    let signature = Signature::read(&function)?;

    let name = match options.name {
        Some(name) => name.value(),
        None => signature.name?,
    };
    let title = match options.title {
        Some(title) => quote!(::core::option::Option::Some(#title)),
        None => quote!(::core::option::Option::None),
    };
    let effect = format_ident!("{}", options.effect.unwrap_or(Effect::Unsafe).variant());
    let ItemFn { vis, sig, .. } = &function;
    let ident = &sig.ident;
    let (arguments, call) = match signature.arguments {
        Some(arguments) => (quote!(#arguments), quote!(#ident(arguments))),
        None => (
            quote!(::ringfence_sdk::function::NoArguments),
            quote!({
                let ::ringfence_sdk::function::NoArguments {} = arguments;
                #ident()
            }),
        ),
    };
    let Signature { description, output, .. } = signature;

    Ok(quote! {
        #[doc(hidden)]
        #[allow(non_camel_case_types, reason = "named like the function it describes")]
        #vis struct #ident {}

        impl ::ringfence_sdk::function::Function for #ident {
            const NAME: &'static str = #name;
            const TITLE: ::core::option::Option<&'static str> = #title;
            const DESCRIPTION: &'static str = #description;
            const EFFECT: ::ringfence_sdk::function::Effect = ::ringfence_sdk::function::Effect::#effect;
            type Arguments = #arguments;
            type Output = #output;

            fn call(arguments: Self::Arguments) -> Self::Output {
                #call
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expands `function` under `#[tool(options)]`; the constants of the definition, or the error.
    fn check(options: &str, function: &str, expected: &str) {
        let tokens = |text: &str| text.parse::<TokenStream>().expect("the case is Rust");
        let found = match definition(tokens(options), tokens(function)) {
            Err(error) => error.to_string(),
            Ok(definition) => {
                let file: syn::File = syn::parse2(definition).expect("the expansion is Rust");
                let syn::Item::Impl(block) = &file.items[1] else {
                    panic!("the second item is the impl");
                };
                let values = block.items.iter().filter_map(|item| match item {
                    syn::ImplItem::Const(constant) => Some(&constant.expr),
                    _ => None,
                });
                values.map(|value| quote!(#value).to_string()).collect::<Vec<_>>().join(" | ")
            }
        };
        assert!(
            found.contains(expected),
            "{options}: {function}\n  found: {found}\n  expected: {expected}"
        );
    }

    #[test]
    fn a_definition_comes_from_the_code() {
        let none = ":: core :: option :: Option :: None";
        let effect = ":: ringfence_sdk :: function :: Effect ::";
        let documented =
            "/// Greets.\n///\n///   By name. \nfn greet(args: Greet) -> Result<String> {}";
        check(
            "",
            documented,
            &format!(r#""greet" | {none} | "Greets.\n\n  By name." | {effect} Unsafe"#),
        );
        check(r#"effect = "pure""#, documented, "Effect :: Pure");
        check(r#"effect = "read","#, documented, "Effect :: Read");
        check(
            r#"effect = "idempotent", title = "Greet""#,
            documented,
            r#"Option :: Some ("Greet")"#,
        );
        check(r#"name = "say-hello""#, documented, r#""say-hello" |"#);
        check("", "/// Moves.\nfn r#move() {}", r#""move" |"#);
        check(r#"name = "greet""#, "/// A name that would not do.\nfn Greet() {}", r#""greet" |"#);
    }

    #[test]
    fn an_error_says_what_to_write_instead() {
        let documented = "/// Greets.\nfn greet() {}";
        check(
            "",
            "fn greet() {}",
            "`greet` needs a doc comment: it is the description that a model reads",
        );
        check("", "///\nfn greet() {}", "`greet` needs a doc comment");
        check("", "#[doc = include_str!(\"a.md\")] fn greet() {}", "write the text out");
        check(r#"effect = "none""#, documented, "unknown effect `none`: one of `pure`");
        check(
            r#"efect = "pure""#,
            documented,
            "unknown option `efect`: one of `effect`, `name`, `title`",
        );
        check(r#"effect = "pure", effect = "read""#, documented, "`effect` is given twice");
        check("effect = pure", documented, "expected string literal");
        check(r#"name = "Greet""#, documented, "`Greet` cannot name a function of a tool");
        check(r#"name = """#, documented, "`` cannot name");
        check(
            "",
            "/// Greets.\nfn Greet() {}",
            "beginning with a letter; give another with `name = ",
        );
        check("", "/// Greets.\nasync fn greet() {}", "is not async");
        check("", "/// Greets.\nfn greet<T>(args: T) {}", "is not generic");
        check("", "/// Greets.\nfn greet(a: A, b: B) {}", "takes one struct");
        check("", "/// Greets.\nfn greet(&self) {}", "stands alone");
        check("", "/// Greets.\nstruct Greet;", "expected `fn`");
    }

    #[test]
    fn an_error_keeps_the_function() {
        let kept = expand(
            TokenStream::new(),
            quote!(
                fn greet() {}
            ),
        )
        .to_string();
        assert!(kept.starts_with("fn greet () { }"), "{kept}");
        assert!(kept.contains("compile_error"), "{kept}");
    }
}
