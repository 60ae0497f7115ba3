//! Handlers that are replaced while clients send requests, at each kind of socket.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use socketserver_tests::load::Target;
use socketserver_tests::process::wait_until;
use socketserver_tests::swaps::{self, datagram_handler, stream_handler};

use super::{order, up};
use crate::attacks::SetWhenDropped;
use crate::configuration::Folder;

/// Each answer is whole, and of one version or the other.
#[test]
fn no_request_is_lost_while_a_handler_is_replaced() {
    for mode in ["concurrency = \"threading\"", "concurrency = \"forking\"", "workers = 2"] {
        let folder = Folder::new();
        let write = |letter| {
            folder.write("stream.wat", stream_handler(letter));
            folder.write("datagram.wat", datagram_handler(letter));
        };
        write('a');
        folder.write("c.toml", swaps::configuration(&folder.path(""), mode));
        let mut server = up(&folder, 4);
        server.wait_for_log("all 2 handlers serve").unwrap();
        let targets: Vec<_> =
            server.endpoints().iter().map(|endpoint| Target::parse(endpoint).unwrap()).collect();
        let end = AtomicBool::new(false);
        // The answers of each client, and those of the last version among them.
        let answered = [const { [AtomicUsize::new(0), AtomicUsize::new(0)] }; 4];
        let current = AtomicUsize::new('a' as usize);
        thread::scope(|scope| {
            // If a check fails, the clients end, too.
            let _end = SetWhenDropped(&end);
            for (target, [all, new]) in targets.iter().zip(&answered) {
                let (end, current) = (&end, &current);
                scope.spawn(move || {
                    let client = swaps::client(target).unwrap();
                    while !end.load(Ordering::Relaxed) {
                        let letter = swaps::ask(&client)
                            .unwrap_or_else(|error| panic!("{target:?}: {error:#}"));
                        assert!(('a'..='d').contains(&letter), "{letter}");
                        all.fetch_add(1, Ordering::Relaxed);
                        if letter as usize == current.load(Ordering::Relaxed) {
                            new.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
            for letter in ['b', 'c', 'd'] {
                write(letter);
                current.store(letter as usize, Ordering::Relaxed);
                let before: Vec<_> =
                    answered.iter().map(|[_, new]| new.load(Ordering::Relaxed)).collect();
                let output = order(&folder, &["reload"]);
                assert!(output.status.success(), "{output:?}");
                wait_until("the new version serves each client", || {
                    let counts = answered.iter().map(|[_, new]| new.load(Ordering::Relaxed));
                    counts.zip(&before).all(|(now, before)| now > before + 5)
                });
            }
        });
        let counts = answered.map(|[all, _]| all.into_inner());
        assert!(counts.iter().all(|count| *count > 15), "{counts:?}");
        assert!(server.stop().unwrap().success());
    }
}
