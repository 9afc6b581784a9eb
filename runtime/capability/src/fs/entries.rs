//! The entries of a directory, one at a time: a directory of a million files costs what is read of
//! it.

use std::{fmt, io, sync::Arc};

use cap_std::fs::ReadDir;
use ringfence_event::RootName;

use super::{FsResult, Kind};
use crate::{Meter, cost};

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
}

/// The rest of a directory.
pub struct Entries(Source);

enum Source {
    Roots(std::vec::IntoIter<Entry>),
    /// The last says whether an entry was left out.
    Dir(ReadDir, Arc<Meter>, bool),
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries").finish_non_exhaustive()
    }
}

impl Entries {
    pub(super) fn of_roots<'a>(names: impl Iterator<Item = &'a RootName>) -> Self {
        let entry = |name: &RootName| Entry { kind: Kind::Directory, name: name.to_string() };
        Self(Source::Roots(names.map(entry).collect::<Vec<_>>().into_iter()))
    }

    pub(super) fn of_dir(dir: ReadDir, meter: Arc<Meter>) -> Self {
        Self(Source::Dir(dir, meter, false))
    }

    /// The next entry; `None` at the end. What has a name that is not UTF-8 cannot be named to a
    /// guest and is left out. One error says so, after the last entry: libraries read no further
    /// than the first.
    pub fn next_entry(&mut self) -> FsResult<Option<Entry>> {
        match &mut self.0 {
            Source::Roots(entries) => Ok(entries.next()),
            Source::Dir(dir, meter, left_out) => loop {
                meter.charge(cost::DIRECTORY_ENTRY)?;
                let Some(entry) = dir.next().transpose()? else {
                    return match std::mem::take(left_out) {
                        true => Err(io::Error::from(io::ErrorKind::InvalidData).into()),
                        false => Ok(None),
                    };
                };
                let Ok(name) = entry.file_name().into_string() else {
                    *left_out = true;
                    continue;
                };
                return Ok(Some(Entry { kind: Kind::of(entry.file_type()?), name }));
            },
        }
    }
}
