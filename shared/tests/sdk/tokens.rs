//! Which tokens are accepted, and why the others are not.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::FutureExt;
use jsonwebtoken::{EncodingKey, Header, jwk::Jwk};
use m2m::{
    ManualClock, ScopeSet, Verifier,
    testing::{TestIssuer, TestToken},
    verify::Algorithm,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{NOW, is_refused, issuer_and_verifier};

/// One row: what is special about the token, the token, and why it is refused.
type Row = (&'static str, String, &'static str);

const LONG: &str = "the token is longer than 16 KiB";
const PARTS: &str = "the token does not have three parts";
const HEADER: &str = "the header of the token cannot be read";
const TYP: &str = "this is not an access token: its typ is not at+jwt";
const CRIT: &str = "the token demands an extension that is not supported";
const ALG: &str = "the algorithm of the token is not accepted";
const KEY_ALG: &str = "the algorithm of the token is not that of its key";
const KID: &str = "the token does not name its key";
const UNKNOWN_KEY: &str = "the token is signed with a key that is not the issuer's";
const SIGNATURE: &str = "the signature of the token is wrong";
const CLAIMS: &str = "the claims of the token cannot be read";
const ISS: &str = "the token is from another issuer";
const AUD: &str = "the token is for another audience";
const EXPIRED: &str = "the token has expired";
const EARLY: &str = "the token is not valid yet";
const FUTURE: &str = "the token was issued in the future";
const DATE: &str = "a date of the token is not a number of seconds";
const TEXT: &str = "a claim of the token that must be a text is not";
const SCOPE: &str = "the scope of the token cannot be read";
const SCOPES_DIFFER: &str = "the token's scope and scp contradict each other";
const BOUND: &str = "the token is bound to a key, so it cannot be sent as a bearer token";

fn token(issuer: &TestIssuer) -> TestToken<'_> {
    issuer.token().audience("notes").scope("note.read")
}

