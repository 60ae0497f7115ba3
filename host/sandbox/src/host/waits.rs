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
}

pub(crate) use define_waiting;
