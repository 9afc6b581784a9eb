//! Plain data that one request of a conversation after the other has: held once, and measured once.

use std::{
    fmt,
    ops::Deref,
    sync::{Arc, OnceLock},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::conversation::json_bytes;

/// Something that is shared and does not change. In JSON it is what it holds.
pub struct Shared<T>(Arc<Inner<T>>);

struct Inner<T> {
    value: T,
    json_bytes: OnceLock<usize>,
}

impl<T> Shared<T> {
    /// Holds a value.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(Arc::new(Inner { value, json_bytes: OnceLock::new() }))
    }

    /// Whether both are the same one, not only equal.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T: Serialize> Shared<T> {
    /// How many bytes of JSON it is. Counted when it is asked for first.
    #[must_use]
    pub fn json_bytes(&self) -> usize {
        *self.0.json_bytes.get_or_init(|| json_bytes(&self.0.value))
    }
}

impl<T> From<T> for Shared<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        self.is(other) || **self == **other
    }
}

impl<T: Eq> Eq for Shared<T> {}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Serialize> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::new)
    }
}
