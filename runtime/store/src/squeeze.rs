//! Deflated bytes, where that is worth it.

use std::io::{Read as _, Write as _};

use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};

/// Fewer bytes are not worth the work.
const BYTES_MIN: usize = 1024;

/// Bytes as they are stored.
#[derive(Debug)]
pub(crate) struct Squeezed {
    /// What is stored.
    pub(crate) bytes: Vec<u8>,
    /// How many bytes they are deflated from; absent: they are as they are.
    pub(crate) size: Option<u64>,
}

/// Deflates what gets an eighth shorter by it.
pub(crate) fn squeeze(bytes: Vec<u8>) -> Squeezed {
    if bytes.len() < BYTES_MIN {
        return Squeezed { bytes, size: None };
    }
    // The fast end of the scale: this is done before every commit of a large output.
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(3));
    // Memory takes all of it; if it did not, the bytes are stored as they are.
    match encoder.write_all(&bytes).and_then(|()| encoder.finish()) {
        Ok(short) if short.len() < bytes.len() - bytes.len() / 8 => {
            Squeezed { size: Some(bytes.len() as u64), bytes: short }
        }
        _ => Squeezed { bytes, size: None },
    }
}

/// The bytes as they were; none if they are damaged.
pub(crate) fn unsqueeze(bytes: Vec<u8>, size: Option<u64>) -> Option<Vec<u8>> {
    let Some(size) = size else { return Some(bytes) };
    let mut whole = vec![];
    // One more than there should be is enough to see that it is too much.
    let mut decoder = DeflateDecoder::new(bytes.as_slice()).take(size.saturating_add(1));
    decoder.read_to_end(&mut whole).ok()?;
    (whole.len() as u64 == size).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_as_they_were() {
        let check = |bytes: Vec<u8>, is_short: bool| {
            let Squeezed { bytes: stored, size } = squeeze(bytes.clone());
            assert_eq!(size.is_some(), is_short);
            assert_eq!(unsqueeze(stored.clone(), size), Some(bytes));
            if size.is_some() {
                assert_eq!(unsqueeze(stored.clone(), size.map(|size| size - 1)), None);
                assert_eq!(unsqueeze(stored[..stored.len() - 1].to_vec(), size), None);
            }
        };
        check(vec![], false);
        check(vec![7; 100], false);
        check(vec![7; 100_000], true);
        check(
            (0..2_000_u32)
                .flat_map(|n| {
                    ringfence_event::Digest::of(&n.to_le_bytes()).as_bytes()[..8].to_vec()
                })
                .collect(),
            false,
        );
    }
}
