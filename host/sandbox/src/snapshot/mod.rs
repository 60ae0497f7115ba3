//! Components that run once when they are built, and keep the memory that this leaves.
//!
//! A component with an interpreter in it is made once, without a program. To build a program is
//! to load it into the memory of that component: the host runs `handle` of the component, with
//! the folders of the build, and writes the component with the memory and the globals as
//! they are then. All code stays the same, so none is compiled.
//!
//! `component-init-transform` reads the memory and writes the component. The code that runs
//! is as trusted as the tools of the user who builds: it has WASI with the folders of the build,
//! and none of the limits of requests.

mod contract;
mod parts;
mod reset;
mod template;

pub use template::keep_compiled;

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use anyhow::{Context as _, Result, anyhow};
use async_trait::async_trait;
use component_init_transform::Invoker;
use socketserver::printable;
use wasmtime::Store;
use wasmtime::component::{Component, ComponentNamedList, Instance, Lift, Linker, ResourceTable};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxView, WasiView};

use crate::engine::Engine;
use crate::engine::functions::Functions;
use crate::engine::recording;
use crate::engine::settings::EngineSettings;
use crate::load::cache::{Cache, Key};
use crate::load::footprint::Footprint;
use crate::sys::Artifact;
use crate::world::World;

/// The longest error of a program that is shown, in bytes.
const MAX_ERROR: usize = 4 << 10;

/// A folder that the component sees.
#[derive(Debug, Clone)]
pub struct BuildFolder {
    /// The folder.
    pub path: PathBuf,
    /// Its path as the component sees it.
    pub name: String,
    /// True if the component may change it.
    pub is_writable: bool,
}

/// Runs `handle` of a handler of connections, without a connection, and returns the component with
/// the memory that it leaves. The instrumented component that runs is kept in `cache`, compiled,
/// and so are its functions.
///
/// The engine is one that [`Engine::for_compiling`] returns, with the functions of
/// [`compiled_functions`]. This process gets threads of Tokio.
///
/// # Errors
///
/// The component has not the form that componentize-py gives it, `handle` returns an error or
/// traps, or a folder cannot be opened.
pub fn take_snapshot(
    engine: &Engine,
    cache: &Cache,
    component: &[u8],
    folders: Vec<BuildFolder>,
) -> Result<Vec<u8>> {
    let (engine, cache) = (engine.clone(), cache.clone());
    // The instrumented component has the same exports each time, but in another order.
    let key = Key::of_instrumented(engine.wasmtime(), component);
    complete(async {
        component_init_transform::initialize(component, |instrumented| {
            Box::pin(async move {
                let component = compile(&engine, &cache, &key, instrumented)?;
                let run = Run::new(&engine, &component, &folders)?;
                Ok(Box::new(run.handle()?) as Box<dyn Invoker>)
            })
        })
        .await
    })
}

/// Returns the result of a future that waits for nothing.
fn complete<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(anyhow!("it waits for nothing")),
    }
}

/// Returns the compiled component, from the cache if it is there.
fn compile(engine: &Engine, cache: &Cache, key: &Key, instrumented: Vec<u8>) -> Result<Component> {
    let engine = engine.wasmtime();
    if let Some(cached) = cache.get(key)? {
        return Ok(cached.artifact.load(engine)?);
    }
    let artifact = Artifact::compile(engine, &reset::add_to(instrumented)?)?;
    let compiled = artifact.load(engine)?;
    cache.put(key, &artifact, &Footprint::from_artifact(artifact.bytes())?)?;
    Ok(compiled)
}

/// The data of the Store.
struct State {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// An instance.
struct Run {
    store: Store<State>,
    instance: Instance,
}

impl Run {
    fn new(engine: &Engine, component: &Component, folders: &[BuildFolder]) -> Result<Self> {
        let engine = engine.wasmtime();
        let mut linker = Linker::new(engine);
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
        contract::add_to_linker(&mut linker, component)?;
        let mut wasi = WasiCtx::builder();
        // The program that starts this one shows both if the build fails.
        wasi.inherit_stdout().inherit_stderr();
        for BuildFolder { path, name, is_writable } in folders {
            let permissions = if *is_writable { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
            wasi.preopened_dir(path, name, permissions)
                .map_err(anyhow::Error::from)
                .with_context(|| format!("cannot open {}", path.display()))?;
        }
        let state = State { wasi: wasi.build(), table: ResourceTable::new() };
        let mut store = Store::new(engine, state);
        // Nothing counts epochs here.
        store.set_epoch_deadline(1);
        let instance = linker.instantiate(&mut store, component)?;
        Ok(Run { store, instance })
    }

    /// Calls `handle`, and then what makes the C library open its files anew in each request.
    fn handle(mut self) -> Result<Self> {
        let interface = World::Stream.interface();
        let (instance, store) = (&self.instance, &mut self.store);
        let interface = instance.get_export_index(&mut *store, None, interface);
        let handle = interface
            .and_then(|it| instance.get_export_index(&mut *store, Some(&it), "handle"))
            .context("it is no handler of connections")?;
        let handle = instance.get_typed_func::<(), (Result<(), String>,)>(&mut *store, handle)?;
        let (result,) = handle.call(&mut *store, ())?;
        result.map_err(|error| anyhow!("{}", printable(&error, MAX_ERROR)))?;
        for name in reset::EXPORTS {
            self.call::<()>(name)?;
        }
        Ok(self)
    }

    fn call<R>(&mut self, name: &str) -> Result<R>
    where
        R: 'static,
        R: ComponentNamedList + Lift,
    {
        let function = self.instance.get_typed_func::<(), R>(&mut self.store, name)?;
        Ok(function.call(&mut self.store, ())?)
    }
}

#[async_trait]
impl Invoker for Run {
    async fn call_s32(&mut self, function: &str) -> Result<i32> {
        Ok(self.call::<(i32,)>(function)?.0)
    }

    async fn call_s64(&mut self, function: &str) -> Result<i64> {
        Ok(self.call::<(i64,)>(function)?.0)
    }

    async fn call_f32(&mut self, function: &str) -> Result<f32> {
        Ok(self.call::<(f32,)>(function)?.0)
    }

    async fn call_f64(&mut self, function: &str) -> Result<f64> {
        Ok(self.call::<(f64,)>(function)?.0)
    }

    async fn call_list_u8(&mut self, function: &str) -> Result<Vec<u8>> {
        Ok(self.call::<(Vec<u8>,)>(function)?.0)
    }
}

/// Returns the functions for an engine that the cache has, which also keep those that are compiled
/// from now on.
///
/// # Errors
///
/// The entry of the cache cannot be read, or is not private.
pub fn compiled_functions(cache: &Cache, settings: &EngineSettings) -> Result<Functions> {
    let engine = Engine::for_compiling(settings, Arc::default())?;
    let functions = cache.content(&Key::of_functions(engine.wasmtime()))?;
    Ok(Functions::new(functions.unwrap_or_default()).recording())
}

/// Keeps the functions that were compiled with an engine, if the cache lacks one of them, and those
/// of `component`, which [`take_snapshot`] has returned: some differ from those of the
/// component that ran.
///
/// # Errors
///
/// The component cannot be compiled, or the cache cannot be written.
pub fn keep_functions(
    cache: &Cache,
    engine: &Engine,
    functions: &Arc<Functions>,
    component: &[u8],
) -> Result<()> {
    if functions.is_changed() {
        recording::record(engine.settings(), functions, component)?;
    }
    if let Some(bytes) = functions.to_bytes() {
        cache.put_content(&Key::of_functions(engine.wasmtime()), &bytes)?;
    }
    Ok(())
}
