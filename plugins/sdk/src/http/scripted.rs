//! Web services in a scripted run.

use std::collections::HashMap;

use crate::bindings::groundcrew::host::http::{CheckRequest, Checked};
use crate::bindings::groundcrew::host::operations::Failure;
use crate::testing::TestHost;
use crate::testing::script::{Call, in_turn, submit, with};

/// Answers of a URL, one after the other; the last stays.
#[derive(Debug, Default)]
struct Answers(HashMap<String, Vec<Checked>>);

impl TestHost {
    /// Answers a URL, after those answers that were given before; the last stays. A URL that nobody
    /// speaks of is unavailable.
    #[must_use]
    pub fn checked(mut self, url: &str, checked: Checked) -> Self {
        let answers = self.own::<Answers>().0.entry(url.to_owned());
        answers.or_default().push(checked);
        self
    }
}

pub(crate) fn check(request: &CheckRequest) -> u64 {
    submit(Call::new("http.check", &request.url).options(request))
}

pub(crate) fn take_check(op: u64) -> Result<Checked, Failure> {
    with(|script| {
        let url = script.subject(op);
        script.take(op)?;
        let missing = || Failure::Unavailable(format!("nobody answers at {url}"));
        in_turn(&mut script.own::<Answers>().0, &url).ok_or_else(missing)
    })
}

pub(crate) fn check_private(request: &CheckRequest) -> u64 {
    submit(Call::new("http.check-private", &request.url).options(request))
}

pub(crate) fn take_check_private(op: u64) -> Result<Checked, Failure> {
    take_check(op)
}
