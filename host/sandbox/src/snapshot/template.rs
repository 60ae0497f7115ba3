//! The compiled component of a program, made from that of another one: their code is the same,
//! and their memories are not.
//!
//! The compiler writes the data of a memory into the compiled component as one image, in a section
//! that has no code. A template is a compiled component whose image is the whole memory, so that
//! the image of each program with such a memory fits in its place.

use anyhow::Result;
use wasmtime_environ::obj::ELF_WASM_DATA;

use super::parts::{Image, PAGE, Parts};
use crate::engine::Engine;
use crate::load::cache::{Cache, Key};
use crate::load::footprint::{self, Footprint};
use crate::sys::Artifact;

/// The memory of a template begins with a multiple of this, in pages: 2 MiB.
const STEP: u64 = 32;
/// The most by which the memory of a program becomes larger for a template, in pages: 4 MiB.
const MOST: u64 = 2 * STEP;
/// The beginning of a template in the cache: the three numbers of [`Template`].
const NUMBERS: usize = 3;

/// A compiled component whose memory image can be replaced.
struct Template {
    /// The first byte of the memory that is in the image.
    begin: u64,
    /// The pages that the memory begins with.
    pages: u64,
    /// The place of the image in the compiled component.
    place: u64,
    artifact: Artifact,
}

/// Puts a component that [`take_snapshot`](super::take_snapshot) has returned into the cache,
/// compiled, and returns it. Its memory may begin with up to 4 MiB more.
///
/// # Errors
///
/// The component cannot be compiled, or the cache cannot be used.
pub fn keep_compiled(cache: &Cache, engine: &Engine, component: Vec<u8>) -> Result<Vec<u8>> {
    let Some(parts) = Parts::of(&component) else { return Ok(component) };
    let key = Key::of_template(engine.wasmtime(), &parts.code());
    let kept = cache.content(&key)?.and_then(|bytes| Template::from_bytes(&bytes));
    let template = if let Some(template) = kept.filter(|template| template.is_for(&parts)) {
        template
    } else {
        let Some(template) = Template::new(engine, &parts)? else { return Ok(component) };
        cache.put_content(&key, &template.to_bytes())?;
        template
    };
    let Some(image) = parts.image(template.begin, template.pages) else { return Ok(component) };
    let result = parts.component(template.pages, None);
    let Some(artifact) = template.artifact.with_data(template.place, &image.bytes) else {
        return Ok(component);
    };
    let footprint = Footprint::from_artifact(artifact.bytes())?;
    cache.put(&Key::new(engine.wasmtime(), &result), &artifact, &footprint)?;
    Ok(result)
}

impl Template {
    /// Compiles a template for programs with the code and about the memory of `parts`. Returns
    /// `None` if the compiler has not written one image.
    fn new(engine: &Engine, parts: &Parts<'_>) -> Result<Option<Self>> {
        let (begin, pages) = (parts.begin(), parts.pages.next_multiple_of(STEP));
        let Some(mut image) = parts.image(begin, pages) else { return Ok(None) };
        // The compiler leaves out zeros at both ends.
        if let [first, .., last] = &mut image.bytes[..] {
            (*first, *last) = (1, 1);
        }
        let artifact = Artifact::compile(engine.wasmtime(), &parts.component(pages, Some(&image)))?;
        let place = place_of(&image, artifact.bytes())?;
        Ok(place.map(|place| Template { begin, pages, place, artifact }))
    }

    fn is_for(&self, parts: &Parts<'_>) -> bool {
        (parts.pages..=parts.pages.saturating_add(MOST)).contains(&self.pages)
            && self.begin <= parts.begin()
            && self.pages.saturating_mul(PAGE) > self.begin
    }

    fn to_bytes(&self) -> Vec<u8> {
        let numbers = [self.begin, self.pages, self.place].map(u64::to_le_bytes);
        [numbers.as_flattened(), self.artifact.bytes()].concat()
    }

    /// Reads a template that the cache has kept.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (numbers, artifact) = bytes.split_at_checked(NUMBERS * size_of::<u64>())?;
        let [begin, pages, place] = *numbers.as_chunks().0 else { return None };
        let [begin, pages, place] = [begin, pages, place].map(u64::from_le_bytes);
        let artifact = Artifact::from_private_cache(artifact.to_vec());
        Some(Template { begin, pages, place, artifact })
    }
}

