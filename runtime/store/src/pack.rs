//! JSON texts, packed: the words of the format become a byte, digests 32 bytes, what stood in the row
//! before a reference, and long texts blobs of their own. Unpacked, each text is again what it was,
//! byte for byte. What the texts say is not known here.

use std::collections::HashMap;

use ringfence_event::Digest;

use crate::dictionary::Dictionary;

mod words;

/// A text longer than this is kept as a blob, once for all that say the same: a page of the database.
pub(crate) const INLINE_BYTES_MAX: usize = 4096;

/// The value of this key is a tree; as a whole it can be as long as a text, and come as often.
const TREE: &str = "structured";

/// How long the JSON of an event is, usually.
const TEXT_BYTES: usize = 512;

/// Shorter texts are not referred to: the reference is no shorter.
const SEEN_BYTES_MIN: usize = 3;

const NULL: u8 = 0;
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const ARRAY: u8 = 3;
const OBJECT: u8 = 4;
const END: u8 = 5;
/// A number as it is written.
const NUMBER: u8 = 6;
const UNSIGNED: u8 = 7;
const NEGATIVE: u8 = 8;
/// A text as it is written, escapes included.
const TEXT: u8 = 9;
/// A text that came before, by its place among those.
const SEEN: u8 = 10;
const DIGEST: u8 = 11;
/// 64 hexadecimal digits.
const HEX: u8 = 12;
/// A text that is a blob.
const BLOB: u8 = 13;
/// A value of any kind that is a blob.
const TREE_BLOB: u8 = 14;
/// One of the words from [`WORDS_SHORT`] on.
const WORD: u8 = 15;
/// A digest by its number in the dictionary.
const KNOWN: u8 = 16;
/// From here on up to [`SMALL`], one of the first words.
const FIRST_WORD: u8 = 17;
/// From here on a small number.
const SMALL: u8 = 0x70;
const WORDS_SHORT: usize = (SMALL - FIRST_WORD) as usize;

/// Packs texts one after the other.
pub(crate) struct Packer<'a> {
    dictionary: &'a Dictionary,
    bytes: Vec<u8>,
    seen: HashMap<&'a str, u64>,
    unknown: Vec<[u8; 32]>,
    blobs: Vec<(Digest, Vec<u8>)>,
}

/// What packing makes.
pub(crate) struct Packed {
    pub(crate) bytes: Vec<u8>,
    /// What it refers to.
    pub(crate) blobs: Vec<(Digest, Vec<u8>)>,
    /// Digests that have no number.
    pub(crate) unknown: Vec<[u8; 32]>,
}

impl<'a> Packer<'a> {
    pub(crate) fn new(dictionary: &'a Dictionary) -> Self {
        // Room for a step's events, so that neither grows while it is packed.
        let (bytes, seen) = (Vec::with_capacity(1024), HashMap::with_capacity(64));
        Self { dictionary, bytes, seen, unknown: vec![], blobs: vec![] }
    }

