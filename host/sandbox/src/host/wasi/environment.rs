//! `wasi:cli/environment`: the granted variables, no arguments, no working directory.

use std::sync::Arc;

use wasmtime::component::Linker;
use wasmtime::{Result, StoreContextMut};

use crate::host::grants::Grants;
use crate::host::state::State;

type Cx<'a> = StoreContextMut<'a, State>;

pub(super) fn add_to_linker(linker: &mut Linker<State>, grants: &Arc<Grants>) -> Result<()> {
    let mut environment = linker.instance("wasi:cli/environment@0.2.0")?;
    let grants = Arc::clone(grants);
    environment.func_wrap("get-environment", move |_: Cx<'_>, ()| Ok((grants.env.clone(),)))?;
    environment.func_wrap("get-arguments", |_: Cx<'_>, ()| Ok((Vec::<String>::new(),)))?;
    environment.func_wrap("initial-cwd", |_: Cx<'_>, ()| Ok((None::<String>,)))
}
