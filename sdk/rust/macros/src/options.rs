//! What stands in the attribute's brackets.

use proc_macro2::{Ident, TokenStream};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, LitStr, Result, Token};

/// The options of one `#[tool(…)]`.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) effect: Option<Effect>,
    pub(crate) name: Option<LitStr>,
    pub(crate) title: Option<LitStr>,
}

/// What calling the function twice would do; the variants are those of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Pure,
    Read,
    Idempotent,
    Unsafe,
}

/// The longest name that the contract allows; a model sees it behind the tool's own.
const NAME_CHARS_MAX: usize = 40;

impl Options {
    pub(crate) fn parse(tokens: TokenStream) -> Result<Self> {
        let mut options = Self::default();
        for Pair { key, value } in
            syn::parse::Parser::parse2(Punctuated::<Pair, Token![,]>::parse_terminated, tokens)?
        {
            match key.to_string().as_str() {
                "effect" => set(&mut options.effect, &key, Effect::parse(&value)?)?,
                "name" => {
                    check_name(&value.value()).map_err(|why| Error::new(value.span(), why))?;
                    set(&mut options.name, &key, value)?;
                }
                "title" => set(&mut options.title, &key, value)?,
                other => {
                    let message =
                        format!("unknown option `{other}`: one of `effect`, `name`, `title`");
                    return Err(Error::new(key.span(), message));
                }
            }
        }
        Ok(options)
    }
}

impl Effect {
    fn parse(value: &LitStr) -> Result<Self> {
        match value.value().as_str() {
            "pure" => Ok(Self::Pure),
            "read" => Ok(Self::Read),
            "idempotent" => Ok(Self::Idempotent),
            "unsafe" => Ok(Self::Unsafe),
            other => {
                let message = format!(
                    "unknown effect `{other}`: one of `pure` (depends on its arguments alone), \
                     `read` (looks, changes nothing), `idempotent` (twice is as once), `unsafe`"
                );
                Err(Error::new(value.span(), message))
            }
        }
    }

    /// The variant's name in the SDK's own enum.
    pub(crate) fn variant(self) -> &'static str {
        match self {
            Self::Pure => "Pure",
            Self::Read => "Read",
            Self::Idempotent => "Idempotent",
            Self::Unsafe => "Unsafe",
        }
    }
}

/// The contract's rule for a function's name.
pub(crate) fn check_name(name: &str) -> std::result::Result<(), String> {
    let starts_well = name.starts_with(|first: char| first.is_ascii_lowercase());
    let all_well = name.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_' | '-'));
    if starts_well && all_well && name.len() <= NAME_CHARS_MAX {
        return Ok(());
    }
    Err(format!(
        "`{name}` cannot name a function of a tool: 1 to {NAME_CHARS_MAX} of `a-z`, `0-9`, `_` and `-`, \
         beginning with a letter; give another with `name = \"…\"`"
    ))
}

/// `key = "value"`.
struct Pair {
    key: Ident,
    value: LitStr,
}

impl Parse for Pair {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let key = input.parse()?;
        input.parse::<Token![=]>()?;
        let value = input.parse()?;
        Ok(Self { key, value })
    }
}

fn set<T>(slot: &mut Option<T>, key: &Ident, value: T) -> Result<()> {
    if slot.replace(value).is_some() {
        return Err(Error::new(key.span(), format!("`{key}` is given twice")));
    }
    Ok(())
}
