//! Changes of a Machine's configuration, merged by the host. Pure. What Fly owns is kept as it is:
//! only what a change names is touched.

use groundcrew::{EffectId, Failure, json};
use groundcrew_fleet::api::ConfigView;
use serde_json::{Map, Value, json};

use crate::fly::contract::Change;
use crate::fly::world::api::EFFECT;
use crate::fly::world::summary::RELEASE;

/// No patch may be longer. (The contract.)
const PATCH_BYTES: usize = 64 << 10;

/// Not more fields can be replaced. (The contract.)
const REPLACED: usize = 32;

/// Tells a Machine for which others it stands by. (flyctl's sources.)
const STANDBY_FOR: &str = "FLY_STANDBY_FOR";

/// The metadata keys of the process group, the newer first. (flyctl's sources.)
const GROUP: [&str; 2] = ["fly_process_group", "process_group"];

/// The configuration with the change in it. A Machine's process group stays.
pub(crate) fn merged(config: &Value, change: &Change) -> Result<Value, Failure> {
    let changed = made(config.clone(), change)?;
    same_group(config, &changed)?;
    Ok(changed)
}

/// A Machine that is given this configuration for that one stays in its process group.
pub(crate) fn same_group(before: &Value, after: &Value) -> Result<(), Failure> {
    let group = |config| ConfigView::new(config).process_group();
    regrouped(group(before), group(after))
}

/// A new Machine's configuration: that of another one, if any, without what only one can have.
pub(crate) fn like(config: Option<&Value>, change: &Change) -> Result<Value, Failure> {
    let mut config = config.cloned().unwrap_or_else(|| json!({}));
    if let Some(config) = config.as_object_mut() {
        for single in ["mounts", "standbys"] {
            config.remove(single);
        }
    }
    tell_standbys(&mut config);
    let config = made(config, change)?;
    if ConfigView::new(&config).image().is_empty() {
        return Err(Failure::Invalid(
            "a Machine needs an image: `like` or the change has to name one".to_owned(),
        ));
    }
    Ok(config)
}

/// A Machine of a process group stays in it when its metadata are set.
pub(crate) fn keeps_group(values: &[(String, Option<String>)], group: &str) -> Result<(), Failure> {
    let named = values.iter().find(|(key, _)| GROUP.contains(&key.as_str()));
    let new = named.map(|(_, value)| value.as_deref().unwrap_or_default());
    new.map_or(Ok(()), |new| regrouped(group, new))
}

fn regrouped(before: &str, after: &str) -> Result<(), Failure> {
    if before == after {
        return Ok(());
    }
    Err(Failure::Invalid(format!(
        "a Machine of the process group `{before}` stays in it; this would make it one of `{after}`"
    )))
}

/// Marks a configuration as made by this effect.
pub(crate) fn mark(config: &mut Value, effect: &EffectId) {
    set(
        config,
        "metadata",
        &[(EFFECT.to_owned(), Some(effect.to_string()))],
    );
}

/// Whether a configuration was made by this effect.
pub(crate) fn marked(config: ConfigView<'_>, effect: &EffectId) -> bool {
    config.metadata_value(EFFECT) == Some(effect.to_string().as_str())
}

fn made(mut config: Value, change: &Change) -> Result<Value, Failure> {
    if change.replace.len() > REPLACED {
        return Err(Failure::Invalid(format!(
            "{} fields are replaced, which is more than {REPLACED}",
            change.replace.len()
        )));
    }
    for field in &change.replace {
        config
            .as_object_mut()
            .and_then(|config| config.remove(field));
    }
    if let Some(image) = &change.image {
        if image.trim().is_empty() {
            return Err(Failure::Invalid("the new image has no name".to_owned()));
        }
        set_field(&mut config, "image", image.as_str().into());
    }
    set(&mut config, "env", &change.env);
    set(&mut config, "metadata", &change.metadata);
    if let Some(release) = &change.release {
        set(
            &mut config,
            "metadata",
            &[(RELEASE.to_owned(), Some(release.clone()))],
        );
    }
    if let Some(autostop) = &change.autostop {
        if !["off", "stop", "suspend"].contains(&autostop.as_str()) {
            return Err(Failure::Invalid(format!(
                "`{autostop}` is no autostop: `off`, `stop` or `suspend` is"
            )));
        }
        let services = config.get_mut("services").and_then(Value::as_array_mut);
        for service in services.into_iter().flatten() {
            set_field(service, "autostop", autostop.as_str().into());
        }
    }
    if let Some(standbys) = &change.standbys {
        set_field(&mut config, "standbys", json!(standbys));
    }
    if let Some(patch) = &change.patch {
        if patch.len() > PATCH_BYTES {
            return Err(Failure::Invalid(format!(
                "a patch of {} bytes is longer than {PATCH_BYTES}",
                patch.len()
            )));
        }
        let patch: Value = json::parse(patch.as_bytes())
            .map_err(|e| Failure::Invalid(format!("the patch is no JSON: {e}")))?;
        if !patch.is_object() {
            return Err(Failure::Invalid("the patch is no JSON object".to_owned()));
        }
        merge(&mut config, &patch);
    }
    if change.standbys.is_some() || change.replace.iter().any(|field| field == "env") {
        tell_standbys(&mut config);
    }
    Ok(config)
}

