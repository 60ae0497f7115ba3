//! Sends a line `key=value` for each fact about the request socket, and reads nothing. Addresses
//! are written as `host port`, `host port flowinfo scope`, or a path.
use socketserver_guest::socket::{IPPROTO_TCP, SO_ERROR, SO_KEEPALIVE, SOL_SOCKET, TCP_NODELAY};
use socketserver_guest::{Address, AddressFamily, BaseRequestHandler, Context, Result, export};

#[derive(Default)]
struct WhoAmI;

impl BaseRequestHandler for WhoAmI {
    fn handle(&mut self, cx: &mut Context) -> Result {
        let timeout = match cx.request.gettimeout() {
            Some(timeout) => timeout.as_secs_f64().to_string(),
            None => "None".to_string(),
        };
        let option = |level, optname| cx.request.getsockopt(level, optname);
        let family = cx.server.address_family();
        let mut facts = vec![
            ("family", family.to_string()),
            ("type", cx.server.socket_type().to_string()),
            ("sockname", flat(&cx.request.getsockname()?)),
            ("peername", flat(&cx.request.getpeername()?)),
            ("client_address", flat(&cx.client_address)),
            ("server_address", flat(&cx.server.server_address())),
            ("timeout", timeout),
            ("fileno_ok", i32::from(cx.request.fileno() >= 0).to_string()),
            ("so_error", option(SOL_SOCKET, SO_ERROR)?.to_string()),
            ("keepalive", option(SOL_SOCKET, SO_KEEPALIVE)?.to_string()),
        ];
        if family != AddressFamily::Unix {
            let nodelay = option(IPPROTO_TCP, TCP_NODELAY)? != 0;
            facts.push(("nodelay", i32::from(nodelay).to_string()));
        }
        let lines: String = facts.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
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
