//! Names of interfaces: the host recognises and grants the versions that the `semver` crate
//! calls compatible.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::{Corpus, fuzz_target};
use semver::{BuildMetadata, Version, VersionReq};
use socketserver_fuzz::check_message;
use socketserver_sandbox::{Cache, Component, Engine, EngineSettings, Loader, World};

static ENGINE: LazyLock<Engine> =
    LazyLock::new(|| Engine::new(1, &EngineSettings::default()).expect("an engine"));
static LOADER: LazyLock<Loader> = LazyLock::new(|| Loader::in_process(Cache::disabled()));

fuzz_target!(|name: &str| -> Corpus {
    // The length of a longer name would not fit in one byte.
    let Ok(length @ ..=120) = u8::try_from(name.len()) else { return Corpus::Reject };
    match Component::new(&ENGINE, "fuzz", component(name, length), &LOADER) {
        Ok(component) => {
            let description = component.description();
            let is = |interface| compatible(name, interface);
            let worlds = &description.worlds;
            assert_eq!(worlds.contains(&World::Stream), is("stream-request"), "{name}");
            assert_eq!(worlds.contains(&World::Datagram), is("datagram-request"), "{name}");
            let provided = description.not_provided.is_empty();
            let contract = ["types", "sockets", "server", "log"].into_iter().any(is);
            assert_eq!(provided, contract || name.starts_with("wasi:") && provided, "{name}");
        }
        Err(error) => check_message(error),
    }
    Corpus::Keep
});

/// Returns a component that imports an instance by this name and exports it by the same name.
fn component(name: &str, length: u8) -> Vec<u8> {
    const INSTANCE: u8 = 5;
    let mut binary = b"\0asm\x0d\0\x01\0".to_vec();
    let named = [&[0, length], name.as_bytes()].concat();
    let section = |kind: u8, body: &[u8]| {
        let length = u8::try_from(body.len()).expect("names are short");
        [&[kind, length], body].concat()
    };
    // The type of an empty instance, the import, and its export.
    binary.extend(section(7, &[1, 0x42, 0]));
    binary.extend(section(10, &[&[1], named.as_slice(), &[INSTANCE, 0]].concat()));
    binary.extend(section(11, &[&[1], named.as_slice(), &[INSTANCE, 0, 0]].concat()));
    binary
}

/// Returns whether the name is the contract's `interface` in a version compatible with 0.1.0.
fn compatible(name: &str, interface: &str) -> bool {
    let prefix = format!("socketserver:handler/{interface}@");
    let version = name.strip_prefix(&prefix).and_then(|version| Version::parse(version).ok());
    version.is_some_and(|version| {
        version.build == BuildMetadata::EMPTY
            && VersionReq::parse("^0.1.0").expect("a requirement").matches(&version)
    })
}
