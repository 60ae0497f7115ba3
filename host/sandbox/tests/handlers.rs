//! Components that can be handlers: their worlds, their checks, and their capacity.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpStream;

use socketserver::{Needs, Reason, RequestHandler, Server};
use socketserver_sandbox::{
    Cache, Component, ComponentHandler, Engine, EngineSettings, FiberPool, InitialData, LoadError,
    Loader, Policy, World,
};

const STREAM: &str = include_str!("../../../tests/fixtures/handler.wat");
const DATAGRAM: &str = include_str!("../../../tests/fixtures/datagram.wat");

/// A program: a core module, of which a component is made.
const PROGRAM: &str = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;

/// Returns a fixture whose memory has `pages` pages, and whose other placeholders are empty.
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
    .fold(text, |text, placeholder| text.replace(placeholder, ""))
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
fn the_description_of_a_component_lists_its_worlds() {
    let engine = Engine::on_demand(&EngineSettings::default()).unwrap();
    for (text, worlds) in [
        (fixture(STREAM, 4), vec![World::Stream]),
        (fixture(DATAGRAM, 4), vec![World::Datagram]),
        ("(component)".to_owned(), vec![]),
        (PROGRAM.to_owned(), vec![World::Command]),
    ] {
        let component =
            Component::new(&engine, "fixture", text.into(), &Loader::in_process(Cache::disabled()))
                .unwrap();
        assert_eq!(component.description().worlds, worlds);
    }
}

#[test]
fn a_handler_accepts_the_endpoints_of_its_world_only() {
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
            let named = [World::Stream, World::Datagram].map(|world| why.contains(world.name()));
            assert_eq!(named, [true, true], "{why}");
        }
    }
}

#[test]
fn a_component_with_the_names_of_a_world_but_other_types_is_refused() {
    // `setup` takes a list of another type.
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
fn the_error_for_a_file_that_is_no_handler_names_all_worlds() {
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
fn a_start_function_that_asks_for_the_server_is_refused() {
    let fields = "(func $start (call $host_max_packet_size (i32.const 0))) (start $start)";
    let text = fixture(&DATAGRAM.replace("{{fields}}", fields), 4);
    let error = refused(&text);
    assert!(matches!(error, LoadError::Instantiate(_)), "{error}");
    assert!(error.to_string().contains("before the first request"), "{error}");
}

#[test]
fn a_request_of_another_world_is_refused_without_check_endpoint() {
    /// A handler without `check_endpoint`, such as one that forwards requests.
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
    let mut response = String::new();
    client.read_to_string(&mut response).unwrap();
    assert_eq!(response, "refused");
}

/// Returns a fixture whose memory has `pages` pages, and `data` bytes of data.
fn with_data(pages: u32, data: usize) -> String {
    let text = fixture(STREAM, pages);
    let (begin, end) = text.split_once("(memory").unwrap();
    let segment = format!("(data (i32.const 0) \"{}\")", "x".repeat(data));
    format!("{begin}{segment}(memory{end}")
}

fn pool_for_fibers(text: &str) -> FiberPool {
    let loader = Loader::in_process(Cache::disabled());
    Component::pool_for_fibers(&EngineSettings::default(), text.as_bytes(), &loader).unwrap()
}

#[test]
fn the_data_of_a_small_component_is_copied_for_fibers_and_that_of_others_is_mapped() {
    assert_eq!(pool_for_fibers(&with_data(4, 120 << 10)).initial_data, InitialData::Copied);
    assert_eq!(pool_for_fibers(&with_data(4, 130 << 10)).initial_data, InitialData::Mapped);
    // It is not compiled to find out.
    assert_eq!(pool_for_fibers(&with_data(32, 1 << 20)), FiberPool::default());
}

#[test]
fn code_that_copies_data_counts_as_a_start() {
    let text = with_data(4, 120 << 10);
    let pool = pool_for_fibers(&text);
    let engine = Engine::for_fibers(1, &EngineSettings::default(), pool).unwrap();
    assert_eq!(engine.fallback(), None);
    let component =
        Component::new(&engine, "fixture", text.into(), &Loader::in_process(Cache::disabled()));
    let handler =
        ComponentHandler::without_start(&engine, &component.unwrap(), Policy::default()).unwrap();
    // That is the engine's code, but it checks epochs as code of the component does.
    assert!(handler.has_start());
    handler.preflight().unwrap();
}

#[test]
fn the_capacity_depends_on_the_pool_for_threads_and_not_for_processes() {
    let (pooled, on_demand) = (
        Engine::new(3, &EngineSettings::default()).unwrap(),
        Engine::on_demand(&EngineSettings::default()).unwrap(),
    );
    let text = fixture(STREAM, 4);
    let few = load(&pooled, &text).unwrap();
    let many = load(&on_demand, &text).unwrap();
    assert_eq!(few.capacity(Needs::THREAD).requests, 3);
    assert!(few.capacity(Needs::THREAD).limit.contains("the pool has 3 memories"));
    // Each process has a pool and mappings of its own.
    assert!(few.capacity(Needs::PROCESS).requests > 3);
    // Other tests of this process open descriptors meanwhile.
    assert_eq!(few.capacity(Needs::PROCESS).limit, many.capacity(Needs::PROCESS).limit);
    assert!(many.capacity(Needs::THREAD).requests > 3);
    let in_process = many.capacity(Needs::PROCESS);
    assert!(!in_process.limit.contains("vm.max_map_count"), "{in_process}");
    // The mappings of an instance add to those of its thread.
    let needs = Needs { mappings: 500, ..Needs::THREAD };
    let bare = || socketserver::Capacity::of_this_machine(needs);
    // Other tests of this process map pools meanwhile.
    let (bare, with_instance) = loop {
        let (before, with_instance, after) = (bare(), many.capacity(needs), bare());
        if before.requests == after.requests {
            break (before, with_instance);
        }
    };
    assert!(with_instance.requests < bare.requests, "{with_instance} < {bare}");
}
