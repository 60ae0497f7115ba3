//! The time over UDP: the Time Protocol of RFC 868. To an empty datagram the handler answers with
//! the seconds since 1900, in four bytes.
use socketserver_guest::{BaseRequestHandler, Context, Datagram, Result, export};
use std::time::{SystemTime, UNIX_EPOCH};

/// The seconds from 1900 to 1970, where the clock begins.
const SECONDS_TO_1970: u64 = 2_208_988_800;

#[derive(Default)]
struct Time;

impl BaseRequestHandler<Datagram> for Time {
    fn handle(&mut self, cx: &mut Context<Datagram>) -> Result {
        let (data, socket) = &cx.request;
        // Anything else may be an answer of another server. If both answered answers, they would
        // never stop.
        if !data.is_empty() {
            return Ok(());
        }
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() + SECONDS_TO_1970;
        // The number begins again in 2036.
        socket.sendto(&(seconds as u32).to_be_bytes(), &cx.client_address)?;
        Ok(())
    }
}

export!(Time as BaseRequestHandler<Datagram>);
