//! Ed25519 keys in the text forms of signed notes (<https://c2sp.org/signed-note>): the audit log's,
//! and those of the people who make and approve plans.

use data_encoding::BASE64;
use signed_note::{
    Note, Signature, Signer, StandardSigner, StandardVerifier, Verifier, VerifierList,
};
use thiserror::Error;

/// Why a key cannot be used, or a signature does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyError {
    /// It is none.
    #[error("this is no {0} key")]
    Malformed(&'static str),
    /// The two halves are not one pair.
    #[error("the private key and the public key do not belong together")]
    Mismatched,
    /// It has no private half.
    #[error("only the public half of the key `{0}` is here")]
    PublicOnly(String),
    /// The signed text is none, or a signature on it is wrong.
    #[error("{0}")]
    Note(String),
}

/// A key pair, or only its public half. Two keys are the same if their public
/// halves are, whatever they are called.
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
    /// Makes a pair of this name: no spaces, no plus. A log's is also its checkpoints' origin. The randomness is the system's.
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
    pub fn public_from(text: &str) -> Result<Self, KeyError> {
        let public = text.trim().to_owned();
        let malformed = || KeyError::Malformed("public");
        let verifier = StandardVerifier::new(&public).map_err(|_| malformed())?;
        // One key has one text: not another spelling of its id or its base64.
        let (name, id) = (verifier.name(), verifier.key_id());
        let material = material(&public).ok_or_else(malformed)?;
        let written = format!("{name}+{id:08x}+{}", BASE64.encode(&material));
        if written != public {
            return Err(malformed());
        }
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
    pub fn from_pair(private: &str, public: &str) -> Result<Self, KeyError> {
        let mut key = Self::public_from(public)?;
        let signer = signer(private)?;
        if signer.name() != key.name || signer.key_id() != key.verifier()?.key_id() {
            return Err(KeyError::Mismatched);
        }
        key.private = Some(private.trim().to_owned());
        Ok(key)
    }

    /// Its name.
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

    fn verifier(&self) -> Result<StandardVerifier, KeyError> {
        StandardVerifier::new(&self.public).map_err(|_| KeyError::Malformed("public"))
    }

    /// Signs a text, which ends with a newline, and gives it with the signature below it. Under a
    /// text that has signatures already, one more.
    ///
    /// # Errors
    /// Without the private half; if the text cannot be signed.
    pub fn sign(&self, text: &str, signatures: &[Signature]) -> Result<String, KeyError> {
        let private = self
            .private
            .as_deref()
            .ok_or_else(|| KeyError::PublicOnly(self.name.clone()))?;
        let wrong = |e: &dyn std::fmt::Display| KeyError::Note(e.to_string());
        let mut note = Note::new(text.as_bytes(), signatures).map_err(|e| wrong(&e))?;
        note.add_sigs(&[&signer(private)?]).map_err(|e| wrong(&e))?;
        String::from_utf8(note.to_bytes()).map_err(|e| wrong(&e))
    }
}

impl PartialEq for Key {
    /// Whatever they are called: the same key under two names is one.
    fn eq(&self, other: &Self) -> bool {
        material(&self.public) == material(&other.public)
    }
}

/// The algorithm and the public key itself, behind name and id.
fn material(public: &str) -> Option<Vec<u8>> {
    let text = public.splitn(3, '+').nth(2)?;
    BASE64.decode(text.as_bytes()).ok()
}

impl Eq for Key {}

fn signer(private: &str) -> Result<StandardSigner, KeyError> {
    StandardSigner::new(private.trim()).map_err(|_| KeyError::Malformed("private"))
}

/// A signed text that has been looked at with some keys.
#[derive(Debug, Clone)]
pub(crate) struct Opened {
    /// The text, with its last newline.
    pub(crate) text: String,
    /// Which of the keys, by their place, have signed it.
    pub(crate) by: Vec<usize>,
    /// All signatures, also of other keys.
    pub(crate) signatures: Vec<Signature>,
}

