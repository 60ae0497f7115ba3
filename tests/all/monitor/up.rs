//! `[server] metrics` and `agent`: all handlers of `up`.

use std::io::{Read, Write};
use std::net::SocketAddr;

use serde_json::Value;
use socketserver_tests::process::{Server, send_signal, wait_until};

use super::{HANDLER, connect, free, get, sample};
use crate::configuration::Folder;
use crate::fixture::host;

/// `up` with two handlers and a monitor.
pub struct Up {
    server: Server,
    pub folder: Folder,
    pub metrics: SocketAddr,
    agent: SocketAddr,
    handlers: [SocketAddr; 2],
}

impl Up {
    pub fn start() -> Up {
        let folder = Folder::new();
        let [metrics, agent, one, two] = [(); 4].map(|()| free());
        folder.write("h.wat", HANDLER.text());
        folder.write(
            "c.toml",
            format!(
                "version = 1\n[server]\ncontrol = \"control\"\nmetrics = \"tcp://{metrics}\"\n\
                 agent = [\"tcp://{agent}\"]\n[handler.one]\nsource = \"h.wat\"\n\
                 bind = \"tcp://{one}\"\nmax-requests = 4\n[handler.two]\nsource = \"h.wat\"\n\
                 bind = \"tcp://{two}\"\nconcurrency = \"forking\"\nmax-children = 4\n"
            ),
        );
        let server = Server::start(host().arg("up").arg(folder.path("c.toml")), 2).unwrap();
        let up = Up { server, folder, metrics, agent, handlers: [one, two] };
        wait_until("all handlers serve", || get(metrics, "/readyz").0 == 200);
        up
    }

    fn metric(&self, name: &str, labels: &str) -> Option<f64> {
        sample(&get(self.metrics, "/metrics").1, &format!("socketserver_{name}{labels}"))
    }

    pub fn ask(&self, handler: usize) {
        let mut stream = connect(self.handlers[handler]);
        stream.write_all(b"-").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "ok");
    }

    fn agent(&self, handler: &str) -> String {
        let mut stream = connect(self.agent);
        stream.write_all(handler.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    pub fn reload(&self) {
        let mut command = host();
        command.arg("reload").arg("--control").arg(self.folder.path("control"));
        let _ = command.output().unwrap();
    }

    fn status(&self) -> Value {
        serde_json::from_str(&get(self.metrics, "/status").1).unwrap()
    }
}

#[test]
fn counters_go_on_over_reloads_and_deaths() {
    let up = Up::start();
    let done = r#"{handler="one",blame="none",reason="ok"}"#;
    up.ask(0);
    up.ask(1);
    wait_until("the requests are counted", || up.metric("requests_total", done) == Some(1.0));
    up.folder.write("h.wat", HANDLER.text() + " ");
    up.reload();
    up.ask(0);
    wait_until("both generations are counted", || up.metric("requests_total", done) == Some(2.0));
    wait_until("the reload is shown", || up.metric("reloads_total", "") == Some(1.0));
    assert_eq!(up.metric("config_last_reload_successful", ""), Some(1.0));
    wait_until("no process ends", || up.metric("processes_ending", "") == Some(0.0));
    assert_eq!(up.metric("requests_total", done), Some(2.0));
    // The process dies with a request in flight.
    let mut stream = connect(up.handlers[0]);
    stream.write_all(b"x").unwrap();
    crate::client::expect(&mut stream, b"ok");
    assert_eq!(up.metric("requests_in_flight", r#"{handler="one"}"#), Some(1.0));
    let status = up.status();
    let pid = u32::try_from(status["handlers"][0]["pid"].as_u64().unwrap()).unwrap();
    send_signal(pid, "KILL").unwrap();
    wait_until("it was started anew", || {
        up.metric("restarts_total", r#"{handler="one"}"#) == Some(1.0)
            && get(up.metrics, "/readyz").0 == 200
    });
    assert_eq!(up.metric("requests_in_flight", r#"{handler="one"}"#), Some(0.0));
    let failed = r#"{handler="one",blame="host",reason="worker"}"#;
    assert_eq!(up.metric("requests_total", failed), Some(1.0));
    assert_eq!(up.metric("requests_total", done), Some(2.0));
    // A reload that fails is shown, and what serves goes on.
    up.folder.write("h.wat", "no");
    up.reload();
    wait_until("the failure is shown", || {
        up.metric("config_last_reload_successful", "") == Some(0.0)
    });
    assert_eq!(get(up.metrics, "/readyz").0, 200);
}

#[test]
fn the_agent_answers_for_the_handler_that_is_named_and_for_all() {
    let up = Up::start();
    let mut stream = connect(up.handlers[0]);
    stream.write_all(b"x").unwrap();
    crate::client::expect(&mut stream, b"ok");
    assert_eq!(up.agent("one\n"), "ready up 75% maxconn:4\n");
    assert_eq!(up.agent("two\r\n"), "ready up 100% maxconn:4\n");
    assert_eq!(up.agent("\n"), "ready up 87% maxconn:8\n");
    assert_eq!(up.agent(""), "ready up 87% maxconn:8\n");
    assert_eq!(up.agent("three\n"), "down # there is no such handler\n");
    up.server.signal("TERM").unwrap();
    wait_until("the server drains", || up.agent("one\n") == "drain\n");
    assert_eq!(get(up.metrics, "/readyz"), (503, "draining\n".to_owned()));
}
