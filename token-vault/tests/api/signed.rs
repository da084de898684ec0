//! Requests that an application signed itself, and the paths of before.

use std::fs;

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use m2m::testing::{Change, meddled};
use reqwest::Response;
use serde_json::{Value, json};
use token_vault::{
    connection::{Application, Service},
    provider::Dialect,
    signed::{Expected, Signers},
};

use crate::{
    support::NOW,
    world::{World, access, json},
};

enum Pair {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Pair {
    fn ec() -> Self {
        Self::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn toml(&self, kid: &str) -> String {
        match self {
            Self::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                format!(
                    "{{ kty = 'EC', crv = 'P-256', kid = '{kid}', x = '{}', y = '{}' }}",
                    encoded(x),
                    encoded(y)
                )
            }
            Self::Ed(pair) => {
                let x = encoded(pair.public_key().as_ref());
                format!("{{ kty = 'OKP', crv = 'Ed25519', kid = '{kid}', x = '{x}' }}")
            }
        }
    }

    fn sign(&self, header: &Value, claims: &str) -> String {
        let message = format!(
            "{}.{}",
            encoded(header.to_string().as_bytes()),
            encoded(claims.as_bytes())
        );
        let signature = match self {
            Self::Ec(pair) => pair
                .sign(&SystemRandom::new(), message.as_bytes())
                .unwrap()
                .as_ref()
                .to_vec(),
            Self::Ed(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
        };
        format!("{message}.{}", encoded(&signature))
    }
}

struct Signing {
    world: World,
    ec: Pair,
    ed: Pair,
}

impl Signing {
    /// `bot` may sign, `strict` must.
    async fn start() -> Self {
        let hand = m2m::ManualClock::at(NOW);
        let mut world = World::without_vault(Dialect::Generic, None, hand.clock()).await;
        world.hand = hand;
        let (ec, ed) = (Pair::ec(), Pair::Ed(Ed25519KeyPair::generate().unwrap()));
        let file = world.folder.path().join("providers.toml");
        let more = format!(
            "{}\n[applications.bot]\nkeys = [{}, {}]\n\
             [applications.strict]\nsigned_requests = 'required'\nkeys = [{}]\n",
            fs::read_to_string(&file).unwrap(),
            ec.toml("ec"),
            ed.toml("ed"),
            ec.toml("ec"),
        );
        fs::write(&file, more).unwrap();
        let replica = world.replica(&["--older-shape"]).await.unwrap();
        world.add(replica);
        Self { world, ec, ed }
    }

    async fn send(&self, client: &str, jws: String) -> Response {
        let token = self.world.token(client, "tokens.write");
        let request = self
            .world
            .http
            .post(self.world.url("/hub"))
            .bearer_auth(token);
        request
            .header("content-type", "application/jwt")
            .body(jws)
            .send()
            .await
            .unwrap()
    }
}

#[test]
fn fuzz_a_signed_request_that_was_meddled_with_is_not_taken() {
    let pair = Pair::ec();
    let keys = format!("[bot]\nkeys = [{}]", pair.toml("ec"));
    let signers = Signers::new(toml::from_str(&keys).unwrap()).unwrap();
    let expected = Expected {
        application: &Application::parse("bot").unwrap(),
        audiences: &["token-vault"],
        service: &Service::parse("hub").unwrap(),
        now: NOW,
    };
    let good = pair.sign(
        &json!({"alg": "ES256", "kid": "ec"}),
        &claims("1").to_string(),
    );
    assert!(signers.verify(good.as_bytes(), &expected).is_ok());
    bolero::check!()
        .with_generator(bolero::produce::<Vec<Change>>().with().len(1_usize..6))
        .for_each(|changes| {
            let text = meddled(good.as_bytes(), changes);
            let taken = signers.verify(&text, &expected).is_ok();
            assert_eq!(taken, text == good.as_bytes());
        });
}

/// Good claims with this id.
fn claims(id: &str) -> Value {
    json!({
        "iss": "bot", "aud": "token-vault", "iat": NOW, "exp": NOW + 60, "jti": id, "service": "hub",
        "user": "alice", "connection": "acme", "token": "at-signed", "expires_in": 3600,
    })
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the changes stand in a table"
)]
fn with(id: &str, change: Value) -> Value {
    let mut claims = claims(id);
    for (name, value) in change.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims
                .as_object_mut()
                .unwrap()
                .insert(name.clone(), value.clone()),
        };
    }
    claims
}

