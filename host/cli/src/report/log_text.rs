//! The log as text. Text outside of quotes is the host's: its sentence, and the names of the
//! fields behind it.
//!
//! ```text
//! 2030-01-01T12:00:00.000000Z ERROR Exception occurred ...: "handle failed: no" peer="127.0.0.1:5" ...
//! 2030-01-01T12:00:00.000000Z  INFO guest: "what the handler says" handler="upper" peer="127.0.0.1:5"
//! ```

use std::fmt::{self, Debug, Write};

use socketserver::printable;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The target of lines that handlers write. No line of the host has it.
pub const GUEST: &str = "guest";

/// The target of the lines about each request.
pub const ACCESS: &str = "access";

/// Formats each event as a line.
pub struct Text;

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        SystemTime.format_time(&mut writer)?;
        let level = event.metadata().level();
        match colour(*level).filter(|_| writer.has_ansi_escapes()) {
            Some(colour) => write!(writer, " \x1b[{colour}m{level:>5}\x1b[0m ")?,
            None => write!(writer, " {level:>5} ")?,
        }
        write_event(&mut writer, event.metadata().target() == GUEST, |visitor| {
            event.record(visitor);
        })?;
        writeln!(writer)
    }
}

fn colour(level: Level) -> Option<u8> {
    Some(match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        _ => return None,
    })
}

/// Writes the message first, wherever it stands among the fields, and then the other fields.
fn write_event(to: &mut dyn Write, is_guest: bool, record: impl Fn(&mut dyn Visit)) -> fmt::Result {
    let mut message = Fields { to, part: Part::Message { is_guest }, result: Ok(()) };
    record(&mut message);
    message.result?;
    let mut fields = Fields { to, part: Part::Others, result: Ok(()) };
    record(&mut fields);
    fields.result
}

/// The fields that are written.
#[derive(Clone, Copy)]
enum Part {
    Message { is_guest: bool },
    Others,
}

struct Fields<'a> {
    to: &'a mut dyn Write,
    part: Part,
    result: fmt::Result,
}

impl Fields<'_> {
    /// Writes a value: in quotes, unless it is a number or a truth value.
    fn value(&mut self, field: &Field, value: &str, quotes: bool) {
        if self.result.is_err() {
            return;
        }
        self.result = match (self.part, field.name() == "message") {
            (Part::Message { is_guest: true }, true) => {
                self.to.write_str("guest: ").and_then(|()| self.to.write_str(&quoted(value)))
            }
            (Part::Message { is_guest: false }, true) => {
                self.to.write_str(&printable(value, usize::MAX))
            }
            (Part::Others, false) => {
                let value = if quotes { &*quoted(value) } else { value };
                write!(self.to, " {field}={value}")
            }
            (Part::Message { .. }, false) | (Part::Others, true) => Ok(()),
        };
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.value(field, value, true);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.value(field, &format!("{value:?}"), true);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.value(field, &value.to_string(), false);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.value(field, &value.to_string(), false);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.value(field, &value.to_string(), false);
    }
}

/// Returns text in quotes. Quotes in it are escaped, and so are backslashes, except those of
/// an escape that [`printable`] makes. So the next quote that is not escaped ends the text.
pub fn quoted(text: &str) -> String {
    let text = printable(text, usize::MAX);
    let mut rest = text.as_str();
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    while let Some(at) = rest.find(['"', '\\']) {
        let (plain, special) = rest.split_at(at);
        let (escape, after) = special.split_at(escape(special).unwrap_or(1));
        quoted.push_str(plain);
        if escape.len() == 1 {
            quoted.push('\\');
        }
        quoted.push_str(escape);
        rest = after;
    }
    quoted.push_str(rest);
    quoted.push('"');
    quoted
}

/// Returns the length of the escape that `text` begins with, if it is a whole one.
fn escape(text: &str) -> Option<usize> {
    let after = text.strip_prefix('\\')?;
    if after.starts_with(['n', 'r', 't', '\\']) {
        return Some(2);
    }
    let number = after.strip_prefix("u{")?;
    let digits = number.find(|character: char| !character.is_ascii_hexdigit())?;
    ((1..=6).contains(&digits) && number[digits..].starts_with('}')).then_some(digits + 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the text of a line outside of quotes, as a reader of the log sees it.
    fn outside(line: &str) -> String {
        let (mut outside, mut inside, mut escaped) = (String::new(), false, false);
        for character in line.chars() {
            match character {
                _ if escaped => escaped = false,
                '\\' if inside => escaped = true,
                '"' => inside = !inside,
                _ if !inside => outside.push(character),
                _ => {}
            }
        }
        assert!(!inside && !escaped, "{line}");
        outside
    }

    #[test]
    fn quoted_text_does_not_end_before_its_end() {
        assert_eq!(quoted("plain"), r#""plain""#);
        assert_eq!(quoted(r#"say "hi""#), r#""say \"hi\"""#);
        assert_eq!(quoted("a\nb\u{1b}c"), r#""a\nb\u{1b}c""#);
        assert_eq!(quoted(r"a\nb\u{1b}c"), r#""a\nb\u{1b}c""#);
        assert_eq!(quoted(r"C:\dir\"), r#""C:\\dir\\""#);
        assert_eq!(quoted(r"\u{} \u{1234567} \u{12 \x"), r#""\\u{} \\u{1234567} \\u{12 \\x""#);
    }

    #[test]
    fn no_text_of_a_few_characters_gets_out_of_its_quotes() {
        let alphabet = ['\\', '"', 'n', 'u', '{', '}', '1', 'x', ' '];
        let mut texts = vec![String::new()];
        for _ in 0..5 {
            texts = texts
                .iter()
                .flat_map(|text| alphabet.map(|character| format!("{text}{character}")))
                .collect();
            for text in &texts {
                assert_eq!(outside(&quoted(text)), "", "{text}");
            }
        }
    }
}
