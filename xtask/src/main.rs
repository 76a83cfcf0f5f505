//! Builds, tests, demonstrates and measures Groundcrew.

fn main() {}
