//! Quantities as people write them, each with its unit: `200M` of fuel, `64MiB`, `5s`. Nothing is
//! guessed: a number without its unit is an error that shows how to write it.

use std::{fmt, str::FromStr};

use ringfence_event::{InvalidMoney, Money};
use serde::{Deserialize, Deserializer, de};

/// A quantity that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no {what}: {rule}")]
pub struct InvalidQuantity {
    given: String,
    what: &'static str,
    rule: &'static str,
}

macro_rules! quantity {
    ($(#[$doc:meta])* $type:ident, $what:literal, $rule:literal, $units:expr, $bare:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(pub u64);

        impl $type {
            const UNITS: &'static [(&'static str, u64)] = $units;
        }

        impl FromStr for $type {
            type Err = InvalidQuantity;
            fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
                read(text, Self::UNITS, $bare).map(Self).ok_or_else(|| InvalidQuantity {
                    given: text.chars().take(40).collect(),
                    what: $what,
                    rule: $rule,
                })
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let largest = Self::UNITS.iter().rev().find(|(_, size)| {
                    self.0 >= *size && self.0 % size == 0
                });
                match largest {
                    Some((unit, size)) => write!(f, "{}{unit}", self.0 / size),
                    None if $bare => write!(f, "{}", self.0),
                    None => write!(f, "{}{}", self.0, Self::UNITS[0].0),
                }
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl de::Visitor<'_> for Visitor {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!($what, " in quotes: ", $rule))
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_any(Visitor)
            }
        }
    };
}

quantity!(
    /// Units of fuel: `"200M"`.
    Fuel, "amount of fuel",
    "write a whole number, with k, M or G after it if you like, such as \"200M\"",
    &[("k", 1_000), ("M", 1_000_000), ("G", 1_000_000_000)], true
);
quantity!(
    /// Bytes: `"64MiB"`.
    Bytes, "number of bytes",
    "write a whole number and B, KiB, MiB or GiB, such as \"64MiB\"",
    &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)], false
);
quantity!(
    /// A duration in milliseconds: `"5s"`.
    Millis, "duration",
    "write a whole number and ms, s, min or h, such as \"5s\"",
    &[("ms", 1), ("s", 1_000), ("min", 60_000), ("h", 3_600_000)], false
);

/// An amount of US dollars, in quotes: `"0.50"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Usd(pub Money);

impl FromStr for Usd {
    type Err = InvalidMoney;
    fn from_str(text: &str) -> Result<Self, InvalidMoney> {
        text.parse().map(Self)
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Usd;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount of dollars in quotes, such as \"0.50\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Usd, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A count of things: a plain integer, or a text such as `"10k"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Count(pub u64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for Count {
    type Err = InvalidQuantity;
    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        read(text, &[("k", 1_000), ("M", 1_000_000)], true).map(Self).ok_or_else(|| {
            InvalidQuantity {
                given: text.chars().take(40).collect(),
                what: "count",
                rule: "write a whole number, with k or M after it if you like, such as 10k",
            }
        })
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Count;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number without quotes, such as 32, or one such as \"10k\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Count, E> {
                let count = read(text, &[("k", 1_000), ("M", 1_000_000)], false);
                count.map(Count).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
            fn visit_u64<E>(self, count: u64) -> Result<Count, E> {
                Ok(Count(count))
            }
            fn visit_i64<E: de::Error>(self, count: i64) -> Result<Count, E> {
                let wrong = || E::invalid_value(de::Unexpected::Signed(count), &self);
                u64::try_from(count).map(Count).map_err(|_| wrong())
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

fn read(text: &str, units: &[(&str, u64)], bare: bool) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let size = match units.iter().find(|(name, _)| *name == unit) {
        Some((_, size)) => *size,
        None if bare && unit.is_empty() => 1,
        None => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_units() {
        fn check<T: FromStr + fmt::Display>(cases: &[(&str, Option<&str>)]) {
            for (text, shown) in cases {
                let read = text.parse::<T>().ok().map(|quantity| quantity.to_string());
                assert_eq!(read.as_deref(), *shown, "{text}");
            }
        }
        check::<Fuel>(&[
            ("200M", Some("200M")),
            ("1000000", Some("1M")),
            ("7", Some("7")),
            ("0", Some("0")),
            ("2g", None),
            ("1.5G", None),
            ("-1", None),
            ("M", None),
            ("", None),
            ("99999999999G", None),
            ("1 M", None),
        ]);
        check::<Bytes>(&[
            ("64MiB", Some("64MiB")),
            ("1024KiB", Some("1MiB")),
            ("3B", Some("3B")),
            ("0B", Some("0B")),
            ("64", None),
            ("64MB", None),
            ("64mib", None),
        ]);
        check::<Millis>(&[
            ("5s", Some("5s")),
            ("90s", Some("90s")),
            ("60min", Some("1h")),
            ("250ms", Some("250ms")),
            ("5", None),
            ("5m", None),
        ]);
    }
}
