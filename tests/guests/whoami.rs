//! Sends one `key=value` line per fact about the request socket. Reads
//! nothing. Addresses are written as `host port`, `host port flowinfo scope`,
//! or a path.
use socketserver_guest::{Address, BaseRequestHandler, Context, Result, export};

#[derive(Default)]
struct WhoAmI;

impl BaseRequestHandler for WhoAmI {
    fn handle(&mut self, cx: &mut Context) -> Result {
        let timeout = match cx.request.gettimeout() {
            Some(timeout) => timeout.as_secs_f64().to_string(),
            None => "None".to_string(),
        };
        let facts = [
            ("family", cx.server.address_family().to_string()),
            ("type", cx.server.socket_type().to_string()),
            ("sockname", flat(&cx.request.getsockname()?)),
            ("peername", flat(&cx.request.getpeername()?)),
            ("client_address", flat(&cx.client_address)),
            ("server_address", flat(&cx.server.server_address())),
            ("timeout", timeout),
        ];
        let lines: String = facts.map(|(key, value)| format!("{key}={value}\n")).concat();
        cx.request.sendall(lines.as_bytes())?;
        Ok(())
    }
}

fn flat(address: &Address) -> String {
    match address {
        Address::Ipv4(a) => format!("{} {}", a.ip(), a.port()),
        Address::Ipv6(a) => format!("{} {} {} {}", a.ip(), a.port(), a.flowinfo(), a.scope_id()),
        Address::Unix(name) => name.to_string(),
    }
}

export!(WhoAmI);
