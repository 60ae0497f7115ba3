//! `inspect`: what a handler is and asks for.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use bytesize::ByteSize;
use serde::Serialize;
use socketserver_sandbox::{
    Component, ComponentHandler, Engine, InstanceTimes, Policy, read_component, stubbed_wasi,
};

use crate::args::{InspectOptions, JailMode, LogFormat, LogLevel};
use crate::observe;
use crate::overtime::Overtime;
use crate::{grants, jail};

/// How many instances are made at the most to see how long one takes.
const INSTANCES: u32 = 100;

/// What to know of a handler with [`Report::stubbed_wasi`].
const STUBBED: &str = "warning   cut off from WASI when it was built, as by `--stub-wasi`: \
    random numbers and hashes are the same in each request, and what it prints, \
    or asks of a clock or a file, may end the request";

/// What is printed with `--json`.
#[derive(Debug, Serialize)]
struct Report {
    handler: String,
    /// Bytes.
    size: usize,
    worlds: Vec<&'static str>,
    exports: Vec<String>,
    imports: Vec<Import>,
    /// The interfaces of WASI that it uses and that were replaced when it was built.
    stubbed_wasi: Vec<&'static str>,
    memories: u32,
    /// Bytes.
    initial_memory: u64,
    tables: u32,
    /// Bytes.
    table_memory: u64,
    /// Bytes that the engine keeps for an instance beside memories and tables.
    engine_memory: u64,
    /// Microseconds.
    instance_create_us: Option<f64>,
    /// Microseconds.
    instance_drop_us: Option<f64>,
    servable: bool,
    why_not: Option<String>,
}

#[derive(Debug, Serialize)]
struct Import {
    name: String,
    granted: bool,
    /// The option that grants more of it, if there is one.
    option: Option<&'static str>,
    /// What there is to say about it.
    note: Option<String>,
}

/// Prints what there is to say about a handler.
pub fn inspect(options: &InspectOptions) -> Result<ExitCode> {
    observe::init(LogFormat::Text, LogLevel::Warning, u32::MAX, io::stderr().is_terminal());
    let report = report(options)
        .with_context(|| format!("cannot inspect `{}`", options.handler.display()))?;
    let text =
        if options.json { serde_json::to_string_pretty(&report)? + "\n" } else { report.to_text() };
    io::stdout().write_all(text.as_bytes()).context("cannot print the report")?;
    Ok(if report.servable { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn report(options: &InspectOptions) -> Result<Report> {
    let loading = &options.loading;
    let engine = Engine::new(INSTANCES as usize, &loading.settings()?)?;
    let loader = loading.loader(JailMode::Try);
    let bytes = read_component(&options.handler, loader.component_size)?;
    let name = options.handler.file_stem().unwrap_or_default().to_string_lossy();
    let component = Component::new(&engine, &name, bytes.clone(), &loader)?;
    let defaults = loading.profile.defaults();
    let (env, dirs) = (options.grants.env(), options.grants.dir.clone());
    let policy = Policy {
        memory: defaults.memory,
        handles: defaults.handles as usize,
        env,
        dirs,
        ..Policy::default()
    };
    let engine_memory = component.engine_memory(policy.handles);
    // An instance is made to be tried, and others for their time.
    let cpu_seconds = Overtime::of(&policy).cpu_seconds.saturating_mul(2);
    let handler = ComponentHandler::without_start(&engine, &component, policy);
    // What runs of it runs in the jail, and what it was built from is read there.
    jail::enter_to_inspect(&options.grants.dir, cpu_seconds)?;
    let times = handler.and_then(|handler| {
        handler.try_start()?;
        handler.time_instances(INSTANCES)
    });
    let description = component.description();
    let micros = |time: fn(&InstanceTimes) -> std::time::Duration| {
        times.as_ref().ok().map(|times| time(times).as_secs_f64() * 1e6)
    };
    Ok(Report {
        handler: options.handler.display().to_string(),
        size: description.size,
        worlds: description.worlds.iter().map(|world| world.name()).collect(),
        exports: description.exports.clone(),
        imports: description
            .imports
            .iter()
            .map(|name| Import::new(name, !description.not_granted.contains(name), options))
            .collect(),
        stubbed_wasi: stubbed_wasi(&bytes, &description.imports),
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
    fn new(name: &str, granted: bool, options: &InspectOptions) -> Self {
        let option = grants::option(name);
        let note = match (option, options.grants.len(name)) {
            (Some(option), 0) => Some(format!("empty: {option} grants more")),
            (Some(_), granted) => Some(format!("{granted} granted")),
            (None, _) => (!granted).then(|| "no option grants it".to_owned()),
        };
        Import { name: name.to_owned(), granted, option, note }
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
        list("exports", self.exports.clone());
        list(
            "imports",
            self.imports
                .iter()
                .map(|import| {
                    let denied = if import.granted { "" } else { "  NOT GRANTED" };
                    let note = import.note.as_ref().map(|note| format!("  ({note})"));
                    format!("{}{denied}{}", import.name, note.unwrap_or_default())
                })
                .collect(),
        );
        if !self.stubbed_wasi.is_empty() {
            lines.push(STUBBED.to_owned());
        }
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
