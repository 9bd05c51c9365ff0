//! Refresh tokens: each is spent for the next, and all that came of one grant are a family, which lives and ends as one.
mod reuse;

pub use reuse::Reuse;
