//! What every small server here needs around its handlers: where to listen, how to stop, health,
//! and error bodies that tell the caller how to mend the request.

mod authorized;
mod body;
mod health;
mod listen;
mod metrics;
mod object;
mod observe;
mod own_client;
mod page;
mod problem;
mod resource_server;
mod server;
pub mod telemetry;
mod text;

pub use authorized::Authorized;
pub use body::{BodyError, JsonBody, MAX_BODY, media_type, read_body, read_body_of};
pub use health::{Readiness, health_routes};
pub use listen::{Listen, ListenError};
pub use metrics::{HttpMetrics, metrics_resource, open_metrics, register_verifier};
pub use object::{read_object, redacted};
pub use own_client::{OnlyOne, OwnClient, RevocationMode};
pub use page::{Listing, Page};
pub use problem::Problem;
pub use resource_server::{ResourceServer, Running, StartError};
pub use server::{method_not_allowed, on, serve};
pub use text::{Line, Text, TextError, given};
