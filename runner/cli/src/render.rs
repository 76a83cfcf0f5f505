//! How results are shown to people, and as JSON.

use crate::shown::{Shown, as_json, put, shown};
use crate::terminal::{data, say};
use groundcrew::journal::{Decision, Entry, Mode, PlanApplied, Record, StepEnded, StepStatus};
use groundcrew::{Admitted, Engine, Kind, RunReport};
use serde_json::{Value, json};

/// A word for a step's end: colour is never the only sign.
pub(crate) fn mark(status: StepStatus) -> &'static str {
    match status {
        StepStatus::Succeeded => "ok:",
        StepStatus::Failed => "failed:",
        StepStatus::Skipped => "skipped:",
        StepStatus::Cancelled => "cancelled:",
    }
}

pub(crate) fn outcome_line(ended: &StepEnded) -> String {
    match &ended.problem {
        Some(problem) => format!("step `{}`: {}", ended.step, problem.message),
        None => format!("step `{}`", ended.step),
    }
}

/// A grant in one line: what of what, and how much of it. Whatever its keys are they are shown, in the
/// words of the capability if it is one of ours.
pub(crate) fn grant(capability: &str, grant: &Value) -> String {
    let list = |value: &Value| -> String {
        let texts = value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        texts
            .map(|s| format!("`{s}`"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let all = groundcrew_capabilities::all();
    let known = all.iter().find(|known| known.name() == capability);
    let radius = known.and_then(|known| known.radius());
    let scopes = known.map_or([].as_slice(), |known| known.scopes());
    let keys = scopes.iter().map(|scope| scope.key);
    let place = |key: &str| {
        keys.clone()
            .position(|known| known == key)
            .unwrap_or(usize::MAX)
    };
    let mut limits: Vec<(&String, &Value)> = grant.as_object().into_iter().flatten().collect();
    limits.retain(|(key, value)| *key != "verbs" && !value.is_null());
    limits.sort_by_key(|(key, value)| (value.is_number(), place(key)));
    let mut said = Vec::new();
    for (key, limit) in limits {
        if let Some(number) = limit.as_u64() {
            let share = radius.is_some_and(|radius| radius.share == Some(key));
            let many = radius
                .filter(|radius| radius.most == key)
                .map(|radius| radius.many);
            let looked_up = scopes.iter().find(|scope| scope.looked_up);
            said.push(match (share, many) {
                (true, _) => {
                    let of = looked_up.map_or("of them", |scope| scope.one);
                    format!("at most {number} % of a {of}")
                }
                (false, Some(many)) => format!("at most {number} {many}"),
                (false, None) => format!("{key} {number}"),
            });
            continue;
        }
        let lists: Vec<&Value> = limit.as_array().into_iter().flatten().collect();
        let nothing = lists
            .iter()
            .any(|listed| listed.as_array().is_some_and(Vec::is_empty));
        if nothing && place(key) != usize::MAX {
            said.push(format!("no {key}"));
        } else if !nothing && !lists.is_empty() {
            let lists: Vec<String> = lists.into_iter().map(list).collect();
            said.push(format!("{key} {}", lists.join(" and within ")));
        }
    }
    let of = if said.is_empty() { "" } else { " of " };
    format!(
        "{capability} {}{of}{}",
        list(&grant["verbs"]),
        said.join(", ")
    )
}

/// Shows which steps may write what, and which may ask whom beyond the target; whether there are such.
pub(crate) fn may(engine: &Engine, admitted: &Admitted, mode: Mode) -> bool {
    let writes = |capability: &str, verb: &str| {
        let mut rows = engine
            .operations()
            .filter(|row| row.capability() == capability);
        rows.any(|row| row.verb == verb && row.kind == Kind::Write && !row.housekeeping)
    };
    let granted = || {
        admitted
            .grants()
            .filter(|(_, _, grant)| grant.is_something())
    };
    let writing: Vec<_> = granted()
        .filter(|(_, capability, grant)| grant.verbs().iter().any(|v| writes(capability, v)))
        .filter(|_| mode == Mode::Perform)
        .collect();
    let leaving: Vec<_> = granted()
        .filter(|(_, capability, _)| engine.leaves(capability))
        .collect();
    if writing.is_empty() && leaving.is_empty() {
        return false;
    }
    let target = admitted.target();
    say!(
        "On target `{}` (organisation {}):",
        target.name,
        target.organisation.as_deref().unwrap_or("not named")
    );
    for (place, at) in target.places() {
        say!("  {} {}", place, at.url());
    }
    for (what, steps) in [
        ("This run may write:", &writing),
        ("This run may ask others than the target:", &leaving),
    ] {
        if !steps.is_empty() {
            say!("{}", what);
        }
        for (step, capability, granted) in steps {
            say!(
                "  step `{}`: {}",
                step,
                grant(capability, &granted.to_json())
            );
        }
    }
    true
}

/// The steps that came to no good end, where nobody has followed the run.
pub(crate) fn failures(report: &RunReport) {
    for ended in &report.steps {
        if ended.status != StepStatus::Succeeded {
            say!("{} {}", mark(ended.status), outcome_line(ended));
        }
    }
}

/// The end of a run: outputs on standard output, the summary on standard error.
pub(crate) fn report(report: &RunReport, mode: Mode, json: bool) {
    if json {
        let line = json!({
            "run": *report.run,
            "mode": mode,
            "status": report.status.map(|s| s.word()),
            "in_doubt": report.in_doubt,
            "steps": report.steps,
        });
        data!("{}", as_json(&line));
        return;
    }
    for step in &report.steps {
        if let Some(output) = &step.output {
            data!("{}", output_text(&step.step, output));
        }
    }
    let rehearsal = if mode == Mode::Rehearsal {
        " (rehearsal: nothing was written to the target)"
    } else {
        ""
    };
    match report.status {
        Some(status) => say!("run {}: {}{}", report.run, status.word(), rehearsal),
        None => say!("run {}: not closed{}", report.run, rehearsal),
    }
    for effect in &report.in_doubt {
        say!(
            "  in doubt: {}; `groundcrew runs show {}` shows what is known",
            effect,
            report.run
        );
    }
}

/// A step's output: lists of objects as tables, everything else as `name: value`.
pub(crate) fn output_text(step: &str, output: &Value) -> Shown {
    let mut text = shown!("{}:", step);
    let Some(fields) = output.as_object() else {
        put!(text, " {}", output);
        return text;
    };
    for (name, value) in fields {
        match value {
            Value::Array(items) if items.iter().any(Value::is_object) => {
                let rows = table(items, "    ");
                put!(text, "\n  {} ({}):\n{}", name, items.len(), rows);
            }
            Value::Object(inner) => {
                put!(text, "\n  {}:", name);
                for (key, value) in inner {
                    put!(text, "\n    {}: {}", key, cell(value));
                }
            }
            other => put!(text, "\n  {}: {}", name, cell(other)),
        }
    }
    text
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// Columns that come first, in this order; the others follow as they are.
const FIRST: [&str; 12] = [
    "run",
    "operation",
    "name",
    "id",
    "group",
    "region",
    "state",
    "result",
    "status",
    "version",
    "kind",
    "verb",
];

/// Characters of a table's cell. Every row is as wide as the widest, and no text can be made wider than
/// 65,535. `--json` has all of it.
const CELL: usize = 1000;
/// Columns of a table.
const COLUMNS: usize = 64;

/// A text in a table.
fn narrow(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(CELL) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Columns as wide as they need to be.
pub(crate) fn table(rows: &[Value], indent: &str) -> Shown {
    let mut names: Vec<&String> = Vec::new();
    for key in rows
        .iter()
        .filter_map(Value::as_object)
        .flat_map(|row| row.keys())
    {
        if names.len() < COLUMNS && key.len() <= CELL && !names.contains(&key) {
            names.push(key);
        }
    }
    names.sort_by_key(|name| {
        let place = FIRST.iter().position(|first| first == name);
        place.unwrap_or(FIRST.len())
    });
    let head: Vec<Shown> = names.iter().map(|name| shown!("{}", name)).collect();
    let cells = rows.iter().map(|row| {
        let of = |name: &&String| {
            let value = row.get(name.as_str());
            value.map_or_else(String::new, |value| narrow(cell(value)))
        };
        names.iter().map(|name| shown!("{}", of(name))).collect()
    });
    let all: Vec<Vec<Shown>> = std::iter::once(head).chain(cells).collect();
    let width = |column: usize| all.iter().map(|row| row[column].width()).max();
    let widths: Vec<usize> = (0..names.len()).filter_map(width).collect();
    let mut text = Shown::default();
    for (number, row) in all.iter().enumerate() {
        if number > 0 {
            put!(text, "\n");
        }
        put!(text, "{}", indent);
        // Nothing is put behind what is the last of its line.
        let last = row.iter().rposition(|cell| !cell.is_empty()).unwrap_or(0);
        for (column, cell) in row.iter().enumerate().take(last + 1) {
            put!(text, "{}", cell);
            if column < last {
                put!(text, "{}", " ".repeat(widths[column] - cell.width() + 2));
            }
        }
    }
    text
}

/// An entry as one line of JSON.
pub(crate) fn entry_json(run: &str, record: &Record) -> Value {
    let payload: Value = serde_json::from_str(&record.payload).unwrap_or(Value::Null);
    json!({ "run": run, "sequence": record.sequence, "at": record.at.to_string(), "kind": record.kind.word(), "payload": payload })
}

/// Which plan a run applies.
pub(crate) fn applies(plan: &PlanApplied) -> String {
    let digest: String = plan.digest.chars().take(16).collect();
    let approved = match plan.approvals.as_slice() {
        [] => String::new(),
        some => format!(", approved by {}", some.join(", ")),
    };
    format!(", applying plan {digest} of {}{approved}", plan.author)
}

/// An entry as one line for people.
pub(crate) fn entry_line(record: &Record) -> String {
    let at = record.at.strftime("%H:%M:%S%.3f");
    let what = match record.entry() {
        Err(e) => format!("does not read: {e}"),
        Ok(Entry::RunOpened(h)) => format!(
            "`{}` on `{}` by {}@{}{}",
            h.runbook,
            h.target["name"].as_str().unwrap_or_default(),
            h.actor.user,
            h.actor.host,
            h.plan.as_ref().map_or_else(String::new, applies)
        ),
        Ok(Entry::StepBegan(b)) => format!("{} ({}) {}", b.step, b.plugin, b.input),
        Ok(Entry::Intended(i)) => {
            let on = i.request.on();
            let decision = match i.decision {
                Decision::Allowed => "",
                Decision::Denied => " DENIED",
                Decision::Unplanned => " NOT PLANNED",
            };
            let host = if i.host { " by the host" } else { "" };
            format!(
                "{}/{} {} {on}{decision}{host}",
                i.step, i.effect, i.request.operation
            )
        }
        Ok(Entry::Settled(s)) => {
            let said = match (&s.answer, &s.failure) {
                (_, Some(failure)) => failure.to_string(),
                (Some(answer), None) if answer.get().len() <= 80 => answer.get().to_owned(),
                (Some(answer), None) => format!("{} bytes", answer.get().len()),
                (None, None) => String::new(),
            };
            let doubt = if s.in_doubt { " IN DOUBT" } else { "" };
            format!("{}/{}{doubt} {said}", s.step, s.effect)
        }
        Ok(Entry::Delivered(d)) => format!("{} {:?}", d.step, d.effects),
        Ok(Entry::StepEnded(e)) => format!("{} {}", mark(e.status), outcome_line(&e)),
        Ok(Entry::RunClosed(c)) => match c.plan {
            Some(plan) => format!("{}, giving plan {plan}", c.status.word()),
            None => c.status.word().to_owned(),
        },
        Ok(Entry::Note(n)) => match n.note {
            groundcrew::journal::NoteBody::Text { message, .. } => message,
            groundcrew::journal::NoteBody::Expect { total, unit } => format!("{total} {unit}"),
            groundcrew::journal::NoteBody::Item { name, at } => {
                let (word, detail) = match at {
                    groundcrew::ItemState::Working(d) => ("working", d),
                    groundcrew::ItemState::Succeeded(d) => ("ok", d),
                    groundcrew::ItemState::Failed(d) => ("failed", d),
                    groundcrew::ItemState::Skipped(d) => ("skipped", d),
                };
                format!("{name} {word} {detail}")
            }
            groundcrew::journal::NoteBody::Interrupted => "interrupted".to_owned(),
            groundcrew::journal::NoteBody::Resumed {
                actor, accepted, ..
            } => {
                let by = format!(
                    "resumed by {} on {}, process {}",
                    actor.user, actor.host, actor.process
                );
                match accepted.len() {
                    0 => by,
                    many => format!("{by}, who accepted {many} changes of others"),
                }
            }
            groundcrew::journal::NoteBody::TakenIn {
                actor, by, digest, ..
            } => format!(
                "taken in by {} on {}, from {by}, who signed {digest}",
                actor.user, actor.host
            ),
        },
    };
    format!(
        "{:>6}  {at}  {:<10}  {what}",
        record.sequence,
        record.kind.word()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_wide_as_can_be_read_and_no_wider() {
        let of =
            |length: usize| table(&[json!({ "a": "x".repeat(length), "b": 1 })], "").finished();
        assert!(of(CELL).contains(&("x".repeat(CELL) + "  1")));
        assert!(of(CELL + 1).contains(&("x".repeat(CELL) + "…  1")));
        assert!(of(1_000_000).len() < 4 * CELL);
        let many: serde_json::Map<String, Value> = (0..10_000)
            .map(|n| (format!("c{n:05}"), n.into()))
            .collect();
        let rows = vec![Value::Object(many); 100];
        let head = table(&rows, "")
            .finished()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned();
        assert_eq!(head.split_whitespace().count(), COLUMNS);
    }

    #[test]
    fn a_grant_says_what_of_what_and_how_much() {
        for (capability, json, said) in [
            (
                "machines",
                json!({ "verbs": ["list", "restart"], "apps": [["web", "api"], ["web-*"]], "groups": [["app"]], "max_machines": 3, "max_share": 25 }),
                "machines `list`, `restart` of apps `web`, `api` and within `web-*`, groups `app`, at most 3 Machines, at most 25 % of a process group",
            ),
            (
                "http",
                json!({ "verbs": ["check"], "origins": [["https://example.com"]] }),
                "http `check` of origins `https://example.com`",
            ),
            (
                "http",
                json!({ "verbs": ["check"], "origins": [[]] }),
                "http `check` of no origins",
            ),
            ("metrics", json!({ "verbs": ["query"] }), "metrics `query`"),
            // As it was written down before each capability had keys of its own.
            (
                "machines",
                json!({ "verbs": ["list"], "apps": [["web"]], "groups": [], "origins": [[]], "max_machines": null, "max_share": null }),
                "machines `list` of apps `web`",
            ),
            // Another host's.
            (
                "ledger",
                json!({ "verbs": ["write"], "books": [["a"]], "max_accounts": 2 }),
                "ledger `write` of books `a`, max_accounts 2",
            ),
        ] {
            assert_eq!(grant(capability, &json), said);
        }
    }
}
