//! The keys of a handler: the options of `serve`, by their names and with their parsers.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::error::Error;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::file::{File, Problem};
use super::unknown;
use crate::options;
use crate::values::nearest::nearest;

/// The keys that stand for arguments without a name.
pub const SOURCE: &str = "source";
const ARGS: &str = "args";

/// The options that have no key.
const WITHOUT_KEY: [&str; 7] =
    ["help", "version", "print-config", "check", "once", "metrics", "agent"];

/// The most values of one key.
const MAX_VALUES: usize = 1024;

/// The longest value, in bytes.
const MAX_VALUE: usize = 64 << 10;

/// The type of the value of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// `true` and `false`.
    Boolean,
    /// An integer.
    Integer,
    /// A text, or a number that is one without its unit.
    Text,
}

/// A key, and the option that it stands for.
#[derive(Debug, Clone)]
pub struct Key {
    /// The name of both.
    pub name: String,
    /// The identifier of the option for clap.
    pub id: String,
    /// The type of its value, or of each of its values.
    pub value: KeyType,
    /// True if the option has no value: it is there or not.
    pub is_flag: bool,
    /// True if there may be several values.
    pub is_list: bool,
}

/// All keys.
pub struct Keys {
    serve: Command,
    keys: Vec<Key>,
}

impl Keys {
    /// Returns the keys that stand for the options of `serve`.
    pub fn of_serve() -> Keys {
        let mut definition = options::definition();
        definition.build();
        let serve = definition.find_subcommand("serve").cloned().unwrap_or_default();
        let keys = serve.get_arguments().filter_map(key).collect();
        Keys { serve, keys }
    }

    /// Returns the keys that stand for options.
    pub fn all(&self) -> &[Key] {
        &self.keys
    }

    /// Reads a table of options. Mistakes are added to `problems`.
    pub fn read(
        &self,
        file: &File,
        table: &DeTable<'_>,
        name: &str,
        problems: &mut Vec<Problem>,
    ) -> Options {
        let mut options = Options::default();
        for (key, value) in table {
            let at = file.place(key.span().start);
            let known = self.keys.iter().find(|known| known.name == **key.get_ref());
            let values = match (known, &**key.get_ref()) {
                (Some(known), _) => self.values(known, value),
                (None, SOURCE) if name != "defaults" => single(value).map(|source| vec![source]),
                (None, ARGS) if name != "defaults" => list(value, KeyType::Text),
                (None, key) => {
                    let known = self.keys.iter().map(|known| &*known.name).chain([SOURCE, ARGS]);
                    let message = unknown(key, &format!("[{name}]"), known);
                    problems.push(Problem { place: at, message });
                    continue;
                }
            };
            match values {
                Ok(values) => {
                    options.0.insert(key.get_ref().to_string(), values);
                }
                Err(message) => {
                    let place = file.place(value.span().start);
                    let message = format!("{}: {message}", key.get_ref());
                    problems.push(Problem { place, message });
                }
            }
        }
        options
    }

    /// Returns the arguments that a value of the file means.
    fn values(&self, key: &Key, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, String> {
        if key.is_flag {
            let is_set =
                value.get_ref().as_bool().ok_or_else(|| expected("true or false", value))?;
            return Ok(if is_set { vec![format!("--{}", key.name)] } else { Vec::new() });
        }
        let values = match value.get_ref() {
            DeValue::Table(entries) if key.name == "env" => variables(entries)?,
            _ if key.is_list => list(value, key.value)?,
            _ => vec![text(value, key.value)?],
        };
        let arguments = values.into_iter().map(|value| format!("--{}={value}", key.name));
        let arguments: Vec<_> = arguments.collect();
        for argument in &arguments {
            let parsed = self.serve.clone().try_get_matches_from(["serve", argument]);
            parsed.map_err(|error| reason(&error))?;
        }
        Ok(arguments)
    }
}

/// Returns the key that stands for an option.
fn key(arg: &Arg) -> Option<Key> {
    let name = arg.get_long().filter(|name| !WITHOUT_KEY.contains(name))?;
    let parsed = arg.get_value_parser().type_id();
    let is_flag = matches!(arg.get_action(), ArgAction::SetTrue);
    let integers = [TypeId::of::<u16>(), TypeId::of::<u32>()];
    let value = if is_flag || parsed == TypeId::of::<bool>() {
        KeyType::Boolean
    } else if integers.iter().any(|integer| parsed == *integer) && name != "socket-mode" {
        KeyType::Integer
    } else {
        KeyType::Text
    };
    Some(Key {
        name: name.to_owned(),
        id: arg.get_id().to_string(),
        value,
        is_flag,
        is_list: matches!(arg.get_action(), ArgAction::Append),
    })
}

/// The options in a table: the arguments that stand for each key.
#[derive(Debug, Clone, Default)]
pub struct Options(BTreeMap<String, Vec<String>>);

impl Options {
    /// Adds options, in place of those with the same keys.
    pub fn extend(&mut self, others: Options) {
        self.0.extend(others.0);
    }

