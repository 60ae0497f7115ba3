//! The memory that each instance of a component takes from its beginning to its end, beside
//! what it grows by. It is known at load, from the metadata that the compiler writes beside
//! the code.
//!
//! The engine creates an instance from a list that the compiler has flattened. Each core
//! instance stands in it once, with those of nested components and the adapters between
//! them. So the footprint counts what the engine will allocate, and does not depend on how
//! the component is written.
//!
//! | what the engine allocates for an instance | bytes |
//! |---|---|
//! | the store, and the component's own context | [`STORE`], and the size that the engine computes |
//! | a core instance: functions, globals, references to functions | [`CORE_INSTANCE`], and the size that the engine computes |
//! | a passive element segment, which the engine evaluates in instantiation | [`SEGMENT`] |
//! | an element of a passive element segment | [`SEGMENT_ELEMENT`] |
//! | a memory, beside its pages | [`MEMORY`] |
//! | a table, beside its elements: in the pool it begins a page | [`TABLE`] |
//! | an instance of a nested component | [`COMPONENT_INSTANCE`] |
//! | a resource type | [`RESOURCE`] |
//! | a module, so that backtraces find it, with or without an instance of it | [`MODULE`] |
//! | a handle, in the table of each component instance | [`HANDLE`] |
//!
//! Active and declared element segments take nothing: the former are in the tables, or in
//! code that fills them. All instances share the data segments, types, names and exports in
//! the compiled component.

use std::ops::Range;

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
use crate::policy::{MAX_ENGINE_MEMORY, MAX_TABLE_ELEMENTS, Policy};

/// The size of a WebAssembly page, in bytes.
const PAGE: u64 = 64 << 10;

/// The `Store`, its state, and the lists in it.
const STORE: u64 = 8 << 10;
/// The header of a core instance, and its entries in the lists of the store.
const CORE_INSTANCE: u64 = 512;
/// The header of a passive element segment.
const SEGMENT: u64 = 64;
/// An element of a passive element segment: a value of any type.
const SEGMENT_ELEMENT: u64 = 16;
/// The header of a memory, and the pool's record of it.
const MEMORY: u64 = 1 << 10;
/// The header of a table, and the page that it shares with no other.
const TABLE: u64 = (4 << 10) + 128;
/// The empty tables of a component instance.
const COMPONENT_INSTANCE: u64 = 64;
/// The identity of a resource type, and its destructor.
const RESOURCE: u64 = 64;
/// An entry for a module in a list of the store.
const MODULE: u64 = 32;
/// An entry for a handle. Tables grow to twice the size that they need, and never shrink.
const HANDLE: u64 = 48;

/// The size of a footprint as bytes.
pub(crate) const FOOTPRINT_BYTES: usize = FIELDS * size_of::<u64>();
const FIELDS: usize = 13;

/// The things that the engine allocates for an instance of a component. These are numbers of
/// things and not sums of bytes, so that the cache can keep them: the sizes above may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Footprint {
    /// Linear memories.
    pub memories: usize,
    /// Bytes that they begin with, together.
    pub memory: u64,
    /// Tables.
    pub tables: usize,
    /// Elements that they begin with, together.
    table_elements: u64,
    /// Core instances.
    pub core_instances: usize,
    /// Component instances, with the component itself.
    component_instances: u64,
    /// Passive element segments.
    segments: u64,
    /// Elements of passive element segments, together.
    segment_elements: u64,
    /// Resource types.
    resources: u64,
    /// Modules.
    modules: u64,
    /// Bytes of the contexts of the component and of its core instances.
    contexts: u64,
    /// Bytes of data segments, together.
    pub data: u64,
    /// The most elements that a table may have.
    pub largest_table: u64,
}

