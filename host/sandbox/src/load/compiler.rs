//! Where components are compiled: here, or in a process that may die of it.

use std::ffi::OsString;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::engine::Engine;
use crate::error::LoadError;
use crate::load::source;
use crate::load::wire;
use crate::sys::Artifact;
use socketserver::printable;

/// How many times its CPU time a compiler may take by the clock.
const PATIENCE: u32 = 10;

/// The most code that is taken from a compiler, in bytes.
const MAX_CODE: u64 = 1 << 30;

/// How much of what a compiler says before it dies is read, in bytes.
const LAST_WORDS: u64 = 4096;

/// Where components are compiled.
#[derive(Debug, Clone)]
pub enum Compiler {
    /// In this process, without a limit: for components that are trusted.
    InProcess,
    /// In a process for each.
    Process(CompilerProcess),
}

/// A program that calls [`compile_for_parent`] with its standard input and
/// output, in an engine [`for_compiling`](Engine::for_compiling) with the same
/// settings.
///
/// Its answer is machine code, which runs here as it is: the program must be
/// trusted as this one is. Mostly it is this one.
#[derive(Debug, Clone)]
pub struct CompilerProcess {
    /// The program.
    pub program: PathBuf,
    /// Its arguments. It has no environment.
    pub arguments: Vec<OsString>,
    /// How many bytes of address space it gives itself (`RLIMIT_AS`); here it
    /// bounds the answer and stands in errors.
    pub memory: u64,
    /// How much CPU time it gives itself (`RLIMIT_CPU`). After ten times that by
    /// the clock it is killed.
    pub time: Duration,
}

impl CompilerProcess {
    /// The default of [`memory`](Self::memory): 4 GiB.
    pub const DEFAULT_MEMORY: u64 = 4 << 30;

    /// The default of [`time`](Self::time): 60 s.
    pub const DEFAULT_TIME: Duration = Duration::from_mins(1);
}

impl Compiler {
    /// Compiles a component, given as a binary or as text.
    pub(crate) fn compile(&self, engine: &Engine, source: Vec<u8>) -> Result<Artifact, LoadError> {
        match self {
            Compiler::InProcess => compile(engine, source),
            Compiler::Process(process) => process.compile(&source),
        }
    }
}

/// The other side of [`CompilerProcess`]: reads a component, compiles it, and
/// writes the code, or why there is none. To be called when the process has
/// given itself its limits.
///
/// Errors: the component cannot be read, or the answer not be written.
pub fn compile_for_parent(
    engine: &Engine,
    mut component: impl Read,
    answer: impl Write,
) -> io::Result<()> {
    let mut source = Vec::new();
    component.read_to_end(&mut source)?;
    let artifact = compile(engine, source);
    wire::write(answer, &artifact.as_ref().map(Artifact::bytes))
}

fn compile(engine: &Engine, source: Vec<u8>) -> Result<Artifact, LoadError> {
    let binary = source::component(source)?;
    Artifact::compile(engine.wasmtime(), &binary)
        .map_err(|error| LoadError::Invalid(printable(&format!("{error:#}"), 500)))
}

impl CompilerProcess {
    fn compile(&self, source: &[u8]) -> Result<Artifact, LoadError> {
        let cannot = |error: io::Error| LoadError::Compiler(format!("cannot be started: {error}"));
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .stdin(in_memory(source).map_err(cannot)?)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(cannot)?;
        let deadline = Instant::now() + self.time.saturating_mul(PATIENCE);
        let answer = child.stdout.take().ok_or_else(|| io::ErrorKind::BrokenPipe.into());
        let answer = answer.and_then(|stdout| {
            wire::read(WithDeadline { pipe: stdout, deadline }, self.memory.min(MAX_CODE))
        });
        // Its output has ended, and so has it, or it is not to go on.
        let ended = end(&mut child).map_err(cannot)?;
        match answer {
            Ok(answer) => answer.map(Artifact::of_compiler),
            Err(error) => Err(self.why(&error, ended, &last_words(&mut child))),
        }
    }

    /// Why there is no answer.
    fn why(&self, error: &io::Error, ended: ExitStatus, said: &str) -> LoadError {
        const ABORTED: Option<i32> = Some(libc::SIGABRT);
        let out_of_memory = said.contains("memory allocation of") || said.contains("out of memory");
        match (error.kind(), ended.signal()) {
            (io::ErrorKind::TimedOut, _) => {
                LoadError::CompileWallTime { limit: self.time.saturating_mul(PATIENCE) }
            }
            (_, Some(libc::SIGXCPU)) => LoadError::CompileTime { limit: self.time },
            (_, ABORTED | None) if out_of_memory => LoadError::CompileMemory { limit: self.memory },
            (_, ABORTED) if said.contains("has overflowed its stack") => LoadError::CompileStack,
            (_, Some(libc::SIGSEGV)) => LoadError::CompileStack,
            (io::ErrorKind::UnexpectedEof, _) => {
                let said = said.trim().trim_start_matches("wasm-socketserver: ");
                LoadError::Compiler(match said {
                    "" => format!("ended early, with {ended}"),
                    said => format!("ended early, with {ended}: {}", printable(said, 500)),
                })
            }
            _ => LoadError::Compiler(format!("gave an answer that cannot be used: {error}")),
        }
    }
}

/// A file that has no name, from its beginning.
fn in_memory(content: &[u8]) -> io::Result<Stdio> {
    let mut file = std::fs::File::from(memfd_create("component", MemfdFlags::CLOEXEC)?);
    file.write_all(content)?;
    file.rewind()?;
    Ok(file.into())
}

fn end(child: &mut Child) -> io::Result<ExitStatus> {
    // If it has ended by itself, this does nothing.
    child.kill()?;
    child.wait()
}

fn last_words(child: &mut Child) -> String {
    let mut said = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        // It has ended, so all of it is there; who else may hold the other end says nothing.
        let stderr = WithDeadline { pipe: stderr, deadline: Instant::now() };
        let _ = stderr.take(LAST_WORDS).read_to_end(&mut said);
    }
    String::from_utf8_lossy(&said).into_owned()
}

/// What a process prints, until a moment.
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
