//! Logs when the handler and its fields are dropped. The first byte from the client selects the
//! step that fails: `s`, `h` or `f`.
use socketserver_guest::{BaseRequestHandler, Context, Result, export, log};

struct LogsDrop(&'static str);

impl Drop for LogsDrop {
    fn drop(&mut self) {
        log::info(format!("{} dropped", self.0));
    }
}

#[derive(Default)]
struct Goodbye {
    fails: Vec<u8>,
    holds: Option<LogsDrop>,
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
        self.holds = Some(LogsDrop("what it holds"));
        self.step(b"s", "setup")
    }

    fn handle(&mut self, _: &mut Context) -> Result {
        let _local = LogsDrop("local");
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
