//! A web server on loopback, for tools that fetch.

use ringfence_tests::web::{Web, say};

/// Serves one page to everybody until the test is over.
pub(crate) fn serve(page: &'static str) -> Web {
    let html = "content-type: text/html; charset=utf-8\r\n";
    Web::new(move |_, stream| say(stream, "200 OK", html, page.as_bytes()))
}
