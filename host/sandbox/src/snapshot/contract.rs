//! The contract during a build: there is no request, so each function ends the program.

use anyhow::Result;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, ResourceType};
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi_io::poll::DynPollable;

use super::State;

/// The name of every interface of the contract begins so.
const CONTRACT: &str = "socketserver:handler/";

/// The resources of the contract.
struct None;

/// Adds the interfaces of the contract that a component imports.
///
/// # Errors
///
/// The component imports something that no interface has.
pub(super) fn add_to_linker(linker: &mut Linker<State>, component: &Component) -> Result<()> {
    let engine = linker.engine().clone();
    let component = component.component_type();
    let imports = component.imports(&engine).filter(|(name, _)| name.starts_with(CONTRACT));
    for (interface, import) in imports {
        let ComponentItem::ComponentInstance(instance) = import.ty else { continue };
        let mut linker = linker.instance(interface)?;
        for (name, export) in instance.exports(&engine) {
            match export.ty {
                ComponentItem::ComponentFunc(_) => {
                    let full_name = format!("{interface}.{name}");
                    linker.func_new(name, move |_, _, _, _| {
                        wasmtime::bail!("{full_name} was called, and a build has no request")
                    })?;
                }
                ComponentItem::Resource(_) => {
                    // These are WASI's, and the others the contract's.
                    let kind = match name {
                        "descriptor" => ResourceType::host::<Descriptor>(),
                        "pollable" => ResourceType::host::<DynPollable>(),
                        _ => ResourceType::host::<None>(),
                    };
                    linker.resource(name, kind, |_, _| Ok(()))?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}
