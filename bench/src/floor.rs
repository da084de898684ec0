//! The floor: the same actix-web settings as every server here, and per route only the work that no
//! server can avoid. What the product needs beyond it is the price of its features.
//!
//! - `POST /form` reads a form and answers JSON: what actix-web itself costs.
//! - `POST /token` also checks one secret and signs one ES256 token: what issuing a token costs.
//! - `GET /event` answers a list of one event to anybody: what a protected route costs without
//!   protection.

use std::{io, net::TcpListener};

use actix_web::{
    HttpRequest, HttpResponse,
    dev::Server,
    http::header,
    web::{self, Data, Form, Json},
};
use aws_lc_rs::{
    constant_time, digest, rand,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use m2m::{
    Clock,
    service::{HttpMetrics, Readiness, health_routes},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The one client that the floor knows, with a secret of the length that auth-provider makes. It
/// opens nothing but this server.
pub const CLIENT_ID: &str = "assistant";
pub const CLIENT_SECRET: &str = "m2m_the-floor-knows-one-secret-and-this-is-it-abcdefg";

const ISSUER: &str = "http://localhost:3001/auth";
const LIFETIME: u64 = 3600;

/// Starts the floor server with one worker.
pub fn serve(listeners: Vec<TcpListener>) -> io::Result<Server> {
    let signer = Data::new(Signer::generate());
    let events = Data::new(vec![Event::sample()]);
    m2m::service::serve(listeners, Some(1), &HttpMetrics::default(), move |cfg| {
        cfg.app_data(signer.clone())
            .app_data(events.clone())
            .configure(health_routes(Readiness::default()))
            .route("/form", web::post().to(read_form))
            .route("/token", web::post().to(issue_token))
            .route("/event", web::get().to(list_events));
    })
}

#[derive(Deserialize, Serialize)]
struct TokenRequest {
    grant_type: String,
    resource: String,
    scope: String,
}

#[derive(Serialize)]
struct TokenAnswer<'a> {
    access_token: String,
    token_type: &'static str,
    expires_in: u64,
    scope: &'a str,
}

async fn read_form(form: Form<TokenRequest>) -> Json<TokenRequest> {
    Json(form.into_inner())
}

async fn issue_token(
    signer: Data<Signer>,
    request: HttpRequest,
    form: Form<TokenRequest>,
) -> HttpResponse {
    if !signer.knows(&request) {
        return HttpResponse::Unauthorized().finish();
    }
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(TokenAnswer {
            access_token: signer.token(&form),
            token_type: "Bearer",
            expires_in: LIFETIME,
            scope: &form.scope,
        })
}

/// The key, parsed once, and the hash of the one secret.
struct Signer {
    key: EcdsaKeyPair,
    random: SystemRandom,
    header: String,
    secret: digest::Digest,
}

/// The claims of RFC 9068 as auth-provider writes them, so that both sign as many bytes.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    client_id: &'a str,
    aud: &'a str,
    scope: &'a str,
    scp: Vec<&'a str>,
    iat: u64,
    nbf: u64,
    exp: u64,
    jti: String,
}

impl Signer {
    fn generate() -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .expect("the random generator of the system works");
        // As long as the RFC 7638 thumbprint that a real key id is.
        let kid = digest::digest(&digest::SHA256, key.public_key().as_ref());
        let header = json!({"alg": "ES256", "kid": URL_SAFE_NO_PAD.encode(kid), "typ": "at+jwt"});
        Self {
            key,
            random: SystemRandom::new(),
            header: URL_SAFE_NO_PAD.encode(header.to_string()),
            secret: digest::digest(&digest::SHA256, CLIENT_SECRET.as_bytes()),
        }
    }

    /// Whether the request has the right secret in HTTP Basic.
    fn knows(&self, request: &HttpRequest) -> bool {
        let secret_matches = || {
            let header = request
                .headers()
                .get(header::AUTHORIZATION)?
                .to_str()
                .ok()?;
            let credentials = STANDARD.decode(header.strip_prefix("Basic ")?).ok()?;
            let colon = credentials.iter().position(|byte| *byte == b':')?;
            let presented = digest::digest(&digest::SHA256, &credentials[colon + 1..]);
            constant_time::verify_slices_are_equal(presented.as_ref(), self.secret.as_ref()).ok()
        };
        secret_matches().is_some()
    }

    fn token(&self, wish: &TokenRequest) -> String {
        let now = Clock::System.now();
        let mut id = [0; 16];
        rand::fill(&mut id).expect("the random generator of the system works");
        let claims = Claims {
            iss: ISSUER,
            sub: CLIENT_ID,
            client_id: CLIENT_ID,
            aud: &wish.resource,
            scope: &wish.scope,
            scp: wish.scope.split(' ').collect(),
            iat: now,
            nbf: now,
            exp: now + LIFETIME,
            jti: URL_SAFE_NO_PAD.encode(id),
        };
        let claims = serde_json::to_vec(&claims).expect("claims are plain text and numbers");
        let mut token = self.header.clone();
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self
            .key
            .sign(&self.random, token.as_bytes())
            .expect("a P-256 key signs anything");
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        token
    }
}

