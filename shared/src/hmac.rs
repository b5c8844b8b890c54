//! HMAC-SHA256, by the library that also does TLS.

use aws_lc_rs::hmac::{self, HMAC_SHA256};

/// A key; no log shows it.
#[derive(Clone)]
pub struct Key(hmac::Key);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// Takes the bytes of a key.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(hmac::Key::new(HMAC_SHA256, bytes))
    }

    /// Signs a message: 32 bytes.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        hmac::sign(&self.0, message).as_ref().to_vec()
    }

    /// Tells whether a signature is this key's, in a time that does not depend on how much of it is right.
    #[must_use]
    pub fn is_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        hmac::verify(&self.0, message, signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2.
    #[test]
    fn a_signature_is_the_one_of_the_standard() {
        let key = Key::new(b"Jefe");
        let signature = key.sign(b"what do ya want for nothing?");
        let hex: String = signature.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        assert!(key.is_signed(b"what do ya want for nothing?", &signature));
        assert!(!key.is_signed(b"what do ya want for nothing!", &signature));
        assert!(!key.is_signed(b"what do ya want for nothing?", &signature[..31]));
        assert_eq!(format!("{key:?}"), "Key");
    }
}
