//! Other systems' HTTP in front of the same core, so that their callers need not be rewritten. A file here translates: it
//! names no store, makes no decision and signs nothing.

pub(super) mod stytch;
