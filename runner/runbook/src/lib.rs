//! wip
#![forbid(unsafe_code)]
mod convert;mod cost;mod diagnostic;mod duration;mod expression;pub mod limits;
pub use duration::*;pub use diagnostic::*;pub use expression::*;
