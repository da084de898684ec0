//! The parts of the `OpenAPI` document that its page shows, as types. Members stay in the order in which they are written.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value;

#[derive(Deserialize)]
pub(super) struct Api {
    pub(super) info: Info,
    pub(super) servers: [Server; 1],
    pub(super) tags: Vec<Tag>,
    pub(super) paths: Members<Path>,
    pub(super) components: Components,
}

#[derive(Deserialize)]
pub(super) struct Info {
    pub(super) title: String,
    pub(super) version: String,
    pub(super) summary: String,
    pub(super) description: String,
}

#[derive(Deserialize)]
pub(super) struct Server {
    pub(super) url: String,
}

#[derive(Deserialize)]
pub(super) struct Tag {
    pub(super) name: String,
    pub(super) description: String,
}

#[derive(Deserialize)]
pub(super) struct Path {
    #[serde(default)]
    pub(super) parameters: Vec<Either<Parameter>>,
    #[serde(flatten)]
    operations: Operations,
}

#[derive(Deserialize)]
struct Operations {
    get: Option<Operation>,
    post: Option<Operation>,
    patch: Option<Operation>,
    delete: Option<Operation>,
}

impl Path {
    /// Its operations, each with its method.
    pub(super) fn operations(&self) -> impl Iterator<Item = (&'static str, &Operation)> {
        let Operations {
            get,
            post,
            patch,
            delete,
        } = &self.operations;
        let all = [
            ("GET", get),
            ("POST", post),
            ("PATCH", patch),
            ("DELETE", delete),
        ];
        all.into_iter()
            .filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Operation {
    pub(super) tags: [String; 1],
    #[serde(rename = "operationId")]
    pub(super) id: String,
    pub(super) summary: String,
    pub(super) description: String,
    /// None: open to everyone.
    pub(super) security: Vec<Security>,
    #[serde(default)]
    pub(super) parameters: Vec<Either<Parameter>>,
    pub(super) request_body: Option<Body>,
    pub(super) responses: Members<Either<Response>>,
}

#[derive(Deserialize)]
pub(super) struct Security {
    pub(super) admin_token: [String; 1],
}

#[derive(Deserialize)]
pub(super) struct Parameter {
    pub(super) name: String,
    #[serde(rename = "in")]
    pub(super) place: String,
    #[serde(default)]
    pub(super) required: bool,
    pub(super) description: String,
    pub(super) schema: Schema,
}

#[derive(Deserialize)]
pub(super) struct Body {
    pub(super) required: bool,
    pub(super) content: Members<Media>,
}

#[derive(Deserialize)]
pub(super) struct Media {
    pub(super) schema: Schema,
    pub(super) example: Option<Value>,
}

#[derive(Deserialize)]
pub(super) struct Response {
    pub(super) description: String,
    #[serde(default)]
    pub(super) content: Members<Media>,
}

#[derive(Deserialize)]
pub(super) struct Components {
    parameters: Members<Parameter>,
    responses: Members<Response>,
    pub(super) schemas: Members<Schema>,
}

/// A schema, as far as it is said in words.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Schema {
    #[serde(rename = "$ref")]
    pub(super) reference: Option<String>,
    #[serde(rename = "type")]
    pub(super) kind: Option<Kind>,
    /// In words, where they cannot be made of the rest: what is made of itself has no end.
    pub(super) title: Option<String>,
    pub(super) description: Option<String>,
    #[serde(default, rename = "enum")]
    pub(super) values: Vec<String>,
    pub(super) pattern: Option<String>,
    pub(super) min_length: Option<u64>,
    pub(super) max_length: Option<u64>,
    pub(super) minimum: Option<i64>,
    pub(super) maximum: Option<i64>,
    pub(super) items: Option<Box<Schema>>,
    pub(super) max_items: Option<u64>,
    #[serde(default)]
    pub(super) properties: Members<Schema>,
    #[serde(default)]
    pub(super) required: Vec<String>,
    pub(super) additional_properties: Option<Others>,
    pub(super) max_properties: Option<u64>,
    #[serde(default)]
    pub(super) any_of: Vec<Schema>,
    pub(super) default: Option<Value>,
    #[serde(default)]
    pub(super) examples: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Kind {
    One(String),
    Several(Vec<String>),
}

impl Kind {
    pub(super) fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Others {
    /// Only ever `false`.
    None(#[expect(dead_code, reason = "it says no more than that it is there")] bool),
    Each(Box<Schema>),
}

/// A thing, or the name that it has among the components.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Either<T> {
    Named {
        #[serde(rename = "$ref")]
        reference: String,
    },
    Here(T),
}

impl Api {
    pub(super) fn parameter<'a>(&'a self, parameter: &'a Either<Parameter>) -> &'a Parameter {
        self.components.parameters.find(parameter)
    }

    pub(super) fn response<'a>(&'a self, response: &'a Either<Response>) -> &'a Response {
        self.components.responses.find(response)
    }

    /// The schema of this reference, with its name.
    pub(super) fn schema<'a>(&'a self, reference: &'a str) -> (&'a str, &'a Schema) {
        let name = last(reference);
        (name, self.components.schemas.get(name))
    }
}

/// An object's members, in the order in which they are written.
pub(super) struct Members<T>(Vec<(String, T)>);

impl<T> Members<T> {
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn get(&self, wanted: &str) -> &T {
        let found = self.iter().find(|(name, _)| *name == wanted);
        let (_, value) = found.expect("tests resolve each reference of the document");
        value
    }

    fn find<'a>(&'a self, thing: &'a Either<T>) -> &'a T {
        match thing {
            Either::Here(thing) => thing,
            Either::Named { reference } => self.get(last(reference)),
        }
    }
}

fn last(reference: &str) -> &str {
    reference.rsplit('/').next().unwrap_or_default()
}

impl<T> Default for Members<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Members<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for InOrder<T> {
            type Value = Members<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Members<T>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = object.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder(PhantomData))
    }
}
