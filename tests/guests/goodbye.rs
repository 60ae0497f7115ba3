//! Has something to say when it is dropped, and what it holds too. The first byte
//! from the client says where to fail: `s`, `h` or `f`.
use socketserver_guest::{BaseRequestHandler, Context, Result, export, log};

struct Speaks(&'static str);

impl Drop for Speaks {
    fn drop(&mut self) {
        log::info(format!("{} dropped", self.0));
    }
}

#[derive(Default)]
struct Goodbye {
    fails: Vec<u8>,
    holds: Option<Speaks>,
}

impl Goodbye {
    fn step(&self, initial: &[u8], name: &str) -> Result {
        log::info(name);
        if self.fails == initial { Err(name.into()) } else { Ok(()) }
    }
}

impl BaseRequestHandler for Goodbye {
    fn setup(&mut self, cx: &mut Context) -> Result {
        self.fails = cx.request.recv(1)?;
        self.holds = Some(Speaks("what it holds"));
        self.step(b"s", "setup")
    }

    fn handle(&mut self, _: &mut Context) -> Result {
        let _local = Speaks("local");
        self.step(b"h", "handle")
    }

    fn finish(&mut self, _: &mut Context) -> Result {
        self.step(b"f", "finish")
    }
}

impl Drop for Goodbye {
    fn drop(&mut self) {
        log::info("the handler dropped");
    }
}

export!(Goodbye);
