//! A file server over HTTP/1.1: GET and HEAD, ranges, conditions and connections that stay open.
//! The kernel sends the files.
//!
//! The operator grants a directory as `/srv`, such as `--dir ./site::/srv:ro`. `--idle-timeout`,
//! `--wall-time` and `--max-sent` limit a connection with all of its requests.
use httparse::{EMPTY_HEADER, Error as Mistake, Status};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use socketserver_guest::socket::{File, MSG_MORE, Metadata};
use socketserver_guest::{BaseRequestHandler, Context, Error, Result, Socket, export};
use std::io::ErrorKind;
use std::ops::Range;
use std::time::{Duration, SystemTime};

/// The longest head of a request, in bytes: its first line and its headers.
const LONGEST_HEAD: usize = 16 * 1024;
/// The most headers of a request.
const MOST_HEADERS: usize = 64;
/// The time for which a client that owes a request may send nothing.
const PATIENCE: Duration = Duration::from_secs(5);
/// The bytes that a path in a `Location` does not need to encode.
const PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[derive(Default)]
struct Files;

impl BaseRequestHandler for Files {
    fn handle(&mut self, cx: &mut Context) -> Result {
        let socket = &cx.request;
        let mut received = Vec::new();
        while let Some((response, head)) = next_response(socket, &mut received)? {
            // The timeout is for what the client owes. It may take its time to receive.
            socket.settimeout(None)?;
            match response.send(socket) {
                Ok(()) if !response.is_last => drop(received.drain(..head)),
                // Browsers leave in the middle of a file.
                Ok(()) | Err(Error::BrokenPipe | Error::ConnectionReset) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Receives the head of a request, and returns the response to it with the length of the head.
/// Returns `None` if the client has finished.
fn next_response(socket: &Socket, received: &mut Vec<u8>) -> Result<Option<(Response, usize)>> {
    socket.settimeout(Some(PATIENCE))?;
    loop {
        let mut headers = [EMPTY_HEADER; MOST_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let refusal = match request.parse(received) {
            Ok(Status::Complete(head)) => return Ok(Some((respond(&request), head))),
            Ok(Status::Partial) if received.len() < LONGEST_HEAD => match socket.recv(4096) {
                Ok(data) if !data.is_empty() => {
                    received.extend(data);
                    continue;
                }
                Err(Error::TimedOut) if !received.is_empty() => "408 Request Timeout",
                Ok(_) | Err(Error::TimedOut | Error::ConnectionReset) => return Ok(None),
                Err(error) => return Err(error.into()),
            },
            Ok(Status::Partial) if !received.contains(&b'\n') => "414 URI Too Long",
            Ok(Status::Partial) | Err(Mistake::TooManyHeaders) => {
                "431 Request Header Fields Too Large"
            }
            Err(Mistake::Version) => "505 HTTP Version Not Supported",
            Err(_) => "400 Bad Request",
        };
        return Ok(Some((Response::refusal(refusal), 0)));
    }
}

/// The answer to a request.
struct Response {
    status: &'static str,
    /// The headers beside those about the length and the connection.
    headers: String,
    content: Content,
    /// Set for HEAD: the content is described, and not sent.
    only_head: bool,
    /// Set if the connection ends after the response.
    is_last: bool,
}

enum Content {
    Nothing,
    Text(String),
    Part(File, Range<u64>),
}

impl Response {
    fn new(status: &'static str, headers: String, content: Content) -> Self {
        Self { status, headers, content, only_head: false, is_last: false }
    }

    /// Returns a response whose content is its status.
    fn text(status: &'static str, headers: &str) -> Self {
        let headers = format!("Content-Type: text/plain\r\n{headers}");
        Self::new(status, headers, Content::Text(format!("{status}\n")))
    }

    /// Returns the response to a request after which none can be read.
    fn refusal(status: &'static str) -> Self {
        Self { is_last: true, ..Self::text(status, "") }
    }

    fn send(&self, socket: &Socket) -> Result<(), Error> {
        let date = httpdate::fmt_http_date(SystemTime::now());
        let mut head = format!("HTTP/1.1 {}\r\nDate: {date}\r\n{}", self.status, self.headers);
        match &self.content {
            Content::Nothing => {}
            Content::Text(text) => head += &format!("Content-Length: {}\r\n", text.len()),
            Content::Part(_, part) => {
                head += &format!("Content-Length: {}\r\n", part.end - part.start);
            }
        }
        if self.is_last {
            head += "Connection: close\r\n";
        }
        head += "\r\n";
        match &self.content {
            Content::Text(text) if !self.only_head => socket.sendall((head + text).as_bytes()),
            Content::Part(file, part) if !self.only_head && !part.is_empty() => {
                // The head leaves with the first bytes of the file.
                socket.sendall_with_flags(head.as_bytes(), MSG_MORE)?;
                let length = part.end - part.start;
                let sent = socket.sendfile(file, part.start, Some(length))?;
                // A file that became shorter has a response that cannot be completed.
                if sent == length { Ok(()) } else { Err(Error::BrokenPipe) }
            }
            _ => socket.sendall(head.as_bytes()),
        }
    }
}

fn respond(request: &httparse::Request) -> Response {
    let all = |name: &'static str| {
        let named = request.headers.iter().filter(|one| one.name.eq_ignore_ascii_case(name));
        named.map(|one| str::from_utf8(one.value).unwrap_or_default().trim())
    };
    let is_http_1_1 = request.version == Some(1);
    let hosts = all("Host").count();
    if hosts > 1 || is_http_1_1 && hosts == 0 {
        return Response::refusal("400 Bad Request");
    }
    let closes = |value: &str| value.split(',').any(|one| one.trim().eq_ignore_ascii_case("close"));
    // A request with content ends the connection: the content is not read.
    let has_content = all("Content-Length").any(|length| length != "0")
        || all("Transfer-Encoding").next().is_some();
    let is_last = !is_http_1_1 || has_content || all("Connection").any(closes);
    let only_head = request.method == Some("HEAD");
    if !only_head && request.method != Some("GET") {
        let response = Response::text("405 Method Not Allowed", "Allow: GET, HEAD\r\n");
        return Response { is_last, ..response };
    }
    let header = |name| all(name).next();
    let response = match path_of(request.path.unwrap_or_default()) {
        Some(path) => serve(&path, only_head, header),
        None => Response::text("400 Bad Request", ""),
    };
    Response { only_head, is_last, ..response }
}

/// Returns the path that a request names, without a slash at its beginning and without `.` and
/// `..`. It is empty, or ends with a slash, if it names a directory.
fn path_of(target: &str) -> Option<String> {
    let path = target.split(['?', '#']).next()?;
    // A client may write the whole URL.
    let path = path.strip_prefix("http://").map_or(path, |url| {
        let authority = url.find('/').unwrap_or(url.len());
        &url[authority..]
    });
    if !path.is_empty() && !path.starts_with('/') {
        return None;
    }
    let path = percent_decode_str(path).decode_utf8().ok().filter(|path| !path.contains('\0'))?;
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            _ => names.push(name),
        }
    }
    let end = if path.ends_with('/') && !names.is_empty() { "/" } else { "" };
    Some(names.join("/") + end)
}

fn serve<'a>(
    path: &str,
    only_head: bool,
    header: impl Fn(&'static str) -> Option<&'a str>,
) -> Response {
    let is_directory = path.is_empty() || path.ends_with('/');
    let path = if is_directory { format!("{path}index.html") } else { path.to_owned() };
    let opened = File::open(&format!("/srv/{path}"));
    let (file, facts) = match opened.and_then(|file| file.metadata().map(|facts| (file, facts))) {
        Ok(opened) => opened,
        // The handlers have too many files open.
        Err(error) if error.kind() == ErrorKind::OutOfMemory => {
            return Response::text("503 Service Unavailable", "Retry-After: 1\r\n");
        }
        Err(_) => return Response::text("404 Not Found", ""),
    };
    if facts.is_dir() {
        if is_directory {
            return Response::text("404 Not Found", "");
        }
        let location = format!("Location: /{}/\r\n", utf8_percent_encode(&path, PATH));
        return Response::text("301 Moved Permanently", &location);
    }
    let modified = facts.modified().filter(has_a_date);
    let etag = etag(&facts);
    let date = modified.map(httpdate::fmt_http_date);
    let mut headers = format!("Accept-Ranges: bytes\r\nETag: {etag}\r\n");
    if let Some(date) = &date {
        headers += &format!("Last-Modified: {date}\r\n");
    }
    let is_known = match (header("If-None-Match"), header("If-Modified-Since")) {
        (Some(etags), _) => etags.split(',').any(|one| {
            let one = one.trim();
            one == "*" || one.trim_start_matches("W/") == etag
        }),
        (None, Some(since)) => is_unchanged(modified, since),
        (None, None) => false,
    };
    if is_known {
        return Response::new("304 Not Modified", headers, Content::Nothing);
    }
    headers += &format!("Content-Type: {}\r\n", content_type(&path));
    let length = facts.len();
    // The client has a part of this file, and not of an older one.
    let is_same = header("If-Range").is_none_or(|it| it == etag || Some(it) == date.as_deref());
    let wanted = header("Range").filter(|_| is_same && !only_head);
    match wanted.and_then(|range| part_of(range, length)) {
        Some(part) if part.is_empty() => {
            let range = format!("Content-Range: bytes */{length}\r\n");
            Response::text("416 Range Not Satisfiable", &range)
        }
        Some(part) => {
            let (first, last) = (part.start, part.end - 1);
            headers += &format!("Content-Range: bytes {first}-{last}/{length}\r\n");
            Response::new("206 Partial Content", headers, Content::Part(file, part))
        }
        None => Response::new("200 OK", headers, Content::Part(file, 0..length)),
    }
}

/// Returns the part of a file that a `Range` names, which is empty if the file has no such part.
/// Other units than bytes and several ranges in one header stand for the whole file, `None`.
fn part_of(range: &str, length: u64) -> Option<Range<u64>> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let number = |digits: &str| {
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        // No file is longer than the largest number.
        is_number.then(|| digits.parse().unwrap_or(u64::MAX))
    };
    if first.is_empty() {
        return Some(length.saturating_sub(number(last)?)..length);
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    (first <= last).then(|| first.min(length)..last.saturating_add(1).min(length))
}

/// Returns true if a date of HTTP can express the time: its years have four digits.
fn has_a_date(time: &SystemTime) -> bool {
    const YEAR_10000: u64 = 253_402_300_800;
    time.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|since| since.as_secs() < YEAR_10000)
}

/// Returns true if a file was not modified after a date, which has no fractions of a second.
fn is_unchanged(modified: Option<SystemTime>, date: &str) -> bool {
    let (Some(modified), Ok(date)) = (modified, httpdate::parse_http_date(date)) else {
        return false;
    };
    modified < date + Duration::from_secs(1)
}

fn etag(facts: &Metadata) -> String {
    let since = facts.modified().map(|time| time.duration_since(SystemTime::UNIX_EPOCH));
    let nanoseconds = since.and_then(|since| since.ok()).unwrap_or_default().as_nanos();
    format!("\"{nanoseconds:x}-{:x}\"", facts.len())
}

fn content_type(path: &str) -> &'static str {
    let extension = path.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    match extension.as_deref().unwrap_or_default() {
        "html" | "htm" => "text/html",
        "css" => "text/css",
        "js" | "mjs" => "text/javascript",
        "txt" => "text/plain",
        "csv" => "text/csv",
        "json" => "application/json",
        "xml" => "application/xml",
        "pdf" => "application/pdf",
        "wasm" => "application/wasm",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "ico" => "image/vnd.microsoft.icon",
        "mp3" => "audio/mpeg",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}

export!(Files);
