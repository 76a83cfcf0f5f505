//! The language of Groundcrew runbooks: text in, checked runbook and diagnostics out.
//!
//! Pure: no I/O, no async, no plugins. [`check`] reads a TOML text and gives a [`Runbook`] or every
//! [`Diagnostic`] at once; [`Runbook::bind_inputs`] binds what the operator gave; templates and
//! conditions are then evaluated over a [`Scope`]. Whether a plugin exists, what its schema says
//! and what policy allows is deliberately not known here: that is the engine's admission.
//!
//! Three forms of one thing: a draft (private, names unchecked), the checked [`Runbook`], and the
//! evaluated values such as [`EvaluatedGrant`].
//!
//! ```
//! let text = r#"
//! name = "count"
//! summary = "Counts Machines."
//! [[step]]
//! id = "count"
//! plugin = "count-machines"
//! "#;
//! let runbook = groundcrew_runbook::check(text).expect("it is a runbook");
//! assert_eq!(runbook.steps[0].id, "count");
//! ```
#![forbid(unsafe_code)]

mod check;
mod convert;
mod cost;
mod diagnostic;
mod draft;
mod duration;
mod expression;
mod grant;
mod input;
pub mod limits;
mod model;
mod read;
mod schema;
mod template;

pub use check::{check, check_for};
pub use diagnostic::{Code, Diagnostic, Related, Severity, nearest, position, render};
pub use duration::{DurationError, MAX_DURATION, format_duration, parse_duration};
pub use expression::{Expression, ExpressionError, Scope};
pub use grant::{EvaluatedGrant, Grant, GrantForm, GrantKey, GrantKeys, Limit, LimitValue};
pub use input::{InputError, InputSpec, InputType, SEALED, is_sealed, sealed_part};
pub use model::{DEFAULT_TIMEOUT, OnFailure, Retry, Runbook, Step};
pub use schema::schema;
pub use template::{Condition, Template, TemplateValue};
