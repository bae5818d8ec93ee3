//! Signed notes (C2SP signed-note): a text, and under it the signatures of keys that have names. Ed25519 alone.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

/// The type byte of Ed25519 keys.
const ED25519: u8 = 1;
/// What begins a line with a signature: a dash as long as an m, and a space.
const DASH: &str = "\u{2014} ";
/// More than that is no note; and more signatures than that have no honest reason.
const NOTE_BYTES: usize = 1 << 20;
const SIGNATURES: usize = 100;

/// Why a key's text is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    #[error("it is not of the form NAME+HASH+KEY")]
    Form,
    #[error("it is not of the form PRIVATE+KEY+NAME+HASH+KEY")]
    PrivateForm,
    #[error("a key's name has no spaces and no plus sign, and is not empty")]
    Name,
    #[error("its hash is not that of the key and its name")]
    Hash,
    #[error("it is no Ed25519 key")]
    Key,
}

/// Whose signatures are believed: a name and a public key.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: u32,
    key: VerifyingKey,
}

/// Who signs. Neither printed nor serialized; [`SignerKey::to_secret`] is the one way out.
pub struct SignerKey {
    key: SigningKey,
    public: VerifierKey,
}

/// The first four bytes of SHA-256 over the name, a line break, the type and the key.
fn key_id(name: &str, key: &[u8; 32]) -> u32 {
    let mut hash = Sha256::new();
    hash.update(name.as_bytes());
    hash.update([b'\n', ED25519]);
    hash.update(key);
    let hash: [u8; 32] = hash.finalize().into();
    let [a, b, c, d, ..] = hash;
    u32::from_be_bytes([a, b, c, d])
}

fn check_name(name: &str) -> Result<(), KeyFault> {
    let is_fine = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '+');
    if is_fine { Ok(()) } else { Err(KeyFault::Name) }
}

/// The 32 bytes behind a type byte, in base64.
fn key_bytes(text: &str) -> Result<Zeroizing<[u8; 32]>, KeyFault> {
    let bytes = Zeroizing::new(STANDARD.decode(text).map_err(|_| KeyFault::Key)?);
    match bytes.split_first() {
        Some((&ED25519, rest)) => Ok(Zeroizing::new(rest.try_into().map_err(|_| KeyFault::Key)?)),
        Some(_) | None => Err(KeyFault::Key),
    }
}

impl VerifierKey {
    fn new(name: &str, key: VerifyingKey) -> Self {
        Self {
            name: name.to_owned(),
            id: key_id(name, key.as_bytes()),
            key,
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for VerifierKey {
    type Err = KeyFault;

    fn from_str(text: &str) -> Result<Self, KeyFault> {
        let (name, rest) = text.split_once('+').ok_or(KeyFault::Form)?;
        // Base64 has plus signs of its own, so the key is all that is left.
        let (hash, key) = rest.split_once('+').ok_or(KeyFault::Form)?;
        check_name(name)?;
        let key = VerifyingKey::from_bytes(&*key_bytes(key)?).map_err(|_| KeyFault::Key)?;
        let key = Self::new(name, key);
        if hash == format!("{:08x}", key.id) {
            Ok(key)
        } else {
            Err(KeyFault::Hash)
        }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![ED25519];
        key.extend_from_slice(self.key.as_bytes());
        write!(f, "{}+{:08x}+{}", self.name, self.id, STANDARD.encode(key))
    }
}
impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{:08x}", self.name, self.id)
    }
}

impl SignerKey {
    /// A key from 32 bytes that nobody can guess.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, KeyFault> {
        check_name(name)?;
        let key = SigningKey::from_bytes(seed);
        let public = VerifierKey::new(name, key.verifying_key());
        Ok(Self { key, public })
    }

    /// Reads `PRIVATE+KEY+NAME+HASH+KEY`.
    pub fn from_secret(text: &SecretString) -> Result<Self, KeyFault> {
        let text = text.expose_secret().trim();
        let rest = text
            .strip_prefix("PRIVATE+KEY+")
            .ok_or(KeyFault::PrivateForm)?;
        let (name, rest) = rest.split_once('+').ok_or(KeyFault::PrivateForm)?;
        let (hash, seed) = rest.split_once('+').ok_or(KeyFault::PrivateForm)?;
        let key = Self::from_seed(name, &*key_bytes(seed)?)?;
        if hash == format!("{:08x}", key.public.id) {
            Ok(key)
        } else {
            Err(KeyFault::Hash)
        }
    }

