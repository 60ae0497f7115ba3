//! The types of the contract, generated from `wit/`.
//!
//! The crate uses the types alone. It defines the functions itself, in `contract`, because
//! generated ones copy lists and strings out of the guest before the host can check their
//! size.

#![allow(missing_docs, clippy::pedantic)]

wasmtime::component::bindgen!({
    path: "wit",
    world: "stream-handler",
    with: {
        "socketserver:handler/sockets.socket": crate::host::state::Request,
    },
});

pub(crate) use self::socketserver::handler::{log, network, types};
