//! What administrators change while callers go on: a secret, and the policy. Both experiments make a
//! client of their own, which is gone at their end with all that it had.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use toml::Table;

use super::{
    Experiment, Finding,
    workbench::{DESCRIPTION, Token, Workbench, at, secret_in, text},
};
use crate::{
    credentials::Credentials,
    failure::{Failure, Kind},
    wire::Body,
};

pub(super) const SECRET_ROTATION: Experiment = Experiment {
    name: "secret-rotation",
    title: "A secret that changes while its client works",
    question: "A job calls the notes all the time, with tokens that it gets with its secret. The secret is \
               replaced: a new one is made, the job learns it a little later, and then the old one is \
               removed. What does the job notice? (A client made for this experiment plays the job.)",
    answers: &[
        "its requests fail from the moment in which the new secret is made",
        "nothing: for a while both secrets are good",
        "its tokens die with the secret that obtained them",
    ],
    right: 1,
    explanation: "A client may have several secrets at once. So a rotation has three steps with time in \
                  between: add the new one, wait until everybody who shares the client has it, remove the \
                  old one. The provider knows who still uses which, and says when the old one is safe to \
                  remove. A token does not depend on the secret that obtained it: it lives to its own \
                  end. It is otherwise with a secret that leaked: declare it compromised, and its tokens \
                  fall with it.",
    sources: &["RFC 6749 sections 2.3.1 and 5.2", "RFC 9700 section 2.5"],
    otherwise: "A rotation that somebody notices is one that nobody dares to do: look at which request \
                failed, and whether the old secret really ended.",
    run: |bench| Box::pin(secret_rotation(bench)),
};

async fn secret_rotation(bench: &mut Workbench) -> Result<Finding, Failure> {
    bench.step("The administrator makes a client, the job, and lets it read the notes.");
    let before = bench.make_client("Job of the lab").await?;
    let id = before.client_id.clone();
    let grant = json!({
        "client_id": id,
        "resource": "note-service",
        "scopes": ["note.read"],
        "reason": "An experiment with a rotation",
    });
    bench
        .administer(Method::POST, "grants", Body::Json(&grant))
        .await?;
    bench.step("The job gets a token with its secret, and reads the notes.");
    let mut failed = Vec::new();
    let first = work(bench, &before, "with the first secret", &mut failed).await?;

    bench.step("The administrator starts a rotation: there is a second secret.");
    let path = format!("clients/{id}/credentials");
    let list = bench.administer(Method::GET, &path, Body::Empty).await?;
    let list = list.json();
    let old = text(&list["credentials"][0]["credential_id"])?;
    let rotation = format!("{path}/{old}/rotation");
    let made = bench
        .administer(Method::POST, &rotation, Body::Json(&json!({})))
        .await?;
    let after = secret_in(&id, &made)?;
    bench.step("The job does not know it yet, and goes on with the old one.");
    work(bench, &before, "with the old secret", &mut failed).await?;
    bench.step("The job learns the new one, and goes on with that.");
    work(bench, &after, "with the new secret", &mut failed).await?;

    bench.step("The administrator finishes the rotation: the old secret is gone.");
    let finish = format!("{rotation}/finish");
    bench.administer(Method::POST, &finish, Body::Empty).await?;
    bench.step("Who comes with the old secret now gets no token.");
    let refused = bench
        .ask_for_token(&before, "note-service", "note.read")
        .await?
        .err();
    bench.step("The job goes on with the new one, and its first token is as good as before.");
    work(bench, &after, "with the new secret", &mut failed).await?;
    let first_lives = match first {
        Some(token) => notes_accept(bench, &id, &token).await?,
        None => true,
    };
    Ok(match (failed.as_slice(), refused, first_lives) {
        ([], Some(refusal), true) => Finding::new(
            Some(1),
            format!(
                "None of the job's requests failed, and the old secret now gets {}",
                refusal.words()
            ),
        ),
        ([], Some(_), false) => Finding::new(
            Some(2),
            "The token that the old secret had obtained died with it",
        ),
        ([], None, _) => Finding::new(None, "The old secret still obtains tokens"),
        (failed, ..) => Finding::new(Some(0), format!("The job failed {}", failed.join(" and "))),
    })
}

/// The job's work: a token, and a call with it. Says where it failed.
async fn work(
    bench: &mut Workbench,
    job: &Credentials,
    when: &'static str,
    failed: &mut Vec<&'static str>,
) -> Result<Option<Token>, Failure> {
    let token = bench
        .ask_for_token(job, "note-service", "note.read")
        .await?
        .ok();
    let done = match &token {
        Some(token) => notes_accept(bench, &job.client_id, token).await?,
        None => false,
    };
    if !done {
        failed.push(when);
    }
    Ok(token)
}

