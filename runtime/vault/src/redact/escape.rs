//! How a character is written where it may not stand as itself.

/// What an escape at the head of some bytes comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escape {
    /// This character, written in so many bytes.
    Of(u8, usize),
    /// None.
    Not,
    /// There is not enough of it to say.
    Unclear,
}

/// Names that HTML has for characters of ASCII which programs escape.
const ENTITIES: [(&[u8], u8); 5] =
    [(b"amp;", b'&'), (b"lt;", b'<'), (b"gt;", b'>'), (b"quot;", b'"'), (b"apos;", b'\'')];

/// The most digits of a numeric HTML entity, leading zeros included.
const ENTITY_DIGITS: usize = 7;

/// Reads an escape: `%41`, `%2541`, `=41`, `\u0041`, `\x41`, `\"`, `&#65;`, `&#x41;`, `&amp;`.
pub(super) fn read(bytes: &[u8]) -> Escape {
    let Some((first, rest)) = bytes.split_first() else { return Escape::Unclear };
    match first {
        b'%' => match number(rest, 2, 16) {
            // Escaped twice.
            Escape::Of(b'%', 2) => match number(&rest[2..], 2, 16) {
                Escape::Of(byte, _) => Escape::Of(byte, 5),
                Escape::Not => Escape::Of(b'%', 3),
                Escape::Unclear => Escape::Unclear,
            },
            other => after(1, other),
        },
        b'=' => after(1, number(rest, 2, 16)),
        b'\\' => match rest.split_first() {
            None => Escape::Unclear,
            Some((b'u', digits)) => after(2, number(digits, 4, 16)),
            Some((b'x', digits)) => after(2, number(digits, 2, 16)),
            Some((other, _)) if other.is_ascii_punctuation() => Escape::Of(*other, 2),
            Some(_) => Escape::Not,
        },
        b'&' => after(1, entity(rest)),
        _ => Escape::Not,
    }
}

fn after(bytes: usize, escape: Escape) -> Escape {
    match escape {
        Escape::Of(byte, length) => Escape::Of(byte, length + bytes),
        other => other,
    }
}

/// A number of so many digits that is a character of ASCII.
fn number(bytes: &[u8], digits: usize, radix: u32) -> Escape {
    let mut value = 0;
    for index in 0..digits {
        let Some(byte) = bytes.get(index) else { return Escape::Unclear };
        let Some(digit) = char::from(*byte).to_digit(radix) else { return Escape::Not };
        value = value * radix + digit;
    }
    match u8::try_from(value) {
        Ok(byte) if byte.is_ascii() => Escape::Of(byte, digits),
        _ => Escape::Not,
    }
}

fn entity(bytes: &[u8]) -> Escape {
    let (radix, start) = match bytes {
        [] | [b'#'] => return Escape::Unclear,
        [b'#', b'x' | b'X', ..] => (16, 2),
        [b'#', ..] => (10, 1),
        _ => {
            let begun = |name: &[u8]| bytes.len() < name.len() && name.starts_with(bytes);
            return match ENTITIES.iter().find(|(name, _)| bytes.starts_with(name)) {
                Some((name, byte)) => Escape::Of(*byte, name.len()),
                None if ENTITIES.iter().any(|(name, _)| begun(name)) => Escape::Unclear,
                None => Escape::Not,
            };
        }
    };
    let digits = &bytes[start..];
    let end = digits.iter().position(|byte| !byte.is_ascii_hexdigit());
    match end {
        None if digits.len() <= ENTITY_DIGITS => Escape::Unclear,
        Some(end @ 1..=ENTITY_DIGITS) if digits[end] == b';' => {
            after(start + 1, number(digits, end, radix))
        }
        _ => Escape::Not,
    }
}
