//! Saying what will be written to before it is.

use super::door;
use super::machine::Machine;
use crate::queue::Operation;
use crate::{Host, Result};

/// As many as the contract takes.
const AT_MOST: usize = 10_000;

impl Host {
    /// Says that the step is going to write to these Machines of an app, and to make so many more. Call it
    /// before the first write: a grant that is too small is then found while nothing has happened.
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
        let machines = machines.into_iter().take(AT_MOST);
        let ids: Vec<String> = machines.map(|machine| machine.id.clone()).collect();
        if ids.is_empty() && makes == 0 {
            return Ok(());
        }
        let makes = u32::try_from(makes).unwrap_or(u32::MAX);
        let id = door::announce(app, &ids, makes);
        Operation::new(id, |op| Ok(door::take_announce(op)?)).await
    }
}
