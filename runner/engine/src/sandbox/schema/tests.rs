use std::time::Instant;

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn reason(schema: Value) -> String {
    let unfit = Schema::compile(&schema.to_string()).err();
    unfit.map_or_else(|| "fine".to_owned(), |unfit| unfit.reason)
}

/// `$defs` in which each has `keyword` of two references to the next.
fn doubling(levels: usize, node: impl Fn(Value, Value) -> Value) -> Value {
    let defs: serde_json::Map<String, Value> = (0..levels)
        .map(|level| {
            let next = json!({ "$ref": format!("#/$defs/d{}", level + 1) });
            (format!("d{level}"), node(next.clone(), next))
        })
        .chain([(format!("d{levels}"), json!({ "type": "integer" }))])
        .collect();
    json!({ "$ref": "#/$defs/d0", "$defs": defs })
}

#[test]
fn every_way_to_multiply_is_refused_before_it_is_followed() {
    let here = [
        (|a, b| json!({ "allOf": [a, b] })) as fn(Value, Value) -> Value,
        |a, b| json!({ "anyOf": [a, b] }),
        |a, b| json!({ "oneOf": [a, b] }),
        |a, b| json!({ "if": a, "then": b }),
        |a, b| json!({ "not": a, "else": b, "if": true }),
        |a, b| json!({ "dependentSchemas": { "a": a, "b": b } }),
        |a, _| json!({ "allOf": [a], "unevaluatedProperties": false }),
    ];
    for node in here {
        assert_eq!(
            reason(doubling(40, node)),
            "is too large: it asks too much of each value"
        );
        assert_eq!(reason(doubling(3, node)), "fine");
    }
    // For the values inside it depends on how many there are.
    let within = |a, b| json!({ "properties": { "a": a }, "patternProperties": { "a": b } });
    let schema = Schema::compile(&doubling(40, within).to_string()).unwrap();
    let nested = |levels| (0..levels).fold(json!(1), |value, _| json!({ "a": value }));
    assert_eq!(schema.faults(&nested(4)), Vec::<String>::new());
    assert_eq!(
        schema.faults(&nested(40)),
        ["it is too large to be compared with its schema"]
    );
}

#[test]
fn ways_are_as_long_as_is_allowed_and_no_longer() {
    let chain = |length: usize| {
        let defs: serde_json::Map<String, Value> = (1..length)
            .map(|at| {
                (
                    format!("d{at}"),
                    json!({ "$ref": format!("#/$defs/d{}", at + 1) }),
                )
            })
            .chain([(format!("d{length}"), json!({ "type": "object" }))])
            .collect();
        json!({ "$ref": "#/$defs/d1", "$defs": defs })
    };
    // The root is one of them.
    assert_eq!(reason(chain(super::super::cost::MAX_WAY - 1)), "fine");
    assert_eq!(
        reason(chain(super::super::cost::MAX_WAY)),
        "is too large: it goes too deep"
    );
    // Written in one another's branches, each is short.
    let branches: serde_json::Map<String, Value> = (0..1000)
        .map(|at| {
            let next = format!("#/properties/p{}", at + 1);
            (format!("p{at}"), json!({ "allOf": [{ "$ref": next }] }))
        })
        .chain([("p1000".to_owned(), json!(true))])
        .collect();
    assert_eq!(
        reason(json!({ "properties": branches })),
        "is too large: it goes too deep"
    );
    for endless in [
        json!({ "$ref": "#" }),
        json!({ "allOf": [{ "anyOf": [{ "$ref": "#" }] }] }),
        json!({ "properties": { "a": { "$ref": "#/$defs/a" } }, "$defs": { "a": { "not": { "$ref": "#/$defs/a" } } } }),
    ] {
        assert_eq!(reason(endless), "refers to itself without end");
    }
}

#[test]
fn the_deepest_values_and_schemas_fit_into_the_smallest_stack() {
    let work = || {
        let deep = |levels| (0..levels).fold(json!([]), |value, _| json!([value]));
        // As many schemas as may be gone through with the deepest of values.
        let between = super::super::cost::MAX_WAY / (MAX_DEPTH + 1) - 2;
        let again = (0..between).fold(
            json!({ "$ref": "#" }),
            |schema, _| json!({ "anyOf": [schema] }),
        );
        let schema = Schema::compile(&json!({ "items": again }).to_string()).unwrap();
        assert_eq!(schema.faults(&deep(MAX_DEPTH - 1)), Vec::<String>::new());
        assert_eq!(
            schema.faults(&deep(MAX_DEPTH)),
            ["it is nested more than 64 levels deep"]
        );
        let wrong = json!({ "items": again, "type": "array", "maxItems": 0 });
        let wrong = Schema::compile(&wrong.to_string()).unwrap();
        assert!(!wrong.faults(&deep(MAX_DEPTH - 1)).is_empty());
    };
    // As blocking threads and workers of tokio have it, halved.
    let small = std::thread::Builder::new().stack_size(1 << 20);
    small.spawn(work).unwrap().join().unwrap();
}

