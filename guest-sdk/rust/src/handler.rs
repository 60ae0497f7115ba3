use crate::bindings::socketserver::handler::{sockets, types};
use crate::{Address, Server, Socket, log};
use std::cell::Cell;
use std::error::Error;

/// What the methods of a handler return: `Ok(())`, or any error at all.
///
/// `?` works on every error type, and a text becomes one with `.into()`. The
/// host logs the error with its sources, joined by `": "`; the client sees only
/// that the connection ends.
pub type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// A request handler: Python's `BaseRequestHandler`.
///
/// For each request a handler is made with [`Default`], and the three methods
/// are called in order. None need be there; as in Python, a handler without
/// them reads nothing and writes nothing.
pub trait BaseRequestHandler: Default {
    /// Called first. After an error neither `handle` nor `finish` is called.
    fn setup(&mut self, cx: &mut Context) -> Result {
        let _ = cx;
        Ok(())
    }

    /// Does the work.
    fn handle(&mut self, cx: &mut Context) -> Result {
        let _ = cx;
        Ok(())
    }

    /// Cleans up. Called after `handle`, also when that returned an error, but
    /// not after a panic or when a limit ended the request.
    fn finish(&mut self, cx: &mut Context) -> Result {
        let _ = cx;
        Ok(())
    }
}

/// What Python's handlers find on `self`.
#[derive(Debug)]
pub struct Context {
    /// The connection. Python's `self.request`.
    pub request: Socket,
    /// Where it came from. Python's `self.client_address`.
    pub client_address: Address,
    /// The server that took it. Python's `self.server`.
    pub server: Server,
}

/// Makes the component's exports of a type that implements
/// [`BaseRequestHandler`].
///
/// Once per crate, which must be a `cdylib`. A panic in the handler is written
/// to the log of the host, with its place, and ends the request.
#[macro_export]
macro_rules! export {
    ($handler:ty) => {
        const _: () = {
            ::std::thread_local! {
                static REQUEST: $crate::Slot<$handler> = const { $crate::Slot::new() };
            }

            struct Exported;

            impl $crate::bindings::exports::socketserver::handler::stream_request::Guest for Exported {
                fn setup(
                    request: $crate::bindings::socketserver::handler::sockets::Socket,
                    client_address: $crate::bindings::socketserver::handler::types::Address,
                ) -> ::std::result::Result<(), ::std::string::String> {
                    REQUEST.with(|slot| slot.setup(request, client_address))
                }

                fn handle() -> ::std::result::Result<(), ::std::string::String> {
                    REQUEST.with(|slot| slot.handle())
                }

                fn finish() -> ::std::result::Result<(), ::std::string::String> {
                    REQUEST.with(|slot| slot.finish())
                }
            }

            $crate::bindings::export_component!(Exported with_types_in $crate::bindings);
        };
    };
}

/// Holds the handler and its context between the calls of the host. Only
/// [`export!`] names it.
#[doc(hidden)]
#[allow(missing_debug_implementations, reason = "not for use by hand")]
pub struct Slot<H>(Cell<Option<(H, Context)>>);

impl<H: BaseRequestHandler> Slot<H> {
    #[allow(clippy::new_without_default, reason = "the macro needs a const function")]
    pub const fn new() -> Self {
        Self(Cell::new(None))
    }

    pub fn setup(
        &self,
        request: sockets::Socket,
        client_address: types::Address,
    ) -> std::result::Result<(), String> {
        log::log_panics();
        let context = Context {
            request: Socket::new(request),
            client_address: client_address.into(),
            server: Server::new(),
        };
        self.call((H::default(), context), H::setup)
    }

    pub fn handle(&self) -> std::result::Result<(), String> {
        self.call(self.take()?, H::handle)
    }

    /// The last call: the handler and its context are dropped.
    pub fn finish(&self) -> std::result::Result<(), String> {
        let (mut handler, mut context) = self.take()?;
        told(handler.finish(&mut context))
    }

    fn take(&self) -> std::result::Result<(H, Context), String> {
        self.0.take().ok_or_else(|| "the host did not call setup first".to_owned())
    }

    fn call(
        &self,
        (mut handler, mut context): (H, Context),
        method: fn(&mut H, &mut Context) -> Result,
    ) -> std::result::Result<(), String> {
        let result = method(&mut handler, &mut context);
        self.0.set(Some((handler, context)));
        told(result)
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
        assert_eq!(result.map_err(|error| describe(error.as_ref())), Err("no such command".into()));
    }

    #[test]
    fn an_io_error_is_told_once() {
        let error = std::io::Error::from(crate::Error::BrokenPipe);
        assert_eq!(describe(&error), "broken pipe");
    }
}
