use crate::export::Life;
use crate::{Address, Datagram, Reader, Result, Server, Socket};
use std::io::Cursor;

/// A handler for datagrams that are read and answered as files: Python's
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
/// There is always a reply: after `finish` all that was written goes to the
/// client as one datagram, which is empty if nothing was. A handler that may
/// stay silent is a
/// [`BaseRequestHandler`](crate::BaseRequestHandler)`<`[`Datagram`]`>`.
///
/// Where Python's handlers call `super().setup()` and `super().finish()`, here
/// that part is not in the methods: it is done before `setup` and after
/// `finish`.
pub trait DatagramRequestHandler: Default {
    /// Called first. After an error neither `handle` nor `finish` is called,
    /// and no reply is sent.
    fn setup(&mut self, cx: &mut DatagramContext) -> Result {
        let _ = cx;
        Ok(())
    }

    /// Does the work.
    fn handle(&mut self, cx: &mut DatagramContext) -> Result {
        let _ = cx;
        Ok(())
    }

    /// Cleans up. Called after `handle`, also when that returned an error, but
    /// not after a panic or when a limit ended the request.
    ///
    /// Afterwards, even if this or `handle` returned an error, the reply is
    /// sent. If that fails it is an error, unless this had one.
    fn finish(&mut self, cx: &mut DatagramContext) -> Result {
        let _ = cx;
        Ok(())
    }
}

/// What Python's `DatagramRequestHandler` has on `self`.
#[derive(Debug)]
pub struct DatagramContext {
    /// The datagram. Python's `self.packet`.
    pub packet: Vec<u8>,
    /// The socket that it came to, and that the reply leaves from. Python's
    /// `self.socket`.
    pub socket: Socket,
    /// Where it came from. Python's `self.client_address`.
    pub client_address: Address,
    /// The server that took it. Python's `self.server`.
    pub server: Server,
    /// The datagram as a file to read. Python's `self.rfile`.
    pub rfile: Reader<Cursor<Vec<u8>>>,
    /// The reply: [`std::io::Write`] appends to it, and so do the methods of
    /// [`Vec`]. Python's `self.wfile`.
    pub wfile: Vec<u8>,
}

/// A [`DatagramRequestHandler`] at work. Only [`export!`](crate::export) names
/// it.
#[doc(hidden)]
#[allow(missing_debug_implementations, reason = "not for use by hand")]
pub struct Packet<H> {
    handler: H,
    cx: DatagramContext,
}

impl<H: DatagramRequestHandler> Life for Packet<H> {
    type Request = Datagram;

    fn new((packet, socket): Datagram, client_address: Address) -> Self {
        let cx = DatagramContext {
            rfile: Reader::over(packet.clone()),
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
