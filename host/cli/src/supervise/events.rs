//! The signals of a supervisor, as descriptors.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag::register_usize;
use signal_hook::low_level::pipe;

/// The signals that have come.
pub struct Events {
    stop: UnixStream,
    reload: UnixStream,
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
        Ok(Events { stop, reload: receive(&[SIGHUP])?, child: receive(&[SIGCHLD])?, last })
    }

    /// Returns the descriptors that become readable at a signal.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 3] {
        [self.stop.as_fd(), self.reload.as_fd(), self.child.as_fd()]
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

    /// Returns the number of the last signal that ends the process.
    pub fn last_signal(&self) -> u8 {
        u8::try_from(self.last.load(Ordering::SeqCst)).unwrap_or_default()
    }
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
