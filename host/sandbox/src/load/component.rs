//! A component that was loaded: compiled, and known by its imports and
//! exports.

use std::path::Path;
use std::sync::Arc;

use wasmtime::component::types::ComponentItem;

use crate::engine::Engine;
use crate::error::{CacheError, LoadError};
use crate::host::contract::{granted, same_contract};
use crate::load::cache::Key;
use crate::load::footprint::Footprint;
use crate::load::loader::Loader;
use crate::load::source;
use crate::sys::Artifact;
use crate::world::World;
use socketserver::printable;

/// Components larger than this take seconds to compile.
const LARGE: usize = 1 << 20;

/// A compiled component.
pub struct Component {
    compiled: wasmtime::component::Component,
    name: Arc<str>,
    description: Description,
    footprint: Footprint,
}

/// What a component says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The worlds that it targets, of those that can be served.
    pub worlds: Vec<World>,
    /// The names of its exports.
    pub exports: Vec<String>,
    /// The names of its imports.
    pub imports: Vec<String>,
    /// Those of its imports that no handler is given.
    pub not_granted: Vec<String>,
    /// Its size as it was given, in bytes.
    pub size: usize,
    /// How many linear memories an instance has.
    pub memories: u32,
    /// How many bytes these begin with, together.
    pub initial_memory: u64,
    /// How many tables an instance has.
    pub tables: u32,
    /// How many bytes these begin with, together.
    pub table_memory: u64,
}

impl Component {
    /// Reads and compiles a component, given as a binary or as text, or takes
    /// it from the cache. It is named after the file.
    ///
    /// That it compiles does not mean that it can be served: making a
    /// [`ComponentHandler`](crate::ComponentHandler) tells.
    ///
    /// Errors: one for each way in which a file is not a component.
    pub fn load(engine: &Engine, path: &Path, loader: &Loader) -> Result<Self, LoadError> {
        let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy();
        Component::new(engine, &name, source::read(path, loader.component_size)?, loader)
    }

    /// Compiles a component from bytes, as [`load`](Self::load) does from a
    /// file. `name` is what the log calls it.
    pub fn new(
        engine: &Engine,
        name: &str,
        bytes: Vec<u8>,
        loader: &Loader,
    ) -> Result<Self, LoadError> {
        let size = bytes.len();
        let (component, footprint) = compile(engine, bytes, loader)?;
        Ok(Component {
            description: describe(engine.wasmtime(), &component, &footprint, size)?,
            compiled: component,
            footprint,
            name: printable(name, 100).into(),
        })
    }

    /// What the component says of itself.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// How many bytes the engine keeps of the host's memory for each instance, beside
    /// its memories and tables, if an instance may hold `handles` handles.
    pub fn engine_memory(&self, handles: usize) -> u64 {
        self.footprint.engine(handles)
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

fn compile(
    engine: &Engine,
    source: Vec<u8>,
    loader: &Loader,
) -> Result<(wasmtime::component::Component, Footprint), LoadError> {
    let key = Key::new(engine.wasmtime(), &source);
    // A cache that cannot be used costs time; it is no reason not to serve.
    let warn = |error: CacheError| {
        tracing::warn!("compiling without the cache: {:#}", wasmtime::Error::new(error));
    };
    let (kept, keep) = match loader.cache.get(&key) {
        Ok(kept) => (kept, true),
        Err(error) => {
            warn(error);
            (None, false)
        }
    };
    match kept.map(|artifact| load(engine, &artifact)) {
        Some(Ok(component)) => return Ok(component),
        Some(Err(error)) => tracing::warn!("an entry of the cache does not load: {error:#}"),
        None => {}
    }
    if source.len() > LARGE {
        tracing::info!(bytes = source.len(), "compiling a handler, which takes a while");
    } else {
        tracing::debug!(bytes = source.len(), "compiling a handler");
    }
    let artifact = loader.compiler.compile(engine, source)?;
    let component = load(engine, &artifact)
        .map_err(|error| LoadError::Compile(printable(&format!("{error:#}"), 500)))?;
    if keep {
        loader.cache.put(&key, &artifact).unwrap_or_else(warn);
    }
    Ok(component)
}

/// Errors: it needs more than a pool has, whether there is one or not.
fn load(
    engine: &Engine,
    artifact: &Artifact,
) -> wasmtime::Result<(wasmtime::component::Component, Footprint)> {
    if let Some(pooled) = engine.for_checking()? {
        artifact.load(&pooled)?;
    }
    // Loading it shows that it was compiled by this engine.
    let component = artifact.load(engine.wasmtime())?;
    Ok((component, Footprint::of_compiled(artifact.bytes())?))
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
            same_contract(world.interface(), name)
                && matches!(export.ty, ComponentItem::ComponentInstance(_))
        })
    };
    Ok(Description {
        worlds: World::ALL.into_iter().filter(targets).collect(),
        exports,
        not_granted: imports.iter().filter(|name| !granted(name)).cloned().collect(),
        imports,
        size,
        memories: u32::try_from(footprint.memories).unwrap_or(u32::MAX),
        initial_memory: footprint.memory,
        tables: u32::try_from(footprint.tables).unwrap_or(u32::MAX),
        table_memory: footprint.table_memory,
    })
}
