//! Write Groundcrew plugins in Rust.
