//! Text from tools and models, made safe to show: what a terminal would obey or a reader would not
//! see is written out instead.

use std::borrow::Cow;

/// Whether a character is shown as nothing, moves the cursor or turns the text around: C0 and C1
/// controls but for newline and tab, bidirectional overrides, zero-width characters, line and
/// paragraph separators, the byte order mark, variation of meaning by U+E0000 tags.
#[must_use]
pub fn is_hidden(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        '\u{ad}'
        | '\u{61c}'
        | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}' => true,
        other => other.is_control(),
    }
}

/// `text` with each hidden character written as `\u{…}`. Borrowed where there is none.
///
/// ```
/// assert_eq!(ringfence_event::neutralise("a\u{1b}[31mb"), r"a\u{1b}[31mb");
/// ```
#[must_use]
pub fn neutralise(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_hidden(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

/// As [`neutralise`], on one line: newlines and tabs are written out too.
#[must_use]
pub fn neutralise_line(text: &str) -> Cow<'_, str> {
    if !text.contains(['\n', '\t']) {
        return neutralise(text);
    }
    Cow::Owned(neutralise(text).replace('\n', "\\n").replace('\t', "\\t"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_written_out() {
        for (text, shown) in [
            ("plain ä 漢\n\tx", "plain ä 漢\n\tx"),
            ("\r\n", "\\u{d}\n"),
            ("a\u{202e}b", "a\\u{202e}b"),
            ("\u{200b}", "\\u{200b}"),
            ("\u{e0041}", "\\u{e0041}"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\0", "\\u{0}"),
        ] {
            assert_eq!(neutralise(text), shown);
        }
        assert_eq!(neutralise_line("a\nb\tc"), "a\\nb\\tc");
    }
}
