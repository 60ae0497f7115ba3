//! Answers each datagram with the addresses of its client and of the server, as
//! Python prints them: `host port`, `host port flowinfo scope`, a path, `None`
//! for a client without a name, or an abstract name as `bytes`.
use socketserver_guest::{
    Address, BaseRequestHandler, Context, Datagram, Result, UnixAddress, export,
};

#[derive(Default)]
struct Who;

impl BaseRequestHandler<Datagram> for Who {
    fn handle(&mut self, cx: &mut Context<Datagram>) -> Result {
        let (_, socket) = &cx.request;
        let client = flat(&cx.client_address);
        let server = flat(&socket.getsockname()?);
        let facts = format!("client={client}\nserver={server}\n");
        socket.sendto(facts.as_bytes(), &cx.client_address)?;
        Ok(())
    }
}

fn flat(address: &Address) -> String {
    match address {
        Address::Ipv4(a) => format!("{} {}", a.ip(), a.port()),
        Address::Ipv6(a) => format!("{} {} {} {}", a.ip(), a.port(), a.flowinfo(), a.scope_id()),
        Address::Unix(UnixAddress::Unnamed) => "None".to_owned(),
        Address::Unix(UnixAddress::Pathname(path)) => String::from_utf8_lossy(path).into_owned(),
        Address::Unix(UnixAddress::Abstract(name)) => format!("b'\\x00{}'", name.escape_ascii()),
    }
}

export!(Who as BaseRequestHandler<Datagram>);
