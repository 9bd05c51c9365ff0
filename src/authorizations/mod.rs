//! What people let clients do: consents, the single-use codes that come of them, and the requests that clients push
//! beforehand. What a code obtains rests on the consent.
mod codes;
mod consents;
mod pushed;
mod store;

pub mod routes;
pub mod worker;

pub use codes::{CODE, Code, Decided, code, issue_code};
pub use consents::{
    Between, Consent, ConsentFilter, NewConsent, agree, consent_of, create, end, find, list,
    lock_unregistered, revoke,
};
pub use pushed::{LIFETIME, PUSHED_REQUEST, Pushed, URN, push, pushed};
