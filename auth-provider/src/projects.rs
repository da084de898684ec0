//! Projects: resources whose clients an administrator of their own looks after.
//!
//! A project is a resource with the token profile `stytch` and an owner. Who has a secret of the owner makes, finds,
//! changes and removes the clients of this project, and no others.