#[test]
fn patterns_are_few_and_small_and_linear() {
    let many = |count: usize| {
        let all: Vec<Value> = (0..count)
            .map(|at| json!({ "pattern": format!("a{at}") }))
            .collect();
        reason(json!({ "prefixItems": all }))
    };
    assert_eq!(many(64), "fine");
    assert_eq!(many(65), "is too large: it has too many patterns");
    for large in ["(a{1,100}){1,100}", "(?=a)b", "(a)\\1"] {
        let reason = reason(json!({ "pattern": large }));
        assert!(reason.starts_with("is none: "), "{large}: {reason}");
    }
    let schema = Schema::compile(r#"{"pattern":"^(a+)+$"}"#).unwrap();
    let said = schema.faults(&format!("{}b", "a".repeat(60_000)).into());
    assert_eq!(said.len(), 1);
    assert!(said[0].chars().count() < 320, "{}", said[0].len());
}

#[test]
fn a_value_is_judged_up_to_a_size() {
    let schema = Schema::compile(r#"{"items":{"enum":["a","b"]}}"#).unwrap();
    let list = |count| Value::from(vec!["c"; count]);
    assert_eq!(schema.faults(&list(100)).len(), FAULTS);
    assert_eq!(
        schema.faults(&list(100_000)),
        ["something in it, which is too large to say what"]
    );
    assert_eq!(
        schema.faults(&list(10_000_000)),
        ["it is too large to be compared with its schema"]
    );
    assert!(!schema.is_heavy(&list(100)) && schema.is_heavy(&list(100_000)));
}

/// Nothing that looks at all of a text, or reckons with it, is taken for one step.
#[test]
fn what_is_dear_for_one_value_is_reckoned_as_dear() {
    let long = Value::from("é".repeat(1 << 20));
    let numbers = Value::from(vec![1e-300; 1000]);
    for (keyword, value) in [
        (json!({ "minLength": 1 }), &long),
        (json!({ "maxLength": 9_000_000 }), &long),
        (json!({ "contentMediaType": "application/json" }), &long),
        (json!({ "contentEncoding": "base64" }), &long),
        (json!({ "pattern": "é$" }), &long),
        (json!({ "items": { "multipleOf": 1e-307 } }), &numbers),
        (json!({ "uniqueItems": true }), &numbers),
    ] {
        let many = vec![keyword.clone(); 1000];
        let draft = "http://json-schema.org/draft-07/schema#";
        let schema = json!({ "$schema": draft, "allOf": many });
        let began = Instant::now();
        let schema = Schema::compile(&schema.to_string());
        let said = schema.map_or_else(
            |refused| vec![refused.reason],
            |schema| schema.faults(value),
        );
        assert!(
            began.elapsed().as_secs() < 5,
            "{keyword}: {:?}",
            began.elapsed()
        );
        assert!(
            said.iter().all(|said| said.contains("too")),
            "{keyword}: {said:?}"
        );
    }
}

#[test]
fn references_are_paths_in_the_schema() {
    for (schema, said) in [
        (
            json!({ "$ref": "#name" }),
            "refers to `#name`, which is no path in it",
        ),
        (
            json!({ "$ref": "#/%24defs/a" }),
            "refers to `#/%24defs/a`, which is no path in it",
        ),
        (
            json!({ "$ref": "#/$defs/a" }),
            "is none: there is no `#/$defs/a` in it",
        ),
        (
            json!({ "$dynamicRef": "#a" }),
            "uses `$dynamicRef`, which is not followed here",
        ),
        (
            json!({ "$defs": { "a": { "items": { "$id": "b" } } }, "$ref": "#/$defs/a" }),
            "has `$id` inside it, which would move its references",
        ),
    ] {
        assert_eq!(reason(schema), said);
    }
    // A property may be called anything.
    let named = json!({ "properties": { "$id": true, "id": true, "$ref": { "type": "string" } } });
    assert_eq!(reason(named), "fine");
    let tree = json!({ "properties": { "children": { "items": { "$ref": "#" } } } });
    assert_eq!(reason(tree), "fine");
}

fn schemas() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(true)),
        Just(json!({ "type": "integer" })),
        (0..4_u8).prop_map(|to| json!({ "$ref": format!("#/$defs/{to}") })),
        Just(json!({ "$ref": "#" })),
        Just(json!({ "pattern": "^(a|b)+c" })),
        Just(json!({ "enum": [1, "a", null], "uniqueItems": true })),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let one = |key: &'static str| inner.clone().prop_map(move |s| json!({ key: s }));
        let list = |key: &'static str| {
            prop::collection::vec(inner.clone(), 1..4).prop_map(move |s| json!({ key: s }))
        };
        prop_oneof![
            list("allOf"),
            list("anyOf"),
            list("oneOf"),
            list("prefixItems"),
            one("items"),
            one("contains"),
            one("not"),
            one("additionalProperties"),
            one("unevaluatedProperties"),
            one("unevaluatedItems"),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| json!({ "if": a, "then": b })),
            (inner.clone(), inner.clone()).prop_map(
                |(a, b)| json!({ "properties": { "a": a }, "patternProperties": { "^[ab]$": b } })
            ),
        ]
    })
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<i32>().prop_map(Value::from),
        "[abc]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(8, 64, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[abc]", inner, 0..4).prop_map(|fields| json!(fields)),
        ]
    })
}

proptest! {
    /// Whatever is not refused ends soon: far within the worst that was reckoned.
    #[test]
    fn what_is_reckoned_is_enough(root in schemas(), defs in prop::collection::vec(schemas(), 4), value in values()) {
        let mut schema = json!({ "allOf": [root], "$defs": {} });
        for (name, def) in defs.into_iter().enumerate() {
            schema["$defs"][name.to_string()] = def;
        }
        let began = Instant::now();
        if let Ok(schema) = Schema::compile(&schema.to_string()) {
            schema.faults(&value);
        }
        prop_assert!(began.elapsed().as_secs() < 5);
    }
}
