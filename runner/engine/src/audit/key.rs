//! The log's Ed25519 key, in the text forms of signed notes (<https://c2sp.org/signed-note>).

use signed_note::{Note, Signer, StandardSigner, StandardVerifier, Verifier, VerifierList};
use tlog_tiles::{Checkpoint, Hash};

use super::AuditError;

/// A key pair, or only its public half.
#[derive(Clone)]
pub struct Key {
    name: String,
    public: String,
    private: Option<String>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("public", &self.public).finish()
    }
}

impl Key {
    /// Makes a pair for a log of this name, which is also its checkpoints' origin: no spaces, no
    /// plus. The randomness is the system's.
    pub fn generate(name: &str) -> Self {
        let (private, public) = signed_note::generate_key(&mut rand_core::OsRng, name);
        Self {
            name: name.to_owned(),
            public,
            private: Some(private),
        }
    }

    /// The public half, from its text.
    ///
    /// # Errors
    /// If it is none.
    pub fn public_from(text: &str) -> Result<Self, AuditError> {
        let public = text.trim().to_owned();
        let verifier = StandardVerifier::new(&public)
            .map_err(|e| AuditError::Malformed(format!("this is no public key: {e}")))?;
        Ok(Self {
            name: verifier.name().to_owned(),
            public,
            private: None,
        })
    }

    /// Both halves, from their texts.
    ///
    /// # Errors
    /// If one is none, or they do not belong together.
    pub fn from_pair(private: &str, public: &str) -> Result<Self, AuditError> {
        let mut key = Self::public_from(public)?;
        let signer = StandardSigner::new(private.trim())
            .map_err(|_| AuditError::Malformed("this is no private key".to_owned()))?;
        let verifier =
            StandardVerifier::new(&key.public).map_err(|e| AuditError::Malformed(e.to_string()))?;
        if signer.name() != verifier.name() || signer.key_id() != verifier.key_id() {
            return Err(AuditError::Malformed(
                "the private key and the public key do not belong together".to_owned(),
            ));
        }
        key.private = Some(private.trim().to_owned());
        Ok(key)
    }

    /// The log's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public half, to hand out.
    pub fn public(&self) -> &str {
        &self.public
    }

    /// The private half, to be kept. Not to be printed.
    pub fn private(&self) -> Option<&str> {
        self.private.as_deref()
    }

    pub(super) fn verifiers(&self) -> Result<VerifierList, AuditError> {
        let verifier = StandardVerifier::new(&self.public)
            .map_err(|e| AuditError::Malformed(e.to_string()))?;
        Ok(VerifierList::new(vec![Box::new(verifier)]))
    }

    /// A signed checkpoint of a tree.
    pub(super) fn sign(&self, size: u64, root: Hash) -> Result<String, AuditError> {
        let fail = |why: String| AuditError::Signature {
            what: "the checkpoint".to_owned(),
            key: self.name.clone(),
            why,
        };
        let private = self
            .private
            .as_deref()
            .ok_or_else(|| fail("only its public half is here".to_owned()))?;
        let signer =
            StandardSigner::new(private).map_err(|_| fail("it is not valid".to_owned()))?;
        let text = Checkpoint::new(&self.name, size, root, "").map_err(|e| fail(e.to_string()))?;
        let mut note = Note::new(&text.to_bytes(), &[]).map_err(|e| fail(e.to_string()))?;
        note.add_sigs(&[&signer]).map_err(|e| fail(e.to_string()))?;
        String::from_utf8(note.to_bytes()).map_err(|e| fail(e.to_string()))
    }
}
