//! Calls with flags, and `recvfrom`.

use socketserver::SocketType;
use wasmtime::Result;
use wasmtime::component::{LinkerInstance, WasmList};

use super::{
    Cx, GuestAddress, HostResult, Socket, clamped, count, deny, host_result, network, types,
    unreachable_client,
};
use crate::host::state::State;
use crate::host::waits::{Waits, define_waiting};

pub(super) fn add_to_linker(sockets: &mut LinkerInstance<'_, State>, waits: Waits) -> Result<()> {
    define_waiting!(sockets, waits, "[method]socket.recv-with-flags", recv)?;
    define_waiting!(sockets, waits, "[method]socket.recvfrom", recvfrom)?;
    define_waiting!(sockets, waits, "[method]socket.send-with-flags", send)?;
    define_waiting!(sockets, waits, "[method]socket.sendall-with-flags", sendall)?;
    define_waiting!(sockets, waits, "[method]socket.sendto-with-flags", sendto)
}

async fn recv(mut cx: Cx<'_>, (socket, bufsize, flags): (Socket, u32, i32)) -> HostResult<Vec<u8>> {
    let bufsize = clamped(&cx, bufsize);
    let received = cx.data().table.get(&socket)?.recv_with_flags_async(bufsize, flags).await;
    host_result(&mut cx, &socket, received)
}

async fn recvfrom(
    mut cx: Cx<'_>,
    (socket, bufsize, flags): (Socket, u32, i32),
) -> HostResult<(Vec<u8>, Option<types::Address>)> {
    let bufsize = clamped(&cx, bufsize);
    let received = cx.data().table.get(&socket)?.recvfrom_async(bufsize, flags).await;
    let received = received.map(|(data, sender)| (data, sender.as_ref().map(Into::into)));
    host_result(&mut cx, &socket, received)
}

async fn send(
    mut cx: Cx<'_>,
    (socket, data, flags): (Socket, WasmList<u8>, i32),
) -> HostResult<u32> {
    let request = cx.data().table.get(&socket)?;
    let sent = request.send_with_flags_async(data.as_le_slice(&cx), flags).await;
    host_result(&mut cx, &socket, sent.map(count))
}

async fn sendall(
    mut cx: Cx<'_>,
    (socket, data, flags): (Socket, WasmList<u8>, i32),
) -> HostResult<()> {
    let request = cx.data().table.get(&socket)?;
    let sent = request.sendall_with_flags_async(data.as_le_slice(&cx), flags).await;
    host_result(&mut cx, &socket, sent)
}

/// Sends a datagram to the client of the request. The kernel gets the address that the
/// request came from, never an address that the guest has written: the host only compares
/// that.
pub(super) async fn sendto(
    mut cx: Cx<'_>,
    (socket, data, flags, to): (Socket, WasmList<u8>, i32, GuestAddress),
) -> HostResult<u32> {
    if cx.data().table.get(&socket)?.is_opened() {
        let to = match network::check_send(&mut cx, &socket, &to)? {
            Ok(to) => to,
            Err(code) => return Ok((Err(code),)),
        };
        let socket_of_guest = cx.data().table.get(&socket)?;
        let data = data.as_le_slice(&cx);
        let sent = socket_of_guest.sendto_with_flags_async(data, flags, &to).await;
        return host_result(&mut cx, &socket, sent.map(count));
    }
    let request = cx.data().table.get(&socket)?;
    let client = &cx.data().request_info()?.client_address;
    // As in Python, the address does not matter on a connection.
    if request.socket_type() == SocketType::Dgram && request.fileno().is_some() {
        let to = to.to_address(&cx);
        if to.as_ref() != Some(client) {
            let to =
                to.map_or_else(|| "an address that no socket has".to_owned(), |to| to.to_string());
            let why = format!("sendto {to}: a handler may send to its own client, {client}, only");
            return Ok((Err(deny(&mut cx, &why)),));
        }
    }
    let sent = request.sendto_with_flags_async(data.as_le_slice(&cx), flags, client).await;
    if let Some(reason) = sent.as_ref().err().and_then(|error| unreachable_client(client, error)) {
        cx.data_mut().client_lost = Some(reason);
    }
    host_result(&mut cx, &socket, sent.map(count))
}
