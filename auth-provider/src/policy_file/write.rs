//! Writing a policy file: sorted, so that it can be kept under version control, and such that reading it gives the same
//! policy again.

use std::fmt::{self, Display, Write};

use super::{
    DEFAULT_TOKEN_LIFETIME, Policy, PolicyClient, PolicyGrant, PolicyResource, shown_life,
    shown_time,
};
use crate::{
    built_in,
    client::{ClientId, ClientStatus},
    keys::DEFAULT_ALGORITHM,
    metadata,
    resource::{ResourceId, TokenFormat, TokenProfile},
    texts,
};

impl Policy {
    /// The policy as TOML, without what is built in and without what a file need not say: a client is active and a
    /// resource has the default lifetime unless something else stands there.
    pub fn to_toml(&self) -> String {
        let mut toml = String::from("# Who may call whom.\n");
        self.write(&mut toml)
            .expect("writing to a String does not fail");
        toml
    }

    fn write(&self, toml: &mut String) -> fmt::Result {
        for (id, resource) in &self.resources {
            if !built_in::has_resource(id) {
                write_resource(toml, id, resource)?;
            }
        }
        for (id, client) in &self.clients {
            if !built_in::has_client(id) {
                write_client(toml, id, client)?;
            }
        }
        for ((client, resource), grant) in &self.grants {
            if !built_in::has_grant(client, resource) {
                let longest = self.resources.get(resource).map(|of| of.token_lifetime);
                write_grant(toml, client, resource, grant, longest)?;
            }
        }
        Ok(())
    }
}

fn write_resource(toml: &mut String, id: &ResourceId, resource: &PolicyResource) -> fmt::Result {
    let table = key(id.as_str());
    writeln!(toml, "\n[resources.{table}]")?;
    if resource.name != texts::default_name(id.as_str()) {
        writeln!(toml, "name = {}", text(&resource.name))?;
    }
    if let Some(owner) = &resource.owner {
        writeln!(toml, "owner = {}", text(owner.as_str()))?;
    }
    if resource.token_format != TokenFormat::default() {
        writeln!(
            toml,
            "token_format = {}",
            text(resource.token_format.as_str())
        )?;
    }
    if resource.token_profile != TokenProfile::default() {
        let profile = resource.token_profile.as_str();
        writeln!(toml, "token_profile = {}", text(profile))?;
    }
    if !resource.metadata_claims.is_empty() {
        let claims = list(resource.metadata_claims.iter());
        writeln!(toml, "metadata_claims = [{claims}]")?;
    }
    if resource.signing_alg != DEFAULT_ALGORITHM {
        writeln!(toml, "signing_alg = {}", text(resource.signing_alg.name()))?;
    }
    if resource.token_lifetime != DEFAULT_TOKEN_LIFETIME {
        let life = shown_life(resource.token_lifetime);
        writeln!(toml, "token_lifetime = {}", text(&life))?;
    }
    let scopes = resource.scopes.iter();
    let scopes = scopes.map(|(name, words)| (name, text(words)));
    write_table(toml, &format!("resources.{table}.scopes"), scopes)
}

fn write_client(toml: &mut String, id: &ClientId, client: &PolicyClient) -> fmt::Result {
    let table = key(id.as_str());
    writeln!(toml, "\n[clients.{table}]")?;
    if client.name != texts::default_name(id.as_str()) {
        writeln!(toml, "name = {}", text(&client.name))?;
    }
    if !client.description.is_empty() {
        writeln!(toml, "description = {}", text(&client.description))?;
    }
    // That a client is active is not written: an old file would let in again who was deactivated since.
    if let Some(status @ ClientStatus::Inactive) = client.status {
        writeln!(toml, "status = {}", text(status.as_str()))?;
    }
    let metadata = client.metadata.iter().flatten();
    let metadata = metadata.filter_map(|(key, value)| Some((key, metadata::to_toml(value)?)));
    write_table(toml, &format!("clients.{table}.metadata"), metadata)
}

fn write_grant(
    toml: &mut String,
    client: &ClientId,
    resource: &ResourceId,
    grant: &PolicyGrant,
    longest: Option<u64>,
) -> fmt::Result {
    writeln!(toml, "\n[[grants]]")?;
    writeln!(toml, "client = {}", text(client.as_str()))?;
    writeln!(toml, "resource = {}", text(resource.as_str()))?;
    if !grant.scopes.is_empty() {
        writeln!(toml, "scopes = [{}]", list(grant.scopes.iter()))?;
    }
    if let Some(life) = grant.token_lifetime {
        // The resource's may have been shortened since, and a file says what counts.
        let life = longest.map_or(life, |longest| life.min(longest));
        writeln!(toml, "token_lifetime = {}", text(&shown_life(life)))?;
    }
    if let Some(end) = grant.expires_at {
        writeln!(toml, "expires_at = {}", text(&shown_time(end)))?;
    }
    if !grant.reason.is_empty() {
        writeln!(toml, "reason = {}", text(&grant.reason))?;
    }
    Ok(())
}

/// A table, which is left out when it is empty.
fn write_table<'a>(
    toml: &mut String,
    name: &str,
    pairs: impl Iterator<Item = (&'a String, impl Display)>,
) -> fmt::Result {
    let mut pairs = pairs.peekable();
    if pairs.peek().is_some() {
        writeln!(toml, "\n[{name}]")?;
    }
    for (name, value) in pairs {
        writeln!(toml, "{} = {value}", key(name))?;
    }
    Ok(())
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names
        .map(|name| text(name).to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

fn text(value: &str) -> impl Display {
    toml::Value::from(value)
}

/// A name as a key: bare where TOML allows it.
fn key(name: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    if !name.is_empty() && name.bytes().all(bare) {
        name.to_owned()
    } else {
        text(name).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"# Who may call whom.

[resources."https://notes.example/v1"]
name = "Notes"
owner = "notes"
token_format = "opaque"
token_profile = "stytch"
metadata_claims = ["team", "x.y"]
signing_alg = "RS256"
token_lifetime = "1h 30m"

[resources."https://notes.example/v1".scopes]
"note.read" = "Read #1"
write = ""

[resources.plain]

[clients."a.b"]
name = "It's \"A\""
description = "Ümläute 🦀"
status = "inactive"

[clients."a.b".metadata]
cost-centre = "7"
on = true
share = 0.5
team = { "a b" = [1, "x"] }
"x.y" = "z"

[clients.notes]

[[grants]]
client = "a.b"
resource = "https://notes.example/v1"
scopes = ["note.read", "write"]
token_lifetime = "15m"
expires_at = "2027-01-01T00:00:00Z"
reason = "Because"

[[grants]]
client = "notes"
resource = "plain"
"#;

    #[test]
    fn a_policy_is_written_as_a_person_would() {
        let written = Policy::parse(FILE).unwrap().to_toml();
        let expected = FILE.replace(r#""It's \"A\"""#, &text("It's \"A\"").to_string());
        assert_eq!(written, expected);
        assert_eq!(
            Policy::parse("").unwrap().to_toml(),
            "# Who may call whom.\n"
        );
    }

    #[test]
    fn a_grant_that_its_resource_overtook_is_written_as_it_counts() {
        let mut policy = Policy::parse(FILE).unwrap();
        for resource in policy.resources.values_mut() {
            resource.token_lifetime = 60;
        }
        let written = policy.to_toml();
        assert!(!written.contains("15m"), "{written}");
        Policy::parse(&written).unwrap();
    }
}
