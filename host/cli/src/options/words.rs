//! Options with a fixed set of words.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use socketserver::{ClientAuth, ConcurrencyKind, TlsVersion};
use socketserver_jail::JailMode;
use socketserver_sandbox::OnKill;
use tracing::Level;

use super::profile::Profile;
use crate::report::LogFormat;
use crate::report::access_log::AccessLog;
use crate::values::language::Language;

/// Returns a parser of `--concurrency`. Workers have an option of their own.
pub fn concurrency() -> impl TypedValueParser<Value = ConcurrencyKind> {
    let kinds = ConcurrencyKind::ALL.into_iter().filter(|kind| *kind != ConcurrencyKind::Workers);
    one_of(kinds.map(|kind| (kind.as_str(), kind)).collect())
}

/// Returns a parser of `--jail`.
pub fn jail() -> impl TypedValueParser<Value = JailMode> {
    one_of(JailMode::ALL.iter().map(|mode| (mode.as_str(), *mode)).collect())
}

/// Returns a parser of `--on-kill`.
pub fn on_kill() -> impl TypedValueParser<Value = OnKill> {
    one_of(OnKill::ALL.iter().map(|value| (value.as_str(), *value)).collect())
}

/// Returns a parser of `--profile`.
pub fn profile() -> impl TypedValueParser<Value = Profile> {
    one_of(Profile::ALL.iter().map(|profile| (profile.as_str(), *profile)).collect())
}

/// Returns a parser of `--tls-client-auth`.
pub fn client_auth() -> impl TypedValueParser<Value = ClientAuth> {
    one_of(vec![("require", ClientAuth::Require), ("request", ClientAuth::Request)])
}

/// Returns a parser of `--tls-min-version`.
pub fn tls_version() -> impl TypedValueParser<Value = TlsVersion> {
    one_of(vec![("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)])
}

/// Returns a parser of `--log-format`.
pub fn log_format() -> impl TypedValueParser<Value = LogFormat> {
    one_of(LogFormat::ALL.iter().map(|format| (format.as_str(), *format)).collect())
}

/// Returns a parser of `--access-log`.
pub fn access_log() -> impl TypedValueParser<Value = AccessLog> {
    one_of(AccessLog::ALL.iter().map(|value| (value.as_str(), *value)).collect())
}

/// The words for the levels of the log.
const LEVELS: [(&str, Level); 4] = [
    ("error", Level::ERROR),
    ("warning", Level::WARN),
    ("info", Level::INFO),
    ("debug", Level::DEBUG),
];

/// Returns the word for a level of the log.
pub fn level_word(level: Level) -> &'static str {
    let row = LEVELS.iter().find(|(_, known)| *known == level);
    row.map_or("info", |(word, _)| word)
}

/// Returns a parser of `--log-level`.
pub fn log_level() -> impl TypedValueParser<Value = Level> {
    one_of(LEVELS.into())
}

/// Returns the word for a level of the log.
pub fn name_of_level(level: Level) -> &'static str {
    LEVELS.iter().find(|(_, each)| *each == level).map_or("trace", |(word, _)| word)
}

/// Returns a parser of the language of `new`.
pub fn language() -> impl TypedValueParser<Value = Language> {
    let words = |language: Language| [&[language.as_str()], language.aliases()].concat();
    let values = Language::ALL.map(|language| {
        PossibleValue::new(language.as_str()).aliases(language.aliases().iter().copied())
    });
    PossibleValuesParser::new(values).try_map(move |given| {
        let mut all = Language::ALL.into_iter();
        all.find(|each| words(*each).contains(&given.as_str())).ok_or("there is no such language")
    })
}

/// Returns a parser that turns each word into its value.
fn one_of<T>(values: Vec<(&'static str, T)>) -> impl TypedValueParser<Value = T>
where
    T: Copy + Send + Sync + 'static,
{
    let words: Vec<_> = values.iter().map(|(word, _)| *word).collect();
    PossibleValuesParser::new(words).try_map(move |given| {
        let value = values.iter().find(|(word, _)| *word == given);
        value.map(|(_, value)| *value).ok_or("there is no such value")
    })
}
