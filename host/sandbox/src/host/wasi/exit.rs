//! `wasi:cli/exit`: the end of a request from anywhere in its handler, as
//! Python's `sys.exit`.

use std::sync::Arc;

use thiserror::Error;
use wasmtime::component::Linker;
use wasmtime::{Result, StoreContextMut};

use crate::host::grants::Grants;
use crate::host::state::State;

/// The guest ended its request with `exit`: Python's `SystemExit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("it called exit, and there is no request yet that could end")]
pub(crate) struct Exit {
    /// The status that the guest passed. CPython ignores it too.
    pub failed: bool,
}

pub(super) const NAME: &str = "wasi:cli/exit@0.2.0";

/// Defines `exit`. `exit-with-code` is unstable, and not defined.
pub(super) fn add_to_linker(linker: &mut Linker<State>, _: &Arc<Grants>) -> Result<()> {
    linker.instance(NAME)?.func_wrap("exit", exit)
}

/// Ends the guest with everything on its stack: the guest cannot catch this.
fn exit(_: StoreContextMut<'_, State>, (status,): (std::result::Result<(), ()>,)) -> Result<()> {
    Err(Exit { failed: status.is_err() }.into())
}
