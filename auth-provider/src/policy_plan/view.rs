//! A plan for people: which values there were and will be, as the API says it and as a terminal shows it.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
};

use anstyle::{AnsiColor, Style};
use serde::{Deserialize, Serialize, Serializer};

use super::{Plan, PlannedChange, Step};
use crate::{
    client::ClientStatus,
    metadata,
    policy_file::{PolicyClient, PolicyGrant, PolicyResource, shown_life, shown_time},
    policy_view::{padded, text_of, widest},
};

/// The plan as the API shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanView {
    pub changes: Vec<ChangeView>,
    pub add: usize,
    pub change: usize,
    pub remove: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeView {
    pub op: Op,
    pub kind: Kind,
    /// The client's id, the resource's name, or `client -> resource`.
    pub name: String,
    pub fields: Vec<FieldChange>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    Add,
    Change,
    Remove,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Client,
    Resource,
    Grant,
}

/// One value as a person reads it; `None` where there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldChange {
    pub name: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

impl Plan {
    pub fn view(&self) -> PlanView {
        let count = |op| {
            self.changes
                .iter()
                .filter(|change| change.op() == op)
                .count()
        };
        PlanView {
            changes: self.changes.iter().map(PlannedChange::view).collect(),
            add: count(Op::Add),
            change: count(Op::Change),
            remove: count(Op::Remove),
        }
    }
}

impl Serialize for Plan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.view().serialize(serializer)
    }
}

impl PlannedChange {
    pub fn view(&self) -> ChangeView {
        let (kind, name, fields) = match self {
            Self::Client(id, step) => (
                Kind::Client,
                id.to_string(),
                step.differences(client_fields),
            ),
            Self::Resource(id, step) => (
                Kind::Resource,
                id.to_string(),
                step.differences(resource_fields),
            ),
            Self::Grant(client, resource, step) => {
                let name = format!("{client} -> {resource}");
                (Kind::Grant, name, step.differences(grant_fields))
            }
        };
        ChangeView {
            op: self.op(),
            kind,
            name,
            fields,
        }
    }
}

impl<T> Step<T> {
    fn differences(&self, fields: fn(&T) -> Fields) -> Vec<FieldChange> {
        let (before, after) = self.ends();
        let mut before = before.map(fields).unwrap_or_default();
        let mut after = after.map(fields).unwrap_or_default();
        let names: BTreeSet<_> = before.keys().chain(after.keys()).cloned().collect();
        names
            .into_iter()
            .map(|name| FieldChange {
                before: before.remove(&name),
                after: after.remove(&name),
                name: name.1,
            })
            .filter(|field| field.before != field.after)
            .collect()
    }
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Resource => "resource",
            Self::Grant => "grant",
        }
    }
}

/// A plan, one block for each change: `+` adds, `~` changes, `-` removes.
pub fn plan_text(plan: &PlanView, color: bool) -> String {
    if plan.changes.is_empty() {
        return "Nothing to do: everything is as the file says.\n".to_owned();
    }
    let mut lines: Vec<String> = Vec::new();
    for change in &plan.changes {
        lines.extend(change_lines(change, color));
    }
    lines.push(String::new());
    lines.push(format!(
        "{} to add, {} to change, {} to remove.",
        plan.add, plan.change, plan.remove
    ));
    text_of(&lines)
}

fn change_lines(change: &ChangeView, color: bool) -> Vec<String> {
    let (sign, style) = match change.op {
        Op::Add => ("+", AnsiColor::Green.on_default()),
        Op::Change => ("~", AnsiColor::Yellow.on_default()),
        Op::Remove => ("-", AnsiColor::Red.on_default()),
    };
    let (kind, name) = (change.kind.as_str(), printable(&change.name));
    let head = styled(&format!("{sign} {kind} {name}"), style, color);
    let width = widest(change.fields.iter().map(|field| field.name.as_str()));
    let fields = change.fields.iter().filter_map(|field| {
        let name = padded(&printable(&field.name), width);
        let (before, after) = (
            value(field.before.as_deref()),
            value(field.after.as_deref()),
        );
        match change.op {
            Op::Add => Some(format!("    {name}  {after}")),
            Op::Change => Some(format!("    {name}  {before} → {after}")),
            Op::Remove => None, // all of it goes
        }
    });
    iter::once(head).chain(fields).collect()
}

