//! Reports to systemd.

use socketserver_tests::process::send_signal;

use super::{Manager, Service, sample};
use crate::client::in_flight;
use crate::fixture::MODES;

/// Starts a server that reports to the manager.
fn start(
    manager: &Manager,
    options: &[&str],
    watchdog: Option<&str>,
) -> socketserver_tests::process::Server {
    let options = [&["--bind", "tcp://127.0.0.1:0"], options].concat();
    let arguments = sample("echo", &options);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let mut service = Service::new(&[], &arguments);
    service.command.env("NOTIFY_SOCKET", &manager.address);
    if let Some(watchdog) = watchdog {
        service.command.env("WATCHDOG_USEC", watchdog);
    }
    service.start(1)
}

#[test]
fn a_server_reports_its_phases_in_every_mode() {
    for (index, mode) in MODES.into_iter().enumerate() {
        let manager = if index % 2 == 0 { Manager::at_path() } else { Manager::at_abstract_name() };
        let mut server = start(&manager, &[mode, &["--grace", "1h"]].concat(), None);
        let loading = manager.next();
        assert!(loading.starts_with("STATUS=loading `"), "{loading}");
        // Ten times --compile-time, and some more.
        assert!(loading.contains("\nEXTEND_TIMEOUT_USEC=605000000\n"), "{loading}");
        let ready = manager.next();
        assert_eq!(ready, format!("READY=1\nSTATUS=serving {}\n", server.endpoints()[0]));
        let client = in_flight(&server);
        server.signal("TERM").unwrap();
        let stopping = manager.next();
        assert!(stopping.starts_with("STOPPING=1\nSTATUS=ending"), "{mode:?}: {stopping}");
        assert!(stopping.contains("\nEXTEND_TIMEOUT_USEC=3605000000\n"), "{mode:?}: {stopping}");
        drop(client);
        assert!(server.wait().unwrap().success(), "{mode:?}");
    }
}

#[test]
fn the_loop_gives_signs_of_life_in_every_mode() {
    for mode in MODES {
        let manager = Manager::at_path();
        // Without the watchdog the loop would sleep for a day.
        let options = [mode, &["--poll-interval", "86400"]].concat();
        let mut server = start(&manager, &options, Some("100000"));
        let ready = manager.wait_for("READY=1");
        // A request in the loop keeps it from giving signs, at most for --wall-time.
        let longer = ready.contains("\nWATCHDOG_USEC=3600100000\n");
        assert_eq!(longer, mode[1] == "sync", "{mode:?}: {ready}");
        for _ in 0..4 {
            assert_eq!(manager.next(), "WATCHDOG=1\n", "{mode:?}");
        }
        // Requests do not hinder it.
        drop(in_flight(&server));
        assert_eq!(manager.next(), "WATCHDOG=1\n", "{mode:?}");
        assert!(server.stop().unwrap().success(), "{mode:?}");
    }
}

/// A stopped process stands for a loop that hangs. Its workers go on.
#[test]
fn a_loop_that_hangs_gives_no_signs_of_life() {
    for mode in MODES {
        let manager = Manager::at_path();
        let mut server = start(&manager, mode, Some("40000"));
        manager.wait_for("WATCHDOG=1");
        send_signal(server.pid(), "STOP").unwrap();
        let rounds = 10;
        // The process stops at once, or after the report that it was about to write.
        let late: Vec<_> =
            std::iter::from_fn(|| manager.next_within_a_round()).take(rounds).collect();
        assert!(late.len() < rounds, "{mode:?}: {late:?}");
        send_signal(server.pid(), "CONT").unwrap();
        manager.wait_for("WATCHDOG=1");
        assert!(server.stop().unwrap().success(), "{mode:?}");
    }
}

#[test]
fn a_manager_that_is_not_there_is_a_warning() {
    for address in ["/nonexistent/notify", "vsock:2:1"] {
        let mut manager = Manager::at_path();
        manager.address = address.to_owned();
        let mut server = start(&manager, &[], Some("100000"));
        let warning =
            server.wait_for_log("the service manager cannot be told anything at").unwrap();
        assert!(warning.contains(address), "{warning}");
        assert!(server.stop().unwrap().success());
    }
}
