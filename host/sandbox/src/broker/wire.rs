//! Messages with descriptors, on Unix sockets that keep messages apart.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::cmsg_space;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, send,
    sendmsg, socketpair,
};

/// The most descriptors in one message.
const MAX_DESCRIPTORS: usize = 2;

/// Returns two sockets that are connected to each other.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// Sends a message without descriptors. It is the only way of sending for a process in the jail,
/// which has no `sendmsg`.
///
/// # Errors
///
/// `EAGAIN` if there is no room.
pub(super) fn send_call(socket: impl AsFd, message: &[u8]) -> io::Result<()> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    retry_on_intr(|| send(&socket, message, flags))?;
    Ok(())
}

/// Sends a message with descriptors. Waits for room unless `flags` say otherwise.
pub(super) fn send_message(
    socket: impl AsFd,
    message: &[u8],
    descriptors: &[BorrowedFd<'_>],
    flags: SendFlags,
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::INVAL.into());
    }
    let parts = [IoSlice::new(message)];
    let flags = flags | SendFlags::NOSIGNAL;
    retry_on_intr(|| sendmsg(&socket, &parts, &mut control, flags))?;
    Ok(())
}

/// Receives a message into `data`, and returns its descriptors. Waits for it unless `flags` say
/// otherwise. An empty message is the end of the connection.
///
/// # Errors
///
/// `EMFILE` if this process could not take the descriptors, `EMSGSIZE` if `data` has no room.
pub(super) fn receive_message(
    socket: impl AsFd,
    data: &mut Vec<u8>,
    flags: RecvFlags,
) -> io::Result<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    data.resize(data.capacity(), 0);
    let received =
        retry_on_intr(|| recvmsg(&socket, &mut [IoSliceMut::new(data)], &mut control, flags))?;
    let messages = control.drain();
    let descriptors = messages.filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let descriptors = descriptors.flatten().collect();
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(Errno::MFILE.into());
    }
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(Errno::MSGSIZE.into());
    }
    data.truncate(received.bytes);
    Ok(descriptors)
}

/// Waits until `socket` is ready for `flags`, or its other end is closed. Returns false if that
/// took longer than `longest`.
pub(super) fn wait(socket: impl AsFd, flags: PollFlags, longest: Duration) -> io::Result<bool> {
    let end = Instant::now() + longest;
    let mut fds = [PollFd::new(&socket, flags)];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
        match poll(&mut fds, Some(&left)) {
            Err(Errno::INTR) => {}
            polled => return Ok(polled? > 0),
        }
    }
}