async fn notes_accept(bench: &mut Workbench, who: &str, token: &Token) -> Result<bool, Failure> {
    let notes = at(&bench.servers().note, "note")?;
    let answer = bench.call(who, Method::GET, notes, token).await?;
    Ok(answer.is_success())
}

pub(super) const POLICY_CHANGE: Experiment = Experiment {
    name: "policy-change",
    title: "A right that comes and goes, by plan and apply",
    question: "A job has no right to the notes. The administrator writes a policy that gives it one, has \
               the provider plan it, then apply it; then takes the right away again, in the same way. \
               From when to when can the job read the notes? (A client made for this experiment plays \
               the job.)",
    answers: &[
        "from the plan on, until its token expires",
        "from the application on, until its token expires",
        "from one application to the other",
    ],
    right: 2,
    explanation: "The policy is the whole truth about who may call whom. A plan only compares: it says \
                  what a file would change, and changes nothing. Applying it makes all of it true at \
                  once, for the next request for a token. And a right that is taken away takes its \
                  tokens with it: they are revoked in the same step, and a service that listens to the \
                  feed refuses them a moment later.",
    sources: &[
        "RFC 6749 section 5.2",
        "RFC 7009 section 3",
        "demo/policy.toml",
    ],
    otherwise: "Look at which answer was another one: a plan must change nothing, an application must count \
                at once, and a right that is gone must not live on in a token. Do the notes listen to the \
                feed?",
    run: |bench| Box::pin(policy_change(bench)),
};

async fn policy_change(bench: &mut Workbench) -> Result<Finding, Failure> {
    const JOB: &str = "Job of the lab";
    bench.step("The administrator makes a client, the job, without any right.");
    let job = bench.make_client(JOB).await?;
    bench.step("The job asks for a token for the notes.");
    let before = can_get_token(bench, &job).await?.is_some();

    bench.step("Plan a policy with a right for it. Only what the file names is compared.");
    let exported = bench.administer(Method::GET, "policy", Body::Empty).await?;
    let policy = |scopes| file(&exported.body, &job.client_id, JOB, scopes);
    let (with, without) = (policy(&["note.read"])?, policy(&[])?);
    let plan = bench
        .administer(Method::POST, "policy/plan", Body::Toml(&with))
        .await?;
    for change in changes(&plan.json()) {
        bench.remark(change);
    }
    bench.step("It is only a plan: the job asks again.");
    let planned = can_get_token(bench, &job).await?.is_some();

    bench.step("Apply it. The job asks once more, and reads the notes.");
    bench
        .administer(Method::POST, "policy/apply", Body::Toml(&with))
        .await?;
    let token = can_get_token(bench, &job).await?;
    let reads = match &token {
        Some(token) => notes_accept(bench, &job.client_id, token).await?,
        None => false,
    };

    bench.step("Apply a policy in which the right is gone.");
    let applied = bench
        .administer(Method::POST, "policy/apply", Body::Toml(&without))
        .await?;
    for change in changes(&applied.json()) {
        bench.remark(change);
    }
    bench.step(
        "The token that the job has is shown to the notes until it is refused, for 12 s at most.",
    );
    let notes = at(&bench.servers().note, "note")?;
    let refused = match &token {
        Some(token) => {
            bench
                .until_refused(&job.client_id, &notes, token, Duration::from_secs(12))
                .await?
        }
        None => None,
    };
    bench.step("And there are no new ones.");
    let afterwards = can_get_token(bench, &job).await?.is_some();
    Ok(match (before, planned, reads, refused, afterwards) {
        (false, false, true, Some(after), false) => Finding::new(
            Some(2),
            format!(
                "The job could read the notes from one application to the other; its token was refused {} ms \
                 after that",
                after.as_millis()
            ),
        ),
        (false, false, true, None, false) => Finding::new(
            Some(1),
            "The right is gone, and the notes still accept the job's token",
        ),
        (false, true, ..) => Finding::new(Some(0), "The plan alone gave the job a token"),
        (true, ..) => Finding::new(None, "The job got a token without any right"),
        (_, _, false, ..) => Finding::new(None, "The policy was applied, and the job cannot read"),
        (.., true) => Finding::new(None, "The right is gone, and the job still gets tokens"),
    })
}

async fn can_get_token(bench: &mut Workbench, job: &Credentials) -> Result<Option<Token>, Failure> {
    let asked = bench
        .ask_for_token(job, "note-service", "note.read")
        .await?;
    Ok(asked.ok())
}

