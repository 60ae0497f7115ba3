//! Makes the calls on its socket that the client asks for, a line each, and answers each with
//! a line: `ok` and the result as Python prints it, or `err` and the error.
use socketserver_guest::socket::{Error, File, Shutdown};
use socketserver_guest::{BaseRequestHandler, Context, Result, export};
use std::io;
use std::time::Duration;

#[derive(Default)]
struct Calls;

impl BaseRequestHandler for Calls {
    fn handle(&mut self, cx: &mut Context) -> Result {
        while let Some(line) = command(cx)? {
            let answer = match call(cx, &line) {
                Ok(result) => format!("ok {result}\n"),
                Err(error) => format!("err {}\n", name_of(error.as_ref())),
            };
            if !cx.request.getblocking() {
                cx.request.settimeout(None)?;
            }
            cx.request.sendall(answer.as_bytes())?;
        }
        Ok(())
    }
}

/// Receives a line without a timeout. Returns `None` at the end.
fn command(cx: &Context) -> Result<Option<String>> {
    let timeout = cx.request.gettimeout();
    cx.request.settimeout(None)?;
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let byte = cx.request.recv(1)?;
        if byte.is_empty() {
            return Ok(None);
        }
        line.extend(byte);
    }
    cx.request.settimeout(timeout)?;
    Ok(Some(String::from_utf8(line)?))
}

fn call(cx: &Context, line: &str) -> Result<String> {
    let request = &cx.request;
    let words: Vec<&str> = line.split_whitespace().collect();
    let text = words.get(1).copied().unwrap_or_default();
    let numbers: Vec<i32> = words.iter().filter_map(|word| word.parse().ok()).collect();
    let number = |place: usize| numbers.get(place).copied().unwrap_or(0);
    let size = usize::try_from(number(0)).unwrap_or(usize::MAX);
    let buffering = numbers.first().and_then(|size| usize::try_from(*size).ok());
    let none = || "None".to_owned();
    Ok(match words[0] {
        "recv" => hex(&request.recv_with_flags(size, number(1))?),
        "peek" => {
            let peeked = hex(&request.recv_with_flags(size, number(1))?);
            format!("{peeked} {}", hex(&request.recv(100)?))
        }
        "recv_into" => {
            let mut buffer = vec![0; size];
            let count = request.recv_into(&mut buffer, number(1))?;
            format!("{count} {}", hex(&buffer))
        }
        "recvfrom" => {
            let (data, address) = request.recvfrom(size, number(1))?;
            let address = address.map_or_else(none, |address| address.to_string());
            format!("{} {address}", hex(&data))
        }
        "send" => request.send_with_flags(text.as_bytes(), number(0))?.to_string(),
        "sendall" => {
            request.sendall_with_flags(text.as_bytes(), number(0))?;
            none()
        }
        "settimeout" => {
            let timeout = text.parse().ok().map(Duration::try_from_secs_f64);
            request.settimeout(timeout.transpose().map_err(|_| Error::InvalidArgument)?)?;
            none()
        }
        "gettimeout" => {
            request.gettimeout().map_or_else(none, |timeout| format!("{:?}", timeout.as_secs_f64()))
        }
        "setblocking" => {
            request.setblocking(text == "True")?;
            none()
        }
        "getblocking" => python(request.getblocking()),
        "getsockopt" if numbers.len() == 3 => {
            let buflen = usize::try_from(number(2))?;
            hex(&request.getsockopt_bytes(number(0), number(1), buflen)?)
        }
        "getsockopt" => request.getsockopt(number(0), number(1))?.to_string(),
        "setsockopt" => {
            request.setsockopt(number(0), number(1), number(2))?;
            none()
        }
        "setsockopt_bytes" => {
            request.setsockopt_bytes(number(0), number(1), &from_hex(&words[3][1..])?)?;
            none()
        }
        "attributes" => {
            format!("{} {} {}", request.family(), request.socket_type(), request.proto())
        }
        "names" => python(request.getpeername()? == cx.client_address),
        "readline" => hex(&request.makefile(text, buffering)?.readline()?),
        "write" => {
            let mut file = request.makefile(text, buffering)?;
            let count = file.write(b"written ")?;
            file.flush()?;
            count.to_string()
        }
        "sendfile" => {
            let (offset, count) = (u64::try_from(number(0))?, u64::try_from(number(1)).ok());
            request.sendfile(&File::open(text)?, offset, count)?.to_string()
        }
        "version" => request.version().unwrap_or_else(none),
        "cipher" => request.cipher().map_or_else(none, |cipher| {
            format!("{} {} {}", cipher.name, cipher.protocol, cipher.secret_bits)
        }),
        "alpn" => request.selected_alpn_protocol().unwrap_or_else(none),
        "peercert" => request.getpeercert().map_or_else(none, |certificate| hex(&certificate)),
        "hostname" => request.server_hostname().unwrap_or_else(none),
        "shutdown" => {
            request.shutdown([Shutdown::Read, Shutdown::Write, Shutdown::Both][size])?;
            none()
        }
        _ => none(),
    })
}

/// Returns a truth value as Python prints it.
fn python(value: bool) -> String {
    if value { "True" } else { "False" }.to_owned()
}

fn hex(data: &[u8]) -> String {
    data.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Result<Vec<u8>> {
    let digits = |place| text.get(place..place + 2).unwrap_or_default();
    (0..text.len()).step_by(2).map(|place| Ok(u8::from_str_radix(digits(place), 16)?)).collect()
}

/// Returns the name that the handler in Python gives to the error.
fn name_of(error: &(dyn std::error::Error + 'static)) -> String {
    let io = error.downcast_ref::<io::Error>().and_then(|error| error.get_ref()?.downcast_ref());
    let file = error.downcast_ref::<io::Error>();
    if file.is_some_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return "ENOENT".to_owned();
    }
    match error.downcast_ref::<Error>().or(io) {
        Some(Error::WouldBlock) => "BlockingIOError".to_owned(),
        Some(Error::TimedOut) => "TimeoutError".to_owned(),
        Some(Error::InvalidArgument) => "EINVAL".to_owned(),
        Some(Error::NotSupported) => "EOPNOTSUPP".to_owned(),
        Some(Error::NotConnected) => "ENOTCONN".to_owned(),
        Some(Error::BrokenPipe) => "EPIPE".to_owned(),
        Some(Error::Denied) => "EACCES".to_owned(),
        _ => error.to_string(),
    }
}

export!(Calls);
