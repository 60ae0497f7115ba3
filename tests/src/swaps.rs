//! Handlers that tell their version, and clients that check that an answer is of one version.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::load::{Client, Target};
use crate::process::TIMEOUT;

/// The bytes of an answer, which a handler of connections sends in two parts.
pub const ANSWER: usize = 8192;

/// Returns the text of a handler of connections, whose answer consists of this letter.
pub fn stream_handler(letter: char) -> String {
    let half = ANSWER / 2;
    let send = format!("(call $sendall (i32.const 16384) (i32.const {half}))");
    text(include_str!("../fixtures/handler.wat"), letter, &format!("{send} {send}"), "1")
}

/// Returns the text of a handler of datagrams, whose answer consists of this letter.
pub fn datagram_handler(letter: char) -> String {
    let send = format!("(call $reply (i32.const 16384) (i32.const {ANSWER}))");
    text(include_str!("../fixtures/datagram.wat"), letter, &send, "4")
}

/// Returns a configuration with both handlers, at a socket of each kind. Unix sockets are in
/// `folder`, and `mode` is a key with its value.
pub fn configuration(folder: &Path, mode: &str) -> String {
    let table = |name: &str, inet: &str, unix: &str| {
        let path = folder.join(name).with_extension("socket");
        format!(
            "[handler.{name}]\nsource = \"{name}.wat\"\n{mode}\n\
             bind = [\"{inet}://127.0.0.1:0\", \"{unix}://{}\"]\n",
            path.display()
        )
    };
    let tables = [table("stream", "tcp", "unix"), table("datagram", "udp", "unixgram")];
    format!("version = 1\n[server]\ncontrol = \"control\"\n{}", tables.concat())
}

fn text(template: &str, letter: char, send: &str, memory: &str) -> String {
    let (letter, mut text) = (u32::from(letter), template.to_owned());
    let fill = format!("(memory.fill (i32.const 16384) (i32.const {letter}) (i32.const {ANSWER}))");
    for (name, code) in [("handle", &*format!("{fill} {send}")), ("memory", memory)] {
        text = text.replace(&format!("{{{{{name}}}}}"), code);
    }
    for name in
        ["setup", "finish", "realloc", "post_return", "fields", "component", "imports", "provides"]
    {
        text = text.replace(&format!("{{{{{name}}}}}"), "");
    }
    text
}

/// Returns a client that sends each datagram once.
///
/// # Errors
///
/// The kernel refuses a socket.
pub fn client(target: &Target) -> Result<Client> {
    let client = Client::new(target)?;
    match &client {
        Client::Udp(socket) => socket.set_read_timeout(Some(TIMEOUT))?,
        Client::Unixgram(socket) => socket.set_read_timeout(Some(TIMEOUT))?,
        Client::Tcp(_) | Client::Unix(_) => {}
    }
    Ok(client)
}

/// Sends one request, and returns the letter of its answer.
///
/// # Errors
///
/// The request was lost or refused, or its answer is not whole.
pub fn ask(client: &Client) -> Result<char> {
    let mut answer = vec![0; 2 * ANSWER];
    match client {
        Client::Tcp(address) => {
            let stream = TcpStream::connect(address).context("a client was refused")?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            answer = read(&stream, |stream| stream.shutdown(Shutdown::Write))?;
        }
        Client::Unix(path) => {
            let stream = UnixStream::connect(path).context("a client was refused")?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            answer = read(&stream, |stream| stream.shutdown(Shutdown::Write))?;
        }
        Client::Udp(socket) => {
            socket.send(b"x").context("a datagram was refused")?;
            let count = socket.recv(&mut answer).context("a datagram was lost")?;
            answer.truncate(count);
        }
        Client::Unixgram(socket) => {
            socket.send(b"x").context("a datagram was refused")?;
            let count = socket.recv(&mut answer).context("a datagram was lost")?;
            answer.truncate(count);
        }
    }
    ensure!(answer.len() == ANSWER, "an answer has {} bytes in place of {ANSWER}", answer.len());
    ensure!(answer.iter().all(|byte| *byte == answer[0]), "an answer is of two versions");
    Ok(char::from(answer[0]))
}

fn read<'a, S>(mut stream: &'a S, end: impl Fn(&S) -> std::io::Result<()>) -> Result<Vec<u8>>
where
    &'a S: Read + Write,
{
    stream.write_all(b"x").context("a connection was lost")?;
    end(stream).context("a connection was lost")?;
    let mut answer = Vec::with_capacity(ANSWER);
    stream.read_to_end(&mut answer).context("a connection was lost")?;
    Ok(answer)
}
