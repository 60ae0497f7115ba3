//! Counts requests in the handler and in a static. Both are new for each request, so that both
//! counts are always 1.
use socketserver_guest::{BaseRequestHandler, Context, Result, export};
use std::sync::atomic::{AtomicU32, Ordering};

static SHARED: AtomicU32 = AtomicU32::new(0);

#[derive(Default)]
struct Fresh {
    instance: u32,
}

impl BaseRequestHandler for Fresh {
    fn handle(&mut self, cx: &mut Context) -> Result {
        self.instance += 1;
        let shared = SHARED.fetch_add(1, Ordering::Relaxed) + 1;
        let line = format!("instance={} shared={shared}\n", self.instance);
        cx.request.sendall(line.as_bytes())?;
        Ok(())
    }
}

export!(Fresh);
