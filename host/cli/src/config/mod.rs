//! The configuration file: several handlers, each with the options of `serve` as its keys.
//!
//! | file | content |
//! |---|---|
//! | this one | the configuration, read from a file and those that it includes |
//! | `file` | one file: its text, and places in it |
//! | `keys` | the keys of a handler, which are the options of `serve` |
//! | `include` | the files that `include` names |
//! | `write` | `--print-config`: a file that says the same as a command line |

mod file;
mod include;
mod keys;
mod write;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use socketserver::{Endpoint, printable};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub use file::{Place, Problem, Problems};
pub use write::print_to_standard_output;

use crate::monitor::MonitorSettings;
use crate::options::{ServeOptions, parse_serve};
use crate::settings::LogSettings;
use crate::values::endpoint::{self, Bind};
use crate::values::nearest::nearest;
use crate::values::units::duration_or_zero;
use file::File;
use keys::{Keys, Options};

/// The version of the format.
const VERSION: i64 = 1;

/// The most handlers.
const MAX_HANDLERS: usize = 256;

/// The longest name of a handler, in bytes.
const MAX_NAME: usize = 64;

/// The keys of the whole file, and those of a file that it includes.
const TOP: [&str; 5] = ["version", "include", "server", "defaults", "handler"];
const INCLUDED: [&str; 2] = ["version", "handler"];

/// The keys of the table `server` that are options too.
const SERVER: [&str; 3] = ["log-format", "log-level", "log-rate"];

/// A configuration without mistakes.
#[derive(Debug)]
pub struct Config {
    /// The log of the process that reads it.
    pub log: LogSettings,
    /// The path of the control socket, if there is to be one.
    pub control: Option<PathBuf>,
    /// The addresses at which others look at the handlers.
    pub monitor: MonitorSettings,
    /// The time that a handler which is drained serves on.
    pub drain_delay: Duration,
    /// The handlers, sorted by name.
    pub handlers: Vec<Handler>,
}

/// A handler of a configuration.
#[derive(Debug, Clone)]
pub struct Handler {
    /// Its name.
    pub name: String,
    /// The folder of the file that names it. Its paths are relative to that.
    pub folder: PathBuf,
    /// The place of its table.
    pub place: Place,
    /// The arguments of `serve` that say the same, without the command itself.
    pub arguments: Vec<String>,
    /// The meaning of these arguments.
    pub options: ServeOptions,
}

impl Config {
    /// Reads a configuration from a file, and from those that the file includes.
    ///
    /// # Errors
    ///
    /// All mistakes in the files, in their order.
    pub fn read(path: &Path) -> Result<Config, Problems> {
        let mut reader = Reader { keys: Keys::of_serve(), problems: Vec::new() };
        let config = reader.read(path);
        match config {
            Some(config) if reader.problems.is_empty() => Ok(config),
            _ => Err(Problems::new(reader.problems)),
        }
    }
}

struct Reader {
    keys: Keys,
    problems: Vec<Problem>,
}

type Value<'a> = Spanned<DeValue<'a>>;

impl Reader {
    fn problem(&mut self, place: Place, message: impl Into<String>) {
        self.problems.push(Problem { place, message: message.into() });
    }

    fn read(&mut self, path: &Path) -> Option<Config> {
        let file = self.open(path)?;
        let text = file.text.clone();
        let table = self.parse(&file, &text)?;
        self.check_keys(&file, &table, &TOP, "the file");
        self.check_version(&file, &table, true);
        let defaults = self.options(&file, table.get("defaults"), "defaults");
        let monitor = self.monitor(&file, table.get("server"));
        let (log, control, drain_delay) = self.server(&file, table.get("server"), &defaults);
        let mut handlers = BTreeMap::new();
        self.handlers(&file, &table, &defaults, &mut handlers);
        for path in self.included(&file, table.get("include")) {
            let Some(file) = self.open(&path) else { continue };
            let text = file.text.clone();
            let Some(table) = self.parse(&file, &text) else { continue };
            self.check_keys(&file, &table, &INCLUDED, "a file that is included");
            self.check_version(&file, &table, false);
            self.handlers(&file, &table, &defaults, &mut handlers);
        }
        if handlers.is_empty() && self.problems.is_empty() {
            self.problem(file.start(), "there is no handler: add a table [handler.NAME]");
        }
        let handlers: Vec<_> = handlers.into_values().collect();
        self.check_addresses(&handlers);
        Some(Config { log, control, monitor, drain_delay, handlers })
    }

    fn open(&mut self, path: &Path) -> Option<File> {
        File::read(path).map_err(|problem| self.problems.push(problem)).ok()
    }

