//! The issuer: its identifier, checked, and what its metadata says about it (RFC 8414).

use reqwest::Client;
use serde::Deserialize;
use url::Url;

use crate::{
    is_loopback_host,
    net::{self, NetError},
};

/// What is wrong with the configuration of a verifier or a token source, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A URL that may not be used.
    #[error("`{url}` cannot be the {role}: {rule}")]
    Url {
        /// What the URL was meant to be.
        role: &'static str,
        /// The URL as configured, without what may be a password.
        url: String,
        /// How it has to be.
        rule: &'static str,
    },
    /// The verifier has no audience, or one that cannot stand in a header. Without one it would
    /// accept tokens that are meant for others.
    #[error(
        "a verifier needs the name of its own service as the audience, in printable ASCII \
         without quotes: `.audience(\"calendar-service\")`"
    )]
    Audience,
    /// More than a minute of leeway.
    #[error(
        "a leeway of {0} s keeps expired tokens alive: allow at most 60 s and set the clocks right"
    )]
    Leeway(u64),
    /// No token could ever be accepted.
    #[error("no algorithm is allowed: leave `.algorithms()` out, or name at least one")]
    NoAlgorithm,
    /// The issuer is to be asked about revocations, and asks back who this is.
    #[error(
        "{0} needs this service's own credentials at the issuer: \
         `.client(\"calendar-service\", secret)`"
    )]
    NoClient(&'static str),
    /// The verifier knows only where to ask about tokens, and was told not to ask.
    #[error(
        "a verifier that knows only where to ask about tokens must ask about each: use \
         `Revocation::Introspection`, or begin with the issuer's URL, `Verifier::builder(\"https://…\")`"
    )]
    NoIssuer,
    /// A bound that is too short to be kept, or longer than is safe.
    #[error("{0}")]
    Bound(&'static str),
    /// A client id or secret that cannot be one.
    #[error(
        "the {0} must be printable ASCII and not empty: copy it again from where it was issued"
    )]
    Credential(&'static str),
}

/// An issuer identifier: an absolute URL without query and fragment (RFC 8414 section 2).
///
/// Compared as text, character by character: `http://host/auth` and `http://host/auth/` are two
/// issuers.
#[derive(Clone, Debug)]
pub(crate) struct Issuer {
    text: String,
    url: Url,
}

/// What this library uses of an issuer's metadata (RFC 8414 section 2). Unknown members are
/// ignored.
struct Metadata {
    key_set: Option<Url>,
    token_endpoint: Option<Url>,
    /// Checked by those who need them: a mistake in one must not keep the others from their keys.
    introspection: Option<String>,
    revocations: Option<String>,
}