/// Rows about the token's shape and its header (RFC 7515, RFC 8725, RFC 9068 section 4).
#[rustfmt::skip]
fn shapes_and_headers(issuer: &TestIssuer) -> Vec<Row> {
    let token = || token(issuer);
    let good = token().mint();
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = signed.split_once('.').unwrap();
    let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    let kid = issuer.key_id();
    let other = token().subject("x").mint();
    let other_payload = other.split('.').nth(1).unwrap();
    let json = json!({"protected": header, "payload": payload, "signature": signature});
    let with_header = |text: String| issuer.sign(&text, &claims);
    // A good header, with more in it.
    let with_more = |more: &str| {
        with_header(format!(r#"{{"alg":"ES256","typ":"at+jwt","kid":"{kid}"{more}"#))
    };
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let stranger = || token().unknown_key();
    let impostor = || stranger().header("kid", kid.as_str());
    let jwk = issuer.key_set()["keys"][0].clone();
    vec![
        ("nothing", String::new(), PARTS),
        ("two dots", "..".to_owned(), HEADER),
        ("60,000 dots", ".".repeat(60_000), LONG),
        ("16 KiB of dots", ".".repeat(16_384), PARTS),
        ("two parts", signed.to_owned(), PARTS),
        ("four parts", format!("{good}.{signature}"), PARTS),
        ("five parts, as encrypted tokens have", format!("{good}.a.b"), PARTS),
        ("longer than 16 KiB", token().claim("more", "x".repeat(16_000)).mint(), LONG),
        ("a blank in front", format!(" {good}"), HEADER),
        ("a newline behind", format!("{good}\n"), SIGNATURE),
        ("padding behind", format!("{good}="), SIGNATURE),
        ("padding in the payload", format!("{header}.{payload}==.{signature}"), SIGNATURE),
        ("plain base64", format!("{header}.{payload}.+/{}", &signature[2..]), SIGNATURE),
        ("stray bits at the end", with_stray_bit(&good), SIGNATURE),
        ("no signature", format!("{signed}."), SIGNATURE),
        ("half a signature", format!("{signed}.{}", &signature[..43]), SIGNATURE),
        ("a signature of zeros", format!("{signed}.{}", "A".repeat(86)), SIGNATURE),
        ("an ASN.1 signature", format!("{signed}.{}", as_asn1(signature)), SIGNATURE),
        ("another token's payload", format!("{header}.{other_payload}.{signature}"), SIGNATURE),
        ("JSON serialization", json.to_string(), PARTS),

        ("an empty header", with_header(String::new()), HEADER),
        ("a header that is an array", with_header("[]".to_owned()), HEADER),
        ("a header that is no JSON", with_header("{alg:ES256}".to_owned()), HEADER),
        ("a header and more", with_more("}{}"), HEADER),
        ("alg twice", with_more(r#","alg":"none"}"#), HEADER),
        ("an unknown member twice", with_more(r#","a":1,"a":1}"#), HEADER),
        ("a deep header", with_more(&format!(r#","a":{deep}}}"#)), HEADER),

        ("no typ", token().header("typ", Value::Null).mint(), TYP),
        ("typ JWT", token().header("typ", "JWT").mint(), TYP),
        ("typ of a DPoP proof", token().header("typ", "dpop+jwt").mint(), TYP),
        ("typ of a logout token", token().header("typ", "logout+jwt").mint(), TYP),
        ("typ that ends right", token().header("typ", "x/at+jwt").mint(), TYP),
        ("typ that is an array", token().header("typ", json!(["at+jwt"])).mint(), TYP),

        ("crit of something unknown", token().header("crit", json!(["zzz"])).mint(), CRIT),
        ("crit that is empty", token().header("crit", json!([])).mint(), CRIT),
        ("crit of b64", token().header("crit", json!(["b64"])).mint(), CRIT),

        ("alg none", token().alg_none().mint(), ALG),
        ("alg None", token().alg_none().header("alg", "None").mint(), ALG),
        ("alg none, but signed", token().header("alg", "none").mint(), ALG),
        ("no alg", token().header("alg", Value::Null).mint(), ALG),
        ("alg in lower case", token().header("alg", "es256").mint(), ALG),
        ("alg that is a number", token().header("alg", 256).mint(), ALG),
        ("HS256 with the public key", token().hs256_with_public_key().mint(), ALG),
        ("alg of another family", token().header("alg", "RS256").mint(), KEY_ALG),
        ("alg of another curve", token().header("alg", "EdDSA").mint(), KEY_ALG),

        ("no kid", token().header("kid", Value::Null).mint(), KID),
        ("kid that is a number", token().header("kid", 1).mint(), KID),
        ("kid that is an array", token().header("kid", json!([kid])).mint(), KID),
        ("kid that nobody has", stranger().mint(), UNKNOWN_KEY),
        ("kid that is empty", token().header("kid", "").mint(), UNKNOWN_KEY),
        ("kid that is a path", token().header("kid", "../../dev/null").mint(), UNKNOWN_KEY),
        ("kid with a quote", token().header("kid", "' OR 1=1 --").mint(), UNKNOWN_KEY),
        ("a stranger's key under the issuer's kid", impostor().mint(), SIGNATURE),
        ("a key and its place", stranger().header("jku", "http://[::1]").mint(), UNKNOWN_KEY),
        ("the key in the token", impostor().header("jwk", jwk).mint(), SIGNATURE),
        ("a certificate in the token", impostor().header("x5c", json!(["MIIB"])).mint(), SIGNATURE),
    ]
}

/// Rows about the claims (RFC 7519 section 4.1, RFC 9068 section 2.2).
#[rustfmt::skip]
fn claims(issuer: &TestIssuer) -> Vec<Row> {
    let token = || token(issuer);
    let url = issuer.url();
    let header = format!(r#"{{"alg":"ES256","typ":"at+jwt","kid":"{}"}}"#, issuer.key_id());
    let with_claims = |text: &str| issuer.sign(&header, text);
    // Good claims, with more in them.
    let with_more = |more: &str| {
        let exp = NOW + 60;
        with_claims(&format!(r#"{{"iss":"{url}","aud":"notes","sub":"a","exp":{exp},{more}}}"#))
    };
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let only_scp = |scp: Value| issuer.token().audience("notes").claim("scp", scp).mint();
    let with_scp = |scp: Value| token().claim("scp", scp).mint();
    vec![
        ("no claims at all", with_claims(""), CLAIMS),
        ("claims that are an array", with_claims("[]"), CLAIMS),
        ("claims that are empty", with_claims("{}"), ISS),
        ("sub twice", with_more(r#""sub":"b""#), CLAIMS),
        ("sub twice, once escaped", with_more(r#""\u0073ub":"b""#), CLAIMS),
        ("scope twice", with_more(r#""scope":"a","scope":"b""#), CLAIMS),
        ("an inner name twice", with_more(r#""act":{"sub":"a","sub":"b"}"#), CLAIMS),
        ("a number that is too large", with_more(r#""n":1e999"#), CLAIMS),
        ("a deep claim", with_more(&format!(r#""n":{deep}"#)), CLAIMS),

        ("no iss", token().without_claim("iss").mint(), ISS),
        ("iss of another", token().claim("iss", "https://auth.example.com").mint(), ISS),
        ("iss with a slash", token().claim("iss", format!("{url}/")).mint(), ISS),
        ("iss in capitals", token().claim("iss", url.to_uppercase()).mint(), ISS),
        ("iss as an array", token().claim("iss", json!([url])).mint(), ISS),
        ("iss that is a number", token().claim("iss", 42).mint(), ISS),

        ("no aud", token().without_claim("aud").mint(), AUD),
        ("aud of another", token().audience("calendar").mint(), AUD),
        ("aud in capitals", token().audience("NOTES").mint(), AUD),
        ("aud that begins alike", token().audience("notes-archive").mint(), AUD),
        ("aud that is a list in a text", token().audience("calendar notes").mint(), AUD),
        ("aud that is a number", token().claim("aud", 42).mint(), AUD),
        ("aud that is null", token().claim("aud", Value::Null).mint(), AUD),
        ("aud that is empty", token().claim("aud", json!([])).mint(), AUD),
        ("aud of others", token().claim("aud", json!(["calendar", "mail"])).mint(), AUD),
        ("aud with a number in it", token().claim("aud", json!(["notes", 1])).mint(), AUD),
        ("aud as an object", token().claim("aud", json!({"notes": true})).mint(), AUD),
        ("aud in an array in an array", token().claim("aud", json!([["notes"]])).mint(), AUD),

        ("no exp", token().without_claim("exp").mint(), "the token has no exp"),
        ("exp the leeway ago", token().expires_in(-10).mint(), EXPIRED),
        ("exp long ago", token().expires_in(-86_400).mint(), EXPIRED),
        ("exp of 0", token().claim("exp", 0).mint(), EXPIRED),
        ("exp in a text", token().claim("exp", (NOW + 60).to_string()).mint(), DATE),
        ("exp that is true", token().claim("exp", true).mint(), DATE),
        ("exp that is null", token().claim("exp", Value::Null).mint(), DATE),
        ("exp below zero", token().claim("exp", -1).mint(), DATE),
        ("exp of 1e300", token().claim("exp", 1e300).mint(), DATE),
        ("exp of u64::MAX", token().claim("exp", u64::MAX).mint(), DATE),
        ("exp in an array", token().claim("exp", json!([NOW + 60])).mint(), DATE),

        ("nbf in a minute", token().claim("nbf", NOW + 60).mint(), EARLY),
        ("nbf just beyond the leeway", token().claim("nbf", NOW + 11).mint(), EARLY),
        ("nbf a fraction too late", token().claim("nbf", json!(1_800_000_010.5)).mint(), EARLY),
        ("nbf in a text", token().claim("nbf", "0").mint(), DATE),
        ("nbf that is null", token().claim("nbf", Value::Null).mint(), DATE),
        ("nbf of 1e300", token().claim("nbf", 1e300).mint(), DATE),
        ("iat tomorrow", token().claim("iat", NOW + 86_400).mint(), FUTURE),
        ("iat in a text", token().claim("iat", "yesterday").mint(), DATE),
        ("iat below zero", token().claim("iat", -5).mint(), DATE),

        ("no sub", token().without_claim("sub").mint(), "the token has no sub"),
        ("sub that is empty", token().claim("sub", "").mint(), TEXT),
        ("sub that is a number", token().claim("sub", 7).mint(), TEXT),
        ("sub that is null", token().claim("sub", Value::Null).mint(), TEXT),
        ("client_id that is an array", token().claim("client_id", json!(["a"])).mint(), TEXT),
        ("jti that is a number", token().claim("jti", 1).mint(), TEXT),

        ("scope that is a number", token().claim("scope", 1).mint(), SCOPE),
        ("scope with two blanks", token().claim("scope", "a  b").mint(), SCOPE),
        ("scope with a newline", token().claim("scope", "a\nb").mint(), SCOPE),
        ("scp with a number in it", only_scp(json!(["a", 1])), SCOPE),
        ("scp with a blank in it", only_scp(json!(["a b"])), SCOPE),
        ("scp with more than scope", with_scp(json!(["note.read", "note.write"])), SCOPES_DIFFER),
        ("scp with less than scope", with_scp(json!([])), SCOPES_DIFFER),
        ("a token bound to a key", token().claim("cnf", json!({"jkt": "x"})).mint(), BOUND),
    ]
}

/// RFC 4648 section 3.5: the last character of 64 bytes carries four bits that must be zero.
fn with_stray_bit(token: &str) -> String {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = token.split_at(token.len() - 1);
    let at = alphabet.find(last).unwrap();
    format!("{rest}{}", &alphabet[at + 1..at + 2])
}

/// An ECDSA signature in JOSE is two numbers of fixed length, not ASN.1 (RFC 7518 section 3.4).
fn as_asn1(signature: &str) -> String {
    let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let integer = |number: &[u8]| [&[2, 33, 0], number].concat();
    let (r, s) = (integer(&bytes[..32]), integer(&bytes[32..]));
    URL_SAFE_NO_PAD.encode([&[0x30, 70], &r[..], &s[..]].concat())
}

#[tokio::test]
async fn a_token_with_anything_wrong_is_refused_with_the_reason() {
    let (issuer, verifier, _) = issuer_and_verifier().await;
    let rows = [shapes_and_headers(&issuer), claims(&issuer)].concat();
    // The second time with the header of a good token in memory, which most of these have.
    for _ in 0..2 {
        for (what, token, reason) in &rows {
            let refusal = verifier.verify(token).await.unwrap_err();
            assert!(is_refused(refusal, reason), "{what}: {refusal}");
        }
        let good = token(&issuer).mint();
        assert!(verifier.verify(&good).await.is_ok());
    }
}

/// A reason stands in `error_description`, whose characters RFC 6750 section 3 limits.
#[tokio::test]
async fn every_reason_may_stand_in_a_header() {
    let (issuer, verifier, _) = issuer_and_verifier().await;
    for (_, token, _) in [shapes_and_headers(&issuer), claims(&issuer)].concat() {
        let refusal = verifier.verify(&token).await.unwrap_err().to_string();
        let fits = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
        assert!(refusal.bytes().all(fits), "{refusal}");
    }
}

#[tokio::test]
#[rustfmt::skip]
async fn a_token_that_is_good_is_accepted_however_it_is_written() {
    let (issuer, verifier, _) = issuer_and_verifier().await;
    let token = || token(&issuer);
    let optional = ["nbf", "iat", "jti", "client_id"];
    let least = optional.into_iter().fold(token(), TestToken::without_claim);
    for (what, token) in [
        ("as our issuer writes it", token().claim("scp", json!(["note.read"])).mint()),
        ("typ with its prefix", token().header("typ", "application/at+jwt").mint()),
        ("typ in capitals", token().header("typ", "AT+JWT").mint()),
        ("several audiences", token().claim("aud", json!(["calendar", "notes"])).mint()),
        ("dates with fractions", token().claim("exp", 1_800_000_000.9).claim("nbf", 1.5).mint()),
        ("expired within the leeway", token().expires_in(-9).mint()),
        ("not valid yet, within the leeway", token().claim("nbf", NOW + 10).mint()),
        ("no nbf, iat, jti, client_id", least.mint()),
        ("unknown members", token().header("x", 1).claim("y", json!({"z": [null]})).mint()),
        ("offers of other keys", token().header("jku", "http://[::1]").header("x5u", 1).mint()),
        ("scope as an array", token().claim("scope", json!(["note.read"])).mint()),
        ("scp as a text", token().without_claim("scope").claim("scp", "note.read").mint()),
    ] {
        let token = verifier.verify(&token).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(token.scopes().contains("note.read"), "{what}");
    }
}

#[tokio::test]
async fn a_verified_token_tells_what_it_says() {
    let (issuer, verifier, _) = issuer_and_verifier().await;
    let jwt = token(&issuer)
        .subject("assistant")
        .scope("note.write note.read")
        .claim("jti", "t-1")
        .claim("tenant", json!({"id": 7}))
        .mint();
    let token = verifier.verify(&jwt).await.unwrap();
    assert_eq!(token.issuer(), issuer.url());
    assert_eq!(token.subject(), "assistant");
    assert_eq!(token.client_id(), Some("assistant"));
    assert_eq!(token.audience(), "notes");
    assert_eq!(
        token.scopes(),
        &"note.read note.write".parse::<ScopeSet>().unwrap()
    );
    assert_eq!(token.expires_at(), NOW + 3600);
    assert_eq!(token.issued_at(), Some(NOW));
    assert_eq!(token.token_id(), Some("t-1"));
    assert_eq!(token.claim::<Value>("tenant"), Some(json!({"id": 7})));
    assert_eq!(token.claim::<String>("tenant"), None);
    assert_eq!(token.claim::<Value>("nothing"), None);
}

#[tokio::test]
async fn a_remembered_token_is_refused_once_it_has_expired() {
    let (issuer, verifier, hand) = issuer_and_verifier().await;
    let jwt = token(&issuer).expires_in(60).mint();
    let first = verifier.verify(&jwt).await.unwrap();
    let again = verifier
        .verify(&jwt)
        .now_or_never()
        .expect("no wait for a known token")
        .unwrap();
    assert!(std::sync::Arc::ptr_eq(&first, &again), "it was remembered");

    hand.advance(std::time::Duration::from_secs(69));
    assert!(verifier.verify(&jwt).await.is_ok(), "within the leeway");
    hand.advance(std::time::Duration::from_secs(1));
    let refusal = verifier.verify(&jwt).await.unwrap_err();
    assert!(is_refused(refusal, EXPIRED), "{refusal}");
}

#[tokio::test]
async fn a_remembered_token_lends_its_signature_to_no_other() {
    let (issuer, verifier, _) = issuer_and_verifier().await;
    let good = ["one", "other"].map(|subject| token(&issuer).subject(subject).mint());
    for token in &good {
        assert!(verifier.verify(token).await.is_ok());
    }
    let [one, other] = good.each_ref().map(|token| token.rsplit_once('.').unwrap());
    for (signed, signature) in [(one.0, other.1), (other.0, one.1)] {
        let refusal = verifier.verify(&format!("{signed}.{signature}")).await;
        assert!(is_refused(refusal.unwrap_err(), SIGNATURE));
    }
    for (token, subject) in good.iter().zip(["one", "other"]) {
        let known = verifier
            .verify(token)
            .now_or_never()
            .expect("both are still known");
        assert_eq!(known.unwrap().subject(), subject);
    }
}

#[tokio::test]
async fn only_the_algorithms_that_were_configured_are_accepted() {
    let (issuer, _, hand) = issuer_and_verifier().await;
    let verifier = Verifier::builder(issuer.url())
        .audience("notes")
        .algorithms(&[Algorithm::RS256, Algorithm::EdDSA])
        .clock(hand.clock())
        .build()
        .unwrap();
    let refusal = verifier.verify(&token(&issuer).mint()).await.unwrap_err();
    assert!(is_refused(refusal, ALG), "{refusal}");
    assert_eq!(
        issuer.requests(TestIssuer::KEY_SET),
        0,
        "that needs no keys"
    );
}

/// Keys and tokens that another library made, for each algorithm.
#[tokio::test]
async fn tokens_of_another_library_are_accepted() {
    use aws_lc_rs::{encoding::AsDer, rsa, signature as sig};
    use jsonwebtoken::Algorithm as Alg;

    let p256 = sig::EcdsaKeyPair::generate(&sig::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let p256 = EncodingKey::from_ec_der(p256.to_pkcs8v1().unwrap().as_ref());
    let ed25519 = sig::Ed25519KeyPair::generate().unwrap();
    let ed25519 = EncodingKey::from_ed_der(ed25519.to_pkcs8v1().unwrap().as_ref());
    let rsa = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
    let rsa_der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = rsa.as_der().unwrap();
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        base64::engine::general_purpose::STANDARD.encode(rsa_der.as_ref())
    );
    let rsa = EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap();

    let (issuer, verifier, _) = issuer_and_verifier().await;
    let signers = [
        (Alg::ES256, &p256),
        (Alg::EdDSA, &ed25519),
        (Alg::RS256, &rsa),
        (Alg::PS256, &rsa),
    ];
    let jwks = signers.map(|(alg, key)| {
        let mut jwk = Jwk::from_encoding_key(key, alg).unwrap();
        jwk.common.key_id = Some(format!("{alg:?}"));
        jwk
    });
    issuer.serve_key_set(json!({"keys": jwks}));
    for (alg, key) in signers {
        let mut header = Header::new(alg);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(format!("{alg:?}"));
        let claims = json!({"iss": issuer.url(), "aud": "notes", "sub": "a", "exp": NOW + 60});
        let jwt = jsonwebtoken::encode(&header, &claims, key).unwrap();
        assert!(verifier.verify(&jwt).await.is_ok(), "{alg:?}");

        // The RSA key is in the set twice; its signatures still count for one algorithm only.
        header.kid = Some(if alg == Alg::RS256 { "PS256" } else { "RS256" }.to_owned());
        let jwt = jsonwebtoken::encode(&header, &claims, key).unwrap();
        assert!(
            verifier.verify(&jwt).await.is_err(),
            "{alg:?} under another kid"
        );
    }
}

#[tokio::test]
async fn a_verification_may_run_on_any_thread() {
    fn is_send(_: &impl Send) {}
    let (issuer, verifier, _) = issuer_and_verifier().await;
    let jwt = token(&issuer).mint();
    let verification = verifier.verify(&jwt);
    is_send(&verification);
    assert!(verification.await.is_ok());
}

#[test]
fn a_verifier_that_could_accept_too_much_is_not_built() {
    let builder = || Verifier::builder("http://localhost:3001/auth").audience("notes");
    assert!(builder().build().is_ok());
    assert!(
        builder()
            .leeway(std::time::Duration::from_mins(1))
            .build()
            .is_ok()
    );
    for (builder, says) in [
        (Verifier::builder("http://localhost:3001/auth"), "audience"),
        (builder().audience("no\"tes"), "audience"),
        (builder().audience("nötes"), "audience"),
        (builder().leeway(std::time::Duration::from_secs(61)), "60 s"),
        (builder().algorithms(&[]), "algorithm"),
        (
            builder().key_set_url("http://auth.example.com/jwks"),
            "key set",
        ),
        (
            Verifier::builder("http://auth.example.com").audience("notes"),
            "https",
        ),
    ] {
        let error = builder.build().unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

/// Runs a property against one issuer and one verifier whose keys are loaded.
fn with_verifier(property: impl FnOnce(&TestIssuer, &dyn Fn(&str) -> bool)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (issuer, verifier, _): (_, _, ManualClock) = runtime.block_on(issuer_and_verifier());
    runtime.block_on(verifier.ready());
    property(&issuer, &|token| {
        runtime.block_on(verifier.verify(token)).is_ok()
    });
}

#[test]
fn no_text_but_a_token_is_accepted() {
    with_verifier(|issuer, accepts| {
        let header = token(issuer).mint().split('.').next().unwrap().to_owned();
        let texts = prop_oneof![
            any::<String>(),
            "[A-Za-z0-9_=.-]{0,300}",
            "[A-Za-z0-9_-]{0,80}\\.[A-Za-z0-9_-]{0,80}\\.[A-Za-z0-9_-]{0,90}",
            "[A-Za-z0-9_-]{0,80}\\.[A-Za-z0-9_-]{86}"
                .prop_map(move |rest| format!("{header}.{rest}")),
        ];
        proptest!(|(text in texts)| prop_assert!(!accepts(&text)));
    });
}

#[test]
fn any_claims_that_an_issuer_may_sign_are_read_without_a_panic() {
    with_verifier(|issuer, accepts| {
        let header = format!(
            r#"{{"alg":"ES256","typ":"at+jwt","kid":"{}"}}"#,
            issuer.key_id()
        );
        let value = prop_oneof![
            Just(json!(null)),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            ".{0,20}".prop_map(Value::from),
            proptest::collection::vec(".{0,5}", 0..3).prop_map(Value::from),
        ];
        let names = vec![
            "exp",
            "nbf",
            "iat",
            "sub",
            "jti",
            "client_id",
            "scope",
            "scp",
        ];
        proptest!(|(name in proptest::sample::select(names), value in value)| {
            let mut claims = json!({
                "iss": issuer.url(), "aud": "notes", "sub": "a", "exp": NOW + 60,
            });
            claims[name] = value.clone();
            let accepted = accepts(&issuer.sign(&header, &claims.to_string()));
            // Whatever else it says: a date is a number, and a name is a text.
            if accepted && ["exp", "nbf", "iat"].contains(&name) {
                prop_assert!(value.is_number(), "{name}: {value}");
            } else if accepted && ["sub", "jti", "client_id"].contains(&name) {
                prop_assert!(value.is_string(), "{name}: {value}");
            }
        });
    });
}

#[test]
fn a_token_with_one_character_changed_is_refused() {
    with_verifier(|issuer, accepts| {
        let good = token(issuer).mint();
        assert!(accepts(&good));
        proptest!(|(at in 0..good.len(), new in "[A-Za-z0-9_=.+/ -]")| {
            let changed = format!("{}{new}{}", &good[..at], &good[at + 1..]);
            prop_assume!(changed != good);
            prop_assert!(!accepts(&changed), "{changed}");
        });
    });
}
