//! What a call returns, and what can be turned into it.

use serde::Serialize;
use serde_json::Value;

use crate::bindings::ringfence::tool::types;
use crate::error::{Error, Result};
use crate::schema;

/// One part of what a call returns or emits.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Plain text or Markdown, for a model and a person.
    Text(String),
    /// A picture.
    Image(Media),
    /// Sound.
    Audio(Media),
    /// Any other file.
    File(Media),
    /// A pointer to something that was not inlined.
    Link(Link),
}

/// Bytes with their type.
#[derive(Clone, Debug, PartialEq)]
pub struct Media {
    /// An IANA media type, such as `image/png`.
    pub mime: String,
    /// The bytes themselves, not encoded.
    pub data: Vec<u8>,
}

/// A pointer: an absolute URI, or a path in one of the call's roots.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Link {
    /// Where it points.
    pub uri: String,
    /// What to show instead of the URI.
    pub name: Option<String>,
    /// An IANA media type, where it is known.
    pub mime: Option<String>,
}

/// What a call returns when it did its work, put together by hand.
///
/// ```
/// use ringfence_sdk::{Link, Output};
///
/// let output = Output::new()
///     .text("Rendered 3 pages.")
///     .link(Link { uri: "/workspace/report.pdf".into(), ..Link::default() });
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    content: Vec<Content>,
    structured: Option<Value>,
}

impl Output {
    /// An output with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds text or Markdown.
    #[must_use]
    pub fn text(self, text: impl Into<String>) -> Self {
        self.content(Content::Text(text.into()))
    }

    /// Adds a picture.
    #[must_use]
    pub fn image(self, mime: impl Into<String>, data: impl Into<Vec<u8>>) -> Self {
        self.content(Content::Image(Media { mime: mime.into(), data: data.into() }))
    }

    /// Adds sound.
    #[must_use]
    pub fn audio(self, mime: impl Into<String>, data: impl Into<Vec<u8>>) -> Self {
        self.content(Content::Audio(Media { mime: mime.into(), data: data.into() }))
    }

    /// Adds a file of any other type.
    #[must_use]
    pub fn file(self, mime: impl Into<String>, data: impl Into<Vec<u8>>) -> Self {
        self.content(Content::File(Media { mime: mime.into(), data: data.into() }))
    }

    /// Adds a pointer.
    #[must_use]
    pub fn link(self, link: Link) -> Self {
        self.content(Content::Link(link))
    }

    /// Adds one part.
    #[must_use]
    pub fn content(mut self, content: Content) -> Self {
        self.content.push(content);
        self
    }

    /// Sets the structured part. A function that promises its shape returns [`Json`] instead.
    #[must_use]
    pub fn structured(mut self, value: Value) -> Self {
        self.structured = Some(value);
        self
    }
}

/// A structured value whose schema becomes the function's output schema.
///
/// `Json(value)` is also shown as text, as JSON. To show something easier to read instead, return
/// a pair: `(text, Json(value))`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Json<T>(pub T);

/// What a function of a tool can return.
pub trait IntoOutput {
    /// The JSON Schema of the structured part, where one is promised. Asked once, when the tool is
    /// added.
    fn output_schema() -> Option<Value> {
        None
    }

    /// Ends the call.
    fn into_output(self) -> Result<Output>;
}

impl IntoOutput for Output {
    fn into_output(self) -> Result<Output> {
        Ok(self)
    }
}

impl IntoOutput for () {
    fn into_output(self) -> Result<Output> {
        Ok(Output::new())
    }
}

impl IntoOutput for String {
    fn into_output(self) -> Result<Output> {
        Ok(Output::new().text(self))
    }
}

impl IntoOutput for &str {
    fn into_output(self) -> Result<Output> {
        Ok(Output::new().text(self))
    }
}

impl<T: Serialize + schemars::JsonSchema> IntoOutput for Json<T> {
    fn output_schema() -> Option<Value> {
        Some(schema::of_output::<T>())
    }

    fn into_output(self) -> Result<Output> {
        let value = to_value(&self.0)?;
        Ok(Output::new().text(value.to_string()).structured(value))
    }
}

impl<S: Into<String>, T: Serialize + schemars::JsonSchema> IntoOutput for (S, Json<T>) {
    fn output_schema() -> Option<Value> {
        Some(schema::of_output::<T>())
    }

    fn into_output(self) -> Result<Output> {
        let (text, Json(value)) = self;
        Ok(Output::new().text(text).structured(to_value(&value)?))
    }
}

impl<T: IntoOutput, E: Into<Error>> IntoOutput for Result<T, E> {
    fn output_schema() -> Option<Value> {
        T::output_schema()
    }

    fn into_output(self) -> Result<Output> {
        self.map_err(Into::into)?.into_output()
    }
}

fn to_value(value: &impl Serialize) -> Result<Value> {
    serde_json::to_value(value)
        .map_err(|error| Error::failed(format!("the result cannot be written as JSON: {error}")))
}

impl From<Output> for types::Output {
    fn from(output: Output) -> Self {
        Self {
            content: output.content.into_iter().map(Into::into).collect(),
            structured: output.structured.map(|value| value.to_string()),
        }
    }
}

impl From<Content> for types::Content {
    fn from(content: Content) -> Self {
        let media = |Media { mime, data }| types::Media { mime, data };
        match content {
            Content::Text(text) => Self::Text(text),
            Content::Image(image) => Self::Image(media(image)),
            Content::Audio(audio) => Self::Audio(media(audio)),
            Content::File(file) => Self::File(media(file)),
            Content::Link(Link { uri, name, mime }) => Self::Link(types::Link { uri, name, mime }),
        }
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, schemars::JsonSchema)]
    struct Count {
        lines: u32,
    }

    #[test]
    fn anything_becomes_an_output() {
        fn check<T: IntoOutput>(returned: T, text: Option<&str>, structured: Option<&str>) {
            let output = types::Output::from(returned.into_output().expect("an output"));
            let shown = output.content.iter().map(|part| match part {
                types::Content::Text(text) => text.as_str(),
                other => panic!("{other:?} is not text"),
            });
            assert_eq!(shown.collect::<Vec<_>>(), text.into_iter().collect::<Vec<_>>());
            assert_eq!(output.structured.as_deref(), structured);
            assert_eq!(T::output_schema().is_some(), structured.is_some());
        }
        check((), None, None);
        check("a", Some("a"), None);
        check(String::from("a"), Some("a"), None);
        check(Ok::<_, Error>("a"), Some("a"), None);
        check(Json(Count { lines: 3 }), Some(r#"{"lines":3}"#), Some(r#"{"lines":3}"#));
        check(("3 lines", Json(Count { lines: 3 })), Some("3 lines"), Some(r#"{"lines":3}"#));
    }
}
