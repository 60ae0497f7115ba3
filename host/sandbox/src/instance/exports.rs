//! What a handler exports: the three functions of each world that it targets.

use socketserver::{Address, Request};
use wasmtime::component::{ComponentExportIndex, ComponentNamedList, Instance, Lower, Resource};
use wasmtime::{Result, Store};

use crate::error::LoadError;
use crate::host::bindings::types;
use crate::host::state::State;
use crate::load::component::Component;
use crate::world::World;

/// Where the functions are, for each world that the component targets.
pub(crate) struct Exports {
    stream: Option<Functions>,
    datagram: Option<Functions>,
}

/// Where the three functions of one world are.
pub(crate) struct Functions {
    world: World,
    setup: ComponentExportIndex,
    handle: ComponentExportIndex,
    finish: ComponentExportIndex,
}

/// What `setup` of each world takes. The datagram is copied once, into the
/// memory of the guest.
type Connection = (Resource<Request>, types::Address);
type Datagram<'a> = ((&'a [u8], Resource<Request>), types::Address);
/// What all of them return.
pub(crate) type Outcome = (std::result::Result<(), String>,);

impl Exports {
    /// Errors: an interface is there, a function of it is not.
    pub(crate) fn of(component: &Component) -> std::result::Result<Self, LoadError> {
        let find = |world| {
            let targets = component.description().worlds.contains(&world);
            targets.then(|| Functions::of(component, world)).transpose()
        };
        Ok(Exports { stream: find(World::Stream)?, datagram: find(World::Datagram)? })
    }

    /// The functions of `world`, if the component targets it.
    pub(crate) fn get(&self, world: World) -> Option<&Functions> {
        match world {
            World::Stream => self.stream.as_ref(),
            World::Datagram => self.datagram.as_ref(),
        }
    }

    /// The worlds that the component targets.
    pub(crate) fn worlds(&self) -> impl Iterator<Item = World> {
        World::ALL.into_iter().filter(|world| self.get(*world).is_some())
    }

    /// Checks the types of all functions. That can be done on an instance only.
    pub(crate) fn check(&self, store: &mut Store<State>, instance: &Instance) -> Result<()> {
        self.worlds()
            .filter_map(|world| self.get(world))
            .try_for_each(|functions| functions.check(store, instance))
    }
}

impl Functions {
    fn of(component: &Component, world: World) -> std::result::Result<Self, LoadError> {
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

    fn check(&self, store: &mut Store<State>, instance: &Instance) -> Result<()> {
        match self.world {
            World::Stream => {
                instance
                    .get_typed_func::<Connection, Outcome>(&mut *store, &self.setup)
                    .map(drop)?;
            }
            World::Datagram => {
                instance
                    .get_typed_func::<Datagram<'_>, Outcome>(&mut *store, &self.setup)
                    .map(drop)?;
            }
        }
        instance.get_typed_func::<(), Outcome>(&mut *store, &self.handle)?;
        instance.get_typed_func::<(), Outcome>(&mut *store, &self.finish)?;
        Ok(())
    }

    /// Calls `setup` with what the world has for it.
    pub(crate) fn setup(
        &self,
        store: &mut Store<State>,
        instance: &Instance,
        request: &Request,
        client_address: &Address,
    ) -> Result<Outcome> {
        let socket = store.data_mut().push(request.clone())?;
        let address = types::Address::from(client_address);
        match self.world {
            World::Stream => call::<Connection>(store, instance, &self.setup, (socket, address)),
            World::Datagram => {
                let request = (request.data(), socket);
                call::<Datagram<'_>>(store, instance, &self.setup, (request, address))
            }
        }
    }

    pub(crate) fn handle(&self, store: &mut Store<State>, instance: &Instance) -> Result<Outcome> {
        call(store, instance, &self.handle, ())
    }

    pub(crate) fn finish(&self, store: &mut Store<State>, instance: &Instance) -> Result<Outcome> {
        call(store, instance, &self.finish, ())
    }
}

fn call<Params: ComponentNamedList + Lower>(
    store: &mut Store<State>,
    instance: &Instance,
    function: &ComponentExportIndex,
    params: Params,
) -> Result<Outcome> {
    instance.get_typed_func::<Params, Outcome>(&mut *store, function)?.call(store, params)
}
