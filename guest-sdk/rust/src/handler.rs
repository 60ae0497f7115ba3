use crate::export::Lifecycle;
use crate::{Address, Server, Socket};
use std::error::Error;

/// The result of a handler's method: `Ok(())`, or any error.
///
/// `?` converts every error type of `std`, of this crate and of others, and `.into()`
/// makes an error of a text:
///
/// ```
/// use socketserver_guest::{Result, StreamContext, strip};
///
/// fn read_number(cx: &mut StreamContext) -> Result<f64> {
///     let line = cx.rfile.readline_limited(100)?; // io::Error
///     let text = std::str::from_utf8(strip(&line))?; // Utf8Error
///     let number: f64 = text.parse()?; // ParseFloatError
///     if number.is_nan() {
///         return Err("not a number".into());
///     }
///     Ok(number)
/// }
/// ```
///
/// The host logs the error and its sources, joined by `": "`. The client sees only that
/// the connection ends, or receives no datagram.
///
/// A second parameter replaces the type of the error, as in `Result<f64, MyError>`.
pub type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

/// The request of a datagram handler: the datagram and the socket to reply on. Python's
/// `data, socket = self.request`.
pub type Datagram = (Vec<u8>, Socket);

/// A request handler: Python's `BaseRequestHandler`.
///
/// `R` is the type of the request: a [`Socket`], the default, for the connections of a
/// stream server, and a [`Datagram`] for a datagram server:
///
/// ```
/// use socketserver_guest::{BaseRequestHandler, Context, Datagram, Result, export, strip};
///
/// #[derive(Default)]
/// struct MyUDPHandler;
///
/// impl BaseRequestHandler<Datagram> for MyUDPHandler {
///     fn handle(&mut self, cx: &mut Context<Datagram>) -> Result {
///         let (data, socket) = &cx.request;
///         socket.sendto(&strip(data).to_ascii_uppercase(), &cx.client_address)?;
///         Ok(())
///     }
/// }
///
/// export!(MyUDPHandler as BaseRequestHandler<Datagram>);
/// # fn main() {}
/// ```
///
/// For each request the crate creates a handler with [`Default`] and calls the three
/// methods in order. Each method is optional. As in Python, the defaults read nothing
/// and write nothing.
pub trait BaseRequestHandler<R = Socket>: Default {
    /// Prepares the request. The host calls it first.
    ///
    /// # Errors
    ///
    /// After an error the host calls neither `handle` nor `finish`. The host logs the
    /// error.
    fn setup(&mut self, cx: &mut Context<R>) -> Result {
        let _ = cx;
        Ok(())
    }

    /// Handles the request.
    ///
    /// # Errors
    ///
    /// After an error the host still calls `finish`. The host logs the error.
    fn handle(&mut self, cx: &mut Context<R>) -> Result {
        let _ = cx;
        Ok(())
    }

    /// Cleans up. The host calls it after `handle`, even if `handle` returned an
    /// error, but not after a panic or after a limit ended the request.
    ///
    /// # Errors
    ///
    /// The host logs the error.
    fn finish(&mut self, cx: &mut Context<R>) -> Result {
        let _ = cx;
        Ok(())
    }
}

/// The attributes that Python's handlers have on `self`.
#[derive(Debug)]
pub struct Context<R = Socket> {
    /// The connection, or the datagram and its socket. Python's
    /// `self.request`.
    pub request: R,
    /// The address of the client. Python's `self.client_address`.
    pub client_address: Address,
    /// The server that received the request. Python's `self.server`.
    pub server: Server,
}

/// A [`BaseRequestHandler`] with its context. Only [`export!`](crate::export) names it.
#[doc(hidden)]
#[allow(missing_debug_implementations, reason = "not for use by hand")]
pub struct BaseLifecycle<H, R> {
    handler: H,
    cx: Context<R>,
}

impl<H: BaseRequestHandler<R>, R> Lifecycle for BaseLifecycle<H, R> {
    type Request = R;

    fn new(request: R, client_address: Address) -> Self {
        let cx = Context { request, client_address, server: Server::new() };
        Self { handler: H::default(), cx }
    }

    fn setup(&mut self) -> Result {
        self.handler.setup(&mut self.cx)
    }

    fn handle(&mut self) -> Result {
        self.handler.handle(&mut self.cx)
    }

    fn finish(&mut self) -> Result {
        self.handler.finish(&mut self.cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_of_std_converts_with_the_question_mark() {
        fn read_number(line: &[u8]) -> Result<f64> {
            let text = std::str::from_utf8(line)?;
            let number: f64 = text.parse()?;
            u32::try_from(text.len())?;
            Ok(number)
        }
        assert_eq!(read_number(b"1.5").ok(), Some(1.5));
        let error = read_number(b"x").unwrap_err();
        assert_eq!(error.to_string(), "invalid float literal");
        assert!(read_number(b"\xff").unwrap_err().is::<std::str::Utf8Error>());
    }
}
