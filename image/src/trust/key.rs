//! Public keys in PEM files, and signatures made with them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};

const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";

// The bodies of the object identifiers that say what a key is (RFC 5480, RFC 8410, RFC 8017).
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

// DER's tags (X.690).
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const NULL: u8 = 0x05;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// Moduli that `ring` takes.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Not PEM, or of something else.
    #[error("It is not one PEM public key: expected a single block between {BEGIN} and {END}")]
    Pem,
    /// The DER inside.
    #[error("The key in it is damaged")]
    Damaged,
    /// Another algorithm.
    #[error("Keys of its kind are not supported: use ECDSA on P-256 or P-384, Ed25519, or RSA of 2048 to 8192 bits")]
    Kind,
}

/// A key that signatures are checked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    kind: Kind,
    /// As `ring` wants it: a point, or an RSAPublicKey.
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    P256,
    P384,
    Ed25519,
    Rsa,
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo in PEM: what `cosign generate-key-pair` and `openssl pkey -pubout` write.
    pub fn from_pem(pem: &[u8]) -> Result<PublicKey, Error> {
        let text = std::str::from_utf8(pem).map_err(|_| Error::Pem)?.trim_ascii();
        let body = text.strip_prefix(BEGIN).and_then(|text| text.strip_suffix(END)).ok_or(Error::Pem)?;
        let body: String = body.split_ascii_whitespace().collect();
        PublicKey::from_der(&STANDARD.decode(body).map_err(|_| Error::Pem)?)
    }

    /// `SEQUENCE { SEQUENCE { algorithm, parameters }, BIT STRING }` (RFC 5280, section 4.1)
    fn from_der(der: &[u8]) -> Result<PublicKey, Error> {
        let (info, after) = read(der, SEQUENCE)?;
        let (algorithm, rest) = read(info, SEQUENCE)?;
        let (bits, end) = read(rest, BIT_STRING)?;
        // The first byte is the number of bits that do not count.
        let Some((0, bytes)) = bits.split_first() else { return Err(Error::Damaged) };
        if !after.is_empty() || !end.is_empty() {
            return Err(Error::Damaged);
        }
        let (name, parameters) = read(algorithm, OBJECT_IDENTIFIER)?;
        let kind = match name {
            EC => match read(parameters, OBJECT_IDENTIFIER)? {
                (P256, []) => Kind::P256,
                (P384, []) => Kind::P384,
                _ => return Err(Error::Kind),
            },
            ED25519 if parameters.is_empty() => Kind::Ed25519,
            RSA if matches!(read(parameters, NULL)?, ([], [])) => Kind::Rsa,
            _ => return Err(Error::Kind),
        };
        match (kind, bytes) {
            // 4: an uncompressed point follows.
            (Kind::P256, [4, point @ ..]) if point.len() == 64 => {}
            (Kind::P384, [4, point @ ..]) if point.len() == 96 => {}
            (Kind::Ed25519, bytes) if bytes.len() == 32 => {}
            (Kind::Rsa, bytes) => {
                let (modulus, _) = read(read(bytes, SEQUENCE)?.0, INTEGER)?;
                let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
                if !RSA_BYTES.contains(&modulus.len()) {
                    return Err(Error::Kind);
                }
            }
            _ => return Err(Error::Damaged),
        }
        Ok(PublicKey { kind, bytes: bytes.to_vec() })
    }

    /// Whether `signature` is one of `message` made with this key. As cosign and containers-image do it: SHA-256
    /// whatever the key, DER for ECDSA, PKCS #1 v1.5 for RSA; for P-384 also SHA-384, which newer ones use.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithms: &[&'static dyn VerificationAlgorithm] = match self.kind {
            Kind::P256 => &[&signature::ECDSA_P256_SHA256_ASN1],
            Kind::P384 => &[&signature::ECDSA_P384_SHA256_ASN1, &signature::ECDSA_P384_SHA384_ASN1],
            Kind::Ed25519 => &[&signature::ED25519],
            Kind::Rsa => &[&signature::RSA_PKCS1_2048_8192_SHA256],
        };
        algorithms
            .iter()
            .any(|algorithm| UnparsedPublicKey::new(*algorithm, &self.bytes).verify(message, signature).is_ok())
    }
}

/// Reads one DER value with this tag; returns its body and what comes after it.
fn read(der: &[u8], tag: u8) -> Result<(&[u8], &[u8]), Error> {
    let (found, rest) = der.split_first().ok_or(Error::Damaged)?;
    let (first, rest) = rest.split_first().ok_or(Error::Damaged)?;
    // Lengths from 128 on: how many bytes the length has, then the length, as short as can be.
    let (length, rest) = match (first, rest) {
        (0..=0x7f, rest) => (usize::from(*first), rest),
        (0x81, [length @ 0x80..=0xff, rest @ ..]) => (usize::from(*length), rest),
        (0x82, [high @ 1..=0xff, low, rest @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        _ => return Err(Error::Damaged),
    };
    if *found != tag {
        return Err(Error::Damaged);
    }
    rest.split_at_checked(length).ok_or(Error::Damaged)
}

#[cfg(test)]
#[path = "key_test.rs"]
mod tests;
