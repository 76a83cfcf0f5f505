//! The interfaces that every plugin may import without a grant: `operations` (the queue, sleeping,
//! time and randomness), `log` and `run-info`.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use wasmtime::component::Linker;

use crate::capability::guest::Guest;
use crate::capability::{Capability, Linking};
use crate::clock::{BoxFuture, Clock};
use crate::contract::{Failure, ItemState, Level};
use crate::effect::{Effect, Executor, Kind, Outcome, Request, Row, Setting};
use crate::journal::NoteBody;

pub(crate) const OPERATIONS: &str = "groundcrew:host/operations@0.1.0";
const LOG: &str = "groundcrew:host/log@0.1.0";
/// Types only: components import it without a function.
const TYPES: &str = "groundcrew:host/types@0.1.0";
const RUN_INFO: &str = "groundcrew:host/run-info@0.1.0";

static SLEEP: Row = Row {
    sound: |_| Ok(()),
    name: "operations.sleep",
    kind: Kind::Read,
    verb: "",
    idempotent: true,
    housekeeping: false,
    waits: true,
    in_doubt: "slept again",
    undo: None,
    creates: None,
    announces: None,
    fork: "virtual time passes",
    assumes: "",
    projection: &[],
};

static ROWS: LazyLock<[Row; 1]> = LazyLock::new(|| [SLEEP]);

/// The capability `operations`: the queue itself, and `sleep`.
pub(crate) struct Operations;

impl Capability for Operations {
    fn name(&self) -> &'static str {
        "operations"
    }

    fn interface(&self) -> &'static str {
        OPERATIONS
    }

    fn operations(&self) -> &'static [Row] {
        &*ROWS
    }

    fn link(&self, linking: &mut Linking<'_>) -> wasmtime::Result<()> {
        linking.operation::<(u64,), ()>("sleep", |(milliseconds,)| {
            Request::new(&SLEEP).with(milliseconds.into())
        })?;
        linking.function("forget", |guest, (number,): (u64,)| {
            guest.forget(number);
            Ok(())
        })?;
        linking.function("cancel", |guest, (number,): (u64,)| {
            guest.cancel(number);
            Ok(())
        })?;
        linking.function("now", |guest, ()| Ok((guest.now(),)))?;
        linking.function("random", |guest, ()| Ok((guest.random(),)))?;
        linking
            .instance()
            .func_wrap_async("next", |mut store, (max,): (u32,)| {
                Box::new(async move {
                    let numbers = store
                        .data_mut()
                        .next(if max == 0 { u32::MAX } else { max })
                        .await?;
                    Ok((numbers,))
                })
            })
    }

    fn executor(&self, setting: &Setting) -> Result<Arc<dyn Executor>, String> {
        Ok(Arc::new(Sleeper {
            clock: setting.clock.clone(),
        }))
    }
}

struct Sleeper {
    clock: Arc<dyn Clock>,
}

impl Executor for Sleeper {
    fn perform(&self, effect: Effect) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            let milliseconds: u64 = match effect.request.arguments() {
                Ok(milliseconds) => milliseconds,
                Err(failure) => return failure.into(),
            };
            tokio::select! {
                biased;
                () = effect.cancel.cancelled() => Failure::Cancelled("the sleep was ended early".to_owned()).into(),
                () = self.clock.sleep(Duration::from_millis(milliseconds)) => Outcome::ok(&()),
            }
        })
    }
}

/// What [`link`] links.
pub(crate) fn interfaces() -> Vec<String> {
    vec![LOG.to_owned(), RUN_INFO.to_owned(), TYPES.to_owned()]
}

/// Links `log` and `run-info`.
pub(crate) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.instance(TYPES)?;
    let mut log = Linking::new(linker, LOG)?;
    log.function("note", |guest, (level, message): (Level, String)| {
        let message = guest.cut(message);
        guest.note(NoteBody::Text { level, message });
        Ok(())
    })?;
    log.function("expect", |guest, (total, unit): (u32, String)| {
        let unit = guest.cut(unit);
        guest.note(NoteBody::Expect { total, unit });
        Ok(())
    })?;
    log.function("item", |guest, (name, at): (String, ItemState)| {
        let name = guest.cut(name);
        let at = match at {
            ItemState::Working(text) => ItemState::Working(guest.cut(text)),
            ItemState::Succeeded(text) => ItemState::Succeeded(guest.cut(text)),
            ItemState::Failed(text) => ItemState::Failed(guest.cut(text)),
            ItemState::Skipped(text) => ItemState::Skipped(guest.cut(text)),
        };
        guest.note(NoteBody::Item { name, at });
        Ok(())
    })?;
    let mut run_info = Linking::new(linker, RUN_INFO)?;
    run_info.function("current", |guest, ()| Ok((guest.info.clone(),)))
}
