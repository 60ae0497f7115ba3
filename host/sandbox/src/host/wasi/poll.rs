//! `wasi:io/poll`: waiting for the first of several events. The algorithm is that of
//! `wasmtime-wasi-io`; the waiting is the request's, which has limits.

#![allow(clippy::needless_pass_by_value, reason = "the Linker gives its functions values")]

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use socketserver::{Readiness, Request};
use wasmtime::component::{Linker, Resource, ResourceType, WasmList};
use wasmtime::{Result, StoreContextMut, bail};
use wasmtime_wasi::async_trait;
use wasmtime_wasi_io::bindings::wasi::io::poll::{Host, HostPollable};
use wasmtime_wasi_io::poll::{DynPollable, Pollable};

use crate::host::grants::Grants;
use crate::host::sleep::{Sleep, Source, Wake};
use crate::host::state::State;
use crate::host::waits::{Waits, define_waiting};

pub(super) const NAME: &str = "wasi:io/poll@0.2.0";

thread_local! {
    /// The events for which the future waits that this thread polls.
    static WAKE: RefCell<Wake> = const { RefCell::new(Wake { at: None, awaited: Vec::new(), never: false }) };
    /// Set if work of the guest goes on while the future waits.
    static WORKS: Cell<bool> = const { Cell::new(false) };
}

/// A time that a guest waits for; `None` stands for a time that never comes.
pub(super) struct Timer(pub Option<Instant>);

#[async_trait]
impl Pollable for Timer {
    async fn ready(&mut self) {
        let end = self.0;
        poll_fn(|_| match end {
            Some(end) if end <= Instant::now() => Poll::Ready(()),
            Some(end) => {
                wake_at(end);
                Poll::Pending
            }
            None => {
                WAKE.with_borrow_mut(|wake| wake.never = true);
                Poll::Pending
            }
        })
        .await;
    }
}

/// Makes the future that this thread polls wait until a time at the latest.
pub(super) fn wake_at(end: Instant) {
    WAKE.with_borrow_mut(|wake| wake.at = Some(wake.at.map_or(end, |first| first.min(end))));
}

/// Makes the future that this thread polls wait for a descriptor too.
pub(super) fn wake_when_ready(source: Source, wanted: Readiness) {
    WAKE.with_borrow_mut(|wake| wake.awaited.push((source, wanted)));
}

/// Returns true if work of the guest goes on while the future waits that this thread polls. Such
/// a future waits by [`socket_is_ready`] only.
pub(super) fn works_in_background() -> bool {
    WORKS.get()
}

/// Completes when a socket is ready in a direction, or a call on it would fail.
pub(super) async fn socket_is_ready(socket: &Request, wanted: Readiness) {
    poll_fn(|_| {
        if socket.is_ready(wanted).unwrap_or(true) {
            return Poll::Ready(());
        }
        wake_when_ready(Source::Socket(socket.clone()), wanted);
        Poll::Pending
    })
    .await;
}

/// Runs a future to its end. While it waits, the request does.
///
/// # Errors
///
/// A limit was reached. The error ends the guest.
pub(super) async fn wait_on<T: Send>(
    sleep: &mut Sleep,
    future: impl Future<Output = T> + Send,
) -> Result<T> {
    let mut future = pin!(future);
    loop {
        let step = poll_fn(|cx| {
            WORKS.set(sleep.works_in_background());
            let polled = future.as_mut().poll(cx);
            // Nothing stays in it, because it would hold sockets open.
            let wake = WAKE.take();
            match polled {
                Poll::Ready(value) => Poll::Ready(Ok(value)),
                // A call on a socket has suspended the task.
                Poll::Pending if wake.is_empty() => Poll::Pending,
                Poll::Pending => Poll::Ready(Err(wake)),
            }
        });
        let mut wake = match step.await {
            Ok(value) => return Ok(value),
            Err(wake) => wake,
        };
        let waited = sleep.until(&mut wake).await;
        wake.clear();
        WAKE.set(wake);
        waited?;
    }
}

type Cx<'a> = StoreContextMut<'a, State>;
type Handle = Resource<DynPollable>;

pub(super) fn add_to_linker(
    linker: &mut Linker<State>,
    _: &Arc<Grants>,
    waits: Waits,
) -> Result<()> {
    let mut poll = linker.instance(NAME)?;
    poll.resource("pollable", ResourceType::host::<DynPollable>(), |mut cx, rep| {
        HostPollable::drop(&mut cx.data_mut().table, Handle::new_own(rep))
    })?;
    define_waiting!(poll, waits, "[method]pollable.ready", ready)?;
    define_waiting!(poll, waits, "[method]pollable.block", block)?;
    define_waiting!(poll, waits, "poll", poll_all)
}

async fn ready(mut cx: Cx<'_>, (pollable,): (Handle,)) -> Result<(bool,)> {
    let State { table, sleep, .. } = cx.data_mut();
    Ok((wait_on(sleep, table.ready(pollable)).await??,))
}

async fn block(mut cx: Cx<'_>, (pollable,): (Handle,)) -> Result<()> {
    let State { table, sleep, .. } = cx.data_mut();
    wait_on(sleep, table.block(pollable)).await?
}

/// Waits until an event is there, and returns the indices of all that are. It ends the guest
/// if the list is empty, as the interface demands, or longer than the number of handles that
/// a guest may hold. The list is counted before it is copied.
async fn poll_all(mut cx: Cx<'_>, (list,): (WasmList<Handle>,)) -> Result<(Vec<u32>,)> {
    let (count, most) = (list.len(), cx.data().max_handles);
    if count == 0 {
        bail!("it polled an empty list, for which it would have waited for ever");
    }
    if count > most {
        bail!("it polled {count} things at once, and {most} are the most");
    }
    let handles = list.iter(&mut cx)?.collect::<Result<Vec<_>>>()?;
    let State { table, sleep, .. } = cx.data_mut();
    Ok((wait_on(sleep, table.poll(handles)).await??,))
}
