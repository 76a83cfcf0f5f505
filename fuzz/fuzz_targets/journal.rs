//! Journals from elsewhere: whatever the bytes of a bundle are, it is refused or taken in, and what
//! is taken in is the same again when it is handed on.

use std::sync::LazyLock;

use groundcrew::Key;
use groundcrew::journal::RunState;
use groundcrew::store::{MemoryStore, Store, bundle};
use jiff::Timestamp;

/// Who hands it on.
static COURIER: LazyLock<Key> = LazyLock::new(|| Key::generate("courier"));

/// What the journal folds to, and the bundle that it makes.
fn taken(text: &str) -> Option<(String, String)> {
    let store = MemoryStore::default();
    let bundle = bundle::read(text).ok()?;
    // Whoever has signed it, or says so: that does not panic either.
    let _ = bundle.signer();
    store
        .take_in(&bundle.arrival(), Timestamp::UNIX_EPOCH)
        .ok()?;
    let run = bundle.run().to_owned();
    let records = store.read(&run, 0, usize::MAX).expect("it was taken in");
    let state = RunState::fold(&records).expect("it folded when it was taken in");
    let again = bundle::export(&store, &run, &COURIER).expect("it was taken in");
    Some((format!("{state:?}"), again))
}

pub(crate) fn run(text: &str) {
    let Some((state, handed_on)) = taken(text) else {
        return;
    };
    let (same, once_more) = taken(&handed_on).expect("what we write ourselves is taken in");
    assert_eq!(state, same);
    assert_eq!(handed_on, once_more);
}
