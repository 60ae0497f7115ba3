//! The protocol of HAProxy's agent.

use std::io::Read;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use socketserver_tests::process::{send_signal, wait_until};

use super::{Monitored, connect, free};

fn ask(address: SocketAddr) -> String {
    let mut answer = String::new();
    connect(address).read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_agent_says_how_much_is_free_and_when_the_server_drains() {
    let agent = free();
    let url = format!("tcp://{agent}");
    let monitored = Monitored::start(&["--max-requests", "4", "--agent", &url]);
    assert_eq!(ask(agent), "ready up 100% maxconn:4\n");
    let clients = [(); 3].map(|()| monitored.client());
    assert_eq!(ask(agent), "ready up 25% maxconn:4\n");
    let last = monitored.client();
    // 0% would be a drain.
    assert_eq!(ask(agent), "ready up 1% maxconn:4\n");
    send_signal(monitored.served.server.pid(), "TERM").unwrap();
    wait_until("the server drains", || ask(agent) == "drain\n");
    drop((clients, last));
}

#[test]
fn haproxy_follows_the_agent() {
    let (agent, front, stats) = (free(), free(), free());
    let url = format!("tcp://{agent}");
    let monitored = Monitored::start(&["--max-requests", "4", "--agent", &url]);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("haproxy.cfg");
    let configuration = format!(
        "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
         listen front\n bind {front}\n server one {} weight 100 check agent-check agent-port {} agent-inter 50ms\n\
         listen stats\n mode http\n bind {stats}\n stats enable\n stats uri /\n",
        monitored.served.server.address(),
        agent.port()
    );
    std::fs::write(&path, configuration).unwrap();
    let haproxy = Command::new("haproxy").arg("-f").arg(&path).stderr(Stdio::null()).spawn();
    let Ok(mut haproxy) = haproxy else {
        println!("skipped: there is no haproxy");
        return;
    };
    // The columns of the server: its weight is the 19th, its state the 18th.
    let column = |number: usize| {
        let stream = std::net::TcpStream::connect(stats);
        if stream.is_err() {
            return String::new();
        }
        let (_, table) = super::raw(stats, "/;csv");
        let row = table.lines().find(|line| line.starts_with("front,one,")).unwrap_or_default();
        row.split(',').nth(number).unwrap_or_default().to_owned()
    };
    wait_until("haproxy has asked", || column(18) == "100" && column(17).starts_with("UP"));
    let client = monitored.client();
    wait_until("haproxy lowers the weight", || column(18) == "75");
    send_signal(monitored.served.server.pid(), "TERM").unwrap();
    wait_until("haproxy drains the server", || column(17).starts_with("DRAIN"));
    drop(client);
    haproxy.kill().unwrap();
    haproxy.wait().unwrap();
}
