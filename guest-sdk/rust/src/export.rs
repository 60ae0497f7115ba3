use crate::bindings::{self, datagram, stream};
use crate::{Address, Datagram, Result, Socket, log};
use std::cell::Cell;
use std::error::Error;

/// Exports a handler from the component.
///
/// The crate must be a `cdylib`. The trait after `as` decides which world the
/// component targets:
///
/// | macro | trait | world |
/// |---|---|---|
/// | `export!(H)` | [`BaseRequestHandler`](crate::BaseRequestHandler) | `stream-handler` |
/// | `export!(H as StreamRequestHandler)` | [`StreamRequestHandler`](crate::StreamRequestHandler) | `stream-handler` |
/// | `export!(H as BaseRequestHandler<Datagram>)` | [`BaseRequestHandler`](crate::BaseRequestHandler)`<`[`Datagram`]`>` | `datagram-handler` |
/// | `export!(H as DatagramRequestHandler)` | [`DatagramRequestHandler`](crate::DatagramRequestHandler) | `datagram-handler` |
///
/// Write the names after `as` exactly as in the table; they need not be imported. A
/// panic in the handler ends the request, and the host logs its message and location.
///
/// A crate may export one handler for each world. Such a component serves connections
/// and datagrams, and therefore TCP and UDP in one server.
///
/// ```
/// # use socketserver_guest::{DatagramContext, DatagramRequestHandler, Result};
/// # use socketserver_guest::{StreamContext, StreamRequestHandler, export};
/// # #[derive(Default)]
/// # struct OverTcp;
/// # impl StreamRequestHandler for OverTcp {
/// #     fn handle(&mut self, _: &mut StreamContext) -> Result { Ok(()) }
/// # }
/// # #[derive(Default)]
/// # struct OverUdp;
/// # impl DatagramRequestHandler for OverUdp {
/// #     fn handle(&mut self, _: &mut DatagramContext) -> Result { Ok(()) }
/// # }
/// export!(OverTcp as StreamRequestHandler);
/// export!(OverUdp as DatagramRequestHandler);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export {
    (@ $world:ident $lifecycle:ty) => {
        const _: () = {
            ::std::thread_local! {
                static REQUEST: $crate::RequestSlot<$lifecycle> = const { $crate::RequestSlot::new() };
            }

            struct Exported;

            impl $crate::bindings::$world::Guest for Exported {
                fn setup(
                    request: $crate::bindings::$world::Request,
                    client_address: $crate::bindings::Address,
                ) -> ::std::result::Result<(), ::std::string::String> {
                    REQUEST.with(|slot| slot.$world(request, client_address))
                }

                fn handle() -> ::std::result::Result<(), ::std::string::String> {
                    REQUEST.with(|slot| slot.handle())
                }

                fn finish() -> ::std::result::Result<(), ::std::string::String> {
                    REQUEST.with(|slot| slot.finish())
                }
            }

            $crate::bindings::$world::export_component!(
                Exported with_types_in $crate::bindings::$world
            );
        };
    };
    ($handler:ty) => {
        $crate::export!(@ stream $crate::BaseLifecycle<$handler, $crate::Socket>);
    };
    ($handler:ty as BaseRequestHandler) => {
        $crate::export!(@ stream $crate::BaseLifecycle<$handler, $crate::Socket>);
    };
    ($handler:ty as StreamRequestHandler) => {
        $crate::export!(@ stream $crate::StreamLifecycle<$handler>);
    };
    ($handler:ty as BaseRequestHandler<Datagram>) => {
        $crate::export!(@ datagram $crate::BaseLifecycle<$handler, $crate::Datagram>);
    };
    ($handler:ty as DatagramRequestHandler) => {
        $crate::export!(@ datagram $crate::DatagramLifecycle<$handler>);
    };
}

/// States that the clients of the handler speak first.
///
/// The host then begins a request with the first byte of its client, as with `--defer-accept`: a
/// connection that says nothing costs no instance. Use it beside [`export!`](crate::export) in a
/// handler of connections that sends nothing before it has received something, such as one of
/// HTTP.
///
/// ```
/// # use socketserver_guest::{StreamContext, StreamRequestHandler, export};
/// # #[derive(Default)]
/// # struct Http;
/// # impl StreamRequestHandler for Http {
/// #     fn handle(&mut self, _: &mut StreamContext) -> socketserver_guest::Result { Ok(()) }
/// # }
/// socketserver_guest::export!(Http as StreamRequestHandler);
/// socketserver_guest::client_speaks_first!();
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! client_speaks_first {
    () => {
        const _: () = {
            struct Stated;

            impl $crate::bindings::client_first::Guest for Stated {
                fn client_speaks_first() {}
            }

            $crate::bindings::client_first::export_component!(
                Stated with_types_in $crate::bindings::client_first
            );
        };
    };
}

/// A handler with its context, from the first call of the host to the last.
///
/// Each trait that a handler may implement has one implementation.
#[doc(hidden)]
#[allow(clippy::missing_errors_doc, reason = "not for use by hand")]
pub trait Lifecycle {
    type Request;

    /// Creates the handler and its context. Makes no call on the request.
    fn new(request: Self::Request, client_address: Address) -> Self;

    fn setup(&mut self) -> Result;

    fn handle(&mut self) -> Result;

    fn finish(&mut self) -> Result;
}

