//! What a JSON Schema can cost, known before it is compiled or asked.
//!
//! A schema is a graph: keywords lead to further schemas, for the same value (`allOf`, `$ref`) or for
//! the values inside it (`properties`, `items`). Each way through the graph is gone at most once for
//! each value of a level, so the work is the number of ways to each level times the values there.
//! Forty `allOf` of two `$ref`s each are 41 schemas, and a million million ways.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use crate::json::MAX_DEPTH;

/// Schemas below each other on one way, in what is compiled and in what is asked. Both recurse; this
/// fits several times into the stack of a thread.
pub(super) const MAX_WAY: usize = 512;

/// Patterns, each of which is compiled.
const MAX_PATTERNS: usize = 64;

/// What it may cost to judge one small value: one value on each of [`SMALL`] levels.
const MAX_SMALL: u64 = 1 << 22;
const SMALL: usize = 8;

/// Steps for one schema and one value.
const STEP: u64 = 64;
/// Steps for one thing that a keyword lists: names, an `enum`'s values, properties.
const LISTED: u64 = 8;
/// Steps for one byte of a text and a pattern, see `PATTERN_BYTES`.
const MATCHED: u64 = 2048;
/// Steps for one byte of a text whose characters are counted, or that is decoded.
const COUNTED: u64 = 1;
const DECODED: u64 = 16;
/// Steps to divide fractions, which may have a thousand digits.
const DIVIDED: u64 = 4096;
/// Comparisons of one item of a list with others.
const COMPARED: u64 = 16;

/// Why a text is no schema of ours, to be read after the words "has an input schema that", and what
/// to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unfit {
    pub(crate) reason: String,
    pub(crate) hint: Option<&'static str>,
}

impl Unfit {
    pub(crate) fn because(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            hint: None,
        }
    }
}

/// How many values, and bytes of text, a value has on each level.
#[derive(Default)]
pub(super) struct Levels {
    values: Vec<u64>,
    bytes: Vec<u64>,
}

impl Levels {
    /// Nothing if it is too deep.
    pub(super) fn of(value: &Value) -> Option<Self> {
        let mut levels = Self::default();
        levels.count(value, 0).then_some(levels)
    }

    fn count(&mut self, value: &Value, level: usize) -> bool {
        if level >= MAX_DEPTH && (value.is_array() || value.is_object()) {
            return false;
        }
        self.add(level, 1, 0);
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => true,
            Value::String(text) => {
                self.add(level, 0, text.len());
                true
            }
            Value::Array(items) => items.iter().all(|item| self.count(item, level + 1)),
            Value::Object(fields) => fields.iter().all(|(key, value)| {
                // `patternProperties` looks at names here, `propertyNames` one further in.
                self.add(level, 0, key.len());
                self.add(level + 1, 0, key.len());
                self.count(value, level + 1)
            }),
        }
    }

    fn add(&mut self, level: usize, values: u64, bytes: usize) {
        if self.values.len() <= level {
            self.values.resize(level + 1, 0);
            self.bytes.resize(level + 1, 0);
        }
        self.values[level] += values;
        self.bytes[level] += bytes as u64;
    }

    fn small() -> Self {
        Self {
            values: vec![1; SMALL],
            bytes: vec![0; SMALL],
        }
    }
}

/// One schema of the graph.
#[derive(Default)]
struct Node {
    /// Steps for each value it is asked about.
    each: u64,
    /// Steps for each byte of text in such a value.
    byte: u64,
    /// It compares all that is inside.
    compares: bool,
    /// It asks again what others have said.
    asks_twice: bool,
    /// Schemas for the same value.
    here: Vec<usize>,
    /// Schemas for the values inside.
    inside: Vec<usize>,
}

/// A schema's graph, without what it says.
pub(super) struct Outline {
    nodes: Vec<Node>,
    /// Each node after those that it asks about the same value.
    order: Vec<usize>,
    root: usize,
}

impl Outline {
    pub(super) fn of(schema: &Value) -> Result<Self, Unfit> {
        let mut reader = Reader {
            root: schema,
            nodes: Vec::new(),
            heights: Vec::new(),
            known: HashMap::new(),
            targets: BTreeMap::new(),
            patterns: 0,
        };
        let root = reader.node(schema);
        reader.read(root, schema)?;
        // Targets lead to further targets.
        while let Some((&at, &schema)) = reader
            .targets
            .iter()
            .find(|(at, _)| reader.heights[**at] == 0)
        {
            reader.read(at, schema)?;
        }
        // No way goes twice through one target.
        let ways = reader.targets.keys().chain([&root]);
        if ways.map(|&at| reader.heights[at]).sum::<usize>() > MAX_WAY {
            return Err(too_large("goes too deep"));
        }
        let mut outline = Self {
            nodes: reader.nodes,
            order: Vec::new(),
            root,
        };
        outline.order = outline.ordered()?;
        if outline.longest() > MAX_WAY {
            return Err(too_large("goes too deep"));
        }
        if outline.work(&Levels::small()) > MAX_SMALL {
            return Err(too_large("asks too much of each value"));
        }
        Ok(outline)
    }

