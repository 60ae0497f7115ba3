//! `upgrade`: the program of a supervisor is replaced by the one that stands in its file now.
//!
//! The new program is tried first, in a child that is handed over the same description, and
//! checks the configuration. Then this process executes it. The process, its children and its
//! parent stay the same, and so do the sockets.

use std::convert::Infallible;
use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io::{Read, Seek, stdin};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use nix::unistd::{dup2_stdin, execve};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::process::{Pid, Signal, kill_process_group};
use socketserver::printable;

use super::description::{Descriptors, State, send};
use crate::report::printable_path;

/// The longest time of a trial, in which all handlers may have to be compiled.
const LONGEST_TRIAL: Duration = Duration::from_mins(10);

/// The most that a trial can say, in bytes.
const MAX_SAID: u64 = 16 << 10;

/// The longest line of it that is shown, in bytes.
const MAX_LINE: usize = 400;

/// The file of the program.
#[derive(Debug, Clone)]
pub struct Program(PathBuf);

/// The properties of a file that change with its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity([i64; 5]);

impl Program {
    /// Returns the file that this process was started from.
    ///
    /// A link stays a link, so that an upgrade can consist in another target.
    pub fn find() -> Option<Program> {
        let own = fs::metadata("/proc/self/exe").ok()?;
        let is_own = |path: &PathBuf| {
            fs::metadata(path).is_ok_and(|it| (it.dev(), it.ino()) == (own.dev(), own.ino()))
        };
        let name = PathBuf::from(env::args_os().next()?);
        let named = if name.components().count() > 1 || name.is_absolute() {
            std::path::absolute(&name).ok()
        } else {
            let paths = env::var_os("PATH").unwrap_or_default();
            env::split_paths(&paths).map(|folder| folder.join(&name)).find(is_own)
        };
        named.filter(is_own).or_else(|| env::current_exe().ok()).map(Program)
    }

    fn identity(&self) -> Result<Identity> {
        let failed = || format!("cannot find the program `{}`", printable_path(&self.0));
        let file: Metadata = fs::metadata(&self.0).with_context(failed)?;
        let (dev, ino) = (file.dev().cast_signed(), file.ino().cast_signed());
        Ok(Identity([dev, ino, file.size().cast_signed(), file.mtime(), file.mtime_nsec()]))
    }

    /// Begins to try the program with a description.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn try_out(&self, config: &Path, state: &State, fds: &Descriptors<'_>) -> Result<Trial> {
        let identity = self.identity()?;
        let said =
            File::from(memfd_create("trial", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
        // The program can write as much as that, and no more. The rest stays zero.
        ftruncate(&said, MAX_SAID)?;
        fcntl_add_seals(&said, SealFlags::GROW)?;
        let child = Command::new(&self.0)
            .args(arguments(config, true))
            .stdin(send(state, fds)?)
            .stdout(Stdio::null())
            .stderr(said.try_clone()?)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start `{}`", printable_path(&self.0)))?;
        Ok(Trial { child, said, identity, until: Instant::now() + LONGEST_TRIAL })
    }

    /// Replaces this program. Returns only if that fails; all is as it was then.
    ///
    /// # Errors
    ///
    /// The file is another one than that which was tried, or cannot be executed.
    pub fn execute(
        &self,
        tried: &Identity,
        config: &Path,
        state: &State,
        fds: &Descriptors<'_>,
        variables: &[(&str, OsString)],
    ) -> Result<Infallible> {
        ensure!(
            self.identity()? == *tried,
            "the program `{}` has changed since it was tried: ask again",
            printable_path(&self.0)
        );
        let path = text(self.0.as_os_str())?;
        let arguments = std::iter::once(Ok(path.clone()))
            .chain(arguments(config, false).into_iter().map(|argument| text(&argument)));
        let arguments = arguments.collect::<Result<Vec<_>>>()?;
        let variables = variables.iter().map(|(name, value)| (OsString::from(name), value.clone()));
        let variables = env::vars_os().chain(variables).map(|(mut variable, value)| {
            variable.push("=");
            variable.push(value);
            text(&variable)
        });
        let variables = variables.collect::<Result<Vec<_>>>()?;
        let before: OwnedFd = stdin().as_fd().try_clone_to_owned()?;
        dup2_stdin(send(state, fds)?)?;
        let Err(error) = execve(&path, &arguments, &variables);
        dup2_stdin(before)?;
        Err(error).with_context(|| format!("cannot execute `{}`", printable_path(&self.0)))
    }
}

/// Returns the arguments of a program that takes over, or only tries that.
fn arguments(config: &Path, is_trial: bool) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["up".into(), "--take-over".into()];
    arguments.extend(is_trial.then(|| "--try".into()));
    arguments.extend(["--".into(), config.into()]);
    arguments
}

fn text(text: &OsStr) -> Result<CString> {
    CString::new(text.as_bytes()).context("a text has a zero byte")
}

/// The trial of a program.
pub struct Trial {
    child: Child,
    said: File,
    identity: Identity,
    until: Instant,
}

impl Trial {
    /// Returns the time at which the trial has taken too long.
    pub fn deadline(&self) -> Instant {
        self.until
    }

    /// Returns the outcome, if there is one.
    ///
    /// # Errors
    ///
    /// The program cannot take over; the error has what it says.
    pub fn look(&mut self, now: Instant) -> Option<Result<Identity>> {
        let status = match self.child.try_wait() {
            Ok(Some(status)) => status,
            Ok(None) if now < self.until => return None,
            Ok(None) => {
                self.kill();
                return Some(Err(anyhow!(
                    "the new program did not end its trial within {LONGEST_TRIAL:?}"
                )));
            }
            Err(error) => return Some(Err(error.into())),
        };
        if status.success() {
            return Some(Ok(self.identity.clone()));
        }
        let said = self.said().unwrap_or_default();
        Some(Err(anyhow!("the new program cannot take over, its trial ended with {status}{said}")))
    }

    fn said(&mut self) -> Result<String> {
        let mut bytes = Vec::new();
        self.said.rewind()?;
        (&self.said).take(MAX_SAID).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end_matches('\0');
        let shown = |line: &str| {
            let line = line.strip_prefix("wasm-socketserver: ").unwrap_or(line);
            format!(": {}", printable(line, MAX_LINE))
        };
        Ok(text.lines().map(shown).collect())
    }

    /// Ends the trial.
    pub fn kill(&mut self) {
        // The processes that try handlers are in its group.
        if let Some(group) = Pid::from_raw(self.child.id().cast_signed()) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}
