//! A plan whose author lies: it is signed as it is, and whatever it says that is not so is found before
//! anything is written.

use anyhow::{Context, Result, ensure};
use groundcrew::{Key, digest};
use groundcrew_tests::{World, fleet};
use serde_json::{Value, json};

/// The author's own key, as the command has made it.
fn author(world: &World) -> Result<Key> {
    let identity = world.project().join(".config/groundcrew/identity");
    let half = |name: &str| std::fs::read_to_string(identity.join(name));
    Ok(Key::from_pair(&half("key")?, &half("key.pub")?)?)
}

/// The plan with something in it changed, signed again.
fn forged(plan: &str, author: &Key, change: &dyn Fn(&mut Value)) -> Result<String> {
    let mut file: Value = serde_json::from_str(plan)?;
    change(&mut file["plan"]);
    let digest = digest(file["plan"].to_string());
    file["note"] = author
        .sign(&format!("groundcrew plan v1\n{digest}\n"), &[])?
        .into();
    Ok(file.to_string())
}

/// The first Machine that is written to, as `app/id`.
fn first(plan: &Value) -> String {
    let write = &plan["writes"][0];
    let part = |field: &str| write[field].as_str().unwrap_or_default().to_owned();
    format!("{}/{}", part("app"), part("subject"))
}

type Change = Box<dyn Fn(&mut Value)>;

fn lies() -> Vec<(&'static str, i32, &'static str, Change)> {
    fn lie(
        name: &'static str,
        code: i32,
        says: &'static str,
        change: impl Fn(&mut Value) + 'static,
    ) -> (&'static str, i32, &'static str, Change) {
        (name, code, says, Box::new(change))
    }
    let observed = |plan: &mut Value, each: &dyn Fn(&mut Value)| {
        let all = plan["observed"].as_array_mut().into_iter().flatten();
        all.for_each(each);
    };
    vec![
        lie("nothing observed", 4, "does not have its `", |plan| {
            plan["observed"] = json!([]);
        }),
        lie(
            "one Machine not observed",
            4,
            "does not have its `",
            move |plan| {
                let first = first(plan);
                observed(plan, &|of| {
                    if let Some(found) = of["found"].as_object_mut() {
                        found.remove(&first);
                    }
                });
            },
        ),
        lie("one field not observed", 7, "state", move |plan| {
            observed(plan, &|of| {
                let found = of["found"].as_object_mut().into_iter().flatten();
                found.for_each(|(_, fields)| {
                    fields.as_object_mut().map(|fields| fields.remove("state"));
                });
            });
        }),
        lie("observed by what says less", 7, "is now null", {
            move |plan| observed(plan, &|of| of["operation"] = "machines.exec".into())
        }),
        lie("observed elsewhere", 7, "is gone", move |plan| {
            observed(plan, &|of| {
                let all = json!({ "scope": { "app": "api" }, "filter": of["arguments"]["filter"] });
                if of["subject"].is_null() {
                    of["arguments"] = all;
                }
            });
        }),
        lie("another group", 7, ".group", |plan| {
            plan["writes"][0]["about"]["group"] = "staging".into();
        }),
        lie("another region", 7, ".region", |plan| {
            plan["writes"][0]["about"]["region"] = "xxx".into();
        }),
        lie("of more", 7, "web.number", |plan| {
            plan["apps"]["web"]["before"] = 5000.into();
        }),
        lie("an undo", 4, "is taken back by `nothing`", |plan| {
            plan["writes"][0]["undo"] = "machines.restart".into();
        }),
        lie("something new", 4, "makes nothing", |plan| {
            plan["writes"][0]["makes"] = "restart/create#1".into();
        }),
        lie("its runbook's name", 4, "its runbook is called `", |plan| {
            plan["runbook"] = "count-machines".into();
        }),
        lie("its runbook's digest", 4, "has another digest", |plan| {
            plan["runbook_digest"] = digest("x").into();
        }),
        lie("for ever", 4, "more than 30d after it was made", |plan| {
            plan["expires_at"] = "9999-01-01T00:00:00Z".into();
        }),
        lie(
            "another time",
            4,
            "its target's time scale is 1e+300",
            |plan| {
                plan["target"]["time_scale"] = json!(1e300);
            },
        ),
        lie("half of it", 4, "missing field `writes`", |plan| {
            plan.as_object_mut().map(|plan| plan.remove("writes"));
        }),
        lie("a plugin's version", 4, "is not in the plan", |plan| {
            plan["plugins"][0]["version"] = "9.9.9".into();
        }),
        lie("a plugin's build", 4, "is another build", |plan| {
            let mut other = plan["plugins"][0].clone();
            other["steps"] = json!([]);
            plan["plugins"][0]["digest"] = digest("x").into();
            if let Some(all) = plan["plugins"].as_array_mut() {
                all.push(other);
            }
        }),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_plan_says_that_is_not_so_is_found() -> Result<()> {
    let world = World::start(fleet(12, 7), 60.0).await?;
    let path = world.project().join("a.plan");
    let shown = path.display().to_string();
    let arguments = ["restart-by-group", "-i", "app=web", "-i", "group=web"];
    let made = world
        .run(&[&["plan"], &arguments[..], &["-o", &shown]].concat())
        .await?;
    ensure!(made.code == 0, "{made:?}");
    let (plan, author) = (std::fs::read_to_string(&path)?, author(&world)?);
    let observed: Value = serde_json::from_str(&plan)?;
    let observed = observed["plan"]["observed"].as_array().context("none")?;
    ensure!(!observed.is_empty());
    for (name, code, says, change) in lies() {
        let text = forged(&plan, &author, &*change)?;
        ensure!(text != forged(&plan, &author, &|_| {})?, "{name}: no lie");
        std::fs::write(&path, text)?;
        let said = world.run(&["apply", &shown]).await?;
        ensure!(
            said.code == code && said.err.contains(says),
            "{name}: not {code} with `{says}`: {said:?}"
        );
        ensure!(world.writes() == 0, "{name}: something was written");
    }
    // Signed again as it was it is applied.
    std::fs::write(&path, forged(&plan, &author, &|_| {})?)?;
    let said = world.run(&["apply", &shown]).await?;
    ensure!(said.code == 0, "{said:?}");
    world.verify()
}
