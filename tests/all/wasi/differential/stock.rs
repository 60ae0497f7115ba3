//! `wasmtime-wasi` as it comes, with the part of the contract that a question needs.

use std::path::Path;

use wasmtime::component::{
    Component, Linker, Resource, ResourceAny, ResourceTable, ResourceType, Val,
};
use wasmtime::{Engine, Result, Store, StoreContextMut};
use wasmtime_wasi::p2::add_to_linker_sync;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxView, WasiView};

/// A handler under `wasmtime-wasi`.
pub struct Stock {
    engine: Engine,
    component: Component,
}

/// One request: a socket on which a question waits.
struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    question: Vec<u8>,
    answer: Vec<u8>,
}

struct Socket;

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

fn bytes(value: &Val) -> Vec<u8> {
    let Val::List(list) = value else { panic!("{value:?} is no list") };
    let byte = |value: &Val| if let Val::U8(byte) = value { *byte } else { panic!("{value:?}") };
    list.iter().map(byte).collect()
}

impl Stock {
    /// Compiles a handler.
    pub fn new(text: &str) -> Stock {
        let engine = Engine::default();
        let component = Component::new(&engine, text).unwrap();
        Stock { engine, component }
    }

    /// Returns what the handler answers, to its end.
    pub fn ask(&self, directory: &Path, writable: bool, question: &[u8]) -> Vec<u8> {
        let perms = if writable { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
        let mut wasi = WasiCtx::builder();
        wasi.env("A", "b").preopened_dir(directory, "/data", perms).unwrap();
        let state = State {
            wasi: wasi.build(),
            table: ResourceTable::new(),
            question: question.to_vec(),
            answer: Vec::new(),
        };
        let mut store = Store::new(&self.engine, state);
        let served = self.serve(&mut store);
        let answer = store.into_data().answer;
        // Only a call may end a handler.
        assert!(served.is_ok() || !answer.is_empty(), "{served:?}");
        answer
    }

    fn serve(&self, store: &mut Store<State>) -> Result<()> {
        let instance = linker(&self.engine)?.instantiate(&mut *store, &self.component)?;
        let interface = "socketserver:handler/stream-request@0.1.0";
        let interface = self.component.get_export_index(None, interface).unwrap();
        let function = |store: &mut Store<State>, name| {
            let index = self.component.get_export_index(Some(&interface), name).unwrap();
            instance.get_func(store, index).unwrap()
        };
        let (setup, handle) = (function(store, "setup"), function(store, "handle"));
        let socket = Resource::<Socket>::new_own(1);
        let socket = ResourceAny::try_from_resource(socket, &mut *store)?;
        let unnamed = Val::Variant("unnamed".to_owned(), None);
        let address = Val::Variant("unix".to_owned(), Some(Box::new(unnamed)));
        let mut results = [Val::Bool(false)];
        setup.call(&mut *store, &[Val::Resource(socket), address], &mut results)?;
        handle.call(&mut *store, &[], &mut results)
    }
}

/// Ends the borrow of the socket that a call takes.
fn end_borrow(cx: &mut StoreContextMut<'_, State>, socket: &Val) -> Result<()> {
    let Val::Resource(socket) = socket else { panic!("{socket:?} is no socket") };
    socket.resource_drop(cx)
}

fn linker(engine: &Engine) -> Result<Linker<State>> {
    let mut linker = Linker::<State>::new(engine);
    add_to_linker_sync(&mut linker)?;
    linker.instance("socketserver:handler/types@0.1.0")?;
    let mut sockets = linker.instance("socketserver:handler/sockets@0.1.0")?;
    sockets.resource("socket", ResourceType::host::<Socket>(), |_, _| Ok(()))?;
    sockets.func_new("[method]socket.recv", |mut cx, _, params, results| {
        end_borrow(&mut cx, &params[0])?;
        let question = std::mem::take(&mut cx.data_mut().question);
        let question = question.into_iter().map(Val::U8).collect();
        results[0] = Val::Result(Ok(Some(Box::new(Val::List(question)))));
        Ok(())
    })?;
    sockets.func_new("[method]socket.sendall", |mut cx, _, params, results| {
        end_borrow(&mut cx, &params[0])?;
        let sent = bytes(&params[1]);
        cx.data_mut().answer.extend(sent);
        results[0] = Val::Result(Ok(None));
        Ok(())
    })?;
    Ok(linker)
}
