//! An issuer inside the test process, so that a service or a client can be tested with no
//! auth-provider in sight.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use m2m::{TokenError, Verifier, testing::TestIssuer};
//!
//! let issuer = TestIssuer::start().await;
//! let verifier = Verifier::builder(issuer.url()).audience("notes").build().unwrap();
//! let expired = issuer.token().audience("notes").expires_in(-60).mint();
//! let refusal = verifier.verify(&expired).await.unwrap_err();
//! assert!(matches!(refusal, TokenError::Invalid(why) if why.starts_with("the token has expired")));
//! # });
//! ```

mod meddled;
mod refusals;
mod revocations;
mod server;
mod token;

pub use meddled::{Change, meddled};
pub use refusals::{Refusal, refusals};
pub use server::TestIssuer;
pub use token::TestToken;
