//! Sends all data back, over TCP and over UDP: one component with two handlers, as inetd
//! has two services `echo`.
use socketserver_guest::{
    DatagramContext, DatagramRequestHandler, Result, StreamContext, StreamRequestHandler, export,
};

#[derive(Default)]
struct OverTcp;

impl StreamRequestHandler for OverTcp {
    fn handle(&mut self, cx: &mut StreamContext) -> Result {
        loop {
            let line = cx.rfile.readline_limited(65536)?;
            if line.is_empty() {
                return Ok(());
            }
            cx.wfile.write(&line)?;
        }
    }
}

#[derive(Default)]
struct OverUdp;

impl DatagramRequestHandler for OverUdp {
    fn handle(&mut self, cx: &mut DatagramContext) -> Result {
        cx.wfile.extend(cx.rfile.read_all()?);
        Ok(())
    }
}

export!(OverTcp as StreamRequestHandler);
export!(OverUdp as DatagramRequestHandler);
