//! The one way in which calls that receive and send wait.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::Request;
use super::transport::TransferError;
use super::wait::wait_for;
use crate::poll::Polled;

/// The waiting that one call may do.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallWait {
    /// The time at which the timeout of the handler ends the call.
    pub deadline: Option<Instant>,
    pub may_wait: bool,
}

impl Request {
    /// Begins a call, which may wait until the timeout unless that is zero. As in CPython,
    /// `MSG_DONTWAIT` has no effect if there is a timeout.
    pub(super) fn begin_call(&self, dont_wait: bool) -> CallWait {
        let may_wait = match self.gettimeout() {
            Some(timeout) => timeout > Duration::ZERO,
            None => !dont_wait,
        };
        CallWait { deadline: self.0.deadlines.call_deadline(), may_wait }
    }

    /// Starts the idle time again if bytes have moved.
    pub(super) fn moved(&self, count: usize) {
        if count > 0 {
            self.0.deadlines.reset_idle_time();
        }
    }

    /// Calls the transport until it moves bytes or fails, and waits in between. This is the
    /// only wait of a call.
    pub(super) async fn transfer<T>(
        &self,
        call: CallWait,
        mut attempt_call: impl FnMut() -> Result<T, TransferError>,
    ) -> io::Result<T> {
        self.check_open()?;
        self.0.deadlines.check_wall_time()?;
        let mut attempt = 0;
        loop {
            let interest = match attempt_call() {
                Ok(value) => return Ok(value),
                Err(TransferError::Failed(error)) => return Err(error),
                Err(TransferError::WouldBlock(interest)) => interest,
            };
            if !call.may_wait {
                return Err(Errno::AGAIN.into());
            }
            let wait = self.0.deadlines.begin_wait(call.deadline);
            let socket = self.0.transport.socket();
            // The socket of a session may be ready again and again without a plain byte.
            let polled = if attempt > 0 && wait.is_over() {
                Polled::DeadlinePassed
            } else {
                wait_for(socket.as_fd(), interest, attempt, wait.deadline).await?
            };
            self.0.deadlines.end_wait(&wait, polled)?;
            attempt = attempt.saturating_add(1);
        }
    }
}

impl Read for &Request {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.recv_into(buffer)
    }
}

impl Write for &Request {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.send(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Request {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.recv_into(buffer)
    }
}

impl Write for Request {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.send(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
