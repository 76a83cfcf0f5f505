//! Asks a PromQL query until its answer is within bounds, and has been for as long as it has to: a
//! gate between two steps of a pipeline, such as a deploy to a few and a deploy to all.
//!
//! This file is the whole procedure: look, decide, wait, look again. `input.rs` has what an operator
//! can say, `look.rs` what one answer means, `report.rs` what comes out of it.
//!
//! An answer without samples is no data and never zero. A query that fails ends the gate: the host
//! has tried again already, and a wrong query does not get better.

mod input;
mod look;
mod report;

use std::time::Duration;

use groundcrew_plugin::{Host, Kind, Result, plugin};

pub use input::{Bounds, Input, NoData, Reduce};
use look::{Look, Verdict};
pub use report::{Report, Series};

/// What the one item is called whose progress is reported.
const GATE: &str = "gate";

/// Ask a PromQL query until its answer is within bounds, and fail if it is not in time.
#[plugin(metrics(query, reason = "asks the query until its answer is within the bounds"))]
pub async fn metrics_gate(input: Input, host: Host) -> Result<Report> {
    input.check()?;
    host.expect(1, "gates");
    let result = watch(&input, &host).await;
    match &result {
        Ok(_) => host.item(GATE).succeeded("passed"),
        Err(error) => host.item(GATE).failed(error.message()),
    }
    result
}

async fn watch(input: &Input, host: &Host) -> Result<Report> {
    let deadline = host.now() + input.timeout.duration();
    let mut report = Report::default();
    let mut within_since = None;
    loop {
        let samples = match host.query(&input.query).await {
            Ok(samples) => samples,
            Err(error) => return Err(report.fails(error.kind(), error.message())),
        };
        let now = host.now();
        let look = Look::at(samples, input);
        within_since = match look.verdict {
            Verdict::Within => within_since.or(Some(now)),
            Verdict::Outside | Verdict::NoData => None,
        };
        let held = within_since.map(|since| now.saturating_sub(since));
        host.item(GATE).working(&look.words);
        let next = decide(input, &look, held, deadline.saturating_sub(now));
        report.saw(look, held);
        match next {
            Next::Pass => return Ok(report.passes()),
            Next::Fail(why) => return Err(report.fails(Kind::Application, &why)),
            Next::LookAgainAfter(pause) => {
                if let Err(error) = host.sleep(pause).await {
                    return Err(report.fails(error.kind(), error.message()));
                }
            }
        }
    }
}

/// What follows from a look.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Pass,
    Fail(String),
    LookAgainAfter(Duration),
}

/// `held` is for how long every look was within the bounds, if this one was; `left` how much time
/// there is. The last look is at the very end of it.
fn decide(input: &Input, look: &Look, held: Option<Duration>, left: Duration) -> Next {
    let hold = input.hold.duration();
    let missing = held.map_or(hold, |held| hold.saturating_sub(held));
    let at_once = match look.verdict {
        Verdict::Within if missing.is_zero() => return Next::Pass,
        Verdict::Within => false,
        Verdict::Outside => input.fail_fast,
        Verdict::NoData => input.no_data == NoData::Fail,
    };
    if at_once {
        return Next::Fail(look.words.clone());
    }
    if left.is_zero() {
        let words = match held {
            Some(held) => format!("it has held for {} s of {}", held.as_secs(), input.hold),
            None => look.words.clone(),
        };
        return Next::Fail(format!("not passed within {}: {words}", input.timeout));
    }
    let pause = input.every.duration().min(left);
    Next::LookAgainAfter(match held {
        Some(_) => pause.min(missing),
        None => pause,
    })
}

#[cfg(test)]
mod tests;