/// Keeps the handler between the calls of the host. Only [`export!`] names it.
#[doc(hidden)]
#[allow(missing_debug_implementations, reason = "not for use by hand")]
pub struct RequestSlot<L>(Cell<Option<L>>);

#[allow(clippy::missing_errors_doc, reason = "not for use by hand")]
impl<L: Lifecycle> RequestSlot<L> {
    #[allow(clippy::new_without_default, reason = "the macro needs a const function")]
    pub const fn new() -> Self {
        Self(Cell::new(None))
    }

    /// Calls `setup` of a handler for connections.
    pub fn stream(
        &self,
        request: stream::Request,
        client_address: bindings::Address,
    ) -> std::result::Result<(), String>
    where
        L: Lifecycle<Request = Socket>,
    {
        self.setup(Socket::new(request), client_address)
    }

    /// Calls `setup` of a handler for datagrams.
    pub fn datagram(
        &self,
        (data, socket): datagram::Request,
        client_address: bindings::Address,
    ) -> std::result::Result<(), String>
    where
        L: Lifecycle<Request = Datagram>,
    {
        self.setup((data, Socket::new(socket)), client_address)
    }

    fn setup(
        &self,
        request: L::Request,
        client_address: bindings::Address,
    ) -> std::result::Result<(), String> {
        log::log_panics();
        self.start(L::new(request, client_address.into()))
    }

    /// Calls `setup`. If `setup` fails this is the host's only call, so the handler and
    /// its context are dropped.
    fn start(&self, mut lifecycle: L) -> std::result::Result<(), String> {
        let result = for_host(lifecycle.setup());
        if result.is_ok() {
            self.0.set(Some(lifecycle));
        } else {
            drop(lifecycle);
            exit();
        }
        result
    }

    /// Calls `handle`.
    pub fn handle(&self) -> std::result::Result<(), String> {
        let mut lifecycle = self.take()?;
        let result = for_host(lifecycle.handle());
        self.0.set(Some(lifecycle));
        result
    }

    /// Calls `finish`, then drops the handler and its context: this is the host's last
    /// call.
    pub fn finish(&self) -> std::result::Result<(), String> {
        let mut lifecycle = self.take()?;
        let result = for_host(lifecycle.finish());
        drop(lifecycle);
        exit();
        result
    }

    fn take(&self) -> std::result::Result<L, String> {
        self.0.take().ok_or_else(|| "the host did not call setup first".to_owned())
    }
}

/// Flushes standard output and runs the exit functions of C, as a program does after
/// `main`, on targets that have them.
fn exit() {
    #[cfg(target_os = "wasi")]
    {
        use std::io::Write;
        // A program ignores this error too.
        let _ = std::io::stdout().flush();
        crate::sys::run_c_exit_functions();
    }
}

/// Converts the result of a handler's method to the type in the contract.
fn for_host(result: Result) -> std::result::Result<(), String> {
    result.map_err(|error| describe(error.as_ref()))
}

/// Joins the texts of the error and its sources by `": "`, outermost first.
fn describe(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt;

    #[derive(Debug)]
    struct Reading(crate::Error);

    impl fmt::Display for Reading {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("cannot read the greeting")
        }
    }

    impl Error for Reading {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn an_error_is_described_with_its_sources() {
        let error = Reading(crate::Error::TimedOut);
        assert_eq!(describe(&error), "cannot read the greeting: timed out");
    }

    #[test]
    fn a_text_is_an_error() {
        let result: Result = Err("no such command".into());
        assert_eq!(for_host(result), Err("no such command".into()));
    }

    #[test]
    fn an_io_error_is_described_once() {
        let error = std::io::Error::from(crate::Error::BrokenPipe);
        assert_eq!(describe(&error), "broken pipe");
    }

    /// Records each call, and fails in the call that `request` names.
    struct Steps {
        request: &'static str,
        called: String,
    }

    impl Steps {
        fn step(&mut self, name: &str) -> Result {
            self.called.push_str(name);
            if self.request == name { Err(self.called.clone().into()) } else { Ok(()) }
        }
    }

    impl Lifecycle for Steps {
        type Request = &'static str;

        fn new(request: &'static str, _: Address) -> Self {
            Self { request, called: String::new() }
        }

        fn setup(&mut self) -> Result {
            self.step("s")
        }

        fn handle(&mut self) -> Result {
            self.step("h")
        }

        fn finish(&mut self) -> Result {
            self.step("f")
        }
    }

    #[test]
    fn the_handler_is_kept_from_setup_to_finish() {
        use crate::bindings::socketserver::handler::types::UnixAddress;
        let slot = RequestSlot::<Steps>::new();
        assert!(slot.handle().is_err());
        let address = bindings::Address::Unix(UnixAddress::Unnamed);
        assert_eq!(slot.start(Steps::new("f", address.into())), Ok(()));
        assert_eq!(slot.handle(), Ok(()));
        assert_eq!(slot.finish(), Err("shf".to_owned()));
        assert!(slot.finish().is_err());
    }

    #[test]
    fn finish_runs_after_an_error_of_handle() {
        let slot = RequestSlot::<Steps>::new();
        let steps = Steps { request: "h", called: String::new() };
        assert_eq!(slot.start(steps), Ok(()));
        assert_eq!(slot.handle(), Err("sh".to_owned()));
        assert_eq!(slot.finish(), Ok(()));
    }
}
