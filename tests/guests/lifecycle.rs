//! Sends the initial of each method that runs. The first byte from the client selects the method
//! that fails: `s`, `h`, `f`, or `b` for `handle` and `finish`.
use socketserver_guest::{BaseRequestHandler, Context, Result, export};

#[derive(Default)]
struct Lifecycle {
    fails: Vec<u8>,
}

impl Lifecycle {
    fn step(&self, cx: &Context, initial: &[u8], fails: &[&[u8]], name: &str) -> Result {
        cx.request.sendall(initial)?;
        if fails.contains(&self.fails.as_slice()) {
            return Err(name.into());
        }
        Ok(())
    }
}

impl BaseRequestHandler for Lifecycle {
    fn setup(&mut self, cx: &mut Context) -> Result {
        self.fails = cx.request.recv(1)?;
        self.step(cx, b"S", &[b"s"], "setup")
    }

    fn handle(&mut self, cx: &mut Context) -> Result {
        self.step(cx, b"H", &[b"h", b"b"], "handle")
    }

    fn finish(&mut self, cx: &mut Context) -> Result {
        self.step(cx, b"F", &[b"f", b"b"], "finish")
    }
}

export!(Lifecycle);
