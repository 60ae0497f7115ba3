//! The folder in which one build runs: copies of what the program needs, and the package of the
//! guest. The program may change the copies, and reaches nothing else of the machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use socketserver::printable;
use socketserver_guest_compilers::python::immortal;
use tempfile::TempDir;

use super::PythonBuild;
use super::base::{Base, folder, load, precompile};
use super::program::{Program, ProgramServer};
use super::section::append_program;
use crate::copy::{Budget, copy_folder};
use crate::work::{Progress, run};

/// The largest report that is read, in bytes.
const MAX_REPORT: u64 = 8 << 20;
/// The longest line of an error that is shown, in bytes.
const MAX_LINE: usize = 500;

/// The age of a folder that an interrupted build has left.
const ABANDONED: Duration = Duration::from_hours(1);

/// A folder with all that one build needs. It is removed in the end.
pub struct Room {
    folder: TempDir,
    packages: usize,
    begun: SystemTime,
}

/// The input of the package of the guest.
#[derive(Serialize)]
struct Job<'a> {
    /// The name of the file.
    file: &'a str,
    /// Folders as the program sees them: that of the file, and those with packages.
    folder: String,
    packages: Vec<String>,
    /// The folder of CPython's library.
    library: [&'static str; 1],
    args: &'a [String],
    env: BTreeMap<&'a str, &'a str>,
}

/// The output of the package of the guest.
#[derive(Debug, Deserialize)]
pub struct Report {
    /// The reason why there is no server.
    error: Option<String>,
    servers: Vec<ProgramServer>,
    /// The beginning of what the program printed.
    pub output: Vec<String>,
    /// The files that it opened, as it sees them.
    pub files: Vec<String>,
}

/// The result of a build.
pub struct Built {
    /// The component.
    pub component: Vec<u8>,
    /// The servers of the program.
    pub program: Program,
    /// The report.
    pub report: Report,
    /// The time when the files were copied.
    pub begun: SystemTime,
}

impl Room {
    /// Creates the folder, in `rooms`.
    ///
    /// # Errors
    ///
    /// The folder of the program has too much in it, or a file cannot be written.
    pub fn create(rooms: &Path, build: &PythonBuild) -> Result<Self> {
        remove_abandoned(rooms);
        let folder = tempfile::Builder::new().prefix("room-").tempdir_in(rooms)?;
        let room = Room { folder, packages: build.packages.len(), begun: SystemTime::now() };
        let file = build.file.file_name().and_then(|name| name.to_str());
        let file = file.context("its name is not UTF-8")?;
        let mut budget = Budget::default();
        // What the program reads is known only when it has run, and is the key of the build.
        copy_folder(build.folder(), &room.path("0"), |_| true, &mut budget)?;
        // The file may be a link, or larger than others may be.
        fs::copy(&build.file, room.path("0").join(file))?;
        for (number, packages) in (2..).zip(&build.packages) {
            copy_folder(packages, &room.path(&number.to_string()), |_| true, &mut budget)?;
        }
        fs::create_dir(room.path("1"))?;
        let job = Job {
            file,
            folder: "/0".to_owned(),
            packages: (2..).take(room.packages).map(|number: u32| format!("/{number}")).collect(),
            library: ["/python"],
            args: &build.arguments,
            env: build.env.iter().map(|(name, value)| (&**name, &**value)).collect(),
        };
        fs::write(room.path("1/job.json"), serde_json::to_vec(&job)?)?;
        Ok(room)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Loads the program into the component of CPython.
    ///
    /// # Errors
    ///
    /// The program ends its instance, or makes no server. The error says what the program did.
    pub fn run(&self, base: &Base, progress: &mut Progress) -> Result<Built> {
        let output = self.path("component.wasm");
        let mut command = load(&base.component(), &output);
        command.arg("--read-only").arg(folder(&base.library(), "python"));
        // The program sees these folders as /0, /1 and so on.
        for number in 0..2 + self.packages {
            let number = number.to_string();
            command.arg("--folder").arg(folder(&self.path(&number), &number));
        }
        run(&mut command, progress)?;
        let report = self.report()?;
        if let Some(error) = &report.error {
            let lines: Vec<_> = error.lines().map(|line| printable(line, MAX_LINE)).collect();
            bail!("{}", lines.join("\n"));
        }
        let program = Program { servers: report.servers.clone() };
        for server in &program.servers {
            server.endpoint(Path::new(""))?;
        }
        let mut component = fs::read(&output).context("there is no component")?;
        immortal::keep_forever(&mut component, &self.read("1/objects", immortal::MAX)?)?;
        append_program(&mut component, &program)?;
        fs::write(&output, component).context("cannot write the component")?;
        run(&mut precompile(&output), progress)?;
        let component = fs::read(&output).context("there is no component")?;
        Ok(Built { component, program, report, begun: self.begun })
    }

    fn report(&self) -> Result<Report> {
        Ok(serde_json::from_slice(&self.read("1/report.json", MAX_REPORT)?)?)
    }

    /// Reads a file that the guest has written, of at most `most` bytes.
    fn read(&self, name: &str, most: u64) -> Result<Vec<u8>> {
        let path = self.path(name);
        let metadata = fs::symlink_metadata(&path);
        let metadata = metadata.with_context(|| format!("the build made no file `{name}`"))?;
        if !metadata.is_file() || metadata.len() > most {
            bail!(
                "the build made a file `{name}` of {} bytes; the most are {most}",
                metadata.len()
            );
        }
        Ok(fs::read(path)?)
    }
}

/// Removes the folders that builds left when they were interrupted.
fn remove_abandoned(rooms: &Path) {
    for entry in fs::read_dir(rooms).into_iter().flatten().flatten() {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|time| time.elapsed().ok());
        if age.is_some_and(|age| age > ABANDONED) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
