//! What comes from outside, one target for each kind. One program, because each would link all of the
//! engine; which target it is says `GROUNDCREW_FUZZ`.

#![no_main]

mod answers;
mod journal;
mod plans;
mod plugins;
mod runbooks;

// As the command shows a plan.
#[path = "../../runner/cli/src/plan_text.rs"]
mod plan_text;
#[expect(
    dead_code,
    reason = "the command's; a plan's text needs one function of it"
)]
#[path = "../../runner/cli/src/render.rs"]
mod render;
#[expect(dead_code, reason = "the command's; a plan's text needs part of it")]
#[path = "../../runner/cli/src/shown.rs"]
mod shown;

/// In the command's place: nothing is printed here.
mod terminal {
    macro_rules! say {
        ($($what:tt)*) => { drop($crate::shown::shown!($($what)*)) };
    }

    macro_rules! data {
        ($($what:tt)*) => { drop($crate::shown::shown!($($what)*)) };
    }

    pub(crate) use {data, say};
}

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<fn(&str)> = LazyLock::new(|| {
    match std::env::var("GROUNDCREW_FUZZ")
        .unwrap_or_default()
        .as_str()
    {
        "journal" => journal::run,
        "plans" => plans::run,
        "runbooks" => runbooks::run,
        "answers" => answers::run,
        "plugins" => plugins::run,
        other => panic!("there is no target `{other}`"),
    }
});

fuzz_target!(|text: &str| TARGET(text));
