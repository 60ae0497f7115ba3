//! What an instance takes of the host, from its beginning to its end, beside what
//! it grows to: known at load, from what the compiler wrote beside the code.
//!
//! The engine makes an instance of a list that the compiler flattened: each core
//! instance that is made, those of nested components and the adapters between them
//! included, stands in it once. So what is counted here is what will be allocated,
//! and not what a component may look like.
//!
//! | what the engine allocates for an instance | bytes |
//! |---|---|
//! | its store, and the component's own context | [`STORE`] and as the engine lays it out |
//! | a core instance: functions, globals, references to functions | [`CORE_INSTANCE`] and as the engine lays it out |
//! | a passive element segment, which is evaluated as the instance is made | [`SEGMENT`] |
//! | an entry of one | [`SEGMENT_ENTRY`] |
//! | a memory, beside its pages | [`MEMORY`] |
//! | a table, beside its entries: in the pool it begins a page | [`TABLE`] |
//! | an instance of a nested component | [`COMPONENT_INSTANCE`] |
//! | a resource type | [`RESOURCE`] |
//! | a module, so that traces find it, whether there is an instance of it or not | [`MODULE`] |
//! | a handle, in the table of each component instance | [`HANDLE`] |
//!
//! Active and declared element segments take nothing: the former are in the tables,
//! or in code that fills them. Data segments lie in the compiled component, for all
//! instances. So do types, names and exports.

use wasmtime::error::format_err;
use wasmtime_environ::component::{
    ComponentArtifacts, GlobalInitializer, InstantiateModule, VMComponentOffsets,
};
use wasmtime_environ::obj::ELF_WASMTIME_INFO;
use wasmtime_environ::object::elf::FileHeader64;
use wasmtime_environ::object::read::elf::{FileHeader, SectionHeader};
use wasmtime_environ::object::{self, Endianness};
use wasmtime_environ::{HostPtr, Module, VMOffsets};

use crate::error::LoadError;
use crate::limits::memory::TABLE_ELEMENT;
use crate::policy::{MAX_ENGINE_MEMORY, Policy};

/// A page of WebAssembly memory, in bytes.
const PAGE: u64 = 64 << 10;

/// The `Store`, its state, and the lists in it.
const STORE: u64 = 8 << 10;
/// The header of a core instance, and its place in the lists of its store.
const CORE_INSTANCE: u64 = 512;
/// The header of a passive element segment.
const SEGMENT: u64 = 64;
/// An entry of one: a value of any type.
const SEGMENT_ENTRY: u64 = 16;
/// The header of a memory, and what the pool notes of it.
const MEMORY: u64 = 1 << 10;
/// The header of a table, and the page that it shares with no other.
const TABLE: u64 = (4 << 10) + 128;
/// The tables of a component instance, empty.
const COMPONENT_INSTANCE: u64 = 64;
/// What tells a resource type from others, and how to end it.
const RESOURCE: u64 = 64;
/// A place for a module in a list of the store.
const MODULE: u64 = 32;
/// A place for a handle. Tables grow to twice what they need, and never shrink.
const HANDLE: u64 = 48;

/// What an instance of a component takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Footprint {
    /// Linear memories.
    pub memories: usize,
    /// Bytes that they begin with, together.
    pub memory: u64,
    /// Tables.
    pub tables: usize,
    /// Bytes that they begin with, together.
    pub table_memory: u64,
    /// Core instances.
    pub core_instances: usize,
    /// Component instances, the component itself included.
    pub component_instances: u64,
    /// Bytes that its passive element segments take.
    pub segments: u64,
    /// Bytes that everything else takes that the engine keeps, but for handles.
    pub rest: u64,
}

impl Footprint {
    /// Reads it from a compiled component.
    ///
    /// Errors: what was compiled is no component, or was by another engine.
    pub(crate) fn of_compiled(artifact: &[u8]) -> wasmtime::Result<Self> {
        let artifacts: ComponentArtifacts = postcard::from_bytes(info(artifact)?)?;
        let component = &artifacts.info.component;
        let context = VMComponentOffsets::new(HostPtr, component).size_of_vmctx();
        let component_instances = u64::from(component.num_runtime_component_instances).max(1);
        let mut footprint = Footprint { component_instances, ..Footprint::default() };
        footprint.rest = STORE
            .saturating_add(u64::from(context))
            .saturating_add(component_instances.saturating_mul(COMPONENT_INSTANCE))
            .saturating_add(u64::from(component.num_resources).saturating_mul(RESOURCE))
            .saturating_add((artifacts.static_modules.len() as u64).saturating_mul(MODULE));
        for initializer in &component.initializers {
            // Modules that are imported are refused elsewhere.
            if let GlobalInitializer::InstantiateModule(InstantiateModule::Static(index, _), _) =
                initializer
            {
                footprint.add(&artifacts.static_modules[*index].module);
            }
        }
        Ok(footprint)
    }