    fn parse<'a>(&mut self, file: &File, text: &'a str) -> Option<DeTable<'a>> {
        match DeTable::parse(text) {
            Ok(table) => Some(table.into_inner()),
            Err(error) => {
                let at = error.span().map_or(0, |span| span.start);
                self.problem(file.place(at), error.message());
                None
            }
        }
    }

    /// Checks that a table has known keys only.
    fn check_keys(&mut self, file: &File, table: &DeTable<'_>, known: &[&str], what: &str) {
        for key in table.keys() {
            if !known.contains(&&**key.get_ref()) {
                let message = unknown(key.get_ref(), what, known.iter().copied());
                self.problem(file.place(key.span().start), message);
            }
        }
    }

    fn check_version(&mut self, file: &File, table: &DeTable<'_>, must: bool) {
        match table.get("version") {
            Some(value) => {
                let number = value.get_ref().as_integer();
                let number = number.and_then(|it| it.as_str().parse::<i64>().ok());
                if number != Some(VERSION) {
                    let message = format!("this program reads version = {VERSION}");
                    self.problem(file.place(value.span().start), message);
                }
            }
            None if must => {
                self.problem(file.start(), format!("write version = {VERSION} in the first line"));
            }
            None => {}
        }
    }

    /// Returns the options in a table.
    fn options(&mut self, file: &File, table: Option<&Value<'_>>, name: &str) -> Options {
        let Some(table) = table else { return Options::default() };
        let Some(entries) = table.get_ref().as_table() else {
            self.problem(file.place(table.span().start), format!("write a table [{name}]"));
            return Options::default();
        };
        self.keys.read(file, entries, name, &mut self.problems)
    }

    /// Returns what the table `server` says. The log is that of the handlers if it says nothing.
    fn server(
        &mut self,
        file: &File,
        table: Option<&Value<'_>>,
        defaults: &Options,
    ) -> (LogSettings, Option<PathBuf>, Duration) {
        let (mut control, mut drain_delay) = (None, Duration::ZERO);
        let mut options = defaults.only(&SERVER);
        if let Some(entries) = table.and_then(|table| table.get_ref().as_table()) {
            let known: Vec<_> =
                SERVER.into_iter().chain(["control", "drain-delay", "metrics", "agent"]).collect();
            self.check_keys(file, entries, &known, "[server]");
            match entries.get("control").map(|value| (value, value.get_ref().as_str())) {
                Some((_, Some(path))) if !path.is_empty() => {
                    control = (path != "off").then(|| file.folder().join(path));
                }
                Some((value, _)) => self.problem(
                    file.place(value.span().start),
                    "control: write the path of a socket, or \"off\"",
                ),
                None => {}
            }
            if let Some(value) = entries.get("drain-delay") {
                let text =
                    value.get_ref().as_str().ok_or("write a duration such as \"5s\"".to_owned());
                match text.and_then(duration_or_zero) {
                    Ok(delay) => drain_delay = delay,
                    Err(why) => {
                        let place = file.place(value.span().start);
                        self.problem(place, format!("drain-delay: {why}"));
                    }
                }
            }
            let known = |key: &str| SERVER.contains(&key);
            let entries = entries.iter().filter(|(key, _)| known(key.get_ref()));
            let entries: DeTable<'_> =
                entries.map(|(key, value)| (key.clone(), value.clone())).collect();
            options.extend(self.keys.read(file, &entries, "server", &mut self.problems));
        } else if let Some(table) = table {
            self.problem(file.place(table.span().start), "write a table [server]");
        }
        let log = parse_serve(&options.arguments());
        let log = log.map_or_else(|_| LogSettings::default(), |serve| serve.server.log.settings());
        (log, control, drain_delay)
    }

    /// Returns the addresses of the monitor in the table `server`.
    fn monitor(&mut self, file: &File, table: Option<&Value<'_>>) -> MonitorSettings {
        let entries = table.and_then(|table| table.get_ref().as_table());
        let mut addresses = |key: &str| {
            let value = entries.and_then(|entries| entries.get(key));
            value.map(|value| self.addresses(file, key, value)).unwrap_or_default()
        };
        MonitorSettings { metrics: addresses("metrics"), agent: addresses("agent") }
    }

    fn addresses(&mut self, file: &File, key: &str, value: &Value<'_>) -> Vec<Endpoint> {
        let values = match value.get_ref() {
            DeValue::Array(values) => values.iter().collect(),
            _ => vec![value],
        };
        let mut addresses = Vec::new();
        for value in values {
            let url =
                value.get_ref().as_str().ok_or("write tcp://HOST:PORT or unix://PATH".to_owned());
            match url.and_then(endpoint::stream) {
                Ok(address) => addresses.push(address),
                Err(why) => self.problem(file.place(value.span().start), format!("{key}: {why}")),
            }
        }
        addresses
    }

    fn handlers(
        &mut self,
        file: &File,
        table: &DeTable<'_>,
        defaults: &Options,
        handlers: &mut BTreeMap<String, Handler>,
    ) {
        let Some(value) = table.get("handler") else { return };
        let Some(tables) = value.get_ref().as_table() else {
            return self.problem(file.place(value.span().start), "write tables [handler.NAME]");
        };
        for (key, value) in tables {
            let (name, place) = (key.get_ref(), file.place(key.span().start));
            let shown = printable(name, MAX_NAME);
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(is_name) {
                let rule = format!("has 1 to {MAX_NAME} letters, digits, `-` and `_`");
                self.problem(place, format!("the name of a handler {rule}: `{shown}`"));
                continue;
            }
            if let Some(Handler { place: other, .. }) = handlers.get(&**name) {
                let message = format!("there is another handler `{shown}`, at {other}");
                self.problem(place, message);
                continue;
            }
            if handlers.len() >= MAX_HANDLERS {
                return self.problem(
                    place,
                    format!("a configuration has {MAX_HANDLERS} handlers at most"),
                );
            }
            let before = self.problems.len();
            let own = self.options(file, Some(value), &format!("handler.{shown}"));
            // A handler whose keys are wrong is not looked at further.
            if self.problems.len() > before {
                continue;
            }
            if let Some(handler) = self.handler(name, file, place, defaults, own) {
                handlers.insert(handler.name.clone(), handler);
            }
        }
    }

    /// Returns the handler that the options mean together.
    fn handler(
        &mut self,
        name: &str,
        file: &File,
        place: Place,
        defaults: &Options,
        own: Options,
    ) -> Option<Handler> {
        let mut all = defaults.clone();
        all.extend(own);
        let missing = ["source", "bind"].into_iter().find(|key| !all.has(key));
        if let Some(key) = missing {
            self.problem(place, format!("[handler.{name}] has no `{key}`"));
            return None;
        }
        let arguments = all.arguments();
        let meant = parse_serve(&arguments).map_err(|error| keys::reason(&error));
        let meant = meant.and_then(|options| match options.clone().settings() {
            Ok(_) => Ok(options),
            Err(error) => Err(format!("{error:#}")),
        });
        match meant {
            Ok(options) => {
                let (name, folder) = (name.to_owned(), file.folder().to_owned());
                Some(Handler { name, folder, place, arguments, options })
            }
            Err(why) => {
                self.problem(place, format!("[handler.{name}]: {why}"));
                None
            }
        }
    }

    /// Checks that no two handlers have the same address.
    fn check_addresses(&mut self, handlers: &[Handler]) {
        let mut owners: HashMap<String, &Handler> = HashMap::new();
        for handler in handlers {
            for bind in &handler.options.server.listening.bind {
                let address = match bind {
                    Bind::Address(end)
                        if end.address().to_socket_addr().is_some_and(|it| it.port() == 0) =>
                    {
                        continue;
                    }
                    // Without the options of the socket, and without TLS.
                    bind => bind
                        .without_tls()
                        .to_string()
                        .split('?')
                        .next()
                        .unwrap_or_default()
                        .to_owned(),
                };
                if let Some(other) = owners.insert(address.clone(), handler) {
                    let message = if other.name == handler.name {
                        format!("[handler.{}] names {address} twice", handler.name)
                    } else {
                        let (name, place) = (&other.name, &other.place);
                        format!("{address} is the address of [handler.{name}] too, at {place}")
                    };
                    self.problem(handler.place.clone(), message);
                }
            }
        }
    }

    fn included(&mut self, file: &File, value: Option<&Value<'_>>) -> Vec<PathBuf> {
        let Some(value) = value else { return Vec::new() };
        let place = file.place(value.span().start);
        let patterns = match value.get_ref() {
            DeValue::Array(all) => {
                all.iter().map(|each| each.get_ref().as_str()).collect::<Option<Vec<_>>>()
            }
            one => one.as_str().map(|pattern| vec![pattern]),
        };
        let Some(patterns) = patterns else {
            self.problem(place, "include: write names of files, such as [\"handlers.d/*.toml\"]");
            return Vec::new();
        };
        let found = patterns.iter().map(|pattern| include::find(file.folder(), pattern));
        match found.collect::<Result<Vec<_>, _>>() {
            Ok(paths) => paths.concat(),
            Err(error) => {
                self.problem(place, format!("include: {error:#}"));
                Vec::new()
            }
        }
    }
}

/// Returns the error of an unknown key.
fn unknown<'a>(key: &str, what: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let meant = nearest(key, known).map(|near| format!(": did you mean `{near}`?"));
    format!("`{}` is no key of {what}{}", printable(key, MAX_NAME), meant.unwrap_or_default())
}

#[cfg(test)]
mod tests;
