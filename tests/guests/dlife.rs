//! Writes the reply that the datagram asks for: `raise` fails after a write, `silent` writes
//! nothing, `twice` writes two parts, `big N` writes `N` bytes, and any other data is sent back.
use socketserver_guest::{DatagramContext, DatagramRequestHandler, Result, export};

#[derive(Default)]
struct Life;

impl DatagramRequestHandler for Life {
    fn handle(&mut self, cx: &mut DatagramContext) -> Result {
        let data = cx.rfile.read_all()?;
        match data.as_slice() {
            b"raise" => {
                cx.wfile.extend(b"partial");
                return Err("handle".into());
            }
            b"silent" => {}
            b"twice" => {
                cx.wfile.extend(b"one ");
                cx.wfile.extend(b"two");
            }
            [b'b', b'i', b'g', b' ', count @ ..] => {
                let count = str::from_utf8(count)?.parse()?;
                cx.wfile.resize(count, b'B');
            }
            data => cx.wfile.extend(data),
        }
        Ok(())
    }
}

export!(Life as DatagramRequestHandler);
