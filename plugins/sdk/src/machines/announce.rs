//! Saying what will be written to before it is.

use super::door;
use super::machine::Machine;
use crate::queue::Operation;
use crate::{Host, Result};

/// As many as the contract takes at once.
const AT_ONCE: usize = 3000;

impl Host {
    /// Says that the step is going to write to these Machines of an app, and to make so many more. Call it
    /// before the first write: a grant that is too small is then found while nothing has happened. Of more
    /// than 3,000 Machines each 3,000 are announced by themselves.
    ///
    /// # Errors
    ///
    /// As denied, if the grant or the operator's policy does not cover all of them, or allows fewer.
    pub async fn will_write<'a>(
        &self,
        app: &str,
        machines: impl IntoIterator<Item = &'a Machine>,
        makes: usize,
    ) -> Result<()> {
        let ids: Vec<String> = machines.into_iter().map(|it| it.id.clone()).collect();
        let mut makes = u32::try_from(makes).unwrap_or(u32::MAX);
        let mut chunks = ids.chunks(AT_ONCE);
        let first = chunks.next().unwrap_or_default();
        for ids in std::iter::once(first).chain(chunks) {
            if !ids.is_empty() || makes > 0 {
                let id = door::announce(app, ids, std::mem::take(&mut makes));
                Operation::new(id, |op| Ok(door::take_announce(op)?)).await?;
            }
        }
        Ok(())
    }
}
