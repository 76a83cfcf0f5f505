//! Plan files: any text is refused or opened; and whatever an author signs can be shown.
//!
//! No change of a plan passes its signature, so each is signed once more, by a key of ours.

use std::sync::LazyLock;

use groundcrew::plan::SignedPlan;
use groundcrew::{Key, digest};
use serde_json::Value;

use crate::plan_text;

static AUTHOR: LazyLock<Key> = LazyLock::new(|| Key::generate("fuzz"));

pub(crate) fn run(text: &str) {
    let known = std::slice::from_ref(&*AUTHOR);
    let _ = SignedPlan::open(text, known);
    let Some(signed) = again(text) else { return };
    if let Ok(plan) = SignedPlan::open(&signed, known) {
        let shown = plan_text::of(&plan, &["somebody".to_owned()]).finished();
        assert!(
            shown.len() < 64 * (signed.len() + 1024),
            "{} bytes",
            shown.len()
        );
        let once_more = SignedPlan::open(&plan.text(), known).expect("it is what was opened");
        assert_eq!(once_more.digest(), plan.digest());
    }
}

/// The same plan as one of ours.
fn again(text: &str) -> Option<String> {
    let mut file: Value = serde_json::from_str(text).ok()?;
    let plan = file.get_mut("plan")?.as_object_mut()?;
    plan.insert("author".to_owned(), AUTHOR.public().into());
    let body = serde_json::to_string(plan).ok()?;
    let note = AUTHOR
        .sign(&format!("groundcrew plan v1\n{}\n", digest(&body)), &[])
        .ok()?;
    Some(format!(
        "{{\"plan\":{body},\"note\":{}}}",
        Value::from(note)
    ))
}
