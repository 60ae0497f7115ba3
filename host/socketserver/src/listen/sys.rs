//! Calls on sockets that only the C library offers: credentials, some options, and messages.

#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use rustix::net::RecvFlags;
use socket2::SockAddr;

/// Returns the credentials of the process that connected. The user is `u32::MAX` if the
/// socket is not a Unix socket.
///
/// rustix has this call too, but returns an error for a process of another pid namespace,
/// whose number is 0.
pub(crate) fn peer_credentials(socket: BorrowedFd<'_>) -> io::Result<libc::ucred> {
    let mut credentials = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut length = SIZE_OF_CREDENTIALS;
    // SAFETY: both pointers are valid for writes, of `length` bytes for the first, and
    // any bytes are valid credentials.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut length,
        )
    };
    if done == 0 { Ok(credentials) } else { Err(io::Error::last_os_error()) }
}

/// 12 on every Linux system.
#[allow(clippy::cast_possible_truncation)]
const SIZE_OF_CREDENTIALS: libc::socklen_t = size_of::<libc::ucred>() as libc::socklen_t;

/// Sets an option of `tcp(7)` with a numeric value that no library offers.
pub(crate) fn set_tcp_option(socket: BorrowedFd<'_>, option: i32, value: i32) -> io::Result<()> {
    set_socket_option(socket, libc::IPPROTO_TCP, option, &value.to_ne_bytes())
}

