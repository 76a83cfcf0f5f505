//! Plugins that are not admitted, and what is said about each.

use groundcrew::{Limits, PluginError};

use crate::support::{GuestSource, ONE, Stage, guest};

async fn refused(limits: Limits, bytes: Vec<u8>) -> PluginError {
    Stage::with_plugins(limits, &[("p", bytes)])
        .engine
        .plugin("p")
        .await
        .expect_err("it should be refused")
}

async fn refused_text(text: &str) -> PluginError {
    refused(Limits::default(), wat::parse_str(text).unwrap()).await
}

async fn refused_guest(source: &GuestSource) -> PluginError {
    refused(
        Limits {
            describe_fuel: 5_000_000,
            memory_bytes: 4 << 20,
            ..Limits::default()
        },
        source.build(),
    )
    .await
}

#[tokio::test]
async fn what_is_no_component_is_refused_by_name() {
    for bytes in [&b""[..], b"#!/bin/sh\n", b"\0asm"] {
        assert_eq!(
            refused(Limits::default(), bytes.to_vec()).await.to_string(),
            "plugin `p` is not WebAssembly"
        );
    }
    let module = refused_text("(module)").await;
    assert_eq!(
        module.to_string(),
        "plugin `p` is a core WebAssembly module, not a component"
    );
    assert!(module.hint.unwrap().contains("wasm-tools component new"));
    let future = refused(Limits::default(), b"\0asm\x0e\0\x01\0".to_vec()).await;
    assert_eq!(
        future.to_string(),
        "plugin `p` is WebAssembly of a version that this host does not know"
    );
    let cut_off = guest("(call $finish)").build();
    let cut_off = refused(Limits::default(), cut_off[..cut_off.len() / 2].to_vec()).await;
    assert!(
        cut_off
            .to_string()
            .starts_with("plugin `p` is not a valid component: "),
        "{cut_off}"
    );
}

