//! Randomness that does not depend on order.
//!
//! Every draw is a function of the seed and of what it is for (a Machine, a purpose, a count),
//! not of a shared stream: concurrent clients that arrive in another order get the same boots,
//! and a benchmark can ask for a duration before it happens.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// FNV-1a's parameters, from its specification.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// A number drawn for this purpose.
pub fn draw(seed: u64, purpose: &str, of: &str, count: u64) -> u64 {
    let mut hash = FNV_OFFSET;
    let parts = [
        &seed.to_le_bytes()[..],
        purpose.as_bytes(),
        &[0],
        of.as_bytes(),
        &[0],
        &count.to_le_bytes()[..],
    ];
    for byte in parts.into_iter().flatten() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
    }
    Pcg64Mcg::seed_from_u64(hash).next_u64()
}

/// A number below `bound` (0 if it is 0), by multiplication: the same on every machine.
pub fn below(drawn: u64, bound: u64) -> u64 {
    ((u128::from(drawn) * u128::from(bound)) >> 64) as u64
}
