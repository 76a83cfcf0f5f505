//! Run sandboxed WASM runbooks against fleets of Fly Machines.

fn main() {}
