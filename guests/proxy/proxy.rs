//! Forwards a connection over TCP, in both directions at once. The first line of the client
//! names where to, such as `127.0.0.1:9000`. The operator grants the destinations:
//! `--connect tcp://127.0.0.1:9000`.
use socketserver_guest::{BaseRequestHandler, Context, Error, Result, Shutdown, Socket};
use socketserver_guest::{export, network};
use std::time::Duration;

#[derive(Default)]
struct Proxy;

/// The bytes of one direction that wait for their receiver.
#[derive(Default)]
struct Pipe {
    pending: Vec<u8>,
    /// Set when the sender has finished.
    ended: bool,
    /// Set when the receiver has been told so.
    told: bool,
}

impl Pipe {
    fn wants_data(&self) -> bool {
        self.pending.is_empty() && !self.ended
    }

    fn fill(&mut self, from: &Socket) -> std::result::Result<(), Error> {
        match from.recv(65536) {
            Ok(data) => {
                self.ended = data.is_empty();
                self.pending = data;
                Ok(())
            }
            Err(Error::WouldBlock) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn flush(&mut self, to: &Socket) -> std::result::Result<(), Error> {
        if !self.pending.is_empty() {
            match to.send(&self.pending) {
                Ok(sent) => drop(self.pending.drain(..sent)),
                Err(Error::WouldBlock) => {}
                Err(error) => return Err(error),
            }
        }
        if self.ended && self.pending.is_empty() && !self.told {
            self.told = true;
            to.shutdown(Shutdown::Write)?;
        }
        Ok(())
    }
}

impl BaseRequestHandler for Proxy {
    fn handle(&mut self, cx: &mut Context) -> Result {
        let mut line = Vec::new();
        while !line.ends_with(b"\n") && line.len() < 300 {
            let byte = cx.request.recv(1)?;
            if byte.is_empty() {
                break;
            }
            line.extend(byte);
        }
        let line = String::from_utf8(line)?;
        let (host, port) =
            line.trim().rsplit_once(':').ok_or("write HOST:PORT in the first line")?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let timeout = Some(Duration::from_secs(10));
        let upstream = network::create_connection((host, port.parse()?), timeout, None)?;
        forward(&cx.request, &upstream)?;
        Ok(())
    }
}

fn forward(client: &Socket, upstream: &Socket) -> std::result::Result<(), Error> {
    client.settimeout(Some(Duration::ZERO))?;
    upstream.settimeout(Some(Duration::ZERO))?;
    let (mut up, mut down) = (Pipe::default(), Pipe::default());
    while !(up.told && down.told) {
        let mut readers = Vec::new();
        let mut writers = Vec::new();
        for (pipe, from, to) in [(&up, client, upstream), (&down, upstream, client)] {
            if pipe.wants_data() {
                readers.push(from);
            }
            if !pipe.pending.is_empty() {
                writers.push(to);
            }
        }
        network::select(&readers, &writers, &[], None)?;
        for (pipe, from, to) in [(&mut up, client, upstream), (&mut down, upstream, client)] {
            if pipe.wants_data() {
                pipe.fill(from)?;
            }
            pipe.flush(to)?;
        }
    }
    Ok(())
}

export!(Proxy);
