//! Rust as a list of words and signs, far enough for rules about names: comments are gone, a literal
//! is `""`, and what only tests see can be cut out.

/// A word or a sign; `::` and `->` are one sign each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

impl Token {
    pub(crate) fn is(&self, text: &str) -> bool {
        self.text == text
    }

    /// Whether this is a name that starts like a type's.
    pub(crate) fn is_type(&self) -> bool {
        self.text.starts_with(char::is_uppercase)
    }
}

/// Whether the list starts with these.
pub(crate) fn matches(tokens: &[Token], texts: &[&str]) -> bool {
    tokens.len() >= texts.len() && tokens.iter().zip(texts).all(|(token, text)| token.is(text))
}

/// Where the bracket that opens at `open` closes, or the end of the list.
pub(crate) fn close(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    tokens.len()
}

/// Reads a source file.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let mut reader = Reader { rest: source.chars().collect(), at: 0, line: 1 };
    let mut tokens = Vec::new();
    while let Some(first) = reader.peek(0) {
        let line = reader.line;
        let text = match (first, reader.peek(1)) {
            ('/', Some('/')) => {
                reader.skip_while(|next| next != '\n');
                continue;
            }
            ('/', Some('*')) => {
                reader.block_comment();
                continue;
            }
            ('"', _) => reader.string(),
            ('\'', _) => reader.quote(),
            (':', Some(':')) => reader.sign(2),
            ('-', Some('>')) => reader.sign(2),
            _ if first.is_alphanumeric() || first == '_' => reader.word(),
            _ if first.is_whitespace() => {
                reader.skip(1);
                continue;
            }
            _ => reader.sign(1),
        };
        tokens.push(Token { text, line });
    }
    tokens
}

struct Reader {
    rest: Vec<char>,
    at: usize,
    line: usize,
}

impl Reader {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.rest.get(self.at + ahead).copied()
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            if self.peek(0) == Some('\n') {
                self.line += 1;
            }
            self.at += 1;
        }
    }

    fn skip_while(&mut self, holds: impl Fn(char) -> bool) {
        while self.peek(0).is_some_and(&holds) {
            self.skip(1);
        }
    }

    fn sign(&mut self, length: usize) -> String {
        let text = self.rest[self.at..self.at + length].iter().collect();
        self.skip(length);
        text
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => {
                    depth += 1;
                    self.skip(2);
                }
                (Some('*'), Some('/')) => {
                    depth -= 1;
                    self.skip(2);
                    if depth == 0 {
                        return;
                    }
                }
                (Some(_), _) => self.skip(1),
                (None, _) => return,
            }
        }
    }

    fn word(&mut self) -> String {
        let start = self.at;
        self.skip_while(|next| next.is_alphanumeric() || next == '_');
        let word: String = self.rest[start..self.at].iter().collect();
        match (word.as_str(), self.peek(0)) {
            ("b" | "c", Some('"')) => self.string(),
            ("b", Some('\'')) => self.quote(),
            ("r" | "br" | "cr", Some('"' | '#')) => self.raw(),
            _ => word,
        }
    }

    fn string(&mut self) -> String {
        self.skip(1);
        while let Some(next) = self.peek(0) {
            self.skip(if next == '\\' { 2 } else { 1 });
            if next == '"' {
                break;
            }
        }
        "\"\"".to_owned()
    }

    /// A string, or a name like `r#type`, which is the name.
    fn raw(&mut self) -> String {
        let hashes = self.rest[self.at..].iter().take_while(|next| **next == '#').count();
        if self.peek(hashes) != Some('"') {
            self.skip(hashes);
            return self.word();
        }
        self.skip(hashes + 1);
        let ends = |reader: &Self| {
            reader.peek(0) == Some('"') && (1..=hashes).all(|ahead| reader.peek(ahead) == Some('#'))
        };
        while self.at < self.rest.len() && !ends(self) {
            self.skip(1);
        }
        self.skip(hashes + 1);
        "\"\"".to_owned()
    }

    /// A character or a lifetime.
    fn quote(&mut self) -> String {
        if self.peek(1) == Some('\\') {
            self.skip(3); // the quote, the backslash and what it escapes
            self.skip_while(|next| next != '\'');
            self.skip(1);
        } else if self.peek(2) == Some('\'') {
            self.skip(3);
        } else {
            self.skip(1);
            self.skip_while(|next| next.is_alphanumeric() || next == '_');
            return "'".to_owned();
        }
        "\"\"".to_owned()
    }
}

