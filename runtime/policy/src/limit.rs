//! `[limits]` tables: what a manifest asks and what an operator allows at most.

use ringfence_event::CallLimits;
use serde::Deserialize;

use crate::{Bytes, Count, Fuel, Millis};

macro_rules! limit_table {
    ($($(#[$doc:meta])* $field:ident: $unit:ident,)*) => {
        /// A `[limits]` table: any of the fields of [`CallLimits`], each in its unit.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
        pub struct LimitTable {
            $($(#[$doc])* pub $field: Option<$unit>,)*
        }

        impl LimitTable {
            /// The table's own fields over those of `base`.
            #[must_use]
            pub fn over(&self, base: &CallLimits) -> CallLimits {
                CallLimits { $($field: self.$field.map_or(base.$field, |limit| limit.0),)* }
            }

            /// The table's own fields over those of another table.
            #[must_use]
            pub fn over_table(&self, base: &Self) -> Self {
                Self { $($field: self.$field.or(base.$field),)* }
            }

            /// Each field that is given, with its value as it is written in TOML.
            #[must_use]
            pub fn given(&self) -> Vec<(&'static str, String)> {
                let mut given = Vec::new();
                $(if let Some(limit) = self.$field {
                    given.push((stringify!($field), limit_table!(@text $unit limit)));
                })*
                given
            }
        }
    };
    (@text Count $limit:ident) => { $limit.to_string() };
    (@text $unit:ident $limit:ident) => { format!("\"{}\"", $limit) };
}

limit_table! {
    /// Units of fuel, guest and host work together.
    fuel: Fuel,
    /// Linear memory and tables.
    memory: Bytes,
    /// Wall-clock time.
    time: Millis,
    /// Output, emitted content included.
    output: Bytes,
    /// Log records, standard output and standard error.
    logs: Bytes,
    /// Bytes sent to the network.
    egress: Bytes,
    /// Handles held at one time.
    handles: Count,
    /// HTTP requests.
    requests: Count,
    /// Bytes written to memory buckets.
    storage: Bytes,
    /// Random bytes.
    random: Bytes,
    /// Bytes lifted out of the guest in one host call.
    lift: Bytes,
}

impl LimitTable {
    /// What a call gets that asks this much under `ceiling`: never more than the ceiling, and the
    /// ceiling where it asks nothing.
    #[must_use]
    pub fn under(&self, ceiling: &CallLimits) -> CallLimits {
        self.over(ceiling).min(ceiling)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ask_never_passes_the_ceiling() {
        let ceiling = CallLimits::DEFAULT;
        let ask = LimitTable {
            fuel: Some(Fuel(5)),
            memory: Some(Bytes(1 << 40)),
            requests: Some(Count(3)),
            ..LimitTable::default()
        };
        let limits = ask.under(&ceiling);
        assert_eq!(limits, CallLimits { fuel: 5, requests: 3, ..ceiling });
        let given = ask.given();
        assert_eq!(given[0], ("fuel", "\"5\"".to_owned()));
        assert_eq!(given[2], ("requests", "3".to_owned()));
    }
}
