//! Descriptors that clients of a Unix socket pass (`SCM_RIGHTS`, `unix(7)`).
//!
//! No request takes them, but the kernel closes them in the thread that receives or
//! drops the message, and the client controls how long the last close of a descriptor
//! takes: the close of a TCP socket with unsent data and `SO_LINGER` can wait for hours.
//! So the server asks the kernel to refuse such messages (`SO_PASSRIGHTS`, Linux 6.16 and
//! later). On older kernels, the server receives each descriptor and closes it in a
//! thread that serves no request.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use rustix::net::RecvFlags;
use socket2::{Domain, SockRef, Socket, Type};

use crate::listen::sys;

/// The number of descriptors that may wait for the thread that closes them. The thread
/// that receives one more closes it itself.
const MAX_WAITING: usize = 1024;

/// The treatment of descriptors that clients pass to a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PassedDescriptors {
    /// The kernel refuses them, or the socket is not a Unix socket.
    Refused,
    /// The server receives them, and a thread that serves no request closes them.
    ClosedByThread,
    /// The server receives them, and the same thread closes them: the process may have no
    /// second thread.
    ClosedInPlace,
}

/// Returns true if this kernel can refuse to pass descriptors to a Unix socket
/// (`SO_PASSRIGHTS`, Linux 6.16 and later). If not, a process that serves Unix
/// sockets calls `recvmsg(2)` for each message, which a jail must allow.
pub fn kernel_refuses_descriptors() -> bool {
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None);
    socket.is_ok_and(|socket| sys::refuse_descriptors(socket.as_fd()).is_ok())
}

/// Has the kernel refuse descriptors that others pass to a Unix socket, and to the connections
/// that it accepts.
///
/// # Errors
///
/// The kernel cannot: see [`kernel_refuses_descriptors`].
pub fn refuse_descriptors(socket: impl AsFd) -> io::Result<()> {
    sys::refuse_descriptors(socket.as_fd())
}

impl PassedDescriptors {
    /// Chooses the treatment for a new Unix socket, before it has a name.
    pub(crate) fn of_unix_socket(socket: &Socket, may_start_threads: bool) -> Self {
        match sys::refuse_descriptors(socket.as_fd()) {
            Ok(()) => PassedDescriptors::Refused,
            Err(_) if may_start_threads => PassedDescriptors::ClosedByThread,
            Err(_) => PassedDescriptors::ClosedInPlace,
        }
    }

    /// Returns true if a message may contain descriptors.
    pub(crate) fn may_come(self) -> bool {
        self != PassedDescriptors::Refused
    }

    /// Receives into the spare capacity of `data`, and closes passed descriptors. Returns
    /// the number of bytes. Without `DONTWAIT` among the flags, it waits.
    pub(crate) fn receive(
        self,
        socket: BorrowedFd<'_>,
        data: &mut Vec<u8>,
        flags: RecvFlags,
    ) -> rustix::io::Result<usize> {
        let before = data.len();
        let message = sys::receive_message(socket, data, flags, true).map_err(|error| {
            rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO)
        })?;
        self.close(message.descriptors);
        Ok(data.len() - before)
    }

    /// Receives all data in the queue of a connection, which accepts no more data from
    /// then on, so that the close of the socket drops no message with descriptors.
    pub(crate) fn drain(self, socket: BorrowedFd<'_>) {
        // The kernel checks this, and queues a message, under one lock.
        let _ = SockRef::from(&socket).shutdown(std::net::Shutdown::Read);
        // A message has at least one byte; the next call receives the rest of a longer one.
        let mut data = Vec::with_capacity(1 << 16);
        while self.receive(socket, &mut data, RecvFlags::DONTWAIT).is_ok_and(|count| count > 0) {
            data.clear();
        }
    }

    /// Closes the descriptors of a message.
    pub(crate) fn close(self, descriptors: Vec<OwnedFd>) {
        for descriptor in descriptors {
            match self {
                PassedDescriptors::ClosedByThread => close_by_thread(descriptor),
                PassedDescriptors::Refused | PassedDescriptors::ClosedInPlace => {
                    close(descriptor);
                }
            }
        }
    }
}

/// Closes a descriptor without waiting for unsent data. A client that shares the
/// socket can undo that, between the two calls.
fn close(descriptor: OwnedFd) {
    // It fails if the descriptor is not a socket.
    let _ = SockRef::from(&descriptor).set_linger(None);
    drop(descriptor);
}

fn close_by_thread(descriptor: OwnedFd) {
    static CLOSER: OnceLock<Option<SyncSender<OwnedFd>>> = OnceLock::new();
    let refused = match CLOSER.get_or_init(|| start_closer().ok()) {
        None => Some(descriptor),
        Some(closer) => closer.try_send(descriptor).err().map(|refused| match refused {
            TrySendError::Full(descriptor) | TrySendError::Disconnected(descriptor) => descriptor,
        }),
    };
    if let Some(descriptor) = refused {
        close(descriptor);
    }
}

/// Starts the thread that closes descriptors for as long as the process lives.
fn start_closer() -> io::Result<SyncSender<OwnedFd>> {
    let (sender, descriptors): (_, Receiver<OwnedFd>) = sync_channel(MAX_WAITING);
    thread::Builder::new()
        .name("close".to_owned())
        .spawn(move || descriptors.into_iter().for_each(close))?;
    Ok(sender)
}