/// Reads a signed text and checks the signatures of the keys that are known.
///
/// # Errors
/// If it is not in its canonical form, in which nothing can hide, or a known key's signature is
/// wrong.
pub(crate) fn open(note: &str, keys: &[Key]) -> Result<Opened, KeyError> {
    let wrong = |e: &dyn std::fmt::Display| KeyError::Note(e.to_string());
    let parsed = Note::from_bytes(note.as_bytes()).map_err(|e| wrong(&e))?;
    if parsed.to_bytes() != note.as_bytes() {
        return Err(KeyError::Note("it is not in its canonical form".to_owned()));
    }
    let verifiers: Result<Vec<StandardVerifier>, KeyError> =
        keys.iter().map(Key::verifier).collect();
    let verifiers = verifiers?;
    // A key that is named twice would be ambiguous.
    let mut distinct: Vec<&StandardVerifier> = Vec::new();
    for verifier in &verifiers {
        let same =
            |v: &&StandardVerifier| (v.name(), v.key_id()) == (verifier.name(), verifier.key_id());
        if !distinct.iter().any(same) {
            distinct.push(verifier);
        }
    }
    let list = distinct
        .into_iter()
        .map(|v| Box::new(v.clone()) as Box<dyn Verifier>)
        .collect();
    let (known, unknown) = match parsed.verify(&VerifierList::new(list)) {
        Ok(signatures) => signatures,
        Err(signed_note::NoteError::UnverifiedNote) => (Vec::new(), Vec::new()),
        Err(e) => return Err(wrong(&e)),
    };
    let by = (0..verifiers.len())
        .filter(|at| {
            let (name, id) = (verifiers[*at].name(), verifiers[*at].key_id());
            known.iter().any(|s| s.name() == name && s.id() == id)
        })
        .collect();
    let text = String::from_utf8(parsed.text().to_vec()).map_err(|e| wrong(&e))?;
    Ok(Opened {
        text,
        by,
        signatures: known.into_iter().chain(unknown).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_signed_by_several_and_each_is_known() {
        let (alice, bob, eve) = (
            Key::generate("alice"),
            Key::generate("bob"),
            Key::generate("eve"),
        );
        let note = alice.sign("a plan\n", &[]).unwrap();
        let first = open(&note, &[alice.clone(), bob.clone()]).unwrap();
        assert_eq!((first.text.as_str(), first.by), ("a plan\n", vec![0]));
        let note = bob.sign(&first.text, &first.signatures).unwrap();
        let both = open(&note, &[eve.clone(), bob.clone(), alice.clone()]).unwrap();
        assert_eq!(both.by, [1, 2]);
        // Keys that nobody here knows count for nothing; the same key twice is one.
        assert!(open(&note, &[eve]).unwrap().by.is_empty());
        assert_eq!(open(&note, &[bob.clone(), bob.clone()]).unwrap().by, [0, 1]);
        // Signing twice is signing once, and a changed text has no signature that holds.
        let again = bob.sign(&both.text, &both.signatures).unwrap();
        assert_eq!(open(&again, &[]).unwrap().by.len(), 0);
        assert_eq!(again.matches("— bob ").count(), 1);
        assert!(open(&note.replace("a plan", "a plot"), &[bob]).is_err());
        assert!(open(&note.replace("\n\n", "\n\n\n"), &[alice]).is_err());
    }

    #[test]
    fn half_a_pair_is_no_pair() {
        let (one, other) = (Key::generate("one"), Key::generate("one"));
        let public = Key::public_from(one.public()).unwrap();
        assert_eq!(
            public.sign("text\n", &[]),
            Err(KeyError::PublicOnly("one".to_owned()))
        );
        let private = one.private().unwrap();
        assert_eq!(Key::from_pair(private, one.public()), Ok(one.clone()));
        assert_eq!(
            Key::from_pair(private, other.public()),
            Err(KeyError::Mismatched)
        );
        assert_eq!(Key::public_from("x"), Err(KeyError::Malformed("public")));
        // One key has one spelling, and is one under whatever name.
        let (name, rest) = one.public().split_once('+').unwrap();
        let (id, material) = rest.split_once('+').unwrap();
        let shouted = format!("{name}+{}+{material}", id.to_uppercase());
        assert!(id == id.to_uppercase() || Key::public_from(&shouted).is_err());
        let bytes = BASE64.decode(material.as_bytes()).unwrap();
        let alias_id = signed_note::key_id("alias", &bytes);
        let alias = Key::public_from(&format!("alias+{alias_id:08x}+{material}")).unwrap();
        assert_eq!(alias, one);
    }
}
