//! TCP.

use crate::{Answer, Failure, Sockets, address, family, number, ok, text, wait};
use wasi::io::streams::{InputStream, OutputStream, StreamError};
use wasi::sockets::network::ErrorCode;
use wasi::sockets::tcp::{ShutdownType, TcpSocket};
use wasi::sockets::tcp_create_socket::create_tcp_socket;

/// A socket, with the streams of its connection. They are dropped before the socket.
pub struct Socket {
    streams: Option<(InputStream, OutputStream)>,
    socket: TcpSocket,
}

impl Socket {
    fn streams(&self) -> Result<&(InputStream, OutputStream), Failure> {
        self.streams.as_ref().ok_or_else(|| "no connection".into())
    }
}

fn of_stream(error: StreamError) -> Failure {
    match error {
        StreamError::Closed => "closed".into(),
        StreamError::LastOperationFailed(error) => Failure(error.to_debug_string()),
    }
}

pub fn run(sockets: &mut Sockets, words: &[&str]) -> Answer {
    let Sockets { network, tcp, .. } = sockets;
    match words {
        ["new", version] => {
            let socket = create_tcp_socket(family(version))?;
            tcp.push(Socket { streams: None, socket });
            return ok();
        }
        // Opens sockets until that fails.
        ["flood"] => {
            let before = tcp.len();
            loop {
                match create_tcp_socket(family("4")) {
                    Ok(socket) => tcp.push(Socket { streams: None, socket }),
                    Err(error) => return Ok(format!("{} {}", tcp.len() - before, error.name())),
                }
            }
        }
        // Connects again and again.
        ["storm", to] => loop {
            let socket = create_tcp_socket(family("4"))?;
            socket.start_connect(network, address(to)?)?;
            let _ = wait(|| socket.subscribe(), || socket.finish_connect());
        },
        ["denials", to] => {
            let one = create_tcp_socket(family("4"))?;
            for _ in 0..1000 {
                assert!(one.start_connect(network, address(to)?) == Err(ErrorCode::AccessDenied));
            }
            return ok();
        }
        ["drop"] => {
            tcp.pop();
            return ok();
        }
        _ => {}
    }
    let one = tcp.last_mut().ok_or("no socket")?;
    match words {
        ["bind", to] => {
            one.socket.start_bind(network, address(to)?)?;
            one.socket.finish_bind()?;
            ok()
        }
        ["start-bind", to] => done(one.socket.start_bind(network, address(to)?)),
        ["finish-bind"] => done(one.socket.finish_bind()),
        ["connect", to] => {
            one.socket.start_connect(network, address(to)?)?;
            let connected = wait(|| one.socket.subscribe(), || one.socket.finish_connect());
            one.streams = Some(connected?);
            ok()
        }
        ["start-connect", to] => done(one.socket.start_connect(network, address(to)?)),
        ["finish-connect"] => {
            one.streams = Some(one.socket.finish_connect()?);
            ok()
        }
        ["listen"] => {
            one.socket.start_listen()?;
            one.socket.finish_listen()?;
            ok()
        }
        ["start-listen"] => done(one.socket.start_listen()),
        ["finish-listen"] => done(one.socket.finish_listen()),
        ["accept"] => {
            let accepted = wait(|| one.socket.subscribe(), || one.socket.accept());
            let (socket, input, output) = accepted?;
            let peer = text(socket.remote_address()?);
            tcp.push(Socket { streams: Some((input, output)), socket });
            Ok(peer)
        }
        // Accepts for ever, and keeps nothing.
        ["accept-all"] => loop {
            let accepted = wait(|| one.socket.subscribe(), || one.socket.accept());
            let (_socket, _input, _output) = accepted?;
        },
        ["try-accept"] => done(one.socket.accept().map(|(_socket, _input, _output)| ())),
        ["local"] => Ok(text(one.socket.local_address()?)),
        ["remote"] => Ok(text(one.socket.remote_address()?)),
        ["is-listening"] => Ok(one.socket.is_listening().to_string()),
        ["family"] => Ok(format!("{:?}", one.socket.address_family())),
        ["shutdown", how] => {
            let how = match *how {
                "receive" => ShutdownType::Receive,
                "send" => ShutdownType::Send,
                _ => ShutdownType::Both,
            };
            done(one.socket.shutdown(how))
        }
        ["send", data] => {
            one.streams()?.1.blocking_write_and_flush(data.as_bytes()).map_err(of_stream)?;
            ok()
        }
        ["recv"] => {
            let data = one.streams()?.0.blocking_read(100).map_err(of_stream)?;
            Ok(String::from_utf8_lossy(&data).into_owned())
        }
        ["read"] => {
            let data = one.streams()?.0.read(100).map_err(of_stream)?;
            Ok(String::from_utf8_lossy(&data).into_owned())
        }
        // Sends so many bytes, as fast as the stream takes them, and does not wait for the last.
        ["bulk", count] => {
            let mut left = usize::try_from(number(count)?).unwrap_or(0);
            let (_, output) = one.streams()?;
            let data = vec![b'x'; 65_536];
            while left > 0 {
                let most = usize::try_from(output.check_write().map_err(of_stream)?).unwrap_or(0);
                if most == 0 {
                    output.subscribe().block();
                    continue;
                }
                let count = left.min(most).min(data.len());
                output.write(&data[..count]).map_err(of_stream)?;
                left -= count;
            }
            ok()
        }
        // Writes once more than the stream takes.
        ["overrun"] => loop {
            one.streams()?.1.write(&[0; 65_536]).map_err(of_stream)?;
        },
        ["set", option, value] => done(set(&one.socket, option, number(value)?)),
        ["get", option] => Ok(get(&one.socket, option)?.to_string()),
        _ => Err("unknown line".into()),
    }
}

fn done(result: Result<(), ErrorCode>) -> Answer {
    result?;
    ok()
}

fn set(socket: &TcpSocket, option: &str, value: u64) -> Result<(), ErrorCode> {
    let small = u32::try_from(value).unwrap_or(u32::MAX);
    match option {
        "keep-alive-enabled" => socket.set_keep_alive_enabled(value != 0),
        "keep-alive-idle-time" => socket.set_keep_alive_idle_time(value),
        "keep-alive-interval" => socket.set_keep_alive_interval(value),
        "keep-alive-count" => socket.set_keep_alive_count(small),
        "hop-limit" => socket.set_hop_limit(u8::try_from(value).unwrap_or(u8::MAX)),
        "receive-buffer-size" => socket.set_receive_buffer_size(value),
        "send-buffer-size" => socket.set_send_buffer_size(value),
        _ => socket.set_listen_backlog_size(value),
    }
}

fn get(socket: &TcpSocket, option: &str) -> Result<u64, ErrorCode> {
    Ok(match option {
        "keep-alive-enabled" => socket.keep_alive_enabled()?.into(),
        "keep-alive-idle-time" => socket.keep_alive_idle_time()?,
        "keep-alive-interval" => socket.keep_alive_interval()?,
        "keep-alive-count" => socket.keep_alive_count()?.into(),
        "hop-limit" => socket.hop_limit()?.into(),
        "receive-buffer-size" => socket.receive_buffer_size()?,
        _ => socket.send_buffer_size()?,
    })
}