    /// Counts an instance of `module`.
    fn add(&mut self, module: &Module) {
        let context = VMOffsets::new(HostPtr, module).size_of_vmctx();
        let memories = module.memories.iter().skip(module.num_imported_memories);
        let tables = module.tables.iter().skip(module.num_imported_tables);
        self.core_instances += 1;
        self.memories += memories.len();
        self.tables += tables.len();
        self.rest = self
            .rest
            .saturating_add(CORE_INSTANCE)
            .saturating_add(u64::from(context))
            .saturating_add((memories.len() as u64).saturating_mul(MEMORY))
            .saturating_add((tables.len() as u64).saturating_mul(TABLE));
        for (_, memory) in memories {
            self.memory = self.memory.saturating_add(memory.limits.min.saturating_mul(PAGE));
        }
        for (_, table) in tables {
            let bytes = table.limits.min.saturating_mul(TABLE_ELEMENT as u64);
            self.table_memory = self.table_memory.saturating_add(bytes);
        }
        for (_, (_, entries)) in &module.passive_elements {
            let bytes = entries.saturating_mul(SEGMENT_ENTRY).saturating_add(SEGMENT);
            self.segments = self.segments.saturating_add(bytes);
        }
    }

    /// Bytes that the engine keeps in any case.
    pub(crate) fn fixed(&self) -> u64 {
        self.segments.saturating_add(self.rest)
    }

    /// Bytes that the engine keeps for an instance that holds `handles` handles, and
    /// as many again to resources of its own.
    pub(crate) fn engine(&self, handles: usize) -> u64 {
        // The host has a table as well.
        let tables = self.component_instances.saturating_add(1);
        let handles = (handles as u64).saturating_mul(HANDLE).saturating_mul(tables);
        self.fixed().saturating_add(handles)
    }

    /// What an instance that is held to `policy` begins with.
    ///
    /// Errors: that is more than it may have, or the engine would keep more than for any.
    pub(crate) fn check(&self, policy: &Policy) -> Result<Initial, LoadError> {
        let (needed, segments) = (self.fixed(), self.segments);
        if needed > MAX_ENGINE_MEMORY {
            return Err(LoadError::EngineMemory { needed, segments, limit: MAX_ENGINE_MEMORY });
        }
        let (memory, tables, limit) = (self.memory, self.table_memory, policy.memory);
        let engine = self.engine(policy.handles);
        let bytes = memory.saturating_add(tables).saturating_add(engine);
        match (usize::try_from(bytes), usize::try_from(engine)) {
            (Ok(bytes), Ok(engine)) if bytes <= limit => Ok(Initial { bytes, engine }),
            _ => Err(LoadError::Memory { memory, tables, engine, limit }),
        }
    }
}

/// What an instance begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Initial {
    /// Bytes in all: memories, tables, and what the engine keeps.
    pub bytes: usize,
    /// Bytes of them that the engine keeps.
    pub engine: usize,
}

