//! The functions that a handler exports: three for each world that it targets.

use socketserver::{Address, Request};
use wasmtime::component::{ComponentExportIndex, ComponentNamedList, Lower, Resource};
use wasmtime::{AsContextMut, Result};

use crate::error::LoadError;
use crate::host::bindings::types;
use crate::instance::store::Instantiated;
use crate::load::component::Component;
use crate::world::World;

/// The functions of each world that the component targets.
pub(crate) struct Exports {
    stream: Option<Functions>,
    datagram: Option<Functions>,
}

/// The three functions of one world.
pub(crate) struct Functions {
    world: World,
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
        let find = |world| {
            let targets = component.description().worlds.contains(&world);
            targets.then(|| Functions::find(component, world)).transpose()
        };
        Ok(Exports { stream: find(World::Stream)?, datagram: find(World::Datagram)? })
    }

    /// Returns the functions of `world`, if the component targets it.
    pub(crate) fn get(&self, world: World) -> Option<&Functions> {
        match world {
            World::Stream => self.stream.as_ref(),
            World::Datagram => self.datagram.as_ref(),
        }
    }

    /// Returns the worlds that the component targets.
    pub(crate) fn worlds(&self) -> impl Iterator<Item = World> {
        World::ALL.into_iter().filter(|world| self.get(*world).is_some())
    }

    /// Checks the types of all functions. That can be done on an instance only.
    pub(crate) fn check_types(&self, instantiated: &mut Instantiated) -> Result<()> {
        self.worlds()
            .filter_map(|world| self.get(world))
            .try_for_each(|functions| functions.check_types(instantiated))
    }
}

impl Functions {
    fn find(component: &Component, world: World) -> std::result::Result<Self, LoadError> {
        let component = component.wasmtime();
        let interface = world.interface();
        let missing = |function| LoadError::MissingExport { interface, function };
        let index = component.get_export_index(None, interface).ok_or_else(|| missing("setup"))?;
        let find = |function| {
            component.get_export_index(Some(&index), function).ok_or_else(|| missing(function))
        };
        Ok(Functions {
            world,
            setup: find("setup")?,
            handle: find("handle")?,
            finish: find("finish")?,
        })
    }

    fn check_types(&self, Instantiated { store, instance }: &mut Instantiated) -> Result<()> {
        let mut store = store.as_context_mut();
        match self.world {
            World::Stream => instance
                .get_typed_func::<ConnectionParams, GuestResult>(&mut store, &self.setup)
                .map(drop)?,
            World::Datagram => instance
                .get_typed_func::<DatagramParams<'_>, GuestResult>(&mut store, &self.setup)
                .map(drop)?,
        }
        instance.get_typed_func::<(), GuestResult>(&mut store, &self.handle)?;
        instance.get_typed_func::<(), GuestResult>(&mut store, &self.finish)?;
        Ok(())
    }

    /// Calls `setup` with the parameters of the world.
    pub(crate) fn setup(
        &self,
        instantiated: &mut Instantiated,
        request: &Request,
        client_address: &Address,
    ) -> Result<GuestResult> {
        let socket = instantiated.store.data_mut().push(request.clone())?;
        let address = types::Address::from(client_address);
        match self.world {
            World::Stream => call::<ConnectionParams>(instantiated, &self.setup, (socket, address)),
            World::Datagram => {
                let request = (request.data(), socket);
                call::<DatagramParams<'_>>(instantiated, &self.setup, (request, address))
            }
        }
    }

    pub(crate) fn handle(&self, instantiated: &mut Instantiated) -> Result<GuestResult> {
        call(instantiated, &self.handle, ())
    }

    pub(crate) fn finish(&self, instantiated: &mut Instantiated) -> Result<GuestResult> {
        call(instantiated, &self.finish, ())
    }
}

fn call<Params: ComponentNamedList + Lower>(
    Instantiated { store, instance }: &mut Instantiated,
    function: &ComponentExportIndex,
    params: Params,
) -> Result<GuestResult> {
    instance.get_typed_func::<Params, GuestResult>(&mut *store, function)?.call(store, params)
}
