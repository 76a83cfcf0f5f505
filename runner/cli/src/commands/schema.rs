//! `groundcrew schema`.

use crate::context::grant_keys;
use crate::exit::Exit;

pub(crate) fn run() -> Result<(), Exit> {
    let schema = serde_json::to_string_pretty(&groundcrew::runbook::schema(&grant_keys()))
        .map_err(|e| Exit::bug(e.to_string()))?;
    println!("{schema}");
    Ok(())
}
