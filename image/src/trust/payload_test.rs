//! A statement is read if it is exactly as it should be, and not otherwise.

use proptest::prelude::*;

use super::*;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn statement() -> String {
    format!(
        r#"{{"critical":{{"identity":{{"docker-reference":"example.com/a"}},"image":{{"docker-manifest-digest":"{DIGEST}"}},"type":"{COSIGN}"}},"optional":null}}"#
    )
}

#[test]
fn what_cosign_and_containers_image_write_is_read() {
    let expected = Payload { digest: DIGEST.parse().unwrap(), reference: "example.com/a".to_owned() };
    assert_eq!(Payload::parse(statement().as_bytes(), COSIGN).unwrap(), expected);
    for optional in [r#"{}"#, r#"{"creator":"x 1","timestamp":1458239713}"#, r#"{"a":"b","c":{"d":[1,null,true]}}"#] {
        let text = statement().replace("null", optional);
        assert_eq!(Payload::parse(text.as_bytes(), COSIGN).unwrap(), expected, "{optional}");
    }
}

#[test]
fn every_departure_is_refused() {
    let cases = [
        ("\"optional\":null", "\"optional\":[]", "Expected an object"),
        ("\"optional\":null", "\"optional\":{\"creator\":1}", "Expected a text"),
        ("\"optional\":null", "\"optional\":{\"timestamp\":1.5}", "whole number"),
        ("\"optional\":null", "\"optional\":{\"timestamp\":\"1\"}", "whole number"),
        ("\"optional\":null", "\"optional\":null,\"further\":1", "\"further\" is not known"),
        (",\"optional\":null", "", "\"optional\" is missing"),
        ("\"optional\":null", "\"optional\":null,\"optional\":null", "stands there twice"),
        ("{\"critical\"", "{\"critical\":{},\"critical\"", "stands there twice"),
        ("critical", "Critical", "\"critical\" is missing"),
        (COSIGN, "atomic container signature", "Expected \"cosign container image signature\""),
        ("\"type\":", "\"kind\":1,\"type\":", "\"kind\" is not known"),
        ("\"type\":", "\"type\":\"x\",\"type\":", "stands there twice"),
        ("\"identity\":{", "\"identity\":{\"docker-reference\":\"x\",", "stands there twice"),
        ("\"identity\":{", "\"identity\":{\"more\":\"x\",", "\"more\" is not known"),
        ("{\"docker-reference\":\"example.com/a\"}", "{}", "\"docker-reference\" is missing"),
        ("\"example.com/a\"", "null", "Expected a text"),
        ("\"image\":{", "\"image\":{\"more\":\"x\",", "\"more\" is not known"),
        ("\"docker-manifest-digest\"", "\"manifest-digest\"", "\"docker-manifest-digest\" is missing"),
        ("sha256:e3", "sha256:", "not a digest"),
        ("sha256:e3", "sha256:E3", "not a digest"),
        ("sha256:", "md5:", "not a digest"),
    ];
    for (from, to, problem) in cases {
        let text = statement().replacen(from, to, 1);
        assert_ne!(text, statement());
        let error = Payload::parse(text.as_bytes(), COSIGN).unwrap_err().to_string();
        assert!(error.contains(problem), "{text}: {error}");
    }
    for text in ["", "null", "[]", "1", "\"x\"", "{", "{}x", "\u{feff}{}"] {
        assert!(Payload::parse(text.as_bytes(), COSIGN).is_err(), "{text}");
    }
    let whole = statement();
    for end in 0..whole.len() {
        assert!(Payload::parse(&whole.as_bytes()[..end], COSIGN).is_err(), "cut at {end}");
    }
    assert!(Payload::parse(format!("{whole}{{}}").as_bytes(), COSIGN).is_err());
    assert!(Payload::parse("[".repeat(1 << 20).as_bytes(), COSIGN).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Payload::parse(&bytes, COSIGN).is_err());
    }

    #[test]
    fn no_change_makes_it_panic(place in 0..200_usize, new in any::<char>()) {
        let mut text: Vec<char> = statement().chars().collect();
        let place = place % text.len();
        text[place] = new;
        let text: String = text.into_iter().collect();
        if let Ok(payload) = Payload::parse(text.as_bytes(), COSIGN) {
            prop_assert!(payload.digest.as_str().len() == DIGEST.len());
        }
    }
}
