//! Measures what Groundcrew promises.

fn main() {}
