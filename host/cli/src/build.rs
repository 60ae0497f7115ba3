//! `new`, `build`, and the build that `serve` begins with.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use socketserver::printable;

use crate::options::{self, BuildOptions, NewOptions, PackageOptions, RunOptions, ServeOptions};
use crate::python::{ProgramServer, PythonBuild};
use crate::report::printable_path;
use crate::run;
use crate::settings::Settings;
use crate::source::{Source, Template, is_python_server, list};
use crate::values::language::Language;
use crate::work::say;

/// The longest name of a class that is shown, in bytes.
const MAX_NAME: usize = 100;

/// Writes a new project, or lists the languages.
///
/// # Errors
///
/// The project cannot be written.
pub fn new(options: &NewOptions) -> Result<ExitCode> {
    let (Some(language), Some(name)) = (options.language, &options.name) else {
        std::io::stdout().write_all(list().as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    };
    let template = Template { language, datagram: options.datagram };
    let next = template.write(Path::new("."), name)?;
    say(&format!("{name} has a handler in {}. To serve it:\n\n    {next}\n", language.name()));
    Ok(ExitCode::SUCCESS)
}

/// Builds a component.
///
/// # Errors
///
/// The component cannot be built, or cannot be written.
pub fn build(options: &BuildOptions) -> Result<ExitCode> {
    let path = &options.source;
    let is_for_python = !options.arguments.is_empty()
        || !options.packages.python_path.is_empty()
        || !options.env.is_empty();
    if has_extension(path, "wat") {
        let name = printable_path(path);
        let bytes = wat::parse_file(path).with_context(|| format!("cannot build `{name}`"))?;
        let output = output(options, &path.with_extension("wasm"));
        write(&output, |output| fs::write(output, bytes))?;
        return Ok(ExitCode::SUCCESS);
    }
    if has_extension(path, "wasm") {
        bail!("`{}` is built already: `serve` serves it", printable_path(path));
    }
    fs::metadata(path).with_context(|| format!("cannot build `{}`", printable_path(path)))?;
    let Some(source) = Source::find(path)? else {
        bail!("`{}` is no source file that is known: see `build --help`", printable_path(path))
    };
    if let Some(program) = python_server(&source, path)? {
        let name = PathBuf::from(&source.name).with_added_extension("wasm");
        return build_program(options, program, &name);
    }
    ensure!(
        !is_for_python,
        "arguments, --env and --python-path are for Python programs that serve"
    );
    let component = source.build(options.no_cache)?;
    let output = output(options, &component);
    write(&output, |output| fs::copy(&component, output).map(|_| ()))?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the settings of `serve`. The handler is built first, if its path is a source. A Python
/// program that serves at its own address is served as `run` serves it.
///
/// # Errors
///
/// The source cannot be built.
pub fn settings(options: ServeOptions) -> Result<Settings> {
    let path = options.handler.clone();
    let source = match &path {
        Some(path) => Source::find(path)?.map(|source| (source, path)),
        None => None,
    };
    if let Some((source, path)) = &source
        && let Some(program) = python_server(source, path)?
    {
        let name = printable_path(&program);
        ensure!(options.digest.is_none(), "--digest is for components: build `{name}` first");
        say(&format!("`{name}` says how it is served: this is `wasm-socketserver run {name}`\n"));
        return run::settings(RunOptions {
            program,
            arguments: options.args,
            packages: PackageOptions::default(),
            server: options.server,
        });
    }
    let anew = options.server.loading.no_cache;
    let settings = options.settings();
    let mut settings = settings.unwrap_or_else(|error| options::exit_contradiction(&error));
    if let Some((source, _)) = source {
        settings.handler = Some(source.build(anew)?);
    }
    Ok(settings)
}

/// Returns the file of a Python program that serves at its own address. The program sees its name
/// as it was given in `path`.
fn python_server(source: &Source, path: &Path) -> Result<Option<PathBuf>> {
    if source.language != Language::Python || !is_python_server(&source.text()?) {
        return Ok(None);
    }
    let below = source.main()?.strip_prefix(&source.path)?;
    Ok(Some(if source.is_folder { path.join(below) } else { path.to_owned() }))
}

fn build_program(options: &BuildOptions, program: PathBuf, name: &Path) -> Result<ExitCode> {
    let request = PythonBuild {
        file: program,
        arguments: options.arguments.clone(),
        env: options.env.clone(),
        packages: options.packages.python_path.clone(),
        anew: options.no_cache,
    };
    let built = request.build()?;
    let output = output(options, name);
    let name = printable_path(&output);
    fs::copy(&built.component, &output).with_context(|| format!("cannot write `{name}`"))?;
    for server in &built.program.servers {
        say(&format!("{name}: {}\n", description(server)?));
    }
    Ok(ExitCode::SUCCESS)
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|it| it == extension) && !path.is_dir()
}

/// Returns the file that the options name, or the name of the component, in the working directory.
fn output(options: &BuildOptions, component: &Path) -> PathBuf {
    let default = || PathBuf::from(component.file_name().unwrap_or(component.as_os_str()));
    options.output.clone().unwrap_or_else(default)
}

/// Writes the component, and says so.
fn write(output: &Path, write: impl FnOnce(&Path) -> std::io::Result<()>) -> Result<()> {
    let name = printable_path(output);
    write(output).with_context(|| format!("cannot write `{name}`"))?;
    let size = fs::metadata(output).map_or(0, |metadata| metadata.len());
    say(&format!("{name}: {} KiB\n", size.div_ceil(1024)));
    Ok(())
}

/// Returns a sentence about a server.
fn description(server: &ProgramServer) -> Result<String> {
    Ok(format!(
        "{} with {}, on {}; requests run {}",
        printable(&server.class, MAX_NAME),
        printable(&server.handler, MAX_NAME),
        server.endpoint(Path::new(""))?,
        match server.concurrency.as_str() {
            "forking" => "in processes",
            "threading" => "in threads",
            _ => "one at a time",
        }
    ))
}
