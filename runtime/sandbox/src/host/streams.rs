//! Files as streams: each read and write goes through the meter and moves at most one chunk, in
//! place where the file system answers at once.

use std::{mem, sync::Arc};

use bytes::Bytes;
use ringfence_capability::{
    Meter, cost,
    fs::{Acting, CHUNK, FileNode, FsError, FsResult},
};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

/// Reads what there is at an offset, at most a chunk, and charges for that.
pub(super) fn read(file: FileNode, meter: Arc<Meter>, size: u64, offset: u64) -> Acting<Vec<u8>> {
    file.clone().on(move || {
        let wanted = size.min(CHUNK).min(file.left(offset)?);
        meter.read(wanted)?;
        file.read_at(wanted, offset)
    })
}

/// Writes at most a chunk at an offset, or at the end, and says how much.
pub(super) fn write(
    file: FileNode,
    meter: Arc<Meter>,
    bytes: Bytes,
    offset: Option<u64>,
) -> Acting<u64> {
    file.clone().on(move || {
        meter.write(bytes.len() as u64)?;
        match offset {
            Some(offset) => file.write_at(&bytes, offset),
            None => file.append(&bytes),
        }
    })
}

/// Where a stream is with its one act at a time.
enum Act<T, D> {
    /// Nothing is under way.
    Idle,
    Under(Acting<T>),
    /// What came of it, for the guest to fetch.
    Over(FsResult<D>),
}

/// Reads a file from an offset on.
pub(crate) struct FileInput {
    file: FileNode,
    /// `None`: it was read to its end, and that is the stream's.
    offset: Option<u64>,
    act: Act<Vec<u8>, Bytes>,
    meter: Arc<Meter>,
}

impl FileInput {
    pub(crate) fn new(file: FileNode, offset: u64, meter: Arc<Meter>) -> Self {
        Self { file, offset: Some(offset), act: Act::Idle, meter }
    }

    /// Hands over what was read.
    fn deliver(&mut self, size: usize, read: FsResult<Bytes>) -> StreamResult<Bytes> {
        let mut bytes = read.map_err(stream_error)?;
        let Some(offset) = self.offset.filter(|_| !bytes.is_empty()) else {
            self.offset = None;
            return Err(StreamError::Closed);
        };
        // It may have been asked for with a larger size than this.
        let rest = bytes.split_off(size.min(bytes.len()));
        if !rest.is_empty() {
            self.act = Act::Over(Ok(rest));
        }
        self.offset = Some(offset.saturating_add(bytes.len() as u64));
        Ok(bytes)
    }
}

/// Writes a file from an offset on, or at its end.
pub(crate) struct FileOutput {
    file: FileNode,
    /// `None`: at the end.
    offset: Option<u64>,
    act: Act<u64, ()>,
    meter: Arc<Meter>,
}

impl FileOutput {
    pub(crate) fn new(file: FileNode, offset: Option<u64>, meter: Arc<Meter>) -> Self {
        Self { file, offset, act: Act::Idle, meter }
    }

    fn written(&mut self, written: u64) {
        self.offset = self.offset.map(|offset| offset.saturating_add(written));
    }
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
    async fn ready(&mut self) {
        if let Act::Under(acting) = &mut self.act {
            let read = acting.await;
            self.act = Act::Over(read.map(Bytes::from));
        }
    }
}

impl InputStream for FileInput {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size == 0 {
            return Ok(Bytes::new());
        }
        self.meter.charge(cost::FILE_CALL).map_err(limited)?;
        let offset = self.offset.ok_or(StreamError::Closed)?;
        match mem::replace(&mut self.act, Act::Idle) {
            Act::Over(read) => self.deliver(size, read),
            under @ Act::Under(_) => {
                self.act = under;
                Ok(Bytes::new())
            }
            Act::Idle => {
                let read = read(self.file.clone(), self.meter.clone(), size as u64, offset);
                match read.at_once() {
                    Ok(read) => self.deliver(size, read.map(Bytes::from)),
                    Err(under) => {
                        self.act = Act::Under(under);
                        Ok(Bytes::new())
                    }
                }
            }
        }
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for FileOutput {
    async fn ready(&mut self) {
        if let Act::Under(acting) = &mut self.act {
            let written = acting.await;
            self.act = match written {
                Ok(written) => {
                    self.written(written);
                    Act::Idle
                }
                Err(error) => Act::Over(Err(error)),
            };
        }
    }
}

#[wasmtime_wasi::async_trait]
impl OutputStream for FileOutput {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > self.check_write()? {
            return Err(StreamError::trap("a write of more than check-write allowed"));
        }
        self.meter.charge(cost::FILE_CALL).map_err(limited)?;
        if bytes.is_empty() {
            // Also while something is under way.
            return Ok(());
        }
        let written = write(self.file.clone(), self.meter.clone(), bytes, self.offset);
        match written.at_once() {
            Ok(written) => self.written(written.map_err(stream_error)?),
            Err(under) => self.act = Act::Under(under),
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        // Nothing is buffered here but what is under way, and that is waited for before the next
        // write; durability is `sync`'s.
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        match mem::replace(&mut self.act, Act::Idle) {
            Act::Idle | Act::Over(Ok(())) => Ok(CHUNK as usize),
            Act::Over(Err(error)) => Err(stream_error(error)),
            under @ Act::Under(_) => {
                self.act = under;
                Ok(0)
            }
        }
    }
}