#[actix_web::test]
async fn a_request_may_be_signed_and_is_taken_once() {
    let signing = Signing::start().await;
    let world = &signing.world;
    for (kid, alg, pair) in [("ec", "ES256", &signing.ec), ("ed", "EdDSA", &signing.ed)] {
        let header = json!({"alg": alg, "kid": kid});
        let jws = pair.sign(&header, &claims(kid).to_string());
        let answer = signing.send("bot", jws.clone()).await;
        assert_eq!(
            answer.status(),
            200,
            "{kid}: {}",
            answer.text().await.unwrap()
        );
        let again = signing.send("bot", jws.clone()).await;
        assert_eq!(again.status(), 400, "{kid}");
        assert!(
            json(again).await["detail"]
                .as_str()
                .unwrap()
                .contains("taken before"),
            "{kid}"
        );
        // ECDSA can sign the same claims in another way: it is the same request.
        let other = pair.sign(&header, &claims(kid).to_string());
        assert_eq!(signing.send("bot", other).await.status(), 400, "{kid}");
    }
    assert_eq!(
        access(world.get("bot", "/hub?user=alice&connection=acme").await).await,
        "at-signed"
    );

    let own_url = with("u", json!({"aud": "https://vault.example"})).to_string();
    let jws = signing
        .ec
        .sign(&json!({"alg": "ES256", "kid": "ec"}), &own_url);
    assert_eq!(signing.send("bot", jws).await.status(), 200);
}

