//! Keys and signatures that OpenSSL 3.0 made of this text; damaged ones; and keys of other kinds.

use proptest::prelude::*;

use super::*;

const TEXT: &[u8] = b"a coracle is a boat for one";

const P256_KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEwWnwxsURjbVWjHAbzrgt8THWvS4FpNXGx4GSvRR/0uf4fNAG4jA78gRnOaAIAtYAZQd6ilFcbb7yQ/mrTH3wNQ==";
const P384_KEY: &str = "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEMyO7S3GrPWZsn5P0pQZCkDvXoTKQSGAY78ZknNwfYa7N6UV3hC9Jz5o1F5ljcCxLqFBfF/9AHInl1/KALpiyUo4j8aShiw2CQDneTXQa10TEiWwDFB+s5waIxkmf4qzb";
const ED25519_KEY: &str = "MCowBQYDK2VwAyEAPqlvQ+CICqF8hfP0ypKs+TIU9PC+hgVUuKxPKus6j/Y=";
const RSA_KEY: &str = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAzilp63/Q8vFJN2ygKL9iXJ0Zj1Pp1oU9SZ150gsigh97KzzNRX6geeHCn7ZO9238ucrKiqFcq8AhWXmv/ljJ1mOG5vYOew9a48kA2ZPOK7CHvDiGg+4B9pVCsL+/svh+lrwYxWc2QHjTj1HgA4hlNicqWGIHq25id+BMHNBUVYRdp5eqiL9usCPPGwe4Vql3Cblw2GmDShaOaHDkWmIDiXbGt3lc9z5+Q4b33GKEtW8ZaKSGbNeES2EB8wcFWvgb2pTy8p3ocRblgx3A5XGpfAKOA8KyJhL1bq8GgQ2+YypDqz6Ig/GULugz4BY4+SCAyK/pkhVLo5UsbgMXzIflSQIDAQAB";
const RSA_1024_KEY: &str = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCtt+30eNHOe3YZYN/qCBRVQr6dZQY7tZgRWB0EvblMBcqFsEFttvPL0Hvf5Fi9W2GTKOvQ8fJykBlQcYRlj1sXxIw1ZbdStu/zsAMFRg3JOz0Hvrjdn0xWBP4tZA+0dtUzO++DywMk4UcuLOMOEpNALrLp5qSFoDmw3Kw+BPM/FwIDAQAB";
const P521_KEY: &str = "MIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQAaj6/l+WehAoC1suIeHEvmzEqEjSboXRQsvHbGdsZlnD7S7KvjpBSqY+izUunB3QZqEQsaQqr6Kzyl8waXMHjVJ0A4U6oRWzv1/Ougg05NZFyzBO0zxCA3dCAsXqyc4mcu0P6tgMjj/DlZXlAqZ84VXySkQTWq8+t66rby4GXg5/ygSw=";

const P256_SHA256: &str =
    "MEUCIQC5BMOrYd9U/j/y4CuwfQI3FNVGIrtwKQk1+JM0jkO0wQIgJBYpxVJiJ0Cun1g2mbJOlCApb9SsV82z8cybqFdGH3g=";
const P256_SHA384: &str =
    "MEYCIQCfQ4uLcknOmdqU7kKAeNA39xFUM6muoKdx61I/I4SxsgIhAItjvJArlMYjQTvEPFVJbQNq5M1AJep/bkKIjEOHmKvl";
const P384_SHA256: &str = "MGUCMFLnqNKAoK7sAKLiUjIkcJSL9CZgz9loZ6z5U/VtCYf5n7zhM+KNHEXWjYK7vXGFAAIxAN7PQ+cj8Z5/+BUcRXwuTTc99qydIK3TaANhscr0LPYyHTOKF+9bwWKKjPD6QpXtzQ==";
const P384_SHA384: &str = "MGUCMGNjkIH4TBBb6gCJ0bvvs7Csl0A7OuSqI3RQfoZJUBwQDkqhAHOBNeEM8CAYkDjOoAIxAIAJvYzHzJZa+wc7/p/9+3InD6WSfzJLhDoiNAhqiFQaA6GBlFPVdSBiaXW3OofItw==";
const ED25519_SIGNATURE: &str =
    "jSvYJEXk0Ce+CU9OrilXHqU0PWLxBl0tU441agtOZP09nHfA3uBW5T/75lz9BDfGfZT3Jd/iZ61CUJI0FvlSCw==";
const RSA_SHA256: &str = "iXGrXv2a8kPvKfdSV4X4PPzBjb2rA/IdN/BOD2IxHgQg3OVyPbbhr82BcJY0zJxwgODZbYMPKEAfGAB2JQ6Yz3U99uyY0taFGzBJgYkNwMXcB6d+IeLqczjf2HJnlbM+X8ayTLZMxEoxM1vWhuiu3yFG52gJbQRLjFy4vLV9SqqfP3hZlW1B5ZIxv3JHlbuvgINfYhTmIGP69yT4zoohIw3hP552NnmOAPfsR9xjioME1zYAUYqQMu/FnlZZ2p0t3+EWKh73y/AFnFNr/CfYMUd3qIzMFGN3PrOPC7EKms7FNhQfjKQqkYYfP19Jz7fVRgMMjvO94wC0Zem4VVECQA==";
const RSA_SHA1: &str = "fwVrBWgrjnJmCZz57JlnqDNVcIORWV9PeBI1EiYKKVuBgPoT1AWtUEUOmWoAUJ7vugpYsA5sm+Hp31jNemdh2f2VQIW9IymO4kaKfyLe/YnfV/5vQ9PG9wkSZ6C1NwlxN124XhtWT17N9SzqhGU5tkdal9KKOgnOQZI14L+kgAwcTVbfsFUSZUWUrR+E9ZQ2ov+4eqA2kIzTfuLA8dllrgLPtbEXyTngY2kj94/2eXG3bh0sAwBhJBxzg+1IpmLwyX0Uu2fS+V0UF+89MBH75c2KhjvOUpyLoBClV6rCgm+iQ97ljLdLjTjvXRH8ojYs0QRq2xxlRD+IcpqpI6MGHw==";

