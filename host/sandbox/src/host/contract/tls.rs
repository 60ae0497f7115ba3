//! `interface tls`: facts about the TLS of a connection.

use socketserver::Request;
use wasmtime::component::{ComponentNamedList, Linker, Lower};
use wasmtime::{Result, StoreContextMut};

use crate::host::state::State;

use super::sockets::Socket;

pub(super) const NAME: &str = "socketserver:handler/tls@0.1.0";

pub(super) fn add_to_linker(linker: &mut Linker<State>) -> Result<()> {
    let mut tls = linker.instance(NAME)?;
    tls.func_wrap("version", fact(Request::version))?;
    tls.func_wrap("cipher", fact(cipher))?;
    tls.func_wrap("selected-alpn-protocol", fact(Request::selected_alpn_protocol))?;
    tls.func_wrap("getpeercert", fact(Request::getpeercert))?;
    tls.func_wrap("server-hostname", fact(Request::server_hostname))
}

/// Returns a host function that reads one fact about a socket.
fn fact<R>(
    read: impl Fn(&Request) -> R + Send + Sync + 'static,
) -> impl Fn(StoreContextMut<'_, State>, (Socket,)) -> Result<(R,)> + Send + Sync + 'static
where
    (R,): ComponentNamedList + Lower,
{
    move |store, (socket,)| Ok((read(store.data().table.get(&socket)?),))
}

fn cipher(request: &Request) -> Option<(&'static str, &'static str, u32)> {
    request.cipher().map(|cipher| (cipher.name, cipher.protocol, cipher.secret_bits))
}
