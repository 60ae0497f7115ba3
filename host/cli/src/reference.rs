//! The reference pages of the book, made from the code: options, reasons and counters.
//!
//! A test fails when a committed page differs. This command rewrites the pages:
//!
//! ```sh
//! UPDATE_DOCS=1 cargo suite --bin wasm-socketserver reference
//! ```

use std::fmt::Write;
use std::fs;
use std::path::Path;

use clap::{Arg, Command};
use socketserver::access::Refusal;
use socketserver::{DropReason, Reason};

use crate::options::{self, defaults};
use crate::report::counters;

const OPTIONS: &str = "# Options

This page is made from the program. `-h` shows the options that most servers need, in one
line each, and `--help` shows the texts of this page.
";

const REASONS: &str = "# Reasons

This page is made from the program.

## Why a request failed

Each request that failed has one reason and one blame. Both are fields of its line in the
[log](../serving/log-and-signals.md), and each reason has a [counter](counters.md).

| reason | blame | what happened | option |
|---|---|---|---|
";

const AFTER_REASONS: &str = "
A handler that exits (`wasi:cli/exit`) has not failed. A program that exits has failed if its
status is not 0.

The log also has the reason `log-bytes`, where it drops what a handler logs beyond
`--log-bytes`. The request goes on.

[The jail](../serving/jail.md#processes-that-outlive-their-time) explains `lifetime`.
";

const REFUSALS: &str = "
## Why a client was refused

The rules stand in the order in which the server checks them. Each has a counter.
[Access of clients](../serving/access.md) explains them.

| rule | what happened | option |
|---|---|---|
";

const DROPS: &str = "
## Why a datagram was dropped

Each reason has a counter.

| reason | what happened |
|---|---|
";

const COUNTERS: &str = "# Counters

This page is made from the program.

SIGUSR1 prints the counters to standard error at any time, and `--stats` prints them at
the end. They are summed over all processes of the server. With `--log-format text` each
counter is a line; with `--log-format json` all are one object, `{\"counters\": {...}}`, on
one line. In text, `_` is a space.

| counter | what it counts |
|---|---|
";

const AFTER_COUNTERS: &str = "
Counters of [reasons and rules](reasons.md) that are zero are left out.

Native code that escapes from the sandbox in a forked process can make the numbers wrong.
It can do nothing else with them.
";

/// Returns the page about the options of each command that the help shows.
fn options_page() -> String {
    let mut definition = options::definition();
    definition.build();
    let mut page = OPTIONS.to_owned();
    let commands = definition.get_subcommands().filter(|command| !command.is_hide_set());
    let serve = definition.find_subcommand("serve").unwrap();
    for command in commands.filter(|command| command.get_name() != "help") {
        command_section(&mut page, command, serve);
    }
    page
}

/// Adds the section of a command. `run` also has the options of `serve`, which its section does
/// not repeat.
fn command_section(page: &mut String, command: &Command, serve: &Command) {
    let name = command.get_name();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim();
    let about = command.get_long_about().or_else(|| command.get_about()).unwrap();
    write!(page, "\n## {name}\n\n```text\n{usage}\n```\n\n{}\n", markdown(&about.to_string()))
        .unwrap();
    let mut last_heading = None;
    for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
        if ["help", "version"].contains(&arg.get_id().as_str()) {
            continue;
        }
        let is_of_serve = |id| serve.get_arguments().any(|arg| arg.get_id() == id);
        if name == "run" && is_of_serve(arg.get_id()) {
            continue;
        }
        let heading = arg.get_help_heading().unwrap_or("Arguments");
        if last_heading != Some(heading) {
            write!(page, "\n### {name}: {heading}\n").unwrap();
            last_heading = Some(heading);
        }
        option_item(page, arg);
    }
    if name == "run" {
        page.push_str("\nThe other options are those of [`serve`](#serve).\n");
    }
}

fn option_item(page: &mut String, arg: &Arg) {
    let values = arg.get_value_names().unwrap_or_default().join(" ");
    let spelling = match arg.get_long() {
        Some(long) if arg.get_action().takes_values() => format!("--{long} <{values}>"),
        Some(long) => format!("--{long}"),
        None => format!("[{values}]"),
    };
    let help = arg.get_long_help().or_else(|| arg.get_help()).unwrap().to_string();
    let text = format!("**`{spelling}`**: {}", markdown(&help));
    writeln!(page, "\n- {}", text.replace('\n', "\n  ").replace("\n  \n", "\n\n")).unwrap();
}

/// Returns a help text as Markdown: a list needs an empty line before it and after it.
fn markdown(help: &str) -> String {
    let mut text = String::new();
    let mut was_item = false;
    for line in help.replace('\\', "\\\\").replace('<', "\\<").lines() {
        let is_item = line.starts_with("- ");
        if is_item != was_item && !text.is_empty() && !line.is_empty() {
            text.push('\n');
        }
        was_item = is_item;
        text.push_str(line);
        text.push('\n');
    }
    text.trim_end().to_owned()
}

/// Returns the option that sets the limit, or that causes the reason.
fn option_of(reason: Reason) -> &'static str {
    match reason {
        Reason::CpuTime => "`--cpu-time`",
        Reason::Handshake => "`--tls-cert`, `--tls-handshake-timeout`",
        Reason::IdleTimeout | Reason::Outbound | Reason::Sleep => "`--idle-timeout`",
        Reason::Jail => "`--jail`",
        Reason::Memory => "`--memory`",
        Reason::MemoryTotal => "`--memory-total`",
        Reason::Received => "`--max-received`",
        Reason::Connects => "`--connects`",
        Reason::Sent => "`--max-sent`",
        Reason::Stack => "`--stack`",
        Reason::WallTime | Reason::Lifetime => "`--wall-time`",
        Reason::Worker => "`--workers`",
        Reason::Call
        | Reason::Child
        | Reason::ConnectionLost
        | Reason::Error
        | Reason::Exit
        | Reason::ExitStatus
        | Reason::Handles
        | Reason::NoAddress
        | Reason::NoInstance
        | Reason::NoProcess
        | Reason::NoThread
        | Reason::NoTicker
        | Reason::Panic
        | Reason::TimedOut
        | Reason::Trap
        | Reason::WrongWorld => "",
        other => panic!("does an option set the limit of {other:?}?"),
    }
}

