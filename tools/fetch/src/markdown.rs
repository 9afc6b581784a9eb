//! From HTML to Markdown: what a reader of the page would read.

use std::sync::{Arc, Mutex, PoisonError};

use htmd::{Element, HtmlToMarkdown, element_handler::Handlers};
use url::Url;

/// What is on a page and not to be read: code, forms, and the way to other pages.
const UNREAD: &[&str] = &[
    "script", "style", "noscript", "template", "svg", "canvas", "iframe", "object", "form",
    "button", "input", "select", "nav", "footer", "dialog",
];

/// A page's title and text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Markdown {
    pub(crate) title: Option<String>,
    pub(crate) text: String,
}

/// Converts a page that came from `base`, which its links are relative to.
pub(crate) fn convert(html: &str, base: &Url) -> std::io::Result<Markdown> {
    let title = Arc::new(Mutex::new(None));
    let found = Arc::clone(&title);
    let base = base.clone();
    let converter = HtmlToMarkdown::builder()
        .skip_tags(UNREAD.to_vec())
        .add_handler(vec!["title"], move |handlers: &dyn Handlers, element: Element<'_>| {
            let title = in_one_line(&handlers.walk_children(element.node).content);
            found.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(title);
            None
        })
        .add_handler(vec!["a", "img"], move |handlers: &dyn Handlers, element: Element<'_>| {
            let mut attributes = element.attrs.to_vec();
            for attribute in &mut attributes {
                if matches!(&*attribute.name.local, "href" | "src")
                    && let Ok(absolute) = base.join(&attribute.value)
                {
                    attribute.value = absolute.as_str().into();
                }
            }
            // The element as it is lives longer than these attributes do.
            let mut absolute = element;
            absolute.attrs = &attributes;
            handlers.fallback(absolute)
        })
        .build();
    let text = converter.convert(html)?.trim().to_owned();
    let title = title.lock().unwrap_or_else(PoisonError::into_inner).take();
    Ok(Markdown { title: title.filter(|title| !title.is_empty()), text })
}

fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_becomes_what_a_reader_reads() {
        let base = Url::parse("https://a.example/b/c").expect("a URL");
        let check = |html: &str, title: Option<&str>, text: &str| {
            let found = convert(html, &base).expect("HTML");
            assert_eq!(
                found,
                Markdown { title: title.map(str::to_owned), text: text.to_owned() },
                "{html}"
            );
        };
        check(
            "<title>A\n  page</title><h1>Hi</h1><p>One <b>two</b>.",
            Some("A page"),
            "# Hi\n\nOne **two**.",
        );
        check(
            "<p>One</p><script>two()</script><style>p {}</style><nav><a href=/>x</a></nav>",
            None,
            "One",
        );
        check(
            "<a href='d'>D</a> <a href='/e'>E</a>",
            None,
            "[D](https://a.example/b/d) [E](https://a.example/e)",
        );
        check("<img src=//b.example/f.png alt=F>", None, "![F](https://b.example/f.png)");
        check("<ul><li>a<li>b</ul>", None, "*   a\n*   b");
        check("<pre><code>let a = 1;\n</code></pre>", None, "```\nlet a = 1;\n```");
        check("<title></title>plain", None, "plain");
    }
}
