//! Files that are read and refused, and what Machines get of them.

use groundcrew_plugin::{HostStatus, Mount, Summary, testing::machine};
use serde_json::json;

use super::*;

/// Everything that is supported.
const FULL: &str = include_str!("full.toml");

fn refusal(text: &str) -> String {
    let refused = Config::parse(text).unwrap_err();
    assert_eq!(refused.kind(), groundcrew_plugin::Kind::Invalid);
    refused.message().to_owned()
}

#[test]
fn a_whole_file_is_read() {
    let config = Config::parse(FULL).unwrap();
    assert_eq!(config.app(), Some("shop"));
    assert_eq!(config.primary_region(), Some("fra"));
    assert_eq!(config.image(), Some("registry.fly.io/shop:1"));
    assert_eq!(config.builds(), Some("dockerfile"));
    let groups: Vec<_> = config.groups().collect();
    assert_eq!(groups, ["db", "web", "worker"]);
    assert!(config.serves("web") && !config.serves("worker"));
    assert!(config.needs_volume("db") && !config.needs_volume("web"));
}

#[test]
fn each_group_gets_its_part() {
    let config = Config::parse(FULL).unwrap();
    for group in ["db", "web", "worker"] {
        let patch = config.patch(group).unwrap();
        let golden = match group {
            "db" => include_str!("full.db.json"),
            "web" => include_str!("full.web.json"),
            _ => include_str!("full.worker.json"),
        };
        let pretty = serde_json::to_string_pretty(&patch).unwrap();
        assert_eq!(pretty.trim(), golden.trim(), "{group}");
    }
    assert!(config.patch("app").is_err());
}

#[test]
fn an_empty_file_is_one_group() {
    let config = Config::parse("").unwrap();
    assert_eq!(config.groups().collect::<Vec<_>>(), ["app"]);
    let patch = config.patch("app").unwrap();
    assert_eq!(patch["services"], json!([]));
    assert!(patch.get("guest").is_none());
    let gone = ["checks", "env", "metrics", "restart", "stop_config"];
    assert_eq!(config.replaced("app"), gone);
}

#[test]
fn unknown_keys_are_named_with_their_line() {
    let nested =
        "app = \"shop\"\n\n[[services]]\ninternal_port = 1\n[[services.ports]]\nprt = 80\n";
    for (text, line, key) in [
        ("app = \"shop\"\nap = 1\n", 2, "`ap`"),
        (
            "[http_service]\ninternal_port = 1\nforce_http = true\n",
            3,
            "`force_http`",
        ),
        (nested, 6, "`prt`"),
        ("[mounts]\ndestination = \"/d\"\nsize = 1\n", 3, "`size`"),
        (
            "[checks.up]\ntype = \"tcp\"\nport = 1\nevery = 2\n",
            4,
            "`every`",
        ),
        ("[experimental]\ncmd = [\"a\"]\n", 1, "`experimental`"),
        ("[[files]]\nguest_path = \"/a\"\n", 1, "`files`"),
    ] {
        let message = refusal(text);
        assert!(message.contains(key), "{message}");
        assert!(
            message.starts_with(&format!("fly.toml: line {line}: ")),
            "{message}"
        );
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    let two = "[processes]\na = \"a\"\nb = \"b\"\n";
    let with = |text: &str| format!("{two}{text}");
    for (text, part) in [
        ("app = ".to_owned(), "line 1"),
        ("kill_timeout = 5".to_owned(), "`5` is not a duration"),
        ("[processes]\na = \"run 'x\"".to_owned(), "open quote"),
        (with("[http_service]\ninternal_port = 1"), "`processes`"),
        (
            with("[[services]]\ninternal_port = 1\nprocesses = [\"c\"]"),
            "names `c`",
        ),
        (
            with("[metrics]\nport = 1\npath = \"/\"\nprocesses = [\"c\"]"),
            "names `c`",
        ),
        (
            "[checks.up]\ntype = \"tcp\"".to_owned(),
            "`up` of the process group `app` needs a `port`",
        ),
        (
            "[checks.up]\ntype = \"script\"\nport = 1".to_owned(),
            "`script`",
        ),
        (
            "[[mounts]]\ndestination = \"/a\"\n[[mounts]]\ndestination = \"/b\"".to_owned(),
            "several mounts",
        ),
        (
            "[[vm]]\nsize = \"huge\"".to_owned(),
            "`huge` is no known size",
        ),
        (
            "[[vm]]\nmemory = \"much\"".to_owned(),
            "`much` is not an amount",
        ),
        (
            "[[restart]]\npolicy = \"sometimes\"".to_owned(),
            "`sometimes`",
        ),
        (
            "[http_service]\nforce_https = true".to_owned(),
            "`internal_port`",
        ),
        (
            "[http_service]\ninternal_port = 1\nauto_stop_machines = \"maybe\"".to_owned(),
            "`maybe`",
        ),
    ] {
        let message = refusal(&text);
        assert!(message.contains(part), "{text}: {message}");
    }
}

#[test]
fn sections_without_processes_are_for_the_default_group() {
    let text = "[processes]\nweb = \"\"\napp = \"\"\n[checks.up]\ntype = \"tcp\"\nport = 1\n[[vm]]\ncpus = 2";
    let config = Config::parse(text).unwrap();
    let (app, web) = (config.patch("app"), config.patch("web"));
    let (app, web) = (app.unwrap(), web.unwrap());
    assert!(app["checks"]["up"].is_object() && web["checks"] == json!({}));
    assert!(app["guest"]["cpus"] == 2 && web["guest"]["cpus"] == 2);
    assert!(config.replaced("web").contains(&"guest".to_owned()));
    assert_eq!(web["init"]["cmd"], json!(null));
    let first = Config::parse("[processes]\nb = \"\"\na = \"\"\n[mounts]\ndestination = \"/d\"");
    assert!(first.unwrap().needs_volume("a"));
}

#[test]
fn volumes_have_to_be_where_the_file_wants_them() {
    let config = |text: &str| Config::parse(text).unwrap();
    let mounted = |path: Option<&str>| Summary {
        mounts: path
            .map(|path| Mount {
                volume: "vol_1".to_owned(),
                path: path.to_owned(),
            })
            .into_iter()
            .collect(),
        ..machine("web", "a")
    };
    let check = |config: &Config, path| config.check_volume(&mounted(path).into());
    let (with, without) = (config("[mounts]\ndestination = \"/d\""), config(""));
    assert!(check(&with, Some("/d")).is_ok() && check(&without, None).is_ok());
    for (config, path) in [(&with, None), (&with, Some("/e")), (&without, Some("/d"))] {
        let refused = check(config, path).unwrap_err();
        assert!(refused.message().contains("`app`"), "{refused}");
    }
    let dead = Summary {
        host_status: HostStatus::Unreachable,
        ..mounted(None)
    };
    assert!(with.check_volume(&dead.into()).is_ok());
}

#[test]
fn patches_go_on_top_of_each_other() {
    let mut below = json!({ "a": { "b": 1, "c": null }, "d": [1], "e": null });
    on_top(
        &mut below,
        &json!({ "a": { "c": 2, "f": null }, "d": [2], "e": { "g": 1 } }),
    );
    assert_eq!(
        below,
        json!({ "a": { "b": 1, "c": 2, "f": null }, "d": [2], "e": { "g": 1 } })
    );
}
