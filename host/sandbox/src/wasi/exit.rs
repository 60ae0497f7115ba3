//! `wasi:cli/exit`: the end of a request from anywhere in its handler, as
//! Python's `sys.exit`. It is all of WASI that a handler is given.

use wasmtime::component::Linker;
use wasmtime::{Result, StoreContextMut};

use crate::failure::Exit;
use crate::state::State;

/// The versions 0.2.x are one contract. Of their functions the one that is
/// stable is there; `exit-with-code` is not.
pub(super) const NAME: &str = "wasi:cli/exit@0.2.0";

pub(super) fn add_to_linker(linker: &mut Linker<State>) -> Result<()> {
    linker.instance(NAME)?.func_wrap("exit", exit)
}

/// What the guest has on its stack goes with it: it cannot catch this.
fn exit(_: StoreContextMut<'_, State>, (status,): (std::result::Result<(), ()>,)) -> Result<()> {
    Err(Exit { failed: status.is_err() }.into())
}
