//! `groundcrew schema`.

use crate::exit::Exit;

pub(crate) fn run() -> Result<(), Exit> {
    let schema = serde_json::to_string_pretty(&groundcrew::runbook::schema())
        .map_err(|e| Exit::bug(e.to_string()))?;
    println!("{schema}");
    Ok(())
}
