//! A process that forks must have one thread. So the crate starts no thread that stays before
//! the first request.
//!
//! This test runs without the test harness, which has threads of its own.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use socketserver::Server;
use socketserver_sandbox::{
    Cache, Component, ComponentHandler, Engine, EngineSettings, Loader, Policy,
};

fn main() {
    assert_eq!(threads(), 1);
    check(|| Engine::on_demand(&EngineSettings::default()).unwrap(), 1);
    // Its ticker starts with the first request.
    check(|| Engine::new(10, &EngineSettings::default()).unwrap(), 2);
}

fn check(engine: impl Fn() -> Engine, serving: usize) {
    let engine = engine();
    assert_eq!(threads(), 1, "the engine has a thread");
    let directory = tempfile::tempdir().unwrap();
    let cache = Loader::in_process(Cache::open(&directory.path().join("cache")).unwrap());
    let text = include_bytes!("../../../guests/upper/upper.wat").to_vec();
    // The first call compiles the component, the second takes it from the cache.
    Component::new(&engine, "upper", text.clone(), &cache).unwrap();
    let component = Component::new(&engine, "upper", text, &cache).unwrap();
    assert_eq!(threads(), 1, "compiling leaves a thread");
    // A thread that has just ended may still be in /proc: repetition finds that.
    for _ in 0..100 {
        let handler = ComponentHandler::new(&engine, &component, Policy::default()).unwrap();
        assert_eq!(threads(), 1, "the preflight leaves a thread");
        handler.time_instances(1).unwrap();
        assert_eq!(threads(), 1, "measuring leaves a thread");
    }

    let handler = ComponentHandler::new(&engine, &component, Policy::default()).unwrap();
    let bind = "tcp://127.0.0.1:0".parse().unwrap();
    let server = Server::builder(handler).bind(bind).build().unwrap();
    assert_eq!(threads(), 1, "the server has a thread");
    for _ in 0..2 {
        let mut client = TcpStream::connect(server.server_address().to_socket_addr().unwrap());
        let client = client.as_mut().unwrap();
        client.write_all(b"one thread").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        server.handle_request().unwrap();
        let mut response = Vec::new();
        client.read_to_end(&mut response).unwrap();
        assert_eq!(response, b"ONE THREAD");
        assert_eq!(threads(), serving, "requests leave threads");
    }
    drop((server, engine));
    assert_eq!(threads(), 1, "the ticker outlives the engine");
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}
