//! The host's side of the contract, one file per WIT interface.

mod log;
mod server;
mod sockets;

use wasmtime::component::Linker;

use crate::state::State;

/// The interfaces that every handler is given. `types` holds no function.
const GRANTED: [&str; 4] = [TYPES, sockets::NAME, server::NAME, log::NAME];

const TYPES: &str = "socketserver:handler/types@0.1.0";

/// Whether the host gives the import `name` to a handler.
///
/// Versions that differ in their last number are the same contract.
pub(crate) fn granted(name: &str) -> bool {
    GRANTED.iter().any(|granted| same_contract(granted, name))
}

/// Whether two interface names, version and all, stand for the same contract:
/// before 1.0, the second number of the version is the one that counts.
pub(crate) fn same_contract(ours: &str, theirs: &str) -> bool {
    fn split(name: &str) -> Option<(&str, &str)> {
        let (interface, version) = name.split_once('@')?;
        let (series, patch) = version.rsplit_once('.')?;
        patch.bytes().all(|digit| digit.is_ascii_digit()).then_some((interface, series))
    }
    split(ours).is_some() && split(ours) == split(theirs)
}

/// Defines all of them.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.instance(TYPES)?;
    sockets::add_to_linker(linker)?;
    server::add_to_linker(linker)?;
    log::add_to_linker(linker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_next_to_the_contract_is_not_the_contract() {
        assert!(granted("socketserver:handler/sockets@0.1.0"));
        assert!(granted("socketserver:handler/sockets@0.1.7"));
        for name in [
            "socketserver:handler/sockets",
            "socketserver:handler/sockets@0.2.0",
            "socketserver:handler/sockets@0.1.0-rc",
            "socketserver:handler/socket@0.1.0",
            "wasi:sockets/tcp@0.1.0",
            "",
        ] {
            assert!(!granted(name), "{name}");
        }
    }
}
