//! The forms that a secret takes when a program writes it down: rows of characters, each of which
//! says which characters may stand in its place. They are worked out from the secret as they are
//! compared, so that there is no second copy of it.

/// One form.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// As it is, in either case: a secret in capitals is still too much of it.
    Plain,
    /// Two hexadecimal digits a byte.
    Hex,
    /// Base64 of a text in which so many bytes stand before the secret, modulo 3. The characters at
    /// both ends that hold some bits of the secret and some of its neighbours count as far as they
    /// are its own.
    Base64 {
        /// Bytes before it.
        before: usize,
    },
}

impl Form {
    pub(super) const ALL: [Self; 5] = [
        Self::Plain,
        Self::Hex,
        Self::Base64 { before: 0 },
        Self::Base64 { before: 1 },
        Self::Base64 { before: 2 },
    ];

    /// How many characters it has.
    pub(super) fn length(self, secret: &[u8]) -> usize {
        match self {
            Self::Plain => secret.len(),
            Self::Hex => secret.len() * 2,
            Self::Base64 { before } => {
                let bits = 8 * (before + secret.len());
                bits.div_ceil(6) - first_of(before)
            }
        }
    }

    /// Whether `byte` may stand in a place of it.
    pub(super) fn fits(self, secret: &[u8], place: usize, byte: u8) -> bool {
        match self {
            Self::Plain => {
                let own = secret[place];
                // A form writes a space as a plus.
                own.eq_ignore_ascii_case(&byte) || (own == b' ' && byte == b'+')
            }
            Self::Hex => {
                let own = secret[place / 2];
                let digit = if place.is_multiple_of(2) { own >> 4 } else { own & 0xf };
                char::from(byte).to_digit(16) == Some(u32::from(digit))
            }
            Self::Base64 { before } => {
                let Some(sextet) = sextet(byte) else { return false };
                // The two bytes that the six bits lie in, and which of their bits are its own.
                let first_bit = 6 * (first_of(before) + place);
                let own = |index: usize| {
                    let own = index.checked_sub(before).and_then(|index| secret.get(index));
                    own.map_or((0, 0), |own| (u16::from(*own), 0xff_u16))
                };
                let ((high, known_high), (low, known_low)) =
                    (own(first_bit / 8), own(first_bit / 8 + 1));
                let shift = 10 - first_bit % 8;
                let (bits, known) = (high << 8 | low, known_high << 8 | known_low);
                (bits >> shift ^ u16::from(sextet)) & (known >> shift) & 0x3f == 0
            }
        }
    }
}

/// The first character of a base64 text that has bits of the secret in it.
fn first_of(before: usize) -> usize {
    8 * before / 6
}

/// What a character of either base64 alphabet stands for.
fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}
