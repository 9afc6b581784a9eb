//! The body of a response, read as it comes.

use std::fmt;
use std::io::{self, Read};

use serde::de::DeserializeOwned;
use wasip2::http::types::{IncomingBody, http_error_code};
use wasip2::io::streams::{InputStream, StreamError};

use super::Error;

/// How much is asked for at once; the host hands out no more than 64 KiB either.
const CHUNK_BYTES: u64 = 64 * 1024;

/// What follows the head of a response. It is a [`Read`]; the other ways of reading it take the
/// most bytes that the caller is ready to hold.
pub struct Body {
    // Before its owner: a body with a stream still open cannot be dropped.
    stream: InputStream,
    _owner: IncomingBody,
}

impl Body {
    pub(crate) fn new(owner: IncomingBody) -> Result<Self, Error> {
        let stream = owner.stream().map_err(|()| Error::Body("it was taken already".to_owned()))?;
        Ok(Self { stream, _owner: owner })
    }

    /// All of it, or an error where that is more than `bytes_max`.
    pub fn bytes(self, bytes_max: usize) -> Result<Vec<u8>, Error> {
        match self.up_to(bytes_max)? {
            (bytes, false) => Ok(bytes),
            (_, true) => Err(Error::BodyTooLong { bytes_max }),
        }
    }

    /// The first `bytes_max` bytes, and whether more would follow.
    pub fn up_to(mut self, bytes_max: usize) -> Result<(Vec<u8>, bool), Error> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk()? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > bytes_max {
                bytes.truncate(bytes_max);
                return Ok((bytes, true));
            }
        }
        Ok((bytes, false))
    }

    /// All of it as text, or an error where that is more than `bytes_max` or not UTF-8.
    pub fn text(self, bytes_max: usize) -> Result<String, Error> {
        String::from_utf8(self.bytes(bytes_max)?)
            .map_err(|_| Error::Body("it is not UTF-8 text".to_owned()))
    }

    /// All of it as JSON, or an error where that is more than `bytes_max` or not what `T` is.
    pub fn json<T: DeserializeOwned>(self, bytes_max: usize) -> Result<T, Error> {
        serde_json::from_slice(&self.bytes(bytes_max)?)
            .map_err(|error| Error::Body(error.to_string()))
    }

    /// The next bytes as they come, at most 64 KiB and perhaps none yet, or `None` at the end. For
    /// whoever wants to say how far it is.
    pub fn chunk(&mut self) -> Result<Option<Vec<u8>>, Error> {
        self.next(CHUNK_BYTES)
    }

    fn next(&mut self, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
        match self.stream.blocking_read(bytes_max) {
            Ok(chunk) => Ok(Some(chunk)),
            Err(StreamError::Closed) => Ok(None),
            Err(StreamError::LastOperationFailed(error)) => Err(match http_error_code(&error) {
                Some(code) => code.into(),
                None => Error::Body(error.to_debug_string()),
            }),
        }
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let bytes_max = CHUNK_BYTES.min(u64::try_from(buffer.len()).unwrap_or(CHUNK_BYTES));
        loop {
            match self.next(bytes_max).map_err(io::Error::other)? {
                None => return Ok(0),
                // For a reader nothing means the end; a stream may just have nothing yet.
                Some(chunk) if chunk.is_empty() => {}
                Some(chunk) => {
                    buffer[..chunk.len()].copy_from_slice(&chunk);
                    return Ok(chunk.len());
                }
            }
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").finish_non_exhaustive()
    }
}
