//! Every bound of the language in one table. All are ours, chosen to be far above what a person
//! writes and far below what hurts; each is tested at the limit and one past it.

/// Bytes of a runbook's text.
pub const MAX_TEXT: usize = 256 * 1024;
/// Steps of a runbook, `rescue` and `finally` included.
pub const MAX_STEPS: usize = 256;
/// Inputs of a runbook.
pub const MAX_INPUTS: usize = 256;
/// Bytes of one expression. The parser's time grows faster than its input.
pub const MAX_EXPRESSION: usize = 1024;
/// Brackets, negations and conditionals inside each other in one expression. The parser recurses
/// for each and overflows its stack long before it reports anything.
pub const MAX_NESTING: usize = 16;
/// Operators and selections in one expression: `1 + 1 + …` becomes a tree as deep as it is long.
pub const MAX_OPERATORS: usize = 128;
/// Bytes that one expression may result in, as JSON.
pub const MAX_RESULT: usize = 1024 * 1024;
/// What evaluating one expression may cost, in nodes visited plus bytes made (see `cost`).
pub const MAX_COST: u64 = 16 * 1024 * 1024;
/// What evaluating everything that is evaluated at once may cost: a step's inputs, a grant. About a
/// second.
pub const MAX_TOGETHER: u64 = 4 * MAX_COST;
/// Bytes that all of that may result in.
pub const MAX_RESULTS: usize = 8 * MAX_RESULT;
/// What may be evaluated in passing, among things that must not wait: some milliseconds.
pub(crate) const SOON: u64 = MAX_COST / 16;
/// Bytes of an input's `pattern`.
pub const MAX_PATTERN: usize = 1024;
/// Bytes of the program that such a pattern becomes: `(a{99}){99}` is short, and large.
pub(crate) const MAX_PROGRAM: usize = 128 * 1024;
/// Characters of a value that a message quotes.
pub(crate) const MAX_QUOTED: usize = 500;
/// Diagnostics of one file: after that many, more would not be read.
pub const MAX_DIAGNOSTICS: usize = 100;
/// Attempts of one step, the first included.
pub const MAX_ATTEMPTS: u64 = 100;
/// Bytes of an identifier. Ids are part of metadata keys and of file names.
pub const MAX_ID: usize = 63;
