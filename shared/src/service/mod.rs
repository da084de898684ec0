//! What every small server here needs around its handlers: where to listen, how to stop, health, and
//! error bodies that tell the caller how to mend the request.

mod body;
mod health;
mod listen;
mod problem;
mod server;
pub mod telemetry;

pub use body::{BodyError, JsonBody, MAX_BODY, media_type, read_body};
pub use health::{Readiness, health_routes};
pub use listen::{Listen, ListenError};
pub use problem::Problem;
pub use server::{method_not_allowed, serve};
