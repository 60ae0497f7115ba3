//! The protocol of HAProxy's `agent-check`: a line that says how much a server can take.
//!
//! A client may name a handler in a line (`agent-send`). Without a name it is told about all
//! handlers together, at once if there is only one.

use std::time::Duration;

use super::connection::Answer;
use super::view::{HandlerView, Source, View};

/// The time that a client has to name a handler.
pub const LONGEST: Duration = Duration::from_secs(1);

/// The longest name of a handler, in bytes.
const MAX_NAME: usize = 256;

/// Returns the answer to a client, as far as it has spoken.
pub fn answer_to(request: &[u8], source: &dyn Source) -> Answer {
    let line = request.iter().position(|byte| *byte == b'\n').map(|end| &request[..end]);
    match line {
        Some(name) => {
            let name = String::from_utf8_lossy(name);
            Answer::Is(answer(Some(name.trim()).filter(|name| !name.is_empty()), source))
        }
        None if request.len() > MAX_NAME => Answer::Is(answer(Some(""), source)),
        None if request.is_empty() && source.look().handlers.len() == 1 => {
            Answer::Is(answer(None, source))
        }
        None => Answer::More,
    }
}

/// Returns the answer about a handler, or about all.
pub fn answer(name: Option<&str>, source: &dyn Source) -> Vec<u8> {
    let view = source.look();
    let is_meant = |handler: &&HandlerView| name.is_none_or(|name| name == handler.name);
    let handlers: Vec<_> = view.handlers.iter().filter(is_meant).collect();
    words(&view, &handlers).into_bytes()
}

fn words(view: &View, handlers: &[&HandlerView]) -> String {
    let has = |state| handlers.iter().any(|handler| handler.state == state);
    if view.draining || has("draining") || has("drained") {
        return "drain\n".to_owned();
    }
    if handlers.is_empty() {
        return "down # there is no such handler\n".to_owned();
    }
    if has("starting") || has("waiting") {
        return "down # it does not serve\n".to_owned();
    }
    let sum = |number: fn(&HandlerView) -> u64| {
        handlers.iter().fold(0, |sum: u64, handler| sum.saturating_add(number(handler)))
    };
    let capacity = sum(|handler| handler.capacity).max(1);
    let free = capacity.saturating_sub(sum(|handler| handler.totals.in_flight));
    // 0% would be a drain.
    let percent = (u128::from(free) * 100 / u128::from(capacity)).max(1);
    // HAProxy keeps `drain` and `down` until `ready` and `up` come.
    format!("ready up {percent}% maxconn:{capacity}\n")
}
