//! Clients of Unix sockets that pass descriptors (`SCM_RIGHTS`) whose close takes long: TCP
//! sockets with unsent data and `SO_LINGER`, which the kernel closes in the thread that
//! drops the message.
//!
//! Each test runs twice: on the kernel as it is, and as on Linux before 6.16, which has no
//! `SO_PASSRIGHTS`. There a seccomp filter makes the option fail in this thread and in the
//! threads that it starts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "common/passing.rs"]
mod passing;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use common::{NEVER, WAIT, serve};
use passing::{lingering_socket, pass_descriptors};
use rustix::io::Errno;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use socket2::SockRef;
use socketserver::{Address, Concurrency, Hooks, Request, Server, ServerBuilder, Threading};

/// Longer than any test waits.
const LINGER: Duration = Duration::from_mins(1);

/// `SO_PASSRIGHTS` of `asm-generic/socket.h`.
const SO_PASSRIGHTS: u64 = 83;

/// Sends `data` with such a socket to a server that does not receive yet, and closes the
/// sender's own copy. The kernel may refuse to pass the socket.
fn attack(client: impl AsFd, data: &[u8]) -> TcpStream {
    let (socket, other_end) = lingering_socket(LINGER);
    match pass_descriptors(client, data, &[socket.as_fd()]) {
        Ok(_) => {}
        // The close of the only copy would block the test.
        Err(Errno::PERM) => SockRef::from(&socket).set_linger(None).unwrap(),
        Err(error) => panic!("{error}"),
    }
    other_end
}

/// Makes `SO_PASSRIGHTS` fail in this thread from now on, as on an old kernel.
fn without_passrights() {
    let condition = |argument, value| {
        let equal = SeccompCmpOp::Eq;
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, equal, value).unwrap()
    };
    let sol_socket = u64::from(libc::SOL_SOCKET.unsigned_abs());
    let rule = SeccompRule::new(vec![condition(1, sol_socket), condition(2, SO_PASSRIGHTS)]);
    let rules = BTreeMap::from([(libc::SYS_setsockopt, vec![rule.unwrap()])]);
    let refuse = SeccompAction::Errno(libc::ENOPROTOOPT.unsigned_abs());
    let arch: TargetArch = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).unwrap();
    seccompiler::apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
}

/// Runs `test` on this kernel, and on one without `SO_PASSRIGHTS`.
fn on_both_kernels(test: impl Fn(&Path) + Sync) {
    for old in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        thread::scope(|scope| {
            let run = scope.spawn(|| {
                if old {
                    without_passrights();
                }
                test(&directory.path().join("socket"));
            });
            run.join().unwrap();
        });
    }
}

fn stream_server(
    path: &Path,
    handler: impl Fn(&Request) -> std::io::Result<()> + Send + Sync + 'static,
) -> ServerBuilder {
    Server::builder(move |request: &Request, _: &Address, _: &_| handler(request))
        .bind(format!("unix://{}", path.display()).parse().unwrap())
}

/// Returns the answer to a client that sends `data`.
fn ask(path: &Path, data: &[u8]) -> Vec<u8> {
    let mut client = UnixStream::connect(path).unwrap();
    client.set_read_timeout(Some(WAIT)).unwrap();
    client.write_all(data).unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    answer
}

fn echo(request: &Request) -> std::io::Result<()> {
    let data = request.recv(100)?;
    request.sendall(&data)
}

#[test]
fn a_datagram_with_a_slow_descriptor_does_not_hold_the_loop() {
    on_both_kernels(|path| {
        let handler = |request: &Request, client: &Address, _: &_| {
            request.sendto(request.data(), client).map(drop)
        };
        let server = Server::builder(handler)
            .bind(format!("unixgram://{}", path.display()).parse().unwrap());
        let server = server.build().unwrap();
        let client = UnixDatagram::bind(path.with_extension("client")).unwrap();
        client.set_read_timeout(Some(WAIT)).unwrap();
        client.connect(path).unwrap();
        let attacks: Vec<_> = (0..3).map(|_| attack(&client, b"attack")).collect();
        let server = serve(server, NEVER);
        client.send(b"hello").unwrap();
        let mut answer = [0; 100];
        while {
            let count = client.recv(&mut answer).unwrap();
            &answer[..count] != b"hello"
        } {}
        drop((attacks, server));
    });
}

#[test]
fn a_refused_client_with_a_slow_descriptor_does_not_hold_the_loop() {
    struct RefusesFirst(std::sync::atomic::AtomicBool);
    impl Hooks for RefusesFirst {
        fn verify_request(&self, _: &Request, _: &Address) -> bool {
            self.0.swap(true, std::sync::atomic::Ordering::SeqCst)
        }
    }
    on_both_kernels(|path| {
        let server = stream_server(path, echo).hooks(RefusesFirst(false.into())).build().unwrap();
        // The client waits in the backlog, with the message in its queue.
        let client = UnixStream::connect(path).unwrap();
        let other_end = attack(&client, b"attack");
        let server = serve(server, NEVER);
        assert_eq!(ask(path, b"hello"), b"hello");
        drop((client, other_end, server));
    });
}

#[test]
fn a_slow_descriptor_does_not_hold_a_thread_that_receives() {
    on_both_kernels(|path| {
        let threading = Threading { max_requests: Some(1), ..Threading::new() };
        let server = stream_server(path, echo).concurrency(Concurrency::Threading(threading));
        let server = server.build().unwrap();
        let client = UnixStream::connect(path).unwrap();
        let other_end = attack(&client, b"attack");
        let server = serve(server, NEVER);
        // If the kernel refuses it, no data has come yet.
        let _ = (&client).write_all(b"x");
        assert_eq!(ask(path, b"hello"), b"hello");
        drop((client, other_end, server));
    });
}

#[test]
fn a_slow_descriptor_that_is_not_received_does_not_hold_a_thread() {
    on_both_kernels(|path| {
        let ends = |request: &Request| request.sendall(b"end");
        let threading = Threading { max_requests: Some(1), ..Threading::new() };
        let server = stream_server(path, ends).concurrency(Concurrency::Threading(threading));
        let server = server.build().unwrap();
        let client = UnixStream::connect(path).unwrap();
        let other_end = attack(&client, b"attack");
        let server = serve(server, NEVER);
        assert_eq!(ask(path, b""), b"end");
        drop((client, other_end, server));
    });
}

#[test]
fn a_server_that_is_closed_does_not_wait_for_slow_descriptors_in_its_backlog() {
    on_both_kernels(|path| {
        let server = stream_server(path, echo).build().unwrap();
        let client = UnixStream::connect(path).unwrap();
        let attacks: Vec<_> = (0..3).map(|_| attack(&client, b"attack")).collect();
        let (done, is_done) = std::sync::mpsc::channel();
        thread::spawn(move || {
            server.server_close();
            done.send(()).unwrap();
        });
        is_done.recv_timeout(WAIT).expect("closing waits");
        drop((client, attacks));
    });
}

#[test]
fn descriptors_that_are_passed_are_closed() {
    on_both_kernels(|path| {
        let server = serve(stream_server(path, echo).build().unwrap(), NEVER);
        let (read, write) = rustix::pipe::pipe().unwrap();
        let client = UnixStream::connect(path).unwrap();
        let sent = pass_descriptors(&client, b"x", &[write.as_fd(); 253]);
        assert!(matches!(sent, Ok(1) | Err(Errno::PERM)), "{sent:?}");
        drop(write);
        let mut rest = Vec::new();
        // It ends when no process holds the other end any more.
        std::fs::File::from(read).read_to_end(&mut rest).unwrap();
        drop((client, server));
    });
}
