//! Files as streams: each read and write goes through the meter and moves at most one chunk, in
//! place.

use std::sync::Arc;

use bytes::Bytes;
use ringfence_capability::{
    Meter, cost,
    fs::{CHUNK, FileNode, FsError},
};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

/// Reads a file from an offset on.
pub(crate) struct FileInput {
    file: FileNode,
    /// `None`: it was read to its end, and that is the stream's.
    offset: Option<u64>,
    meter: Arc<Meter>,
}

impl FileInput {
    pub(crate) fn new(file: FileNode, offset: u64, meter: Arc<Meter>) -> Self {
        Self { file, offset: Some(offset), meter }
    }
}

/// Writes a file from an offset on, or at its end.
pub(crate) struct FileOutput {
    pub(crate) file: FileNode,
    /// `None`: at the end.
    pub(crate) offset: Option<u64>,
    pub(crate) meter: Arc<Meter>,
}

fn stream_error(error: FsError) -> StreamError {
    match error {
        FsError::Limit(limit) => StreamError::Trap(limit.into()),
        FsError::Io(error) => StreamError::LastOperationFailed(error.into()),
        other => StreamError::LastOperationFailed(other.into()),
    }
}

fn limited(limit: ringfence_capability::LimitReached) -> StreamError {
    StreamError::Trap(limit.into())
}

#[wasmtime_wasi::async_trait]
impl Pollable for FileInput {
    async fn ready(&mut self) {}
}

impl InputStream for FileInput {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size == 0 {
            return Ok(Bytes::new());
        }
        self.meter.charge(cost::FILE_CALL).map_err(limited)?;
        let offset = self.offset.ok_or(StreamError::Closed)?;
        let left = self.file.left(offset).map_err(stream_error)?;
        let wanted = (size as u64).min(CHUNK).min(left);
        self.meter.read(wanted).map_err(limited)?;
        let bytes = self.file.read_at(wanted, offset).map_err(stream_error)?;
        self.offset = (!bytes.is_empty()).then(|| offset.saturating_add(bytes.len() as u64));
        if bytes.is_empty() { Err(StreamError::Closed) } else { Ok(bytes.into()) }
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for FileOutput {
    async fn ready(&mut self) {}
}

#[wasmtime_wasi::async_trait]
impl OutputStream for FileOutput {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() as u64 > CHUNK {
            return Err(StreamError::trap("a write of more than check-write allowed"));
        }
        self.meter.charge(cost::FILE_CALL).map_err(limited)?;
        self.meter.write(bytes.len() as u64).map_err(limited)?;
        match &mut self.offset {
            Some(offset) => {
                let written = self.file.write_at(&bytes, *offset).map_err(stream_error)?;
                *offset = offset.saturating_add(written);
            }
            None => {
                self.file.append(&bytes).map_err(stream_error)?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        // Nothing is buffered here; durability is `sync`'s.
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(CHUNK as usize)
    }
}
