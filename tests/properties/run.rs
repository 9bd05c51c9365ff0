//! How a property is checked: drawn, run on one pair of servers in a tenant of its own, and shrunk where it fails.

use std::fmt::Debug;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

use crate::world::{Site, World};

/// How many cases are asked for, if it was said.
pub fn asked() -> Option<u32> {
    std::env::var("CHANCERY_TEST_CASES").ok().map(|text| text.parse().unwrap())
}

/// Runs something once on a pair of servers.
pub fn run(property: impl AsyncFnOnce(&Site) -> Result<(), String>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = runtime.block_on(async { property(&Site::new().await).await });
    assert_eq!(outcome.err().unwrap_or_default(), "");
}

/// Runs so many cases of a property, or as many as were asked for. A failure shows the shortest case that was found, step
/// by step.
pub fn check<S: Strategy>(
    cases: u32,
    strategy: S,
    property: &impl AsyncFn(&mut World<'_>, S::Value) -> Result<(), String>,
) where
    S::Value: Debug,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let site = runtime.block_on(Site::new());
    let mut runner = TestRunner::new(Config {
        cases: asked().unwrap_or(cases),
        failure_persistence: None,
        max_shrink_iters: 100_000,
        max_shrink_time: 180_000,
        ..Config::default()
    });
    let outcome = runner.run(&strategy, |case| {
        runtime.block_on(property(&mut site.world(), case)).map_err(TestCaseError::fail)
    });
    let story = match outcome {
        Ok(()) => None,
        Err(TestError::Abort(why)) => Some(why.to_string()),
        Err(TestError::Fail(why, case)) => Some(format!("{why}\nthe case: {case:?}")),
    };
    assert!(story.is_none(), "\n{}", story.unwrap_or_default());
}
