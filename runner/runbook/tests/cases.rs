//! The golden files: dropping a `.toml` into `cases/` adds a test. `GROUNDCREW_BLESS=1` writes what
//! is missing or has changed; read every message aloud before committing it.

use std::fs;
use std::path::{Path, PathBuf};

use groundcrew_runbook::{
    GrantForm, GrantKey, GrantKeys, Limit, LimitValue, Runbook, Scope, Template, check, check_for,
    render,
};
use proptest::prelude::*;
use serde_json::json;

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "toml")
    });
    files.sort();
    files
}

fn golden(path: &Path, actual: &str) {
    let golden = path.with_extension("txt");
    if std::env::var_os("GROUNDCREW_BLESS").is_some() {
        fs::write(&golden, actual).unwrap();
    }
    let expected =
        fs::read_to_string(&golden).unwrap_or_else(|_| panic!("{} is missing", golden.display()));
    assert_eq!(actual, expected, "{} differs", golden.display());
}

#[test]
fn valid_runbooks_are_accepted() {
    for path in files("cases/valid") {
        let runbook = check_for(&fs::read_to_string(&path).unwrap(), &keys())
            .unwrap_or_else(|errors| panic!("{}: {errors:#?}", path.display()));
        golden(&path, &summary(&runbook));
    }
}

#[test]
fn our_own_runbooks_have_no_warnings() {
    let files = files("../../runbooks");
    assert!(!files.is_empty());
    for path in files {
        let runbook = check(&fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|errors| panic!("{}: {errors:#?}", path.display()));
        assert_eq!(runbook.warnings, [], "{}", path.display());
        let name = path.file_stem().and_then(|stem| stem.to_str());
        assert_eq!(Some(runbook.name.as_str()), name, "it is found by its name");
    }
}

/// As a host says it whose capability `machines` this is.
fn keys() -> GrantKeys {
    let key = |(name, form): (&str, GrantForm)| GrantKey {
        name: name.to_owned(),
        form,
        about: "Something.".to_owned(),
    };
    let machines = [
        ("apps", GrantForm::Names),
        ("groups", GrantForm::Names),
        ("max_machines", GrantForm::Number),
        ("max_share", GrantForm::Share),
    ];
    GrantKeys([("machines".to_owned(), machines.map(key).to_vec())].into())
}

/// Values that only turn out wrong when they are evaluated name step, key and expression.
#[test]
fn errors_of_evaluation_name_their_place() {
    let evaluate = |key: &str, input: serde_json::Value| {
        let grant = if key == "timeout" {
            ""
        } else {
            "[step.grant.machines]\n"
        };
        let text = format!(
            "name = 'r'\nsummary = 's'\n[inputs.x]\ntype = 'string'\n[[step]]\nid = 'a'\nplugin = 'p'\n{grant}{key} = '${{inputs.x}}'\n"
        );
        let step = check_for(&text, &keys()).unwrap().steps.remove(0);
        let scope = Scope {
            inputs: json!({ "x": input }),
            ..Scope::default()
        };
        let timeout = step.timeout(&scope).err();
        timeout
            .or_else(|| step.evaluate_grants(&scope).err())
            .expect("it is wrong")
            .to_string()
    };
    assert_eq!(
        evaluate("max_machines", json!("many")),
        r#"step `a`, key `grant.machines.max_machines`: cannot evaluate `${inputs.x}`: "many" is not a whole number"#
    );
    assert_eq!(
        evaluate("max_share", json!(25)),
        "step `a`, key `grant.machines.max_share`: cannot evaluate `${inputs.x}`: 25 is not a share such as `25%`"
    );
    assert_eq!(
        evaluate("max_share", json!("0%")),
        r#"step `a`, key `grant.machines.max_share`: cannot evaluate `${inputs.x}`: "0%" is not a share such as `25%`"#
    );
    assert_eq!(
        evaluate("timeout", json!("0m")),
        "step `a`, key `timeout`: cannot evaluate `${inputs.x}`: `0m` gives the step no time"
    );
    assert_eq!(
        evaluate("apps", json!("")),
        r#"step `a`, key `grant.machines.apps`: cannot evaluate `${inputs.x}`: a grant holds names, and "" is none"#
    );
    assert_eq!(
        evaluate("timeout", json!(90)),
        "step `a`, key `timeout`: cannot evaluate `${inputs.x}`: 90 is not a duration such as `90s`"
    );
}

/// The checked form, as far as a reader can take it in.
fn summary(runbook: &Runbook) -> String {
    let mut text = format!(
        "{}: {}\nlock: {}\n",
        runbook.name,
        runbook.summary,
        runbook.lock.as_ref().map_or(0, Vec::len)
    );
    for input in &runbook.inputs {
        let default = input
            .default
            .as_ref()
            .map_or("required".to_owned(), ToString::to_string);
        text += &format!(
            "input {}: {:?} {default} {:?}..{:?}\n",
            input.name, input.kind, input.min, input.max
        );
    }
    let rescued = runbook.steps.iter().flat_map(|step| {
        std::iter::once(("step", step)).chain(step.rescue.iter().map(|step| ("rescue", step)))
    });
    for (kind, step) in rescued.chain(runbook.finally.iter().map(|step| ("finally", step))) {
        text += &format!(
            "{kind} {} = {} needs {:?} when {:?}\n",
            step.id,
            step.plugin.source(),
            step.needs,
            step.when.as_ref().map(|when| when.source())
        );
        text += &format!(
            "  {}; {:?}; waits: {}\n",
            step.retry,
            step.on_failure,
            step.with.uses_steps()
        );
        for (capability, grant) in &step.grant {
            let sources = |list: &[Template]| {
                list.iter()
                    .map(|item| item.source().to_owned())
                    .collect::<Vec<_>>()
            };
            let names = |key: &str| match grant.limits.get(key) {
                Some(Limit::Names(names)) => sources(names),
                _ => Vec::new(),
            };
            text += &format!(
                "  grant {capability}: {:?} on {:?} {:?}\n",
                sources(&grant.verbs),
                names("apps"),
                names("groups")
            );
        }
    }
    text
}

