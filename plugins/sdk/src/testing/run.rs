//! What every plugin may call, whatever its capabilities are: the queue and the time, the journal's
//! notes, and which run it is.

pub(crate) mod operations {
    use std::time::Duration;

    use crate::bindings::groundcrew::host::operations::Failure;
    use crate::testing::script::{Call, submit, take, try_with, with};
    use crate::timespan::milliseconds;

    pub(crate) fn next(max: u32) -> Vec<u64> {
        with(|script| script.next(max))
    }

    pub(crate) fn forget(op: u64) {
        try_with(|script| script.forget(op));
    }

    pub(crate) fn sleep(milliseconds: u64) -> u64 {
        let takes = Duration::from_millis(milliseconds);
        submit(Call {
            takes,
            waits: true,
            ..Call::new("operations.sleep", "").options(takes)
        })
    }

    pub(crate) fn take_sleep(op: u64) -> Result<(), Failure> {
        take(op)
    }

    pub(crate) fn now() -> u64 {
        with(|script| milliseconds(script.now()))
    }

    pub(crate) fn random() -> u64 {
        4 // Chosen by a fair roll of dice.
    }
}

pub(crate) mod log {
    use crate::bindings::groundcrew::host::log::{ItemState, Level};
    use crate::testing::script::try_with;

    pub(crate) fn note(_level: Level, message: &str) {
        try_with(|script| script.notes.push(message.to_owned()));
    }

    pub(crate) fn expect(_total: u32, _unit: &str) {}

    pub(crate) fn item(_name: &str, _state: &ItemState) {}
}

pub(crate) mod run_info {
    use crate::bindings::groundcrew::host::run_info::Run;

    pub(crate) fn current() -> Run {
        Run {
            id: "run".to_owned(),
            runbook: "test".to_owned(),
            step: "test".to_owned(),
            attempt: 1,
            target: "test".to_owned(),
        }
    }
}
