//! The two ways in which calls of the host wait.

/// A way to wait for a client, another peer, or time to pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waits {
    /// The thread waits.
    Block,
    /// The task is suspended, and its thread runs others.
    Suspend,
}

/// Defines a function of the host that may wait: an async function, in an interface of a linker.
/// The function may get something that all calls share.
macro_rules! define_waiting {
    ($instance:expr, $waits:expr, $name:literal, $call:path) => {
        match $waits {
            $crate::host::waits::Waits::Block => {
                $instance.func_wrap($name, |cx, params| ::socketserver::block_on($call(cx, params)))
            }
            $crate::host::waits::Waits::Suspend => {
                $instance.func_wrap_async($name, |cx, params| Box::new($call(cx, params)))
            }
        }
    };
    ($instance:expr, $waits:expr, $name:literal, $call:path, $shared:expr) => {{
        let shared = ::std::sync::Arc::clone($shared);
        match $waits {
            $crate::host::waits::Waits::Block => $instance.func_wrap($name, move |cx, params| {
                ::socketserver::block_on($call(cx, params, ::std::sync::Arc::clone(&shared)))
            }),
            $crate::host::waits::Waits::Suspend => $instance
                .func_wrap_async($name, move |cx, params| {
                    Box::new($call(cx, params, ::std::sync::Arc::clone(&shared)))
                }),
        }
    }};
}

/// Defines a resource, with an async function that drops one.
macro_rules! define_resource {
    ($instance:expr, $waits:expr, $name:literal, $resource:ty, $drop:path) => {
        match $waits {
            $crate::host::waits::Waits::Block => $instance.resource(
                $name,
                ::wasmtime::component::ResourceType::host::<$resource>(),
                |cx, rep| ::socketserver::block_on($drop(cx, rep)),
            ),
            $crate::host::waits::Waits::Suspend => $instance.resource_async(
                $name,
                ::wasmtime::component::ResourceType::host::<$resource>(),
                |cx, rep| Box::new($drop(cx, rep)),
            ),
        }
    };
}

pub(crate) use {define_resource, define_waiting};