/// Cuts out what is compiled for tests only; returns what is left and the names of the modules in
/// files of their own (`#[cfg(test)] mod NAME;`) that are cut with it.
pub(crate) fn without_tests(tokens: &[Token]) -> (Vec<Token>, Vec<String>) {
    let (mut left, mut modules) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < tokens.len() {
        if matches(&tokens[at..], &["#", "!", "[", "cfg", "("]) && is_for_tests(tokens, at + 2) {
            return (Vec::new(), modules);
        }
        if matches(&tokens[at..], &["#", "[", "cfg", "("]) && is_for_tests(tokens, at + 1) {
            let end = item_end(tokens, at);
            let item = &tokens[at..end];
            if let Some(module) = item.windows(3).find(|w| w[0].is("mod") && w[2].is(";")) {
                modules.push(module[1].text.clone());
            }
            at = end;
        } else {
            left.push(tokens[at].clone());
            at += 1;
        }
    }
    (left, modules)
}

fn is_for_tests(tokens: &[Token], open: usize) -> bool {
    let inside = &tokens[open..close(tokens, open)];
    inside.iter().any(|token| token.is("test")) && !inside.iter().any(|token| token.is("not"))
}

/// Behind the item, with its attributes, that starts at `at`.
fn item_end(tokens: &[Token], mut at: usize) -> usize {
    while matches(&tokens[at..], &["#", "["]) {
        at = close(tokens, at + 1) + 1;
    }
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            ";" => return at + 1,
            "{" => return (close(tokens, at) + 1).min(tokens.len()),
            "(" | "[" => at = close(tokens, at) + 1,
            // The item was the last thing in a block: a field or a statement.
            "}" => return at,
            _ => at += 1,
        }
    }
    tokens.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> String {
        let words: Vec<_> = tokens(source).into_iter().map(|token| token.text).collect();
        words.join(" ")
    }

    #[test]
    fn comments_and_literals_hide_nothing_and_show_nothing() {
        for (source, expected) in [
            ("a // env\nb", "a b"),
            ("a /* /* x */ env */ b", "a b"),
            (r#"f("env \" env", b"env")"#, r#"f ( "" , "" )"#),
            (r##"r#"env " env"# x r"env" r#type"##, r#""" x "" type"#),
            (r"'a' '\'' '\u{1F600}' '\\' b'\n' x", r#""" "" "" "" "" x"#),
            ("&'a str -> std::env", "& ' str -> std :: env"),
        ] {
            assert_eq!(words(source), expected, "{source}");
        }
    }

    #[test]
    fn lines_are_counted_through_literals_and_comments() {
        let tokens = tokens("a\n/* \n */ \"\n\" b\n");
        let lines: Vec<_> = tokens.iter().map(|token| token.line).collect();
        assert_eq!(lines, [1, 3, 4]);
    }

    #[test]
    fn what_is_for_tests_is_cut_out() {
        for (source, expected, modules) in [
            ("a(); #[cfg(test)] mod tests { fn b() {} } c", "a ( ) ; c", &[][..]),
            ("#[cfg(test)] mod kit; a", "a", &["kit"]),
            ("#[cfg(all(test, unix))] #[path = \"x\"] fn f() -> [u8; 2] { } a", "a", &[]),
            ("#[cfg(not(test))] a", "# [ cfg ( not ( test ) ) ] a", &[]),
            ("#![cfg(test)] a", "", &[]),
            ("struct S { a: A, #[cfg(test)] b: B } c", "struct S { a : A , } c", &[]),
        ] {
            let (left, found) = without_tests(&tokens(source));
            let left: Vec<_> = left.into_iter().map(|token| token.text).collect();
            assert_eq!(left.join(" "), expected, "{source}");
            assert_eq!(found, modules, "{source}");
        }
    }
}