    /// At most so many steps to judge a value.
    pub(super) fn work(&self, levels: &Levels) -> u64 {
        let below = |total: u64, level: usize| {
            total
                .saturating_add(levels.values[level].saturating_mul(LISTED))
                .saturating_add(levels.bytes[level])
        };
        let (mut inside, mut all) = (vec![0; self.nodes.len()], 0_u64);
        for level in (0..levels.values.len()).rev() {
            all = below(all, level);
            let mut now = vec![0_u64; self.nodes.len()];
            for &at in &self.order {
                let node = &self.nodes[at];
                let mut work = node
                    .each
                    .saturating_mul(levels.values[level])
                    .saturating_add(node.byte.saturating_mul(levels.bytes[level]));
                if node.compares {
                    work = work.saturating_add(all.saturating_mul(COMPARED));
                }
                for further in node.here.iter().map(|&i| now[i]) {
                    work = work.saturating_add(further);
                }
                for further in node.inside.iter().map(|&i| inside[i]) {
                    work = work.saturating_add(further);
                }
                let times = if node.asks_twice { 2 } else { 1 };
                now[at] = work.saturating_mul(times);
            }
            inside = now;
        }
        inside[self.root]
    }

    /// The longest way through it with the deepest of values.
    fn longest(&self) -> usize {
        let mut inside = vec![0; self.nodes.len()];
        for _ in 0..=MAX_DEPTH {
            let mut now = vec![0_usize; self.nodes.len()];
            for &at in &self.order {
                let node = &self.nodes[at];
                let here = node.here.iter().map(|&i| now[i]);
                let further = here.chain(node.inside.iter().map(|&i| inside[i]));
                now[at] = further.max().unwrap_or(0).saturating_add(1);
            }
            inside = now;
        }
        inside[self.root]
    }

    fn ordered(&self) -> Result<Vec<usize>, Unfit> {
        #[derive(Clone, Copy, PartialEq)]
        enum Seen {
            Not,
            Above,
            Done,
        }
        let (mut seen, mut order) = (vec![Seen::Not; self.nodes.len()], Vec::new());
        for start in 0..self.nodes.len() {
            let mut stack = vec![(start, 0)];
            while let Some((at, next)) = stack.pop() {
                if next == 0 {
                    match seen[at] {
                        Seen::Done => continue,
                        Seen::Above => {
                            return Err(Unfit::because("refers to itself without end"));
                        }
                        Seen::Not => seen[at] = Seen::Above,
                    }
                }
                if let Some(&further) = self.nodes[at].here.get(next) {
                    stack.push((at, next + 1));
                    stack.push((further, 0));
                } else {
                    seen[at] = Seen::Done;
                    order.push(at);
                }
            }
        }
        Ok(order)
    }
}

fn too_large(why: &str) -> Unfit {
    Unfit {
        reason: format!("is too large: it {why}"),
        hint: Some("combine fewer schemas; each `$ref` counts as what it refers to"),
    }
}

struct Reader<'a> {
    root: &'a Value,
    nodes: Vec<Node>,
    /// Of each node, how many schemas are written inside each other there; 0 if it is not yet read.
    heights: Vec<usize>,
    /// Nodes by the address of their schema.
    known: HashMap<*const Value, usize>,
    /// Nodes that are referred to.
    targets: BTreeMap<usize, &'a Value>,
    patterns: usize,
}

impl<'a> Reader<'a> {
    fn node(&mut self, schema: &'a Value) -> usize {
        let new = self.nodes.len();
        let node = *self.known.entry(std::ptr::from_ref(schema)).or_insert(new);
        if node == new {
            self.nodes.push(Node::default());
            self.heights.push(0);
        }
        node
    }

    /// Reads a schema and those written inside it. (No deeper than JSON may be.)
    fn read(&mut self, at: usize, schema: &'a Value) -> Result<(), Unfit> {
        let mut node = Node {
            each: STEP,
            ..Node::default()
        };
        let mut height = 0;
        let top = std::ptr::eq(schema, self.root);
        for (key, value) in schema.as_object().into_iter().flatten() {
            if key == "$ref" {
                let target = self.target(value.as_str().unwrap_or_default())?;
                let child = self.node(target);
                self.targets.insert(child, target);
                node.here.push(child);
                continue;
            }
            let (here, inside) = self.keyword(key, value, top, &mut node)?;
            node.each += LISTED * (here.len() + inside.len()) as u64;
            for written in here {
                node.here.push(self.child(written, &mut height)?);
            }
            for written in inside {
                node.inside.push(self.child(written, &mut height)?);
            }
        }
        self.nodes[at] = node;
        self.heights[at] = height + 1;
        Ok(())
    }

