//! What of an answer whoever asks may see.

use std::fmt;
use std::sync::Arc;

/// What the grant of whoever asks covers: for what a request does not name itself, such as the rows of a
/// listing. An executor leaves out the others and says how many ([`crate::Outcome::left_out`]).
#[derive(Clone, Default)]
pub struct Cover(Option<Arc<Covers>>);

type Covers = dyn Fn(&str, &str) -> bool + Send + Sync;

impl Cover {
    /// By the word of a scope (`app`) and a name.
    pub(crate) fn new(covers: impl Fn(&str, &str) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(covers)))
    }

    /// Everything: for whoever looks without a run.
    pub fn all() -> Self {
        Self(None)
    }

    /// Whether a name is covered, `one` being the word of its scope: `app`.
    pub fn has(&self, one: &str, name: &str) -> bool {
        self.0.as_ref().is_none_or(|covers| covers(one, name))
    }
}

impl fmt::Debug for Cover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Cover(…)"
        } else {
            "Cover(all)"
        })
    }
}
