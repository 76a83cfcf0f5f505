//! Digests: of plugins, runbooks, policies, plans and what was logged.

use sha2::{Digest, Sha256};

/// SHA-256, in lower-case hexadecimal.
pub fn digest(bytes: impl AsRef<[u8]>) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}
