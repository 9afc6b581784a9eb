//! What a function says about itself: its name, doc comment, argument and return type.

use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Attribute, Error, Expr, ExprLit, FnArg, ItemFn, Lit, Meta, Result, ReturnType, Type};

use crate::options::check_name;

/// The parts of a function that its definition is made from.
pub(crate) struct Signature {
    /// The function's own name without `r#`, checked against the contract's rule.
    pub(crate) name: std::result::Result<String, Error>,
    pub(crate) description: String,
    pub(crate) arguments: Option<Type>,
    pub(crate) output: Type,
}

impl Signature {
    pub(crate) fn read(function: &ItemFn) -> Result<Self> {
        let signature = &function.sig;
        if let Some(keyword) = &signature.asyncness {
            let message =
                "a function of a tool is not async: it may block, the host does the waiting";
            return Err(Error::new(keyword.span(), message));
        }
        if !signature.generics.params.is_empty() {
            let message = "a function of a tool is not generic: its schema is made from one type";
            return Err(Error::new(signature.generics.span(), message));
        }
        let ident = &signature.ident;
        let name = ident.unraw().to_string();
        let name = check_name(&name).map(|()| name).map_err(|why| Error::new(ident.span(), why));
        let description = doc_comment(&function.attrs)?;
        if description.is_empty() {
            let message =
                format!("`{ident}` needs a doc comment: it is the description that a model reads");
            return Err(Error::new(ident.span(), message));
        }
        let output = match &signature.output {
            ReturnType::Default => syn::parse_quote!(()),
            ReturnType::Type(_, output) => output.as_ref().clone(),
        };
        Ok(Self { name, description, arguments: arguments(function)?, output })
    }
}

fn arguments(function: &ItemFn) -> Result<Option<Type>> {
    let mut inputs = function.sig.inputs.iter();
    let Some(first) = inputs.next() else {
        return Ok(None);
    };
    if let Some(second) = inputs.next() {
        let message = "a function of a tool takes one struct: make this a field of it";
        return Err(Error::new(second.span(), message));
    }
    match first {
        FnArg::Typed(argument) => Ok(Some(argument.ty.as_ref().clone())),
        FnArg::Receiver(receiver) => {
            let message = "a function of a tool stands alone: every call gets a fresh instance, so there is no `self`";
            Err(Error::new(receiver.span(), message))
        }
    }
}

/// The doc comment's lines without the space that follows `///`.
fn doc_comment(attributes: &[Attribute]) -> Result<String> {
    let mut text = String::new();
    for attribute in attributes {
        let Meta::NameValue(doc) = &attribute.meta else {
            continue;
        };
        if !doc.path.is_ident("doc") {
            continue;
        }
        let Expr::Lit(ExprLit { lit: Lit::Str(line), .. }) = &doc.value else {
            let message = "a description is read when the tool is compiled: write the text out";
            return Err(Error::new(doc.value.span(), message));
        };
        let line = line.value();
        text.push_str(line.strip_prefix(' ').unwrap_or(&line).trim_end());
        text.push('\n');
    }
    Ok(text.trim().to_owned())
}
