use crate::bindings::{self, datagram, stream};
use crate::{Address, Datagram, Result, Socket, log};
use std::cell::Cell;
use std::error::Error;

/// Makes the component's exports of a handler.
///
/// The crate must be a `cdylib`. The component targets the world that the handler
/// is for:
///
/// | macro | trait | world |
/// |---|---|---|
/// | `export!(H)` | [`BaseRequestHandler`](crate::BaseRequestHandler) | `stream-handler` |
/// | `export!(H as StreamRequestHandler)` | [`StreamRequestHandler`](crate::StreamRequestHandler) | `stream-handler` |
/// | `export!(H as BaseRequestHandler<Datagram>)` | [`BaseRequestHandler`](crate::BaseRequestHandler)`<`[`Datagram`]`>` | `datagram-handler` |
/// | `export!(H as DatagramRequestHandler)` | [`DatagramRequestHandler`](crate::DatagramRequestHandler) | `datagram-handler` |
///
/// The names behind `as` are written just so; they need not be imported. A
/// panic in the handler is written to the log of the host, with its place, and
/// ends the request.
///
/// A crate may have one for each world: such a component serves connections and
/// datagrams, and so TCP and UDP in one server.
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
    (@ $world:ident $life:ty) => {
        const _: () = {
            ::std::thread_local! {
                static REQUEST: $crate::Slot<$life> = const { $crate::Slot::new() };
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
        $crate::export!(@ stream $crate::Base<$handler, $crate::Socket>);
    };
    ($handler:ty as BaseRequestHandler) => {
        $crate::export!(@ stream $crate::Base<$handler, $crate::Socket>);
    };
    ($handler:ty as StreamRequestHandler) => {
        $crate::export!(@ stream $crate::Stream<$handler>);
    };
    ($handler:ty as BaseRequestHandler<Datagram>) => {
        $crate::export!(@ datagram $crate::Base<$handler, $crate::Datagram>);
    };
    ($handler:ty as DatagramRequestHandler) => {
        $crate::export!(@ datagram $crate::Packet<$handler>);
    };
}

/// A handler with its context, from the first call of the host to the last:
/// one type for each trait that a handler may implement.
#[doc(hidden)]
pub trait Life {
    type Request;

    /// Makes the handler. Nothing is done with the request yet.
    fn new(request: Self::Request, client_address: Address) -> Self;

    fn setup(&mut self) -> Result;

    fn handle(&mut self) -> Result;

    fn finish(&mut self) -> Result;
}

/// Holds a life between the calls of the host. Only [`export!`] names it.
#[doc(hidden)]
#[allow(missing_debug_implementations, reason = "not for use by hand")]
pub struct Slot<L>(Cell<Option<L>>);

impl<L: Life> Slot<L> {
    #[allow(clippy::new_without_default, reason = "the macro needs a const function")]
    pub const fn new() -> Self {
        Self(Cell::new(None))
    }

    /// `setup` in the world of streams.
    pub fn stream(
        &self,
        request: stream::Request,
        client_address: bindings::Address,
    ) -> std::result::Result<(), String>
    where
        L: Life<Request = Socket>,
    {
        self.setup(Socket::new(request), client_address)
    }

    /// `setup` in the world of datagrams.
    pub fn datagram(
        &self,
        (data, socket): datagram::Request,
        client_address: bindings::Address,
    ) -> std::result::Result<(), String>
    where
        L: Life<Request = Datagram>,
    {
        self.setup((data, Socket::new(socket)), client_address)
    }

    fn setup(
        &self,
        request: L::Request,
        client_address: bindings::Address,
    ) -> std::result::Result<(), String> {
        log::log_panics();
        self.begin(L::new(request, client_address.into()))
    }

    /// The only call if it fails: then the handler and its context are dropped.
    fn begin(&self, mut life: L) -> std::result::Result<(), String> {
        let result = told(life.setup());
        if result.is_ok() {
            self.0.set(Some(life));
        } else {
            drop(life);
            exit();
        }
        result
    }

    pub fn handle(&self) -> std::result::Result<(), String> {
        let mut life = self.take()?;
        let result = told(life.handle());
        self.0.set(Some(life));
        result
    }

    /// The last call: the handler and its context are dropped.
    pub fn finish(&self) -> std::result::Result<(), String> {
        let mut life = self.take()?;
        let result = told(life.finish());
        drop(life);
        exit();
        result
    }

    fn take(&self) -> std::result::Result<L, String> {
        self.0.take().ok_or_else(|| "the host did not call setup first".to_owned())
    }
}

/// Does what a program does when its `main` has returned, where it can print.
fn exit() {
    #[cfg(target_os = "wasi")]
    {
        use std::io::Write;
        // What fails is lost there, too.
        let _ = std::io::stdout().flush();
        crate::sys::exit_of_c();
    }
}

fn told(result: Result) -> std::result::Result<(), String> {
    result.map_err(|error| describe(error.as_ref()))
}

/// The error and its sources, outermost first.
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
    fn an_error_is_told_with_its_sources() {
        let error = Reading(crate::Error::TimedOut);
        assert_eq!(describe(&error), "cannot read the greeting: timed out");
    }

    #[test]
    fn a_text_is_an_error() {
        let result: Result = Err("no such command".into());
        assert_eq!(told(result), Err("no such command".into()));
    }

    #[test]
    fn an_io_error_is_told_once() {
        let error = std::io::Error::from(crate::Error::BrokenPipe);
        assert_eq!(describe(&error), "broken pipe");
    }

    /// Fails where it is told to, and notes what was called.
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

    impl Life for Steps {
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
    fn one_life_is_kept_from_setup_to_finish() {
        use crate::bindings::socketserver::handler::types::UnixAddress;
        let slot = Slot::<Steps>::new();
        assert!(slot.handle().is_err());
        let address = bindings::Address::Unix(UnixAddress::Unnamed);
        assert_eq!(slot.begin(Steps::new("f", address.into())), Ok(()));
        assert_eq!(slot.handle(), Ok(()));
        assert_eq!(slot.finish(), Err("shf".to_owned()));
        assert!(slot.finish().is_err());
    }

    #[test]
    fn finish_runs_after_an_error_of_handle() {
        let slot = Slot::<Steps>::new();
        let steps = Steps { request: "h", called: String::new() };
        assert_eq!(slot.begin(steps), Ok(()));
        assert_eq!(slot.handle(), Err("sh".to_owned()));
        assert_eq!(slot.finish(), Ok(()));
    }
}
