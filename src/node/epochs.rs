//! Owns whom a node obeys: of each cluster the coordinator of the latest epoch that has sent a task.

use crate::wire::compute_node::Task;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// How many clusters are remembered; the one heard of longest ago makes room.
const MOST: usize = 256;

/// The latest epochs.
#[derive(Default)]
pub(super) struct Epochs {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    latest: BTreeMap<String, Latest>,
    tasks: u64,
}

struct Latest {
    epoch: i64,
    coordinator: String,
    /// Counts tasks, to tell old from new.
    heard: u64,
}

impl Epochs {
    /// Takes note of who sends a task; one without a name is of no cluster, and served.
    ///
    /// # Errors
    /// Another coordinator leads its cluster in a later epoch; says which.
    pub(super) fn obey(&self, task: &Task) -> Result<(), String> {
        let (Some(cluster), Some(epoch)) = (&task.cluster, task.epoch) else { return Ok(()) };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.tasks += 1;
        let heard = known.tasks;
        if let Some(latest) = known.latest.get_mut(cluster) {
            if epoch < latest.epoch {
                return Err(format!("{} leads in epoch {}, later than {epoch}", latest.coordinator, latest.epoch));
            }
            latest.heard = heard;
            if epoch > latest.epoch {
                latest.epoch = epoch;
                latest.coordinator = task.coordinator.clone().unwrap_or_default();
            }
            return Ok(());
        }
        if known.latest.len() >= MOST {
            let oldest = known.latest.iter().min_by_key(|(_, latest)| latest.heard).map(|(name, _)| name.clone());
            oldest.map(|oldest| known.latest.remove(&oldest));
        }
        // Names are drawn by coordinators, and short.
        let cluster: String = cluster.chars().take(64).collect();
        let coordinator = task.coordinator.clone().unwrap_or_default().chars().take(256).collect();
        known.latest.insert(cluster, Latest { epoch, coordinator, heard });
        Ok(())
    }

    /// The latest epoch of any cluster.
    pub(super) fn highest(&self) -> u64 {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.latest.values().map(|latest| latest.epoch).max().map_or(0, |epoch| u64::try_from(epoch).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(cluster: &str, epoch: i64) -> Task {
        Task {
            label: String::new(),
            kind: String::new(),
            parameters: String::new(),
            inputs: vec![],
            scheduling_policy: 1,
            attached: vec![],
            cluster: Some(cluster.to_owned()),
            epoch: Some(epoch),
            coordinator: Some(format!("host:{epoch}")),
            prefetch: None,
        }
    }

    #[test]
    fn the_latest_epoch_of_each_cluster_is_obeyed() {
        let epochs = Epochs::default();
        assert_eq!(epochs.obey(&task("a", 2)), Ok(()));
        assert_eq!(epochs.obey(&task("a", 2)), Ok(()));
        assert_eq!(epochs.obey(&task("b", 1)), Ok(()));
        assert_eq!(epochs.obey(&task("a", 3)), Ok(()));
        assert_eq!(epochs.obey(&task("a", 2)), Err("host:3 leads in epoch 3, later than 2".to_owned()));
        assert_eq!(epochs.obey(&Task { epoch: None, ..task("a", 0) }), Ok(()), "one of an earlier version");
        assert_eq!(epochs.highest(), 3);
        (0..2 * MOST).for_each(|name| assert_eq!(epochs.obey(&task(&name.to_string(), 1)), Ok(())));
        assert!(epochs.known.lock().unwrap().latest.len() <= MOST);
    }
}
