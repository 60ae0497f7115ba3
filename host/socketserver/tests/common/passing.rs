//! Clients of Unix sockets that pass descriptors. The tests of the binary use this file too.

use std::io::{IoSlice, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use socket2::SockRef;

/// Returns a TCP socket whose last close waits for `linger`, because it has unsent data, and
/// its other end.
pub fn lingering_socket(linger: Duration) -> (OwnedFd, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (other_end, _) = listener.accept().unwrap();
    socket.set_nonblocking(true).unwrap();
    while socket.write(&[0; 1 << 14]).is_ok() {}
    SockRef::from(&socket).set_linger(Some(linger)).unwrap();
    (socket.into(), other_end)
}

/// Sends `data` and passes `descriptors` with it, from a connected socket.
///
/// # Errors
///
/// The kernel refuses to pass descriptors to the server (`EPERM`), or the server has closed
/// the connection.
pub fn pass_descriptors(
    socket: impl AsFd,
    data: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> rustix::io::Result<usize> {
    let mut space = vec![MaybeUninit::uninit(); 4096];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        assert!(beside.push(SendAncillaryMessage::ScmRights(descriptors)));
    }
    sendmsg(socket, &[IoSlice::new(data)], &mut beside, SendFlags::NOSIGNAL)
}
