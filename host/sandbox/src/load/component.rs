//! A compiled component, and its imports and exports.

use std::path::Path;
use std::sync::Arc;

use socketserver::printable;
use wasmtime::component::types::ComponentItem;

use crate::engine::Engine;
use crate::engine::FiberPool;
use crate::engine::settings::{EngineSettings, InitialData};
use crate::error::{CacheError, LoadError};
use crate::host::interfaces::is_provided;
use crate::host::version::is_compatible;
use crate::load::cache::{CachedComponent, Key};
use crate::load::footprint::Footprint;
use crate::load::loader::Loader;
use crate::load::source;
use crate::policy::MAX_TABLE_ELEMENTS;
use crate::sys::Artifact;
use crate::world::{CLIENT_SPEAKS_FIRST, World};

/// The size of a source, in bytes, beyond which it takes seconds to compile.
const LARGE: usize = 1 << 20;
/// The size of a source, in bytes, beyond which the functions that were compiled before are worth
/// their reading. Components with an interpreter in them are larger.
const HAS_INTERPRETER: usize = 4 << 20;
/// The data segments of a component that are copied into each of its memories, in bytes. To copy
/// these costs no more than to map them.
const MAX_COPIED: u64 = 128 << 10;

/// A compiled component.
pub struct Component {
    compiled: wasmtime::component::Component,
    name: Arc<str>,
    description: Description,
    footprint: Footprint,
}

/// The facts about a component that show without an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The worlds that it targets, of those that can be served.
    pub worlds: Vec<World>,
    /// True if it states that its clients speak first: the world `client-first` of
    /// `wit/worlds.wit`.
    pub clients_speak_first: bool,
    /// The names of its exports.
    pub exports: Vec<String>,
    /// The names of its imports.
    pub imports: Vec<String>,
    /// The imports that the host does not provide.
    pub not_provided: Vec<String>,
    /// True if its source is a core module, of which the host made a component.
    pub is_core_module: bool,
    /// The size of its source, in bytes.
    pub size: usize,
    /// The number of linear memories of an instance.
    pub memories: u32,
    /// The bytes that these memories begin with, together.
    pub initial_memory: u64,
    /// The number of tables of an instance.
    pub tables: u32,
    /// The bytes that these tables begin with, together.
    pub table_memory: u64,
}

impl Component {
    /// Reads and compiles a component, given as a binary or as text, or takes it from the
    /// cache. It is named after the file.
    ///
    /// A component that compiles may still be no handler: the constructors of
    /// [`ComponentHandler`](crate::ComponentHandler) check that.
    ///
    /// # Errors
    ///
    /// The file cannot be read or is no component, with an error for each case, or its
    /// compilation fails.
    pub fn load(engine: &Engine, path: &Path, loader: &Loader) -> Result<Self, LoadError> {
        let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy();
        Component::new(engine, &name, source::read(path, loader.component_size)?, loader)
    }

    /// Compiles a component from bytes, as [`load`](Self::load) does from a file. The log
    /// uses `name`.
    ///
    /// # Errors
    ///
    /// The bytes are no component, with an error for each case, or their compilation fails.
    pub fn new(
        engine: &Engine,
        name: &str,
        bytes: Vec<u8>,
        loader: &Loader,
    ) -> Result<Self, LoadError> {
        let size = bytes.len();
        let is_core_module = source::is_core_module(&bytes);
        let (component, footprint) = load_or_compile(engine, bytes, loader)?;
        Ok(Component {
            description: Description {
                is_core_module,
                ..describe(engine.wasmtime(), &component, &footprint, size)?
            },
            compiled: component,
            footprint,
            name: printable(name, 100).into(),
        })
    }

    /// Returns the pool that suits a component whose requests run as tasks. Mappings limit their
    /// number, so data is copied if that costs little. To know that, this compiles the component,
    /// unless it is large, and keeps it in the cache.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn pool_for_fibers(
        settings: &EngineSettings,
        bytes: &[u8],
        loader: &Loader,
    ) -> Result<FiberPool, LoadError> {
        if bytes.len() > LARGE {
            return Ok(FiberPool::default());
        }
        let copied = EngineSettings { initial_data: InitialData::Copied, ..*settings };
        let engine = Engine::unpooled(&copied)
            .map_err(|error| LoadError::Compile(printable(&format!("{error:#}"), 500)))?;
        let (_, footprint) = load_or_compile(&engine, bytes.to_vec(), loader)?;
        let is_small = footprint.data <= MAX_COPIED;
        Ok(FiberPool {
            initial_data: if is_small { InitialData::Copied } else { InitialData::Mapped },
            table_elements: usize::try_from(footprint.largest_table).unwrap_or(MAX_TABLE_ELEMENTS),
        })
    }

    /// Returns the facts about the component.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Returns the bytes of the host's memory that the engine keeps for each instance beside
    /// its memories and tables, if an instance may hold `handles` handles.
    pub fn engine_memory(&self, handles: usize) -> u64 {
        self.footprint.engine_memory(handles)
    }

    pub(crate) fn footprint(&self) -> &Footprint {
        &self.footprint
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::component::Component {
        &self.compiled
    }
}

