//! Files that the kernel sends.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use super::Request;
use super::transport::TransferError;
use super::wait::block_on;

/// The most bytes that one call of the kernel sends. Between two calls the deadlines are
/// checked: the kernel itself would go on for as long as the client takes data.
const MAX_PART: u64 = 1 << 20;

impl Request {
    /// Sends `file` from `offset` on, until its end or for `count` bytes, and returns the
    /// number of bytes sent. The kernel copies them, and the position of `file` does not
    /// change. As in Python, the timeout applies to each wait. Python's
    /// `socket.sendfile`.
    ///
    /// The first call sets `O_NONBLOCK` on the connection. To read from a slow file system
    /// may take longer than the limits of the request: no limit ends that.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), with the errors of `sendfile(2)`: `EBADF` for a file that is
    /// not open for reading, `EINVAL` for a directory. `EOPNOTSUPP` for a datagram. It is then
    /// unknown how much was sent.
    pub fn sendfile(&self, file: impl AsFd, offset: u64, count: Option<u64>) -> io::Result<u64> {
        let mut sent = 0;
        loop {
            let left = count.map_or(u64::MAX, |count| count.saturating_sub(sent));
            let at = offset.saturating_add(sent);
            match block_on(self.sendfile_part_async(file.as_fd(), at, left))? {
                0 => return Ok(sent),
                more => sent = sent.saturating_add(more),
            }
        }
    }

    /// Sends a part of `file`, of at most `count` bytes from `offset` on, and returns the
    /// number of bytes; 0 at the end of the file. Otherwise as [`sendfile`](Self::sendfile).
    /// Python's `os.sendfile`.
    ///
    /// # Errors
    ///
    /// As [`sendfile`](Self::sendfile).
    pub async fn sendfile_part_async(
        &self,
        file: BorrowedFd<'_>,
        offset: u64,
        count: u64,
    ) -> io::Result<u64> {
        self.check_open()?;
        let connection = self.0.transport.connection()?;
        let count = usize::try_from(count.min(MAX_PART)).unwrap_or(usize::MAX);
        let count = self.allowed_to_send(count)?;
        if count == 0 {
            return Ok(0);
        }
        let call = self.begin_call(false);
        let sent = self.transfer(call, || connection.sendfile(file, offset, count)).await?;
        self.count_sent(sent);
        Ok(sent as u64)
    }

    /// Sends a part of `file` as [`sendfile_part_async`](Self::sendfile_part_async) does. If the
    /// calling thread runs requests as tasks, another thread reads the file.
    ///
    /// # Errors
    ///
    /// As [`sendfile`](Self::sendfile).
    pub async fn sendfile_part_elsewhere_async<F: AsFd + Send + Sync + 'static>(
        &self,
        file: &Arc<F>,
        offset: u64,
        count: u64,
    ) -> io::Result<u64> {
        self.check_open()?;
        self.0.transport.connection()?;
        let count = usize::try_from(count.min(MAX_PART)).unwrap_or(usize::MAX);
        let count = self.allowed_to_send(count)?;
        if count == 0 {
            return Ok(0);
        }
        let call = self.begin_call(false);
        loop {
            let (request, file) = (self.clone(), Arc::clone(file));
            let attempt = self.run_elsewhere_async(move || {
                let connection = request.0.transport.connection();
                let connection = connection.map_err(TransferError::Failed)?;
                connection.sendfile((*file).as_fd(), offset, count)
            });
            // After a wait the file is read again, elsewhere.
            let mut attempt = Some(attempt.await?.map(Some));
            if let Some(sent) = self.transfer(call, || attempt.take().unwrap_or(Ok(None))).await? {
                self.count_sent(sent);
                return Ok(sent as u64);
            }
        }
    }
}
