//! `wasi:random`: all three interfaces return random numbers of the operating system.

#![allow(clippy::needless_pass_by_value, reason = "the Linker gives its functions values")]

use std::sync::Arc;

use wasmtime::component::Linker;
use wasmtime::error::format_err;
use wasmtime::{Result, StoreContextMut, bail};

use crate::host::grants::Grants;
use crate::host::state::State;

type Cx<'a> = StoreContextMut<'a, State>;

pub(super) fn add_random(linker: &mut Linker<State>, _: &Arc<Grants>) -> Result<()> {
    let mut random = linker.instance("wasi:random/random@0.2.0")?;
    random.func_wrap("get-random-bytes", bytes)?;
    random.func_wrap("get-random-u64", |_: Cx<'_>, ()| Ok((number()?,)))
}

pub(super) fn add_insecure(linker: &mut Linker<State>, _: &Arc<Grants>) -> Result<()> {
    let mut insecure = linker.instance("wasi:random/insecure@0.2.0")?;
    insecure.func_wrap("get-insecure-random-bytes", bytes)?;
    insecure.func_wrap("get-insecure-random-u64", |_: Cx<'_>, ()| Ok((number()?,)))
}

pub(super) fn add_insecure_seed(linker: &mut Linker<State>, _: &Arc<Grants>) -> Result<()> {
    let mut seed = linker.instance("wasi:random/insecure-seed@0.2.0")?;
    seed.func_wrap("insecure-seed", |_: Cx<'_>, ()| Ok(((number()?, number()?),)))
}

/// Returns random bytes. The interface has no error, and does not allow fewer bytes.
fn bytes(cx: Cx<'_>, (len,): (u64,)) -> Result<(Vec<u8>,)> {
    let most = cx.data().call_memory;
    let Some(len) = usize::try_from(len).ok().filter(|len| *len <= most) else {
        bail!("it asked for {len} random bytes, and {most} is the most in one call");
    };
    let mut bytes = vec![0; len];
    getrandom::fill(&mut bytes).map_err(none)?;
    Ok((bytes,))
}

fn number() -> Result<u64> {
    getrandom::u64().map_err(none)
}

fn none(error: getrandom::Error) -> wasmtime::Error {
    format_err!("the host has no random numbers: {error}")
}