#[tokio::test]
async fn an_unknown_import_is_refused_by_name() {
    let unknown = refused_text(
        r#"(component (import "evil:corp/door@1.0.0" (instance (export "open" (func)))))"#,
    )
    .await;
    assert_eq!(
        unknown.to_string(),
        "plugin `p` imports `evil:corp/door@1.0.0`, which this host does not have"
    );
    assert_eq!(unknown.hint, None);
    let wasi =
        refused_text(r#"(component (import "wasi:filesystem/types@0.2.0" (instance)))"#).await;
    assert_eq!(
        wasi.to_string(),
        "plugin `p` imports `wasi:filesystem/types@0.2.0`, which this host does not have"
    );
    assert!(wasi.hint.unwrap().contains("wasm32-unknown-unknown"));
    let function = refused_text(r#"(component (import "bare" (func)))"#).await;
    assert_eq!(
        function.to_string(),
        "plugin `p` imports `bare`, which this host does not have"
    );
    let newer = refused_text(r#"(component (import "test:host/ledger@0.2.0" (instance)))"#).await;
    assert_eq!(
        newer.to_string(),
        "plugin `p` imports `test:host/ledger@0.2.0`, which this host does not have"
    );
}

#[tokio::test]
async fn a_known_interface_with_another_function_or_type_does_not_fit() {
    for import in [
        r#"(export "bomb" (func))"#,
        r#"(export "now" (func (result string)))"#,
    ] {
        let error = refused_text(&format!(
            r#"(component (import "groundcrew:host/operations@0.1.0" (instance {import})))"#
        ))
        .await;
        assert!(
            error
                .to_string()
                .starts_with("plugin `p` does not fit this host's contract: "),
            "{error}"
        );
        assert!(error.hint.unwrap().contains("another version"));
    }
}

#[tokio::test]
async fn a_component_without_the_exports_is_refused() {
    let error = refused_text("(component)").await;
    assert!(error.to_string().contains("describe"), "{error}");
}

#[tokio::test]
async fn a_describe_that_does_not_end_is_refused() {
    let describe = |body: &str| GuestSource {
        describe: Some(body.to_owned()),
        ..guest("(call $finish)")
    };
    let looping = refused_guest(&describe("(loop $again (br $again))")).await;
    assert_eq!(
        looping.to_string(),
        "plugin `p` could not describe itself: the plugin computed without end: it used up its 5000000 units of fuel"
    );
    let greedy = refused_guest(&describe(
        "(loop $again (drop (memory.grow (i32.const 1))) (br $again))",
    ))
    .await;
    assert_eq!(
        greedy.to_string(),
        "plugin `p` could not describe itself: the plugin wanted more than its 4194304 bytes of memory"
    );
    let mut recursive = describe("(call $deeper)");
    recursive.functions = "(func $deeper (call $deeper) (call $deeper))".to_owned();
    let recursive = refused(Limits::default(), recursive.build()).await;
    assert_eq!(
        recursive.to_string(),
        "plugin `p` could not describe itself: the plugin recursed without end: its stack of 524288 bytes is full"
    );
    let trapping = refused_guest(&describe("(unreachable)")).await;
    assert!(
        trapping
            .to_string()
            .starts_with("plugin `p` could not describe itself: the plugin broke down: "),
        "{trapping}"
    );
}

#[tokio::test]
async fn a_describe_that_calls_an_import_is_refused() {
    for (body, said) in [
        (
            "(drop (call $write (i32.const 1)))",
            "`write` was called from `describe`",
        ),
        (
            "(drop (call $sleep (i64.const 1)))",
            "`sleep` was called from `describe`",
        ),
        (
            "(drop (call $next (i32.const 1)))",
            "`next` was called from `describe`",
        ),
        (
            "(drop (call $take_write (i64.const 1)))",
            "`take-write` was called from `describe`",
        ),
        ("(drop (call $now))", "`now` was called from `describe`"),
        (
            "(drop (call $random))",
            "`random` was called from `describe`",
        ),
        (
            "(call $cancel (i64.const 1))",
            "`cancel` was called from `describe`",
        ),
        (
            "(call $forget (i64.const 1))",
            "`forget` was called from `describe`",
        ),
        (
            "(call $note (i32.const 16) (i32.const 0))",
            "`note` was called from `describe`",
        ),
    ] {
        let error = refused_guest(&GuestSource {
            describe: Some(body.to_owned()),
            ..guest("(call $finish)")
        })
        .await;
        assert_eq!(
            error.to_string(),
            format!("plugin `p` could not describe itself: {said}")
        );
    }
}

#[tokio::test]
async fn a_schema_stays_within_itself() {
    let schema = |input: &str, output: &str| GuestSource {
        input_schema: input.to_owned(),
        output_schema: output.to_owned(),
        ..guest("(call $finish)")
    };
    for outside in [
        "https://evil.example/schema",
        "file:///etc/passwd",
        "other.json#/x",
    ] {
        for text in [
            format!(r#"{{"$ref":"{outside}"}}"#),
            format!(r#"{{"properties":{{"a":{{"items":[{{"$dynamicRef":"{outside}"}}]}}}}}}"#),
        ] {
            let error = refused_guest(&schema(&text, "{}")).await;
            assert_eq!(
                error.to_string(),
                format!(
                    "plugin `p` has an input schema that refers to `{outside}`, outside itself"
                )
            );
        }
    }
    let error = refused_guest(&schema("{}", "not json")).await;
    assert!(
        error
            .to_string()
            .starts_with("plugin `p` has an output schema that is not JSON: "),
        "{error}"
    );
    let error = refused_guest(&schema(r#"{"type":"nonsense"}"#, "{}")).await;
    assert!(
        error
            .to_string()
            .starts_with("plugin `p` has an input schema that is none: "),
        "{error}"
    );
    let inside = schema(r##"{"$ref":"#/$defs/a","$defs":{"a":{}}}"##, "{}");
    assert!(
        Stage::new(Limits::default(), &inside)
            .engine
            .plugin("p")
            .await
            .is_ok()
    );
}

/// `$schema` and `$id` with an address are names, and must not make the host fetch anything.
#[tokio::test]
async fn a_schema_cannot_name_a_dialect_that_would_be_fetched() {
    let text = r#"{"$schema":"https://evil.example/dialect"}"#;
    let error = refused_guest(&GuestSource {
        input_schema: text.to_owned(),
        ..guest("(call $finish)")
    })
    .await;
    assert!(
        error
            .to_string()
            .starts_with("plugin `p` has an input schema that is none: "),
        "{error}"
    );
    // With an own base address, a reference that looks local leads outside.
    let based =
        r##"{"$id":"https://evil.example/","properties":{"a":{"$ref":"#/$defs/missing"}}}"##;
    let error = refused_guest(&GuestSource {
        input_schema: based.to_owned(),
        ..guest("(call $finish)")
    })
    .await;
    assert!(
        error
            .to_string()
            .starts_with("plugin `p` has an input schema that is none: "),
        "{error}"
    );
}

#[tokio::test]
async fn a_component_has_at_most_its_bytes() {
    let bytes = guest("(call $finish)").build();
    let at = Limits {
        component_bytes: bytes.len(),
        ..Limits::default()
    };
    assert!(
        Stage::with_plugins(at, &[("p", bytes.clone())])
            .engine
            .plugin("p")
            .await
            .is_ok()
    );
    let past = Limits {
        component_bytes: bytes.len() - 1,
        ..Limits::default()
    };
    let error = refused(past, bytes.clone()).await;
    assert_eq!(
        error.to_string(),
        format!(
            "plugin `p` is {} bytes; at most {} are allowed",
            bytes.len(),
            bytes.len() - 1
        )
    );
}

#[tokio::test]
async fn a_description_has_at_most_its_bytes() {
    // `test`, `1.0.0`, `{}` twice; `ledger`, its four verbs, `to test`: 43 bytes beside the summary.
    let of = |bytes: usize| GuestSource {
        summary: "x".repeat(bytes - 43),
        ..guest("(call $finish)")
    };
    assert!(
        Stage::new(Limits::default(), &of(256 << 10))
            .engine
            .plugin("p")
            .await
            .is_ok()
    );
    let error = refused(Limits::default(), of((256 << 10) + 1).build()).await;
    assert_eq!(
        error.to_string(),
        "plugin `p` could not describe itself: its description has 262145 bytes; at most 262144 are allowed"
    );
}

#[tokio::test]
async fn describing_has_at_most_its_fuel() {
    let source = guest("(call $finish)").build();
    let admitted = async |fuel: u64| {
        let limits = Limits {
            describe_fuel: fuel,
            ..Limits::default()
        };
        Stage::with_plugins(limits, &[("p", source.clone())])
            .engine
            .plugin("p")
            .await
            .is_ok()
    };
    let (mut too_little, mut enough) = (0, 1024);
    assert!(admitted(enough).await);
    while enough - too_little > 1 {
        let middle = u64::midpoint(too_little, enough);
        if admitted(middle).await {
            enough = middle
        } else {
            too_little = middle
        }
    }
    assert!(admitted(enough + 1).await && !admitted(enough - 1).await);
}

#[tokio::test]
async fn a_plugin_that_is_not_here_is_named_with_its_neighbour() {
    let stage = Stage::new(Limits::default(), &guest("(call $finish)"));
    let error = stage.engine.plugin("q").await.unwrap_err();
    assert_eq!(error.to_string(), "plugin `q` is not here");
    let refusals = stage
        .admit(&ONE.replace(r#"plugin = "p""#, r#"plugin = "q""#), 1)
        .await
        .err()
        .unwrap();
    assert_eq!(
        (refusals.len(), refusals[0].step.as_deref()),
        (1, Some("s"))
    );
}

#[tokio::test]
async fn imports_are_listed_as_functions() {
    let stage = Stage::new(Limits::default(), &guest("(call $finish)"));
    let plugin = stage.engine.plugin("p").await.unwrap();
    assert!(
        plugin
            .imports
            .contains(&"test:host/ledger@0.1.0#write".to_owned()),
        "{:?}",
        plugin.imports
    );
    assert!(
        plugin
            .imports
            .iter()
            .all(|import| !import.contains("machines@")),
        "{:?}",
        plugin.imports
    );
}
