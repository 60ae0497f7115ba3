//! UDP.

use crate::{Answer, Failure, Sockets, address, family, number, ok, text, wait};
use wasi::sockets::network::ErrorCode;
use wasi::sockets::udp::{
    IncomingDatagramStream, OutgoingDatagram, OutgoingDatagramStream, UdpSocket,
};
use wasi::sockets::udp_create_socket::create_udp_socket;

/// A socket with its streams, which are dropped before it.
pub struct Socket {
    streams: Option<(IncomingDatagramStream, OutgoingDatagramStream)>,
    socket: UdpSocket,
}

pub fn run(sockets: &mut Sockets, words: &[&str]) -> Answer {
    let Sockets { network, udp, .. } = sockets;
    if let ["new", version] = words {
        let socket = create_udp_socket(family(version))?;
        udp.push(Socket { streams: None, socket });
        return ok();
    }
    let one = udp.last_mut().ok_or("no socket")?;
    match words {
        ["bind", to] => {
            one.socket.start_bind(network, address(to)?)?;
            one.socket.finish_bind()?;
            ok()
        }
        ["stream"] => {
            one.streams = None;
            one.streams = Some(one.socket.stream(None)?);
            ok()
        }
        ["stream", to] => {
            one.streams = None;
            one.streams = Some(one.socket.stream(Some(address(to)?))?);
            ok()
        }
        // The interface permits one pair of streams.
        ["stream-twice"] => {
            let first = one.socket.stream(None)?;
            let second = one.socket.stream(None)?;
            drop((first, second));
            ok()
        }
        ["send", data] => send(one, 1, data.as_bytes(), None),
        ["send", data, to] => send(one, 1, data.as_bytes(), Some(to)),
        ["send-long", length, to] => {
            let data = vec![b'x'; usize::try_from(number(length)?).unwrap_or(0)];
            send(one, 1, &data, Some(to))
        }
        ["send-many", count, to] => send(one, number(count)?, b"x", Some(to)),
        ["recv"] => {
            let (incoming, _) = one.streams.as_ref().ok_or("no streams")?;
            let received = wait(
                || incoming.subscribe(),
                || {
                    let received = incoming.receive(1)?;
                    received.into_iter().next().ok_or(ErrorCode::WouldBlock)
                },
            )?;
            let data = String::from_utf8_lossy(&received.data).into_owned();
            Ok(format!("{data} {}", text(received.remote_address)))
        }
        // The numbers of datagrams that are there and of their bytes.
        ["receive", most] => {
            let (incoming, _) = one.streams.as_ref().ok_or("no streams")?;
            let received = incoming.receive(number(most)?)?;
            let bytes: usize = received.iter().map(|one| one.data.len()).sum();
            Ok(format!("{} {bytes}", received.len()))
        }
        ["local"] => Ok(text(one.socket.local_address()?)),
        ["remote"] => Ok(text(one.socket.remote_address()?)),
        ["hop-limit", value] => {
            one.socket.set_unicast_hop_limit(u8::try_from(number(value)?).unwrap_or(0))?;
            Ok(one.socket.unicast_hop_limit()?.to_string())
        }
        ["receive-buffer-size", value] => {
            one.socket.set_receive_buffer_size(number(value)?)?;
            Ok(one.socket.receive_buffer_size()?.to_string())
        }
        ["send-buffer-size", value] => {
            one.socket.set_send_buffer_size(number(value)?)?;
            Ok(one.socket.send_buffer_size()?.to_string())
        }
        _ => Err("unknown line".into()),
    }
}

/// Sends the same datagram so many times, after the stream has permitted one call.
fn send(socket: &Socket, count: u64, data: &[u8], to: Option<&str>) -> Answer {
    let (_, outgoing) = socket.streams.as_ref().ok_or_else(|| Failure::from("no streams"))?;
    while outgoing.check_send()? == 0 {
        outgoing.subscribe().block();
    }
    let remote_address = to.map(address).transpose()?;
    let datagram = OutgoingDatagram { data: data.to_vec(), remote_address };
    let datagrams: Vec<_> = (0..count).map(|_| datagram.clone()).collect();
    Ok(outgoing.send(&datagrams)?.to_string())
}