/// Takes a component from the cache, or compiles it. A cache that cannot be used costs time,
/// but is no reason not to serve.
fn load_or_compile(
    engine: &Engine,
    source: Vec<u8>,
    loader: &Loader,
) -> Result<(wasmtime::component::Component, Footprint), LoadError> {
    let key = Key::new(engine.wasmtime(), &source);
    let warn = |error: CacheError| {
        tracing::warn!("compiling without the cache: {:#}", wasmtime::Error::new(error));
    };
    let (cached, usable) = match loader.cache.get(&key) {
        Ok(cached) => (cached, true),
        Err(error) => {
            warn(error);
            (None, false)
        }
    };
    if let Some(CachedComponent { artifact, footprint }) = cached {
        match artifact.load(engine.wasmtime()) {
            Ok(component) => return Ok((component, footprint)),
            Err(error) => tracing::warn!("an entry of the cache does not load: {error:#}"),
        }
    }
    if source.len() > LARGE {
        tracing::info!(bytes = source.len(), "compiling a handler, which takes a while");
    } else {
        tracing::debug!(bytes = source.len(), "compiling a handler");
    }
    let functions = if usable && source.len() > HAS_INTERPRETER {
        loader.cache.content(&Key::of_functions(engine.wasmtime())).unwrap_or_else(|error| {
            warn(error);
            None
        })
    } else {
        None
    };
    let artifact = loader.compiler.compile(engine, source, &functions.unwrap_or_default())?;
    let (component, footprint) = load(engine, &artifact)
        .map_err(|error| LoadError::Compile(printable(&format!("{error:#}"), 500)))?;
    if usable {
        loader.cache.put(&key, &artifact, &footprint).unwrap_or_else(warn);
    }
    Ok((component, footprint))
}

/// Loads a component that was compiled just now. The cache keeps what passes this, so it is
/// done once for each component.
///
/// # Errors
///
/// The component needs more than a pool has. This holds for engines without a pool too.
fn load(
    engine: &Engine,
    artifact: &Artifact,
) -> wasmtime::Result<(wasmtime::component::Component, Footprint)> {
    if let Some(pooled) = engine.pool_of_one()? {
        artifact.load(&pooled)?;
    }
    // To load it first shows that this engine compiled it.
    let component = artifact.load(engine.wasmtime())?;
    Ok((component, Footprint::from_artifact(artifact.bytes())?))
}

fn describe(
    engine: &wasmtime::Engine,
    component: &wasmtime::component::Component,
    footprint: &Footprint,
    size: usize,
) -> Result<Description, LoadError> {
    if component.resources_required().is_none() {
        let why = "it imports a core module, which no handler is given";
        return Err(LoadError::Invalid(why.to_owned()));
    }
    let component = component.component_type();
    let exports: Vec<String> =
        component.exports(engine).map(|(name, _)| printable(name, 200)).collect();
    let imports: Vec<String> =
        component.imports(engine).map(|(name, _)| printable(name, 200)).collect();
    let targets = |world: &World| {
        component.exports(engine).any(|(name, export)| {
            is_compatible(world.interface(), name)
                && matches!(export.ty, ComponentItem::ComponentInstance(_))
        })
    };
    let mut worlds: Vec<_> = World::CONTRACT.into_iter().filter(targets).collect();
    if worlds.is_empty() && targets(&World::Command) {
        worlds.push(World::Command);
    }
    let clients_speak_first = component.exports(engine).any(|(name, export)| {
        name == CLIENT_SPEAKS_FIRST && matches!(export.ty, ComponentItem::ComponentFunc(_))
    });
    Ok(Description {
        worlds,
        clients_speak_first,
        exports,
        not_provided: imports.iter().filter(|name| !is_provided(name)).cloned().collect(),
        imports,
        is_core_module: false,
        size,
        memories: u32::try_from(footprint.memories).unwrap_or(u32::MAX),
        initial_memory: footprint.memory,
        tables: u32::try_from(footprint.tables).unwrap_or(u32::MAX),
        table_memory: footprint.table_memory(),
    })
}
