//! A bounded table in memory of what was fetched. One caller at a time fetches for a slot: the others wait and find what he
//! found.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// States by key. Beyond `most`, the one that was used longest ago goes.
#[derive(Debug)]
pub struct Slots<S> {
    most: usize,
    uses: AtomicU64,
    by_key: Mutex<HashMap<String, Arc<Slot<S>>>>,
}

/// One of them.
#[derive(Debug, Default)]
pub struct Slot<S> {
    used: AtomicU64,
    state: Mutex<S>,
    renewing: tokio::sync::Mutex<()>,
}

impl<S: Clone + Default> Slots<S> {
    /// A table for so many.
    pub fn new(most: usize) -> Self {
        Self { most, uses: AtomicU64::new(0), by_key: Mutex::default() }
    }

    /// The slot of a key, which is made when there is none.
    pub fn of(&self, key: &str) -> Arc<Slot<S>> {
        let use_number = self.uses.fetch_add(1, Ordering::Relaxed);
        let mut slots = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        if !slots.contains_key(key) && slots.len() >= self.most {
            let oldest = slots.iter().min_by_key(|(_, slot)| slot.used.load(Ordering::Relaxed));
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                slots.remove(&oldest);
            }
        }
        let slot = slots.entry(key.to_owned()).or_default();
        slot.used.store(use_number, Ordering::Relaxed);
        slot.clone()
    }
}

impl<S: Clone + Send + 'static> Slot<S> {
    /// What is known now.
    pub fn get(&self) -> S {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is known once it was renewed, if that is due. In a task of its own: a caller who goes away while he waits does
    /// not keep the others from what he asked for.
    pub async fn renewed<F: Future<Output = S> + Send + 'static>(
        self: Arc<Self>,
        is_due: impl Fn(&S) -> bool + Send + 'static,
        renew: impl FnOnce(S) -> F + Send + 'static,
    ) -> S {
        let slot = self.clone();
        let task = tokio::spawn(async move {
            let _renewing = slot.renewing.lock().await;
            let known = slot.get();
            if !is_due(&known) {
                return known;
            }
            let state = renew(known).await;
            *slot.state.lock().unwrap_or_else(PoisonError::into_inner) = state.clone();
            state
        });
        task.await.unwrap_or_else(|_| self.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn set(slots: &Slots<u32>, key: &str, state: u32) -> u32 {
        slots.of(key).renewed(|known| *known == 0, move |_| async move { state }).await
    }

    #[tokio::test]
    async fn the_one_used_longest_ago_makes_room() {
        let slots = Slots::new(2);
        set(&slots, "a", 1).await;
        set(&slots, "b", 2).await;
        assert_eq!(slots.of("a").get(), 1);
        set(&slots, "c", 3).await;
        assert_eq!(["a", "c", "b"].map(|key| slots.of(key).get()), [1, 3, 0]);
        assert_eq!(slots.by_key.lock().unwrap().len(), 2);
    }

    #[tokio::test]
    async fn what_is_not_due_is_not_renewed() {
        let slots = Slots::new(2);
        assert_eq!(set(&slots, "a", 1).await, 1);
        assert_eq!(set(&slots, "a", 2).await, 1);
    }
}
