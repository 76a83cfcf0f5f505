//! What `CONTRIBUTING.md` and `ARCHITECTURE.md` name is there: the files of the recipes, the tests of the
//! invariants, a line for each room. (The examples of the recipes are compiled: `tests/src/lib.rs`.)

use std::fs::read_to_string;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use groundcrew_tests::sources::root;

/// The part of a paper from one heading to the next, without its examples.
fn part(paper: &str, heading: &str) -> Result<String> {
    let text = read_to_string(root().join(paper))?;
    let all = text.split("\n## ").find(|part| part.starts_with(heading));
    let all = all.with_context(|| format!("{paper} has no part `{heading}`"))?;
    let mut outside = all.split("\n```").step_by(2);
    Ok(outside.by_ref().collect())
}

/// What stands in backticks.
fn named(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn the_files_of_the_recipes_are_there() -> Result<()> {
    for (heading, steps) in [("A capability", 9), ("An operation of `machines`", 7)] {
        let recipe = part("CONTRIBUTING.md", heading)?;
        let is_step = |line: &&str| line.split_once(". `").is_some_and(|(n, _)| n.len() == 1);
        let found = recipe.lines().filter(is_step).count();
        ensure!(found == steps, "`{heading}` has {found} steps");
        for path in named(&recipe).filter(|name| name.contains('/')) {
            let there = path.contains("NAME") || root().join(path).exists();
            ensure!(there, "`{heading}` names `{path}`, which is not there");
        }
    }
    Ok(())
}

#[test]
fn the_tests_of_the_invariants_are_there() -> Result<()> {
    let (mut folder, mut tests) = (String::new(), 0);
    for line in part("ARCHITECTURE.md", "Invariants")?.lines() {
        if line.ends_with("`:") {
            folder = named(line).next().unwrap_or_default().to_owned();
        }
        let Some(invariant) = line.strip_prefix("- ") else {
            continue;
        };
        let mut source = None;
        for name in named(invariant) {
            if name.ends_with(".rs") {
                let near = root().join(&folder).join(name);
                let path = [near, root().join(name)].into_iter().find(|at| at.exists());
                let path = path.with_context(|| format!("{line}: no file `{name}`"))?;
                source = Some(read_to_string(path)?);
            } else if name.chars().all(|c| c == '_' || c.is_ascii_lowercase()) {
                let source = source.as_ref().with_context(|| line.to_owned())?;
                let there = source.contains(&format!("fn {name}("));
                ensure!(there, "{line}: no test `{name}`");
                tests += 1;
            }
        }
        ensure!(source.is_some(), "{line}: no file");
    }
    ensure!(tests > 30, "only {tests} tests are named");
    Ok(())
}

/// The folders and lone files of a folder.
fn rooms(folder: &Path) -> Result<Vec<String>> {
    let mut rooms = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let is_room = path.is_dir() || path.extension().is_some_and(|e| e == "rs");
        if is_room && !["lib", "main", "mod"].contains(&&*name) {
            rooms.push(name.into_owned());
        }
    }
    Ok(rooms)
}

#[test]
fn every_room_has_its_line() -> Result<()> {
    let text = read_to_string(root().join("ARCHITECTURE.md"))?;
    for (heading, folder) in [
        ("The engine", "runner/engine/src"),
        ("The capabilities", "runner/capabilities/src"),
        ("The capabilities", "runner/capabilities/src/fly"),
        ("The capabilities", "runner/capabilities/src/fly/machines"),
        ("The fleet", "runner/fleet/src"),
        ("The simulator", "runner/simulator/src"),
        ("The command", "runner/cli/src"),
        ("Plugins", "plugins"),
    ] {
        let part = text.split("\n## ").find(|part| part.starts_with(heading));
        let part = part.with_context(|| format!("no part `{heading}`"))?;
        let is_word = |c: char| c.is_alphanumeric() || "_-".contains(c);
        let words: Vec<&str> = part.split(|c| !is_word(c)).collect();
        for room in rooms(&root().join(folder))? {
            ensure!(
                words.contains(&room.as_str()),
                "{folder}: no line for `{room}`"
            );
        }
    }
    Ok(())
}
