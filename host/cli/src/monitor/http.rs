//! HTTP/1.1, as far as the monitor speaks it: one request for each connection, without a body.

use std::sync::OnceLock;

use super::connection::Answer;
use super::host::Named;
use super::metrics;
use super::page;
use super::view::Source;

/// The most headers of a request.
const MAX_HEADERS: usize = 64;

const TEXT: &str = "text/plain; charset=utf-8";

/// An answer: its status, its type and its content.
type Content = (&'static str, &'static str, Vec<u8>);

/// Returns the answer to a request, as far as it has come.
pub fn answer(request: &[u8], named: Named, source: &dyn Source) -> Answer {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(request) {
        Ok(httparse::Status::Partial) => return Answer::More,
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Answer::Is(too_long()),
        Err(_) => return Answer::Is(bytes(error("400 Bad Request"), true)),
    }
    let (method, path) = (parsed.method.unwrap_or_default(), parsed.path.unwrap_or_default());
    if !["GET", "HEAD"].contains(&method) {
        return Answer::Is(bytes(error("405 Method Not Allowed"), true));
    }
    let path = path.split('?').next().unwrap_or_default();
    let hosts = parsed.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("host"));
    for host in hosts {
        if !named.permits(&String::from_utf8_lossy(host.value), path) {
            return Answer::Is(bytes(misdirected(), method == "GET"));
        }
    }
    Answer::Is(bytes(content(path, source), method == "GET"))
}

/// Returns the answer to a request that is too long.
pub fn too_long() -> Vec<u8> {
    bytes(error("431 Request Header Fields Too Large"), true)
}

fn content(path: &str, source: &dyn Source) -> Content {
    let text = |status, text: &str| (status, TEXT, text.as_bytes().to_vec());
    match path {
        "/" => ("200 OK", "text/html; charset=utf-8", page::PAGE.into()),
        "/metrics" => ("200 OK", metrics::CONTENT_TYPE, metrics::text(source.look()).into()),
        "/status" => {
            let status = serde_json::to_vec(&source.look()).unwrap_or_default();
            ("200 OK", "application/json", status)
        }
        "/healthz" => text("200 OK", "ok\n"),
        "/readyz" => match source.look() {
            view if view.draining => text("503 Service Unavailable", "draining\n"),
            view if view.ready => text("200 OK", "ready\n"),
            _ => text("503 Service Unavailable", "starting\n"),
        },
        _ => error("404 Not Found"),
    }
}

/// Refuses a client that asks by a name that a stranger may have.
fn misdirected() -> Content {
    let text = "421 Misdirected Request: ask by the IP address, or by `localhost`\n";
    ("421 Misdirected Request", TEXT, text.into())
}

fn error(status: &'static str) -> Content {
    (status, TEXT, format!("{status}\n").into_bytes())
}

fn bytes((status, content_type, content): Content, with_content: bool) -> Vec<u8> {
    static POLICY: OnceLock<String> = OnceLock::new();
    let policy = POLICY.get_or_init(page::content_security_policy);
    let allow = if status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n{allow}\
         Connection: close\r\nCache-Control: no-store\r\nContent-Security-Policy: {policy}\r\n\
         X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n\r\n",
        content.len()
    );
    let mut answer = head.into_bytes();
    if with_content {
        answer.extend(content);
    }
    answer
}
