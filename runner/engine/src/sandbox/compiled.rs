//! Compiled components as they are mapped into memory: the one place of this program that is `unsafe`.
#![expect(unsafe_code, reason = "mapping compiled code that we wrote ourselves")]

use wasmtime::component::Component;

/// Loads code that [`wasmtime::Engine::precompile_component`] made.
///
/// Sound only because the bytes come from the private cache directory, which nobody but this user
/// can write to, were written there by this program, and are as it wrote them (checked by the cache).
pub(crate) fn load_compiled(
    engine: &wasmtime::Engine,
    bytes: &[u8],
) -> wasmtime::Result<Component> {
    // SAFETY: see above; wasmtime itself refuses code of another version or configuration.
    unsafe { Component::deserialize(engine, bytes) }
}