impl Footprint {
    /// Reads the footprint of a compiled component.
    ///
    /// # Errors
    ///
    /// The artifact is no component, or another engine compiled it.
    pub(crate) fn from_artifact(artifact: &[u8]) -> wasmtime::Result<Self> {
        let artifacts: ComponentArtifacts = postcard::from_bytes(metadata(artifact)?)?;
        let component = &artifacts.info.component;
        let mut footprint = Footprint {
            component_instances: u64::from(component.num_runtime_component_instances).max(1),
            resources: u64::from(component.num_resources),
            modules: artifacts.static_modules.len() as u64,
            contexts: u64::from(VMComponentOffsets::new(HostPtr, component).size_of_vmctx()),
            ..Footprint::default()
        };
        for initializer in &component.initializers {
            // A component that imports modules is refused elsewhere.
            if let GlobalInitializer::InstantiateModule(InstantiateModule::Static(index, _), _) =
                initializer
            {
                footprint.add_instance(&artifacts.static_modules[*index].module);
            }
        }
        Ok(footprint)
    }

    fn add_instance(&mut self, module: &Module) {
        let context = VMOffsets::new(HostPtr, module).size_of_vmctx();
        let memories = module.memories.iter().skip(module.num_imported_memories);
        let tables = module.tables.iter().skip(module.num_imported_tables);
        self.core_instances += 1;
        self.memories += memories.len();
        self.tables += tables.len();
        self.contexts = self.contexts.saturating_add(u64::from(context));
        for (_, segment) in &module.runtime_data {
            self.data = self.data.saturating_add(segment.len() as u64);
        }
        for (_, memory) in memories {
            self.memory = self.memory.saturating_add(memory.limits.min.saturating_mul(PAGE));
        }
        for (_, table) in tables {
            self.table_elements = self.table_elements.saturating_add(table.limits.min);
            let most = table.limits.max.unwrap_or(u64::MAX).min(MAX_TABLE_ELEMENTS as u64);
            self.largest_table = self.largest_table.max(most);
        }
        for (_, (_, elements)) in &module.passive_elements {
            self.segments += 1;
            self.segment_elements = self.segment_elements.saturating_add(*elements);
        }
    }

    /// Returns the bytes that the tables begin with, together.
    pub(crate) fn table_memory(&self) -> u64 {
        self.table_elements.saturating_mul(TABLE_ELEMENT as u64)
    }

    /// Returns the bytes of the passive element segments.
    fn segment_memory(&self) -> u64 {
        bytes(&[(self.segments, SEGMENT), (self.segment_elements, SEGMENT_ELEMENT)])
    }

    /// Returns the bytes that the engine keeps for an instance, except for handles.
    fn fixed_memory(&self) -> u64 {
        let rest = bytes(&[
            (1, STORE),
            (self.contexts, 1),
            (self.component_instances, COMPONENT_INSTANCE),
            (self.resources, RESOURCE),
            (self.modules, MODULE),
            (self.core_instances as u64, CORE_INSTANCE),
            (self.memories as u64, MEMORY),
            (self.tables as u64, TABLE),
        ]);
        self.segment_memory().saturating_add(rest)
    }

    /// Returns the bytes that the engine keeps for an instance that holds `handles` handles
    /// to resources of the host, and as many to resources of its own.
    pub(crate) fn engine_memory(&self, handles: usize) -> u64 {
        // The host has a table of handles as well.
        let tables = self.component_instances.saturating_add(1);
        let handles = (handles as u64).saturating_mul(HANDLE).saturating_mul(tables);
        self.fixed_memory().saturating_add(handles)
    }

    /// Returns the memory that an instance begins with under `policy`.
    ///
    /// # Errors
    ///
    /// That is more than an instance may have, or the engine would keep more for it than for
    /// any instance.
    pub(crate) fn check(&self, policy: &Policy) -> Result<InitialMemory, LoadError> {
        let (needed, segments) = (self.fixed_memory(), self.segment_memory());
        if needed > MAX_ENGINE_MEMORY {
            return Err(LoadError::EngineMemory { needed, segments, limit: MAX_ENGINE_MEMORY });
        }
        let (memory, tables, limit) = (self.memory, self.table_memory(), policy.memory);
        let engine = self.engine_memory(policy.handles);
        let total = memory.saturating_add(tables).saturating_add(engine);
        match (usize::try_from(total), usize::try_from(engine)) {
            (Ok(total), Ok(engine)) if total <= limit => Ok(InitialMemory { total, engine }),
            _ => Err(LoadError::Memory { memory, tables, engine, limit }),
        }
    }

