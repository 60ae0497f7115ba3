//! Signal masks that a server inherits.

use std::process::Command;

use socketserver_tests::process::Server;

use crate::client::ask;
use crate::counters::request_counters;
use crate::fixture::{FIXTURE, File, Fixture, MODES, serve};

/// A handler that reads beyond its memory or runs for ever, as the client asks.
const HOSTILE: Fixture<'static> = Fixture {
    handle: "(call $recv (i32.const 1))
        (if (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 116))
            (then (drop (i32.load (i32.const 0x7ffffff0)))))
        (loop $again (br $again))",
    ..FIXTURE
};

/// A program that blocks signals passes its mask to the programs that it starts.
#[test]
fn a_server_that_inherits_blocked_signals_unblocks_them() {
    let handler = File::new("hostile.wat", HOSTILE.text().as_bytes());
    for mode in MODES {
        let host = serve();
        let mut blocked = Command::new("env");
        blocked.arg("--block-signal").arg(host.get_program()).args(host.get_args());
        blocked.envs(host.get_envs().filter_map(|(name, value)| Some((name, value?))));
        blocked.arg(&handler.path).args(["--cpu-time", "50ms", "--log-format", "json"]);
        let mut server = Server::start(blocked.args(mode), 1).unwrap();
        assert_eq!(ask(&server, b"xt"), b"");
        server.wait_for_log("\"reason\":\"trap\"").unwrap();
        assert_eq!(ask(&server, b"xl"), b"");
        server.wait_for_log("\"reason\":\"cpu-time\"").unwrap();
        assert_eq!(ask(&server, b"-"), b"ok");
        assert_eq!(request_counters(&mut server)["requests"]["accepted"], 3, "{mode:?}");
        assert!(server.stop().unwrap().success(), "{mode:?}");
    }
}
