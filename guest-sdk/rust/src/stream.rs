use crate::export::Lifecycle;
use crate::socket::{IPPROTO_TCP, TCP_NODELAY};
use crate::{Address, Reader, Result, Server, Socket, Writer};
use std::time::Duration;

/// A handler that reads and writes a connection as files. Python's
/// `StreamRequestHandler`.
///
/// ```
/// use socketserver_guest::{Result, StreamContext, StreamRequestHandler, export};
///
/// #[derive(Default)]
/// struct MyTCPHandler;
///
/// impl StreamRequestHandler for MyTCPHandler {
///     fn handle(&mut self, cx: &mut StreamContext) -> Result {
///         let line = cx.rfile.readline_limited(10_000)?;
///         cx.wfile.write(&line.to_ascii_uppercase())?;
///         Ok(())
///     }
/// }
///
/// export!(MyTCPHandler as StreamRequestHandler);
/// # fn main() {}
/// ```
///
/// The constants are the attributes of Python's class, with its defaults. Do not port
/// calls of `super().setup()` and `super().finish()` from Python: the crate does their
/// work before `setup` and after `finish`.
pub trait StreamRequestHandler: Default {
    /// The size of the buffer of `rfile`, in bytes. Python's `rbufsize`.
    ///
    /// With 0 `rfile` reads nothing ahead, so a handler may also call
    /// `cx.connection.recv`. A negative number is the default of 8192.
    const RBUFSIZE: i32 = -1;

    /// The size of the buffer of `wfile`, in bytes. Python's `wbufsize`.
    ///
    /// With 0 every write is sent at once. A negative number means 8192.
    const WBUFSIZE: i32 = 0;

    /// The timeout of each call that receives or sends, as in
    /// [`settimeout`](Socket::settimeout); `None` for no timeout. Python's `timeout`.
    const TIMEOUT: Option<Duration> = None;

    /// Sends small writes at once, without waiting until earlier ones are acknowledged
    /// (`TCP_NODELAY`). On a Unix socket, which has no such option, the request fails
    /// before `setup`. Python's `disable_nagle_algorithm`.
    const DISABLE_NAGLE_ALGORITHM: bool = false;

    /// Prepares the request. The host calls it first; `rfile` and `wfile` are ready.
    ///
    /// # Errors
    ///
    /// After an error the host calls neither `handle` nor `finish`, and the data in the
    /// buffer of `wfile` is lost. The host logs the error.
    fn setup(&mut self, cx: &mut StreamContext) -> Result {
        let _ = cx;
        Ok(())
    }

    /// Handles the request.
    ///
    /// # Errors
    ///
    /// After an error the host still calls `finish`. The host logs the error.
    fn handle(&mut self, cx: &mut StreamContext) -> Result {
        let _ = cx;
        Ok(())
    }

    /// Cleans up. The host calls it after `handle`, even if `handle` returned an
    /// error, but not after a panic or after a limit ended the request.
    ///
    /// `wfile` is flushed after this method, even if this method returned an error. If
    /// the flush fails, a second flush follows, as when Python closes the file.
    ///
    /// # Errors
    ///
    /// The host logs the error. If this method succeeds and the second flush fails, the
    /// error of that flush is logged in its place.
    fn finish(&mut self, cx: &mut StreamContext) -> Result {
        let _ = cx;
        Ok(())
    }
}

/// The attributes that Python's `StreamRequestHandler` has on `self`.
#[derive(Debug)]
pub struct StreamContext {
    /// The connection. Python's `self.request`.
    pub request: Socket,
    /// The same connection. Python's `self.connection`.
    pub connection: Socket,
    /// The address of the client. Python's `self.client_address`.
    pub client_address: Address,
    /// The server that accepted the connection. Python's `self.server`.
    pub server: Server,
    /// The connection, as a file to read from. Python's `self.rfile`.
    pub rfile: Reader,
    /// The connection, as a file to write to. Python's `self.wfile`.
    pub wfile: Writer,
}

/// A [`StreamRequestHandler`] with its context. Only [`export!`](crate::export) names it.
#[doc(hidden)]
#[allow(missing_debug_implementations, reason = "not for use by hand")]
pub struct StreamLifecycle<H> {
    handler: H,
    cx: StreamContext,
}

impl<H: StreamRequestHandler> Lifecycle for StreamLifecycle<H> {
    type Request = Socket;

    fn new(request: Socket, client_address: Address) -> Self {
        let cx = StreamContext {
            connection: request.clone(),
            client_address,
            server: Server::new(),
            rfile: Reader::new(request.clone(), H::RBUFSIZE),
            wfile: Writer::new(request.clone(), H::WBUFSIZE),
            request,
        };
        Self { handler: H::default(), cx }
    }

    fn setup(&mut self) -> Result {
        if H::TIMEOUT.is_some() {
            self.cx.connection.settimeout(H::TIMEOUT)?;
        }
        if H::DISABLE_NAGLE_ALGORITHM {
            let set = self.cx.connection.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1);
            set.map_err(|error| format!("cannot set TCP_NODELAY: {error}"))?;
        }
        self.handler.setup(&mut self.cx)
    }

    fn handle(&mut self) -> Result {
        self.handler.handle(&mut self.cx)
    }

    fn finish(&mut self) -> Result {
        let finished = self.handler.finish(&mut self.cx);
        let closed = self.cx.wfile.close();
        finished?;
        Ok(closed?)
    }
}
