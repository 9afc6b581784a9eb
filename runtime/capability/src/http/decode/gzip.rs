//! The head of a gzip member (RFC 1952): read to its end and forgotten, however long its names are.

use super::inflate::Damaged;

const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const SUM: u8 = 1 << 1;
/// Flags that mean nothing yet; one that is set means what this does not know.
const RESERVED: u8 = 0b1110_0000;

/// Where the next byte belongs. The head's own checksum is not looked at: what the member holds has a
/// better one.
pub(super) struct Head {
    field: Field,
    /// The fields that are still to come.
    flags: u8,
}

enum Field {
    /// The ten bytes that each head has, and how many of them came.
    Fixed(u8),
    ExtraLow,
    ExtraHigh(u8),
    Skip(u16),
    /// Up to a zero.
    Text,
}

impl Default for Head {
    fn default() -> Self {
        Self { field: Field::Fixed(0), flags: 0 }
    }
}

impl Head {
    /// Takes the next byte; whether it was the last one.
    pub(super) fn next(&mut self, byte: u8) -> Result<bool, Damaged> {
        match self.field {
            Field::Fixed(came) => {
                match (came, byte) {
                    (0, 0x1f) | (1, 0x8b) | (2, 8) | (4.., _) => {}
                    (3, flags) if flags & RESERVED == 0 => self.flags = flags,
                    _ => return Err(Damaged),
                }
                if came < 9 {
                    self.field = Field::Fixed(came + 1);
                    return Ok(false);
                }
            }
            Field::ExtraLow => {
                self.field = Field::ExtraHigh(byte);
                return Ok(false);
            }
            Field::ExtraHigh(low) => match u16::from_le_bytes([low, byte]) {
                0 => {}
                length => {
                    self.field = Field::Skip(length);
                    return Ok(false);
                }
            },
            Field::Skip(left @ 2..) => {
                self.field = Field::Skip(left - 1);
                return Ok(false);
            }
            Field::Text if byte != 0 => return Ok(false),
            Field::Skip(_) | Field::Text => {}
        }
        Ok(self.go_on())
    }

    /// Goes on to the next field; whether there is none.
    fn go_on(&mut self) -> bool {
        for (flag, field) in [
            (EXTRA, Field::ExtraLow),
            (NAME, Field::Text),
            (COMMENT, Field::Text),
            (SUM, Field::Skip(2)),
        ] {
            if self.flags & flag != 0 {
                self.flags &= !flag;
                self.field = field;
                return false;
            }
        }
        true
    }
}
