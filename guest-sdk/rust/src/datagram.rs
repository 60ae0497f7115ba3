use crate::export::Lifecycle;
use crate::{Address, Datagram, Reader, Result, Server, Socket};
use std::io::Cursor;

/// A handler that reads a datagram and writes the reply as files. Python's
/// `DatagramRequestHandler`.
///
/// ```
/// use socketserver_guest::{DatagramContext, DatagramRequestHandler, Result, export};
///
/// #[derive(Default)]
/// struct MyUDPHandler;
///
/// impl DatagramRequestHandler for MyUDPHandler {
///     fn handle(&mut self, cx: &mut DatagramContext) -> Result {
///         let line = cx.rfile.readline()?;
///         cx.wfile.extend(line.to_ascii_uppercase());
///         Ok(())
///     }
/// }
///
/// export!(MyUDPHandler as DatagramRequestHandler);
/// # fn main() {}
/// ```
///
/// Each request gets a reply: after `finish` everything that was written to `wfile`
/// is sent to the client as one datagram, which is empty if nothing was written. To
/// send no reply, or several, implement
/// [`BaseRequestHandler`](crate::BaseRequestHandler)`<`[`Datagram`]`>`.
///
/// Do not port calls of `super().setup()` and `super().finish()` from Python: the
/// crate does their work before `setup` and after `finish`.
pub trait DatagramRequestHandler: Default {
    /// Prepares the request. The host calls it first.
    ///
    /// # Errors
    ///
    /// After an error the host calls neither `handle` nor `finish`, and no reply is
    /// sent. The host logs the error.
    fn setup(&mut self, cx: &mut DatagramContext) -> Result {
        let _ = cx;
        Ok(())
    }

    /// Handles the request.
    ///
    /// # Errors
    ///
    /// After an error the host still calls `finish`. The host logs the error.
    fn handle(&mut self, cx: &mut DatagramContext) -> Result {
        let _ = cx;
        Ok(())
    }

    /// Cleans up. The host calls it after `handle`, even if `handle` returned an
    /// error, but not after a panic or after a limit ended the request.
    ///
    /// The reply is sent after this method, even if this method or `handle` returned
    /// an error.
    ///
    /// # Errors
    ///
    /// The host logs the error. If this method succeeds and the reply cannot be sent,
    /// the error of sending is logged in its place.
    fn finish(&mut self, cx: &mut DatagramContext) -> Result {
        let _ = cx;
        Ok(())
    }
}

/// The attributes that Python's `DatagramRequestHandler` has on `self`.
#[derive(Debug)]
pub struct DatagramContext {
    /// The datagram. Python's `self.packet`.
    pub packet: Vec<u8>,
    /// The server's socket, which received the datagram and sends the reply.
    /// Python's `self.socket`.
    pub socket: Socket,
    /// The address of the client. Python's `self.client_address`.
    pub client_address: Address,
    /// The server that received the request. Python's `self.server`.
    pub server: Server,
    /// The datagram, as a file to read from. Python's `self.rfile`.
    pub rfile: Reader<Cursor<Vec<u8>>>,
    /// The reply. Append to it with [`std::io::Write`] or with the methods of [`Vec`].
    /// Python's `self.wfile`.
    pub wfile: Vec<u8>,
}

/// A [`DatagramRequestHandler`] with its context. Only [`export!`](crate::export)
/// names it.
#[doc(hidden)]
#[allow(missing_debug_implementations, reason = "not for use by hand")]
pub struct DatagramLifecycle<H> {
    handler: H,
    cx: DatagramContext,
}

impl<H: DatagramRequestHandler> Lifecycle for DatagramLifecycle<H> {
    type Request = Datagram;

    fn new((packet, socket): Datagram, client_address: Address) -> Self {
        let cx = DatagramContext {
            rfile: Reader::from_packet(packet.clone()),
            packet,
            socket,
            client_address,
            server: Server::new(),
            wfile: Vec::new(),
        };
        Self { handler: H::default(), cx }
    }

    fn setup(&mut self) -> Result {
        self.handler.setup(&mut self.cx)
    }

    fn handle(&mut self) -> Result {
        self.handler.handle(&mut self.cx)
    }

    fn finish(&mut self) -> Result {
        let finished = self.handler.finish(&mut self.cx);
        let sent = self.cx.socket.sendto(&self.cx.wfile, &self.cx.client_address);
        finished?;
        sent?;
        Ok(())
    }
}
