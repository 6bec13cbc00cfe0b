//! Owns the return of a job from the log: it goes on where its records end, as if it had always been here.

use super::{Action, Engine};
use crate::jobs::Job;
use crate::ledger::{History, Record};
use crate::types::{JobId, NodeId, Time};
use std::collections::BTreeMap;

impl Engine {
    pub(super) fn restore(
        &mut self,
        now: Time,
        job: JobId,
        work: Box<dyn Job>,
        history: History,
        resumed: bool,
        actions: &mut Vec<Action>,
    ) {
        let mut run = self.new_run(now, job, work, history.order);
        if resumed {
            run.news.from =
                self.books.write_news(now, job, Record::Resumed { job, elapsed: history.elapsed }, actions);
        }
        // Its nodes had other numbers in the process that wrote this.
        let here = history.nodes.into_iter().map(|(id, address)| (id, self.nodes.remember(&address)));
        let here: BTreeMap<NodeId, NodeId> = here.collect();
        let rounds = history.closed.iter().map(|closed| closed.round).collect();
        let spans = history.closed.iter().map(|closed| closed.spans.len()).sum();
        run.goes_on(history.elapsed, rounds, spans);
        for closed in history.closed {
            run.news.closed.push_back((0, closed.renumbered(&here)));
        }
        for standing in history.standings {
            let node = self.nodes.remember(&standing.address);
            if run.hold(node, standing.counts) {
                self.nodes.change(node, |node| node.holders += 1);
            }
        }
        for &node in here.values() {
            if run.hold(node, Default::default()) {
                self.nodes.change(node, |node| node.holders += 1);
            }
        }
        let mut answers = history.answers;
        answers.retain(|task, output| !run.remember(task, output));
        run.is_as_durable();
        let reopened = run.reopened();
        // A task must be open before its answer can be taken.
        run.open_ready(now, self.room() + answers.len(), &mut self.line);
        self.jobs.insert(job, run);
        self.board.urgent.insert(job);
        self.start_clocks(now, job);
        self.apply(now, job, reopened, actions);
        for &(task, ref output) in answers.iter() {
            let Some(run) = self.jobs.get_mut(&job).filter(|run| run.is_running()) else { return };
            // An answer that cannot be used is asked for again.
            let Ok(Some(effects)) = run.task_done(task, output) else { continue };
            run.close(task, &mut self.line);
            self.apply(now, job, effects, actions);
        }
        self.open_ready(now, job);
    }
}
