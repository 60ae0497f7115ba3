//! Suggestions in errors of the command line.
//!
//! clap compares words in a way that finds `--log-rate` similar to `--port`, and it suggests
//! hidden commands. So its suggestions are replaced by those of [`nearest`].

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use clap::{Arg, Command};

use crate::values::nearest::nearest;

/// Options of other programs, and what does the same here.
const ELSEWHERE: &[(&[&str], &str)] = &[
    (
        &["port", "host", "hostname", "address", "addr", "listen", "ip", "p"],
        "`--bind tcp://HOST:PORT` sets the address and the port",
    ),
    (&["udp"], "`--bind udp://HOST:PORT` serves datagrams"),
    (&["unix", "socket", "unix-socket"], "`--bind unix://PATH` listens on a Unix socket"),
    (
        &["threads", "threaded"],
        "`--concurrency threading`, the default, runs each request in a thread",
    ),
    (&["fork", "processes"], "`--concurrency forking` runs each request in a process"),
    (&["verbose", "quiet", "debug", "v", "q"], "`--log-level LEVEL` sets what the server logs"),
    (&["json"], "`--log-format json` makes each line of the log an object"),
    (&["volume", "mount", "mapdir"], "`--dir HOST::GUEST` gives the handler a directory"),
    (&["cache"], "the cache is on unless `--no-cache` is given"),
    (&["fuel"], "`--cpu-time DURATION` limits the CPU time of a request"),
];

/// Returns the error with suggestions for the wrong word in it. `definition` is that of the
/// command line `line`.
pub fn with_suggestions(
    mut error: Error,
    mut definition: Command,
    line: impl IntoIterator<Item = String>,
) -> Error {
    definition.build();
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let name = line.into_iter().nth(1).unwrap_or_default();
            let command = definition.find_subcommand(&name);
            suggest_option(&mut error, &definition, command);
        }
        ErrorKind::InvalidSubcommand => suggest_command(&mut error, &definition),
        ErrorKind::InvalidValue => suggest_value(&mut error),
        _ => {}
    }
    error
}

fn suggest_option(error: &mut Error, definition: &Command, command: Option<&Command>) {
    // The usage of clap shows the option that clap would suggest.
    let usage = command.unwrap_or(definition).clone().render_usage();
    error.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
    let Some(ContextValue::String(wrong)) = error.get(ContextKind::InvalidArg) else { return };
    let wrong = wrong.split('=').next().unwrap_or_default().trim_start_matches('-').to_owned();
    for kind in
        [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::Suggested]
    {
        error.remove(kind);
    }
    if let Some(near) = nearest(&wrong, options(command.unwrap_or(definition))) {
        error.insert(ContextKind::SuggestedArg, ContextValue::String(format!("--{near}")));
        return;
    }
    let serve = definition.find_subcommand("serve").filter(|_| command.is_none());
    let of_serve = serve.and_then(|serve| nearest(&wrong, options(serve)));
    let elsewhere = ELSEWHERE.iter().find(|(words, _)| words.contains(&wrong.as_str()));
    let tip = match (of_serve, elsewhere) {
        (Some(option), _) => format!("`serve --{option}` exists"),
        (None, Some((_, tip))) => (*tip).to_owned(),
        (None, None) => return,
    };
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(tip)]));
}

fn suggest_command(error: &mut Error, definition: &Command) {
    let Some(ContextValue::String(wrong)) = error.get(ContextKind::InvalidSubcommand) else {
        return;
    };
    let wrong = wrong.clone();
    error.remove(ContextKind::SuggestedSubcommand);
    error.remove(ContextKind::Suggested);
    let commands = definition.get_subcommands().filter(|command| !command.is_hide_set());
    if let Some(near) = nearest(&wrong, commands.map(Command::get_name).chain(["help"])) {
        let near = ContextValue::Strings(vec![near.to_owned()]);
        error.insert(ContextKind::SuggestedSubcommand, near);
    } else if wrong.contains(['.', '/']) {
        let tip = StyledStr::from("`serve HANDLER` serves a handler");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
}

fn suggest_value(error: &mut Error) {
    let (Some(ContextValue::String(wrong)), Some(ContextValue::Strings(words))) =
        (error.get(ContextKind::InvalidValue), error.get(ContextKind::ValidValue))
    else {
        return;
    };
    let near = nearest(wrong, words.iter().map(String::as_str)).map(str::to_owned);
    error.remove(ContextKind::SuggestedValue);
    if let Some(near) = near {
        error.insert(ContextKind::SuggestedValue, ContextValue::String(near));
    }
}

/// Returns the names of the options of a command that its help shows.
fn options(command: &Command) -> impl Iterator<Item = &str> {
    command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(Arg::get_long)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::definition;

    fn error(line: &[&str]) -> String {
        let line = [&["wasm-socketserver"], line].concat();
        let error = definition().try_get_matches_from(&line).unwrap_err();
        let line = line.iter().map(|word| (*word).to_owned());
        with_suggestions(error, definition(), line).to_string()
    }

    #[test]
    fn errors_suggest_the_nearest_word() {
        for (line, tip) in [
            (&["serve", "--bund", "x"][..], "tip: a similar argument exists: '--bind'"),
            (&["serve", "--cputime=1s"], "tip: a similar argument exists: '--cpu-time'"),
            (&["serve", "--port", "80"], "tip: `--bind tcp://HOST:PORT` sets the address"),
            (&["serve", "-p", "80"], "tip: `--bind tcp://HOST:PORT` sets the address"),
            (&["serve", "--verbose"], "tip: `--log-level LEVEL`"),
            (&["--bind", "x"], "tip: `serve --bind` exists"),
            (&["serv"], "tip: a similar subcommand exists: 'serve'"),
            (&["upper.wasm"], "tip: `serve HANDLER` serves a handler"),
            (&["serve", "--concurrency", "thread"], "tip: a similar value exists: 'threading'"),
            (&["serve", "--log-level", "warn"], "tip: a similar value exists: 'warning'"),
            (&["serve", "--bind", "tpc://:80"], "A similar scheme exists: `tcp://`"),
            (&["serve", "--bind", "tcp://:80?rcvbuff=4MiB"], "rcvbuf"),
        ] {
            let error = error(line);
            assert!(error.contains(tip), "{line:?}: {error}");
        }
    }

    #[test]
    fn errors_suggest_nothing_that_is_hidden_or_far_away() {
        for line in [
            &["complie"][..],
            &["compiler"],
            &["rely"],
            &["serve", "--xyzzy"],
            &["serve", "--concurrency", "green"],
            &["frobnicate"],
        ] {
            let error = error(line);
            assert!(!error.contains("tip:"), "{line:?}: {error}");
        }
        let error = error(&["serve", "--port", "80"]);
        assert!(
            error.contains("\nUsage: wasm-socketserver serve [OPTIONS] [HANDLER] [-- <ARG>...]\n"),
            "{error}"
        );
        assert!(!error.contains("--log-rate"), "{error}");
    }
}
