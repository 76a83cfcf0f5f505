//! What a grant can say is its capability's own: keys, names, how much; and nothing is made for a
//! capability of which nobody is granted anything.

use std::sync::Arc;

use groundcrew::journal::{Mode, RunStatus};
use groundcrew::{
    Capability, Covers, Executor, Limits, Linking, Policy, Refusal, Row, Scope, Setting,
    StartError, Unobserved, Unsaid, wasmtime,
};

use crate::support::{ONE, Stage, guest};

/// Asks a target for a place that it does not have.
struct Shelf;

static ROWS: [Row; 1] = [Row {
    name: "shelf.look",
    verb: "look",
    ..Row::READ
}];

impl Capability for Shelf {
    fn name(&self) -> &'static str {
        "shelf"
    }

    fn interface(&self) -> &'static str {
        "test:host/shelf@0.1.0"
    }

    fn operations(&self) -> &'static [Row] {
        &ROWS
    }

    fn scopes(&self) -> &'static [Scope] {
        &[Scope {
            key: "boxes",
            one: "box",
            covers: Covers::Name,
            unsaid: Unsaid::Nothing,
            looked_up: false,
            about: "Boxes by name.",
        }]
    }

    fn link(&self, _: &mut Linking<'_>) -> wasmtime::Result<()> {
        Ok(())
    }

    fn executor(&self, setting: &Setting) -> Result<Arc<dyn Executor>, String> {
        setting.target.place("shelf")?;
        unreachable!("no target of these tests has such a place")
    }
}

fn stage() -> Stage {
    let plugin =
        guest("(drop (call $write (i32.const 1))) (call $drain (i32.const 0)) (call $finish)");
    let plugins = [("p", plugin.build())];
    Stage::with(Limits::default(), &plugins, vec![Arc::new(Shelf)])
}

/// `ONE` with a further grant.
fn shelf(keys: &str) -> String {
    format!("{ONE}[step.grant.shelf]\nverbs = [\"look\"]\n{keys}")
}

#[tokio::test]
async fn only_what_is_granted_is_made() {
    let stage = stage();
    let ended = stage.run(ONE, Mode::Perform).await;
    assert_eq!(ended.report.status, Some(RunStatus::Succeeded));
    let admitted = stage.admit(&shelf("boxes = [\"a\"]\n"), 2).await.unwrap();
    let refused = stage.engine.start(admitted, Arc::new(Unobserved)).await;
    let Err(StartError::Capability(why)) = refused else {
        panic!("it was started without its place");
    };
    assert_eq!(why, "target `test` has no place `shelf`");
}

fn said(refused: Result<groundcrew::Admitted, Vec<Refusal>>) -> Vec<(String, Option<String>)> {
    let refusals = refused.err().unwrap_or_default();
    refusals.into_iter().map(|r| (r.message, r.hint)).collect()
}

#[tokio::test]
async fn a_key_that_the_capability_does_not_have_is_refused() {
    let stage = stage();
    let near = said(stage.admit(&shelf("boxen = [\"a\"]\n"), 1).await);
    assert_eq!(
        near,
        [(
            "a grant of `shelf` has no key `boxen`".to_owned(),
            Some("did you mean `boxes`?".to_owned())
        )]
    );
    let far = said(stage.admit(&shelf("boxes = 3\n"), 1).await);
    assert_eq!(
        far[0].0,
        "`boxes` in a grant of `shelf` has to be a list of names"
    );
    let other = said(stage.admit(&shelf("apps = [\"a\"]\n"), 1).await);
    assert_eq!(other[0].0, "a grant of `shelf` has no key `apps`");
}

#[tokio::test]
async fn a_policy_that_nobody_would_keep_is_refused() {
    for (text, message) in [
        (
            "[grant.ledgr]\nverbs = []",
            "the operator's policy: there is no capability `ledgr` to limit",
        ),
        (
            "[target.production.grant.ledger]\nmax_acounts = 3",
            "the operator's policy: a grant of `ledger` has no key `max_acounts`",
        ),
        (
            "[grant.ledger]\nmax_share = 101",
            "the operator's policy: `max_share` in a grant of `ledger` has to be a share from 1 to 100 percent",
        ),
        (
            "[grant.ledger]\nmax_share = 0",
            "the operator's policy: `max_share` in a grant of `ledger` has to be a share from 1 to 100 percent",
        ),
        (
            "[target.other.approvals]\nrequired = 0\nkeys = []",
            "the operator's policy: `other`: `required = 0` asks for no approval; leave the table `approvals` out if nobody has to approve",
        ),
        (
            "[grant.ledger]\napps = 1",
            "the operator's policy: `apps` in a grant of `ledger` has to be a list of names",
        ),
    ] {
        let mut stage = stage();
        stage.policy = text
            .parse::<toml::Table>()
            .unwrap()
            .try_into::<Policy>()
            .unwrap();
        let refused = said(stage.admit(ONE, 1).await);
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert_eq!(refused[0].0, message);
    }
    for wrong in [
        "[grant.ledger]\nmax_accounts = -1",
        "[grant.ledger]\napps = true",
    ] {
        assert!(toml::from_str::<Policy>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_policy_is_written_as_it_was_read() {
    let text =
        "[grant.ledger]\nverbs = [\"read\"]\napps = [\"*\"]\nmax_accounts = 3\nmax_share = 50\n";
    let policy: Policy = toml::from_str(text).unwrap();
    let json = serde_json::to_string(&policy.grant["ledger"]).unwrap();
    assert_eq!(
        json,
        r#"{"verbs":["read"],"apps":["*"],"max_accounts":3,"max_share":50}"#
    );
    assert_eq!(
        serde_json::from_str::<groundcrew::CapabilityGrant>(&json).unwrap(),
        policy.grant["ledger"]
    );
}
