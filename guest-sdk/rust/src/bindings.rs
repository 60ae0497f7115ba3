//! What the contract in `wit/` becomes. Outside of this crate only
//! [`export!`](crate::export) names it.
//!
//! A module for each world. The types and the imports are the same in both, so
//! one has them and the other refers to them. What a guest exports is described
//! to the tools in the macro `export_component` of its world and nowhere else:
//! a guest that calls only one of the two targets only that world.

/// Shared by the worlds.
pub use stream::socketserver;

/// The address as the contract has it.
pub use socketserver::handler::types::Address;

/// The world `stream-handler`.
pub mod stream {
    pub use exports::socketserver::handler::stream_request::Guest;

    /// The request as the contract has it.
    pub type Request = socketserver::handler::sockets::Socket;

    wit_bindgen::generate!({
        path: "../../wit",
        world: "stream-handler",
        pub_export_macro: true,
        export_macro_name: "export_component",
        default_bindings_module: "socketserver_guest::bindings::stream",
    });
}

/// The world `datagram-handler`.
pub mod datagram {
    pub use exports::socketserver::handler::datagram_request::Guest;

    /// The request as the contract has it.
    pub type Request = (Vec<u8>, super::socketserver::handler::sockets::Socket);

    wit_bindgen::generate!({
        path: "../../wit",
        world: "datagram-handler",
        pub_export_macro: true,
        export_macro_name: "export_component",
        default_bindings_module: "socketserver_guest::bindings::datagram",
        with: {
            "socketserver:handler/types@0.1.0": crate::bindings::socketserver::handler::types,
            "socketserver:handler/sockets@0.1.0": crate::bindings::socketserver::handler::sockets,
            "socketserver:handler/server@0.1.0": crate::bindings::socketserver::handler::server,
            "socketserver:handler/log@0.1.0": crate::bindings::socketserver::handler::log,
        },
    });
}
