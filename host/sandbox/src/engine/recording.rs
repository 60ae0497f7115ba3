//! The functions of a component under all keys by which the compiler asks for them.
//!
//! The compiler works in contexts, each for one function after the other. wasmtime 48 leaves the
//! exception tables of a trampoline in its context. They have no effect on the functions after
//! it, but are a part of their keys. A function that is compiled empties them, and one that is
//! found does not. So a component whose functions are all found asks for other keys than one that
//! is compiled.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use wasmtime::CacheStore;

use crate::engine::Engine;
use crate::engine::functions::Functions;
use crate::engine::settings::EngineSettings;

/// Adds the functions of a component to a set that records.
///
/// # Errors
///
/// The component cannot be compiled.
pub(crate) fn record(
    settings: &EngineSettings,
    functions: &Arc<Functions>,
    component: &[u8],
) -> Result<()> {
    let first = Arc::new(First { functions: functions.clone(), order: Mutex::default() });
    let code = compile(settings, first.clone(), component)?;
    let mut order = std::mem::take(&mut *lock(&first.order));
    order.reverse();
    let again = Arc::new(Again { left: Mutex::new(order), keys: Mutex::default() });
    // The same code shows that each function was given to the key to which it belongs.
    if compile(settings, again.clone(), component)? == code {
        for (key, function) in std::mem::take(&mut *lock(&again.keys)) {
            functions.insert(&key, function);
        }
    }
    Ok(())
}

/// Compiles one function after the other, in the order of the component.
fn compile(
    settings: &EngineSettings,
    store: Arc<dyn CacheStore>,
    component: &[u8],
) -> Result<Vec<u8>> {
    let engine = Engine::for_recording(settings, store)?;
    Ok(engine.wasmtime().precompile_component(component)?)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The store of the first compilation. It notes the order of the functions.
#[derive(Debug)]
struct First {
    functions: Arc<Functions>,
    order: Mutex<Vec<Vec<u8>>>,
}

impl CacheStore for First {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let function = self.functions.get(key)?;
        lock(&self.order).push(function.to_vec());
        Some(function)
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        lock(&self.order).push(value.clone());
        self.functions.insert(key, value)
    }
}

/// The store of the second compilation, in which all functions are found. It notes their keys.
#[derive(Debug)]
struct Again {
    /// The functions, the next one at the end.
    left: Mutex<Vec<Vec<u8>>>,
    keys: Mutex<Vec<(Vec<u8>, Vec<u8>)>>,
}

impl CacheStore for Again {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let function = lock(&self.left).pop()?;
        lock(&self.keys).push((key.to_vec(), function.clone()));
        Some(function.into())
    }

    fn insert(&self, _: &[u8], _: Vec<u8>) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a component with four functions after one whose trampoline has exception tables.
    fn component(data: &str) -> Vec<u8> {
        let function = "(func (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))";
        let functions = function.repeat(4);
        let text = format!(
            r#"(component (core module (memory 1) (data (i32.const 4) "{data}")
                (func (export "f") (param i32) (result i32) (i32.load (local.get 0)))
                {functions}))"#
        );
        wat::parse_str(text).unwrap()
    }

    /// Compiles a component in this thread, and returns its code and the functions that were
    /// missing.
    fn compile_with(functions: Vec<u8>, component: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
        let functions = Arc::new(Functions::new(functions).recording());
        let code = compile(&EngineSettings::default(), functions.clone(), component).unwrap();
        (code, functions.to_bytes())
    }

    fn recorded(component: &[u8]) -> Vec<u8> {
        let functions = Arc::new(Functions::default().recording());
        record(&EngineSettings::default(), &functions, component).unwrap();
        functions.to_bytes().unwrap()
    }

    #[test]
    fn a_component_with_other_data_has_all_functions_of_the_first_and_its_own_data() {
        let other = component("second");
        let (code, missing) = compile_with(recorded(&component("first")), &other);
        assert_eq!(missing, None);
        assert_eq!(code, compile_with(Vec::new(), &other).0);
        assert!(code.windows(6).any(|bytes| bytes == b"second"));
    }

    #[test]
    fn functions_that_were_compiled_once_are_not_all_found() {
        // This shows that `record` is needed with this version of wasmtime.
        let (_, functions) = compile_with(Vec::new(), &component("first"));
        let (_, missing) = compile_with(functions.unwrap(), &component("second"));
        assert!(missing.is_some());
    }

    #[test]
    fn threads_that_compile_with_a_set_generate_the_same_code() {
        let functions = Arc::new(Functions::new(recorded(&component("first"))));
        let settings = EngineSettings::default();
        let other = component("second");
        let engine = Engine::for_compiling(&settings, functions).unwrap();
        let code = engine.wasmtime().precompile_component(&other).unwrap();
        assert_eq!(code, compile_with(Vec::new(), &other).0);
    }
}
