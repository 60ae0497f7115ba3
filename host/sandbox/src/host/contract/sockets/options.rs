//! The options of sockets.

use wasmtime::Result;
use wasmtime::component::{LinkerInstance, WasmList};

use super::{Cx, ErrorCode, HostResult, Socket, deny, error_code, host_result};
use crate::host::state::State;

pub(super) fn add_to_linker(sockets: &mut LinkerInstance<'_, State>) -> Result<()> {
    sockets.func_wrap("[method]socket.getsockopt", getsockopt)?;
    sockets.func_wrap("[method]socket.getsockopt-bytes", getsockopt_bytes)?;
    sockets.func_wrap("[method]socket.setsockopt", setsockopt)?;
    sockets.func_wrap("[method]socket.setsockopt-bytes", setsockopt_bytes)
}

fn getsockopt(mut cx: Cx<'_>, (socket, level, optname): (Socket, i32, i32)) -> HostResult<i32> {
    let value = cx.data().table.get(&socket)?.getsockopt(level, optname);
    option_result(&mut cx, &socket, value, &format!("getsockopt({level}, {optname})"))
}

fn getsockopt_bytes(
    mut cx: Cx<'_>,
    (socket, level, optname, buflen): (Socket, i32, i32, u32),
) -> HostResult<Vec<u8>> {
    let buflen = usize::try_from(buflen).unwrap_or(usize::MAX);
    let value = cx.data().table.get(&socket)?.getsockopt_bytes(level, optname, buflen);
    option_result(&mut cx, &socket, value, &format!("getsockopt({level}, {optname})"))
}

fn setsockopt(
    mut cx: Cx<'_>,
    (socket, level, optname, value): (Socket, i32, i32, i32),
) -> HostResult<()> {
    let set = cx.data().table.get(&socket)?.setsockopt(level, optname, value);
    option_result(&mut cx, &socket, set, &format!("setsockopt({level}, {optname})"))
}

/// Sets an option to bytes, of which the host reads only what the option has.
fn setsockopt_bytes(
    mut cx: Cx<'_>,
    (socket, level, optname, value): (Socket, i32, i32, WasmList<u8>),
) -> HostResult<()> {
    let value = value.as_le_slice(&cx);
    let set = cx.data().table.get(&socket)?.setsockopt_bytes(level, optname, value);
    option_result(&mut cx, &socket, set, &format!("setsockopt({level}, {optname})"))
}

/// Converts the result of a call, and logs that `call` was denied.
fn option_result<T>(
    cx: &mut Cx<'_>,
    socket: &Socket,
    result: std::io::Result<T>,
    call: &str,
) -> HostResult<T> {
    if result.as_ref().is_err_and(|error| error_code(error) == ErrorCode::Denied) {
        let why = format!("{call}: the option is not in the list of those that handlers may use");
        return Ok((Err(deny(cx, &why)),));
    }
    host_result(cx, socket, result)
}
