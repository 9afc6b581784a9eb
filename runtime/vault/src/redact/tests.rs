//! Every form, cut anywhere, against encoders that are not ours.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};
use proptest::prelude::*;

use super::*;

const TOKEN: &str = "ghp_c0rrect/Horse+battery=\"\\staple\"&<9>";

fn redactor(secrets: &[&str]) -> Redactor {
    let redactor = Redactor::default();
    for (index, secret) in secrets.iter().enumerate() {
        let name = ["TOKEN", "OTHER"][index].parse().unwrap();
        let value = Zeroizing::new(secret.as_bytes().to_vec());
        redactor.learn(Secret::new(name, value).unwrap_or_else(|_| panic!("a secret")));
    }
    redactor
}

/// In pieces of `size`.
fn streamed(redactor: &Redactor, bytes: &[u8], size: usize) -> Vec<u8> {
    let mut stream = redactor.stream();
    let mut shown: Vec<u8> = bytes.chunks(size).flat_map(|piece| stream.push(piece)).collect();
    shown.extend(stream.finish());
    shown
}

/// `text` has the secret in it somewhere between `before` and `after`, which are to stay.
fn check(secret: &str, before: &str, text: &str, after: &str) {
    let redactor = redactor(&[secret]);
    let whole = format!("{before}{text}{after}");
    let expected = format!("{before}[redacted:TOKEN]{after}");
    assert_eq!(redactor.text(&whole), expected, "{whole}");
    for size in [1, 2, 3, 7, 1000] {
        let shown = streamed(&redactor, whole.as_bytes(), size);
        assert_eq!(String::from_utf8_lossy(&shown), expected, "{size}: {whole}");
    }
}

#[test]
fn a_secret_is_found_however_it_is_escaped() {
    let each = |escape: fn(u8) -> String| TOKEN.bytes().map(escape).collect::<String>();
    let json = |text: &str| {
        let quoted = format!("{text:?}");
        quoted[1..quoted.len() - 1].to_owned()
    };
    for text in [
        TOKEN.to_owned(),
        TOKEN.to_ascii_uppercase(),
        json(TOKEN),
        json(&json(TOKEN)),
        json(&json(&json(TOKEN))),
        TOKEN.replace('/', "\\/").replace('"', "\\\""),
        TOKEN.replace('+', "%2B").replace('/', "%2F").replace('"', "%22"),
        TOKEN.replace('+', "%2b").replace('/', "%2f").replace('&', "%26"),
        TOKEN
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&quot;"),
        TOKEN.replace('&', "&#38;").replace('"', "&#x22;"),
        each(|byte| format!("%{byte:02X}")),
        each(|byte| format!("%25{byte:02x}")),
        each(|byte| format!("\\u{byte:04x}")),
        each(|byte| format!("\\x{byte:02X}")),
        each(|byte| format!("&#{byte};")),
        each(|byte| format!("&#x{byte:x};")),
        each(|byte| format!("={byte:02X}")),
        each(|byte| format!("{byte:02x}")),
        each(|byte| format!("{byte:02X}")),
        STANDARD_NO_PAD.encode(TOKEN),
        STANDARD_NO_PAD.encode(TOKEN).replace('+', "%2B").replace('/', "%2F"),
        URL_SAFE_NO_PAD.encode(TOKEN),
        TOKEN.split_at(20).0.to_owned() + "=\r\n" + TOKEN.split_at(20).1,
        TOKEN
            .bytes()
            .map(|byte| format!("{}\0", char::from(byte)))
            .collect::<String>()
            .trim_end_matches('\0')
            .to_owned(),
    ] {
        check(TOKEN, "said: <", &text, "> to all");
    }
    check("correct horse", "", "correct+horse", "");
    check("correct horse", "?q=", "correct%20horse", "&x=1");
    // One character after the other, each a different way.
    check("abcdefgh", "", "a%62\\u0063&#100;=65%2566\\x67H", "");
}