fn value(value: Option<&str>) -> String {
    match value {
        None => "(none)".to_owned(),
        Some("") => "(empty)".to_owned(),
        Some(value) => printable(value),
    }
}

/// A database from before may have texts that would move a terminal's cursor.
fn printable(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

fn styled(text: &str, style: Style, color: bool) -> String {
    if color {
        format!("{style}{text}{style:#}")
    } else {
        text.to_owned()
    }
}

/// Values as a person reads them, by place and name. What is empty is left out.
type Fields = BTreeMap<(usize, String), String>;

fn client_fields(client: &PolicyClient) -> Fields {
    let status = client.status.map(ClientStatus::as_str).unwrap_or_default();
    let metadata = client.metadata.iter().flatten();
    let metadata = metadata.map(|(key, value)| (format!("metadata.{key}"), metadata::shown(value)));
    fields(
        [
            ("name", client.name.clone()),
            ("description", client.description.clone()),
            ("status", status.to_owned()),
        ],
        metadata,
    )
}

fn resource_fields(resource: &PolicyResource) -> Fields {
    let owner = resource.owner.as_ref().map(ToString::to_string);
    let scopes = resource.scopes.iter();
    let scopes = scopes.map(|(scope, words)| (format!("scopes.{scope}"), words.clone()));
    fields(
        [
            ("name", resource.name.clone()),
            ("owner", owner.unwrap_or_default()),
            ("token_format", resource.token_format.as_str().to_owned()),
            ("token_profile", resource.token_profile.as_str().to_owned()),
            ("metadata_claims", resource.metadata_claims.to_string()),
            ("signing_alg", resource.signing_alg.name().to_owned()),
            ("token_lifetime", shown_life(resource.token_lifetime)),
        ],
        scopes,
    )
}

fn grant_fields(grant: &PolicyGrant) -> Fields {
    fields(
        [
            ("scopes", grant.scopes.to_string()),
            (
                "token_lifetime",
                grant.token_lifetime.map(shown_life).unwrap_or_default(),
            ),
            (
                "expires_at",
                grant.expires_at.map(shown_time).unwrap_or_default(),
            ),
            ("reason", grant.reason.clone()),
        ],
        [],
    )
}

fn fields<const N: usize>(
    first: [(&str, String); N],
    more: impl IntoIterator<Item = (String, String)>,
) -> Fields {
    let first = first.into_iter().enumerate();
    let first = first
        .filter(|(_, (_, value))| !value.is_empty())
        .map(|(place, (name, value))| ((place, name.to_owned()), value));
    let more = more.into_iter().map(|(name, value)| ((N, name), value));
    first.chain(more).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::plan, *};
    use crate::policy_file::Policy;

    #[test]
    fn a_plan_is_read_from_top_to_bottom() {
        let policy = |text: &str| Policy::parse(text).unwrap();
        let now = policy(
            "[clients.old]\n[clients.m1]\ndescription = 'x'\n[resources.r]\nscopes = { a = '' }",
        );
        let wanted = policy(
            "[clients.m1]\n[clients.m2]\nname = 'Two'\n[resources.r]\nscopes = { a = 'A' }\n\
             [[grants]]\nclient = 'm2'\nresource = 'r'\nscopes = ['a']\ntoken_lifetime = '15m'",
        );
        let view = plan(&now, &wanted, true).view();
        assert_eq!(
            plan_text(&view, false),
            "+ client m2\n    name    Two\n    status  active\n\
             + grant m2 -> r\n    scopes          a\n    token_lifetime  15m\n\
             ~ client m1\n    description  x → (none)\n\
             ~ resource r\n    scopes.a  (empty) → A\n\
             - client old\n\n2 to add, 2 to change, 1 to remove.\n"
        );
        assert!(plan_text(&view, true).starts_with("\u{1b}[32m+ client m2\u{1b}[0m\n"));
        assert_eq!(
            plan_text(&plan(&now, &now, true).view(), true),
            "Nothing to do: everything is as the file says.\n"
        );
    }
}
