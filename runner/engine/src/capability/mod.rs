//! A capability: one interface that plugins may import, in four parts. Ours and an embedder's own
//! go through this one trait.
//!
//! 1. its interface and how it is linked ([`Capability::link`]);
//! 2. its rows in the operations table ([`Capability::operations`]), and what a grant of it can say
//!    ([`Capability::scopes`], [`Capability::radius`]);
//! 3. and 4. its executor, live and on a fork ([`Capability::executor`]).

pub(crate) mod guest;
mod linking;
pub(crate) mod operations;

use std::sync::Arc;

use crate::effect::{Executor, Row, Setting};
use crate::grant::{Radius, Scope, Terms};

pub use linking::Linking;

/// One capability of the host.
pub trait Capability: Send + Sync + 'static {
    /// Its name in grants: `machines`.
    fn name(&self) -> &'static str;

    /// Its interface with the version: `groundcrew:host/machines@0.1.0`.
    fn interface(&self) -> &'static str;

    /// Its rows in the operations table. Each name starts with the capability's.
    fn operations(&self) -> &'static [Row];

    /// In what respects a grant says by name what may be acted on.
    fn scopes(&self) -> &'static [Scope] {
        &[]
    }

    /// How a grant says how much may be written to; nothing, if writes are not counted.
    fn radius(&self) -> Option<&'static Radius> {
        None
    }

    /// Whether it goes elsewhere than to the target's places: people are told where, and asked, before a
    /// rehearsal too.
    fn leaves(&self) -> bool {
        false
    }

    /// Links the interface's functions.
    ///
    /// # Errors
    /// If a name is linked twice.
    fn link(&self, linking: &mut Linking<'_>) -> wasmtime::Result<()>;

    /// What performs the capability's effects for one run.
    ///
    /// # Errors
    /// Why the run cannot be admitted: the target lacks something. Nothing has happened.
    fn executor(&self, setting: &Setting) -> Result<Arc<dyn Executor>, String>;
}

/// All that a grant of a capability can say.
pub(crate) fn terms(capability: &dyn Capability) -> Terms {
    Terms {
        capability: capability.name(),
        scopes: capability.scopes(),
        radius: capability.radius(),
    }
}
