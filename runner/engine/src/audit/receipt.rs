//! Receipts: what happened in one run, with the proof that it is in the log. Checked by anybody who
//! has the log's public key, without the store and without a network.

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use tlog_tiles::{Hash, TileHashReader};

use super::{AuditError, AuditLog, Key, signed};
use crate::digest::digest;
use crate::journal::leaf::{Leaf, NOTHING, link};
use crate::store::Store;

/// The version of the format.
const RECEIPT: u32 = 1;

/// The first line of a proof. (<https://c2sp.org/tlog-proof>)
const PROOF: &str = "c2sp.org/tlog-proof@v1";

/// A run's leaves, and the proof that the last of them is in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The version of the format.
    pub receipt: u32,
    /// The run.
    pub run: String,
    /// Its leaves in order, each as it is in the log.
    pub leaves: Vec<String>,
    /// The payloads of its entries, if they are to be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payloads: Option<Vec<String>>,
    /// A tlog-proof of the last leaf.
    pub proof: String,
}

/// What a receipt proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The run.
    pub run: String,
    /// How many entries it has up to here.
    pub entries: u64,
    /// The last one's kind, such as `run-closed`.
    pub last: String,
    /// The number of the last one's leaf.
    pub index: u64,
    /// How many entries the log had when that was signed.
    pub size: u64,
    /// Whether the payloads are there and fit.
    pub payloads: bool,
}

/// Makes the receipt of a run. The log is advanced first.
///
/// # Errors
/// If there is no such run, or the log fails.
pub fn prove(
    store: &dyn Store,
    log: &AuditLog,
    run: &str,
    payloads: bool,
) -> Result<Receipt, AuditError> {
    let signed = log.advance(store)?;
    let leaves = store.leaves_of(run)?;
    let Some((index, _)) = leaves.last() else {
        return Err(AuditError::Malformed(format!("run `{run}` has no entries")));
    };
    let reader = TileHashReader::new(signed.size, Hash(signed.root), &log.files);
    let path = tlog_tiles::prove_record(signed.size, *index, &reader).map_err(super::tree_error)?;
    let mut proof = format!("{PROOF}\nindex {index}\n");
    for hash in &path {
        proof.push_str(&BASE64.encode(&hash.0));
        proof.push('\n');
    }
    proof.push('\n');
    proof.push_str(&signed.note);
    let payloads = match payloads {
        true => {
            let records = store.read(run, 0, usize::MAX)?;
            Some(records.iter().map(|r| r.payload.to_string()).collect())
        }
        false => None,
    };
    Ok(Receipt {
        receipt: RECEIPT,
        run: run.to_owned(),
        leaves: leaves.into_iter().map(|(_, leaf)| leaf).collect(),
        payloads,
        proof,
    })
}

/// Checks a receipt against the log's public key.
///
/// # Errors
/// What does not fit.
pub fn check(receipt: &Receipt, key: &Key) -> Result<Checked, AuditError> {
    let wrong = |why: String| AuditError::Malformed(why);
    if receipt.receipt != RECEIPT {
        return Err(wrong(format!(
            "a receipt of format {}; this program knows {RECEIPT}",
            receipt.receipt
        )));
    }
    let mut previous = NOTHING.to_owned();
    let mut last = None;
    for (sequence, text) in receipt.leaves.iter().enumerate() {
        let broken = |why: &str| wrong(format!("entry {sequence} of the receipt: {why}"));
        let leaf: Leaf = serde_json::from_str(text).map_err(|e| broken(&e.to_string()))?;
        if leaf.text() != *text {
            return Err(broken("it is not in its canonical form"));
        }
        if leaf.run != receipt.run || leaf.sequence != sequence as u64 {
            return Err(broken("it is another entry"));
        }
        if leaf.previous != previous {
            return Err(broken("it does not follow what is before it"));
        }
        if let Some(payloads) = &receipt.payloads {
            let payload = payloads.get(sequence).map(String::as_bytes);
            let digest = payload.map(digest);
            if digest.as_ref() != Some(&leaf.payload) {
                return Err(broken("its payload is not what was logged"));
            }
        }
        previous = link(text);
        last = Some((leaf, text));
    }
    let Some((leaf, text)) = last else {
        return Err(wrong("the receipt has no entries".to_owned()));
    };
    if receipt
        .payloads
        .as_ref()
        .is_some_and(|payloads| payloads.len() != receipt.leaves.len())
    {
        return Err(wrong(
            "the receipt has more payloads than entries".to_owned(),
        ));
    }
    let (index, path, note) = parse(&receipt.proof)?;
    let signed = signed(&note, key, "the receipt's checkpoint")?;
    let hash = tlog_tiles::record_hash(text.as_bytes());
    tlog_tiles::check_record(&path, signed.size, Hash(signed.root), index, hash).map_err(|_| {
        wrong("the proof does not lead from the last entry to the signed tree".to_owned())
    })?;
    Ok(Checked {
        run: receipt.run.clone(),
        entries: receipt.leaves.len() as u64,
        last: leaf.kind.word().to_owned(),
        index,
        size: signed.size,
        payloads: receipt.payloads.is_some(),
    })
}

/// Index, path and checkpoint of a tlog-proof.
fn parse(proof: &str) -> Result<(u64, Vec<Hash>, String), AuditError> {
    let wrong = |why: &str| AuditError::Malformed(format!("the receipt's proof {why}"));
    let (head, note) = proof
        .split_once("\n\n")
        .ok_or_else(|| wrong("has no checkpoint"))?;
    let mut lines = head.lines();
    if lines.next() != Some(PROOF) {
        return Err(wrong("is not a tlog-proof of version 1"));
    }
    let mut line = lines.next();
    if line.is_some_and(|line| line.starts_with("extra ")) {
        line = lines.next();
    }
    let index = line
        .and_then(|line| line.strip_prefix("index "))
        .filter(|number| *number == "0" || !number.starts_with('0'))
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| wrong("has no index"))?;
    let hash = |line: &str| {
        let bytes = BASE64.decode(line.as_bytes()).ok()?;
        Some(Hash(bytes.try_into().ok()?))
    };
    let path: Option<Vec<Hash>> = lines.map(hash).collect();
    let path = path.ok_or_else(|| wrong("has a line that is no hash"))?;
    Ok((index, path, note.to_owned()))
}
