//! `wasi:io/poll`: waiting for the first of several events.

#![allow(clippy::needless_pass_by_value, reason = "the Linker gives its functions values")]

use std::sync::Arc;
use std::time::Instant;

use socketserver::block_on;
use wasmtime::component::{Linker, Resource, ResourceType, WasmList};
use wasmtime::{Result, StoreContextMut, bail};

use crate::host::grants::Grants;
use crate::host::sleep::sleep_until;
use crate::host::state::State;

pub(super) const NAME: &str = "wasi:io/poll@0.2.0";

/// An event that a guest waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pollable {
    /// An event that is there: no operation of a stream waits for a peer, so all streams are
    /// ready.
    Ready,
    /// A time; `None` stands for a time that never comes.
    At(Option<Instant>),
}

impl Pollable {
    fn is_ready(self, now: Instant) -> bool {
        match self {
            Pollable::Ready => true,
            Pollable::At(when) => when.is_some_and(|when| when <= now),
        }
    }
}

type Cx<'a> = StoreContextMut<'a, State>;

pub(super) fn add_to_linker(linker: &mut Linker<State>, _: &Arc<Grants>) -> Result<()> {
    let mut poll = linker.instance(NAME)?;
    poll.resource("pollable", ResourceType::host::<Pollable>(), |mut cx, rep| {
        cx.data_mut().table.delete(Resource::<Pollable>::new_own(rep))?;
        Ok(())
    })?;
    poll.func_wrap("[method]pollable.ready", ready)?;
    poll.func_wrap("[method]pollable.block", block)?;
    poll.func_wrap("poll", poll_all)
}

fn ready(cx: Cx<'_>, (pollable,): (Resource<Pollable>,)) -> Result<(bool,)> {
    Ok((cx.data().table.get(&pollable)?.is_ready(Instant::now()),))
}

fn block(mut cx: Cx<'_>, (pollable,): (Resource<Pollable>,)) -> Result<()> {
    match *cx.data().table.get(&pollable)? {
        Pollable::Ready => Ok(()),
        Pollable::At(when) => block_on(sleep_until(cx.data_mut(), when)),
    }
}

/// Waits until an event is there, and returns the indices of all that are. It ends the guest
/// if the list is empty, as the interface demands, or longer than the number of handles that
/// a guest may hold.
fn poll_all(mut cx: Cx<'_>, (list,): (WasmList<Resource<Pollable>>,)) -> Result<(Vec<u32>,)> {
    let (count, most) = (list.len(), cx.data().table.max_capacity());
    if count == 0 {
        bail!("it polled an empty list, for which it would have waited for ever");
    }
    if count > most {
        bail!("it polled {count} things at once, and {most} are the most");
    }
    let handles = list.iter(&mut cx)?.collect::<Result<Vec<_>>>()?;
    let table = &cx.data().table;
    let pollables = handles.iter().map(|handle| table.get(handle).copied());
    let pollables = pollables.collect::<std::result::Result<Vec<Pollable>, _>>()?;
    let mut now = Instant::now();
    if !pollables.iter().any(|pollable| pollable.is_ready(now)) {
        let at = |pollable: &Pollable| match pollable {
            Pollable::Ready => Some(now),
            Pollable::At(when) => *when,
        };
        let first = pollables.iter().filter_map(at).min();
        block_on(sleep_until(cx.data_mut(), first))?;
        now = Instant::now();
    }
    let ready = (0..).zip(&pollables).filter(|(_, pollable)| pollable.is_ready(now));
    Ok((ready.map(|(place, _)| place).collect(),))
}
