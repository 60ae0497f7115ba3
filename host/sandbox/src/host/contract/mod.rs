//! The host's side of the contract, one file per WIT interface.

mod address;
mod errno;
mod log;
mod server;
mod sockets;

use std::sync::Arc;

use wasmtime::component::Linker;

use crate::host::grants::Grants;
use crate::host::state::State;
use crate::host::wasi;

/// Defines one interface.
type Add = fn(&mut Linker<State>) -> wasmtime::Result<()>;

/// The interfaces of the contract, each with what defines it. `types` holds no
/// function.
const CONTRACT: [(&str, Add); 4] = [
    (TYPES, |linker| linker.instance(TYPES).map(drop)),
    (sockets::NAME, sockets::add_to_linker),
    (server::NAME, server::add_to_linker),
    (log::NAME, log::add_to_linker),
];

const TYPES: &str = "socketserver:handler/types@0.1.0";

/// Whether the host gives the import `name` to a handler.
pub(crate) fn granted(name: &str) -> bool {
    let contract = CONTRACT.iter().map(|(granted, _)| *granted);
    let mut granted = contract.chain(wasi::INTERFACES.iter().map(|(granted, _)| *granted));
    granted.any(|granted| same_contract(granted, name))
}

/// Whether two interface names, version and all, stand for the same contract.
///
/// As for Cargo: versions are compatible if their first number that is not zero
/// is the same, and a pre-release is compatible with nothing. The linker sees
/// it the same way.
pub(crate) fn same_contract(ours: &str, theirs: &str) -> bool {
    contract(ours).is_some_and(|ours| contract(theirs) == Some(ours))
}

/// The interface, and the numbers of the version that count.
fn contract(name: &str) -> Option<(&str, [u64; 3])> {
    let (interface, version) = name.split_once('@')?;
    let mut numbers = version.split('.').map(|number| {
        // `u64::from_str` takes a sign; a version has none.
        let digits = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
        digits.then(|| number.parse::<u64>().ok()).flatten()
    });
    let [major, minor, patch] = [numbers.next()??, numbers.next()??, numbers.next()??];
    if numbers.next().is_some() {
        return None;
    }
    let counts = match (major, minor) {
        (0, 0) => [0, 0, patch],
        (0, _) => [0, minor, 0],
        _ => [major, 0, 0],
    };
    Some((interface, counts))
}

/// Defines those of them that a component imports.
pub(crate) fn add_to_linker(
    linker: &mut Linker<State>,
    imports: &[String],
    grants: &Arc<Grants>,
) -> wasmtime::Result<()> {
    let imported = |ours: &str| imports.iter().any(|theirs| same_contract(ours, theirs));
    for (_, add) in CONTRACT.iter().filter(|(name, _)| imported(name)) {
        add(linker)?;
    }
    for (_, add) in wasi::INTERFACES.iter().filter(|(name, _)| imported(name)) {
        add(linker, grants)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_next_to_the_contract_is_not_the_contract() {
        assert!(granted("socketserver:handler/sockets@0.1.0"));
        assert!(granted("socketserver:handler/sockets@0.1.7"));
        for patch in 0..=12 {
            assert!(granted(&format!("wasi:cli/exit@0.2.{patch}")), "{patch}");
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
            "wasi:sockets/tcp@0.2.0",
            "wasi:http/types@0.2.0",
            "",
        ] {
            assert!(!granted(name), "{name}");
        }
    }

    #[test]
    fn the_first_number_that_is_not_zero_counts() {
        for (ours, theirs, same) in [
            ("1.2.3", "1.0.9", true),
            ("1.2.3", "2.2.3", false),
            ("0.2.0", "0.2.9", true),
            ("0.2.0", "0.20.0", false),
            ("0.0.1", "0.0.1", true),
            ("0.0.1", "0.0.2", false),
        ] {
            assert_eq!(same_contract(&format!("a:b/c@{ours}"), &format!("a:b/c@{theirs}")), same);
        }
        assert!(!same_contract("a:b/c", "a:b/c"));
    }
}
