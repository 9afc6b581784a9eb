//! Keeps secrets out of what comes back: every form of every secret that was learnt is replaced by
//! its name, in whole texts and in streams that are cut anywhere.

mod escape;
mod find;
mod form;

use std::{
    borrow::Cow,
    mem,
    sync::{Arc, PoisonError, RwLock},
};

use zeroize::Zeroizing;

use self::find::{Find, Needle};
use crate::Secret;

/// Knows the secrets of one call, and forgets them with it.
///
/// Found are a secret itself, in either case, its hexadecimal form and its base64 of both alphabets,
/// wherever in a longer text it was encoded; each of them with any of its characters escaped as URLs,
/// JSON, HTML or quoted-printable do, over several lines, and in UTF-16. What a server compresses,
/// encrypts or spells backwards is not found.
#[derive(Default)]
pub struct Redactor {
    known: RwLock<Arc<Vec<Needle>>>,
}

impl Redactor {
    /// Keeps this secret out of everything from now on.
    pub fn learn(&self, secret: Secret) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.iter().any(|needle| needle.is_of(&secret)) {
            return;
        }
        let mut more: Vec<Needle> = known.to_vec();
        more.push(Needle::new(secret));
        *known = Arc::new(more);
    }

    /// Whether there is nothing to keep out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.needles().is_empty()
    }

    /// `text` with a mark in the place of each secret. Borrowed where there is none.
    #[must_use]
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.bytes(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            // Only whole ASCII characters are replaced, so it still is UTF-8.
            Cow::Owned(bytes) => Cow::Owned(match String::from_utf8(bytes) {
                Ok(text) => text,
                Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
            }),
        }
    }

    /// As [`text`](Self::text), of bytes.
    #[must_use]
    pub fn bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let needles = self.needles();
        if needles.is_empty() {
            return Cow::Borrowed(bytes);
        }
        let mut shown = Vec::new();
        match replace(&needles, bytes, true, &mut shown) {
            Replaced { any: false, .. } => Cow::Borrowed(bytes),
            Replaced { .. } => Cow::Owned(shown),
        }
    }

    /// A stream that keeps out what is known by now.
    #[must_use]
    pub fn stream(&self) -> Stream {
        Stream { needles: self.needles(), held: Zeroizing::default() }
    }

    fn needles(&self) -> Arc<Vec<Needle>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Redacts bytes that come in pieces. What may be the beginning of a secret is held back until it is
/// clear, so a secret that is cut in two is found all the same.
pub struct Stream {
    needles: Arc<Vec<Needle>>,
    held: Zeroizing<Vec<u8>>,
}

impl Stream {
    /// The next piece; what of it, and of what was held back, may go on.
    #[must_use]
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.go_on(bytes, false)
    }

    /// The rest, when nothing more comes.
    #[must_use]
    pub fn finish(&mut self) -> Vec<u8> {
        self.go_on(&[], true)
    }

    fn go_on(&mut self, bytes: &[u8], last: bool) -> Vec<u8> {
        // Moved into one that is large enough: to grow would leave what is held in freed memory.
        let held = mem::take(&mut self.held);
        let mut all = Zeroizing::new(Vec::with_capacity(held.len() + bytes.len()));
        all.extend_from_slice(&held);
        all.extend_from_slice(bytes);
        let mut shown = Vec::with_capacity(all.len());
        let replaced = replace(&self.needles, &all, last, &mut shown);
        self.held = Zeroizing::new(all[replaced.upto..].to_vec());
        shown
    }
}

struct Replaced {
    /// Whether anything was.
    any: bool,
    /// What was looked at; the rest may be the beginning of a secret.
    upto: usize,
}

/// Writes `bytes` into `shown`, a mark in the place of each secret.
fn replace(needles: &[Needle], bytes: &[u8], last: bool, shown: &mut Vec<u8>) -> Replaced {
    let mut find = Find::new(bytes, last);
    let (mut at, mut copied, mut any) = (0, 0, false);
    while at < bytes.len() {
        let (mut longest, mut unclear) = (None, false);
        for needle in needles {
            match find.at(needle, at) {
                find::Found::Here(end) if longest.is_none_or(|(best, _)| end > best) => {
                    longest = Some((end, needle));
                }
                find::Found::Unclear => unclear = true,
                find::Found::Here(_) | find::Found::Not => {}
            }
        }
        match longest {
            _ if unclear => break,
            Some((end, needle)) => {
                shown.extend_from_slice(&bytes[copied..at]);
                shown.extend_from_slice(needle.mark());
                (at, copied, any) = (end, end, true);
            }
            None => at += 1,
        }
    }
    shown.extend_from_slice(&bytes[copied..at]);
    Replaced { any, upto: at }
}

#[cfg(test)]
mod tests;