    /// Adds one text: JSON without white space, as `serde_json` writes it.
    pub(crate) fn add(&mut self, text: &'a str) {
        let bytes = text.as_bytes();
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'{' => self.bytes.push(OBJECT),
                b'[' => self.bytes.push(ARRAY),
                b'}' | b']' => self.bytes.push(END),
                b',' | b':' => {}
                b'"' => {
                    let end = text_end(bytes, at);
                    let inside = &text[at + 1..end - 1];
                    self.text(inside);
                    at = end;
                    if inside == TREE && matches!(bytes.get(at..at + 2), Some(b":{" | b":[")) {
                        let end = tree_end(bytes, at + 1);
                        if end - at > INLINE_BYTES_MAX {
                            self.blob(TREE_BLOB, &text[at + 1..end]);
                            at = end;
                        }
                    }
                    continue;
                }
                _ => {
                    let rest = &bytes[at..];
                    let is_end = |byte: &u8| matches!(byte, b',' | b']' | b'}');
                    let end = at + rest.iter().position(is_end).unwrap_or(rest.len());
                    self.plain(&text[at..end]);
                    at = end;
                    continue;
                }
            }
            at += 1;
        }
    }

    /// All that was packed.
    pub(crate) fn finish(self) -> Packed {
        Packed { bytes: self.bytes, blobs: self.blobs, unknown: self.unknown }
    }

    fn plain(&mut self, text: &str) {
        match text {
            "null" => return self.bytes.push(NULL),
            "true" => return self.bytes.push(TRUE),
            "false" => return self.bytes.push(FALSE),
            _ => {}
        }
        let (tag, digits) = match text.strip_prefix('-') {
            Some(digits) => (NEGATIVE, digits),
            None => (UNSIGNED, text),
        };
        // Only what is printed again in the same way: no fraction, no exponent, no leading zero.
        match digits.parse::<u64>() {
            Ok(number) if !digits.starts_with('0') || (digits == "0" && tag == UNSIGNED) => {
                if tag == UNSIGNED && number < u64::from(u8::MAX - SMALL) {
                    self.bytes.push(SMALL + number as u8);
                } else {
                    self.bytes.push(tag);
                    put_number(&mut self.bytes, number);
                }
            }
            _ => self.literal(NUMBER, text),
        }
    }

    fn text(&mut self, text: &'a str) {
        if let Some(word) = words::number(text) {
            match u8::try_from(word) {
                Ok(short) if word < WORDS_SHORT => self.bytes.push(FIRST_WORD + short),
                _ => {
                    self.bytes.push(WORD);
                    put_number(&mut self.bytes, (word - WORDS_SHORT) as u64);
                }
            }
            return;
        }
        if text.len() > INLINE_BYTES_MAX {
            return self.blob(BLOB, text);
        }
        if text.len() < SEEN_BYTES_MIN {
            return self.literal(TEXT, text);
        }
        if let Some(place) = self.seen.get(text) {
            self.bytes.push(SEEN);
            return put_number(&mut self.bytes, *place);
        }
        self.seen.insert(text, self.seen.len() as u64);
        if let Some(digest) = text.strip_prefix("sha256:").and_then(from_hex) {
            if let Some(number) = self.dictionary.number(&digest) {
                self.bytes.push(KNOWN);
                put_number(&mut self.bytes, number);
            } else {
                self.unknown.push(digest);
                self.bytes.push(DIGEST);
                self.bytes.extend(digest);
            }
        } else if let Some(bytes) = from_hex(text) {
            self.bytes.push(HEX);
            self.bytes.extend(bytes);
        } else {
            self.literal(TEXT, text);
        }
    }

    fn blob(&mut self, tag: u8, text: &str) {
        let digest = Digest::of(text.as_bytes());
        self.bytes.push(tag);
        self.bytes.extend(digest.as_bytes());
        if self.blobs.iter().all(|(known, _)| *known != digest) {
            self.blobs.push((digest, text.as_bytes().to_vec()));
        }
    }

    fn literal(&mut self, tag: u8, text: &str) {
        self.bytes.push(tag);
        put_number(&mut self.bytes, text.len() as u64);
        self.bytes.extend(text.as_bytes());
    }
}

/// Why something cannot be unpacked.
pub(crate) const BROKEN: &str = "what it holds cannot be read";

/// Where an unpacker finds what lies elsewhere.
pub(crate) trait Elsewhere {
    /// Why something is not found, or what is unpacked is no packed text.
    type Error: From<&'static str>;

    /// The text that has a digest.
    fn blob(&self, digest: &[u8]) -> Result<String, Self::Error>;

    /// The digest that has a number.
    fn digest(&self, number: u64) -> Result<[u8; 32], Self::Error>;
}

/// Unpacks the texts one after the other.
pub(crate) struct Unpacker<'a, L> {
    rest: &'a [u8],
    seen: Vec<String>,
    elsewhere: L,
}