    fn child(&mut self, schema: &'a Value, height: &mut usize) -> Result<usize, Unfit> {
        let child = self.node(schema);
        if self.heights[child] == 0 {
            self.read(child, schema)?;
        }
        *height = self.heights[child].max(*height);
        Ok(child)
    }

    /// The schemas that a keyword leads to: for the same value, and for those inside.
    fn keyword(
        &mut self,
        key: &str,
        value: &'a Value,
        top: bool,
        node: &mut Node,
    ) -> Result<(Vec<&'a Value>, Vec<&'a Value>), Unfit> {
        let list = |value: &'a Value| value.as_array().into_iter().flatten().collect();
        let each = |of: Option<&'a Map<String, Value>>| {
            let schemas = of.into_iter().flat_map(Map::values);
            schemas.filter(|one| !one.is_array()).collect::<Vec<_>>()
        };
        Ok(match key {
            "not" | "if" | "then" | "else" => (vec![value], Vec::new()),
            "allOf" | "anyOf" | "oneOf" => (list(value), Vec::new()),
            "dependentSchemas" => (each(value.as_object()), Vec::new()),
            "dependencies" => {
                node.each += listed(value);
                (each(value.as_object()), Vec::new())
            }
            "additionalProperties" | "additionalItems" | "contains" | "propertyNames" => {
                (Vec::new(), vec![value])
            }
            "unevaluatedProperties" | "unevaluatedItems" => {
                node.asks_twice = true;
                (Vec::new(), vec![value])
            }
            "items" | "prefixItems" if value.is_array() => (Vec::new(), list(value)),
            "items" => (Vec::new(), vec![value]),
            "properties" => (Vec::new(), each(value.as_object())),
            "patternProperties" => {
                let patterns = each(value.as_object());
                self.pattern(patterns.len(), node)?;
                (Vec::new(), patterns)
            }
            "pattern" => {
                self.pattern(1, node)?;
                (Vec::new(), Vec::new())
            }
            "minLength" | "maxLength" => {
                node.byte += COUNTED;
                (Vec::new(), Vec::new())
            }
            // Of older dialects, which look into the text.
            "contentMediaType" | "contentEncoding" => {
                node.byte += DECODED;
                (Vec::new(), Vec::new())
            }
            "multipleOf" => {
                node.each += DIVIDED;
                (Vec::new(), Vec::new())
            }
            "uniqueItems" => {
                node.compares = true;
                (Vec::new(), Vec::new())
            }
            "$dynamicRef" | "$recursiveRef" => {
                return Err(Unfit {
                    reason: format!("uses `{key}`, which is not followed here"),
                    hint: Some("use `$ref`"),
                });
            }
            "$id" | "id" if !top && value.is_string() => {
                return Err(Unfit {
                    reason: format!("has `{key}` inside it, which would move its references"),
                    hint: Some("leave it out"),
                });
            }
            "enum" | "const" | "required" | "dependentRequired" => {
                node.each += listed(value);
                (Vec::new(), Vec::new())
            }
            // One comparison, or no more than a description.
            _ => (Vec::new(), Vec::new()),
        })
    }

    fn pattern(&mut self, more: usize, node: &mut Node) -> Result<(), Unfit> {
        self.patterns += more;
        node.byte += MATCHED * more as u64;
        match self.patterns {
            0..=MAX_PATTERNS => Ok(()),
            _ => Err(too_large("has too many patterns")),
        }
    }

    /// What a reference leads to: references are paths in the schema itself.
    fn target(&self, to: &str) -> Result<&'a Value, Unfit> {
        let path = to.strip_prefix('#').unwrap_or(to);
        if !path.is_empty() && !path.starts_with('/') || path.contains('%') {
            return Err(Unfit {
                reason: format!("refers to `{to}`, which is no path in it"),
                hint: Some("write `#` or `#/$defs/NAME`"),
            });
        }
        let found = self.root.pointer(path);
        found.ok_or_else(|| Unfit::because(format!("is none: there is no `{to}` in it")))
    }
}

/// Steps to go over what a keyword lists.
fn listed(value: &Value) -> u64 {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => LISTED,
        Value::String(text) => LISTED + text.len() as u64 / LISTED,
        Value::Array(items) => LISTED + items.iter().map(listed).sum::<u64>(),
        Value::Object(fields) => LISTED + fields.values().map(listed).sum::<u64>(),
    }
}
