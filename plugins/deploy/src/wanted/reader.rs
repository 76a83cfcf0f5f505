//! From TOML to types, and where something is refused. `toml` parses. Its own deserializer would make
//! every component that reads a file 300 KB larger: it has many kinds of maps and lists, and the
//! compiler makes all of a file's types anew for each; here there is one of either.
//!
//! Where a list is wanted a table is one of one entry: `[mounts]` is as good as `[[mounts]]`.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess,
    Visitor,
};
use serde::forward_to_deserialize_any;
use toml::de::{DeTable, DeValue};

/// Reads a text; what is wrong with it begins with its line.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let line = |at: usize| {
        let before = text.get(..at).unwrap_or_default();
        before.matches('\n').count() + 1
    };
    let parsed = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        format!("line {}: {}", line(at), error.message())
    })?;
    let value = DeValue::Table(parsed.into_inner());
    let root = Node {
        at: 0,
        value: &value,
    };
    T::deserialize(root)
        .map_err(|refusal| format!("line {}: {}", line(refusal.0.at.unwrap_or(0)), refusal))
}

/// A value and where it begins.
#[derive(Clone, Copy)]
struct Node<'a> {
    at: usize,
    value: &'a DeValue<'a>,
}

/// Why a value is refused, and where, as far as it is known.
#[derive(Debug)]
struct Refusal(Box<Refused>);

#[derive(Debug)]
struct Refused {
    at: Option<usize>,
    message: String,
}

impl Refusal {
    fn at(mut self, at: usize) -> Self {
        self.0.at.get_or_insert(at);
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Refusal {}

impl Error for Refusal {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let message = message.to_string();
        Self(Box::new(Refused { at: None, message }))
    }
}

impl<'de> Node<'de> {
    fn unexpected(self, wanted: &str) -> Refusal {
        Refusal::custom(format_args!(
            "this is a TOML {}, and has to be {wanted}",
            self.value.type_str()
        ))
        .at(self.at)
    }

    /// The entries of a list; a table is one of one.
    fn items(self) -> Result<Vec<Self>, Refusal> {
        match self.value {
            DeValue::Array(all) => {
                let of = |it: &'de toml::Spanned<DeValue<'de>>| Self {
                    at: it.span().start,
                    value: it.get_ref(),
                };
                Ok(all.iter().map(of).collect())
            }
            DeValue::Table(_) => Ok(vec![self]),
            _ => Err(self.unexpected("a list")),
        }
    }

    /// The entries of a table, and where each key is.
    fn entries(self) -> Result<Vec<Entry<'de>>, Refusal> {
        let DeValue::Table(table) = self.value else {
            return Err(self.unexpected("a table"));
        };
        let entries = table.iter().map(|(key, value)| Entry {
            at: key.span().start,
            key: key.get_ref(),
            value: Self {
                at: value.span().start,
                value: value.get_ref(),
            },
        });
        let mut entries: Vec<_> = entries.collect();
        entries.sort_by_key(|entry| entry.at);
        Ok(entries)
    }
}

impl<'de> Deserializer<'de> for Node<'de> {
    type Error = Refusal;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let visited = match self.value {
            DeValue::String(text) => visitor.visit_str(text),
            DeValue::Integer(number) => {
                match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => visitor.visit_i64(number),
                    Err(_) => Err(self.unexpected("a smaller one")),
                }
            }
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(number) => visitor.visit_f64(number),
                Err(_) => Err(self.unexpected("a plain one")),
            },
            DeValue::Boolean(truth) => visitor.visit_bool(*truth),
            DeValue::Datetime(_) => Err(self.unexpected("a text")),
            DeValue::Array(_) => visitor.visit_seq(Items(self.items()?.into_iter())),
            DeValue::Table(_) => visitor.visit_map(Entries::of(self)?),
        };
        visited.map_err(|refusal| refusal.at(self.at))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let visited = visitor.visit_seq(Items(self.items()?.into_iter()));
        visited.map_err(|refusal| refusal.at(self.at))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let visited = visitor.visit_map(Entries::of(self)?);
        visited.map_err(|refusal| refusal.at(self.at))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        let DeValue::String(text) = self.value else {
            return Err(self.unexpected("a text"));
        };
        let name: StrDeserializer<'_, Refusal> = text.as_ref().into_deserializer();
        let visited = visitor.visit_enum(name);
        visited.map_err(|refusal| refusal.at(self.at))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct tuple tuple_struct identifier
    }
}

struct Items<'de>(std::vec::IntoIter<Node<'de>>);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Refusal;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refusal> {
        let next = self.0.next();
        next.map(|node| seed.deserialize(node)).transpose()
    }
}

struct Entry<'de> {
    at: usize,
    key: &'de str,
    value: Node<'de>,
}

struct Entries<'de> {
    left: std::vec::IntoIter<Entry<'de>>,
    value: Option<Node<'de>>,
}

impl<'de> Entries<'de> {
    fn of(table: Node<'de>) -> Result<Self, Refusal> {
        Ok(Self {
            left: table.entries()?.into_iter(),
            value: None,
        })
    }
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Refusal;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refusal> {
        let Some(entry) = self.left.next() else {
            return Ok(None);
        };
        self.value = Some(entry.value);
        let key: StrDeserializer<'_, Refusal> = entry.key.into_deserializer();
        let key = seed.deserialize(key);
        key.map(Some).map_err(|refusal| refusal.at(entry.at))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Refusal> {
        let value = self.value.take();
        seed.deserialize(value.ok_or_else(|| Refusal::custom("a value before its key"))?)
    }
}