/// A policy file with the notes as they are, the job, and its grant: what it does not name stays as
/// it is.
fn file(exported: &str, client: &str, name: &str, scopes: &[&str]) -> Result<String, Failure> {
    let failed = |why: String| {
        Failure::new(
            Kind::Failed,
            format!("the provider's policy is of no use here: {why}"),
        )
    };
    let all: Table = exported
        .parse()
        .map_err(|e: toml::de::Error| failed(e.message().to_owned()))?;
    let notes = all.get("resources").and_then(|all| all.get("note-service"));
    let Some(mut notes) = notes.cloned() else {
        return Err(
            failed("it has no resource note-service".to_owned()).hint("demo/policy.toml has it")
        );
    };
    // The owner would have to be in this file as well; what is left out of a resource is not kept.
    let owner = notes
        .get("owner")
        .and_then(toml::Value::as_str)
        .map(str::to_owned);
    let mut clients = Table::new();
    if let Some(owner) = owner {
        let known = all.get("clients").and_then(|all| all.get(&owner));
        let known = known.cloned().unwrap_or_else(|| Table::new().into());
        clients.insert(owner, known);
    } else if let Some(notes) = notes.as_table_mut() {
        notes.remove("owner");
    }
    let job = [("name", name), ("description", DESCRIPTION)];
    let job: Table = job
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect();
    clients.insert(client.to_owned(), job.into());
    let mut grant = Table::new();
    grant.insert("client".to_owned(), client.into());
    grant.insert("resource".to_owned(), "note-service".into());
    let scopes: Vec<toml::Value> = scopes.iter().map(|scope| (*scope).into()).collect();
    grant.insert("scopes".to_owned(), scopes.into());
    grant.insert("reason".to_owned(), "An experiment with the policy".into());
    let mut resources = Table::new();
    resources.insert("note-service".to_owned(), notes);
    let mut file = Table::new();
    file.insert("resources".to_owned(), resources.into());
    file.insert("clients".to_owned(), clients.into());
    file.insert("grants".to_owned(), vec![toml::Value::from(grant)].into());
    Ok(file.to_string())
}

/// A plan in lines, as `auth-provider policy plan` prints it.
fn changes(plan: &Value) -> Vec<String> {
    let changes = plan["changes"].as_array().into_iter().flatten();
    changes
        .map(|change| {
            let part = |name: &str| change[name].as_str().unwrap_or_default().to_owned();
            let sign = match part("op").as_str() {
                "add" => "+",
                "change" => "~",
                _ => "-",
            };
            let fields = change["fields"].as_array().into_iter().flatten();
            let fields: Vec<String> = fields
                .filter(|field| field["name"] == "scopes")
                .map(|field| {
                    let value = |name: &str| match field[name].as_str() {
                        None | Some("") => "(none)".to_owned(),
                        Some(value) => value.to_owned(),
                    };
                    format!(", scopes {} → {}", value("before"), value("after"))
                })
                .collect();
            format!(
                "{sign} {} {}{}",
                part("kind"),
                part("name"),
                fields.concat()
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_names_what_it_needs_and_no_more() {
        let exported = "[resources.note-service]\nowner = \"note-service\"\n\
                        [resources.note-service.scopes]\n\"note.read\" = \"List\"\n\
                        [resources.other]\n[clients.note-service]\nname = \"Notes\"\n\
                        [clients.other]\n[[grants]]\nclient = \"other\"\nresource = \"other\"\n";
        let file = file(exported, "lab-1", "Job", &["note.read"]).unwrap();
        let file: Table = file.parse().unwrap();
        let names = |part: &str| {
            file[part]
                .as_table()
                .unwrap()
                .keys()
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(names("resources"), ["note-service"]);
        assert_eq!(names("clients"), ["lab-1", "note-service"]);
        assert_eq!(file["grants"].as_array().unwrap().len(), 1);
        assert_eq!(
            file["clients"]["note-service"]["name"].as_str(),
            Some("Notes")
        );
    }

    #[test]
    fn a_plan_is_told_in_lines() {
        let plan = json!({"changes": [
            {"op": "add", "kind": "grant", "name": "a -> b", "fields": [
                {"name": "reason", "before": null, "after": "x"},
                {"name": "scopes", "before": null, "after": "note.read"}]},
            {"op": "change", "kind": "client", "name": "a", "fields": []},
        ]});
        let told = ["+ grant a -> b, scopes (none) → note.read", "~ client a"];
        assert_eq!(changes(&plan), told);
    }
}
