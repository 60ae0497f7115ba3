//! The answers at the control socket. A long one takes several writes, and the loop of the
//! supervisor waits for none of them.

use std::io::{ErrorKind, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use super::control::Done;

/// The longest answer, in bytes.
pub const MAX_ANSWER: usize = 4 << 20;

/// The most clients that have not read the whole of their answers. One more takes the place of
/// the one whose time is over first.
const MAX_CLIENTS: usize = 16;

/// The time in which a client reads an answer.
const LONGEST: Duration = Duration::from_secs(10);

/// The connection of a client.
pub struct Client(pub(super) UnixStream);

impl Client {
    /// Returns true if the client has closed its connection, and reads nothing any more.
    pub fn has_gone(&self) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(self.as_fd(), PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&now)).is_ok_and(|_| fds[0].revents().contains(PollFlags::HUP))
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// An answer that a client has not read to its end.
struct Answer {
    client: Client,
    text: Vec<u8>,
    written: usize,
    until: Instant,
}

/// Closes the connection, also if another process has it, such as the trial of an upgrade.
impl Drop for Answer {
    fn drop(&mut self) {
        let _ = self.client.0.shutdown(Shutdown::Both);
    }
}

/// All answers that clients have not read to their ends.
#[derive(Default)]
pub struct Answers(Vec<Answer>);

impl Answers {
    /// Answers, and closes the connection when all is written.
    pub fn send(&mut self, client: Client, answer: &impl Serialize, now: Instant) {
        let mut text = serde_json::to_vec(answer).unwrap_or_default();
        if text.len() >= MAX_ANSWER {
            let long = format!(
                "the answer has {} bytes, and the most are {MAX_ANSWER}: the metrics have more room",
                text.len()
            );
            text = serde_json::to_vec(&Done::failed(long)).unwrap_or_default();
        }
        text.push(b'\n');
        let mut answer = Answer { client, text, written: 0, until: now + LONGEST };
        if answer.go_on() {
            if self.0.len() >= MAX_CLIENTS {
                self.0.remove(0);
            }
            self.0.push(answer);
        }
    }

    /// Writes more of the answers. Drops those that are written, and those whose time is over.
    pub fn go_on(&mut self, now: Instant) {
        self.0.retain_mut(|answer| answer.until > now && answer.go_on());
    }

    /// Returns true if no client reads an answer.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the descriptors that become writable when more can be written.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().map(|answer| answer.client.as_fd())
    }

    /// Returns the time at which a client has read for too long.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.0.iter().map(|answer| answer.until).min()
    }
}

impl Answer {
    /// Writes what there is room for. Returns false if there is nothing more to write.
    fn go_on(&mut self) -> bool {
        while let Some(rest) = self.text.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.client.0.write(rest) {
                Ok(0) => return false,
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn client() -> (Client, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (Client(ours), theirs)
    }

    #[test]
    fn a_long_answer_comes_whole_and_one_that_is_too_long_says_so() {
        let now = Instant::now();
        let mut answers = Answers::default();
        let (client, mut theirs) = client();
        theirs.set_nonblocking(true).unwrap();
        let long = "x".repeat(MAX_ANSWER - 3);
        answers.send(client, &long, now);
        assert!(!answers.is_empty());
        let mut all = Vec::new();
        let mut bytes = [0; 10_000];
        while !answers.is_empty() {
            if let Ok(count) = theirs.read(&mut bytes) {
                all.extend(&bytes[..count]);
            }
            answers.go_on(now);
        }
        theirs.read_to_end(&mut all).unwrap();
        assert_eq!(all, format!("\"{long}\"\n").as_bytes());
        let (client, mut theirs) = self::client();
        answers.send(client, &format!("{long}x"), now);
        let mut all = String::new();
        theirs.read_to_string(&mut all).unwrap();
        assert!(all.contains("4194304"), "{all}");
    }

    #[test]
    fn clients_that_do_not_read_have_a_bound_in_number_and_time() {
        let now = Instant::now();
        let mut answers = Answers::default();
        let long = "x".repeat(MAX_ANSWER / 2);
        let mut all = Vec::new();
        for _ in 0..=MAX_CLIENTS {
            let (client, theirs) = client();
            answers.send(client, &long, now);
            all.push(theirs);
        }
        assert_eq!(answers.descriptors().count(), MAX_CLIENTS);
        answers.go_on(answers.next_deadline().unwrap());
        assert!(answers.is_empty());
        for theirs in &mut all {
            let mut text = String::new();
            theirs.read_to_string(&mut text).unwrap();
            assert!(text.len() < long.len());
        }
    }
}
