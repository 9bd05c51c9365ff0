//! HTTP in and out: limits before parsers, extractors, the problem document, pages, the trace of a request, and the
//! accept loop.
pub mod admission;
pub mod extract;
pub mod health;
pub mod html;
pub mod limits;
pub mod members;
pub mod page;
pub mod problem;
pub mod rate;
pub mod serve;
pub mod trace;
