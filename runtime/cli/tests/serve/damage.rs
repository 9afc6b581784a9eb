//! Damage to a store as a disk does it, past the log of SQLite, which would only end where a byte is another one.

use std::{fs, path::Path};

/// Flips a bit in these words wherever the log of a store has them, and gives each of its frames the checksum that
/// it has then. Says how often.
pub(crate) fn flip(log: &Path, words: &[u8]) -> usize {
    let mut bytes = fs::read(log).unwrap();
    let found: Vec<usize> = (0..bytes.len().saturating_sub(words.len()))
        .filter(|at| bytes[*at..].starts_with(words))
        .collect();
    found.iter().for_each(|at| bytes[*at] ^= 1);
    let number =
        |bytes: &[u8], at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    // The last bit of the magic number says in which order words are summed.
    let is_big = number(&bytes, 0) & 1 == 1;
    let frame = 24 + number(&bytes, 8) as usize;
    let salt: [u8; 8] = bytes[16..24].try_into().unwrap();
    let mut sum = (number(&bytes, 24), number(&bytes, 28));
    let mut at = 32;
    // Frames of an earlier round have another salt.
    while at + frame <= bytes.len() && bytes[at + 8..at + 16] == salt {
        sum = summed(sum, &bytes[at..at + 8], is_big);
        sum = summed(sum, &bytes[at + 24..at + frame], is_big);
        bytes[at + 16..at + 20].copy_from_slice(&sum.0.to_be_bytes());
        bytes[at + 20..at + 24].copy_from_slice(&sum.1.to_be_bytes());
        at += frame;
    }
    fs::write(log, bytes).unwrap();
    found.len()
}

fn summed((mut one, mut two): (u32, u32), bytes: &[u8], is_big: bool) -> (u32, u32) {
    let words: Vec<u32> = bytes
        .chunks_exact(4)
        .map(|word| {
            let word = word.try_into().unwrap();
            if is_big { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
        })
        .collect();
    for pair in words.chunks_exact(2) {
        one = one.wrapping_add(pair[0]).wrapping_add(two);
        two = two.wrapping_add(pair[1]).wrapping_add(one);
    }
    (one, two)
}
