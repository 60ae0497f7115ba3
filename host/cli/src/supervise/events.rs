//! The signals of a supervisor, as descriptors.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::flag::register_usize;
use signal_hook::low_level::pipe;

/// The signals that have come.
pub struct Events {
    stop: UnixStream,
    reload: UnixStream,
    upgrade: UnixStream,
    counters: UnixStream,
    child: UnixStream,
    last: Arc<AtomicUsize>,
}

impl Events {
    pub fn install() -> io::Result<Events> {
        let last = Arc::new(AtomicUsize::new(0));
        for signal in [SIGINT, SIGTERM] {
            register_usize(signal, Arc::clone(&last), signal.unsigned_abs() as usize)?;
        }
        let stop = receive(&[SIGINT, SIGTERM])?;
        let (reload, upgrade) = (receive(&[SIGHUP])?, receive(&[SIGUSR2])?);
        let (counters, child) = (receive(&[SIGUSR1])?, receive(&[SIGCHLD])?);
        Ok(Events { stop, reload, upgrade, counters, child, last })
    }

    /// Returns the descriptors that become readable at a signal.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 5] {
        [&self.stop, &self.reload, &self.upgrade, &self.counters, &self.child].map(AsFd::as_fd)
    }

    /// Takes the signals that end the process, and returns their number.
    pub fn take_stop(&mut self) -> usize {
        // The end of a child is found out from the child itself.
        take(&mut self.child);
        take(&mut self.stop)
    }

    /// Takes the signals to read the configuration again. Returns true if there were some.
    pub fn take_reload(&mut self) -> bool {
        take(&mut self.reload) > 0
    }

    /// Takes the signals to replace the program. Returns true if there were some.
    pub fn take_upgrade(&mut self) -> bool {
        take(&mut self.upgrade) > 0
    }

    /// Takes the signals to print the counters. Returns true if there were some.
    pub fn take_counters(&mut self) -> bool {
        take(&mut self.counters) > 0
    }

    /// Returns true if a signal has come that was not taken yet, other than that of a child.
    pub fn are_pending(&self) -> bool {
        let fds = [&self.stop, &self.reload, &self.upgrade, &self.counters];
        let mut fds = fds.map(|fd| PollFd::new(fd, PollFlags::IN));
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&now)) != Ok(0)
    }

    /// Returns the number of the last signal that ends the process.
    pub fn last_signal(&self) -> u8 {
        u8::try_from(self.last.load(Ordering::SeqCst)).unwrap_or_default()
    }
}

/// Has the signals of a supervisor wait from now on for the calling thread, and for the threads
/// and programs that it starts. Returns those that waited before.
pub fn block() -> io::Result<SigSet> {
    let mut set = SigSet::empty();
    for signal in [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGCHLD,
    ] {
        set.add(signal);
    }
    Ok(set.thread_swap_mask(SigmaskHow::SIG_BLOCK)?)
}

/// Returns a stream that has a byte for each of these signals.
fn receive(signals: &[i32]) -> io::Result<UnixStream> {
    let (reader, writer) = UnixStream::pair()?;
    reader.set_nonblocking(true)?;
    for signal in signals {
        pipe::register(*signal, writer.try_clone()?)?;
    }
    Ok(reader)
}

fn take(stream: &mut UnixStream) -> usize {
    let mut bytes = [0; 64];
    let mut all = 0;
    while let Ok(count @ 1..) = stream.read(&mut bytes) {
        all += count;
    }
    all
}
