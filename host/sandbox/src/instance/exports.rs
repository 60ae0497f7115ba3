//! The functions that a handler exports: three for each world of the contract, or one if it is
//! a program.

use std::pin::pin;

use socketserver::{Address, Request, SocketType};
use wasmtime::component::{ComponentExportIndex, ComponentNamedList, Lower, Resource};
use wasmtime::{AsContextMut, Result};

use crate::error::LoadError;
use crate::host::bindings::types;
use crate::host::waits::Waits;
use crate::instance::store::Instantiated;
use crate::limits::touched::charge_for;
use crate::load::component::Component;
use crate::world::World;

/// The functions that the host calls.
pub(crate) enum Exports {
    /// The functions of the contract.
    Handler { stream: Option<Functions>, datagram: Option<Functions> },
    /// `run` of a program.
    Program(Run),
}

/// The function of a program.
pub(crate) struct Run(ComponentExportIndex);

/// The result of [`Run`]: an error stands for the status 1.
type RunResult = (std::result::Result<(), ()>,);

/// The three functions of one world of the contract.
pub(crate) struct Functions {
    socket_type: SocketType,
    setup: ComponentExportIndex,
    handle: ComponentExportIndex,
    finish: ComponentExportIndex,
}

/// The parameters of `setup` for a connection.
type ConnectionParams = (Resource<Request>, types::Address);
/// The parameters of `setup` for a datagram. Its data is copied once, into the guest's
/// memory.
type DatagramParams<'a> = ((&'a [u8], Resource<Request>), types::Address);
/// The result of all functions: success, or an error of the guest.
pub(crate) type GuestResult = (std::result::Result<(), String>,);

impl Exports {
    /// Finds the functions of a component.
    ///
    /// # Errors
    ///
    /// The component exports an interface, but not all functions of it.
    pub(crate) fn find(component: &Component) -> std::result::Result<Self, LoadError> {
        if component.description().worlds == [World::Command] {
            return Run::find(component).map(Exports::Program);
        }
        let find = |socket_type| {
            let world = World::for_socket_type(socket_type);
            let targets = component.description().worlds.contains(&world);
            targets.then(|| Functions::find(component, socket_type)).transpose()
        };
        Ok(Exports::Handler {
            stream: find(SocketType::Stream)?,
            datagram: find(SocketType::Dgram)?,
        })
    }

    /// Returns `true` if the component is a program.
    pub(crate) fn is_program(&self) -> bool {
        matches!(self, Exports::Program(_))
    }

    /// Checks the types of all functions. That can be done on an instance only.
    pub(crate) fn check_types(&self, instantiated: &mut Instantiated) -> Result<()> {
        match self {
            Exports::Handler { stream, datagram } => [stream, datagram]
                .into_iter()
                .flatten()
                .try_for_each(|functions| functions.check_types(instantiated)),
            Exports::Program(run) => run.check_types(instantiated),
        }
    }
}

impl Run {
    fn find(component: &Component) -> std::result::Result<Self, LoadError> {
        let (component, interface) = (component.wasmtime(), World::Command.interface());
        let index = component.get_export_index(None, interface);
        let run = index.and_then(|index| component.get_export_index(Some(&index), "run"));
        run.map(Run).ok_or(LoadError::MissingExport { interface, function: "run" })
    }

    fn check_types(&self, Instantiated { store, instance, .. }: &mut Instantiated) -> Result<()> {
        instance.get_typed_func::<(), RunResult>(store, &self.0).map(drop)
    }

    /// Runs the program, and returns its status.
    pub(crate) async fn call(&self, instantiated: &mut Instantiated) -> Result<i32> {
        let Instantiated { store, instance, waits, touched } = instantiated;
        let run = instance.get_typed_func::<(), RunResult>(&mut *store, &self.0)?;
        let (result,) = match waits {
            Waits::Block => run.call(store, ())?,
            Waits::Suspend => charge_for(touched.as_ref(), pin!(run.call_async(store, ()))).await?,
        };
        Ok(i32::from(result.is_err()))
    }
}

impl Functions {
    fn find(
        component: &Component,
        socket_type: SocketType,
    ) -> std::result::Result<Self, LoadError> {
        let component = component.wasmtime();
        let interface = World::for_socket_type(socket_type).interface();
        let missing = |function| LoadError::MissingExport { interface, function };
        let index = component.get_export_index(None, interface).ok_or_else(|| missing("setup"))?;
        let find = |function| {
            component.get_export_index(Some(&index), function).ok_or_else(|| missing(function))
        };
        Ok(Functions {
            socket_type,
            setup: find("setup")?,
            handle: find("handle")?,
            finish: find("finish")?,
        })
    }

    fn check_types(&self, Instantiated { store, instance, .. }: &mut Instantiated) -> Result<()> {
        let mut store = store.as_context_mut();
        match self.socket_type {
            SocketType::Stream => instance
                .get_typed_func::<ConnectionParams, GuestResult>(&mut store, &self.setup)
                .map(drop)?,
            SocketType::Dgram => instance
                .get_typed_func::<DatagramParams<'_>, GuestResult>(&mut store, &self.setup)
                .map(drop)?,
        }
        instance.get_typed_func::<(), GuestResult>(&mut store, &self.handle)?;
        instance.get_typed_func::<(), GuestResult>(&mut store, &self.finish)?;
        Ok(())
    }

    /// Calls `setup` with the parameters of the world.
    pub(crate) async fn setup(
        &self,
        instantiated: &mut Instantiated,
        request: &Request,
        client_address: &Address,
    ) -> Result<GuestResult> {
        let socket = instantiated.store.data_mut().push(request.clone())?;
        let address = types::Address::from(client_address);
        match self.socket_type {
            SocketType::Stream => {
                call::<ConnectionParams>(instantiated, &self.setup, (socket, address)).await
            }
            SocketType::Dgram => {
                let request = (request.data(), socket);
                call::<DatagramParams<'_>>(instantiated, &self.setup, (request, address)).await
            }
        }
    }

    pub(crate) async fn handle(&self, instantiated: &mut Instantiated) -> Result<GuestResult> {
        call(instantiated, &self.handle, ()).await
    }

    pub(crate) async fn finish(&self, instantiated: &mut Instantiated) -> Result<GuestResult> {
        call(instantiated, &self.finish, ()).await
    }
}

async fn call<Params: ComponentNamedList + Lower + Send>(
    Instantiated { store, instance, waits, touched }: &mut Instantiated,
    function: &ComponentExportIndex,
    params: Params,
) -> Result<GuestResult> {
    let function = instance.get_typed_func::<Params, GuestResult>(&mut *store, function)?;
    match waits {
        Waits::Block => function.call(store, params),
        Waits::Suspend => {
            charge_for(touched.as_ref(), pin!(function.call_async(store, params))).await
        }
    }
}
