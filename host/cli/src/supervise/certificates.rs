//! The files for TLS of a handler. The supervisor sees that they have changed without reading
//! them, so that no key is in its memory.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::handlers::Handlers;
use super::slot::Slot;
use crate::config::Handler;

/// The time between two looks at the files.
const LOOK: Duration = Duration::from_secs(2);

/// The state of the files for TLS of a handler.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CertificateFiles(Vec<Option<FileState>>);

/// The state of a file. Another file at the same path has another one, and so has a file that
/// was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileState {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The changes that looks at the files of a handler have seen.
#[derive(Debug, Clone, Default)]
pub struct SeenFiles {
    last: CertificateFiles,
    /// Set if the last look has seen a change. The files are being replaced, one after the other.
    is_new: bool,
}

impl CertificateFiles {
    /// Looks at the files of a handler.
    pub fn look(handler: &Handler) -> CertificateFiles {
        let tls = &handler.options.server.tls;
        let paths = tls.tls_cert.iter().chain(&tls.tls_key).chain(&tls.tls_client_ca);
        CertificateFiles(paths.map(|path| FileState::look(&handler.folder.join(path))).collect())
    }

    fn are_none(&self) -> bool {
        self.0.is_empty()
    }
}

impl FileState {
    /// Returns `None` if there is no file.
    fn look(path: &Path) -> Option<FileState> {
        let metadata = path.metadata().ok()?;
        Some(FileState {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

impl SeenFiles {
    /// Takes note of the files as they are now. Returns true once after a change, when a look has
    /// found them as the look before did.
    fn have_changed(&mut self, now: &CertificateFiles) -> bool {
        if self.last != *now {
            self.last = now.clone();
            self.is_new = true;
            return false;
        }
        std::mem::take(&mut self.is_new)
    }
}

impl Handlers {
    /// Starts a new process for each handler whose files have changed. A process that cannot use
    /// them ends, and the old one stays, until the files change again.
    pub(super) fn look_at_certificates(&mut self, now: Instant) {
        if self.certificates_at > now {
            return;
        }
        self.certificates_at = now + LOOK;
        let serving = |slot: &&mut Slot| slot.current.is_some() && slot.next.is_none();
        let slots = self.slots.values_mut().filter(serving).filter(|slot| slot.drain.is_none());
        let changed: Vec<_> = slots
            .filter_map(|slot| {
                let files = CertificateFiles::look(&slot.handler);
                let changed = slot.files.have_changed(&files) && files != slot.stamp.certificates;
                changed.then(|| slot.handler.clone())
            })
            .collect();
        for handler in changed {
            let name = handler.name.clone();
            tracing::info!("the handler `{name}` is replaced: its files for TLS have changed");
            if let Err(error) = self.change(handler) {
                tracing::error!("the handler `{name}` stays as it was: {error:#}");
            }
        }
    }

    /// Returns the time of the next look, if a handler has files for TLS.
    pub(super) fn certificates_deadline(&self) -> Option<Instant> {
        let mut slots = self.slots.values();
        slots.any(|slot| !slot.stamp.certificates.are_none()).then_some(self.certificates_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_once_and_when_it_is_over() {
        let at = |size| {
            let times = (0, 0);
            let state = FileState { file: (1, 1), size, modified: times, changed: times };
            CertificateFiles(vec![Some(state)])
        };
        let mut seen = SeenFiles { last: at(1), is_new: false };
        assert!(!seen.have_changed(&at(1)));
        assert!(!seen.have_changed(&at(2)) && !seen.have_changed(&at(3)));
        assert!(seen.have_changed(&at(3)));
        assert!(!seen.have_changed(&at(3)));
    }
}
