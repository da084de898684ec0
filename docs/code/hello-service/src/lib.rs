//! A service that greets whoever has a token for it.

use actix_web::web::{self, Json};
use m2m::service::{Listen, ResourceServer, Running};
use m2m::{Scope, Verifier, actix::Caller};

pub struct Hello;

impl Scope for Hello {
    const NAME: &'static str = "hello.say";
}

#[derive(serde::Serialize)]
pub struct Greeting {
    hello: String,
}

pub async fn greet(caller: Caller<Hello>) -> Json<Greeting> {
    let hello = caller.subject().to_owned();
    Json(Greeting { hello })
}

pub fn start(issuer: &str, listen: Listen) -> Result<Running, Box<dyn std::error::Error>> {
    let verifier = Verifier::builder(issuer)
        .audience("hello-service")
        .build()?;
    let server = ResourceServer {
        listen,
        verifier,
        behind_tls_proxy: false,
        workers: None,
    };
    Ok(server.start(|routes| {
        routes.route("/hello", web::get().to(greet));
    })?)
}
