//! The description of a supervisor, in JSON, that it hands over with its descriptors to another
//! program.
//!
//! The program may be of another version. It reads the version of the description first, and
//! refuses one that it does not know. It does so when it is tried, before the old program has
//! given up anything.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::cmsg_space;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};
use serde::{Deserialize, Serialize};

use crate::config::Place;
use crate::monitor::Kind;
use crate::report::certificates::Certificate;

/// The version of the description. It changes with everything that an older program would not
/// understand.
pub const VERSION: u32 = 1;

/// The longest description, in bytes.
const MAX_TEXT: u64 = 64 << 20;

/// The most descriptors.
const MAX_DESCRIPTORS: usize = 1 << 15;

/// The most descriptors of one message. The kernel takes 253.
const IN_MESSAGE: usize = 128;

/// The space for the descriptors of a message.
const SPACE: usize = cmsg_space!(ScmRights(IN_MESSAGE));

/// The longest time that a description can have.
const LONGEST: Duration = Duration::from_hours(24 * 366);

/// The part of a description that each version has.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    version: u32,
    /// The version of the program that has written it.
    program: String,
    /// The number of descriptors.
    descriptors: usize,
}

/// The state of a supervisor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    pub handlers: Vec<SlotState>,
    pub ending: Vec<EndingState>,
    /// The number of generations so far.
    pub generations: u64,
    pub control: Option<ControlState>,
    /// The sockets of the monitor.
    pub monitor: Vec<(usize, Kind)>,
    /// The standard input, whose place the description had.
    pub stdin: usize,
}

/// A process that ends, with the name of its handler.
pub type EndingState = (String, ProcessState);

/// A handler. Times are in milliseconds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotState {
    pub name: String,
    pub folder: PathBuf,
    pub place: Place,
    pub arguments: Vec<String>,
    pub sockets: Vec<SocketState>,
    pub current: Option<ProcessState>,
    pub failures: u32,
    pub restarts: u64,
    pub restart_in: Option<u64>,
    pub drain: Option<DrainState>,
    pub last_failure: Option<String>,
}

/// A listening socket.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SocketState {
    pub fd: usize,
    /// The index of the `bind` that it was made from.
    pub bind: usize,
    pub is_passed: bool,
}

/// A handler that is drained.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DrainState {
    Delay(u64),
    Queues(u64),
    Closed,
}

/// A process.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessState {
    pub pid: i32,
    pub door: usize,
    pub generation: u64,
    pub age: u64,
    pub is_ready: bool,
    pub time_left: Option<u64>,
    pub is_stopping: bool,
    pub status: String,
    #[serde(default)]
    pub certificates: Vec<Certificate>,
}

/// The control socket, and its clients.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlState {
    pub listener: usize,
    /// The clients that have not said all, and their words so far.
    pub asking: Vec<(usize, String)>,
    /// The clients that wait until all handlers have been replaced.
    pub reloading: Vec<usize>,
    pub draining: Vec<(usize, Option<String>)>,
}

/// The descriptors that are handed over. Those of a description are indexes into them.
#[derive(Debug, Default)]
pub struct Descriptors<'a>(Vec<BorrowedFd<'a>>);

impl<'a> Descriptors<'a> {
    /// Adds a descriptor, and returns its index.
    pub fn add(&mut self, fd: BorrowedFd<'a>) -> usize {
        self.0.push(fd);
        self.0.len() - 1
    }
}

/// The descriptors of a description that was received.
#[derive(Debug)]
pub struct Received(Vec<Option<OwnedFd>>);

impl Received {
    /// Takes a descriptor.
    ///
    /// # Errors
    ///
    /// There is none with this index, or it was taken.
    pub fn take(&mut self, index: usize) -> Result<OwnedFd> {
        let fd = self.0.get_mut(index).and_then(Option::take);
        fd.with_context(|| format!("the description has no descriptor {index}"))
    }
}

/// Returns a socket from which [`receive`] reads this.
///
/// # Errors
///
/// It is too large, or the machine has no room for it.
pub fn send(state: &State, fds: &Descriptors<'_>) -> Result<OwnedFd> {
    let Descriptors(fds) = fds;
    ensure!(
        fds.len() <= MAX_DESCRIPTORS,
        "{} descriptors are to be handed over, and the most are {MAX_DESCRIPTORS}",
        fds.len()
    );
    let program = env!("CARGO_PKG_VERSION").to_owned();
    let header = Header { version: VERSION, program, descriptors: fds.len() };
    let mut text = serde_json::to_string(&header)?;
    text.push('\n');
    text += &serde_json::to_string(state).context("the state cannot be described")?;
    ensure!(
        text.len() as u64 <= MAX_TEXT,
        "the options of the handlers have more than {MAX_TEXT} bytes, which cannot be handed over"
    );
    let mut file = File::from(memfd_create("description", MemfdFlags::CLOEXEC)?);
    file.write_all(text.as_bytes()).and_then(|()| file.rewind()).context("no room for it")?;
    let kind = (AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC);
    let (ours, theirs) = socketpair(kind.0, kind.1, kind.2, None)?;
    for some in std::iter::once(&[file.as_fd()][..]).chain(fds.chunks(IN_MESSAGE)) {
        let mut space = [MaybeUninit::uninit(); SPACE];
        let mut control = SendAncillaryBuffer::new(&mut space);
        ensure!(control.push(SendAncillaryMessage::ScmRights(some)), "too many descriptors");
        let sent = sendmsg(&ours, &[IoSlice::new(b"-")], &mut control, SendFlags::DONTWAIT);
        sent.context("the descriptors cannot be handed over")?;
    }
    Ok(theirs)
}

