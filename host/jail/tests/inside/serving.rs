//! The needs of a process that serves, which must work in the jail.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::process::{
    PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal,
    set_parent_process_death_signal, waitpid,
};
use socketserver_jail::Descriptors;

use super::Setup;

type Done = Result<(), i32>;

/// Returns a connection and its client, which has sent some bytes.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.write_all(b"hello").unwrap();
    (listener.accept().unwrap().0, client)
}

pub fn talk(setup: Setup) -> Done {
    let (mut connection, mut client) = connection();
    setup.enter();
    let mut data = [0; 5];
    connection.read_exact(&mut data).unwrap();
    connection.write_all(&data.to_ascii_uppercase()).unwrap();
    connection.peer_addr().unwrap();
    connection.local_addr().unwrap();
    connection.set_nodelay(true).unwrap();
    assert!(connection.nodelay().unwrap());
    connection.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"HELLO");
    Ok(())
}

/// Sends a file that was opened before, on a socket that does not wait.
pub fn send_a_file(setup: Setup) -> Done {
    let file = File::open("/proc/self/exe").unwrap();
    let (connection, mut client) = connection();
    setup.enter();
    rustix::io::ioctl_fionbio(&connection, true).map_err(rustix::io::Errno::raw_os_error)?;
    let sent = rustix::fs::sendfile(&connection, &file, Some(&mut 0), 4);
    sent.map_err(rustix::io::Errno::raw_os_error)?;
    let mut start = [0; 4];
    client.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"\x7fELF");
    Ok(())
}

pub fn reply_to_a_datagram(setup: Setup) -> Done {
    let [server, client] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    setup.of(&server).enter();
    server.send_to(b"answer", client.local_addr().unwrap()).unwrap();
    Ok(())
}

/// The parent receives each of two datagrams, and a child replies. The child cannot receive
/// the datagrams that wait in the socket.
pub fn the_parent_receives(setup: Setup) -> Done {
    let [server, client] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    client.connect(server.local_addr().unwrap()).unwrap();
    let jail = setup.jail().prepare(setup.role).unwrap();
    jail.restrict_parent().unwrap();
    for data in [b"one", b"two"] {
        client.send(data).unwrap();
        client.send(b"of another").unwrap();
        let mut received = [0; 16];
        let (count, from) = server.recv_from(&mut received).unwrap();
        let child = fork();
        if child == 0 {
            let request = setup.of(&server).served();
            jail.enter(request, &Descriptors::Only(&[server.as_raw_fd()])).unwrap();
            let taken = server.recv_from(&mut [0; 16]).unwrap_err();
            assert_eq!(taken.raw_os_error(), Some(libc::EPERM));
            server.send_to(&received[..count], from).unwrap();
            exit(0);
        }
        let mut answer = [0; 16];
        let count = client.recv(&mut answer).unwrap();
        assert_eq!(&answer[..count], data);
        assert_eq!(end_of(child), Some(0));
        // The datagram is still there.
        assert_eq!(server.recv(&mut [0; 16]).unwrap(), b"of another".len());
    }
    Ok(())
}

/// An accomplice passes a descriptor. The filter allows `recvmsg`; `RLIMIT_NOFILE` refuses the
/// descriptor.
pub fn messages_bring_no_descriptor(setup: Setup) -> Done {
    let (server, client) = UnixStream::pair().unwrap();
    let (mut byte, mut control) = ([1_u8], [0_u64; 3]);
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    // SAFETY: an empty message is all zeros.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: the message has room for one descriptor, and the descriptor is open.
    unsafe {
        message.msg_controllen = libc::CMSG_SPACE(4) as _;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(4) as _;
        libc::CMSG_DATA(header).cast::<i32>().write_unaligned(client.as_raw_fd());
        assert_eq!(libc::sendmsg(client.as_raw_fd(), &raw const message, 0), 1);
    }
    setup.enter_keeping(&[server.as_raw_fd()]);
    // SAFETY: the message is as valid as before.
    assert_eq!(unsafe { libc::recvmsg(server.as_raw_fd(), &raw mut message, 0) }, 1);
    assert_eq!(message.msg_controllen, 0);
    assert_eq!(message.msg_flags & libc::MSG_CTRUNC, libc::MSG_CTRUNC);
    std::mem::forget(client);
    Ok(())
}

/// The parent kills a child that does not end. With another user, the child already is that user.
pub fn the_parent_kills(setup: Setup) -> Done {
    let jail = setup.jail().prepare(setup.role).unwrap();
    let (entered, enters) = UnixStream::pair().unwrap();
    jail.restrict_parent().unwrap();
    let child = fork();
    if child == 0 {
        set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
        jail.enter(setup.served(), &Descriptors::Only(&[enters.as_raw_fd()])).unwrap();
        (&enters).write_all(b"!").unwrap();
        loop {
            std::thread::park();
        }
    }
    drop(enters);
    (&entered).read_exact(&mut [0]).unwrap();
    let pid = rustix::process::Pid::from_raw(child).unwrap();
    let watched = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    // No other signal.
    for signal in [Signal::TERM, Signal::STOP] {
        let refused = pidfd_send_signal(&watched, signal).unwrap_err();
        assert_eq!(refused.raw_os_error(), libc::EPERM);
    }
    pidfd_send_signal(&watched, Signal::KILL).unwrap();
    let (_, status) = waitpid(Some(pid), WaitOptions::empty()).unwrap().unwrap();
    assert_eq!(status.terminating_signal(), Some(libc::SIGKILL));
    Ok(())
}

fn fork() -> i32 {
    // SAFETY: the process has one thread.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    child
}

