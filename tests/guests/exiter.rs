//! Ends as the first byte selects: `v` returns an error, `x` exits as `SystemExit` does in
//! Python, and any other byte is answered `fine`.
use socketserver_guest::{BaseRequestHandler, Context, Result, export};

/// The exit function of WASI.
mod wasi {
    wit_bindgen::generate!({
        inline: "
            package guests:exiter;

            world program {
                import wasi:cli/exit@0.2.0;
            }

            package wasi:cli@0.2.0 {
                interface exit {
                    exit: func(status: result);
                }
            }
        ",
        generate_all,
    });
}

#[derive(Default)]
struct Exiter;

impl BaseRequestHandler for Exiter {
    fn handle(&mut self, cx: &mut Context) -> Result {
        match cx.request.recv(1)?.as_slice() {
            b"v" => return Err("Test error".into()),
            b"x" => wasi::wasi::cli::exit::exit(Err(())),
            _ => cx.request.sendall(b"fine")?,
        }
        Ok(())
    }
}

export!(Exiter);
