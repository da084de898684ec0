//! Reading a JSON object in which no name stands twice.
//!
//! Two readers of `{"sub":"a","sub":"b"}` may see two subjects, so RFC 7519 section 4 and RFC 7515
//! section 4 want such a text refused. `serde_json` would keep the last one.
//!
//! What is read here is looked at once and forgotten, so texts are borrowed where they stand as they are meant, and
//! members are a list.

use std::{borrow::Cow, fmt};

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

/// The object that `text` holds; `None` when it is no JSON, no object, nested too deep, or repeats
/// a name at any depth.
pub(super) fn object(text: &[u8]) -> Option<Object<'_>> {
    // Whether it is UTF-8 is asked once, and not of each text in it.
    match serde_json::from_str(str::from_utf8(text).ok()?) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}

/// Members with different names.
#[derive(Debug, PartialEq)]
pub(super) struct Object<'a>(Vec<Member<'a>>);

type Member<'a> = (Cow<'a, str>, Value<'a>);

/// Any JSON, whose objects have members with different names.
#[derive(Debug, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'a, str>),
    Array(Vec<Value<'a>>),
    Object(Object<'a>),
}

impl<'a> Object<'a> {
    /// What most tokens have room in.
    const MEMBERS: usize = 16;

    pub(super) fn get(&self, name: &str) -> Option<&Value<'a>> {
        let mut members = self.0.iter();
        members
            .find(|(known, _)| is_same(known, name))
            .map(|(_, value)| value)
    }

    pub(super) fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Keeps the members whose values please.
    pub(super) fn retain(&mut self, mut pleases: impl FnMut(&Value<'a>) -> bool) {
        self.0.retain(|(_, value)| pleases(value));
    }
}

impl Value<'_> {
    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(number) => number.as_f64(),
            _ => None,
        }
    }
}

/// For those who keep it.
impl From<Object<'_>> for serde_json::Map<String, serde_json::Value> {
    fn from(Object(members): Object<'_>) -> Self {
        let own = |(name, value): (Cow<'_, str>, _)| (name.into_owned(), owned(value));
        members.into_iter().map(own).collect()
    }
}

fn repeats_a_name(members: &[Member<'_>]) -> bool {
    if members.len() <= Object::MEMBERS {
        return members.iter().enumerate().any(|(place, (name, _))| {
            let before = &members[..place];
            before.iter().any(|(other, _)| is_same(name, other))
        });
    }
    let mut names: Vec<&str> = members.iter().map(|(name, _)| &**name).collect();
    names.sort_unstable();
    names.windows(2).any(|pair| pair[0] == pair[1])
}

/// Mostly the first letter tells two names apart, and to look at it takes less than to have them compared.
fn is_same(one: &str, other: &str) -> bool {
    one.as_bytes().first() == other.as_bytes().first() && one == other
}

fn owned(value: Value<'_>) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => value.into(),
        Value::Number(number) => number.into(),
        Value::Text(text) => text.into(),
        Value::Array(items) => items.into_iter().map(owned).collect(),
        Value::Object(object) => serde_json::Value::Object(object.into()),
    }
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without repeated names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value<'de>, A::Error> {
        let mut object = Vec::new();
        while let Some((Name(name), value)) = members.next_entry()? {
            if object.is_empty() {
                object.reserve(Object::MEMBERS);
            }
            object.push((name, value));
        }
        if repeats_a_name(&object) {
            return Err(A::Error::custom("a name stands twice"));
        }
        Ok(Value::Object(Object(object)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value<'de>, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value<'de>, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value<'de>, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value<'de>, E> {
        let number = Number::from_f64(number).ok_or_else(|| E::custom("a number is not finite"))?;
        Ok(Value::Number(number))
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }
}

/// The name of a member.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor).map(Self)
    }
}

struct NameVisitor;

impl<'de> Visitor<'de> for NameVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_read_as_serde_json_reads_it() {
        let text = r#"{"a":[1,-2,1.5,"x\n",true,null,{"b":{}}],"":"é","c":18446744073709551615}"#;
        let read = object(text.as_bytes()).map(serde_json::Map::from);
        assert_eq!(read, serde_json::from_str(text).unwrap());
    }

    #[test]
    fn what_two_readers_could_see_differently_is_refused() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
        let many = |more: Option<&str>| {
            let names = (0..40).map(|number| format!("a{number}"));
            let names = names.chain(more.map(str::to_owned));
            let members: Vec<_> = names.map(|name| format!("\"{name}\":0")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert!(object(many(None).as_bytes()).is_some());
        for text in [
            "",
            "null",
            "[]",
            "{",
            "{}{}",
            "{} x",
            "{\"a\":1,}",
            "{'a':1}",
            "{\"a\":NaN}",
            "{\"a\":1e999}",
            "{\"a\":\"\u{1}\"}",
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"a":[{"b":1,"b":2}]}"#,
            &deep,
            &many(Some("a39")),
        ] {
            assert_eq!(object(text.as_bytes()), None, "{text}");
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}"), None);
    }
}
