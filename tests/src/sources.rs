//! What the sources say: which file of a crate names which other. Read as text, which is enough for
//! paths that begin with `crate`, `super`, `self` or a module of the file's own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// The checkout.
pub fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// All files with an ending below a folder of the checkout, by name.
pub fn files_below(folder: &str, ending: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut left = vec![root().join(folder)];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).with_context(|| path.display().to_string())?;
            for entry in entries {
                left.push(entry?.path());
            }
        } else if path.extension().is_some_and(|e| e == ending) {
            files.push(path);
        }
    }
    files.sort();
    ensure!(!files.is_empty(), "no file below {folder}");
    Ok(files)
}

/// One source file of a crate.
pub struct Source {
    /// Its place in the crate: `gate/mod.rs`.
    pub file: String,
    /// Its module: `gate`; empty for the crate itself.
    pub module: Vec<String>,
    /// Its text without comments and without its tests.
    pub code: String,
    /// The modules that it declares.
    children: BTreeSet<String>,
}

impl Source {
    /// The face of a room, or of the crate: the one file that may know the room's own files.
    fn is_face(&self) -> bool {
        self.file.ends_with("mod.rs") || self.module.is_empty()
    }

    /// What it names inside its crate, from the crate on.
    pub fn names(&self) -> Vec<Vec<String>> {
        let mut all = Vec::new();
        let mut before = ' ';
        for (at, c) in self.code.char_indices() {
            let begins =
                c.is_alphabetic() && !(before.is_alphanumeric() || "_:.'".contains(before));
            before = c;
            if !begins {
                continue;
            }
            let text = &self.code[at..];
            let first = word(text);
            let mut base = match first {
                "crate" => Vec::new(),
                "self" => self.module.clone(),
                "super" => self.module[..self.module.len().saturating_sub(1)].to_vec(),
                own if self.children.contains(own) => {
                    [&self.module[..], &[own.to_owned()]].concat()
                }
                _ => continue,
            };
            let mut rest = &text[first.len()..];
            while first == "super" && rest.starts_with("::super") {
                base.pop();
                rest = &rest["::super".len()..];
            }
            if rest.starts_with("::") {
                path(rest, base, &mut all);
            }
        }
        all
    }
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

/// Follows `::a::{b, c::d}`; gives what stands behind it.
fn path<'a>(mut text: &'a str, mut base: Vec<String>, all: &mut Vec<Vec<String>>) -> &'a str {
    while let Some(rest) = text.strip_prefix("::") {
        let Some(group) = rest.strip_prefix('{') else {
            let name = word(rest);
            if name.is_empty() {
                break;
            }
            base.push(name.to_owned());
            text = &rest[name.len()..];
            continue;
        };
        let mut inner = group.trim_start();
        while !inner.is_empty() && !inner.starts_with('}') {
            let name = word(inner);
            let mut one = base.clone();
            if name != "self" && !name.is_empty() {
                one.push(name.to_owned());
            }
            inner = path(&inner[name.len()..], one, all);
            let next = inner.find([',', '}']).unwrap_or(inner.len());
            inner = inner[next..].trim_start_matches(',').trim_start();
        }
        return inner.strip_prefix('}').unwrap_or(inner);
    }
    all.push(base);
    text
}

/// The sources of one crate: `runner/engine`.
pub struct Sources(Vec<Source>);

impl Sources {
    /// Reads them.
    pub fn of(crate_folder: &str) -> Result<Self> {
        let src = format!("{crate_folder}/src");
        let mut all = Vec::new();
        for path in files_below(&src, "rs")? {
            let inside = path.strip_prefix(root().join(&src))?;
            let mut module: Vec<String> = inside
                .with_extension("")
                .iter()
                .map(|part| part.to_string_lossy().into_owned())
                .collect();
            if module
                .last()
                .is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str()))
            {
                module.pop();
            }
            let is_test = |name: &String| name == "tests" || name == "testing";
            if module.iter().any(is_test) {
                continue;
            }
            let text = std::fs::read_to_string(&path)?;
            let text = text
                .split("#[cfg(test)]\nmod tests")
                .next()
                .unwrap_or_default();
            let code: String = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .flat_map(|line| [line, "\n"])
                .collect();
            let declared = |line: &str| {
                let line = line
                    .trim_start_matches("pub ")
                    .trim_start_matches("pub(crate) ");
                let line = line.trim_start_matches("pub(super) ");
                let name = line.strip_prefix("mod ")?.strip_suffix(';')?;
                Some(name.to_owned())
            };
            all.push(Source {
                file: inside.display().to_string(),
                module,
                children: code.lines().filter_map(declared).collect(),
                code,
            });
        }
        Ok(Self(all))
    }

    /// One after another.
    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.0.iter()
    }

    /// What lies directly in each room (the crate itself is one), and which of that names which other. A
    /// room's face is not among its own files: it may know them, and they it.
    pub fn rooms(&self) -> Vec<BTreeMap<String, BTreeSet<String>>> {
        let faces = self.0.iter().filter(|source| source.is_face());
        faces.map(|face| self.room(&face.module)).collect()
    }

    fn room(&self, face: &[String]) -> BTreeMap<String, BTreeSet<String>> {
        let inside = |path: &[String]| -> Option<String> {
            let below = path.starts_with(face).then(|| path.get(face.len()))??;
            let known = self
                .0
                .iter()
                .any(|s| s.module.starts_with(face) && s.module.get(face.len()) == Some(below));
            known.then(|| below.clone())
        };
        let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for source in &self.0 {
            let Some(from) = inside(&source.module) else {
                continue;
            };
            let to = names.entry(from.clone()).or_default();
            to.extend(source.names().iter().filter_map(|named| inside(named)));
            to.remove(&from);
        }
        names
    }

    /// What lies on circles: each with one that it names and that leads back to it.
    pub fn circles(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for names in self.rooms() {
            let reaches = |from: &String, goal: &String| {
                let (mut seen, mut left) = (BTreeSet::new(), vec![from]);
                while let Some(at) = left.pop() {
                    if at == goal {
                        return true;
                    }
                    if seen.insert(at) {
                        left.extend(names.get(at).into_iter().flatten());
                    }
                }
                false
            };
            for (from, all) in &names {
                if let Some(to) = all.iter().find(|to| reaches(to, from)) {
                    found.push((from.clone(), to.clone()));
                }
            }
        }
        found
    }
}