/// What the compiler wrote beside the code.
fn info(artifact: &[u8]) -> wasmtime::Result<&[u8]> {
    let found = || -> object::Result<Option<&[u8]>> {
        let header = FileHeader64::<Endianness>::parse(artifact)?;
        let endian = header.endian()?;
        let sections = header.sections(endian, artifact)?;
        let named = sections.section_by_name(endian, ELF_WASMTIME_INFO.as_bytes());
        named.map(|(_, section)| section.data(endian, artifact)).transpose()
    };
    match found() {
        Ok(Some(info)) => Ok(info),
        Ok(None) => Err(format_err!("the compiled component does not say what it consists of")),
        Err(error) => Err(format_err!("the compiled component cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::engine::settings::EngineSettings;
    use crate::sys::Artifact;

    fn footprint(text: &str) -> Footprint {
        let engine = Engine::for_compiling(&EngineSettings::default()).unwrap();
        let artifact = Artifact::compile(engine.wasmtime(), text.as_bytes()).unwrap();
        Footprint::of_compiled(artifact.bytes()).unwrap()
    }

    #[test]
    fn passive_segments_count_for_each_instance_and_others_do_not() {
        let footprint = footprint(
            "(component
              (core module $m (func $f) (table 9 funcref)
                (elem func $f $f $f $f $f) (elem funcref (ref.func $f))
                (elem (i32.const 0) func $f $f $f) (elem declare func $f))
              (core instance (instantiate $m)) (core instance (instantiate $m))
              (core instance (instantiate $m)))",
        );
        assert_eq!(footprint.segments, 3 * (2 * SEGMENT + 6 * SEGMENT_ENTRY));
    }

    #[test]
    fn all_memories_and_tables_are_added_up() {
        let footprint = footprint(
            "(component
              (core module $a (memory 2) (table 10 funcref) (table 20 funcref))
              (core module $b (memory 5))
              (core instance (instantiate $a)) (core instance (instantiate $a))
              (core instance (instantiate $b)))",
        );
        assert_eq!((footprint.memories, footprint.memory), (3, 9 * PAGE));
        assert_eq!((footprint.tables, footprint.table_memory), (4, 60 * TABLE_ELEMENT as u64));
    }

    #[test]
    fn nested_components_multiply() {
        let footprint = footprint(
            "(component
              (component $outer
                (component $inner (core module $m (memory 1)) (core instance (instantiate $m)))
                (instance (instantiate $inner)) (instance (instantiate $inner)))
              (instance (instantiate $outer)) (instance (instantiate $outer))
              (instance (instantiate $outer)))",
        );
        assert_eq!((footprint.core_instances, footprint.memories), (6, 6));
        assert_eq!(footprint.component_instances, 1 + 3 + 6);
    }

    #[test]
    fn adapters_that_the_engine_adds_count() {
        let alone = "(component $callee (core module $m (func (export \"f\")))
            (core instance $i (instantiate $m))
            (func (export \"f\") (canon lift (core func $i \"f\"))))
            (instance $callee (instantiate $callee))";
        let calls =
            "(component $caller (import \"f\" (func $f)) (core func $l (canon lower (func $f)))
            (core module $m (import \"\" \"f\" (func)))
            (core instance (instantiate $m (with \"\" (instance (export \"f\" (func $l)))))))
            (instance (instantiate $caller (with \"f\" (func $callee \"f\"))))";
        assert_eq!(footprint(&format!("(component {alone})")).core_instances, 1);
        // The caller, the one that it calls, and what is between them.
        assert_eq!(footprint(&format!("(component {alone} {calls})")).core_instances, 3);
    }

    #[test]
    fn more_than_an_instance_may_have_is_refused() {
        let policy = |memory| Policy { memory, handles: 0, ..Policy::default() };
        let little =
            Footprint { memory: 1000, table_memory: 100, rest: 10, ..Footprint::default() };
        assert_eq!(little.check(&policy(1110)).unwrap(), Initial { bytes: 1110, engine: 10 });
        assert!(matches!(
            little.check(&policy(1109)),
            Err(LoadError::Memory { memory: 1000, tables: 100, engine: 10, limit: 1109 })
        ));
        let much = Footprint { segments: MAX_ENGINE_MEMORY, rest: 1, ..Footprint::default() };
        assert!(matches!(
            much.check(&policy(usize::MAX)),
            Err(LoadError::EngineMemory { segments: MAX_ENGINE_MEMORY, .. })
        ));
        // What cannot be added up is too much.
        let all = Footprint { memory: u64::MAX, rest: 1, ..Footprint::default() };
        assert!(all.check(&policy(usize::MAX - 1)).is_err());
    }

    #[test]
    fn handles_count_for_each_table_of_them() {
        let footprint = Footprint { component_instances: 3, rest: 7, ..Footprint::default() };
        assert_eq!(footprint.engine(10), 7 + 4 * 10 * HANDLE);
        assert_eq!(footprint.fixed(), 7);
    }

    #[test]
    fn what_no_compiler_made_has_none() {
        for bytes in [b"".as_slice(), b"\x7fELF", b"no component"] {
            assert!(Footprint::of_compiled(bytes).is_err());
        }
    }
}