impl Issuer {
    pub(crate) fn new(text: String) -> Result<Self, ConfigError> {
        let url = endpoint("issuer", &text)?;
        if url.query().is_some() {
            return Err(refused("issuer", &text, "leave out the query"));
        }
        if url.path().contains("/.well-known/") {
            let rule = "this is where its metadata is; write only what stands before /.well-known";
            return Err(refused("issuer", &text, rule));
        }
        Ok(Self { text, url })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// Where the issuer's metadata says its key set is.
    pub(crate) async fn key_set_url(&self, http: &Client) -> Result<Url, NetError> {
        let (from, metadata) = self.metadata(http).await?;
        metadata
            .key_set
            .ok_or_else(|| NetError::unexpected(&from, "the metadata has no jwks_uri"))
    }

    /// Where the issuer's metadata says its token endpoint is.
    pub(crate) async fn token_endpoint(&self, http: &Client) -> Result<Url, NetError> {
        let (from, metadata) = self.metadata(http).await?;
        metadata
            .token_endpoint
            .ok_or_else(|| NetError::unexpected(&from, "the metadata has no token_endpoint"))
    }

    /// Where tokens are introspected (RFC 8414 section 2), if the issuer's metadata says it.
    pub(crate) async fn introspection_endpoint(
        &self,
        http: &Client,
    ) -> Result<Option<Url>, NetError> {
        let (from, metadata) = self.metadata(http).await?;
        self.optional_endpoint("introspection endpoint", &from, metadata.introspection)
    }

    /// Where the issuer's revocation feed is, if it offers one.
    pub(crate) async fn revocations_endpoint(
        &self,
        http: &Client,
    ) -> Result<Option<Url>, NetError> {
        let (from, metadata) = self.metadata(http).await?;
        self.optional_endpoint("revocation feed", &from, metadata.revocations)
    }

    fn optional_endpoint(
        &self,
        role: &'static str,
        from: &Url,
        text: Option<String>,
    ) -> Result<Option<Url>, NetError> {
        text.map(|text| self.endpoint_of(role, &text))
            .transpose()
            .map_err(|error| NetError::unexpected(from, error.to_string()))
    }

    /// Fetches the issuer's metadata: first from where RFC 8414 section 3.1 puts it, then from
    /// where OpenID Connect Discovery does.
    async fn metadata(&self, http: &Client) -> Result<(Url, Metadata), NetError> {
        let [first, second] = self.metadata_urls();
        match net::get(http, &first).await {
            Ok(answer) => Ok((first.clone(), self.read_metadata(&first, &answer.body)?)),
            Err(error @ NetError::Unreachable { .. }) => Err(error),
            Err(error) => match net::get(http, &second).await {
                Ok(answer) => Ok((second.clone(), self.read_metadata(&second, &answer.body)?)),
                Err(_) => Err(error),
            },
        }
    }

    fn metadata_urls(&self) -> [Url; 2] {
        let path = self.url.path().trim_end_matches('/');
        let at = |path: String| {
            let mut url = self.url.clone();
            url.set_path(&path);
            url
        };
        [
            at(format!("/.well-known/oauth-authorization-server{path}")),
            at(format!("{path}/.well-known/openid-configuration")),
        ]
    }

    fn read_metadata(&self, from: &Url, body: &[u8]) -> Result<Metadata, NetError> {
        #[derive(Deserialize)]
        struct Document {
            issuer: String,
            jwks_uri: Option<String>,
            token_endpoint: Option<String>,
            introspection_endpoint: Option<String>,
            #[serde(rename = "urn:m2m:oauth:revocations_endpoint")]
            revocations_endpoint: Option<String>,
        }
        let document: Document = serde_json::from_slice(body)
            .map_err(|error| NetError::unexpected(from, format!("no metadata: {error}")))?;
        // RFC 8414 section 3.3: else whoever answers here could speak for another issuer.
        if document.issuer != self.text {
            let theirs = document.issuer.escape_debug().to_string();
            let reason = format!(
                "it is the metadata of the issuer `{theirs:.200}`, and `{}` is configured: they must \
                 be the same text",
                self.text
            );
            return Err(NetError::unexpected(from, reason));
        }
        let check = |role, url| self.optional_endpoint(role, from, url);
        Ok(Metadata {
            key_set: check("key set", document.jwks_uri)?,
            token_endpoint: check("token endpoint", document.token_endpoint)?,
            introspection: document.introspection_endpoint,
            revocations: document.revocations_endpoint,
        })
    }

    /// An issuer that is reached over TLS must not send us to plain HTTP, not even on this machine.
    fn endpoint_of(&self, role: &'static str, text: &str) -> Result<Url, ConfigError> {
        let url = endpoint(role, text)?;
        if url.scheme() != "https" && self.url.scheme() == "https" {
            return Err(refused(role, text, "the issuer has https, so must it"));
        }
        Ok(url)
    }
}

/// A URL that may be asked for keys and tokens: https, or http to this machine. A query is kept
/// (RFC 6749 section 3.2); the text must be a URL as it stands, with nothing for a parser to clean
/// up.
pub(crate) fn endpoint(role: &'static str, text: &str) -> Result<Url, ConfigError> {
    let refuse = |rule| Err(refused(role, text, rule));
    if !text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    {
        return refuse("write it in printable ASCII without blanks and backslashes");
    }
    let Ok(url) = Url::parse(text) else {
        return refuse("write an absolute URL, such as https://auth.example.com");
    };
    match url.scheme() {
        "https" => {}
        "http" if is_loopback_host(&url) => {}
        "http" => return refuse("use https; plain http is only for an issuer on this machine"),
        _ => return refuse("use https, or http for an issuer on this machine"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("leave out the user name and password");
    }
    if url.fragment().is_some() {
        return refuse("leave out the fragment");
    }
    Ok(url)
}

fn refused(role: &'static str, text: &str, mend: &'static str) -> ConfigError {
    // What stands before an `@` may be a password, and this error is going to be logged.
    let url = text.rsplit_once('@').map_or(text, |(_, host)| host);
    ConfigError::Url {
        role,
        url: url.escape_debug().to_string(),
        rule: mend,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_an_absolute_url_that_is_safe_to_ask() {
        for good in [
            "https://auth.example.com",
            "https://auth.example.com/",
            "https://auth.example.com:8443/t1",
            "http://localhost:3001/auth",
            "http://auth.localhost",
            "http://127.0.0.1:3001",
            "http://[::1]:3001/auth",
        ] {
            assert_eq!(Issuer::new(good.to_owned()).unwrap().as_str(), good);
        }
        for (bad, rule) in [
            ("", "absolute"),
            ("localhost:3001/auth", "use https"),
            ("/auth", "absolute"),
            ("auth.example.com", "absolute"),
            (
                "http://auth.example.com",
                "only for an issuer on this machine",
            ),
            (
                "http://127.0.0.1.example.com",
                "only for an issuer on this machine",
            ),
            (
                "http://localhost.example.com",
                "only for an issuer on this machine",
            ),
            ("ftp://auth.example.com", "use https"),
            ("file:///etc/passwd", "use https"),
            ("https://", "absolute"),
            ("https://auth.example.com/?a=b", "query"),
            ("https://auth.example.com/?", "query"),
            ("https://auth.example.com/#a", "fragment"),
            ("https://auth.example.com/#", "fragment"),
            ("https://user:hunter2@auth.example.com", "password"),
            ("https://user@auth.example.com", "user name"),
            (" https://auth.example.com", "blanks"),
            ("https://auth.example.com\n", "blanks"),
            ("https://auth.example.com\\t1", "backslashes"),
            ("https://auth.exämple.com", "ASCII"),
        ] {
            let error = Issuer::new(bad.to_owned()).unwrap_err().to_string();
            assert!(error.contains(rule), "{bad:?}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn the_metadata_of_an_issuer_with_a_path_is_looked_for_in_both_places() {
        for (issuer, first, second) in [
            (
                "https://a.example",
                "https://a.example/.well-known/oauth-authorization-server",
                "https://a.example/.well-known/openid-configuration",
            ),
            (
                "https://a.example/t1/",
                "https://a.example/.well-known/oauth-authorization-server/t1",
                "https://a.example/t1/.well-known/openid-configuration",
            ),
        ] {
            let issuer = Issuer::new(issuer.to_owned()).unwrap();
            assert_eq!(issuer.metadata_urls().map(String::from), [first, second]);
        }
    }

    #[test]
    fn metadata_is_believed_only_about_its_own_issuer() {
        let issuer = Issuer::new("https://a.example/t1".to_owned()).unwrap();
        let from = Url::parse("https://a.example/.well-known/x").unwrap();
        let read = |body: &str| issuer.read_metadata(&from, body.as_bytes());

        let good = read(
            r#"{"issuer":"https://a.example/t1","jwks_uri":"https://keys.example/k?v=1","x":[1]}"#,
        )
        .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(good.key_set.unwrap().as_str(), "https://keys.example/k?v=1");
        assert!(good.token_endpoint.is_none());

        for bad in [
            "",
            "[]",
            "{}",
            r#"{"issuer":"https://a.example/t1/"}"#,
            r#"{"issuer":"https://A.example/t1"}"#,
            r#"{"issuer":["https://a.example/t1"]}"#,
            r#"{"issuer":"https://a.example/t1","issuer":"https://a.example/t1"}"#,
            r#"{"issuer":"https://a.example/t1","jwks_uri":"http://a.example/k"}"#,
            r#"{"issuer":"https://a.example/t1","jwks_uri":"http://localhost/k"}"#,
            r#"{"issuer":"https://a.example/t1","jwks_uri":"file:///etc/passwd"}"#,
            r#"{"issuer":"https://a.example/t1","token_endpoint":"/token"}"#,
            r#"{"issuer":"https://a.example/t1","token_endpoint":"https://u:p@a.example/"}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