/// An event as calendar-service answers it.
#[derive(Serialize)]
struct Event {
    id: u64,
    title: &'static str,
    description: &'static str,
    start: u64,
    end: u64,
}

impl Event {
    fn sample() -> Self {
        let now = Clock::System.now_ms();
        Self {
            id: 1,
            title: "Meeting with A",
            description: "Discuss the project",
            start: now,
            end: now + 3_600_000,
        }
    }
}

async fn list_events(events: Data<Vec<Event>>) -> HttpResponse {
    HttpResponse::Ok().json(events.get_ref())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
    use m2m::service::Listen;
    use serde_json::Value;

    use super::*;

    fn start() -> String {
        let listeners = Listen::At("127.0.0.1:0".parse().unwrap()).bind().unwrap();
        let address = listeners[0].local_addr().unwrap();
        actix_web::rt::spawn(serve(listeners).unwrap());
        format!("http://{address}")
    }

    const FORM: [(&str, &str); 3] = [
        ("grant_type", "client_credentials"),
        ("resource", "calendar-service"),
        ("scope", "calendar.read"),
    ];

    #[actix_web::test]
    async fn only_the_right_secret_gets_a_token() {
        let url = start() + "/token";
        let http = m2m::http_client(Duration::from_secs(5));
        for (secret, status) in [
            (Some(CLIENT_SECRET), 200),
            (Some("m2m_wrong"), 401),
            (Some(""), 401),
            (None, 401),
        ] {
            let mut request = http.post(&url).form(&FORM);
            if let Some(secret) = secret {
                request = request.basic_auth(CLIENT_ID, Some(secret));
            }
            assert_eq!(request.send().await.unwrap().status(), status, "{secret:?}");
        }
    }

    #[actix_web::test]
    async fn forms_and_lists_are_answered_as_json() {
        let url = start();
        let http = m2m::http_client(Duration::from_secs(5));
        let form = http.post(format!("{url}/form")).form(&FORM).send();
        let form: Value = form.await.unwrap().json().await.unwrap();
        assert_eq!(form["resource"], "calendar-service");
        let events = http.get(format!("{url}/event")).send();
        let events: Vec<Value> = events.await.unwrap().json().await.unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!(events[0]["title"], "Meeting with A");
    }

    #[test]
    fn a_token_has_the_claims_of_the_product_and_a_signature_that_holds() {
        let signer = Signer::generate();
        let token = signer.token(&TokenRequest {
            grant_type: "client_credentials".into(),
            resource: "calendar-service".into(),
            scope: "calendar.read calendar.write".into(),
        });
        let (content, signature) = token.rsplit_once('.').unwrap();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, signer.key.public_key())
            .verify(
                content.as_bytes(),
                &URL_SAFE_NO_PAD.decode(signature).unwrap(),
            )
            .unwrap();

        let claims = URL_SAFE_NO_PAD
            .decode(content.split_once('.').unwrap().1)
            .unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims["aud"], "calendar-service");
        assert_eq!(claims["scp"], json!(["calendar.read", "calendar.write"]));
        assert_eq!(claims["exp"], claims["iat"].as_u64().unwrap() + LIFETIME);
        assert_eq!(claims.as_object().unwrap().len(), 10);
    }
}
