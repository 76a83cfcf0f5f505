//! Looks at URLs from outside until each of them answers as expected.
//!
//! This file is the whole procedure: look at all of them at the same time, at each again and again,
//! report. `input.rs` has what an operator can say, `status.rs` how statuses are written, `report.rs`
//! what comes out of it and when the step counts as failed.
//!
//! A look that fails is no reason to give up: that is what is being waited for. Only what is denied
//! or makes no sense stays as it is.

mod input;
mod report;
mod status;

use groundcrew_plugin::{Checked, Error, Host, Kind, Result, plugin};

pub use input::{Input, Method};
pub use report::{Report, UrlReport};
pub use status::Statuses;

/// Look at URLs until each answers as expected, and fail if one does not in time.
#[plugin(http(
    check,
    check_private,
    reason = "looks at the given URLs, in private networks only if it is told to"
))]
pub async fn check_url(input: Input, host: Host) -> Result<Report> {
    input.check()?;
    host.expect(input.urls.len(), "URLs");
    let work = async |url: &String| watch(&host, &input, url).await;
    let watched = host.for_each(&input.urls, input.urls.len(), work).await;
    report::conclude(watched)
}

/// What became of one URL.
struct Watched {
    report: UrlReport,
    /// Which kind of failure was the last, unless it passed.
    failed: Option<Kind>,
}

/// Looks at one URL until it has passed, cannot pass or the time is up. The last look is at the very
/// end of that.
async fn watch(host: &Host, input: &Input, url: &str) -> Watched {
    let deadline = host.now() + input.within.duration();
    let mut report = UrlReport::of(url);
    let mut in_a_row = 0;
    loop {
        let error = match look(host, input, url, &mut report).await {
            Ok(()) => {
                in_a_row += 1;
                if in_a_row >= input.successes {
                    host.item(url).succeeded("answers as expected");
                    return report.ends(None);
                }
                Error::application(format!(
                    "it has answered as expected {in_a_row} of {} times in a row",
                    input.successes
                ))
            }
            Err(error) => {
                in_a_row = 0;
                error
            }
        };
        let left = deadline.saturating_sub(host.now());
        if left.is_zero() || stays(error.kind()) {
            host.item(url).failed(error.message());
            return report.ends(Some(error));
        }
        host.item(url).working(error.message());
        if let Err(error) = host.sleep(input.every.duration().min(left)).await {
            host.item(url).failed(error.message());
            return report.ends(Some(error));
        }
    }
}

/// Whether another look would see the same.
fn stays(kind: Kind) -> bool {
    match kind {
        Kind::Denied | Kind::Invalid | Kind::Cancelled => true,
        Kind::NotFound
        | Kind::Conflict
        | Kind::RateLimited
        | Kind::Capacity
        | Kind::Timeout
        | Kind::Unavailable
        | Kind::Application
        | Kind::Other => false,
    }
}

/// One look.
async fn look(host: &Host, input: &Input, url: &str, report: &mut UrlReport) -> Result<()> {
    let look = host
        .check(url)
        .method(input.method.into())
        .within(input.timeout.duration())
        .keep(input.kept());
    let looked = match input.private {
        true => look.private().await,
        false => look.await,
    };
    report.saw(&looked);
    expected(input, &looked?)
}

/// Whether an answer is the one that is wanted.
fn expected(input: &Input, answer: &Checked) -> Result<()> {
    if !input.status.have(answer.status) {
        return Err(Error::application(format!(
            "it answers {}, not {}",
            answer.status, input.status
        )));
    }
    match &input.contains {
        Some(text) if !answer.body.contains(text) => {
            let what = match answer.truncated {
                true => "the beginning of its body",
                false => "its body",
            };
            Err(Error::application(format!(
                "{what} does not contain `{text}`"
            )))
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
