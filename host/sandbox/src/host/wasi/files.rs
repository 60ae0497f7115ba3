//! Streams of files. Those of `wasmtime-wasi` read and write in another thread, while the guest goes
//! on.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::io::{ReadWriteFlags, pwritev2};
use wasmtime_wasi::async_trait;
use wasmtime_wasi_io::bytes::Bytes;
use wasmtime_wasi_io::poll::Pollable;
use wasmtime_wasi_io::streams::{InputStream, OutputStream, StreamError, StreamResult};

use crate::host::open_files::Counted;

/// A file that is read from an offset on.
pub(super) struct FileInput {
    /// The file; `None` after its end was read, or after an error.
    pub file: Option<Arc<Counted<File>>>,
    pub at: u64,
    /// The bytes that one call may allocate.
    pub most: usize,
}

/// A file that is written to.
pub(super) struct FileOutput {
    /// The file; `None` after an error.
    pub file: Option<Arc<Counted<File>>>,
    /// The offset of the next write; `None` stands for the end of the file, at the time of
    /// each write.
    pub at: Option<u64>,
    /// The bytes that one call may write.
    pub permit: usize,
}

/// A file is always ready: it is read and written without a peer, and the guest waits for it.
#[async_trait]
impl Pollable for FileInput {
    async fn ready(&mut self) {}
}

#[async_trait]
impl Pollable for FileOutput {
    async fn ready(&mut self) {}
}

impl InputStream for FileInput {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let file = self.file.take().ok_or(StreamError::Closed)?;
        let data = read_at(&file, size.min(self.most), self.at).map_err(failed)?;
        if data.is_empty() && size > 0 {
            return Err(StreamError::Closed);
        }
        self.file = Some(file);
        self.at = self.at.saturating_add(data.len() as u64);
        Ok(data.into())
    }
}

impl OutputStream for FileOutput {
    fn write(&mut self, data: Bytes) -> StreamResult<()> {
        let file = self.file.take().ok_or(StreamError::Closed)?;
        match &mut self.at {
            Some(at) => {
                file.write_all_at(&data, *at).map_err(failed)?;
                *at = at.saturating_add(data.len() as u64);
            }
            None => append(&file, &data).map_err(failed)?,
        }
        self.file = Some(file);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.check_write().map(|_| ())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        if self.file.is_none() { Err(StreamError::Closed) } else { Ok(self.permit) }
    }
}

fn failed(error: io::Error) -> StreamError {
    StreamError::LastOperationFailed(error.into())
}

/// Reads at most `len` bytes, for which it allocates a buffer.
pub(super) fn read_at(file: &File, len: usize, at: u64) -> io::Result<Vec<u8>> {
    let mut data = vec![0; len];
    let mut count = 0;
    while count < len {
        match file.read_at(&mut data[count..], at.saturating_add(count as u64)) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) if count > 0 => break,
            Err(error) => return Err(error),
        }
    }
    data.truncate(count);
    Ok(data)
}

/// Appends data as `O_APPEND` does: what other processes append at the same time stays
/// whole.
fn append(file: &File, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        match pwritev2(file, &[IoSlice::new(data)], 0, ReadWriteFlags::APPEND) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => data = &data[count..],
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