    /// Returns the options with these keys.
    pub fn only(&self, keys: &[&str]) -> Options {
        let mut options = self.clone();
        options.0.retain(|key, _| keys.contains(&&**key));
        options
    }

    /// Returns true if there is something for the key.
    pub fn has(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|values| !values.is_empty())
    }

    /// Returns the arguments of `serve`.
    pub fn arguments(&self) -> Vec<String> {
        let of = |key| self.0.get(key).cloned().unwrap_or_default();
        let named = self.0.iter().filter(|(key, _)| ![SOURCE, ARGS].contains(&&***key));
        let mut arguments: Vec<_> = named.flat_map(|(_, values)| values.clone()).collect();
        // What follows is not taken for an option, whatever its name is.
        let source = of(SOURCE);
        let is_like_option = |path: &String| path.starts_with('-');
        let path = |path| if is_like_option(&path) { format!("./{path}") } else { path };
        arguments.extend(source.into_iter().map(path));
        let args = of(ARGS);
        if !args.is_empty() {
            arguments.push("--".to_owned());
            arguments.extend(args);
        }
        arguments
    }
}

fn single(value: &Spanned<DeValue<'_>>) -> Result<String, String> {
    match value.get_ref().as_str() {
        Some("") | None => Err(expected("the path of a file, as a string", value)),
        Some(path) => bounded(path.to_owned()),
    }
}

fn list(value: &Spanned<DeValue<'_>>, of: KeyType) -> Result<Vec<String>, String> {
    let DeValue::Array(values) = value.get_ref() else { return Ok(vec![text(value, of)?]) };
    if values.len() > MAX_VALUES {
        return Err(format!("at most {MAX_VALUES} values"));
    }
    values.iter().map(|value| text(value, of)).collect()
}

fn variables(entries: &DeTable<'_>) -> Result<Vec<String>, String> {
    let mut variables = Vec::new();
    for (name, value) in entries {
        let text = value.get_ref().as_str().ok_or_else(|| expected("a string", value))?;
        variables.push(bounded(format!("{}={text}", name.get_ref()))?);
    }
    Ok(variables)
}

/// Returns a value as an option has it.
fn text(value: &Spanned<DeValue<'_>>, of: KeyType) -> Result<String, String> {
    match (value.get_ref(), of) {
        (DeValue::Boolean(value), KeyType::Boolean) => Ok(value.to_string()),
        (DeValue::Integer(number), KeyType::Integer | KeyType::Text) if number.radix() == 10 => {
            Ok(number.as_str().to_owned())
        }
        (DeValue::Float(number), KeyType::Text) => Ok(number.as_str().to_owned()),
        (DeValue::String(text), KeyType::Text) => bounded(text.to_string()),
        (_, KeyType::Boolean) => Err(expected("true or false", value)),
        (_, KeyType::Integer) => Err(expected("a number", value)),
        (_, KeyType::Text) => Err(expected("a string", value)),
    }
}

fn bounded(text: String) -> Result<String, String> {
    if text.len() > MAX_VALUE || text.contains('\0') {
        return Err(format!("a value has at most {MAX_VALUE} bytes, and none of them is zero"));
    }
    Ok(text)
}

fn expected(what: &str, value: &Spanned<DeValue<'_>>) -> String {
    let article = |kind: &str| if kind.starts_with(['a', 'i']) { "an" } else { "a" };
    let kind = value.get_ref().type_str();
    format!("write {what}, not {} {kind}", article(kind))
}

/// Returns the reason for which clap refuses an argument.
pub fn reason(error: &clap::Error) -> String {
    if let Some(source) = Error::source(error) {
        return source.to_string();
    }
    let context = |kind| error.get(kind);
    if let (
        ErrorKind::InvalidValue,
        Some(ContextValue::String(wrong)),
        Some(ContextValue::Strings(words)),
    ) = (error.kind(), context(ContextKind::InvalidValue), context(ContextKind::ValidValue))
    {
        let meant = nearest(wrong, words.iter().map(String::as_str));
        let meant = meant.map(|near| format!(": did you mean `{near}`?")).unwrap_or_default();
        let wrong = socketserver::printable(wrong, 100);
        return format!("`{wrong}` is none of {}{meant}", words.join(", "));
    }
    let said = error.to_string();
    let line = said.lines().next().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}
