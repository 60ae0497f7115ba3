//! `ip-name-lookup`: the addresses of a granted name.

#![allow(clippy::needless_pass_by_value, reason = "the Linker gives its functions values")]

use std::future::poll_fn;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::task::Poll;
use std::vec::IntoIter;

use dns_lookup::{AddrInfoHints, LookupErrorKind};
use socketserver::Readiness;
use wasmtime::Result;
use wasmtime::component::{Linker, Resource, ResourceType, WasmStr};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddress};
use wasmtime_wasi_io::poll::{Pollable, subscribe};

use super::{Cx, Failure, Network, Outcome, denied, methods, opened, reply};
use crate::host::grants::Grants;
use crate::host::sleep::Source;
use crate::host::state::State;
use crate::host::waits::{Waits, define_waiting};
use crate::host::wasi::poll::{wake_at, wake_when_ready};
use crate::lookup::{Lookup, LookupOutcome, Running};
use crate::network_grants::HostName;

/// The longest name that is looked at, in bytes.
const LONGEST: usize = 255;

/// The addresses of a name, which may have to come first.
enum Addresses {
    Pending(Running, HostName),
    Arrived(LookupOutcome, HostName),
    Known(IntoIter<IpAddr>),
    Failed(ErrorCode),
}

type Stream = Resource<Addresses>;
type HostResult<T> = Result<(std::result::Result<T, ErrorCode>,)>;

pub(in crate::host::wasi) fn add_ip_name_lookup(
    linker: &mut Linker<State>,
    _: &Arc<Grants>,
    waits: Waits,
) -> Result<()> {
    let mut lookup = linker.instance("wasi:sockets/ip-name-lookup@0.2.0")?;
    lookup.resource(
        "resolve-address-stream",
        ResourceType::host::<Addresses>(),
        |mut cx, rep| {
            cx.data_mut().table.delete(Stream::new_own(rep))?;
            Ok(())
        },
    )?;
    define_waiting!(lookup, waits, "resolve-addresses", resolve)?;
    methods! { lookup "resolve-address-stream"
        "resolve-next-address" => resolve_next_address,
    }
    lookup.func_wrap(
        "[method]resolve-address-stream.subscribe",
        |mut cx: Cx<'_>, (this,): (Stream,)| Ok((subscribe(&mut cx.data_mut().table, this)?,)),
    )
}

async fn resolve(cx: Cx<'_>, params: (Resource<Network>, WasmStr)) -> HostResult<Stream> {
    reply(resolve_addresses(cx, params).await)
}

/// Begins a lookup. An address is no secret, and takes no lookup.
async fn resolve_addresses(
    mut cx: Cx<'_>,
    (network, name): (Resource<Network>, WasmStr),
) -> Outcome<Stream> {
    cx.data().table.get(&network)?;
    let name = name.to_str(&cx).map_err(Failure::End)?;
    if name.len() > LONGEST {
        return Err(ErrorCode::InvalidArgument.into());
    }
    let name = name.into_owned();
    let state = cx.data_mut();
    let addresses = match address(&name) {
        Some(ip) => Addresses::Known(vec![ip].into_iter()),
        None => look_up(state, name).await?,
    };
    Ok(state.table.push(addresses)?)
}

/// Returns the address that a text is.
fn address(text: &str) -> Option<IpAddr> {
    let bracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    match bracketed {
        Some(text) => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    }
}

/// Begins the lookup of a name, which must be granted: it tells the owner of the name's servers
/// what the guest asked for.
async fn look_up(state: &mut State, name: String) -> Outcome<Addresses> {
    // A text that is no name would say what it likes in the log.
    let asked: HostName = name.parse().map_err(|_| ErrorCode::InvalidArgument)?;
    let opened = state.opened.as_deref();
    let granted = opened.and_then(|opened| Some((opened, opened.grants().may_resolve(&name)?)));
    let Some((opened, granted)) = granted else {
        let call = format!("resolve-addresses of {asked}: --resolve {asked} would permit it");
        return Err(denied(state, &call));
    };
    let granted = granted.clone();
    let hints = AddrInfoHints { socktype: libc::SOCK_STREAM, ..AddrInfoHints::default() };
    let lookup = Lookup { host: Some(name), service: None, hints };
    if opened.has_broker() {
        // The connection to the broker is for one call at a time.
        let outcome = self::opened(state)?.look_up(&granted, lookup).await?;
        return remember(state, outcome, &granted);
    }
    let guard = opened.lookup().ok_or(ErrorCode::TemporaryResolverFailure)?;
    match lookup.start(guard) {
        Ok(running) => Ok(Addresses::Pending(running, granted)),
        Err(_) => Err(ErrorCode::TemporaryResolverFailure.into()),
    }
}

fn resolve_next_address(state: &mut State, (this,): (Stream,)) -> Outcome<Option<IpAddress>> {
    let addresses = state.table.get_mut(&this)?;
    addresses.look();
    if let Addresses::Arrived(outcome, granted) = addresses {
        let outcome = std::mem::replace(outcome, Err(LookupErrorKind::Again));
        let granted = granted.clone();
        let known = remember(state, outcome, &granted)?;
        *state.table.get_mut(&this)? = known;
    }
    match state.table.get_mut(&this)? {
        Addresses::Known(addresses) => Ok(addresses.next().map(IpAddress::from)),
        Addresses::Failed(code) => Err((*code).into()),
        Addresses::Pending(..) | Addresses::Arrived(..) => Err(ErrorCode::WouldBlock.into()),
    }
}

/// Remembers where a granted name leads.
fn remember(state: &mut State, outcome: LookupOutcome, granted: &HostName) -> Outcome<Addresses> {
    let found = match outcome {
        Ok(found) => found,
        Err(kind) => return Ok(Addresses::Failed(error_code(kind))),
    };
    let mut addresses = Vec::with_capacity(found.len());
    for ip in found.iter().map(|one| one.address.ip().to_canonical()) {
        opened(state)?.remember(granted, ip);
        if !addresses.contains(&ip) {
            addresses.push(ip);
        }
    }
    Ok(Addresses::Known(addresses.into_iter()))
}

fn error_code(kind: LookupErrorKind) -> ErrorCode {
    match kind {
        LookupErrorKind::NoName | LookupErrorKind::NoData | LookupErrorKind::Family => {
            ErrorCode::NameUnresolvable
        }
        LookupErrorKind::Again => ErrorCode::TemporaryResolverFailure,
        LookupErrorKind::Fail => ErrorCode::PermanentResolverFailure,
        LookupErrorKind::Memory => ErrorCode::OutOfMemory,
        _ => ErrorCode::Unknown,
    }
}

impl Addresses {
    /// Takes the outcome of the lookup, if there is one.
    fn look(&mut self) {
        if let Addresses::Pending(running, granted) = self
            && let Some(outcome) = running.outcome()
        {
            *self = Addresses::Arrived(outcome, granted.clone());
        }
    }
}

#[async_trait]
impl Pollable for Addresses {
    async fn ready(&mut self) {
        poll_fn(|_| {
            self.look();
            let Addresses::Pending(running, _) = self else { return Poll::Ready(()) };
            let done = Source::Lookup(Arc::clone(&running.done));
            wake_when_ready(done, Readiness { readable: true, writable: false });
            running.end.into_iter().for_each(wake_at);
            Poll::Pending
        })
        .await;
    }
}
