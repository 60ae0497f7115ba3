//! What can be a handler, of what, and how many of it there can be.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpStream;

use socketserver::{Needs, Reason, RequestHandler, Server};
use socketserver_sandbox::{
    Cache, Component, ComponentHandler, Engine, EngineSettings, LoadError, Loader, Policy, World,
};

const STREAM: &str = include_str!("../../../tests/fixtures/handler.wat");
const DATAGRAM: &str = include_str!("../../../tests/fixtures/datagram.wat");

/// A fixture with nothing in its places but a memory of that many pages.
fn fixture(template: &str, pages: u32) -> String {
    let text = template.replace("{{memory}}", &pages.to_string());
    [
        "{{setup}}",
        "{{handle}}",
        "{{post_return}}",
        "{{finish}}",
        "{{realloc}}",
        "{{fields}}",
        "{{component}}",
        "{{imports}}",
        "{{provides}}",
    ]
    .iter()
    .fold(text, |text, place| text.replace(place, ""))
}

fn load(engine: &Engine, text: &str) -> Result<ComponentHandler, LoadError> {
    let component =
        Component::new(engine, "fixture", text.into(), &Loader::in_process(Cache::disabled()))?;
    ComponentHandler::new(engine, &component, Policy::default())
}

fn refused(text: &str) -> LoadError {
    let engine = Engine::on_demand(&EngineSettings::default()).unwrap();
    load(&engine, text).map(|handler| handler.name().to_owned()).unwrap_err()
}

#[test]
fn a_component_says_which_worlds_it_targets() {
    let engine = Engine::on_demand(&EngineSettings::default()).unwrap();
    for (text, worlds) in [
        (fixture(STREAM, 4), vec![World::Stream]),
        (fixture(DATAGRAM, 4), vec![World::Datagram]),
        ("(component)".to_owned(), vec![]),
    ] {
        let component =
            Component::new(&engine, "fixture", text.into(), &Loader::in_process(Cache::disabled()))
                .unwrap();
        assert_eq!(component.description().worlds, worlds);
    }
}

#[test]
fn a_handler_is_for_the_endpoints_of_its_world() {
    let engine = Engine::on_demand(&EngineSettings::default()).unwrap();
    let (streams, datagrams) =
        (["tcp://127.0.0.1:0", "unix://s"], ["udp://[::1]:0", "unixgram://@s"]);
    for (text, takes, refuses) in
        [(fixture(STREAM, 4), streams, datagrams), (fixture(DATAGRAM, 4), datagrams, streams)]
    {
        let handler = load(&engine, &text).unwrap();
        for endpoint in takes {
            handler.check_endpoint(&endpoint.parse().unwrap()).unwrap();
        }
        for endpoint in refuses {
            let why = handler.check_endpoint(&endpoint.parse().unwrap()).unwrap_err();
            assert!(World::ALL.iter().all(|world| why.contains(world.name())), "{why}");
        }
    }
}

#[test]
fn what_has_the_names_of_a_world_without_its_types_is_refused() {
    // `(list u8)` of `setup` becomes a list of something else.
    let text = fixture(DATAGRAM, 4);
    let (contract, handler) = text.split_once("(core module $libc").unwrap();
    let other = handler.replace("(tuple (list u8) (own", "(tuple (list s8) (own");
    let error = refused(&format!("{contract}(core module $libc{other}"));
    assert!(matches!(error, LoadError::Incompatible(_)), "{error}");
    let text = text.replace(
        "(export \"handle\" (func $handle) (func",
        "(export \"hand\" (func $handle) (func",
    );
    let error = refused(&text);
    assert!(matches!(error, LoadError::MissingExport { function: "handle", .. }), "{error}");
    assert!(error.to_string().contains("datagram-request@0.1.0"), "{error}");
}

#[test]
fn a_file_that_is_no_handler_is_told_of_both_worlds() {
    let names: Vec<_> = (0..20).map(|i| format!("(export \"e{i}\" (instance $i))")).collect();
    let error = refused(&format!("(component (instance $i) {})", names.join(" ")));
    let said = error.to_string();
    assert!(matches!(error, LoadError::WrongWorld { .. }), "{said}");
    assert!(World::ALL.iter().all(|world| said.contains(world.name())), "{said}");
    assert!(said.contains("it exports `e0`, `e1`") && said.contains("`e7` and 12 more"), "{said}");
    let said = refused("(module)").to_string();
    assert!(World::ALL.iter().all(|world| said.contains(world.name())), "{said}");
}

#[test]
fn the_server_is_not_there_before_a_request() {
    let fields = "(func $start (call $host_max_packet_size (i32.const 0))) (start $start)";
    let text = fixture(&DATAGRAM.replace("{{fields}}", fields), 4);
    let error = refused(&text);
    assert!(matches!(error, LoadError::Instantiate(_)), "{error}");
    assert!(error.to_string().contains("before the first request"), "{error}");
}

#[test]
fn a_request_of_the_wrong_kind_is_refused_where_nobody_has_asked_before() {
    /// Hides `check_endpoint`, as a handler that passes requests on may.
    struct Unchecked(ComponentHandler);

    impl RequestHandler for Unchecked {
        fn finish_request(
            &self,
            request: &socketserver::Request,
            client_address: &socketserver::Address,
            server: &std::sync::Arc<socketserver::ServerInfo>,
        ) -> Result<(), socketserver::HandlerError> {
            let error = self.0.finish_request(request, client_address, server).unwrap_err();
            assert_eq!(error.reason(), Reason::WrongWorld);
            assert!(error.to_string().contains(World::Stream.name()), "{error}");
            request.sendall(b"refused")?;
            Ok(())
        }
    }

    let engine = Engine::on_demand(&EngineSettings::default()).unwrap();
    let handler = load(&engine, &fixture(DATAGRAM, 4)).unwrap();
    let bind = "tcp://127.0.0.1:0".parse().unwrap();
    let server = Server::builder(Unchecked(handler)).bind(bind).build().unwrap();
    let mut client = TcpStream::connect(server.server_address().to_socket_addr().unwrap()).unwrap();
    client.write_all(b"x").unwrap();
    server.handle_request().unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "refused");
}

#[test]
fn how_many_there_can_be_depends_on_what_each_runs_in() {
    let (pooled, on_demand) = (
        Engine::new(3, &EngineSettings::default()).unwrap(),
        Engine::on_demand(&EngineSettings::default()).unwrap(),
    );
    let text = fixture(STREAM, 4);
    let few = load(&pooled, &text).unwrap();
    let many = load(&on_demand, &text).unwrap();
    assert_eq!(few.capacity(Needs::THREAD).requests, 3);
    assert!(few.capacity(Needs::THREAD).limit.contains("the pool has 3 memories"));
    // Each process has the pool to itself, and its mappings too.
    assert!(few.capacity(Needs::PROCESS).requests > 3);
    assert_eq!(few.capacity(Needs::PROCESS), many.capacity(Needs::PROCESS));
    assert!(many.capacity(Needs::THREAD).requests > 3);
    let in_process = many.capacity(Needs::PROCESS);
    assert!(!in_process.limit.contains("vm.max_map_count"), "{in_process}");
    // What an instance maps is added to what its thread maps.
    let bare = socketserver::Capacity::of_this_machine(Needs { mappings: 500, ..Needs::THREAD });
    let with_instance = many.capacity(Needs { mappings: 500, ..Needs::THREAD });
    assert!(with_instance.requests < bare.requests, "{with_instance} < {bare}");
}