    /// Converts the footprint to bytes, for the cache.
    pub(crate) fn to_bytes(self) -> [u8; FOOTPRINT_BYTES] {
        let fields: [u64; FIELDS] = [
            self.memories as u64,
            self.memory,
            self.tables as u64,
            self.table_elements,
            self.core_instances as u64,
            self.component_instances,
            self.segments,
            self.segment_elements,
            self.resources,
            self.modules,
            self.contexts,
            self.data,
            self.largest_table,
        ];
        let mut bytes = [0; FOOTPRINT_BYTES];
        bytes.copy_from_slice(fields.map(u64::to_le_bytes).as_flattened());
        bytes
    }

    /// Converts it back from the bytes that [`to_bytes`](Self::to_bytes) returned.
    pub(crate) fn from_bytes(bytes: [u8; FOOTPRINT_BYTES]) -> Self {
        let mut fields = bytes.as_chunks().0.iter().map(|field| u64::from_le_bytes(*field));
        let mut field = || fields.next().unwrap_or_default();
        let count = |number| usize::try_from(number).unwrap_or(usize::MAX);
        Footprint {
            memories: count(field()),
            memory: field(),
            tables: count(field()),
            table_elements: field(),
            core_instances: count(field()),
            component_instances: field(),
            segments: field(),
            segment_elements: field(),
            resources: field(),
            modules: field(),
            contexts: field(),
            data: field(),
            largest_table: field(),
        }
    }
}

/// Returns the sum of products of numbers and sizes.
fn bytes(counts: &[(u64, u64)]) -> u64 {
    counts
        .iter()
        .fold(0, |sum: u64, (number, size)| sum.saturating_add(number.saturating_mul(*size)))
}

/// The memory that an instance begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InitialMemory {
    /// Bytes of memories, tables, and what the engine keeps.
    pub total: usize,
    /// Bytes that the engine keeps.
    pub engine: usize,
}

/// Returns the metadata that the compiler wrote beside the code.
fn metadata(artifact: &[u8]) -> wasmtime::Result<&[u8]> {
    let metadata = section(artifact, ELF_WASMTIME_INFO)?.and_then(|range| artifact.get(range));
    metadata.ok_or_else(|| format_err!("the compiled component has no metadata"))
}