fn exit(status: i32) -> ! {
    // SAFETY: any status is valid.
    unsafe { libc::_exit(status) }
}

/// Waits for a child and returns its exit status.
fn end_of(child: i32) -> Option<i32> {
    let child = rustix::process::Pid::from_raw(child);
    let (_, status) = waitpid(child, WaitOptions::empty()).unwrap().unwrap();
    status.exit_status()
}

pub fn poll(setup: Setup) -> Done {
    let (connection, _client) = connection();
    setup.enter();
    let mut fds = [PollFd::new(&connection, PollFlags::IN)];
    let long = Timespec { tv_sec: 60, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut fds, Some(&long)).unwrap(), 1);
    Ok(())
}

pub fn grow_the_heap(setup: Setup) -> Done {
    setup.enter();
    let mut small: Vec<Vec<u8>> = (0..10_000).map(|n| vec![1; n % 100]).collect();
    small.truncate(10);
    let mut large = vec![1_u8; 64 << 20];
    large.resize(128 << 20, 2);
    assert_eq!(large.last(), Some(&2));
    Ok(())
}

pub fn clock(setup: Setup) -> Done {
    setup.enter();
    let begun = Instant::now();
    std::thread::sleep(Duration::from_millis(2));
    assert!(begun.elapsed() >= Duration::from_millis(2));
    // The clock of the engine's CPU limit, which is a system call.
    let _ = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Ok(())
}

static TICKED: AtomicBool = AtomicBool::new(false);

extern "C" fn tick(_: i32) {
    TICKED.store(true, SeqCst);
}

/// A timer of CPU time, like the engine's.
pub fn timer(setup: Setup) -> Done {
    let tick = tick as extern "C" fn(i32);
    // SAFETY: the handler only stores a flag.
    unsafe { libc::signal(libc::SIGPROF, tick as libc::sighandler_t) };
    setup.enter();
    let soon = libc::timeval { tv_sec: 0, tv_usec: 1000 };
    let timer = libc::itimerval { it_interval: soon, it_value: soon };
    // SAFETY: the second pointer may be null.
    assert_eq!(unsafe { libc::setitimer(libc::ITIMER_PROF, &raw const timer, ptr::null_mut()) }, 0);
    while !TICKED.load(SeqCst) {
        std::hint::spin_loop();
    }
    Ok(())
}

pub fn panic(setup: Setup) -> Done {
    setup.enter();
    // A backtrace tries to read this program.
    // SAFETY: the process has one thread.
    unsafe { std::env::set_var("RUST_BACKTRACE", "1") };
    assert!(std::panic::catch_unwind(|| panic!("caught")).is_err());
    Ok(())
}

pub fn hash_map(setup: Setup) -> Done {
    setup.enter();
    assert_eq!(HashMap::from([(1, 2)])[&1], 2);
    Ok(())
}

pub fn thread(setup: Setup) -> Done {
    setup.enter();
    let threads: Vec<_> = (0..4)
        .map(|n| {
            let name = format!("thread {n}");
            let thread = std::thread::Builder::new().name(name);
            // The jail applies to new threads, too.
            thread
                .spawn(move || (vec![n; 1 << 20].len(), File::open("/dev/null").is_err()))
                .unwrap()
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), (1 << 20, true));
    }
    Ok(())
}

pub fn accept(setup: Setup) -> Done {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let _clients: Vec<_> =
        (0..20).map(|_| TcpStream::connect(listener.local_addr().unwrap()).unwrap()).collect();
    setup.enter();
    let accepted: Vec<_> = (0..20).map(|_| listener.accept().unwrap()).collect();
    assert_eq!(accepted.len(), 20);
    Ok(())
}

pub fn eventfd(setup: Setup) -> Done {
    setup.enter();
    let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
    rustix::io::write(&event, &1_u64.to_ne_bytes()).unwrap();
    let mut fds = [PollFd::new(&event, PollFlags::IN)];
    assert_eq!(rustix::event::poll(&mut fds, None).unwrap(), 1);
    let mut count = [0; 8];
    rustix::io::read(&event, &mut count).unwrap();
    assert_eq!(u64::from_ne_bytes(count), 1);
    Ok(())
}

/// The engine's query about its pool. It opens the file before the process enters.
pub fn pagemap_scan(setup: Setup) -> Done {
    let pagemap = File::open("/proc/self/pagemap").unwrap();
    let (_one, _other) = UnixStream::pair().unwrap();
    setup.enter();
    let page = vec![1_u8; 1 << 16];
    // struct pm_scan_arg: size, flags, start, end, walk_end, vec, vec_len, ...
    let start = page.as_ptr().addr().next_multiple_of(4096) as u64;
    let mut regions = [0_u64; 12];
    let mut scan = [0_u64; 12];
    scan[0] = size_of_val(&scan) as u64;
    (scan[2], scan[3]) = (start, start + 8192);
    (scan[5], scan[6]) = (regions.as_mut_ptr().addr() as u64, 4);
    // PAGE_IS_PRESENT, in the query and in the answer.
    (scan[10], scan[11]) = (1 << 3, 1 << 3);
    // SAFETY: both are as large as the structure says.
    let found = unsafe { libc::ioctl(pagemap.as_raw_fd(), 0xc060_6610, scan.as_mut_ptr()) };
    match found {
        -1 => Err(std::io::Error::last_os_error().raw_os_error().unwrap()),
        found => {
            assert_eq!(found, 1);
            Ok(())
        }
    }
}

pub fn abort(setup: Setup) -> Done {
    setup.enter();
    std::process::abort()
}
