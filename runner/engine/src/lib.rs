//! Embeddable runner of sandboxed WASM runbooks for fleets of Fly Machines.