impl<'a, E: From<&'static str>, L: Elsewhere<Error = E>> Unpacker<'a, L> {
    pub(crate) fn new(bytes: &'a [u8], elsewhere: L) -> Self {
        Self { rest: bytes, seen: vec![], elsewhere }
    }

    /// Whether that was all.
    pub(crate) fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next text.
    pub(crate) fn next(&mut self) -> Result<String, E> {
        let mut out = String::with_capacity(TEXT_BYTES);
        // Of each open array and object: whether it is an object, and how much it holds.
        let mut open: Vec<(bool, u64)> = vec![];
        loop {
            let tag = self.take(1)?[0];
            if tag == END {
                let (is_object, _) = open.pop().ok_or(BROKEN)?;
                out.push(if is_object { '}' } else { ']' });
            } else {
                if let Some((is_object, count)) = open.last_mut() {
                    match (*count, *is_object && *count % 2 == 1) {
                        (_, true) => out.push(':'),
                        (0, false) => {}
                        (_, false) => out.push(','),
                    }
                    *count += 1;
                }
                match tag {
                    ARRAY | OBJECT => {
                        open.push((tag == OBJECT, 0));
                        out.push(if tag == OBJECT { '{' } else { '[' });
                    }
                    _ => self.scalar(tag, &mut out)?,
                }
            }
            if open.is_empty() {
                return Ok(out);
            }
        }
    }

    fn scalar(&mut self, tag: u8, out: &mut String) -> Result<(), E> {
        match tag {
            NULL => out.push_str("null"),
            TRUE => out.push_str("true"),
            FALSE => out.push_str("false"),
            NUMBER => out.push_str(self.literal()?),
            UNSIGNED => out.push_str(&self.number()?.to_string()),
            NEGATIVE => {
                out.push('-');
                out.push_str(&self.number()?.to_string());
            }
            TEXT => {
                let text = self.literal()?;
                quoted(out, text);
                if text.len() >= SEEN_BYTES_MIN {
                    self.seen.push(text.to_owned());
                }
            }
            SEEN => {
                let place = usize::try_from(self.number()?).map_err(|_| BROKEN)?;
                quoted(out, self.seen.get(place).ok_or(BROKEN)?);
            }
            DIGEST | HEX | KNOWN => {
                let bytes = match tag {
                    KNOWN => {
                        let number = self.number()?;
                        self.elsewhere.digest(number)?
                    }
                    _ => self.take(32)?.try_into().map_err(|_| BROKEN)?,
                };
                let digest = Digest::from(bytes);
                let text = if tag == HEX { digest.hex() } else { digest.to_string() };
                quoted(out, &text);
                self.seen.push(text);
            }
            BLOB => {
                let digest = self.take(32)?;
                let text = self.elsewhere.blob(digest)?;
                quoted(out, &text);
            }
            TREE_BLOB => {
                let digest = self.take(32)?;
                out.push_str(&self.elsewhere.blob(digest)?);
            }
            WORD => {
                let word = usize::try_from(self.number()?).map_err(|_| BROKEN)?;
                quoted(out, words::word(word.saturating_add(WORDS_SHORT)).ok_or(BROKEN)?);
            }
            SMALL.. => out.push_str(&(tag - SMALL).to_string()),
            FIRST_WORD.. => {
                quoted(out, words::word(usize::from(tag - FIRST_WORD)).ok_or(BROKEN)?);
            }
            _ => return Err(BROKEN.into()),
        }
        Ok(())
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], E> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(BROKEN)?;
        self.rest = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u64, E> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(BROKEN.into())
    }

    fn literal(&mut self) -> Result<&'a str, E> {
        let count = usize::try_from(self.number()?).map_err(|_| BROKEN)?;
        std::str::from_utf8(self.take(count)?).map_err(|_| BROKEN.into())
    }
}

fn quoted(out: &mut String, text: &str) {
    out.push('"');
    out.push_str(text);
    out.push('"');
}

