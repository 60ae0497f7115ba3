//! The check of a component: any bytes become a handler, or an error.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use socketserver_fuzz::{check_message, is_printable};
use socketserver_sandbox::{
    Cache, Component, ComponentHandler, Engine, EngineSettings, Loader, Policy,
};

/// Little CPU time, because a component can be slow to start. The limits are not the subject.
static POLICY: LazyLock<Policy> =
    LazyLock::new(|| Policy { cpu_time: Duration::from_millis(100), ..Policy::default() });
static ENGINE: LazyLock<Engine> =
    LazyLock::new(|| Engine::new(4, &EngineSettings::default()).expect("an engine"));
static LOADER: LazyLock<Loader> = LazyLock::new(|| Loader::in_process(Cache::disabled()));

fuzz_target!(|bytes: &[u8]| {
    let component = match Component::new(&ENGINE, "fuzz", bytes.to_vec(), &LOADER) {
        Ok(component) => component,
        Err(error) => return check_message(error),
    };
    let description = component.description();
    for name in description.exports.iter().chain(&description.imports) {
        assert!(name.chars().all(is_printable), "not printable: {name:?}");
    }
    assert!(description.not_provided.iter().all(|name| description.imports.contains(name)));
    match ComponentHandler::new(&ENGINE, &component, POLICY.clone()) {
        Ok(_) => {
            assert!(!description.worlds.is_empty() && description.not_provided.is_empty());
            assert!(description.initial_memory <= POLICY.memory as u64);
        }
        Err(error) => check_message(error),
    }
});

// The mutator sometimes converts text to binary, so that the seeds can be text and a finding in
// one form is tried in the other.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let binary = if seed.is_multiple_of(16) { wat::parse_bytes(&data[..size]).ok() } else { None };
    match binary {
        Some(binary) if binary.len() <= max_size && *binary != data[..size] => {
            let binary = binary.into_owned();
            data[..binary.len()].copy_from_slice(&binary);
            binary.len()
        }
        _ => fuzzer_mutate(data, size, max_size),
    }
});
