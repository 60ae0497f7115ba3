//! A stream of lines for the log.

use wasmtime_wasi::async_trait;
use wasmtime_wasi_io::bytes::Bytes;
use wasmtime_wasi_io::poll::Pollable;
use wasmtime_wasi_io::streams::{OutputStream, StreamResult};

use crate::host::guest_log::{SharedLog, Standard};

/// A stream of lines for the log.
pub(super) struct LogOutput {
    pub log: SharedLog,
    pub standard: Standard,
    /// The bytes that one call may write.
    pub permit: usize,
}

/// The log is always ready: it does not wait for its reader.
#[async_trait]
impl Pollable for LogOutput {
    async fn ready(&mut self) {}
}

impl OutputStream for LogOutput {
    fn write(&mut self, data: Bytes) -> StreamResult<()> {
        self.log.lock().write_output(self.standard, &data);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(self.permit)
    }
}
