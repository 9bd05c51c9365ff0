//! Random histories.

use crate::ops::{Op, history};
use crate::run::check;

/// Every answer is the model's, after every step the same tokens stand, and in the end every place says so.
#[test]
fn any_history_goes_as_the_model_says_and_every_place_agrees_on_what_stands() {
    check(24, history(100), &async |world, history| {
        world.run(&history).await?;
        world.check_agreement().await?;
        world.check_nothing_comes_back().await
    });
}

/// Two projects of one account live side by side, and what happens in one is nothing in the other.
#[test]
fn a_project_is_not_moved_by_its_neighbour() {
    check(8, (history(50), history(50)), &async |world, (own, others)| {
        let mut other = world.site.neighbour(world);
        for at in 0..own.len().max(others.len()) {
            // The worker looks after every tenant, so both take in what it did.
            for op in own.get(at).into_iter().filter(|op| !matches!(op, Op::Expire)).chain([&Op::Expire]) {
                world.step(op).await?;
            }
            other.step(&Op::Expire).await?;
            if let Some(op) = others.get(at) {
                other.step(op).await?;
            }
            world.step(&Op::Expire).await?;
        }
        world.follow();
        world.check_agreement().await?;
        other.check_agreement().await
    });
}
