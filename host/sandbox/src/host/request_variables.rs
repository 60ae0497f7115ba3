//! The variables about a request that a program finds in its environment: those of ucspi-tcp
//! and ucspi-unix, and those of systemd.
//!
//! All values come from the kernel. No name is looked up.

use std::net::{IpAddr, SocketAddr};

use socketserver::{Address, Request, ServerInfo, SocketType, UnixAddress};

/// Returns the variables, as names and values.
pub(crate) fn request_variables(
    request: &Request,
    client_address: &Address,
    server: &ServerInfo,
) -> Vec<(String, String)> {
    match client_address.to_socket_addr() {
        Some(client) => of_internet(request, client, server),
        None => of_unix(request, client_address, server),
    }
}

/// `PROTO`, `TCPLOCALIP`, `TCPLOCALPORT`, `TCPREMOTEIP`, `TCPREMOTEPORT`, and the same with
/// `UDP`; `REMOTE_ADDR` and `REMOTE_PORT`. `PROTO` ends in 6 for IPv6, as in ucspi-tcp6.
fn of_internet(
    request: &Request,
    client: SocketAddr,
    server: &ServerInfo,
) -> Vec<(String, String)> {
    let protocol = match request.socket_type() {
        SocketType::Stream => "TCP",
        SocketType::Dgram => "UDP",
    };
    let listening = server.server_address.to_socket_addr();
    // An IPv4 client of an IPv6 socket has an IPv4 address.
    let remote = client.ip().to_canonical();
    let local = request.local_ip().or(listening.map(|address| address.ip()));
    let version = if matches!(remote, IpAddr::V6(_)) { "6" } else { "" };
    let mut variables = vec![pair("PROTO", format!("{protocol}{version}"))];
    if let Some(local) = local {
        variables.push(pair(&format!("{protocol}LOCALIP"), local.to_canonical().to_string()));
    }
    if let Some(listening) = listening {
        variables.push(pair(&format!("{protocol}LOCALPORT"), listening.port().to_string()));
    }
    let (remote, port) = (remote.to_string(), client.port().to_string());
    variables.push(pair(&format!("{protocol}REMOTEIP"), remote.clone()));
    variables.push(pair(&format!("{protocol}REMOTEPORT"), port.clone()));
    variables.push(pair("REMOTE_ADDR", remote));
    variables.push(pair("REMOTE_PORT", port));
    variables
}

/// `PROTO`, `UNIXLOCALPATH`, `UNIXREMOTEUID`, `UNIXREMOTEGID`; if the client's socket has a
/// name, `UNIXREMOTEPATH` and `REMOTE_ADDR`.
fn of_unix(
    request: &Request,
    client_address: &Address,
    server: &ServerInfo,
) -> Vec<(String, String)> {
    let mut variables = vec![
        pair("PROTO", "UNIX".to_owned()),
        pair("UNIXLOCALPATH", server.server_address.to_string()),
    ];
    if let Some(credentials) = request.peer_credentials() {
        variables.push(pair("UNIXREMOTEUID", credentials.uid.to_string()));
        variables.push(pair("UNIXREMOTEGID", credentials.gid.to_string()));
    }
    if *client_address != Address::Unix(UnixAddress::Unnamed) {
        variables.push(pair("UNIXREMOTEPATH", client_address.to_string()));
        variables.push(pair("REMOTE_ADDR", client_address.to_string()));
    }
    variables
}

fn pair(name: &str, value: String) -> (String, String) {
    (name.to_owned(), value)
}
