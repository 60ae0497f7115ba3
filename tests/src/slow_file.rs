//! A file that is as slow as a test wants, for the reader.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};
use nix::sys::fanotify::{
    EventFFlags, Fanotify, FanotifyEvent, FanotifyResponse, InitFlags, MarkFlags, MaskFlags,
    Response,
};
use tempfile::TempDir;

/// A file whose reader the kernel stops until it is let go on: `fanotify(7)`.
#[derive(Debug)]
pub struct SlowFile {
    directory: TempDir,
    stops: Fanotify,
}

/// The calls at which a reader is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopAt {
    /// `open` and each `read`.
    OpenAndRead,
    /// Each `read`.
    Read,
}

/// A reader that is stopped in a call.
#[derive(Debug)]
pub struct Stopped(FanotifyEvent);

impl SlowFile {
    /// Returns a file named `file` that contains `inside`, in a directory of its own.
    ///
    /// # Errors
    ///
    /// This process may not stop readers: it takes root, and a kernel that can.
    pub fn new(stop_at: StopAt) -> Result<SlowFile> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("file");
        fs::write(&path, "inside")?;
        let mask = match stop_at {
            StopAt::OpenAndRead => MaskFlags::FAN_OPEN_PERM | MaskFlags::FAN_ACCESS_PERM,
            StopAt::Read => MaskFlags::FAN_ACCESS_PERM,
        };
        let flags = InitFlags::FAN_CLASS_CONTENT | InitFlags::FAN_CLOEXEC;
        let stops = Fanotify::init(flags, EventFFlags::O_RDONLY);
        let marked = stops.and_then(|stops| {
            let root = File::open("/").map_err(|_| nix::Error::ENOENT)?;
            stops.mark(MarkFlags::FAN_MARK_ADD, mask, root, Some(&path)).map(|()| stops)
        });
        Ok(SlowFile { directory, stops: marked.context("no test can make a file slow")? })
    }

    /// Returns the directory of the file.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Waits until a process has been stopped in a call on the file.
    ///
    /// # Errors
    ///
    /// The kernel does not report it.
    pub fn stop(&self) -> Result<Stopped> {
        Ok(Stopped(self.stops.read_events()?.pop().context("no event")?))
    }

    /// Lets a call go on.
    ///
    /// # Errors
    ///
    /// The kernel does not take it.
    pub fn go_on(&self, stopped: &Stopped) -> Result<()> {
        let descriptor = stopped.0.fd().context("an event without a descriptor")?;
        Ok(self.stops.write_response(FanotifyResponse::new(descriptor, Response::FAN_ALLOW))?)
    }

    /// Lets all calls go on, until this process opens the file.
    ///
    /// # Errors
    ///
    /// As those of [`stop`](Self::stop) and [`go_on`](Self::go_on).
    pub fn go_on_until_this_process_opens_it(&self) -> Result<()> {
        loop {
            let stopped = self.stop()?;
            self.go_on(&stopped)?;
            if stopped.0.pid().cast_unsigned() == std::process::id() {
                return Ok(());
            }
        }
    }
}
