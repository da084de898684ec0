//! `auth-provider client bootstrap`: a token that a service starts with, good for asking for access tokens at
//! `POST /accesstoken` and for nothing else.

use serde_json::{Map, Value};

use super::{
    Session,
    clients::ClientName,
    credentials::{self, Credential},
    failure::{Exit, Failure},
    secret::SecretArgs,
    when::{self, When},
};
use crate::keys::Period;

pub(super) const EXAMPLES: &str = "\
Examples:
  auth-provider client bootstrap m1 --secret-file m1.bootstrap
  auth-provider client bootstrap m1 --days 90 --label 'in Frankfurt' --print-secret
  auth-provider client bootstrap m1 --until 2027-01-01 --import-sha256 $(printf %s \"$OLD\" | sha256sum | cut -d' ' -f1)";

const DAY: u64 = 86_400;

#[derive(clap::Args)]
pub struct Bootstrap {
    #[command(flatten)]
    client: ClientName,
    /// How many days it is good for, at most 365 [default: 30]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=365))]
    days: Option<u16>,
    /// When it ends instead, as in 2027-01-01
    #[arg(long, value_name = "TIME", value_parser = when::future, conflicts_with = "days")]
    until: Option<When>,
    /// What people call it: where it is used, for instance
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// Make none, but accept one that there is already: the SHA-256 of its text, in hexadecimal. When it ends must be
    /// said
    #[arg(long, value_name = "HEX", conflicts_with_all = ["secret_file", "print_secret"])]
    import_sha256: Option<String>,
    #[command(flatten)]
    secret: SecretArgs,
}

impl Bootstrap {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        if self.import_sha256.is_some() && self.days.is_none() && self.until.is_none() {
            let help = "say when the imported token is to end, with --days or --until";
            return Err(Failure::Usage(help.to_owned()));
        }
        let place = match self.import_sha256 {
            Some(_) => None,
            None => Some(self.secret.place()?),
        };
        let path = ["clients", &self.client.client_id, "credentials"];
        let made = session.api.create(&path, &self.body(session)).await?.value;
        match place {
            None => credentials::shown(session, &made, "Accepts from now on, as credential"),
            Some(place) => place.hand_over(session, made, |new: Credential| {
                new.told(session, "Created bootstrap token")
            }),
        }
    }

    fn body(&self, session: &Session) -> Value {
        let days = u64::from(self.days.unwrap_or(30));
        let until = self.until.unwrap_or(When::Away(Period::from(days * DAY)));
        let mut body = Map::new();
        body.insert("kind".into(), "bootstrap".into());
        body.insert("expires_at".into(), until.after(session.out.now()).into());
        if let Some(hash) = &self.import_sha256 {
            body.insert("secret_sha256".into(), hash.as_str().into());
        }
        if let Some(label) = &self.label {
            body.insert("label".into(), label.as_str().into());
        }
        body.into()
    }
}
