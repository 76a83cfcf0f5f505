//! What may be acted on by name: a list for each party that said something.

use globset::{Glob, GlobMatcher};

use super::{Covers, Scope, quoted};

/// Whose list a step's own is.
pub(super) const STEP: &str = "the step's grant";

/// Names in one list. Every effect is compared with each of them.
pub(super) const MAX_NAMES: usize = 1000;

/// Bytes of a pattern: more than twice as many as a name has.
pub(super) const MAX_PATTERN: usize = 256;

/// Alternatives in a pattern, `{a,b}`: each may be within another.
pub(super) const MAX_ALTERNATIVES: usize = 16;

/// One list for each party that said something; a name must be covered by each.
#[derive(Debug, Clone)]
pub(super) struct Within {
    pub(super) scope: &'static Scope,
    pub(super) lists: Vec<List>,
}

#[derive(Debug, Clone)]
pub(super) struct List {
    whose: &'static str,
    pub(super) texts: Vec<String>,
    globs: Vec<GlobMatcher>,
}

impl List {
    pub(super) fn of(scope: &Scope, whose: &'static str, texts: &[String]) -> Result<Self, String> {
        if texts.len() > MAX_NAMES {
            return Err(format!(
                "{whose} has {} {}; at most {MAX_NAMES} are compared with",
                texts.len(),
                scope.key
            ));
        }
        let glob = |text: &String| pattern(text, scope.key);
        let globs = match scope.covers {
            Covers::Pattern => texts.iter().map(glob).collect::<Result<_, _>>()?,
            Covers::Name | Covers::Same(_) => Vec::new(),
        };
        Ok(Self {
            whose,
            texts: texts.to_vec(),
            globs,
        })
    }

    pub(super) fn covers(&self, by: Covers, name: &str) -> bool {
        match by {
            Covers::Name => self.texts.iter().any(|text| text == name),
            Covers::Pattern => self.globs.iter().any(|glob| glob.is_match(name)),
            Covers::Same(same) => self.texts.iter().any(|text| same(text, name)),
        }
    }
}

/// A pattern of names. Its own library trusts it: one that is too large makes it panic.
fn pattern(text: &str, of: &str) -> Result<GlobMatcher, String> {
    let alternatives = text.bytes().filter(|byte| *byte == b'{').count();
    if text.len() > MAX_PATTERN || alternatives > MAX_ALTERNATIVES {
        let start: String = text.chars().take(40).collect();
        return Err(format!(
            "`{start}…` is too large a pattern of {of}: it may have {MAX_PATTERN} bytes and {MAX_ALTERNATIVES} `{{`"
        ));
    }
    match Glob::new(text) {
        Ok(glob) => Ok(glob.compile_matcher()),
        Err(e) => Err(format!("`{text}` is not a pattern of {of}: {}", e.kind())),
    }
}

impl Within {
    /// Names that the step's own list has and another party's does not cover, a sentence each.
    pub(super) fn withheld(&self) -> Vec<String> {
        let is_name = |text: &&String| {
            matches!(self.scope.covers, Covers::Name | Covers::Same(_))
                || !text.contains(['*', '?', '[', '{', '\\'])
        };
        let own = self.lists.iter().filter(|list| list.whose == STEP);
        let names = own.flat_map(|list| list.texts.iter().filter(is_name));
        names.filter_map(|name| self.allows(name).err()).collect()
    }

    pub(super) fn allows(&self, name: &str) -> Result<(), String> {
        let scope = self.scope;
        let short = self
            .lists
            .iter()
            .find(|list| !list.covers(scope.covers, name));
        short.map_or(Ok(()), |list| {
            Err(format!(
                "{} does not cover the {} `{name}` (it covers {})",
                list.whose,
                scope.one,
                quoted(&list.texts)
            ))
        })
    }
}
