//! `inspect`: what a handler is, what it imports, and whether it can be served.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use bytesize::ByteSize;
use serde::Serialize;
use socketserver_jail::JailMode;
use socketserver_sandbox::{
    Component, ComponentHandler, Engine, InstanceTimes, Policy, World, read_component,
};
use tracing::Level;

use crate::options::{InspectOptions, granting_option};
use crate::report::{LogFormat, log, log_writer, printable_path};
use crate::serve::ProcessLimits;
use crate::serve::restrictions::enter_to_inspect;
use crate::settings::LogSettings;

/// The number of instances that are made to measure the time for one.
const INSTANCES: u32 = 100;

/// The report that is printed with `--json`.
#[derive(Debug, Serialize)]
struct Report {
    handler: String,
    /// The size of the file, in bytes.
    size: usize,
    worlds: Vec<&'static str>,
    /// True if it states that its clients speak first.
    clients_speak_first: bool,
    /// For a program, what its file is: `component`, or `core module`.
    program: Option<&'static str>,
    exports: Vec<String>,
    imports: Vec<Import>,
    memories: u32,
    /// The memory that an instance begins with, in bytes.
    initial_memory: u64,
    tables: u32,
    /// The memory of the tables of an instance, in bytes.
    table_memory: u64,
    /// The memory that the engine keeps for an instance beside memories and tables, in bytes.
    engine_memory: u64,
    /// The time to make an instance, in microseconds.
    instance_create_us: Option<f64>,
    /// The time to drop an instance, in microseconds.
    instance_drop_us: Option<f64>,
    servable: bool,
    why_not: Option<String>,
}

#[derive(Debug, Serialize)]
struct Import {
    name: String,
    /// True if the host provides it.
    provided: bool,
    /// The option that grants more, if there is one.
    option: Option<&'static str>,
    /// A remark for people.
    note: Option<String>,
}

/// Prints the report about a handler.
///
/// # Errors
///
/// The handler cannot be loaded, or the report cannot be printed.
pub fn inspect(options: &InspectOptions) -> Result<ExitCode> {
    let rate = LogSettings::default().rate;
    log::init(LogFormat::Text, Level::WARN, rate, io::stderr().is_terminal());
    log_writer::share_state().context("cannot share the state of the log")?;
    let report = report(options)
        .with_context(|| format!("cannot inspect `{}`", printable_path(&options.handler)))?;
    log::log_dropped_lines(true);
    let text =
        if options.json { serde_json::to_string_pretty(&report)? + "\n" } else { report.to_text() };
    io::stdout().write_all(text.as_bytes()).context("cannot print the report")?;
    Ok(if report.servable { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn report(options: &InspectOptions) -> Result<Report> {
    let loading = options.loading.settings(&options.profile, JailMode::Try);
    let engine = Engine::new(INSTANCES as usize, &loading.engine()?)?;
    let loader = loading.loader();
    let bytes = read_component(&options.handler, loader.component_size)?;
    let name = options.handler.file_stem().unwrap_or_default().to_string_lossy();
    let component = Component::new(&engine, &name, bytes, &loader)?;
    let policy = options.profile.profile().policy();
    let (env, dirs) = (options.grants.env(), options.grants.dir.clone());
    let Policy { memory, handles, .. } = policy;
    let policy = Policy { memory, handles, env, dirs, ..Policy::default() };
    let engine_memory = component.engine_memory(policy.handles);
    // One instance is made to be tried, and others to measure the time.
    let cpu_seconds = ProcessLimits::for_policy(&policy).cpu_seconds.saturating_mul(2);
    let handler = ComponentHandler::without_start(&engine, &component, policy);
    // Code of the handler runs in the jail only.
    enter_to_inspect(&options.grants.dir, cpu_seconds)?;
    let times = handler.and_then(|handler| {
        handler.preflight()?;
        handler.time_instances(INSTANCES)
    });
    let description = component.description();
    let is_program = description.worlds == [World::Command];
    let micros = |time: fn(&InstanceTimes) -> std::time::Duration| {
        times.as_ref().ok().map(|times| time(times).as_secs_f64() * 1e6)
    };
    Ok(Report {
        handler: printable_path(&options.handler),
        size: description.size,
        worlds: description.worlds.iter().map(|world| world.name()).collect(),
        clients_speak_first: description.clients_speak_first,
        program: is_program.then_some(if description.is_core_module {
            "core module"
        } else {
            "component"
        }),
        exports: description.exports.clone(),
        imports: description
            .imports
            .iter()
            .map(|name| Import::new(name, !description.not_provided.contains(name), options))
            .collect(),
        memories: description.memories,
        initial_memory: description.initial_memory,
        tables: description.tables,
        table_memory: description.table_memory,
        engine_memory,
        instance_create_us: micros(|times| times.create),
        instance_drop_us: micros(|times| times.drop),
        servable: times.is_ok(),
        why_not: times.err().map(|error| format!("{:#}", anyhow!(error))),
    })
}

impl Import {
    fn new(name: &str, provided: bool, options: &InspectOptions) -> Self {
        let option = granting_option(name);
        let note = match (option, options.grants.count_for(name)) {
            (Some(option), 0) => Some(format!("empty: {option} grants more")),
            (Some(_), count) => Some(format!("{count} granted")),
            (None, _) if !provided => Some("no option adds it".to_owned()),
            (None, _) => None,
        };
        Import { name: name.to_owned(), provided, option, note }
    }
}

impl Report {
    fn to_text(&self) -> String {
        let mut lines =
            vec![format!("handler   {} ({})", self.handler, ByteSize(self.size as u64))];
        let mut list = |title: &str, entries: Vec<String>| {
            let mut title = title;
            for entry in entries {
                lines.push(format!("{title:<9} {entry}"));
                title = "";
            }
        };
        let worlds = if self.worlds.is_empty() {
            &["none that can be served"]
        } else {
            self.worlds.as_slice()
        };
        list("world", worlds.iter().map(ToString::to_string).collect());
        if let Some(program) = self.program {
            let what = format!("a {program} that speaks on standard input and output");
            list("program", vec![what]);
        }
        if self.clients_speak_first {
            let what = "speak first: a request begins with the first byte of its client";
            list("clients", vec![what.to_owned()]);
        }
        list("exports", self.exports.clone());
        list(
            "imports",
            self.imports
                .iter()
                .map(|import| {
                    let missing = if import.provided { "" } else { "  NOT PROVIDED" };
                    let note = import.note.as_ref().map(|note| format!("  ({note})"));
                    format!("{}{missing}{}", import.name, note.unwrap_or_default())
                })
                .collect(),
        );
        lines.push(format!(
            "memory    {} to begin with{}; {} of tables; the engine keeps {}",
            ByteSize(self.initial_memory),
            if self.memories == 1 {
                String::new()
            } else {
                format!(", in {} memories", self.memories)
            },
            ByteSize(self.table_memory),
            ByteSize(self.engine_memory)
        ));
        if let (Some(create), Some(drop)) = (self.instance_create_us, self.instance_drop_us) {
            lines.push(format!("instance  {create:.1} us to make, {drop:.1} us to drop"));
        }
        lines.push(match &self.why_not {
            None => "serve     yes".to_owned(),
            Some(why) => format!("serve     no: {why}"),
        });
        lines.join("\n") + "\n"
    }
}
