//! How an interface's functions are linked.

use serde::de::DeserializeOwned;
use wasmtime::component::{ComponentNamedList, ComponentType, Lift, Linker, LinkerInstance, Lower};

use super::guest::Guest;
use crate::contract::Failure;
use crate::effect::Request;

/// Links the functions of one interface.
pub struct Linking<'a> {
    instance: LinkerInstance<'a, Guest>,
}

impl<'a> Linking<'a> {
    pub(crate) fn new(linker: &'a mut Linker<Guest>, interface: &str) -> wasmtime::Result<Self> {
        Ok(Self {
            instance: linker.instance(interface)?,
        })
    }

    /// Links `name`, which submits what `request` makes of its arguments and returns an operation
    /// id, and `take-<name>`, which takes the answer as a `T`.
    ///
    /// # Errors
    /// If one of the two is linked already.
    pub fn operation<P, T>(
        &mut self,
        name: &str,
        request: impl Fn(P) -> Request + Send + Sync + 'static,
    ) -> wasmtime::Result<()>
    where
        P: ComponentNamedList + Lift + 'static,
        T: ComponentType + Lower + DeserializeOwned + Send + Sync + 'static,
    {
        self.submission(name, request)?;
        let operation = name.to_owned();
        self.function(&format!("take-{name}"), move |guest, (number,): (u64,)| {
            let taken: Result<T, Failure> = guest.take(number, &operation)?;
            Ok((taken,))
        })
    }

    /// Links `name` alone: submits, and returns an operation id.
    ///
    /// # Errors
    /// If it is linked already.
    pub fn submission<P>(
        &mut self,
        name: &str,
        request: impl Fn(P) -> Request + Send + Sync + 'static,
    ) -> wasmtime::Result<()>
    where
        P: ComponentNamedList + Lift + 'static,
    {
        self.function(name, move |guest, arguments: P| {
            Ok((guest.submit(request(arguments))?,))
        })
    }

    /// Links a function that has no effect on the world.
    ///
    /// # Errors
    /// If it is linked already.
    pub fn function<P, R>(
        &mut self,
        name: &str,
        body: impl Fn(&mut Guest, P) -> wasmtime::Result<R> + Send + Sync + 'static,
    ) -> wasmtime::Result<()>
    where
        P: ComponentNamedList + Lift + 'static,
        R: ComponentNamedList + Lower + 'static,
    {
        let called = name.to_owned();
        self.instance.func_wrap(
            name,
            move |mut store: wasmtime::StoreContextMut<'_, Guest>, arguments: P| {
                store.data().performs(&called)?;
                body(store.data_mut(), arguments)
            },
        )
    }

    pub(crate) fn instance(&mut self) -> &mut LinkerInstance<'a, Guest> {
        &mut self.instance
    }
}
