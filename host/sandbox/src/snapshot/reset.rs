//! The exports of an instrumented component that make its C library forget the files that it has
//! opened: the descriptors of a build are not those of a request.
//!
//! The functions are exports of core modules, which componentize-py calls at the end of a build
//! of its own. Here the component gets exports that call them. They are in the component
//! that runs, and not in the result.

use anyhow::{Context, Result, ensure};
use wasm_encoder::{
    Alias, CanonicalFunctionSection, Component, ComponentAliasSection, ComponentExportKind,
    ComponentExportSection, ComponentTypeSection, ComponentValType, ExportKind,
};
use wasmparser::{Instance, Parser, Payload, Validator, WasmFeatures};

/// The exports of core modules, in the order of their calls: the adapter of WASI's first preview
/// forgets its descriptors, and wasi-libc the directories that it was given.
const FUNCTIONS: [&str; 2] = ["reset_adapter_state", "__wasilibc_reset_preopens"];
/// The exports of the component that call them.
pub(super) const EXPORTS: [&str; 2] = ["snapshot-reset-adapter", "snapshot-reset-preopens"];

/// Adds the exports to a component.
///
/// # Errors
///
/// The component is damaged, or exports these functions from none of its core modules.
pub(super) fn add_to(mut component: Vec<u8>) -> Result<Vec<u8>> {
    let mut validator = Validator::new_with_features(WasmFeatures::all());
    let types = validator.validate_all(&component)?;
    let types = types.as_ref();
    let instances = find(&component)?;
    let mut aliases = ComponentAliasSection::new();
    let mut function_types = ComponentTypeSection::new();
    let mut lifts = CanonicalFunctionSection::new();
    let mut exports = ComponentExportSection::new();
    function_types.function().params([] as [(&str, ComponentValType); 0]).result(None);
    let (function_type, core_functions, functions) =
        (types.component_type_count(), types.function_count(), types.component_function_count());
    for (number, (name, export)) in (0..).zip(FUNCTIONS.into_iter().zip(EXPORTS)) {
        let instance =
            instances[number as usize].with_context(|| format!("no module has `{name}`"))?;
        aliases.alias(Alias::CoreInstanceExport { instance, kind: ExportKind::Func, name });
        lifts.lift(core_functions + number, function_type, []);
        exports.export(export, ComponentExportKind::Func, functions + number, None);
    }
    let mut sections = Component::new();
    sections.section(&aliases).section(&function_types).section(&lifts).section(&exports);
    let sections = sections.finish();
    ensure!(sections.starts_with(&Component::HEADER), "the sections have no header");
    component.extend_from_slice(&sections[Component::HEADER.len()..]);
    Ok(component)
}

/// Returns the core instance that exports each function.
fn find(component: &[u8]) -> Result<[Option<u32>; 2]> {
    // The functions that each core module exports.
    let mut modules: Vec<[bool; 2]> = Vec::new();
    let mut found = [None; 2];
    let (mut instances, mut depth) = (0, 0);
    for payload in Parser::new(0).parse_all(component) {
        match payload.context("it is not a component")? {
            Payload::ModuleSection { .. } => {
                depth += 1;
                if depth == 1 {
                    modules.push([false; 2]);
                }
            }
            Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= i32::from(depth > 0),
            Payload::ExportSection(exports) if depth == 1 => {
                for export in exports {
                    let export = export?;
                    let place = FUNCTIONS.iter().position(|name| *name == export.name);
                    if let (Some(place), Some(module)) = (place, modules.last_mut()) {
                        module[place] = true;
                    }
                }
            }
            Payload::InstanceSection(section) if depth == 0 => {
                for instance in section {
                    if let Instance::Instantiate { module_index, .. } = instance? {
                        let module =
                            modules.get(module_index as usize).context("it has no such module")?;
                        for (found, has) in found.iter_mut().zip(module) {
                            *found = found.or(has.then_some(instances));
                        }
                    }
                    instances += 1;
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A component with two core modules, whose exports have these names.
    fn component(first: &str, second: &str) -> Vec<u8> {
        let text = format!(
            r#"(component
                (core module $unused (func (export "reset_adapter_state")))
                (core module $first (func (export "{first}")))
                (core module $second (func (export "other")) (func (export "{second}")))
                (core instance (instantiate $second))
                (core instance (instantiate $first))
                (alias core export 0 "other" (core func $other))
                (func $f (canon lift (core func $other)))
                (export "f" (func $f)))"#
        );
        wat::parse_str(text).unwrap()
    }

    #[test]
    fn the_functions_are_exported_and_all_else_is_as_before() {
        let [first, second] = FUNCTIONS;
        for before in [component(first, second), component(second, first)] {
            let after = add_to(before.clone()).unwrap();
            assert_eq!(after[..before.len()], before);
            let engine = wasmtime::Engine::default();
            let component = wasmtime::component::Component::new(&engine, &after).unwrap();
            let linker = wasmtime::component::Linker::new(&engine);
            let mut store = wasmtime::Store::new(&engine, ());
            let instance = linker.instantiate(&mut store, &component).unwrap();
            for name in EXPORTS.into_iter().chain(["f"]) {
                let function = instance.get_typed_func::<(), ()>(&mut store, name).unwrap();
                function.call(&mut store, ()).unwrap();
            }
        }
    }

    #[test]
    fn a_component_without_the_functions_is_an_error_that_names_one() {
        let error = |component| add_to(component).unwrap_err().to_string();
        assert!(
            error(component("a", FUNCTIONS[1])).contains("no module has `reset_adapter_state`")
        );
        assert!(error(component(FUNCTIONS[0], "b")).contains("`__wasilibc_reset_preopens`"));
        assert!(add_to(b"no component".to_vec()).is_err());
        let mut damaged = component(FUNCTIONS[0], FUNCTIONS[1]);
        damaged.truncate(damaged.len() - 3);
        assert!(add_to(damaged).is_err());
    }
}
