//! JSON read without mercy: a key that stands twice is an error, and so is any key nobody asks for.
//!
//! What a policy or a signature says must not depend on which of two equal keys a reader prefers, and a misspelt key
//! must not silently mean nothing.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Where in a document something is wrong, and what.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{place}: {problem}")]
pub struct Malformed {
    /// The keys that lead there, with dots between them.
    pub place: String,
    /// What is wrong.
    pub problem: String,
}

impl Malformed {
    pub(super) fn new(place: &str, problem: impl Into<String>) -> Malformed {
        Malformed { place: place.to_owned(), problem: problem.into() }
    }
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Bool,
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

impl Json {
    /// Reads a whole document; `place` is what it is called. `serde_json` stops at 128 levels.
    pub(super) fn parse(place: &str, bytes: &[u8]) -> Result<Json, Malformed> {
        serde_json::from_slice(bytes).map_err(|error| Malformed::new(place, error.to_string()))
    }

    /// An object, to be emptied field by field.
    pub(super) fn fields(self, place: &str) -> Result<Fields, Malformed> {
        match self {
            Json::Object(fields) => Ok(Fields { place: place.to_owned(), fields }),
            other => Err(Malformed::new(place, format!("Expected an object, found {other}"))),
        }
    }

    /// A list.
    pub(super) fn list(self, place: &str) -> Result<Vec<Json>, Malformed> {
        match self {
            Json::List(list) => Ok(list),
            other => Err(Malformed::new(place, format!("Expected a list, found {other}"))),
        }
    }

    /// A text.
    pub(super) fn text(self, place: &str) -> Result<String, Malformed> {
        match self {
            Json::Text(text) => Ok(text),
            other => Err(Malformed::new(place, format!("Expected a text, found {other}"))),
        }
    }
}

impl fmt::Display for Json {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Json::Null => "null",
            Json::Bool => "true or false",
            Json::Number(_) => "a number",
            Json::Text(_) => "a text",
            Json::List(_) => "a list",
            Json::Object(_) => "an object",
        })
    }
}

/// The fields of an object that nobody has asked for yet.
pub(super) struct Fields {
    place: String,
    fields: BTreeMap<String, Json>,
}

impl Fields {
    /// The place of the field `name`.
    pub(super) fn place(&self, name: &str) -> String {
        format!("{}.{name}", self.place)
    }

    /// Takes out a field.
    pub(super) fn take(&mut self, name: &str) -> Option<Json> {
        self.fields.remove(name)
    }

    /// Takes out a field that must be there.
    pub(super) fn required(&mut self, name: &str) -> Result<Json, Malformed> {
        let missing = || Malformed::new(&self.place, format!("{name:?} is missing"));
        self.fields.remove(name).ok_or_else(missing)
    }

    /// Takes out a text that must be there.
    pub(super) fn text(&mut self, name: &str) -> Result<String, Malformed> {
        let value = self.required(name)?;
        value.text(&self.place(name))
    }

    /// All that are left, whatever they are called.
    pub(super) fn rest(self) -> BTreeMap<String, Json> {
        self.fields
    }

    /// Makes sure that none is left.
    pub(super) fn end(self) -> Result<(), Malformed> {
        match self.fields.into_keys().next() {
            None => Ok(()),
            Some(name) => Err(Malformed::new(&self.place, format!("{name:?} is not known here"))),
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Json, D::Error> {
        input.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Bool)
    }

    #[expect(clippy::cast_precision_loss, reason = "JSON's numbers are floating ones")]
    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Number(number as f64))
    }

    #[expect(clippy::cast_precision_loss, reason = "JSON's numbers are floating ones")]
    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
        Ok(Json::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut input: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = input.next_element()? {
            list.push(value);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut input: A) -> Result<Json, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some(name) = input.next_key::<String>()? {
            let value = input.next_value()?;
            if fields.contains_key(&name) {
                return Err(A::Error::custom(format_args!("the key {name:?} stands there twice")));
            }
            fields.insert(name, value);
        }
        Ok(Json::Object(fields))
    }
}