#[test]
fn base64_is_found_at_every_place_of_a_longer_text() {
    for engine in [&STANDARD, &URL_SAFE] {
        for (before, after) in [("", ""), ("u:", ""), ("user:", ""), ("user:x", "more"), ("a", "b")]
        {
            let encoded = engine.encode(format!("{before}{TOKEN}{after}"));
            let wrapped: Vec<String> = encoded
                .as_bytes()
                .chunks(10)
                .map(|line| String::from_utf8_lossy(line).into_owned())
                .collect();
            for text in [encoded.clone(), wrapped.join("\r\n"), wrapped.join("\\n")] {
                for size in [1, 5, 1000] {
                    let shown = streamed(&redactor(&[TOKEN]), text.as_bytes(), size);
                    let shown = String::from_utf8(shown).unwrap();
                    assert!(shown.contains("[redacted:TOKEN]"), "{before} {text}: {shown}");
                    // What is left is what stood around it.
                    let left = shown.replace("[redacted:TOKEN]", "").replace("\\n", "");
                    let around = before.len() + after.len();
                    assert!(left.trim_end_matches('=').len() <= around.div_ceil(3) * 4, "{shown}");
                }
            }
        }
    }
}

#[test]
fn what_is_no_secret_stays_as_it_is() {
    let redactor = redactor(&[TOKEN, "12345678"]);
    for text in [
        "",
        "%",
        "100% of &amp; \\ \\u00",
        "ghp_c0rrect",
        "the first half ghp_c0rrect/Horse+batt",
        "1234567",
        "schlüssel 漢 &#x10FFFF; &#; &#xyz; %zz =zz \\q",
        "1 2 3 4 5 6 7 8",
    ] {
        assert!(matches!(redactor.text(text), Cow::Borrowed(_)), "{text}");
        for size in [1, 2, 1000] {
            assert_eq!(streamed(&redactor, text.as_bytes(), size), text.as_bytes(), "{size}");
        }
    }
    assert!(Redactor::default().is_empty());
    assert_eq!(
        redactor.text("12345678 and 3132333435363738"),
        "[redacted:OTHER] and [redacted:OTHER]"
    );
}

#[test]
fn nothing_is_held_back_that_is_clear() {
    let mut stream = redactor(&["12345678"]).stream();
    assert_eq!(stream.push(b"x123"), b"x");
    assert_eq!(stream.push(b"4!"), b"1234!");
    assert_eq!(stream.push(b"12345678y"), b"[redacted:TOKEN]y");
    assert_eq!(stream.push(b"1234"), b"");
    assert_eq!(stream.finish(), b"1234");
    assert_eq!(stream.finish(), b"");
}

/// A body that is all beginnings must not cost the host more than time in proportion.
#[test]
fn a_text_of_beginnings_is_gone_through() {
    let redactor = redactor(&["aaaaaaaaaaaaaaab"]);
    let text = "a".repeat(1 << 16) + &"\\".repeat(1 << 16) + &"%".repeat(1 << 16);
    assert_eq!(redactor.text(&text), text);
    assert_eq!(streamed(&redactor, text.as_bytes(), 1 << 12), text.as_bytes());
}

fn encoders() -> impl Strategy<Value = fn(&[u8]) -> String> {
    let encoders: [fn(&[u8]) -> String; 5] = [
        |bytes| String::from_utf8_lossy(bytes).into_owned(),
        |bytes| STANDARD.encode(bytes),
        |bytes| URL_SAFE_NO_PAD.encode(bytes),
        |bytes| bytes.iter().map(|byte| format!("%{byte:02X}")).collect(),
        |bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    ];
    prop::sample::select(encoders.to_vec())
}

proptest! {
    #[test]
    fn whatever_the_secret_and_wherever_it_is_cut(
        secret in "[!-~]([ -~]{6,40})[!-~]",
        before in "[ -~]{0,9}", after in "[ -~]{0,9}",
        encode in encoders(), size in 1_usize..20,
    ) {
        let redactor = redactor(&[&secret]);
        let encoded = encode(format!("{before}{secret}{after}").as_bytes());
        let shown = streamed(&redactor, encoded.as_bytes(), size);
        prop_assert_eq!(&shown[..], &*redactor.bytes(encoded.as_bytes()), "cut or not");
        let shown = String::from_utf8(shown).unwrap();
        prop_assert!(shown.contains("[redacted:TOKEN]"), "{} {}", encoded, shown);
        prop_assert_eq!(redactor.text(&shown), &shown[..], "and nothing is left of it");
    }
}
