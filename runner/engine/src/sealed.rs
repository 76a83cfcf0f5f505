//! Values that a run is given and that nothing keeps.
//!
//! An input that its runbook calls `secret` is sealed when the run is admitted: a mark stands in its place
//! in expressions, plugins, requests, journals, plans and bundles. The values stay in the memory of the
//! process, and an executor opens a mark where it sends the value. Whoever applies a plan or resumes a run
//! gives the values again; the marks tell whether they are the same.
//!
//! A mark is made of the value, the input, the key in front of `=`, and the organisation: the same
//! deploy has the same marks, wherever it is run from. It is Argon2id, so that a journal does not help to
//! guess more than what is short or common anyway.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, Version};
use groundcrew_runbook::{InputSpec, Runbook, SEALED, is_sealed, sealed_part};
use serde_json::Value;

use crate::contract::Failure;
use crate::digest::digest;

/// KiB, passes and lanes: what OWASP's cheat sheet on storing passwords recommends at least.
const COST: (u32, u32, u32) = (19 << 10, 2, 1);

/// Bytes of a mark.
const MARK: usize = 16;

/// The values behind marks. Never printed.
#[derive(Clone, Default)]
pub struct Sealed(Arc<HashMap<String, String>>);

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed(…)")
    }
}

impl Sealed {
    /// The value behind a mark; any other text is itself. For the moment at which it is sent.
    ///
    /// # Errors
    /// `invalid`, if the mark is not one of this run.
    pub fn open<'a>(&'a self, text: &'a str) -> Result<&'a str, Failure> {
        if !is_sealed(text) {
            return Ok(text);
        }
        let value = self.0.get(text).map(String::as_str);
        value.ok_or_else(|| Failure::Invalid(format!("nobody knows the value behind `{text}`")))
    }
}

/// What an input's value has that is not to be kept.
fn texts(value: &mut Value) -> Vec<&mut String> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter_mut().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

fn mark(place: &str, input: &str, key: &str, value: &str) -> Result<String, String> {
    let salt = digest(format!("groundcrew sealed 1\n{place}\n{input}\n{key}"));
    let (memory, passes, lanes) = COST;
    let params = Params::new(memory, passes, lanes, Some(MARK)).map_err(|e| e.to_string())?;
    let mut made = [0; MARK];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(value.as_bytes(), salt.as_bytes(), &mut made)
        .map_err(|e| e.to_string())?;
    Ok(format!("{SEALED}{}", data_encoding::HEXLOWER.encode(&made)))
}

/// Seals what is secret in some inputs. `given` has secret inputs that are given again: their values are
/// known then, and so are those behind the marks that the inputs have already.
///
/// # Errors
/// A sentence for each mark whose value is not given, or is another; nothing else of it is wrong.
pub(crate) fn seal(
    runbook: &Runbook,
    mut inputs: Value,
    given: &Value,
    place: &str,
) -> Result<(Value, Sealed), Vec<String>> {
    let mut known = HashMap::new();
    let mut again = given.clone();
    let mut missing = Vec::new();
    for spec in runbook.inputs.iter().filter(|spec| spec.secret) {
        let mut values = BTreeMap::new();
        for inputs in [&mut inputs, &mut again] {
            let Some(value) = inputs.get_mut(&spec.name) else {
                continue;
            };
            for text in texts(value) {
                let (key, secret) = sealed_part(spec, text);
                if secret.is_empty() || is_sealed(secret) {
                    continue;
                }
                let (key, secret) = (key.to_owned(), secret.to_owned());
                let mark = mark(place, &spec.name, &key, &secret).map_err(|e| vec![e])?;
                *text = format!("{key}{mark}");
                values.insert(key, mark.clone());
                known.insert(mark, secret);
            }
        }
        let Some(value) = inputs.get_mut(&spec.name) else {
            continue;
        };
        for text in texts(value) {
            let (key, mark) = sealed_part(spec, text);
            if is_sealed(mark) && !known.contains_key(mark) {
                missing.push(lacking(spec, key, values.contains_key(key)));
            }
        }
    }
    match missing.is_empty() {
        true => Ok((inputs, Sealed(Arc::new(known)))),
        false => Err(missing),
    }
}

fn lacking(spec: &InputSpec, key: &str, given: bool) -> String {
    let (name, what) = (&spec.name, key.trim_end_matches('='));
    let of = match what {
        "" => format!("input `{name}`"),
        what => format!("`{what}` in input `{name}`"),
    };
    match given {
        true => format!("the value given for {of} is another than before"),
        false => format!("the value of {of} is kept nowhere, and has to be given again"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn runbook() -> Runbook {
        let text = "name = \"r\"\nsummary = \"r\"\n[inputs.env]\ntype = \"list\"\ndefault = []\nsecret = true\n[inputs.token]\ntype = \"string\"\ndefault = \"\"\nsecret = true\n[inputs.app]\ntype = \"string\"\n[[step]]\nid = \"s\"\nplugin = \"p\"\n";
        groundcrew_runbook::check(text).unwrap()
    }

    fn sealed(inputs: Value, given: Value) -> Result<(Value, Sealed), Vec<String>> {
        seal(&runbook(), inputs, &given, "acme")
    }

    #[test]
    fn a_mark_stands_for_the_value_and_opens_to_it() {
        let raw = json!({ "app": "web", "env": ["A=one", "B=one", "C="], "token": " t=1 " });
        let (inputs, values) = sealed(raw.clone(), Value::Null).unwrap();
        let text = inputs.to_string();
        assert!(!text.contains("one") && !text.contains("t=1"), "{text}");
        assert_eq!(
            (&inputs["app"], &inputs["env"][2]),
            (&json!("web"), &json!("C="))
        );
        let mark = |at: usize| inputs["env"][at].as_str().unwrap().split_at(2).1;
        assert_ne!(mark(0), mark(1), "equal values do not look equal");
        assert_eq!(values.open(mark(0)).unwrap(), "one");
        assert_eq!(
            values.open(inputs["token"].as_str().unwrap()).unwrap(),
            " t=1 "
        );
        assert_eq!(values.open("plain").unwrap(), "plain");
        assert_eq!(format!("{values:?}"), "Sealed(…)");
        // The same from anywhere; of another organisation it says nothing.
        assert_eq!(sealed(raw.clone(), Value::Null).unwrap().0, inputs);
        let other = seal(&runbook(), raw, &Value::Null, "other").unwrap().0;
        assert_ne!(other["env"], inputs["env"]);
        assert!(Sealed::default().open(mark(0)).is_err());
    }

    #[test]
    fn what_is_kept_nowhere_is_given_again_and_compared() {
        let raw = json!({ "app": "web", "env": ["A=one", "B=two"], "token": "" });
        let (inputs, _) = sealed(raw, Value::Null).unwrap();
        let given = |env: &[&str]| json!({ "env": env });
        let (again, values) = sealed(inputs.clone(), given(&["B=two", "A=one"])).unwrap();
        assert_eq!(again, inputs);
        let mark = inputs["env"][1].as_str().unwrap().split_at(2).1;
        assert_eq!(values.open(mark).unwrap(), "two");
        assert_eq!(
            sealed(inputs.clone(), given(&["A=one", "B=three"])).unwrap_err(),
            ["the value given for `B` in input `env` is another than before"]
        );
        assert_eq!(
            sealed(inputs, Value::Null).unwrap_err(),
            [
                "the value of `A` in input `env` is kept nowhere, and has to be given again",
                "the value of `B` in input `env` is kept nowhere, and has to be given again"
            ]
        );
    }
}
