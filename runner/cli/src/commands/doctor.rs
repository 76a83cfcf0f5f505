//! `groundcrew doctor`.

use clap::Args as Arguments;
use serde_json::json;

use crate::config::{POLICY_FILE, PROJECT_FILE, USER_FILE};
use crate::context::Shared;
use crate::exit::Exit;
use crate::shown::{Shown, as_json, shown};
use crate::terminal::data;

/// Check that everything that a run needs is in place
#[derive(Debug, Arguments)]
pub(crate) struct Args {
    /// The target to look at
    #[arg(short, long, value_name = "NAME")]
    target: Option<String>,
}

struct Findings {
    json: bool,
    wrong: usize,
}

impl Findings {
    fn say(&mut self, what: &str, result: Result<String, Shown>) {
        self.wrong += usize::from(result.is_err());
        let (ok, text) = match &result {
            Ok(text) => (true, shown!("{}", text)),
            Err(text) => (false, text.clone()),
        };
        if self.json {
            data!(
                "{}",
                as_json(&json!({ "check": what, "ok": ok, "detail": text.finished() }))
            );
        } else {
            data!(
                "{} {}: {}",
                if ok { "ok     " } else { "WRONG  " },
                what,
                text
            );
        }
    }
}

pub(crate) async fn run(shared: &Shared, args: &Args) -> Result<(), Exit> {
    let mut findings = Findings {
        json: shared.json,
        wrong: 0,
    };
    let text = |exit: Exit| exit.message();
    findings.say(
        "state directory",
        shared
            .state_dir()
            .and_then(|dir| shared.store().map(|_| dir.display().to_string()))
            .map_err(text),
    );
    findings.say(
        "compiled plugins",
        Shared::cache_dir()
            .map(|d| d.display().to_string())
            .ok_or_else(|| shown!("there is no home directory; plugins are compiled each time")),
    );
    let user = Shared::user_dir().map_or_else(|| "nowhere".to_owned(), |d| d.display().to_string());
    let config = match shared.config() {
        Ok(config) => {
            findings.say("configuration", Ok(format!("{}/{PROJECT_FILE}, {user}/{USER_FILE}, policy {user}/{POLICY_FILE}; targets {}", shared.project.display(), config.target_names().join(", "))));
            config
        }
        Err(e) => {
            findings.say("configuration", Err(text(e)));
            return Err(Exit::silent(1));
        }
    };
    match shared.engine_on(
        &config,
        std::sync::Arc::new(groundcrew::store::MemoryStore::default()),
        groundcrew::Limits::default(),
    ) {
        Err(e) => findings.say("engine", Err(text(e))),
        Ok(engine) => {
            let names = engine.plugin_names();
            if names.is_empty() {
                findings.say(
                    "plugins",
                    Err(shown!(
                        "there are none; `cargo xtask plugins` builds the bundled ones"
                    )),
                );
            }
            for name in names {
                let result = engine.plugin(&name).await;
                findings.say(
                    "plugin",
                    result
                        .map(|p| format!("{name} {}", p.info.version))
                        .map_err(|e| shown!("{}", e)),
                );
            }
        }
    }
    match shared.target(&config, args.target.as_deref()) {
        Err(e) => findings.say("target", Err(text(e))),
        Ok(target) => {
            for (name, place) in target.places() {
                let at = format!("{} has {name} at {}", target.name, place.url());
                findings.say("target", Ok(at));
            }
            match groundcrew_capabilities::fly::reachable(&target).await {
                Ok(Some(number)) => findings.say(
                    "Machines API",
                    Ok(format!("answers; the organisation has {number} Machines")),
                ),
                Ok(None) => findings.say(
                    "Machines API",
                    Ok("not asked: the target names no organisation".to_owned()),
                ),
                Err(e) => findings.say("Machines API", Err(shown!("{}", e))),
            }
        }
    }
    if findings.wrong == 0 {
        Ok(())
    } else {
        Err(Exit::silent(1))
    }
}
