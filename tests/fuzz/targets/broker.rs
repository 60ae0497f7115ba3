//! The broker and a process in the jail that was taken over: whatever the process sends on its
//! connection, with descriptors or without, the broker serves others, opens nothing beside the
//! grants, and keeps nothing.
#![no_main]

use std::fs::{File, read_dir};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::LazyLock;
use std::thread;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use rustix::io::{retry_on_intr, write};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use socketserver_sandbox::{Broker, BrokerLimits, NetworkGrants, serve_broker};

const LIMITS: BrokerLimits = BrokerLimits {
    sockets: 4,
    connects: 4,
    all_sockets: 1000,
    connections: 1000,
    connections_of_worker: 4,
};

/// The largest message that the broker reads, and a little more.
const LONGEST: usize = (64 << 10) + 600;
/// The most descriptors that one message can pass: `SCM_MAX_FD`.
const MOST_DESCRIPTORS: u8 = 253;
/// The descriptors that the broker may have while the last connections end.
const MOST_OPEN: usize = 300;
/// A call that is granted: a socket for TCP over IPv4.
const GRANTED: &[u8] = &[1, 4, 2, 0];

static DOOR: LazyLock<Door> = LazyLock::new(Door::new);

/// A broker in this process, and the way to it.
struct Door {
    way: OwnedFd,
    bell: OwnedFd,
    null: File,
}

/// A message of the process.
#[derive(Arbitrary, Debug)]
struct Sent<'a> {
    message: Message<'a>,
    descriptors: u8,
    /// The process does not wait for the answer.
    leaves_the_answer: bool,
}

/// Any bytes, or a call with any values.
#[derive(Arbitrary, Debug)]
enum Message<'a> {
    Bytes(&'a [u8]),
    Call { number: u8, values: Vec<Value<'a>> },
}

/// A value, as it is in a message.
#[derive(Arbitrary, Debug)]
enum Value<'a> {
    Byte(u8),
    Signed(i32),
    Unsigned(u32),
    Bytes(&'a [u8]),
    Ipv4([u8; 4], u16),
    Loopback(u16),
}

fuzz_target!(|sent: Vec<Sent<'_>>| {
    let hostile = DOOR.come();
    for Sent { message, descriptors, leaves_the_answer } in &sent {
        let bytes = message.bytes();
        if bytes.len() > LONGEST || !send(&hostile, &bytes, &DOOR.null, *descriptors) {
            return;
        }
        if !leaves_the_answer && receive(&hostile).is_none() {
            // The broker has ended the connection.
            break;
        }
    }
    drop(hostile);
    let other = DOOR.come();
    assert!(send(&other, GRANTED, &DOOR.null, 0), "the broker is there");
    let (answer, sockets) = receive(&other).expect("the broker serves others");
    assert_eq!((answer.as_slice(), sockets), (&[2, 1][..], 1));
    let open = || read_dir("/proc/self/fd").expect("descriptors").count();
    // The threads of earlier connections may not have ended yet.
    let has_closed = (0..1000).any(|_| {
        thread::yield_now();
        open() < MOST_OPEN
    });
    assert!(has_closed, "{} descriptors", open());
});

impl Message<'_> {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Message::Bytes(bytes) => bytes.to_vec(),
            Message::Call { number, values } => {
                let mut bytes = vec![number % 12];
                for value in values {
                    value.write(&mut bytes);
                }
                bytes
            }
        }
    }
}

impl Value<'_> {
    fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Value::Byte(byte) => bytes.push(*byte),
            Value::Signed(value) => {
                write_number(((value << 1) ^ (value >> 31)).cast_unsigned(), bytes);
            }
            Value::Unsigned(value) => write_number(*value, bytes),
            Value::Bytes(data) => {
                write_number(u32::try_from(data.len()).unwrap_or(u32::MAX), bytes);
                bytes.extend_from_slice(data);
            }
            Value::Ipv4(ip, port) => {
                bytes.push(0);
                bytes.extend_from_slice(ip);
                write_number((*port).into(), bytes);
            }
            Value::Loopback(port) => Value::Ipv4([127, 0, 0, 1], *port).write(bytes),
        }
    }
}

/// Writes a number of variable length, seven bits in a byte.
fn write_number(mut value: u32, bytes: &mut Vec<u8>) {
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
}

impl Door {
    fn new() -> Door {
        let (door, other) = Broker::door().expect("a door");
        let grants = |texts: &[&str]| {
            texts.iter().map(|text| text.parse().expect("a grant")).collect::<Vec<_>>()
        };
        let grants = NetworkGrants {
            connect: grants(&["tcp://127.0.0.1:9", "udp://127.0.0.1:9", "unix:///nowhere"]),
            listen: grants(&["tcp://127.0.0.1:0"]),
            resolve: vec!["localhost".parse().expect("a name")],
            raw: false,
        };
        thread::spawn(move || {
            let ended = serve_broker(&other, grants, LIMITS);
            panic!("the broker ended: {ended:?}");
        });
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut ready = [0; 1];
        let parts = &mut [IoSliceMut::new(&mut ready)];
        recvmsg(&door, parts, &mut control, RecvFlags::empty()).expect("the broker begins");
        let bell = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        let null = File::open("/dev/null").expect("/dev/null");
        Door { way: door, bell: bell.expect("a bell"), null }
    }

    /// Comes to the door as the process of a request, and rings.
    fn come(&self) -> OwnedFd {
        let kind = SocketType::SEQPACKET;
        let pair = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None);
        let (own, other) = pair.expect("a connection");
        assert!(send(&self.way, b"r", &other, 1), "the broker is there");
        let _ = write(&self.bell, b".");
        own
    }
}

fn send(socket: &OwnedFd, bytes: &[u8], descriptor: &impl AsFd, count: u8) -> bool {
    let count = usize::from(count.min(MOST_DESCRIPTORS));
    let descriptors: Vec<BorrowedFd<'_>> = vec![descriptor.as_fd(); count];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if count > 0 {
        assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
    }
    // A process that reads no answers fills both queues.
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags).is_ok()
}

/// Receives an answer with its descriptors. Returns `None` at the end of the connection.
fn receive(socket: &OwnedFd) -> Option<(Vec<u8>, usize)> {
    let mut answer = vec![0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let parts = &mut [IoSliceMut::new(&mut answer)];
    // libFuzzer has a timer with a signal.
    let received = retry_on_intr(|| recvmsg(socket, parts, &mut control, RecvFlags::empty()));
    let received = received.ok()?;
    let descriptors = control.drain().map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => descriptors.count(),
        _ => 0,
    });
    let descriptors = descriptors.sum();
    answer.truncate(received.bytes);
    (received.bytes > 0).then_some((answer, descriptors))
}
