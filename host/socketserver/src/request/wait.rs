//! The one place where a request waits, for its socket or for time to pass.
//!
//! Every call of a [`Request`](crate::Request) that waits comes here and nowhere else. The
//! calls are async functions. A wait blocks its thread, or suspends the task if the thread has a
//! [reactor].

use std::future::Future;
use std::io;
use std::os::fd::BorrowedFd;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use super::readiness::Readiness;
use crate::before_wait;
use crate::poll::{PollSet, Polled, poll_until};
use crate::reactor;

/// The event that a call on a socket waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    /// The socket has data, or the end of the stream.
    Readable,
    /// The socket takes data.
    Writable,
    /// The socket has data, or takes data.
    Either,
    /// The queue of the Unix datagram socket at the other end has room. The kernel
    /// reports that only to sockets that are connected to it.
    PeerHasRoom,
}

/// The first and the longest of the pauses between attempts to send to a Unix datagram
/// socket whose queue is full.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));

/// Runs a call whose waits block the thread, as those of [`Request`](crate::Request) do: it is
/// polled once, and has its result then.
///
/// ```
/// use std::io::{self, Write};
/// use std::os::unix::net::UnixStream;
/// use socketserver::{Request, block_on};
///
/// async fn first_line(request: &Request) -> io::Result<Vec<u8>> {
///     let mut line = Vec::new();
///     while !line.ends_with(b"\n") {
///         line.extend(request.recv_async(1).await?);
///     }
///     Ok(line)
/// }
///
/// let (mut client, server) = UnixStream::pair()?;
/// client.write_all(b"hello\nworld\n")?;
/// assert_eq!(block_on(first_line(&Request::new(server)))?, b"hello\n");
/// # Ok::<(), io::Error>(())
/// ```
///
/// # Errors
///
/// The error of the call, or an [`io::Error`] if the call waits for something else than a
/// `Request`.
pub fn block_on<T, E: From<io::Error>>(
    call: impl Future<Output = Result<T, E>> + Send,
) -> Result<T, E> {
    let _blocking = reactor::leave();
    match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::Error::other("the call waits for no request").into()),
    }
}

/// Waits until `socket` is ready for `interest` or `deadline` has passed; without a
/// deadline, until the socket is ready. `attempt` counts the earlier waits of the same
/// call.
pub(crate) async fn wait_for(
    socket: BorrowedFd<'_>,
    interest: Interest,
    attempt: u32,
    deadline: Option<Instant>,
) -> io::Result<Polled> {
    before_wait::run();
    let flags = match interest {
        Interest::Readable => PollFlags::IN,
        Interest::Writable => PollFlags::OUT,
        Interest::Either => PollFlags::IN | PollFlags::OUT,
        Interest::PeerHasRoom => return pause(attempt, deadline).await,
    };
    match reactor::current() {
        Some(reactor) => reactor.wait_for(socket, flags, deadline).await,
        None => poll_until(&mut [PollFd::from_borrowed_fd(socket, flags)], deadline),
    }
}

/// Waits until one of several descriptors is ready or `deadline` has passed.
pub(crate) async fn wait_for_any(
    set: &mut PollSet<'_>,
    deadline: Option<Instant>,
) -> io::Result<Polled> {
    before_wait::run();
    match reactor::current() {
        Some(reactor) => reactor.wait_for_any(set, deadline).await,
        None => set.poll_until(deadline),
    }
}

/// Sleeps, for longer with each attempt, because no event reports room at the peer.
async fn pause(attempt: u32, deadline: Option<Instant>) -> io::Result<Polled> {
    let (first, longest) = PAUSES;
    let pause = first.saturating_mul(1 << attempt.min(10)).min(longest);
    let left =
        deadline.map_or(pause, |deadline| deadline.saturating_duration_since(Instant::now()));
    match reactor::current() {
        Some(reactor) => reactor.sleep(Instant::now().checked_add(pause.min(left))).await?,
        None => thread::sleep(pause.min(left)),
    }
    let is_over = deadline.is_some() && left <= pause;
    Ok(if is_over { Polled::DeadlinePassed } else { Polled::Ready })
}

/// Waits until one of several descriptors is ready, or until `end`, but not beyond `deadline`,
/// which is not later than `end`.
pub(crate) async fn wait_until_any_is_ready(
    set: &mut PollSet<'_>,
    end: Option<Instant>,
    deadline: Option<Instant>,
) -> io::Result<Polled> {
    let polled = wait_for_any(set, deadline).await?;
    let over = end.is_some_and(|end| Instant::now() >= end);
    Ok(if over { Polled::Ready } else { polled })
}

/// Returns true if `socket` is ready in one of the directions `wanted`.
pub(crate) fn is_ready(socket: BorrowedFd<'_>, wanted: Readiness) -> io::Result<bool> {
    Ok(poll_until(&mut [PollFd::from_borrowed_fd(socket, flags(wanted))], Some(Instant::now()))?
        == Polled::Ready)
}

/// Returns the events of `poll(2)` for the directions `wanted`.
pub(crate) fn flags(wanted: Readiness) -> PollFlags {
    let flag = |is_wanted, flag| if is_wanted { flag } else { PollFlags::empty() };
    flag(wanted.readable, PollFlags::IN) | flag(wanted.writable, PollFlags::OUT)
}

/// Sleeps until `end`, but not beyond `deadline`, which is not later than `end`.
pub(crate) async fn sleep(end: Option<Instant>, deadline: Option<Instant>) -> io::Result<Polled> {
    before_wait::run();
    match reactor::current() {
        Some(reactor) => reactor.sleep(deadline).await?,
        None => poll_until(&mut [], deadline).map(drop)?,
    }
    let over = end.is_some_and(|end| Instant::now() >= end);
    Ok(if over { Polled::Ready } else { Polled::DeadlinePassed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_waits_for_no_request_is_an_error() {
        let never = std::future::pending::<io::Result<()>>();
        assert!(block_on(never).is_err());
        assert_eq!(block_on(async { io::Result::Ok(1) }).ok(), Some(1));
    }
}
