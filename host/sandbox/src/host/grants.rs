//! The environment, the directories and the sockets that the operator grants to a handler.

use std::hash::RandomState;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use cap_std::ambient_authority;

use crate::error::LoadError;
use crate::host::open_files::{Counted, OpenFiles};
use crate::network_grants::NetworkGrants;
use crate::policy::{Dir, MAX_DIRS, Policy};

/// The grants that all instances of a handler share.
pub(crate) struct Grants {
    /// The environment variables, as names and values.
    pub env: Vec<(String, String)>,
    /// The arguments, without the name of the handler.
    pub args: Vec<String>,
    /// The directories, with the paths that the guest uses.
    pub directories: Vec<(Directory, String)>,
    /// The sockets.
    pub network: NetworkGrants,
    /// The limit for what guests open.
    pub files: Arc<OpenFiles>,
    /// The origin of the guests' monotonic clock.
    pub begun: Instant,
    /// The key of the hashes that tell files apart for a guest without naming them.
    pub hasher: RandomState,
}

/// An open directory.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    pub dir: Arc<Counted<cap_std::fs::Dir>>,
    pub writable: bool,
    /// The limit for files that guests open in it.
    pub files: Arc<OpenFiles>,
}

impl Grants {
    /// Opens the directories that a policy grants.
    ///
    /// # Errors
    ///
    /// There are too many directories, or one does not exist or cannot be opened.
    pub(crate) fn new(policy: &Policy) -> Result<Arc<Self>, LoadError> {
        let (count, limit) = (policy.dirs.len(), MAX_DIRS);
        if count > limit {
            return Err(LoadError::Dirs { count, limit });
        }
        let files = OpenFiles::for_this_process();
        let open = |granted: &Dir| {
            let failed = |error| LoadError::Dir { path: granted.host.clone(), error };
            // The check comes first, because to open a FIFO would wait.
            if !std::fs::metadata(&granted.host).map_err(failed)?.is_dir() {
                return Err(failed(io::ErrorKind::NotADirectory.into()));
            }
            let dir = cap_std::fs::Dir::open_ambient_dir(&granted.host, ambient_authority());
            let dir = Arc::new(Counted::uncounted(dir.map_err(failed)?));
            let (writable, files) = (granted.writable, Arc::clone(&files));
            Ok((Directory { dir, writable, files }, granted.guest.clone()))
        };
        Ok(Arc::new(Grants {
            env: policy.env.clone(),
            args: policy.args.clone(),
            directories: policy.dirs.iter().map(open).collect::<Result<_, _>>()?,
            network: policy.network.clone(),
            files,
            begun: Instant::now(),
            hasher: RandomState::new(),
        }))
    }
}
