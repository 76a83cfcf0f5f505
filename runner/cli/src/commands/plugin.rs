//! `groundcrew plugin list|show|capabilities`.

use clap::Subcommand;
use serde_json::{Value, json};

use crate::context::Shared;
use crate::exit::Exit;
use crate::render::table;
use crate::shown::as_json;
use crate::terminal::{data, say};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the plugins that are here
    List,
    /// Show what a plugin takes, gives, imports and asks for
    Show {
        /// Its name
        name: String,
    },
    /// Print the operations table: every operation that a plugin can ask for
    Capabilities,
}

pub(crate) async fn run(shared: &Shared, command: Command) -> Result<(), Exit> {
    let config = shared.config()?;
    // Nothing of a run is needed, so no state directory either.
    let engine = shared.engine_on(
        &config,
        std::sync::Arc::new(groundcrew::store::MemoryStore::default()),
        groundcrew::Limits::default(),
    )?;
    match command {
        Command::List => {
            let mut rows = Vec::new();
            for name in engine.plugin_names() {
                rows.push(match engine.plugin(&name).await {
                    Ok(plugin) => json!({ "name": name, "version": plugin.info.version, "summary": plugin.info.summary }),
                    Err(e) => json!({ "name": name, "version": "-", "summary": format!("not usable: {}", e.reason) }),
                });
            }
            print(shared, &rows);
        }
        Command::Show { name } => {
            let plugin = engine.plugin(&name).await?;
            let schema = |text: &str| serde_json::from_str::<Value>(text).unwrap_or(Value::Null);
            let whole = json!({
                "name": plugin.info.name,
                "version": plugin.info.version,
                "summary": plugin.info.summary,
                "digest": plugin.digest,
                "capabilities": plugin.info.capabilities,
                "imports": plugin.imports,
                "input": schema(&plugin.info.input_schema),
                "output": schema(&plugin.info.output_schema),
            });
            if shared.json {
                data!("{}", as_json(&whole));
            } else {
                data!(
                    "{} {}\n{}\n\nsha256 {}\n\nAsks for:",
                    plugin.info.name,
                    plugin.info.version,
                    plugin.info.summary,
                    plugin.digest
                );
                for request in &plugin.info.capabilities {
                    let beyond = match engine.leaves(&request.name) {
                        true => " (asks others than the target)",
                        false => "",
                    };
                    data!(
                        "  {} {}{}: {}",
                        request.name,
                        request.verbs.join(", "),
                        beyond,
                        request.reason
                    );
                }
                data!("\nTakes:\n{}", properties(&whole["input"]));
                data!("\nImports (it can do nothing else):");
                plugin
                    .imports
                    .iter()
                    .for_each(|import| data!("  {}", import));
            }
        }
        Command::Capabilities => {
            let rows: Vec<Value> = engine
                .operations()
                .map(|row| serde_json::to_value(row).unwrap_or(Value::Null))
                .collect();
            if shared.json {
                rows.iter().for_each(|row| data!("{}", as_json(row)));
            } else {
                let short = rows.iter().map(|row| {
                    json!({ "operation": row["name"], "kind": row["kind"], "verb": row["verb"], "idempotent": if row["idempotent"] == json!(true) { "yes" } else { "no" }, "undo": row["undo"], "in doubt": row["in_doubt"] })
                });
                data!("{}", table(&short.collect::<Vec<_>>(), ""));
            }
        }
    }
    Ok(())
}

pub(crate) fn print(shared: &Shared, rows: &[Value]) {
    if shared.json {
        rows.iter().for_each(|row| data!("{}", as_json(row)));
    } else if rows.is_empty() {
        say!("none");
    } else {
        data!("{}", table(rows, ""));
    }
}

fn properties(schema: &Value) -> String {
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let fields = schema["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, about)| {
            let kind = match &about["type"] {
                Value::String(kind) => kind.clone(),
                Value::Array(kinds) => kinds
                    .iter()
                    .filter_map(Value::as_str)
                    .filter(|k| *k != "null")
                    .collect::<Vec<_>>()
                    .join("|"),
                _ => "value".to_owned(),
            };
            let must = if required.contains(&name.as_str()) {
                " (required)"
            } else {
                ""
            };
            let default = if about["default"].is_null() {
                String::new()
            } else {
                format!(" [default: {}]", about["default"])
            };
            format!(
                "  {name}: {kind}{must}{default}\n      {}",
                about["description"]
                    .as_str()
                    .unwrap_or_default()
                    .replace('\n', " ")
            )
        });
    fields.collect::<Vec<_>>().join("\n")
}
