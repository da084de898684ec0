//! The parts of a token's life, each alone: `cargo bench --package bench`, or with the name of one after it. What a whole
//! request costs is measured by `scripts/bench`.

use std::sync::LazyLock;

use auth_provider::{
    client::{ClientId, ClientRecord, ClientStatus, Grant, Secret, SecretHash},
    keys::{SigningKey, TokenType},
    policy::{self, Wish},
    resource::{ResourceId, TokenFormat, TokenProfile},
};
use divan::{Bencher, black_box};
use futures_util::FutureExt;
use m2m::{
    Verifier,
    testing::TestIssuer,
    verify::{Algorithm, VerifiedToken},
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

const NOW: u64 = 1_800_000_000;
const AUDIENCE: &str = "calendar";

fn main() {
    divan::main();
}

/// Hashing what was presented and comparing it with what is stored.
#[divan::bench(sample_size = 1000)]
fn check_a_secret(bencher: Bencher) {
    let secret = Secret::generate();
    let stored = secret.hash();
    bencher.bench(|| SecretHash::of(black_box(secret.expose())).matches(&stored));
}

/// Finding the grant, of a client that has so many.
#[divan::bench(args = [1, 10, 100], sample_size = 1000)]
fn decide(bencher: Bencher, grants: usize) {
    let grant = |number: usize| Grant {
        resource: ResourceId::parse(&format!("resource-{number}")).expect("a name"),
        scopes: "read write".parse().expect("two scopes"),
        token_format: TokenFormat::Jwt,
        token_profile: TokenProfile::Standard,
        has_metadata_claims: false,
        token_lifetime: 3600,
        signing_alg: Algorithm::ES256,
        expires_at: None,
    };
    let client = ClientRecord {
        id: ClientId::parse("assistant").expect("a name"),
        status: ClientStatus::Active,
        credentials: Box::default(),
        grants: (1..=grants).map(grant).collect(),
        owns: Box::default(),
    };
    let wish = Wish {
        resource: Some(format!("resource-{grants}")),
        scopes: Some("read".parse().expect("a scope")),
    };
    bencher.bench(|| policy::decide(black_box(&client), black_box(&wish), NOW).is_ok());
}

/// Writing the claims and signing them.
#[divan::bench(args = ["ES256", "EdDSA", "RS256"])]
fn mint(bencher: Bencher, algorithm: &str) {
    let algorithm = Algorithm::ALL
        .into_iter()
        .find(|known| known.name() == algorithm);
    let (key, _) = SigningKey::generate(algorithm.expect("it is one of them"));
    let claims = claims();
    bencher.bench(|| key.sign(key.signing_input(TokenType::AccessToken, black_box(&claims))));
}

fn claims() -> Value {
    json!({
        "iss": "https://auth.example.com/auth", "sub": "assistant", "client_id": "assistant", "aud": AUDIENCE,
        "scope": "calendar.read calendar.write", "scp": ["calendar.read", "calendar.write"], "iat": NOW, "nbf": NOW,
        "exp": NOW + 3600, "jti": "q83vEjRWeJCrze8SNFZ4kA.q83vEjRWeJCrze8SNFZ4kA",
    })
}

/// An issuer, and one who has its keys.
struct Issued {
    runtime: Runtime,
    issuer: TestIssuer,
    verifier: Verifier,
}

static ISSUED: LazyLock<Issued> = LazyLock::new(|| {
    let runtime = Runtime::new().expect("a runtime");
    let (issuer, verifier) = runtime.block_on(async {
        let issuer = TestIssuer::start().await;
        let verifier = Verifier::builder(issuer.url()).audience(AUDIENCE).build();
        let verifier = verifier.expect("the configuration is good");
        verifier.ready().await;
        (issuer, verifier)
    });
    Issued {
        runtime,
        issuer,
        verifier,
    }
});

impl Issued {
    fn token(&self) -> String {
        self.issuer
            .token()
            .audience(AUDIENCE)
            .scope("calendar.read")
            .mint()
    }

    /// With the keys at hand, there is nothing to wait for.
    fn verify(&self, token: &str) -> std::sync::Arc<VerifiedToken> {
        let verified = self.verifier.verify(token).now_or_never();
        verified.expect("it does not wait").expect("it is good")
    }
}

/// A token that was verified before.
#[divan::bench(sample_size = 1000)]
fn verify_a_repeated_token(bencher: Bencher) {
    let _entered = ISSUED.runtime.enter();
    let token = ISSUED.token();
    bencher.bench(|| ISSUED.verify(black_box(&token)));
}

/// A token that was never seen, signed with ES256.
#[divan::bench]
fn verify_a_new_token(bencher: Bencher) {
    let _entered = ISSUED.runtime.enter();
    bencher
        .with_inputs(|| ISSUED.token())
        .bench_refs(|token| ISSUED.verify(token));
}
