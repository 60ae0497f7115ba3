//! The types of the contract, generated from `wit/`.
//!
//! Only the types are used: the functions are defined in `imports`, by hand,
//! because generated ones copy lists and strings out of the guest before the
//! host has a say.

#![allow(missing_docs, clippy::pedantic)]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "stream-handler",
    with: {
        "socketserver:handler/sockets.socket": crate::host::state::Request,
    },
});

pub(crate) use self::socketserver::handler::{log, types};