/// Makes the environment say what the Machine stands by for, if for any.
fn tell_standbys(config: &mut Value) {
    let of = ConfigView::new(config).standbys();
    let of = (!of.is_empty()).then(|| of.join(","));
    if of.is_some() || config.get("env").is_some() {
        set(config, "env", &[(STANDBY_FOR.to_owned(), of)]);
    }
}

fn set_field(of: &mut Value, field: &str, value: Value) {
    if !of.is_object() {
        *of = Value::Object(Map::new());
    }
    if let Some(of) = of.as_object_mut() {
        of.insert(field.to_owned(), value);
    }
}

/// Sets and removes texts of an object in the configuration.
fn set(config: &mut Value, field: &str, values: &[(String, Option<String>)]) {
    if values.is_empty() {
        return;
    }
    if !config.get(field).is_some_and(Value::is_object) {
        set_field(config, field, json!({}));
    }
    let of = config.get_mut(field).and_then(Value::as_object_mut);
    if let Some(of) = of {
        for (key, value) in values {
            match value {
                Some(value) => drop(of.insert(key.clone(), value.as_str().into())),
                None => drop(of.remove(key)),
            }
        }
    }
}

/// JSON Merge Patch: RFC 7386, section 2.
fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Some(target) = target.as_object_mut() else {
        return;
    };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 7386, appendix A.
    #[test]
    fn patches_are_merged_as_the_standard_says() {
        let examples = [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, r#"{}"#),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (
                r#"{"a":{"b":"c"}}"#,
                r#"{"a":{"b":"d","c":null}}"#,
                r#"{"a":{"b":"d"}}"#,
            ),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
            (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
            (r#"{"a":"foo"}"#, r#"null"#, r#"null"#),
            (r#"{"a":"foo"}"#, r#""bar""#, r#""bar""#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            (r#"[1,2]"#, r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
            (
                r#"{}"#,
                r#"{"a":{"bb":{"ccc":null}}}"#,
                r#"{"a":{"bb":{}}}"#,
            ),
        ];
        for (target, patch, result) in examples {
            let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            let mut merged = read(target);
            merge(&mut merged, &read(patch));
            assert_eq!(merged, read(result), "{target} {patch}");
        }
    }

    fn config() -> Value {
        json!({
            "image": "registry.fly.io/web:1", "unknown": { "kept": [1, 2] },
            "env": { "OLD": "1", "KEPT": "2" }, "metadata": { "fly_process_group": "web" },
            "mounts": [{ "volume": "vol_1", "path": "/data" }],
            "services": [{ "autostop": "stop" }, { "autostop": "suspend" }],
        })
    }

    #[test]
    fn a_change_touches_only_what_it_names() {
        let change = Change {
            image: Some("registry.fly.io/web:2".to_owned()),
            release: Some("r2".to_owned()),
            env: vec![
                ("OLD".to_owned(), None),
                ("NEW".to_owned(), Some("3".to_owned())),
            ],
            autostop: Some("off".to_owned()),
            patch: Some(r#"{"guest":{"cpus":2}}"#.to_owned()),
            ..Change::default()
        };
        assert_eq!(
            merged(&config(), &change).unwrap(),
            json!({
                "image": "registry.fly.io/web:2", "unknown": { "kept": [1, 2] },
                "env": { "NEW": "3", "KEPT": "2" },
                "metadata": { "fly_process_group": "web", "groundcrew_release": "r2" },
                "mounts": [{ "volume": "vol_1", "path": "/data" }],
                "services": [{ "autostop": "off" }, { "autostop": "off" }],
                "guest": { "cpus": 2 },
            })
        );
        assert_eq!(merged(&config(), &Change::default()).unwrap(), config());
        let alike = like(Some(&config()), &Change::default()).unwrap();
        assert!(alike.get("mounts").is_none() && alike["env"]["KEPT"] == "2");
    }

    #[test]
    fn of_what_is_replaced_nothing_stays() {
        let change = Change {
            replace: vec!["env".to_owned(), "unknown".to_owned(), "none".to_owned()],
            env: vec![("NEW".to_owned(), Some("3".to_owned()))],
            patch: Some(r#"{"env":{"PATCHED":"4"}}"#.to_owned()),
            ..Change::default()
        };
        let replaced = merged(&config(), &change).unwrap();
        assert_eq!(replaced["env"], json!({ "NEW": "3", "PATCHED": "4" }));
        assert!(replaced.get("unknown").is_none());
        assert_eq!(replaced["services"], config()["services"]);
        let all = |count: usize| Change {
            replace: vec!["env".to_owned(); count],
            ..Change::default()
        };
        assert!(merged(&config(), &all(REPLACED)).is_ok());
        assert!(merged(&config(), &all(REPLACED + 1)).is_err());
        let group = Change {
            replace: vec!["metadata".to_owned()],
            ..Change::default()
        };
        assert!(merged(&config(), &group).is_err());
    }

    #[test]
    fn a_standby_is_told_for_whom() {
        let by = |ids: &[&str]| Change {
            standbys: Some(ids.iter().map(|id| (*id).to_owned()).collect()),
            ..Change::default()
        };
        let standby = merged(&config(), &by(&["a", "b"])).unwrap();
        assert_eq!(standby["env"][STANDBY_FOR], "a,b");
        let env = Change {
            replace: vec!["env".to_owned()],
            ..Change::default()
        };
        let replaced = merged(&standby, &env).unwrap();
        assert_eq!(replaced["env"], json!({ STANDBY_FOR: "a,b" }));
        let none = merged(&standby, &by(&[])).unwrap();
        assert_eq!(none["env"], config()["env"]);
        let alike = like(Some(&standby), &Change::default()).unwrap();
        assert_eq!(alike["env"], config()["env"]);
        let moved = like(Some(&standby), &by(&["c"])).unwrap();
        assert_eq!(
            (&moved["env"][STANDBY_FOR], &moved["standbys"]),
            (&json!("c"), &json!(["c"]))
        );
    }

    #[test]
    fn nobody_leaves_its_process_group() {
        let patch = Change {
            patch: Some(r#"{"metadata":{"fly_process_group":"worker"}}"#.to_owned()),
            ..Change::default()
        };
        let value = Some("worker".to_owned());
        let key = Change {
            metadata: vec![("fly_process_group".to_owned(), value.clone())],
            ..Change::default()
        };
        let gone = Change {
            patch: Some(r#"{"metadata":null}"#.to_owned()),
            ..Change::default()
        };
        for change in [&patch, &key, &gone] {
            assert!(matches!(
                merged(&config(), change),
                Err(Failure::Invalid(_))
            ));
        }
        let only = |key: &str| keeps_group(&[(key.to_owned(), value.clone())], "web");
        assert!(only("fly_process_group").is_err() && only("process_group").is_err());
        assert!(only("team").is_ok());
        // A new one may be of any: the grant decides.
        assert!(like(Some(&config()), &patch).is_ok());
    }

    #[test]
    fn nonsense_is_refused() {
        let refused =
            |change: Change| matches!(merged(&config(), &change), Err(Failure::Invalid(_)));
        let patch = |text: &str| Change {
            patch: Some(text.to_owned()),
            ..Change::default()
        };
        assert!(refused(patch("{")) && refused(patch("[]")) && refused(patch("null")));
        let long = |bytes: usize| patch(&format!("{{\"x\":\"{}\"}}", "x".repeat(bytes - 8)));
        assert!(!refused(long(PATCH_BYTES)) && refused(long(PATCH_BYTES + 1)));
        assert!(refused(Change {
            autostop: Some("perhaps".to_owned()),
            ..Change::default()
        }));
        assert!(refused(Change {
            image: Some(" ".to_owned()),
            ..Change::default()
        }));
        assert!(like(None, &Change::default()).is_err());
    }
}
