//! The compiler of components: in this process, or in a process of its own.

use std::ffi::OsString;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use socketserver::printable;

use crate::engine::Engine;
use crate::engine::settings::InitialData;
use crate::error::LoadError;
use crate::load::adapter;
use crate::load::source::{self, Binary};
use crate::load::wire;
use crate::sys::Artifact;

/// The most code that is read from a compiler process, in bytes.
const MAX_CODE: u64 = 1 << 30;

/// The part of a compiler process's standard error that is read, in bytes.
const MAX_STDERR: u64 = 4096;

/// The place where components are compiled.
#[derive(Debug, Clone)]
pub enum Compiler {
    /// This process, without a limit. It is for components that are trusted.
    InProcess,
    /// A process for each component.
    Process(CompilerProcess),
}

/// A program that calls [`compile_for_parent`] with its standard input and output, and with
/// an engine that [`Engine::for_compiling`] returns for the same settings. The option
/// `--copy-data` stands for [`InitialData::Copied`]. The standard input begins
/// with the set of functions for that engine, whose length in bytes is in the option `--functions`.
///
/// Its result is machine code, which runs here without a check. So the program must be
/// trusted like the calling one, and mostly is the same.
#[derive(Debug, Clone)]
pub struct CompilerProcess {
    /// The path of the program.
    pub program: PathBuf,
    /// Its arguments, before `--copy-data` and `--functions`. Its environment is empty.
    pub arguments: Vec<OsString>,
    /// The address space in bytes to which it limits itself (`RLIMIT_AS`). Here it bounds
    /// the result, and stands in errors.
    pub memory: u64,
    /// The CPU time to which it limits itself (`RLIMIT_CPU`). The parent kills it after ten
    /// times that in wall time.
    pub time: Duration,
}

impl CompilerProcess {
    /// The default of [`memory`](Self::memory): 4 GiB.
    pub const DEFAULT_MEMORY: u64 = 4 << 30;

    /// The default of [`time`](Self::time): 60 s.
    pub const DEFAULT_TIME: Duration = Duration::from_mins(1);

    /// The wall time that a compiler process may take, as a multiple of its CPU time.
    pub const WALL_TIME_FACTOR: u32 = 10;
}

impl Compiler {
    /// Compiles a component, given as a binary or as text. A process takes the code of
    /// functions from the set `functions` if it is there.
    ///
    /// # Errors
    ///
    /// The source is no component, or its compilation fails or reaches a limit.
    pub(crate) fn compile(
        &self,
        engine: &Engine,
        source: Vec<u8>,
        functions: &[u8],
    ) -> Result<Artifact, LoadError> {
        match self {
            Compiler::InProcess => compile(engine, source),
            Compiler::Process(process) => {
                process.compile(engine.settings().initial_data, &source, functions)
            }
        }
    }
}

/// Does the work of a [`CompilerProcess`]: reads a component, compiles it, and writes the
/// code or an error to `result`. The process must have limited itself before it calls this.
///
/// # Errors
///
/// The component cannot be read, or the result cannot be written.
pub fn compile_for_parent(
    engine: &Engine,
    mut component: impl Read,
    result: impl Write,
) -> io::Result<()> {
    let mut source = Vec::new();
    component.read_to_end(&mut source)?;
    let artifact = compile(engine, source);
    wire::write_result(result, &artifact.as_ref().map(Artifact::bytes))
}

fn compile(engine: &Engine, source: Vec<u8>) -> Result<Artifact, LoadError> {
    let binary = match source::to_binary(source)? {
        Binary::Component(binary) => binary,
        Binary::Module(module) => adapter::to_component(&module)?,
    };
    Artifact::compile(engine.wasmtime(), &binary)
        .map_err(|error| LoadError::Invalid(printable(&format!("{error:#}"), 500)))
}

impl CompilerProcess {
    fn compile(
        &self,
        initial_data: InitialData,
        source: &[u8],
        functions: &[u8],
    ) -> Result<Artifact, LoadError> {
        let not_started =
            |error: io::Error| LoadError::Compiler(format!("cannot be started: {error}"));
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .args((initial_data == InitialData::Copied).then_some("--copy-data"))
            .arg(format!("--functions={}", functions.len()))
            .env_clear()
            .stdin(memory_file(&[functions, source]).map_err(not_started)?)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(not_started)?;
        let deadline = Instant::now() + self.time.saturating_mul(Self::WALL_TIME_FACTOR);
        let stdout = child.stdout.take().ok_or_else(|| io::ErrorKind::BrokenPipe.into());
        let result = stdout.and_then(|stdout| {
            let limit = self.memory.min(MAX_CODE);
            wire::read_result(WithDeadline { pipe: stdout, deadline }, limit)
        });
        let status = end(&mut child).map_err(not_started)?;
        match result {
            Ok(result) => result.map(Artifact::from_compiler),
            Err(error) => Err(self.failure(&error, status, &read_stderr(&mut child))),
        }
    }

    /// Returns the reason why there is no result.
    fn failure(&self, error: &io::Error, status: ExitStatus, stderr: &str) -> LoadError {
        const ABORTED: Option<i32> = Some(libc::SIGABRT);
        let out_of_memory =
            stderr.contains("memory allocation of") || stderr.contains("out of memory");
        match (error.kind(), status.signal()) {
            (io::ErrorKind::TimedOut, _) => LoadError::CompileWallTime {
                limit: self.time.saturating_mul(Self::WALL_TIME_FACTOR),
            },
            (_, Some(libc::SIGXCPU)) => LoadError::CompileTime { limit: self.time },
            (_, ABORTED | None) if out_of_memory => LoadError::CompileMemory { limit: self.memory },
            (_, ABORTED) if stderr.contains("has overflowed its stack") => LoadError::CompileStack,
            (_, Some(libc::SIGSEGV)) => LoadError::CompileStack,
            (io::ErrorKind::UnexpectedEof, _) => {
                let message = stderr.trim().trim_start_matches("wasm-socketserver: ");
                LoadError::Compiler(match message {
                    "" => format!("ended early, with {status}"),
                    message => {
                        format!("ended early, with {status}: {}", printable(message, 500))
                    }
                })
            }
            _ => LoadError::Compiler(format!("returned a result that is not valid: {error}")),
        }
    }
}

/// Returns a file in memory that has no name and that will be read from its beginning.
fn memory_file(parts: &[&[u8]]) -> io::Result<Stdio> {
    let mut file = std::fs::File::from(memfd_create("component", MemfdFlags::CLOEXEC)?);
    for part in parts {
        file.write_all(part)?;
    }
    file.rewind()?;
    Ok(file.into())
}

/// Ends a child that has written its result, or that failed to in time.
fn end(child: &mut Child) -> io::Result<ExitStatus> {
    // This does nothing if the child has ended by itself.
    child.kill()?;
    child.wait()
}

fn read_stderr(child: &mut Child) -> String {
    let mut text = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        // The child has ended, so all of its text is there. The deadline is for a process
        // that inherited the pipe from it.
        let stderr = WithDeadline { pipe: stderr, deadline: Instant::now() };
        let _ = stderr.take(MAX_STDERR).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// A pipe that is read until a deadline.
struct WithDeadline<P> {
    pipe: P,
    deadline: Instant,
}

impl<P: AsFd + Read> Read for WithDeadline<P> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
            let mut pipe = [PollFd::new(&self.pipe, PollFlags::IN)];
            match poll(&mut pipe, Some(&left)) {
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) => return self.pipe.read(buffer),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
