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

    fn module(&self, module: &[String]) -> Option<&Source> {
        self.0.iter().find(|source| source.module == module)
    }

    /// The file that has what a path names: behind a face that only hands it on, the file behind.
    fn file_of(&self, path: &[String], depth: usize) -> Option<&Source> {
        let inside = (0..=path.len())
            .rev()
            .find_map(|end| self.module(&path[..end]).map(|s| (s, end)));
        let (source, end) = inside?;
        let Some(name) = path.get(end).filter(|_| depth < 8) else {
            return Some(source);
        };
        let handed_on = source.names().into_iter().find(|known| {
            let below = known.starts_with(&source.module) && known.len() > source.module.len() + 1;
            below && known.last() == Some(name)
        });
        match handed_on {
            Some(known) if source.is_face() => self.file_of(&known, depth + 1),
            _ => Some(source),
        }
    }

    /// Which file names which, but for a face that names its room's own files.
    pub fn edges(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut edges: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for source in &self.0 {
            for named in source.names() {
                let Some(to) = self.file_of(&named, 0) else {
                    continue;
                };
                let own = source.is_face() && to.module.starts_with(&source.module);
                if !own && to.file != source.file {
                    edges.entry(&source.file).or_default().insert(&to.file);
                }
            }
        }
        edges
    }

    /// The files that lie on circles: each with one that it names and that leads back to it.
    pub fn circles(&self) -> Vec<(String, String)> {
        let edges = self.edges();
        let reaches = |from: &str, goal: &str| {
            let (mut seen, mut left) = (BTreeSet::new(), vec![from]);
            while let Some(file) = left.pop() {
                if file == goal {
                    return true;
                }
                if seen.insert(file) {
                    left.extend(edges.get(file).into_iter().flatten());
                }
            }
            false
        };
        let mut found = Vec::new();
        for (from, all) in &edges {
            if let Some(to) = all.iter().find(|to| reaches(to, from)) {
                found.push(((*from).to_owned(), (*to).to_owned()));
            }
        }
        found
    }
}
