//! End-to-end tests: the real binary, real wasm, the simulator.
