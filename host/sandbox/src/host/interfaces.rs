//! All interfaces that a handler may import: those of the contract, and those of WASI.

use std::sync::Arc;

use wasmtime::Result;
use wasmtime::component::Linker;

use crate::host::grants::Grants;
use crate::host::state::State;
use crate::host::version::is_compatible;
use crate::host::waits::Waits;
use crate::host::{contract, wasi};

/// Returns `true` if the host provides the import `name`.
pub(crate) fn is_provided(name: &str) -> bool {
    let contract = contract::INTERFACES.iter().map(|(interface, _)| *interface);
    let wasi = wasi::INTERFACES.iter().map(|(interface, _)| *interface);
    contract.chain(wasi).any(|interface| is_compatible(interface, name))
}

/// Defines those interfaces that a component imports, and no others.
///
/// # Errors
///
/// The linker refuses a definition.
pub(crate) fn add_to_linker(
    linker: &mut Linker<State>,
    imports: &[String],
    grants: &Arc<Grants>,
    waits: Waits,
) -> Result<()> {
    let is_imported = |ours: &str| imports.iter().any(|theirs| is_compatible(ours, theirs));
    for (_, add) in contract::INTERFACES.iter().filter(|(name, _)| is_imported(name)) {
        add(linker, waits)?;
    }
    for (_, add) in wasi::INTERFACES.iter().filter(|(name, _)| is_imported(name)) {
        add(linker, grants, waits)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_names_of_the_interfaces_are_provided() {
        assert!(is_provided("socketserver:handler/sockets@0.1.0"));
        assert!(is_provided("socketserver:handler/sockets@0.1.7"));
        for patch in 0..=12 {
            assert!(is_provided(&format!("wasi:cli/exit@0.2.{patch}")), "{patch}");
        }
        for name in [
            "socketserver:handler/sockets",
            "socketserver:handler/sockets@",
            "socketserver:handler/sockets@0.1",
            "socketserver:handler/sockets@0.1.",
            "socketserver:handler/sockets@0.1.0.0",
            "socketserver:handler/sockets@0.1.+1",
            "socketserver:handler/sockets@0.2.0",
            "socketserver:handler/sockets@1.1.0",
            "socketserver:handler/sockets@0.1.0-rc",
            "socketserver:handler/socket@0.1.0",
            "wasi:sockets/tcp@0.1.0",
            "wasi:cli/exit@0.3.0",
            "wasi:cli/exit@0.2.0-rc-2023-11-10",
            "wasi:cli/exit@2.0.0",
            "wasi:cli/run@0.2.0",
            "wasi:sockets/tcp-client@0.2.0",
            "wasi:http/types@0.2.0",
            "",
        ] {
            assert!(!is_provided(name), "{name}");
        }
    }
}
