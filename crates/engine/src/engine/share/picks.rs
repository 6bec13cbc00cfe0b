//! Owns the order in which jobs would be served from now on, without serving them.

use super::{Had, Holder, Share, WEIGHTS};
use crate::jobs::Measure;
use crate::types::JobId;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Jobs in the order in which they would be served, if each pick were done as expected.
pub(in crate::engine) struct Picks<'a> {
    share: &'a Share,
    /// Those of lower priorities than the one at hand.
    classes: BTreeMap<Reverse<i32>, Vec<JobId>>,
    holders: BinaryHeap<Reverse<(Had, Holder)>>,
    queries: BinaryHeap<Reverse<(Had, JobId)>>,
    weight: f64,
}

impl<'a> Picks<'a> {
    pub(super) fn new(share: &'a Share, classes: BTreeMap<Reverse<i32>, Vec<JobId>>) -> Self {
        Self { share, classes, holders: BinaryHeap::new(), queries: BinaryHeap::new(), weight: 1.0 }
    }

    /// The next one; `take` answers with the queries and the cost of its next task, and whether there is another.
    pub(in crate::engine) fn next<T>(
        &mut self,
        take: impl FnOnce(JobId) -> Option<(T, u32, f64, bool)>,
    ) -> Option<T> {
        if self.holders.is_empty() {
            self.begin_class();
        }
        let Reverse((Had(had), holder)) = self.holders.pop()?;
        let job = match holder {
            Holder::Job(job) => job,
            Holder::Queries => self.queries.peek()?.0.1,
        };
        let (taken, queries, cost, more) = take(job)?;
        let seconds = self.share.charge_of(job, cost);
        let weight = self.share.accounts.get(&job).map_or(1.0, |account| account.weight);
        match holder {
            Holder::Job(_) if more => self.holders.push(Reverse((Had(had + seconds / weight), holder))),
            Holder::Job(_) => {}
            Holder::Queries => {
                let Reverse((Had(of_job), _)) = self.queries.pop()?;
                if more {
                    self.queries.push(Reverse((Had(of_job + f64::from(queries) / weight), job)));
                }
                if !self.queries.is_empty() {
                    self.holders.push(Reverse((Had(had + seconds / self.weight), holder)));
                }
            }
        }
        Some(taken)
    }

    fn begin_class(&mut self) {
        let Some((Reverse(priority), jobs)) = self.classes.pop_first() else { return };
        let class = self.share.classes.get(&priority);
        self.weight = class.map_or(1.0, |class| class.weight).max(WEIGHTS.0);
        for job in jobs {
            let Some(account) = self.share.accounts.get(&job) else { continue };
            match account.measure {
                Measure::Time => self.holders.push(Reverse((Had(account.had), Holder::Job(job)))),
                Measure::Queries => self.queries.push(Reverse((Had(account.had), job))),
            }
        }
        if !self.queries.is_empty() {
            let had = class.map_or(0.0, |class| class.had);
            self.holders.push(Reverse((Had(had), Holder::Queries)));
        }
    }
}