/// Returns the place of a section of a compiled component, if it has that.
///
/// # Errors
///
/// The artifact is no compiled component.
pub(crate) fn section(artifact: &[u8], name: &str) -> wasmtime::Result<Option<Range<usize>>> {
    let find = || -> object::Result<Option<Range<usize>>> {
        let header = FileHeader64::<Endianness>::parse(artifact)?;
        let endian = header.endian()?;
        let sections = header.sections(endian, artifact)?;
        let named = sections.section_by_name(endian, name.as_bytes());
        let range = named.and_then(|(_, section)| section.file_range(endian));
        Ok(range.and_then(|(begin, size)| {
            let begin = usize::try_from(begin).ok()?;
            Some(begin..begin.checked_add(usize::try_from(size).ok()?)?)
        }))
    };
    find().map_err(|error| format_err!("the compiled component cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::Engine;
    use crate::engine::settings::EngineSettings;
    use crate::sys::Artifact;

    fn footprint(text: &str) -> Footprint {
        let engine = Engine::for_compiling(&EngineSettings::default(), Arc::default()).unwrap();
        let artifact = Artifact::compile(engine.wasmtime(), text.as_bytes()).unwrap();
        Footprint::from_artifact(artifact.bytes()).unwrap()
    }

    #[test]
    fn passive_segments_count_for_each_instance_and_other_segments_do_not() {
        let footprint = footprint(
            "(component
              (core module $m (func $f) (table 9 funcref)
                (elem func $f $f $f $f $f) (elem funcref (ref.func $f))
                (elem (i32.const 0) func $f $f $f) (elem declare func $f))
              (core instance (instantiate $m)) (core instance (instantiate $m))
              (core instance (instantiate $m)))",
        );
        assert_eq!(footprint.segment_memory(), 3 * (2 * SEGMENT + 6 * SEGMENT_ELEMENT));
    }

    #[test]
    fn the_memories_and_tables_of_all_instances_are_added_up() {
        let footprint = footprint(
            "(component
              (core module $a (memory 2) (table 10 funcref) (table 20 funcref))
              (core module $b (memory 5))
              (core instance (instantiate $a)) (core instance (instantiate $a))
              (core instance (instantiate $b)))",
        );
        assert_eq!((footprint.memories, footprint.memory), (3, 9 * PAGE));
        assert_eq!((footprint.tables, footprint.table_memory()), (4, 60 * TABLE_ELEMENT as u64));
    }

    #[test]
    fn the_data_and_the_largest_table_of_all_instances_are_found() {
        let footprint = footprint(
            "(component
              (core module $a (memory 1) (table 3 40 funcref) (data (i32.const 0) \"abc\"))
              (core module $b (table 1 30 funcref))
              (core instance (instantiate $a)) (core instance (instantiate $a))
              (core instance (instantiate $b)))",
        );
        assert_eq!(footprint.largest_table, 40);
        // A mapped image consists of whole pages.
        assert!((6..=2 * 4096).contains(&footprint.data), "{}", footprint.data);
    }

    #[test]
    fn a_table_that_may_grow_needs_all_room_of_the_pool() {
        let grows = footprint(
            "(component (core module $a (table 1 funcref)) (core instance (instantiate $a)))",
        );
        assert_eq!(grows.largest_table, MAX_TABLE_ELEMENTS as u64);
    }

    #[test]
    fn instances_of_nested_components_count_each_time() {
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
    fn adapters_that_the_compiler_adds_count() {
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
        // The caller, the callee, and the adapter between them.
        assert_eq!(footprint(&format!("(component {alone} {calls})")).core_instances, 3);
    }

    #[test]
    fn more_than_an_instance_may_have_is_refused() {
        let policy = |memory| Policy { memory, handles: 0, ..Policy::default() };
        let little = Footprint { memory: 1000, table_elements: 100, ..Footprint::default() };
        let (tables, engine) = (100 * TABLE_ELEMENT, usize::try_from(STORE).unwrap());
        let total = 1000 + tables + engine;
        let initial = InitialMemory { total, engine };
        assert_eq!(little.check(&policy(total)).unwrap(), initial);
        let error = little.check(&policy(total - 1)).unwrap_err();
        let LoadError::Memory { memory: 1000, tables: in_tables, engine: STORE, limit } = error
        else {
            panic!("{error}")
        };
        assert_eq!((in_tables, limit), (tables as u64, total - 1));
        let much = Footprint {
            segment_elements: MAX_ENGINE_MEMORY / SEGMENT_ELEMENT,
            ..Footprint::default()
        };
        assert!(matches!(
            much.check(&policy(usize::MAX)),
            Err(LoadError::EngineMemory { segments: MAX_ENGINE_MEMORY, .. })
        ));
        // A sum that does not fit into its type is too much.
        let all = Footprint { memory: u64::MAX, ..Footprint::default() };
        assert!(all.check(&policy(usize::MAX - 1)).is_err());
        let all = Footprint { contexts: u64::MAX, ..Footprint::default() };
        assert!(all.check(&policy(usize::MAX)).is_err());
    }

    #[test]
    fn handles_count_for_the_host_and_for_each_component_instance() {
        let footprint = Footprint { component_instances: 3, ..Footprint::default() };
        let fixed = STORE + 3 * COMPONENT_INSTANCE;
        assert_eq!(footprint.fixed_memory(), fixed);
        assert_eq!(footprint.engine_memory(10), fixed + 4 * 10 * HANDLE);
    }

    #[test]
    fn bytes_that_are_no_artifact_have_no_footprint() {
        for bytes in [b"".as_slice(), b"\x7fELF", b"no component"] {
            assert!(Footprint::from_artifact(bytes).is_err());
        }
    }

    #[test]
    fn a_footprint_is_the_same_after_its_conversion_to_bytes() {
        let footprint = Footprint {
            memories: 1,
            memory: 2,
            tables: 3,
            table_elements: 4,
            core_instances: 5,
            component_instances: 6,
            segments: 7,
            segment_elements: 8,
            resources: 9,
            modules: 10,
            contexts: u64::MAX,
            data: 11,
            largest_table: 12,
        };
        assert_eq!(Footprint::from_bytes(footprint.to_bytes()), footprint);
    }
}
