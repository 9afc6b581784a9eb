//! Signatures of webhooks, as Standard Webhooks has them: HMAC-SHA256 over id, time and body.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::hmac;
use zeroize::Zeroizing;

/// What stands before a secret in print.
const PREFIX: &str = "whsec_";
/// The fewest bytes of a secret, and the most.
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A key that messages are signed with.
pub(crate) struct Key(hmac::Key);

impl Key {
    /// Reads a secret: base64, with `whsec_` before it or without.
    ///
    /// # Errors
    /// What is wrong with it, and never what it is.
    pub(crate) fn read(secret: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(secret).map_err(|_| "it is no text")?.trim();
        let text = text.strip_prefix(PREFIX).unwrap_or(text);
        let bytes = STANDARD.decode(text).map(Zeroizing::new);
        let bytes = bytes.map_err(|_| "it is no base64 behind `whsec_`")?;
        if !BYTES.contains(&bytes.len()) {
            return Err("it is not 24 to 64 bytes long");
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// The signature of a message.
    pub(crate) fn sign(&self, id: &str, seconds: u64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{id}.{seconds}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own libraries.
    #[test]
    fn a_message_is_signed_as_the_specification_does() {
        let key = Key::read(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").ok().unwrap();
        let signed =
            key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn what_is_no_secret_is_told_without_saying_it() {
        let check = |secret: &[u8], fine: bool| {
            assert_eq!(Key::read(secret).is_ok(), fine, "{:?}", String::from_utf8_lossy(secret));
        };
        check(b"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", true);
        check(b"whsec_AAAA", false);
        check(b"whsec_not base64 at all, and long enough", false);
        check(b"", false);
        check(b"\xff\xff", false);
    }
}
