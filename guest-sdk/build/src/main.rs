//! `cargo guests`: builds the guests, in every language, as components.
//!
//! ```text
//! cargo guests                     builds all guests
//! cargo guests c python/upper      builds some guests
//! cargo guests --bindings          generates guest-sdk/c from wit/
//! cargo guests --check-bindings    fails if guest-sdk/c does not match wit/
//! ```
//!
//! The components are `target/guests/LANGUAGE/NAME.wasm`. Missing tools of the languages
//! are installed in `target/guests`, in fixed versions. The output of the tools is in
//! `target/guests/log`. A guest whose inputs have not changed is not built again.
//!
//! | to add | edit |
//! |---|---|
//! | a guest | no file here; see `guests/README.md` |
//! | a language | `language.rs`, and a file like `python.rs` |

mod bindings;
mod c;
mod component;
mod cpp;
mod go;
mod guest;
mod javascript;
mod language;
mod program;
mod python;
mod rust;
mod stamp;
mod tool;
mod workspace;

use anyhow::Result;
use clap::Parser;
use guest::Guest;
use language::Language;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;
use workspace::Workspace;

/// Builds the guests as components into target/guests/LANGUAGE/NAME.wasm
#[derive(Parser)]
#[command(bin_name = "cargo guests")]
struct Arguments {
    /// Guests to build: a language, or one guest of a language. Default: all guests
    #[arg(value_name = "LANGUAGE|LANGUAGE/NAME")]
    guests: Vec<String>,

    /// Generate the C bindings in guest-sdk/c from wit/
    #[arg(long, exclusive = true)]
    bindings: bool,

    /// Fail if the C bindings in guest-sdk/c do not match wit/
    #[arg(long, exclusive = true)]
    check_bindings: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the command. Returns false if a guest was not built.
fn run(arguments: &Arguments) -> Result<bool> {
    let workspace = Workspace::find()?;
    if arguments.bindings {
        return bindings::write(&workspace).map(|()| true);
    }
    if arguments.check_bindings {
        return bindings::check(&workspace).map(|()| true);
    }

    let guests = guest::select(guest::discover(&workspace)?, &arguments.guests)?;
    let width = guests.iter().map(|guest| guest.label().len()).max().unwrap_or(0);
    let _lock = workspace.lock()?;
    // Rust's library and the others take as long, and share no tool.
    let (rust, others): (Vec<_>, Vec<_>) =
        guests.iter().partition(|guest| guest.language == Language::Rust);
    let both = thread::scope(|scope| {
        let rust = scope.spawn(|| build_all(&workspace, &rust, width));
        let others = build_all(&workspace, &others, width);
        rust.join().map(|rust| rust && others)
    });
    both.map_err(|_| anyhow::anyhow!("the build of guests in Rust ended early"))
}

/// Builds guests one after the other. Returns false if one was not built.
fn build_all(workspace: &Workspace, guests: &[&Guest], width: usize) -> bool {
    let mut failed = Vec::new();
    for guest in guests {
        let label = guest.label();
        if failed.contains(&guest.language) {
            println!("{label:<width$}  skipped");
            continue;
        }
        match build(workspace, guest) {
            Ok((size, time)) => println!("{label:<width$}  {size:>8}  {time}"),
            Err(error) => {
                println!("{label:<width$}  failed");
                eprintln!("error: {error:#}");
                failed.push(guest.language);
            }
        }
    }
    failed.is_empty()
}

/// Builds one guest unless it is up to date. Returns the size of the component and the
/// duration of the build, as texts.
fn build(workspace: &Workspace, guest: &Guest) -> Result<(String, String)> {
    let stamp = stamp::Stamp::compute(workspace, guest)?;
    let output = workspace.output(guest);
    if stamp.is_current() && output.exists() {
        return Ok((show_size(output.metadata()?.len()), "up to date".to_owned()));
    }
    let start = Instant::now();
    let log = tool::Log::create(workspace, &guest.label().replace('/', "-"))?;
    let bytes = if guest.is_program {
        program::build(workspace, guest, &log)?
    } else {
        guest.language.build(workspace, guest, &log)?
    };
    if !guest.is_program {
        component::check(workspace, guest, &bytes)?;
    }
    workspace::replace(&output, &bytes)?;
    stamp.write()?;
    let time = format!("{:.1} s", start.elapsed().as_secs_f64());
    Ok((show_size(bytes.len() as u64), time))
}

#[allow(clippy::cast_precision_loss, reason = "one decimal is shown")]
fn show_size(bytes: u64) -> String {
    let kib = bytes as f64 / 1024.0;
    if kib < 1024.0 { format!("{kib:.1} KB") } else { format!("{:.1} MB", kib / 1024.0) }
}