/// Sets a socket option. Libraries offer options by name, each with a type of its own; a
/// handler names them by number.
pub(crate) fn set_socket_option(
    socket: BorrowedFd<'_>,
    level: i32,
    option: i32,
    value: &[u8],
) -> io::Result<()> {
    let length = libc::socklen_t::try_from(value.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the pointer is valid for reads of that many bytes, and the kernel keeps
    // it no longer than the call.
    let done = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, value.as_ptr().cast(), length)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads a socket option into `value`, and returns the number of bytes.
pub(crate) fn socket_option(
    socket: BorrowedFd<'_>,
    level: i32,
    option: i32,
    value: &mut [u8],
) -> io::Result<usize> {
    let mut length =
        libc::socklen_t::try_from(value.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: both pointers are valid for writes, of `length` bytes for the first, and any
    // bytes are valid.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            option,
            value.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if done == 0 { Ok((length as usize).min(value.len())) } else { Err(io::Error::last_os_error()) }
}

/// Returns the number of datagrams that a socket has dropped, because they were damaged or
/// the queue was full: `SO_MEMINFO` of the kernel, the same number that `SO_RXQ_OVFL` of
/// `socket(7)` reports with each datagram. It wraps around after 2<sup>32</sup>.
///
/// No library offers it.
pub(crate) fn dropped_datagrams(socket: BorrowedFd<'_>) -> io::Result<u32> {
    // `SK_MEMINFO_DROPS` and `SK_MEMINFO_VARS` of `linux/sock_diag.h`.
    const DROPS: usize = 8;
    let mut numbers = [0_u32; DROPS + 1];
    #[allow(clippy::cast_possible_truncation, reason = "36 bytes")]
    let mut length = size_of_val(&numbers) as libc::socklen_t;
    // SAFETY: both pointers are valid for writes, of `length` bytes for the first, and any
    // bytes are valid numbers.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            numbers.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if done == 0 { Ok(numbers[DROPS]) } else { Err(io::Error::last_os_error()) }
}

/// 4 on every Linux system.
#[allow(clippy::cast_possible_truncation)]
const SIZE_OF_NUMBER: libc::socklen_t = size_of::<i32>() as libc::socklen_t;

/// Makes the kernel refuse messages that pass descriptors to this Unix socket, and to
/// the connections that it accepts: `SO_PASSRIGHTS`.
///
/// # Errors
///
/// `ENOPROTOOPT` before Linux 6.16.
pub(crate) fn refuse_descriptors(socket: BorrowedFd<'_>) -> io::Result<()> {
    /// Of `asm-generic/socket.h`; the C library does not name it yet.
    const SO_PASSRIGHTS: libc::c_int = 83;
    let off: libc::c_int = 0;
    // SAFETY: `off` is valid for reads of its size.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PASSRIGHTS,
            (&raw const off).cast(),
            SIZE_OF_NUMBER,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The parts of a received message beside its data.
pub(crate) struct Message {
    /// The address of the sender, of length 0 if it has none.
    pub address: SockAddr,
    /// The credentials of the sender, from a socket that has `SO_PASSCRED`.
    pub sender: Option<libc::ucred>,
    /// The passed descriptors, closed on exec.
    pub descriptors: Vec<OwnedFd>,
}

/// The most descriptors that one message can pass: `SCM_MAX_FD` of the kernel.
const MAX_DESCRIPTORS: usize = 253;

/// Receives a message into the spare capacity of `data`.
///
/// With `with_descriptors` the control buffer has room for all descriptors that can be
/// passed. Otherwise it has room for the credentials of the sender only, and the
/// kernel closes passed descriptors.
///
/// rustix has the flaw that [`peer_credentials`] avoids, and nix returns uninitialised
/// memory as the address of an unnamed client.
pub(crate) fn receive_message(
    socket: BorrowedFd<'_>,
    data: &mut Vec<u8>,
    flags: RecvFlags,
    with_descriptors: bool,
) -> io::Result<Message> {
    // Larger than necessary, and aligned.
    let mut control = [0_u64; 8 + MAX_DESCRIPTORS.div_ceil(2)];
    let spare = data.spare_capacity_mut();
    let mut buffer = libc::iovec { iov_base: spare.as_mut_ptr().cast(), iov_len: spare.len() };
    // SAFETY: it consists of numbers and pointers, all of which may be zero.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut buffer;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: it computes a number.
    let for_credentials = unsafe { libc::CMSG_SPACE(SIZE_OF_CREDENTIALS) };
    // A `usize` or a `u32`, depending on the C library.
    message.msg_controllen =
        if with_descriptors { size_of_val(&control) as _ } else { for_credentials as _ };
    let flags = flags.bits().cast_signed() | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: `storage` is valid for writes of `length` bytes, and so are `buffer`
    // and `control` for their lengths; the kernel sets the length of the address.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            message.msg_name = storage.cast();
            message.msg_namelen = *length;
            let received = libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags);
            let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
            *length = message.msg_namelen;
            // SAFETY: the kernel has written that many bytes, at most the spare capacity.
            data.set_len(data.len() + received);
            Ok(())
        })
    }?;
    let (mut sender, mut descriptors) = (None, Vec::new());
    // SAFETY: the kernel has filled `control`, and has set its length.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    // SAFETY: it is null, or points to a header in `control`.
    while let Some(control_message) = unsafe { header.as_ref() } {
        // SAFETY: both compute only; the content follows the header, with its length.
        let (content, empty) = unsafe { (libc::CMSG_DATA(header), libc::CMSG_LEN(0)) };
        let length = control_message.cmsg_len.saturating_sub(empty as _);
        #[allow(clippy::unnecessary_cast, reason = "a `u32` with other C libraries")]
        let length = length as usize;
        match (control_message.cmsg_level, control_message.cmsg_type) {
            (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if length >= size_of::<libc::ucred>() => {
                // SAFETY: the content has that many bytes, and any bytes are valid credentials.
                sender = Some(unsafe { content.cast::<libc::ucred>().read_unaligned() });
            }
            (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                let count = length / size_of::<RawFd>();
                descriptors.extend((0..count).map(|index| {
                    // SAFETY: the kernel has made a descriptor for each of the numbers, and
                    // no other code of this process knows them.
                    unsafe {
                        let number = content.add(index * size_of::<RawFd>());
                        OwnedFd::from_raw_fd(ptr::read_unaligned(number.cast()))
                    }
                }));
            }
            _ => {}
        }
        // SAFETY: both belong to the message that the kernel has filled.
        header = unsafe { libc::CMSG_NXTHDR(&raw const message, header) };
    }
    Ok(Message { address, sender, descriptors })
}
