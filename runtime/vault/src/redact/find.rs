//! Looks for one secret at one place.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::{
    escape::{self, Escape},
    form::Form,
};
use crate::Secret;

/// A secret to look for, and what to write in its place.
#[derive(Clone)]
pub(super) struct Needle {
    secret: Arc<Secret>,
    mark: Arc<[u8]>,
    /// Whether one of its forms may begin with a byte. Most bytes of most texts need no other look.
    begins: Arc<Zeroizing<[bool; 256]>>,
}

/// What every escape begins with.
const ESCAPES: &[u8] = b"%=\\&";

impl Needle {
    pub(super) fn new(secret: Secret) -> Self {
        let mark = format!("[redacted:{}]", secret.name()).into_bytes().into();
        let mut begins = Zeroizing::new([false; 256]);
        for byte in 0..=u8::MAX {
            let fits = Form::ALL.iter().any(|form| form.fits(secret.bytes(), 0, byte));
            begins[usize::from(byte)] = fits || ESCAPES.contains(&byte);
        }
        Self { secret: Arc::new(secret), mark, begins: Arc::new(begins) }
    }

    pub(super) fn is_of(&self, secret: &Secret) -> bool {
        self.secret.name() == secret.name() && self.secret.bytes() == secret.bytes()
    }

    pub(super) fn mark(&self) -> &[u8] {
        &self.mark
    }
}

/// What there is of a secret at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// All of it, up to this place.
    Here(usize),
    /// Nothing.
    Not,
    /// Perhaps its beginning, or a longer form of it, up to the end of the bytes: what is found
    /// must not depend on where a stream is cut.
    Unclear,
}

/// What may stand between two characters without being one: line breaks of long base64, the zero
/// bytes of UTF-16, the backslashes of JSON in JSON. More of them in a row are no encoding.
const GAP: usize = 8;

/// A look at some bytes.
pub(super) struct Find<'a> {
    bytes: &'a [u8],
    /// Whether nothing comes after them.
    last: bool,
    /// Where a form may have got to; kept to be used again.
    here: Vec<usize>,
    next: Vec<usize>,
}

impl<'a> Find<'a> {
    pub(super) fn new(bytes: &'a [u8], last: bool) -> Self {
        Self { bytes, last, here: Vec::new(), next: Vec::new() }
    }

    /// The longest form of the secret that begins at `start`.
    pub(super) fn at(&mut self, needle: &Needle, start: usize) -> Found {
        if !self.bytes.get(start).is_some_and(|byte| needle.begins[usize::from(*byte)]) {
            return Found::Not;
        }
        let secret = needle.secret.bytes();
        let mut found = Found::Not;
        for form in Form::ALL {
            found = match (found, self.form(form, secret, start)) {
                (Found::Unclear, _) | (_, Found::Unclear) => Found::Unclear,
                (Found::Here(a), Found::Here(b)) => Found::Here(a.max(b)),
                (Found::Here(end), _) | (_, Found::Here(end)) => Found::Here(end),
                (Found::Not, Found::Not) => Found::Not,
            };
        }
        found
    }

    /// Follows all readings at once: a backslash may be one, or escape what comes after it.
    fn form(&mut self, form: Form, secret: &[u8], start: usize) -> Found {
        let mut unclear = false;
        self.here.clear();
        self.next.clear();
        self.character(form, secret, 0, start, &mut unclear);
        for place in 1..form.length(secret) {
            std::mem::swap(&mut self.here, &mut self.next);
            self.next.clear();
            for index in 0..self.here.len() {
                self.after_gap(form, secret, place, self.here[index], &mut unclear);
            }
            if self.next.is_empty() {
                break;
            }
        }
        match self.next.iter().max() {
            _ if unclear && !self.last => Found::Unclear,
            Some(end) => Found::Here(*end),
            None => Found::Not,
        }
    }

    fn after_gap(
        &mut self,
        form: Form,
        secret: &[u8],
        place: usize,
        mut at: usize,
        unclear: &mut bool,
    ) {
        let upto = at + GAP;
        loop {
            self.character(form, secret, place, at, unclear);
            let skipped = match self.bytes[at.min(self.bytes.len())..] {
                [b'\\', b'n' | b'r', ..] => 2,
                [b'%', b'0', b'A' | b'D' | b'a' | b'd', ..] => 3,
                [b'=', b'\r' | b'\n', ..] | [b'\0' | b'\r' | b'\n' | b'\\', ..] => 1,
                _ => return,
            };
            at += skipped;
            if at > upto {
                return;
            }
        }
    }

    /// Adds to `next` where the character at `at` ends, if it is the one of this place.
    fn character(
        &mut self,
        form: Form,
        secret: &[u8],
        place: usize,
        at: usize,
        unclear: &mut bool,
    ) {
        let Some(byte) = self.bytes.get(at) else {
            *unclear = true;
            return;
        };
        if form.fits(secret, place, *byte) {
            self.reach(at + 1);
        }
        match escape::read(&self.bytes[at..]) {
            Escape::Of(byte, length) if form.fits(secret, place, byte) => self.reach(at + length),
            Escape::Unclear => *unclear = true,
            Escape::Of(..) | Escape::Not => {}
        }
    }

    fn reach(&mut self, at: usize) {
        if !self.next.contains(&at) {
            self.next.push(at);
        }
    }
}
