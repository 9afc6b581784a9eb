//! Undoes one coding, without a look at where the bytes come from or go to.

use bytes::{Buf, Bytes};
use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::gzip::Head;

/// What this knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// Members one after the other, each with a checksum.
    Gzip,
    /// One stream: zlib's with its checksum, as the standard says, or the bare one that some servers
    /// send.
    Deflate,
}

/// The bytes are not what they are said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damaged;

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A member begins.
    Member,
    /// So many bytes came of it.
    Bytes(usize),
    /// All that was there is used up.
    More,
}

/// Undoes a coding.
pub(super) struct Inflater {
    coding: Coding,
    part: Part,
    stream: Decompress,
    /// Of a gzip member: that of zlib's stream is looked after by the stream.
    sum: Crc,
}

/// What the next byte belongs to.
enum Part {
    /// The beginning, if there is any more.
    Start,
    Head(Head),
    Stream,
    /// A gzip member's checksum and length, as far as they came.
    Tail {
        came: usize,
        bytes: [u8; 8],
    },
    /// Nothing.
    End,
}

impl Inflater {
    pub(super) fn new(coding: Coding) -> Self {
        Self { coding, part: Part::Start, stream: Decompress::new(false), sum: Crc::new() }
    }

    /// Whether nothing is missing if nothing more comes. Nothing at all stands for nothing.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.part, Part::Start | Part::End)
    }

    /// Takes from `input` as far as it gets with this one piece of memory.
    pub(super) fn step(&mut self, input: &mut Bytes, piece: &mut [u8]) -> Result<Step, Damaged> {
        loop {
            match (&mut self.part, input.first().copied()) {
                // It may hold back what did not fit before, so it goes on without input too.
                (Part::Stream, _) => match self.inflate(input, piece)? {
                    0 if input.is_empty() => return Ok(Step::More),
                    0 => {}
                    count => return Ok(Step::Bytes(count)),
                },
                (_, None) => return Ok(Step::More),
                (Part::Start, Some(first)) => {
                    self.start(first);
                    return Ok(Step::Member);
                }
                (Part::Head(head), Some(next)) => {
                    input.advance(1);
                    if head.next(next)? {
                        self.part = Part::Stream;
                    }
                }
                (Part::Tail { came, bytes }, Some(next)) => {
                    input.advance(1);
                    bytes[*came] = next;
                    *came += 1;
                    if *came == bytes.len() {
                        let [sum, length] =
                            [self.sum.sum(), self.sum.amount()].map(u32::to_le_bytes);
                        if *bytes != [sum, length].as_flattened() {
                            return Err(Damaged);
                        }
                        self.part = Part::Start;
                    }
                }
                (Part::End, Some(_)) => return Err(Damaged),
            }
        }
    }

    fn start(&mut self, first: u8) {
        match self.coding {
            Coding::Gzip => {
                self.stream.reset(false);
                self.sum.reset();
                self.part = Part::Head(Head::default());
            }
            Coding::Deflate => {
                // The method that a zlib stream begins with. A bare one would begin so with a block of
                // no length whose padding is not zero.
                self.stream.reset(first & 0x0f == 8);
                self.part = Part::Stream;
            }
        }
    }

    fn inflate(&mut self, input: &mut Bytes, piece: &mut [u8]) -> Result<usize, Damaged> {
        let (taken, given) = (self.stream.total_in(), self.stream.total_out());
        let status = self.stream.decompress(input, piece, FlushDecompress::None);
        let status = status.map_err(|_| Damaged)?;
        // Neither is more than what it was handed.
        let taken = (self.stream.total_in() - taken) as usize;
        let given = (self.stream.total_out() - given) as usize;
        input.advance(taken);
        if self.coding == Coding::Gzip {
            self.sum.update(&piece[..given]);
        }
        match (status, self.coding) {
            (Status::StreamEnd, Coding::Gzip) => {
                self.part = Part::Tail { came: 0, bytes: [0; 8] };
            }
            (Status::StreamEnd, Coding::Deflate) => self.part = Part::End,
            // It has room and bytes, and gets nowhere.
            _ if taken == 0 && given == 0 && !input.is_empty() => return Err(Damaged),
            _ => {}
        }
        Ok(given)
    }
}
