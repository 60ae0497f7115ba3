//! Bindings generated from the contract in `wit/`. Outside of this crate only
//! [`export!`](crate::export) names them.
//!
//! Each world has a module. Both worlds have the same types and imports, so `stream`
//! defines them and `datagram` refers to them. Only the macro `export_component` of a
//! world emits that world's component type: a guest that calls one of the two macros
//! targets one world.

/// The interfaces that both worlds import.
pub use stream::socketserver;

/// The address, as the contract defines it.
pub use socketserver::handler::types::Address;

/// The world `stream-handler`.
pub mod stream {
    pub use exports::socketserver::handler::stream_request::Guest;

    /// The request, as the contract defines it.
    pub type Request = socketserver::handler::sockets::Socket;

    wit_bindgen::generate!({
        path: "wit",
        world: "stream-handler",
        pub_export_macro: true,
        export_macro_name: "export_component",
        default_bindings_module: "socketserver_guest::bindings::stream",
    });
}

/// The world `datagram-handler`.
pub mod datagram {
    pub use exports::socketserver::handler::datagram_request::Guest;

    /// The request, as the contract defines it.
    pub type Request = (Vec<u8>, super::socketserver::handler::sockets::Socket);

    wit_bindgen::generate!({
        path: "wit",
        world: "datagram-handler",
        pub_export_macro: true,
        export_macro_name: "export_component",
        default_bindings_module: "socketserver_guest::bindings::datagram",
        with: {
            "socketserver:handler/types@0.1.0": crate::bindings::socketserver::handler::types,
            "socketserver:handler/sockets@0.1.0": crate::bindings::socketserver::handler::sockets,
            "socketserver:handler/network@0.1.0": crate::bindings::socketserver::handler::network,
            "socketserver:handler/server@0.1.0": crate::bindings::socketserver::handler::server,
            "socketserver:handler/log@0.1.0": crate::bindings::socketserver::handler::log,
        },
    });
}

/// The world `client-first`, which a handler may target beside its own.
pub mod client_first {
    wit_bindgen::generate!({
        path: "wit",
        world: "client-first",
        pub_export_macro: true,
        export_macro_name: "export_component",
        default_bindings_module: "socketserver_guest::bindings::client_first",
    });
}

/// The imports of a handler that asks about TLS. They become imports of a component only if it
/// calls them.
pub mod secured {
    wit_bindgen::generate!({
        path: "wit",
        inline: r#"
            package socketserver:secured;

            world secured {
                import socketserver:handler/tls@0.1.0;
            }
        "#,
        world: "socketserver:secured/secured",
        with: {
            "socketserver:handler/types@0.1.0": crate::bindings::socketserver::handler::types,
            "socketserver:handler/sockets@0.1.0": crate::bindings::socketserver::handler::sockets,
        },
        generate_all,
    });
}

/// The imports of a handler that sends files. They become imports of a component only if it
/// calls them.
pub mod files {
    wit_bindgen::generate!({
        path: "wit",
        inline: r#"
            package socketserver:files;

            world files {
                import socketserver:handler/sendfile@0.1.0;
                import wasi:filesystem/preopens@0.2.12;
            }
        "#,
        world: "socketserver:files/files",
        generate_all,
        with: {
            "socketserver:handler/types@0.1.0": crate::bindings::socketserver::handler::types,
            "socketserver:handler/sockets@0.1.0": crate::bindings::socketserver::handler::sockets,
        },
    });
}
