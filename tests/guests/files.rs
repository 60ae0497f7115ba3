//! Reads and writes its connection as files, in the case that the client names in the first line:
//! `files.py` in Rust, whose `wfile` cannot be closed.
use socketserver_guest::{Result, StreamContext, StreamRequestHandler, export};
use std::time::Duration;

#[derive(Default)]
struct Files;

impl StreamRequestHandler for Files {
    const WBUFSIZE: i32 = -1;
    const TIMEOUT: Option<Duration> = Some(Duration::from_millis(500));
    const DISABLE_NAGLE_ALGORITHM: bool = true;

    fn handle(&mut self, cx: &mut StreamContext) -> Result {
        let case = cx.rfile.readline_limited(20)?;
        match case.trim_ascii() {
            b"limit" => loop {
                let piece = cx.rfile.readline_limited(5)?;
                if piece.is_empty() {
                    return Ok(());
                }
                bracketed(cx, &piece)?;
            },
            b"read" => {
                let data = cx.rfile.read_at_most(7)?;
                bracketed(cx, &data)?;
                let data = cx.rfile.read_all()?;
                bracketed(cx, &data)
            }
            b"large" => {
                for letter in b'a'..=b'j' {
                    cx.wfile.write(&[letter; 3000])?;
                }
                cx.wfile.write(&[b'k'; 20000])?;
                Ok(())
            }
            b"hold" | b"flush" => {
                cx.wfile.write(b"first\n")?;
                if case.starts_with(b"flush") {
                    cx.wfile.flush()?;
                }
                cx.rfile.readline()?;
                cx.wfile.write(b"second\n")?;
                Ok(())
            }
            b"options" => {
                let nodelay = cx.connection.getsockopt(6, 1)?;
                let timeout = cx.connection.gettimeout().unwrap_or_default().as_secs_f64();
                cx.wfile.write(format!("{nodelay} {timeout}\n").as_bytes())?;
                Ok(())
            }
            b"error" => {
                cx.wfile.write(b"before\n")?;
                Err("on purpose".into())
            }
            b"silence" => {
                for _ in 0..2 {
                    if let Err(error) = cx.rfile.readline() {
                        cx.wfile.write(format!("{error}\n").as_bytes())?;
                    }
                }
                Ok(())
            }
            b"late" => {
                cx.wfile.write(b"ready\n")?;
                cx.wfile.flush()?;
                if cx.rfile.readline().is_err() {
                    cx.wfile.write(b"late\n")?;
                }
                Ok(())
            }
            _ => Err("no such case".into()),
        }
    }
}

fn bracketed(cx: &mut StreamContext, data: &[u8]) -> Result {
    cx.wfile.write(&[b"[", data, b"]"].concat())?;
    Ok(())
}

export!(Files as StreamRequestHandler);