const GOOD: [(&str, &str); 5] = [
    (P256_KEY, P256_SHA256),
    (P384_KEY, P384_SHA256),
    (P384_KEY, P384_SHA384),
    (ED25519_KEY, ED25519_SIGNATURE),
    (RSA_KEY, RSA_SHA256),
];

fn pem(key: &str) -> String {
    format!("-----BEGIN PUBLIC KEY-----\n{key}\n-----END PUBLIC KEY-----\n")
}

fn key(text: &str) -> PublicKey {
    PublicKey::from_pem(pem(text).as_bytes()).unwrap()
}

fn signature(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap()
}

#[test]
fn a_good_signature_is_good() {
    for (public, made) in GOOD {
        assert!(key(public).verifies(TEXT, &signature(made)), "{public}");
    }
}

#[test]
fn a_signature_of_another_text_by_another_key_or_damaged_is_bad() {
    for (public, made) in GOOD {
        let (public, made) = (key(public), signature(made));
        assert!(!public.verifies(b"a coracle is a boat for two", &made));
        assert!(!public.verifies(b"", &made));
        assert!(!public.verifies(TEXT, &[]));
        assert!(!public.verifies(TEXT, &made[1..]));
        assert!(!public.verifies(TEXT, &[made.as_slice(), &[0]].concat()));
        for (other, _) in GOOD.iter().filter(|(other, _)| key(other) != public) {
            assert!(!key(other).verifies(TEXT, &made));
        }
        for place in [0, 8, made.len() / 2, made.len() - 1] {
            let mut damaged = made.clone();
            damaged[place] ^= 1;
            assert!(!public.verifies(TEXT, &damaged), "{public:?} {place}");
        }
    }
    assert!(!key(P256_KEY).verifies(TEXT, &signature(P256_SHA384)));
    assert!(!key(RSA_KEY).verifies(TEXT, &signature(RSA_SHA1)));
}

#[test]
fn a_file_holds_one_public_key_and_nothing_else() {
    let good = pem(P256_KEY);
    for text in [good.clone(), good.replace('\n', "\r\n"), format!("\n\n{good}\n"), good.trim().to_owned()] {
        assert_eq!(PublicKey::from_pem(text.as_bytes()).unwrap(), key(P256_KEY));
    }
    let two = good.repeat(2);
    let named = format!("comment\n{good}");
    let private = good.replace("PUBLIC", "PRIVATE");
    let certificate = good.replace("PUBLIC KEY", "CERTIFICATE");
    let letters = good.replace("MFkw", "M!kw");
    for text in ["", "x", P256_KEY, &two, &named, &private, &certificate, &letters, "-----BEGIN PUBLIC KEY-----"] {
        assert_eq!(PublicKey::from_pem(text.as_bytes()), Err(Error::Pem), "{text}");
    }
    assert_eq!(PublicKey::from_pem(&[0xff; 10]), Err(Error::Pem));
    assert_eq!(PublicKey::from_pem(pem("").as_bytes()), Err(Error::Damaged));
}

#[test]
fn keys_of_other_kinds_are_named() {
    for text in [P521_KEY, RSA_1024_KEY] {
        assert_eq!(PublicKey::from_pem(pem(text).as_bytes()), Err(Error::Kind));
    }
}

#[test]
fn damaged_keys_are_refused() {
    for (public, _) in GOOD {
        let der = signature(public);
        for end in 0..der.len() {
            assert!(PublicKey::from_der(&der[..end]).is_err(), "{public} cut at {end}");
        }
        let longer = [der.as_slice(), &[0]].concat();
        assert_eq!(PublicKey::from_der(&longer), Err(Error::Damaged));
    }
    let mut compressed = signature(P256_KEY);
    compressed[26] = 2;
    assert_eq!(PublicKey::from_der(&compressed), Err(Error::Damaged));
    // A length that is longer than it must be.
    let mut long = signature(ED25519_KEY);
    long.splice(1..2, [0x81, 0x2a]);
    assert_eq!(PublicKey::from_der(&long), Err(Error::Damaged));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        which in 0..GOOD.len(),
        place in 0..200_usize,
        new in any::<u8>(),
    ) {
        prop_assert!(PublicKey::from_der(&bytes).is_err());
        prop_assert!(PublicKey::from_pem(&bytes).is_err());
        let mut der = signature(GOOD[which].0);
        let place = place % der.len();
        der[place] = new;
        if let Ok(public) = PublicKey::from_der(&der) {
            prop_assert!(!public.verifies(TEXT, &bytes));
        }
    }
}
