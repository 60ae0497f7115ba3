//! `wasi:cli/exit`: the end of a request from anywhere in its handler, as
//! Python's `sys.exit`.

use std::sync::Arc;

use wasmtime::component::Linker;
use wasmtime::{Result, StoreContextMut};

use crate::host::grants::Grants;
use crate::host::state::State;
use crate::instance::failure::Exit;

pub(super) const NAME: &str = "wasi:cli/exit@0.2.0";

/// `exit-with-code` is unstable, and not there.
pub(super) fn add_to_linker(linker: &mut Linker<State>, _: &Arc<Grants>) -> Result<()> {
    linker.instance(NAME)?.func_wrap("exit", exit)
}

/// What the guest has on its stack goes with it: it cannot catch this.
fn exit(_: StoreContextMut<'_, State>, (status,): (std::result::Result<(), ()>,)) -> Result<()> {
    Err(Exit { failed: status.is_err() }.into())
}