/// Receives what [`send`] has sent.
///
/// # Errors
///
/// It is something else, or of another version.
pub fn receive(socket: BorrowedFd<'_>) -> Result<(State, Received)> {
    let file = receive_message(socket).context("`up` starts this command at an upgrade")?;
    let [file] = <[OwnedFd; 1]>::try_from(file).ok().context("there is no description")?;
    let mut text = String::new();
    File::from(file).take(MAX_TEXT + 1).read_to_string(&mut text)?;
    let (header, state) = parse(&text)?;
    let mut fds = Vec::new();
    while fds.len() < header.descriptors {
        fds.extend(receive_message(socket)?.into_iter().map(Some));
    }
    Ok((state, Received(fds)))
}

fn parse(text: &str) -> Result<(Header, State)> {
    ensure!(text.len() as u64 <= MAX_TEXT, "the description has more than {MAX_TEXT} bytes");
    let (header, state) = text.split_once('\n').unwrap_or((text, ""));
    let header: Header = serde_json::from_str(header).context("the description has no version")?;
    let Header { version, program, descriptors } = &header;
    if *version != VERSION {
        let program = socketserver::printable(program, 40);
        bail!(
            "the server is version {program} and hands over version {version} of its \
             description, and this program takes over version {VERSION}: restart the server"
        );
    }
    ensure!(*descriptors <= MAX_DESCRIPTORS, "the description has {descriptors} descriptors");
    let state = serde_json::from_str(state).context("the description is wrong")?;
    Ok((header, state))
}

/// Receives the descriptors of a message, of which there is at least one.
fn receive_message(socket: BorrowedFd<'_>) -> Result<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut data = [0; 1];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut data)], &mut control, flags)?;
    ensure!(!received.flags.contains(ReturnFlags::CTRUNC), "a descriptor was lost");
    let fds = control.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => fds.collect(),
        _ => Vec::new(),
    });
    let fds: Vec<_> = fds.collect();
    ensure!(!fds.is_empty(), "descriptors are missing");
    Ok(fds)
}

/// Returns a time for a description.
pub fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.min(LONGEST).as_millis()).unwrap_or_default()
}

/// Returns a time of a description.
pub fn from_milliseconds(time: u64) -> Duration {
    Duration::from_millis(time).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn state() -> State {
        State {
            handlers: Vec::new(),
            ending: Vec::new(),
            generations: 7,
            control: None,
            monitor: Vec::new(),
            stdin: 0,
        }
    }

    #[test]
    fn each_descriptor_arrives_once() {
        let pairs: Vec<_> = (0..300).map(|_| UnixStream::pair().unwrap()).collect();
        let mut fds = Descriptors::default();
        let indexes: Vec<_> = pairs.iter().map(|(one, _)| fds.add(one.as_fd())).collect();
        let socket = send(&state(), &fds).unwrap();
        let (received, mut fds) = receive(socket.as_fd()).unwrap();
        assert_eq!(received.generations, 7);
        for (index, (_, other)) in indexes.into_iter().zip(&pairs) {
            let mut one = UnixStream::from(fds.take(index).unwrap());
            one.write_all(&[u8::try_from(index % 256).unwrap()]).unwrap();
            let mut byte = [0];
            (&mut &*other).read_exact(&mut byte).unwrap();
            assert_eq!(usize::from(byte[0]), index % 256);
            assert!(fds.take(index).is_err());
        }
        assert!(fds.take(300).is_err());
    }

    #[test]
    fn another_version_is_refused_before_the_rest_is_read() {
        let later = "{\"version\":2,\"program\":\"9.0.0\",\"descriptors\":0,\"more\":1}\nanything";
        let error = parse(later).unwrap_err().to_string();
        assert!(error.contains("9.0.0") && error.contains("version 2"), "{error}");
        let many = "{\"version\":1,\"program\":\"\",\"descriptors\":32769}\n{}";
        assert!(parse(many).unwrap_err().to_string().contains("32769"));
        for wrong in
            ["", "{}", "{\"version\":1}", "{\"version\":1,\"program\":\"\",\"descriptors\":0}\n{}"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_description_with_fewer_descriptors_than_it_says_is_refused() {
        let (one, _) = UnixStream::pair().unwrap();
        let socket = send(&state(), &Descriptors(vec![one.as_fd()])).unwrap();
        receive_message(socket.as_fd()).unwrap();
        // The description is gone, and the first message has something else.
        assert!(receive(socket.as_fd()).is_err());
    }

    #[test]
    fn times_have_a_bound() {
        assert_eq!(from_milliseconds(u64::MAX), LONGEST);
        assert_eq!(milliseconds(Duration::MAX), u64::try_from(LONGEST.as_millis()).unwrap());
    }
}
