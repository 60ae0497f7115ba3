//! Checks components.

use crate::guest::Guest;
use crate::language::Language;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use socketserver_guest_compilers::component::contract;
use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER as ADAPTER;
use wit_component::DecodedWasm;
use wit_parser::{CloneMaps, Span};

/// The package of the exports and imports of a guest.
const PACKAGE: &str = "socketserver:handler/";

/// The one import of another package that every guest may have. A handler calls it to end
/// the request, as `SystemExit` does in Python.
const EXIT: &str = "wasi:cli/exit@0.2.0";

/// The interfaces that the adapter for WASI's first preview imports for libraries and
/// runtimes. C needs some of them if a guest prints, C++ the first eight because its
/// library can end with a message, and Go, Python and JavaScript all of them. Sockets are not
/// among them: a guest has only the sockets of the contract.
const WASI: [&str; 18] = [
    "wasi:io/error",
    "wasi:io/streams",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/types",
    "wasi:filesystem/preopens",
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
    "wasi:clocks/monotonic-clock",
    "wasi:io/poll",
    "wasi:random/random",
];

/// The interface that libraries take the keys of their hashes from, those of Rust and `QuickJS`
/// among them.
const SEED: &str = "wasi:random/insecure-seed";

/// The prefix of interfaces that Python's library imports for its module `socket`. The host
/// denies every call.
const SOCKETS: &str = "wasi:sockets/";

/// A world that imports [`EXIT`].
const EXIT_WORLD: &str = "
    package socketserver:guests;

    world program {
        import wasi:cli/exit@0.2.0;
    }

    package wasi:cli@0.2.0 {
        interface exit {
            exit: func(status: result);
        }
    }
";

/// Checks that `bytes` is a component that targets a world of the contract and imports
/// nothing but that, [`EXIT`] and, in a language whose runtime needs them, [`WASI`].
///
/// A guest in Rust that is built for WASI, and the tools of some languages, import WASI in a
/// version of their own. For such a guest only the names of the imports and exports are checked.
///
/// # Errors
///
/// Returns an error that names the import, or the reason why no world fits.
pub fn check(workspace: &Workspace, guest: &Guest, bytes: &[u8]) -> Result<()> {
    let label = guest.label();
    let decoded = wit_component::decode(bytes)
        .with_context(|| format!("the output for {label} is not a component"))?;
    let DecodedWasm::Component(types, world) = decoded else {
        bail!("the output for {label} is a WIT package, not a component");
    };
    let mut wasi = if guest.may_use_wasi() { WASI.to_vec() } else { Vec::new() };
    let has_own_wasi = guest.is_for_wasi || guest.language.has_own_wasi();
    wasi.extend(has_own_wasi.then_some(SEED));
    for key in types.worlds[world].imports.keys() {
        let import = types.name_world_key(key);
        let is_wasi = import.split_once('@').is_some_and(|(name, _)| wasi.contains(&name))
            || (guest.language == Language::Python && import.starts_with(SOCKETS));
        if !import.starts_with(PACKAGE) && import != EXIT && !is_wasi {
            let allowed = [&["socketserver:handler/*", EXIT], &wasi[..]].concat().join(", ");
            bail!("{label} imports `{import}`, but may import only {allowed}");
        }
    }
    if has_own_wasi {
        let mut exports = types.worlds[world].exports.keys().map(|key| types.name_world_key(key));
        if exports.any(|export| export.starts_with(PACKAGE)) {
            return Ok(());
        }
        bail!("{label} exports nothing of {PACKAGE}*");
    }

    let (mut resolve, package) = contract(&workspace.wit())?;
    let program = resolve.push_str("exit.wit", EXIT_WORLD)?;
    let program = resolve.select_world(&[program], None)?;
    // The adapter contains the types of the interfaces that it imports.
    let (_, adapter) = wit_component::metadata::decode(ADAPTER)?;
    let preview1 = resolve.merge(adapter.resolve)?.map_world(adapter.world, Span::default())?;
    resolve.merge_worlds(preview1, program, &mut CloneMaps::default())?;
    let mut reasons = Vec::new();
    for (name, world) in resolve.packages[package].worlds.clone() {
        resolve.merge_worlds(program, world, &mut CloneMaps::default())?;
        match wit_component::targets(&resolve, world, bytes) {
            Ok(()) => return Ok(()),
            Err(error) => reasons.push(format!("not `{name}`: {error:#}")),
        }
    }
    bail!("{label} targets none of the worlds in wit/worlds.wit; {}", reasons.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// Calls [`check()`] for `guests/upper/upper.wat` with one more import, as a guest in
    /// a language.
    fn check_with(import: &str, language: Language) -> Result<(), String> {
        let sample = include_str!("../../../guests/upper/upper.wat");
        let text = sample.replacen("(component $upper", &format!("(component $upper {import}"), 1);
        assert_eq!(text.len() - sample.len(), import.len() + 1);
        let guest = Guest {
            language,
            name: "upper".to_owned(),
            source: PathBuf::new(),
            owns_folder: true,
            package: None,
            is_for_wasi: false,
            is_program: false,
        };
        let bytes = wat::parse_str(text).unwrap();
        check(&Workspace::find().unwrap(), &guest, &bytes).map_err(|error| error.to_string())
    }

    #[test]
    fn every_language_may_import_the_contract_and_exit() {
        for language in Language::ALL {
            check_with("", language).unwrap();
            check_with(r#"(import "wasi:cli/exit@0.2.0" (instance))"#, language).unwrap();
        }
    }

    #[test]
    fn the_samples_in_rust_import_nothing_of_wasi_and_the_others_may() {
        for name in WASI {
            let import = format!(r#"(import "{name}@0.2.12" (instance))"#);
            for language in Language::ALL {
                let checked = check_with(&import, language);
                if language == Language::Rust {
                    let error = checked.unwrap_err();
                    assert!(error.contains(&format!("imports `{name}@0.2.12`")), "{error}");
                } else {
                    checked.unwrap();
                }
            }
        }
    }

    #[test]
    fn no_language_may_import_other_interfaces_of_wasi() {
        for name in ["sockets/network", "sockets/tcp", "random/insecure", "http/types"] {
            let import = format!(r#"(import "wasi:{name}@0.2.12" (instance))"#);
            for language in Language::ALL {
                if language == Language::Python && name.starts_with("sockets/") {
                    check_with(&import, language).unwrap();
                    continue;
                }
                let error = check_with(&import, language).unwrap_err();
                assert!(error.contains(&format!("imports `wasi:{name}@0.2.12`")), "{error}");
            }
        }
    }

    #[test]
    fn an_interface_of_wasi_may_have_only_the_functions_of_the_adapter() {
        let import = r#"(import "wasi:cli/stdin@0.2.12" (instance (export "get-it" (func))))"#;
        let error = check_with(import, Language::Cpp).unwrap_err();
        assert!(error.contains("targets none of the worlds"), "{error}");
    }
}