/// Seven bits a byte, the lowest first.
fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// 64 lower-case hexadecimal digits as bytes.
fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let text: &[u8; 64] = text.as_bytes().try_into().ok()?;
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// Behind the quotation mark that ends the text whose first one is at `start`.
fn text_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    loop {
        match bytes.get(at) {
            Some(b'\\') => at += 2,
            Some(b'"') | None => return (at + 1).min(bytes.len()),
            Some(_) => at += 1,
        }
    }
}

/// Behind the array or object that begins at `start`.
fn tree_end(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_u64);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = text_end(bytes, at);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            break;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    struct Fault;

    impl From<&'static str> for Fault {
        fn from(_: &'static str) -> Self {
            Self
        }
    }

    struct Blobs(HashMap<Vec<u8>, String>);

    impl Elsewhere for &Blobs {
        type Error = Fault;

        fn blob(&self, digest: &[u8]) -> Result<String, Fault> {
            self.0.get(digest).cloned().ok_or(Fault)
        }

        fn digest(&self, number: u64) -> Result<[u8; 32], Fault> {
            (number == 300).then(|| *Digest::of(b"known").as_bytes()).ok_or(Fault)
        }
    }

    fn check(texts: &[&str]) -> usize {
        let dictionary = Dictionary::default();
        dictionary.learned(vec![(*Digest::of(b"known").as_bytes(), 300)]);
        let mut packer = Packer::new(&dictionary);
        texts.iter().for_each(|text| packer.add(text));
        let Packed { bytes, blobs, .. } = packer.finish();
        let text = |(digest, text): (Digest, Vec<u8>)| {
            (digest.as_bytes().to_vec(), String::from_utf8(text).unwrap())
        };
        let blobs = Blobs(blobs.into_iter().map(text).collect());
        let unpack = |bytes: &[u8]| {
            let mut unpacker = Unpacker::new(bytes, &blobs);
            let mut found = vec![];
            while !unpacker.is_done() {
                found.push(unpacker.next()?);
            }
            Ok::<_, Fault>(found)
        };
        let found = unpack(&bytes).ok().unwrap();
        assert_eq!(found, texts);
        // Whatever is flipped or cut, it ends, and in no panic.
        for at in 0..bytes.len().min(300) {
            for value in [0, 3, 9, 10, 15, 0x6f, 0xff] {
                let mut broken = bytes.clone();
                broken[at] = value;
                let _ = unpack(&broken);
            }
            let _ = unpack(&bytes[..at]);
        }
        bytes.len()
    }

    #[test]
    fn texts_come_back_as_they_were() {
        let digest = Digest::of(b"x");
        let long =
            format!(r#"{{"text":"{0}","structured":[[1,"]"],"{0}"]}}"#, "ä\\\"".repeat(2_000));
        check(&["null"]);
        check(&[r#""""#, r#""a""#, "7", "[]", "{}", "[[],{}]", r#"{"":{"":[]}}"#]);
        check(&[
            "[0,1,142,143,144,-1,-0,-0.0,1.0,1e300,01,18446744073709551615,18446744073709551616]",
        ]);
        check(&["[-9223372036854775808,true,false,null]"]);
        check(&[r#"["\"","\\","a\\\"b","ä\u0001","abc","abc"]"#]);
        check(&[r#"{"kind":"run.started","data":{"run":1}}"#]);
        check(&[&format!(r#"["{digest}","{digest}","{}"]"#, digest.hex())]);
        check(&[&format!(r#"["{}","sha256:00"]"#, digest.hex().to_uppercase())]);
        check(&[&long, &long]);
        let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
        check(&[&deep]);
    }

    #[test]
    fn what_came_before_takes_a_few_bytes() {
        let text = format!(r#"["{}","{}"]"#, Digest::of(b"x"), "some words");
        let once = check(&[&text]);
        assert_eq!(check(&[&text, &text]), once + 6);
        let known = Digest::of(b"known");
        assert_eq!(check(&[&format!(r#"["{known}","{known}"]"#)]), 7);
        assert_eq!(check(&[&format!(r#"["{}"]"#, known.hex())]), 35);
    }
}
