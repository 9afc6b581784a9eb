//! Where a secret is kept, and what can be wrong with it there. The values are nowhere in this crate.

use std::{fmt, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where one secret is read: what the operator wrote, the user put in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SecretPlace {
    /// A variable of the host's environment.
    Environment {
        /// Its name.
        variable: String,
    },
    /// A file of the host.
    File {
        /// Its path.
        path: PathBuf,
    },
    /// An entry of the operating system's keyring.
    Keyring {
        /// The service the entry is for.
        service: String,
        /// The account at that service.
        account: String,
    },
}

/// What is wrong with a secret where it is kept. A word never changes its meaning, and none of them
/// says anything of the value or of where on the host it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SecretFault {
    /// This program reads no secrets of that kind.
    NotOffered,
    /// Nothing is there.
    Missing,
    /// Something is there, and it cannot be read.
    Unreadable,
    /// It is a file that others than its owner may open, or a stranger's.
    Exposed,
    /// It is no regular file.
    NotRegular,
    /// It is too short to be told from other text, and so to be kept out of it.
    TooShort,
    /// It is longer than what a header holds.
    TooLong,
    /// It is not one line of printable ASCII without spaces at its ends.
    NotPrintable,
}

impl SecretFault {
    /// What is wrong, in words.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotOffered => "this program reads no secrets of that kind",
            Self::Missing => "it is not there",
            Self::Unreadable => "it cannot be read",
            Self::Exposed => "others can open its file: it is to be the owner's alone, mode 600",
            Self::NotRegular => "it is no regular file",
            Self::TooShort => {
                "it has fewer than 8 characters, too few to keep it out of other text"
            }
            Self::TooLong => "it is longer than 4096 bytes",
            Self::NotPrintable => {
                "it is not one line of printable ASCII without spaces at its ends"
            }
        }
    }
}

impl fmt::Display for SecretFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}