#[test]
fn invalid_runbooks_are_refused() {
    for path in files("cases/invalid") {
        let text = fs::read_to_string(&path).unwrap();
        let errors = check_for(&text, &keys()).expect_err("it is invalid");
        let name = path.file_name().unwrap().to_str().unwrap();
        golden(
            &path,
            &errors
                .iter()
                .map(|error| render(error, &text, name, false))
                .collect::<Vec<_>>()
                .join("\n"),
        );
    }
}

#[test]
fn restart_by_group_evaluates() {
    let runbook = check(include_str!("../../../runbooks/restart-by-group.toml")).unwrap();
    let given = [
        ("app".to_owned(), "web".to_owned()),
        ("group".to_owned(), String::new()),
        ("regions".to_owned(), "fra,ams".to_owned()),
    ];
    let scope = Scope {
        inputs: runbook.bind_inputs(&given).unwrap(),
        ..Scope::default()
    };
    let step = &runbook.steps[0];
    let with = step.with.evaluate(&scope).unwrap();
    assert_eq!(with["group"], json!(null));
    assert_eq!(with["regions"], json!(["fra", "ams"]));
    assert_eq!(with["parallel"], json!(50));
    let grant = &step.evaluate_grants(&scope).unwrap()["machines"];
    assert_eq!(
        (&grant.limits["groups"], &grant.limits["max_machines"]),
        (
            &LimitValue::Names(vec!["*".to_owned()]),
            &LimitValue::Number(600)
        )
    );
    assert_eq!(step.timeout(&scope).unwrap().as_secs(), 1200);
    assert_eq!(
        runbook
            .bind_inputs(&[("ap".into(), "x".into())])
            .unwrap_err()
            .len(),
        2
    );
}

#[test]
fn absent_steps_have_no_output() {
    let runbook = check(include_str!("../cases/valid/everything.toml")).unwrap();
    let scope = Scope {
        inputs: json!({"apps": ["web"], "size": "s"}),
        ..Scope::default()
    };
    assert!(
        !runbook.steps[1]
            .when
            .as_ref()
            .unwrap()
            .holds(&scope)
            .unwrap()
    );
    assert_eq!(
        runbook.steps[0].with.evaluate(&scope).unwrap()["text"],
        json!("${literal} s!")
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn check_never_panics(text in "\\PC{0,200}", at in 0_usize..2000, cut in 0_usize..20) {
        let valid = include_str!("../cases/valid/everything.toml");
        let at = valid.floor_char_boundary(at.min(valid.len()));
        let end = valid.floor_char_boundary((at + cut).min(valid.len()));
        let _ = check(&text);
        let _ = check(&format!("{}{text}{}", &valid[..at], &valid[end..]));
    }

    #[test]
    fn expressions_never_overflow(expression in "[-!(\\[{?:a1+.'&|<,)\\]} ]{0,400}") {
        let text = format!("name='r'\nsummary='s'\n[[step]]\nid='a'\nplugin='p'\nwhen='''\n{expression}'''\n");
        let _ = check(&text);
    }
}

/// Without a host that says what its grants have, a key is read by the form of what stands behind it.
#[test]
fn keys_that_nobody_named_are_read_by_their_form() {
    let text = "name = 'r'\nsummary = 's'\n[inputs.most]\ntype = 'integer'\ndefault = 3\n[inputs.share]\ntype = 'string'\ndefault = '25%'\n[inputs.queue]\ntype = 'string'\ndefault = 'low'\n[[step]]\nid = 'a'\nplugin = 'p'\n[step.grant.sidekiq]\nverbs = ['quiet']\nqueues = ['default', '${inputs.queue}']\ntags = '${inputs.queue}'\nmax_processes = 5\nmax_jobs = '${inputs.most}'\nshare = '10%'\nother_share = '${inputs.share}'\n";
    let runbook = check(text).unwrap();
    let scope = Scope {
        inputs: runbook.bind_inputs(&[]).unwrap(),
        ..Scope::default()
    };
    let grants = runbook.steps[0].evaluate_grants(&scope).unwrap();
    let names =
        |names: &[&str]| LimitValue::Names(names.iter().map(|name| (*name).to_owned()).collect());
    let expected = [
        ("max_jobs", LimitValue::Number(3)),
        ("max_processes", LimitValue::Number(5)),
        ("other_share", LimitValue::Share(25)),
        ("queues", names(&["default", "low"])),
        ("share", LimitValue::Share(10)),
        ("tags", names(&["low"])),
    ];
    let expected = expected.map(|(key, value)| (key.to_owned(), value));
    assert_eq!(grants["sidekiq"].limits, expected.into());
}
