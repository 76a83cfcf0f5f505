//! `groundcrew schema`.

use crate::context::grant_keys;
use crate::exit::Exit;
use crate::shown::as_json_text;
use crate::terminal::data;

pub(crate) fn run() -> Result<(), Exit> {
    let schema = serde_json::to_string_pretty(&groundcrew::runbook::schema(&grant_keys()))
        .map_err(|e| Exit::bug(e.to_string()))?;
    data!("{}", as_json_text(&schema));
    Ok(())
}
