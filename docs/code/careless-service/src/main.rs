//! A calendar that is not to be copied: it checks a token's signature and forgets whom the token is
//! for. Chapter 4 of the tutorial attacks it, and mends it with `--careful`.

mod careful;
mod careless;

use std::{env, error::Error, time::Duration};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    http::header::AUTHORIZATION,
    web::{self, Data},
};
use jsonwebtoken::{
    errors::{self, ErrorKind},
    jwk::JwkSet,
};

/// An issuer's URL.
type Issuer = str;

const ISSUER: &Issuer = "http://localhost:3001/auth";

/// What this service wants to know about its caller.
#[derive(Debug, serde::Deserialize)]
struct Claims {
    sub: String,
}

type Check = fn(&Issuer, &JwkSet, &str) -> errors::Result<Claims>;

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let careful = env::args().any(|argument| argument == "--careful");
    let check: Check = if careful {
        careful::check
    } else {
        careless::check
    };
    let keys = m2m::http_client(Duration::from_secs(5))
        .get(format!("{ISSUER}/jwt/jwks.json"))
        .send()
        .await?
        .json()
        .await?;
    let keys: Data<JwkSet> = Data::new(keys);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(Data::new(check))
            .app_data(keys.clone())
            .route("/event", web::get().to(list))
    })
    .bind("localhost:3021")?;
    let kind = if careful { "careful" } else { "careless" };
    eprintln!("the {kind} calendar listens on http://localhost:3021");
    Ok(server.run().await?)
}

async fn list(request: HttpRequest, check: Data<Check>, keys: Data<JwkSet>) -> HttpResponse {
    let bearer = request.headers().get(AUTHORIZATION);
    let token = bearer.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    match check(ISSUER, &keys, token.unwrap_or_default()) {
        Ok(caller) => HttpResponse::Ok().body(format!(
            "Dear {}, at 9 you see the doctor, at 10 the lawyer.\n",
            caller.sub
        )),
        Err(error) => HttpResponse::Unauthorized().body(format!("No: {error}.\n")),
    }
}

fn no_such_key() -> errors::Error {
    ErrorKind::InvalidToken.into()
}

#[cfg(test)]
mod tests {
    use m2m::testing::TestIssuer;

    use super::*;

    #[actix_web::test]
    async fn only_the_careful_one_minds_whom_a_token_is_for() {
        let issuer = TestIssuer::start().await;
        let keys: JwkSet = serde_json::from_value(issuer.key_set()).unwrap();
        let passes = |check: Check, token: &str| check(issuer.url(), &keys, token).is_ok();

        let own = issuer.token().audience("calendar-service").mint();
        assert!(passes(careless::check, &own));
        assert!(passes(careful::check, &own));

        let notes = issuer.token().audience("note-service").mint();
        assert!(passes(careless::check, &notes), "this is the hole");
        assert!(!passes(careful::check, &notes));

        let nobodys = issuer.token().without_claim("aud").mint();
        assert!(passes(careless::check, &nobodys));
        assert!(!passes(careful::check, &nobodys));

        let forged = issuer
            .token()
            .audience("calendar-service")
            .alg_none()
            .mint();
        assert!(!passes(careless::check, &forged));
        assert!(!passes(careful::check, &forged));
    }
}
