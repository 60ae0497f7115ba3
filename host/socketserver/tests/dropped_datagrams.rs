//! Datagrams that the kernel drops because the queue of their socket is full.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use common::echo_server::address;
use common::{NEVER, next, serve};
use socketserver::{Address, DropReason, Endpoint, Hooks, Request, Server, ServerInfo};

/// Hooks that record the datagrams that the kernel has dropped.
#[derive(Clone, Default)]
struct Dropped(Arc<Mutex<Vec<(String, u64)>>>);

impl Hooks for Dropped {
    fn handle_dropped(&self, endpoint: &Endpoint, count: u64, reason: DropReason) {
        assert_eq!(reason, DropReason::NoRoom);
        self.0.lock().unwrap().push((endpoint.to_string(), count));
    }
}

#[test]
fn datagrams_that_the_kernel_dropped_are_counted() {
    const SENT: u64 = 1000;
    for bind in ["udp://127.0.0.1:0?rcvbuf=4KiB", "udp://0.0.0.0:0?rcvbuf=4KiB"] {
        let (sender, taken_by_handler) = mpsc::channel();
        let gate = common::Gate::default();
        let handler = {
            let gate = gate.clone();
            move |request: &Request, _: &Address, _: &Arc<ServerInfo>| {
                sender.send(request.data().to_vec()).map_err(std::io::Error::other)?;
                gate.wait();
                Ok::<(), std::io::Error>(())
            }
        };
        let dropped = Dropped::default();
        let builder = Server::builder(handler).hooks(dropped.clone());
        let server = serve(builder.bind(bind.parse().unwrap()).build().unwrap(), NEVER);
        let at = SocketAddr::from(([127, 0, 0, 1], address(&server, 0).port()));
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.send_to(b"first", at).unwrap();
        assert_eq!(next(&taken_by_handler), b"first");
        for _ in 0..SENT {
            client.send_to(b"flood", at).unwrap();
        }
        gate.open();
        // The queue has room again after a while.
        let (mut taken, mut sent_last) = (0, 0);
        common::wait_until("the last one is served", || {
            client.send_to(b"last", at).unwrap();
            sent_last += 1;
            let mut last = false;
            while let Ok(data) = taken_by_handler.recv_timeout(Duration::from_millis(10)) {
                taken += u64::from(data == b"flood");
                last |= data == b"last";
            }
            last
        });
        let endpoint = server.endpoints()[0].to_string();
        server.shutdown().unwrap();
        // Some that were taken may still be on their way to the handler.
        server.server_close();
        taken += taken_by_handler.try_iter().filter(|data| data == b"flood").count() as u64;
        let reported = dropped.0.lock().unwrap().clone();
        assert!(reported.iter().all(|(at, _)| *at == endpoint), "{reported:?}");
        let lost: u64 = reported.iter().map(|(_, count)| count).sum();
        assert!(
            taken < SENT && lost >= SENT - taken && lost < SENT - taken + sent_last,
            "{taken} {sent_last} {reported:?}"
        );
    }
}
