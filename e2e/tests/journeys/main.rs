//! What the programs do together: each journey starts a provider and the services it needs, in this
//! process, on ports of their own, with the demo's policy. The mesh, and the programs that
//! people make mistakes with, run as processes of their own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod grants;
mod lab;
mod leaks;
mod mesh;
mod mistakes;
mod new_keys;
mod outages;
mod programs;
mod revocations;
mod rotation;
mod support;
