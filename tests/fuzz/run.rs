//! How a target is run: the same four thousand inputs at each run, or new ones for `CHANCERY_TEST_SECONDS`.

use std::cell::Cell;
use std::fmt::Debug;

use chancery::kit::clock::Stopwatch;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

/// How many inputs a target sees between two looks at the clock.
const CASES: u32 = 4000;

/// What a check says of one input: whether it was accepted, or what is wrong.
pub type Judged = Result<bool, TestCaseError>;

/// Shows inputs to a parser. A failure tells the shortest input that was found. A target that accepts everything, or
/// nothing, checks less than it says, so it fails too.
pub fn fuzz<S: Strategy<Value: Debug>>(inputs: &S, check: impl Fn(S::Value) -> Judged) {
    let (seen, accepted) = (Cell::new(0_u64), Cell::new(0_u64));
    let judge = |input| {
        seen.set(seen.get() + 1);
        accepted.set(accepted.get() + u64::from(check(input)?));
        Ok(())
    };
    let config =
        Config { cases: CASES, failure_persistence: None, max_shrink_iters: 100_000, ..Config::default() };
    match std::env::var("CHANCERY_TEST_SECONDS") {
        Err(_) => {
            let same = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
            require(TestRunner::new_with_rng(config, same).run(inputs, judge));
        }
        Ok(seconds) => {
            let (watch, longest): (_, f64) = (Stopwatch::start(), seconds.parse().unwrap());
            while watch.seconds() < longest {
                require(TestRunner::new(config.clone()).run(inputs, judge));
            }
        }
    }
    let (seen, accepted) = (seen.get(), accepted.get());
    println!("{}: {seen} inputs, {accepted} of them accepted", std::thread::current().name().unwrap());
    assert!(accepted > 0 && accepted < seen, "{accepted} of {seen} were accepted");
}

fn require<T: Debug>(outcome: Result<(), TestError<T>>) {
    let story = match outcome {
        Ok(()) => None,
        Err(TestError::Abort(why)) => Some(why.to_string()),
        Err(TestError::Fail(why, input)) => Some(format!("{why}\nthe input: {input:?}")),
    };
    assert!(story.is_none(), "\n{}", story.unwrap_or_default());
}
