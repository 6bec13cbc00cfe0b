//! Owns asking a backend for many things at once, where that is sooner.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many questions make another thread worth its start.
const WORTH: usize = 4;

/// The answers to `ask` for each of `items`, in their order, from at most `lanes` threads.
pub(super) fn each<I: Sync, A: Send>(lanes: usize, items: &[I], ask: &(dyn Fn(&I) -> A + Sync)) -> Vec<A> {
    let lanes = lanes.min(items.len().div_ceil(WORTH));
    if lanes <= 1 {
        return items.iter().map(ask).collect();
    }
    let next = AtomicUsize::new(0);
    let lane = || {
        let mut answers = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(place) else { return answers };
            answers.push((place, ask(item)));
        }
    };
    let mut answers: Vec<(usize, A)> = std::thread::scope(|scope| {
        let others: Vec<_> =
            (1..lanes).map_while(|_| std::thread::Builder::new().spawn_scoped(scope, lane).ok()).collect();
        let mut answers = lane();
        for other in others {
            match other.join() {
                Ok(theirs) => answers.extend(theirs),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        answers
    });
    answers.sort_unstable_by_key(|(place, _)| *place);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_the_order_of_the_questions() {
        for lanes in [0, 1, 2, 16] {
            for questions in [0, 1, 7, 100] {
                let items: Vec<usize> = (0..questions).collect();
                let answers = each(lanes, &items, &|item| item * 2);
                assert_eq!(answers, (0..questions).map(|item| item * 2).collect::<Vec<_>>());
            }
        }
    }
}
