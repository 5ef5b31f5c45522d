use proptest::prelude::*;
use serde::Deserialize;

use super::*;

const LIMIT: usize = 10_000;

fn read(text: &str) -> Result<Document, ReadError> {
    Document::read_canonical(text.as_bytes(), LIMIT)
}

#[test]
fn canonical_bytes_are_those_of_the_rfc() {
    // RFC 8785, section 3.2.3: keys in the order of their UTF-16 code units.
    let source = "{\"\u{20ac}\":1,\"\\r\":2,\"\u{fb33}\":3,\"1\":4,\"\u{1f600}\":5,\"\u{80}\":6,\"\u{f6}\":7}";
    let document = Document::read(source.as_bytes(), LIMIT).unwrap();
    let bytes = to_bytes(&document.0).unwrap();
    let expected = "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"\u{f6}\":7,\"\u{20ac}\":1,\"\u{1f600}\":5,\"\u{fb33}\":3}";
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    assert!(read(expected).is_ok());
    assert!(matches!(
        read(source),
        Err(ReadError::NotCanonical { position: 2 })
    ));
}

#[test]
fn other_bytes_of_the_same_document_are_refused() {
    assert!(read(r#"{"a":1,"b":"\n"}"#).is_ok());
    for text in [
        r#"{"a":1,"b":"\u000a"}"#,
        r#"{"b":"\n","a":1}"#,
        r#"{"a": 1,"b":"\n"}"#,
        "{\"a\":1,\"b\":\"\\n\"}\n",
        r#"{"\u0061":1,"b":"\n"}"#,
    ] {
        assert!(
            matches!(read(text), Err(ReadError::NotCanonical { .. })),
            "{text}"
        );
    }
}

#[test]
fn a_key_that_stands_twice_is_refused_however_it_is_spelled() {
    for text in [r#"{"a":1,"a":1}"#, r#"[{"a":1,"\u0061":2}]"#] {
        assert!(
            matches!(read(text), Err(ReadError::DuplicateKey { key }) if key == "a"),
            "{text}"
        );
    }
}

#[test]
fn numbers_are_exact_integers() {
    for text in ["0", "-1", "9007199254740991", "-9007199254740991"] {
        assert!(read(text).is_ok(), "{text}");
    }
    for text in [
        "1.0",
        "1e2",
        "-0",
        "0.5",
        "9007199254740992",
        "-9007199254740992",
        "18446744073709551616",
        "1e400",
    ] {
        let read = read(text);
        // An exponent beyond all doubles is already refused as syntax.
        let refused = matches!(
            read,
            Err(ReadError::NotAnInteger | ReadError::Syntax { .. })
        );
        assert!(refused, "{text}: {read:?}");
    }
}

#[test]
fn what_is_not_one_document_is_refused() {
    for text in [
        "",
        "{",
        "{}{}",
        "[] ,",
        "nul",
        "{'a':1}",
        "[1,]",
        r#""\ud800""#,
    ] {
        assert!(
            matches!(read(text), Err(ReadError::Syntax { .. })),
            "{text}"
        );
    }
    assert!(matches!(
        Document::read(b"\"\xff\"", LIMIT),
        Err(ReadError::NotUtf8 { position: 1 })
    ));
    // A byte order mark is no part of JSON.
    assert!(matches!(read("\u{feff}{}"), Err(ReadError::Syntax { .. })));
}

#[test]
fn size_and_depth_are_bounded() {
    assert!(read(&("[".repeat(MAX_DEPTH) + &"]".repeat(MAX_DEPTH))).is_ok());
    assert!(matches!(
        read(&"[".repeat(MAX_DEPTH + 1)),
        Err(ReadError::TooDeep)
    ));
    assert!(Document::read(b"  1", 3).is_ok());
    assert!(matches!(
        Document::read(b"  1 ", 3),
        Err(ReadError::TooLarge { limit: 3 })
    ));
}

#[derive(Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Outer {
    inner: Inner,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    optional: Option<String>,
}

#[derive(Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Inner {
    #[serde(default)]
    number: u32,
}

#[test]
fn a_type_takes_its_own_fields_in_their_one_form() {
    let decode = |text: &str| read(text).unwrap().decode_exactly::<Outer>();
    assert!(decode(r#"{"inner":{"number":1}}"#).is_ok());
    assert_eq!(
        decode(r#"{"inner":{"number":1,"surprise":1}}"#),
        Err(ShapeError::UnknownField {
            path: "inner.surprise".to_owned()
        })
    );
    assert_eq!(
        decode(r#"{"inner":{"number":"unknown field `x`"}}"#),
        Err(ShapeError::Form {
            path: "inner.number".to_owned()
        })
    );
    assert_eq!(decode(r#"{"inner":{}}"#), Err(ShapeError::NotOneForm));
    assert_eq!(
        decode(r#"{"inner":{"number":1},"optional":null}"#),
        Err(ShapeError::NotOneForm)
    );
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Document::read_canonical(&bytes, LIMIT);
    }

    #[test]
    fn what_json_like_bytes_are_read_is_written_back(text in r#"[\[\]{}:,"\\u0-9a-f.e -]{0,40}"#) {
        if let Ok(document) = read(&text) {
            prop_assert_eq!(to_bytes(&document.0).unwrap(), text.as_bytes());
        }
    }
}