#[actix_web::test]
async fn what_is_not_quite_a_signed_request_is_refused() {
    let signing = Signing::start().await;
    let header = json!({"alg": "ES256", "kid": "ec"});
    let stranger = Pair::ec();
    let good = |id: &str| claims(id).to_string();
    let (none, plain) = (json!({"alg": "none", "kid": "ec"}), good("n"));
    let unsigned = format!(
        "{}.{}.",
        encoded(none.to_string().as_bytes()),
        encoded(plain.as_bytes())
    );
    let twice = good("t").replacen('{', r#"{"user": "mallory", "#, 1);
    let of_claims = |change| signing.ec.sign(&header, &with("c", change).to_string());
    let of_header = |header: Value| signing.ec.sign(&header, &good("h"));
    for (what, jws) in [
        ("another's key", stranger.sign(&header, &good("a"))),
        ("no signature", unsigned),
        (
            "another key's name",
            of_header(json!({"alg": "ES256", "kid": "ed"})),
        ),
        (
            "another algorithm",
            of_header(json!({"alg": "EdDSA", "kid": "ec"})),
        ),
        ("no kid", of_header(json!({"alg": "ES256"}))),
        (
            "a critical extension",
            of_header(json!({"alg": "ES256", "kid": "ec", "crit": ["x"]})),
        ),
        ("a name twice", signing.ec.sign(&header, &twice)),
        ("for another vault", of_claims(json!({"aud": "other"}))),
        ("for several", of_claims(json!({"aud": ["token-vault"]}))),
        ("by another", of_claims(json!({"iss": "other"}))),
        ("by nobody", of_claims(json!({"iss": null}))),
        (
            "for another service",
            of_claims(json!({"service": "slack"})),
        ),
        ("for no service", of_claims(json!({"service": null}))),
        ("without an id", of_claims(json!({"jti": null}))),
        ("with an empty id", of_claims(json!({"jti": ""}))),
        ("without an end", of_claims(json!({"exp": null}))),
        ("ended", of_claims(json!({"exp": NOW - 10}))),
        ("living too long", of_claims(json!({"exp": NOW + 311}))),
        ("from the future", of_claims(json!({"iat": NOW + 11}))),
        ("not yet", of_claims(json!({"nbf": NOW + 11}))),
        (
            "an end that is a text",
            of_claims(json!({"exp": "9999999999"})),
        ),
        ("without a user", of_claims(json!({"user": null}))),
        (
            "with an unknown claim",
            of_claims(json!({"application": "other"})),
        ),
        ("two parts", "a.b".to_owned()),
        ("padded", format!("{}=", of_claims(json!({})))),
        ("nothing", String::new()),
    ] {
        let answer = signing.send("bot", jws).await;
        assert_eq!(answer.status(), 400, "{what}");
        assert!(
            !answer.text().await.unwrap().contains("at-signed"),
            "{what}"
        );
    }
    // A good one of `bot`, sent by somebody else.
    let jws = signing.ec.sign(&header, &good("s"));
    assert_eq!(signing.send("strict", jws.clone()).await.status(), 400);
    assert_eq!(signing.send("other", jws.clone()).await.status(), 400);
    assert_eq!(
        signing.send("bot", jws).await.status(),
        200,
        "whose id nobody else used up"
    );
}

#[actix_web::test]
async fn who_must_sign_is_not_taken_without() {
    let signing = Signing::start().await;
    let body = json!({"user": "alice", "access_token": "at"});
    assert_eq!(
        signing.world.post("strict", "/hub", &body).await.status(),
        403
    );
    let header = json!({"alg": "ES256", "kid": "ec"});
    let jws = signing
        .ec
        .sign(&header, &with("x", json!({"iss": "strict"})).to_string());
    assert_eq!(signing.send("strict", jws).await.status(), 200);
}

#[actix_web::test]
async fn the_paths_of_before_have_their_data_in_the_claims() {
    let signing = Signing::start().await;
    let world = &signing.world;
    let token = |claims: &[(&str, Value)]| {
        let token = world
            .issuer
            .token()
            .subject("bot")
            .audience("token-vault")
            .scope("tokens.read tokens.write");
        let token = token.claim("sub", "alice");
        claims
            .iter()
            .fold(token, |token, (name, value)| {
                token.claim(name, value.clone())
            })
            .mint()
    };
    let post = async |claims: &[(&str, Value)]| {
        let request = world
            .http
            .post(world.url("/service/hub"))
            .bearer_auth(token(claims));
        request.send().await.unwrap()
    };
    let get = async |path: &str, claims: &[(&str, Value)]| {
        let request = world.http.get(world.url(path)).bearer_auth(token(claims));
        request.send().await.unwrap()
    };
    let (id, secret) = (
        ("serviceID", json!("acme")),
        ("serviceToken", json!("at-old")),
    );
    assert_eq!(
        post(&[id.clone(), secret.clone(), ("applicationID", json!("bot"))])
            .await
            .status(),
        200
    );
    let one = get("/service/hub/one", std::slice::from_ref(&id)).await;
    assert_eq!(one.headers()["cache-control"], "no-store");
    assert_eq!(
        json(one).await,
        json!({"serviceID": "acme", "serviceToken": "at-old"})
    );
    assert_eq!(
        json(get("/service/hub/all", &[]).await).await,
        json!([{"serviceID": "acme", "serviceToken": "at-old"}])
    );
    assert_eq!(
        access(world.get("bot", "/hub?user=alice&connection=acme").await).await,
        "at-old"
    );

    let other = ("applicationID", json!("victim"));
    assert_eq!(get("/service/hub/one", &[]).await.status(), 404);
    assert_eq!(
        get("/service/hub/all", std::slice::from_ref(&other))
            .await
            .status(),
        403
    );
    assert_eq!(
        post(&[id.clone(), secret.clone(), other]).await.status(),
        403
    );
    assert_eq!(
        post(&[id, ("applicationID", json!(7)), secret.clone()])
            .await
            .status(),
        403
    );
    assert_eq!(post(&[("serviceID", json!(7)), secret]).await.status(), 400);
    assert_eq!(post(&[]).await.status(), 400);
    assert_eq!(get("/service/nowhere/all", &[]).await.status(), 404);
    let anonymous = world
        .http
        .get(world.url("/service/hub/all"))
        .send()
        .await
        .unwrap();
    assert_eq!(anonymous.status(), 401);

    let without = World::start().await;
    assert_eq!(
        without.get("bot", "/service/hub/one").await.status(),
        404,
        "only behind the switch"
    );
}