/// Returns the place of the image in a compiled component.
fn place_of(image: &Image, artifact: &[u8]) -> Result<Option<u64>> {
    let Some(data) = footprint::section(artifact, ELF_WASM_DATA)? else { return Ok(None) };
    let is_there = artifact.get(data.clone()).is_some_and(|data| data.starts_with(&image.bytes));
    Ok(is_there.then_some(data.start as u64))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use wasmtime::Store;
    use wasmtime::component::Linker;

    use super::*;
    use crate::engine::settings::EngineSettings;

    const FIRST: &str = r#"(data (i32.const 9000) "first")"#;
    const SECOND: &str = r#"(data (i32.const 9001) "s") (data (i32.const 20000) "second")"#;

    /// Returns a component whose function `byte` returns a byte of its memory, plus `number`.
    fn component(pages: u64, data: &str, number: u32) -> Vec<u8> {
        let text = format!(
            r#"(component
              (core module $memory (memory (export "memory") {pages}) {data})
              (core module $code (import "m" "memory" (memory 1))
                (func (export "byte") (param i32) (result i32)
                  (i32.add (i32.load8_u (local.get 0)) (i32.const {number}))))
              (core instance $m (instantiate $memory))
              (core instance $c (instantiate $code (with "m" (instance $m))))
              (func (export "byte") (param "at" u32) (result u32)
                (canon lift (core func $c "byte"))))"#
        );
        wat::parse_str(text).unwrap()
    }

    struct Tool {
        engine: Engine,
        cache: Cache,
        directory: tempfile::TempDir,
    }

    impl Tool {
        fn new() -> Self {
            let engine = Engine::for_compiling(&EngineSettings::default(), Arc::default());
            let directory = tempfile::tempdir().unwrap();
            let cache = Cache::open(&directory.path().join("cache")).unwrap();
            Tool { engine: engine.unwrap(), cache, directory }
        }

        fn keep(&self, component: Vec<u8>) -> Vec<u8> {
            keep_compiled(&self.cache, &self.engine, component).unwrap()
        }

        fn templates(&self) -> usize {
            let entries = std::fs::read_dir(self.directory.path().join("cache")).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.filter(|name| name.starts_with("template-")).count()
        }

        /// Returns bytes of the memory of the component that the cache has compiled.
        fn bytes<const N: usize>(&self, component: &[u8], places: [u32; N]) -> [u32; N] {
            let engine = self.engine.wasmtime();
            let cached = self.cache.get(&Key::new(engine, component)).unwrap().unwrap();
            let compiled = cached.artifact.load(engine).unwrap();
            assert_eq!(
                Footprint::from_artifact(cached.artifact.bytes()).unwrap(),
                cached.footprint
            );
            let mut store = Store::new(engine, ());
            store.set_epoch_deadline(1);
            let instance = Linker::new(engine).instantiate(&mut store, &compiled).unwrap();
            let byte = instance.get_typed_func::<(u32,), (u32,)>(&mut store, "byte").unwrap();
            places.map(|place| byte.call(&mut store, (place,)).unwrap().0)
        }
    }

    #[test]
    fn a_program_has_its_own_memory_in_the_template_of_another() {
        let tool = Tool::new();
        let first = tool.keep(component(3, FIRST, 0));
        let second = tool.keep(component(2, SECOND, 0));
        assert_eq!(tool.templates(), 1);
        let places = [8192, 9000, 9001, 20000, 20005, 32 * 65536 - 1];
        assert_eq!(tool.bytes(&first, places), [0, u32::from(b'f'), u32::from(b'i'), 0, 0, 0]);
        let seen = [0, 0, b's', b's', b'd', 0].map(u32::from);
        assert_eq!(tool.bytes(&second, places), seen);
    }

    #[test]
    fn the_result_is_the_same_component_with_a_larger_memory() {
        let tool = Tool::new();
        assert_eq!(tool.keep(component(3, FIRST, 0)), {
            let larger = component(32, FIRST, 0);
            Parts::of(&larger).unwrap().component(32, None)
        });
    }

    #[test]
    fn other_code_has_another_template() {
        let tool = Tool::new();
        tool.keep(component(3, FIRST, 0));
        let other = tool.keep(component(3, FIRST, 1));
        assert_eq!(tool.templates(), 2);
        assert_eq!(tool.bytes(&other, [9000]), [u32::from(b'f') + 1]);
    }

    #[test]
    fn a_template_that_does_not_fit_is_replaced() {
        let tool = Tool::new();
        let small = tool.keep(component(3, FIRST, 0));
        // Too large for it, before it, and too small for the one that has replaced it.
        let large = tool.keep(component(33, FIRST, 0));
        let before = tool.keep(component(33, r#"(data (i32.const 4095) "b")"#, 0));
        let again =
            tool.keep(component(1, "(data (i32.const 0) \"\") (data (i32.const 5) \"a\")", 0));
        assert_eq!(tool.templates(), 1);
        for (component, place, byte) in
            [(small, 9000, b'f'), (large, 9000, b'f'), (before, 4095, b'b'), (again, 5, b'a')]
        {
            assert_eq!(tool.bytes(&component, [place]), [u32::from(byte)]);
        }
    }

    #[test]
    fn a_component_of_another_form_stays_as_it_is() {
        let tool = Tool::new();
        for data in [
            "",
            r#"(data "passive")"#,
            r#"(global i32 (i32.const 5)) (data (global.get 0) "a")"#,
            r#"(memory 1) (data (memory 1) (i32.const 0) "a")"#,
        ] {
            let component = component(3, data, 0);
            assert_eq!(tool.keep(component.clone()), component, "{data}");
        }
        assert_eq!(tool.templates(), 0);
        let module = wat::parse_str("(module (memory 1 2) (data (i32.const 0) \"a\"))").unwrap();
        assert_eq!(tool.keep(module.clone()), module);
    }

    #[test]
    fn a_damaged_template_is_none() {
        for bytes in [Vec::new(), vec![0; NUMBERS * size_of::<u64>() - 1]] {
            assert!(Template::from_bytes(&bytes).is_none());
        }
    }
}
