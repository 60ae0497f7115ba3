use crate::export::Life;
use crate::options::{IPPROTO_TCP, TCP_NODELAY};
use crate::{Address, Reader, Result, Server, Socket, Writer};
use std::time::Duration;

/// A handler for connections that are read and written as files: Python's
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
/// The constants are the attributes of Python's class, with its defaults. Where
/// Python's handlers call `super().setup()` and `super().finish()`, here that
/// part is not in the methods: it is done before `setup` and after `finish`.
pub trait StreamRequestHandler: Default {
    /// How many bytes `rfile` reads ahead at most: 0 for none, so that
    /// `cx.connection.recv` may be used as well; below zero for the default,
    /// 8192. Python's `rbufsize`.
    const RBUFSIZE: i32 = -1;

    /// How many bytes `wfile` keeps at most before it sends them: 0 for none,
    /// so that each write is sent at once; below zero for the default, 8192.
    /// Python's `wbufsize`.
    const WBUFSIZE: i32 = 0;

    /// How long each call that receives or sends may wait, as
    /// [`settimeout`](Socket::settimeout) takes it, but that `None` leaves it
    /// as it is: without end. Python's `timeout`.
    const TIMEOUT: Option<Duration> = None;

    /// Whether small writes leave at once instead of waiting for the last ones
    /// to be acknowledged. A connection without that option, such as one of a
    /// Unix socket, fails before `setup`. Python's `disable_nagle_algorithm`.
    const DISABLE_NAGLE_ALGORITHM: bool = false;

    /// Called first, with the connection and the files ready. After an error
    /// neither `handle` nor `finish` is called, and what is in the buffer of
    /// `wfile` is lost.
    fn setup(&mut self, cx: &mut StreamContext) -> Result {
        let _ = cx;
        Ok(())
    }

    /// Does the work.
    fn handle(&mut self, cx: &mut StreamContext) -> Result {
        let _ = cx;
        Ok(())
    }

    /// Cleans up. Called after `handle`, also when that returned an error, but
    /// not after a panic or when a limit ended the request.
    ///
    /// Afterwards, even if this returns an error, `wfile` is flushed. If that
    /// fails it is tried once more, as Python does when it closes the file; what
    /// is still not sent then is an error, unless this had one.
    fn finish(&mut self, cx: &mut StreamContext) -> Result {
        let _ = cx;
        Ok(())
    }
}

/// What Python's `StreamRequestHandler` has on `self`.
#[derive(Debug)]
pub struct StreamContext {
    /// The connection. Python's `self.request`.
    pub request: Socket,
    /// The same connection. Python's `self.connection`.
    pub connection: Socket,
    /// Where it came from. Python's `self.client_address`.
    pub client_address: Address,
    /// The server that took it. Python's `self.server`.
    pub server: Server,
    /// The connection as a file to read. Python's `self.rfile`.
    pub rfile: Reader,
    /// The connection as a file to write. Python's `self.wfile`.
    pub wfile: Writer,
}

/// A [`StreamRequestHandler`] at work. Only [`export!`](crate::export) names
/// it.
#[doc(hidden)]
#[allow(missing_debug_implementations, reason = "not for use by hand")]
pub struct Stream<H> {
    handler: H,
    cx: StreamContext,
}

impl<H: StreamRequestHandler> Life for Stream<H> {
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
