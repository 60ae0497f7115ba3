//! What of the host an operator lets a handler see: variables and directories.

use std::hash::RandomState;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use cap_std::ambient_authority;

use crate::error::LoadError;
use crate::host::open_files::{Counted, OpenFiles};
use crate::policy::{Dir, MAX_DIRS, Policy};

/// What all instances of a handler share.
pub(crate) struct Grants {
    /// The environment, names and values.
    pub env: Vec<(String, String)>,
    /// The directories, with their names.
    pub directories: Vec<(Directory, String)>,
    /// When the monotonic clock of the guests began to run.
    pub begun: Instant,
    /// Tells files apart without saying which they are.
    pub hasher: RandomState,
}

/// A directory that is open.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    pub dir: Arc<Counted<cap_std::fs::Dir>>,
    pub writable: bool,
    /// What is opened in it is counted here.
    pub files: Arc<OpenFiles>,
}

impl Grants {
    /// Opens what a policy grants.
    ///
    /// Errors: there are too many directories; one is not there, or cannot be
    /// opened.
    pub(crate) fn new(policy: &Policy) -> Result<Arc<Self>, LoadError> {
        let (count, limit) = (policy.dirs.len(), MAX_DIRS);
        if count > limit {
            return Err(LoadError::Dirs { count, limit });
        }
        let files = OpenFiles::of_this_process();
        let open = |granted: &Dir| {
            let failed = |error| LoadError::Dir { path: granted.host.clone(), error };
            // Looked at first: opening a FIFO would wait.
            if !std::fs::metadata(&granted.host).map_err(failed)?.is_dir() {
                return Err(failed(io::ErrorKind::NotADirectory.into()));
            }
            let dir = cap_std::fs::Dir::open_ambient_dir(&granted.host, ambient_authority());
            let dir = Arc::new(Counted::not(dir.map_err(failed)?));
            let (writable, files) = (granted.writable, Arc::clone(&files));
            Ok((Directory { dir, writable, files }, granted.guest.clone()))
        };
        Ok(Arc::new(Grants {
            env: policy.env.clone(),
            directories: policy.dirs.iter().map(open).collect::<Result<_, _>>()?,
            begun: Instant::now(),
            hasher: RandomState::new(),
        }))
    }
}
