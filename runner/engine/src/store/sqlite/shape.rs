//! What the file is made of (tables, indexes, triggers, views) against what this program makes. A trigger
//! changes what is written later, and without an index something can be there twice: no row shows that.

use rusqlite::Connection;

use super::file::brought_up;

/// A row of the schema.
struct Part {
    /// `table`, `index`, `trigger` or `view`.
    kind: String,
    name: String,
    /// What it is of, and its text.
    text: (String, String),
}

fn parts(connection: &Connection) -> rusqlite::Result<Vec<Part>> {
    let select = "SELECT type, name, tbl_name, coalesce(sql, '') FROM main.sqlite_schema ORDER BY type, name";
    let mut select = connection.prepare(select)?;
    let rows = select.query_map([], |row| {
        let text: String = row.get(3)?;
        Ok(Part {
            kind: row.get(0)?,
            name: row.get(1)?,
            text: (row.get(2)?, spaced(&text)),
        })
    })?;
    rows.collect()
}

/// A text without the spaces that mean nothing: a table that was brought up to date has others than one
/// that is new.
fn spaced(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut text = words.join(" ");
    for mark in ["(", ")", ","] {
        for beside in [format!(" {mark}"), format!("{mark} ")] {
            text = text.replace(&beside, mark);
        }
    }
    text
}

/// What differs, a sentence each.
pub(super) fn altered(file: &Connection) -> rusqlite::Result<Vec<String>> {
    let new = Connection::open_in_memory()?;
    brought_up(&new, 0)?;
    let mut made = parts(&new)?;
    let mut all = Vec::new();
    for Part { kind, name, text } in parts(file)? {
        let ours = made
            .iter()
            .position(|made| (&made.kind, &made.name) == (&kind, &name));
        match ours.map(|at| made.remove(at)) {
            None => all.push(format!(
                "the store has a {kind} `{name}`, which this program does not make"
            )),
            Some(ours) if ours.text != text => all.push(format!(
                "the {kind} `{name}` of the store is not as this program makes it"
            )),
            Some(_) => {}
        }
    }
    let missing = made
        .iter()
        .map(|Part { kind, name, .. }| format!("the store has no {kind} `{name}`"));
    all.extend(missing);
    Ok(all)
}
