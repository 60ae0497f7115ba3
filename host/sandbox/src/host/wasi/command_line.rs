//! `wasi:cli/environment` and `exit`: the command line of a guest, and its end.

use std::sync::Arc;

use wasmtime::component::Linker;
use wasmtime::error::format_err;
use wasmtime::{Result, StoreContextMut};
use wasmtime_wasi::I32Exit;

use crate::host::grants::Grants;
use crate::host::request_variables::request_variables;
use crate::host::state::State;

type Cx<'a> = StoreContextMut<'a, State>;

/// Defines the environment: the granted variables and arguments and, for a program, variables
/// about the request and its own name as the first argument.
pub(super) fn add_environment(linker: &mut Linker<State>, grants: &Arc<Grants>) -> Result<()> {
    let mut environment = linker.instance("wasi:cli/environment@0.2.0")?;
    let granted = Arc::clone(grants);
    environment.func_wrap("get-environment", move |cx: Cx<'_>, ()| {
        Ok((variables(cx.data(), &granted.env),))
    })?;
    let granted = Arc::clone(grants);
    environment.func_wrap("get-arguments", move |cx: Cx<'_>, ()| {
        let mut arguments = Vec::new();
        // Without arguments a handler of the contract sees no command line.
        if cx.data().is_program || !granted.args.is_empty() {
            arguments.push(cx.data().log.lock().handler().to_owned());
            arguments.extend_from_slice(&granted.args);
        }
        Ok((arguments,))
    })?;
    environment.func_wrap("initial-cwd", |_: Cx<'_>, ()| Ok((None::<String>,)))
}

/// Returns the variables of a guest. Those about the request come first, and no granted variable
/// takes the place of one.
fn variables(state: &State, granted: &[(String, String)]) -> Vec<(String, String)> {
    let request = state.sleep.request.as_ref().filter(|_| state.is_program);
    let about = request.zip(state.request_info.as_ref());
    let mut variables = about.map_or_else(Vec::new, |(request, info)| {
        request_variables(request, &info.client_address, &info.server)
    });
    let taken = variables.len();
    for (name, value) in granted {
        if variables[..taken].iter().all(|(other, _)| other != name) {
            variables.push((name.clone(), value.clone()));
        }
    }
    variables
}

/// Defines the end of a guest, with a status also where a component knows that function, which
/// WASI 0.2 does not call stable.
pub(super) fn add_exit(linker: &mut Linker<State>, _: &Arc<Grants>) -> Result<()> {
    let mut exit = linker.instance("wasi:cli/exit@0.2.0")?;
    exit.func_wrap("exit", |_: Cx<'_>, (status,): (std::result::Result<(), ()>,)| {
        exited(i32::from(status.is_err()))
    })?;
    exit.func_wrap("exit-with-code", |_: Cx<'_>, (status,): (u8,)| exited(status.into()))
}

/// Ends the guest with a status. It never returns to the guest.
fn exited(status: i32) -> Result<()> {
    Err(format_err!(I32Exit(status)))
}
