//! `interface sendfile`: files that the kernel sends.

use rustix::io::Errno;
use wasmtime::Result;
use wasmtime::component::{Linker, Resource};

use crate::host::state::State;
use crate::host::waits::{Waits, define_waiting};
use crate::host::wasi::Descriptor;

use super::sockets::{Cx, HostResult, Socket, host_result};

pub(super) const NAME: &str = "socketserver:handler/sendfile@0.1.0";

pub(super) fn add_to_linker(linker: &mut Linker<State>, waits: Waits) -> Result<()> {
    let mut interface = linker.instance(NAME)?;
    define_waiting!(interface, waits, "sendfile", sendfile)
}

/// Sends a part of a file. The limits end a wait for the socket. The kernel reads the file in the
/// thread that does so for `wasi:filesystem`.
async fn sendfile(
    mut cx: Cx<'_>,
    (socket, file, offset, count): (Socket, Resource<Descriptor>, u64, u64),
) -> HostResult<u64> {
    let table = &cx.data().table;
    let (request, file) = (table.get(&socket)?, table.get(&file)?);
    let sent = match file {
        Descriptor::File(open) if open.readable => {
            request.sendfile_part_elsewhere_async(&open.file, offset, count).await
        }
        Descriptor::File(_) => Err(Errno::BADF.into()),
        Descriptor::Directory(_) => Err(Errno::INVAL.into()),
    };
    host_result(&mut cx, &socket, sent)
}
