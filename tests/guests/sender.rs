//! Has the kernel send the file `/files/file`.
use socketserver_guest::{BaseRequestHandler, Context, Result, export, socket::File};

#[derive(Default)]
struct Sender;

impl BaseRequestHandler for Sender {
    fn handle(&mut self, cx: &mut Context) -> Result {
        cx.request.sendfile(&File::open("/files/file")?, 0, None)?;
        Ok(())
    }
}

export!(Sender);
