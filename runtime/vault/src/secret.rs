//! A value that is overwritten when it is dropped, and that nothing prints.

use ringfence_event::{SecretFault, SecretName};
use zeroize::Zeroizing;

/// What is shorter turns up in other text by chance, and its redaction would say more than it hides.
const SECRET_BYTES_MIN: usize = 8;
/// The longest secret: servers take headers of 8 KiB, and base64 makes four bytes of three.
pub(crate) const SECRET_BYTES_MAX: usize = 4 << 10;

/// A secret as it was when it was read. It is neither cloned nor shown:
///
/// ```compile_fail
/// fn show(secret: ringfence_vault::Secret) -> String {
///     format!("{secret:?}")
/// }
/// ```
///
/// ```compile_fail
/// fn twice(secret: &ringfence_vault::Secret) -> ringfence_vault::Secret {
///     secret.clone()
/// }
/// ```
pub struct Secret {
    name: SecretName,
    value: Zeroizing<Vec<u8>>,
}

impl Secret {
    /// A value that can go into a header and be found again in what comes back: one line of
    /// printable ASCII, neither so short that it stands in other text by chance nor too long.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(name: SecretName, value: Zeroizing<Vec<u8>>) -> Result<Self, SecretFault> {
        if value.is_empty() {
            return Err(SecretFault::Missing);
        }
        let ends_in_space = value.first() == Some(&b' ') || value.last() == Some(&b' ');
        if ends_in_space || !value.iter().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(SecretFault::NotPrintable);
        }
        match value.len() {
            ..SECRET_BYTES_MIN => Err(SecretFault::TooShort),
            SECRET_BYTES_MIN..=SECRET_BYTES_MAX => Ok(Self { name, value }),
            _ => Err(SecretFault::TooLong),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &SecretName {
        &self.name
    }

    /// The value with a text on both sides, for the one place it is sent to.
    #[must_use]
    pub fn within(&self, before: &str, after: &str) -> Zeroizing<Vec<u8>> {
        // With its whole room from the beginning: growing would leave a copy behind.
        let length = before.len() + self.value.len() + after.len();
        let mut text = Zeroizing::new(Vec::with_capacity(length));
        text.extend_from_slice(before.as_bytes());
        text.extend_from_slice(&self.value);
        text.extend_from_slice(after.as_bytes());
        text
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_sent_or_found_again_is_no_secret() {
        let check = |value: &[u8], fault: Option<SecretFault>| {
            let made = Secret::new("TOKEN".parse().unwrap(), Zeroizing::new(value.to_vec()));
            assert_eq!(made.err(), fault, "{:?}", String::from_utf8_lossy(value));
        };
        check(b"12345678", None);
        check(b"a b:c\"\\%~", None);
        check(b"", Some(SecretFault::Missing));
        check(b"1234567", Some(SecretFault::TooShort));
        check(&[b'x'; SECRET_BYTES_MAX], None);
        check(&[b'x'; SECRET_BYTES_MAX + 1], Some(SecretFault::TooLong));
        for value in [
            "12345678\r\nx: y",
            "1234\x005678",
            "1234\t5678",
            " 12345678",
            "12345678 ",
            "schlüssel",
        ] {
            check(value.as_bytes(), Some(SecretFault::NotPrintable));
        }
    }
}