/// Returns what happened to a refused client, and the option that sets the rule.
fn explain_refusal(rule: Refusal) -> (&'static str, &'static str) {
    match rule {
        Refusal::ProxyFrom => {
            ("the connection is not from a proxy that is named", "`--proxy-from`")
        }
        Refusal::ProxyMissing => (
            "the connection of a proxy does not begin with a header, or ended before its end",
            "`--proxy-from`",
        ),
        Refusal::ProxyMalformed => {
            ("the header of a proxy is malformed, or longer than 4096 bytes", "`--proxy-from`")
        }
        Refusal::ProxyTimeout => {
            ("the header of a proxy was not whole in time", "`--proxy-timeout`")
        }
        Refusal::Deny => ("a deny rule names the client", "`--deny`"),
        Refusal::Peer => (
            "a rule depends on the user of a Unix client, and the kernel does not know it",
            "`--allow`, `--deny`, `--source-rate`, `--max-per-source`",
        ),
        Refusal::Allow => ("no allow rule names the client, and there are some", "`--allow`"),
        Refusal::Reset => ("the client had reset its connection and sent nothing", ""),
        Refusal::Hours => ("the local clock is outside of the times", "`--access-times`"),
        Refusal::Load => ("the load average is too high", "`--max-load`"),
        Refusal::SourceRate => ("the source came too often", "`--source-rate`"),
        Refusal::PerSource => ("the source has too many requests in flight", "`--max-per-source`"),
        Refusal::Rate => ("too many clients came in one second; a pause begins", "`--cps`"),
        Refusal::Pause => ("the client came in that pause", "`--cps`"),
    }
}

fn explain_drop(reason: DropReason) -> &'static str {
    match reason {
        DropReason::OwnAddress => {
            "the datagram came from an address at which one of the server's own sockets answers"
        }
        DropReason::NoRoom => {
            "the receive buffer of the socket was full, or the datagram was damaged on its way"
        }
        other => panic!("explain {other:?}"),
    }
}

fn reasons_page() -> String {
    let mut page = REASONS.to_owned();
    // An exit is not reported as a failure.
    for reason in Reason::ALL.iter().filter(|reason| **reason != Reason::Exit) {
        let (blame, what) = (reason.blame(), reason.description());
        writeln!(page, "| `{reason}` | {blame} | {what} | {} |", option_of(*reason)).unwrap();
    }
    page.push_str(AFTER_REASONS);
    page.push_str(REFUSALS);
    for rule in Refusal::ALL {
        let (what, option) = explain_refusal(rule);
        writeln!(page, "| `{rule}` | {what} | {option} |").unwrap();
    }
    page.push_str(DROPS);
    for reason in DropReason::ALL {
        writeln!(page, "| `{}` | {} |", reason.as_str(), explain_drop(reason)).unwrap();
    }
    page
}

fn counters_page() -> String {
    let mut page = COUNTERS.to_owned();
    for (name, what) in counters::EXPLANATIONS {
        writeln!(page, "| `{name}` | {what} |").unwrap();
    }
    page.push_str(AFTER_COUNTERS);
    page
}

/// Returns the text of a page of the book, or `None` in a package of this crate, which has no
/// book.
fn page_of_the_book(name: &str) -> Option<String> {
    // The variable, and not the constant of the compiler: the tree may have moved.
    let root = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    let book = Path::new(&root).join("../../docs/src");
    book.exists().then(|| fs::read_to_string(book.join(name)).unwrap_or_default())
}

/// Compares a page with the committed one, after writing it if `UPDATE_DOCS` is set.
fn check(name: &str, page: &str) {
    let name = format!("reference/{name}");
    if page_of_the_book(&name).is_none() {
        return;
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let root = std::env::var("CARGO_MANIFEST_DIR").unwrap();
        fs::write(Path::new(&root).join("../../docs/src").join(&name), page).unwrap();
    }
    let committed = page_of_the_book(&name).unwrap_or_default();
    let differs = committed.lines().zip(page.lines()).find(|(one, other)| one != other);
    assert!(
        committed == page,
        "docs/src/{name} is out of date, first at {differs:?}: UPDATE_DOCS=1 cargo suite \
         --bin wasm-socketserver reference"
    );
}

#[test]
fn the_page_about_options_is_that_of_the_definition() {
    check("options.md", &options_page());
}

#[test]
fn the_page_about_reasons_is_that_of_the_enums() {
    check("reasons.md", &reasons_page());
}

#[test]
fn the_page_about_counters_is_that_of_the_counters() {
    check("counters.md", &counters_page());
}

#[test]
fn the_page_about_limits_has_the_defaults_of_both_profiles() {
    let Some(page) = page_of_the_book("serving/limits.md") else { return };
    for (option, [standard, hostile]) in defaults::profile_defaults() {
        let row = format!("\n| `--{option}` | {standard} | {hostile} |\n");
        assert!(standard == hostile || page.contains(&row), "there is no row: {row}");
        let cells = format!("| {standard} | `--{option}` |");
        assert!(option == "jail" || page.contains(&cells), "no limit has the cells: {cells}");
    }
}