    /// The form that [`SignerKey::from_secret`] reads: for the file that keeps it.
    pub fn to_secret(&self) -> SecretString {
        let mut seed = Zeroizing::new(vec![ED25519]);
        seed.extend_from_slice(self.key.as_bytes());
        let seed = Zeroizing::new(STANDARD.encode(&*seed));
        let VerifierKey { name, id, .. } = &self.public;
        SecretString::from(format!("PRIVATE+KEY+{name}+{id:08x}+{}", &*seed))
    }

    /// What whoever checks its signatures is given.
    pub fn public(&self) -> &VerifierKey {
        &self.public
    }

    /// A text with this key's signature under it. The text ends with a line break.
    pub fn sign(&self, text: &str) -> String {
        let VerifierKey { name, id, .. } = &self.public;
        let mut signature = id.to_be_bytes().to_vec();
        signature.extend_from_slice(&self.key.sign(text.as_bytes()).to_bytes());
        format!("{text}\n{DASH}{name} {}\n", STANDARD.encode(signature))
    }
}

impl fmt::Debug for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignerKey({:?})", self.public)
    }
}

/// Why a text is no note, or not one to believe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteFault {
    #[error("it is no signed note")]
    Form,
    /// By these keys.
    #[error("no key that is trusted has signed it; it is signed by {}", names.join(", "))]
    Unknown { names: Vec<String> },
    #[error("the signature of {name} is not that of its key over this text")]
    Signature { name: String },
}

/// A note as it lies there; nothing is believed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<(String, u32, Vec<u8>)>,
}

impl FromStr for Note {
    type Err = NoteFault;

    fn from_str(whole: &str) -> Result<Self, NoteFault> {
        let is_control = |c: char| c.is_control() && c != '\n';
        if whole.len() > NOTE_BYTES || whole.contains(is_control) {
            return Err(NoteFault::Form);
        }
        let (text, below) = whole.rsplit_once("\n\n").ok_or(NoteFault::Form)?;
        let below = below.strip_suffix('\n').ok_or(NoteFault::Form)?;
        let signatures: Vec<_> = below
            .split('\n')
            .map(signature)
            .collect::<Option<_>>()
            .ok_or(NoteFault::Form)?;
        if signatures.len() > SIGNATURES {
            return Err(NoteFault::Form);
        }
        Ok(Self {
            text: format!("{text}\n"),
            signatures,
        })
    }
}

/// One line with a signature: the key's name, its id, and the rest.
fn signature(line: &str) -> Option<(String, u32, Vec<u8>)> {
    let (name, text) = line.strip_prefix(DASH)?.split_once(' ')?;
    check_name(name).ok()?;
    let bytes = STANDARD.decode(text).ok()?;
    let (id, rest) = bytes.split_first_chunk::<4>()?;
    (!rest.is_empty()).then(|| (name.to_owned(), u32::from_be_bytes(*id), rest.to_vec()))
}

impl Note {
    /// The text that is signed, with the line break at its end.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Believes it where one of these keys has signed it. Signatures of others say nothing; a wrong one of a known key is a fault.
    pub fn verify<'k>(&self, trusted: &'k [VerifierKey]) -> Result<&'k VerifierKey, NoteFault> {
        let mut found = None;
        for (name, id, bytes) in &self.signatures {
            let Some(key) = trusted.iter().find(|k| k.name == *name && k.id == *id) else {
                continue;
            };
            let wrong = || NoteFault::Signature { name: name.clone() };
            let signature = Signature::from_slice(bytes).map_err(|_| wrong())?;
            key.key
                .verify_strict(self.text.as_bytes(), &signature)
                .map_err(|_| wrong())?;
            found = found.or(Some(key));
        }
        found.ok_or_else(|| NoteFault::Unknown {
            names: self.signatures.iter().map(|s| s.0.clone()).collect(),
        })
    }
}
