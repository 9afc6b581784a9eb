//! Where the key of a vendor comes from. The value is read for each request and kept nowhere.

use std::{fmt, sync::Arc};

use ringfence_event::{ModelFailureClass, SecretFault};
use zeroize::Zeroizing;

use crate::ModelError;

type Read = dyn Fn() -> Result<Zeroizing<Vec<u8>>, SecretFault> + Send + Sync;

/// Reads the key of a vendor. Cheap to clone.
///
/// ```
/// use ringfence_model::KeySource;
///
/// let key = KeySource::new(|| Ok(b"sk-of-a-file".to_vec().into()));
/// assert_eq!(format!("{key:?}"), "KeySource");
/// ```
#[derive(Clone)]
pub struct KeySource(Option<Arc<Read>>);

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySource")
    }
}

impl KeySource {
    /// A key that `read` gives as it is now: called for each request, on a thread that may wait.
    pub fn new(
        read: impl Fn() -> Result<Zeroizing<Vec<u8>>, SecretFault> + Send + Sync + 'static,
    ) -> Self {
        Self(Some(Arc::new(read)))
    }

    /// For a server that asks for no key.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    pub(crate) async fn read(&self) -> Result<Option<Key>, ModelError> {
        let Some(read) = self.0.clone() else { return Ok(None) };
        let value = tokio::task::spawn_blocking(move || read()).await;
        let value = match value {
            Ok(value) => value.and_then(Key::new),
            // The source panicked, or the runtime is shutting down.
            Err(_) => Err(SecretFault::Unreadable),
        };
        let value = value.map_err(|fault| {
            ModelError::new(ModelFailureClass::Host, format!("the model's key: {fault}"))
        })?;
        Ok(Some(value))
    }
}

/// A key as it was when it was read.
pub(crate) struct Key(Zeroizing<Vec<u8>>);

/// What stands in its place.
const MARK: &str = "[redacted:key]";

impl Key {
    fn new(value: Zeroizing<Vec<u8>>) -> Result<Self, SecretFault> {
        match &value[..] {
            [] => Err(SecretFault::Missing),
            bytes if bytes.iter().all(|byte| matches!(byte, b'!'..=b'~')) => Ok(Self(value)),
            _ => Err(SecretFault::NotPrintable),
        }
    }

    /// The value behind a scheme's name, for the one header it goes into.
    pub(crate) fn header(&self, scheme: &str) -> Result<http::HeaderValue, SecretFault> {
        let mut value = Zeroizing::new(Vec::with_capacity(scheme.len() + self.0.len()));
        value.extend_from_slice(scheme.as_bytes());
        value.extend_from_slice(&self.0);
        let value = http::HeaderValue::from_bytes(&value);
        let mut value = value.map_err(|_| SecretFault::NotPrintable)?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// `text` without the key in it, in either case.
    pub(crate) fn redact(&self, text: &str) -> String {
        let (mut shown, mut rest) = (String::with_capacity(text.len()), text);
        while let Some(at) = self.find(rest) {
            shown.push_str(&rest[..at]);
            shown.push_str(MARK);
            rest = &rest[at + self.0.len()..];
        }
        shown + rest
    }

    fn find(&self, text: &str) -> Option<usize> {
        let is_here = |part: &[u8]| part.eq_ignore_ascii_case(&self.0);
        text.as_bytes().windows(self.0.len()).position(is_here)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_taken_out_of_what_a_vendor_says() {
        let key = Key::new(b"sk-1".to_vec().into()).unwrap();
        let check = |text: &str, shown: &str| assert_eq!(key.redact(text), shown);
        check("no key", "no key");
        check("wrong key SK-1, sk-1", "wrong key [redacted:key], [redacted:key]");
        check("schlüssel sk-1ß", "schlüssel [redacted:key]ß");
        assert!(key.header("Bearer ").unwrap().is_sensitive());
    }

    #[test]
    fn what_no_header_holds_is_no_key() {
        for (value, fault) in [
            ("", SecretFault::Missing),
            ("a b", SecretFault::NotPrintable),
            ("a\n", SecretFault::NotPrintable),
            ("ä", SecretFault::NotPrintable),
        ] {
            assert_eq!(Key::new(value.as_bytes().to_vec().into()).err(), Some(fault), "{value:?}");
        }
    }
}
