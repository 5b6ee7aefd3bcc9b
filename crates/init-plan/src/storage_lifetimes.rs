//! How a run uses the storages of its plan.

use crate::interval_set::IntervalSet;
use crate::plan::InitPlan;

/// How the storages are used.
pub(super) struct Uses {
    /// Whether some of it is read that no step has written.
    pub(super) zeroed: Vec<bool>,
    /// The last step that uses a storage which is not asked for, in order.
    pub(super) done: Vec<(usize, usize)>,
    /// The storages that are asked for.
    pub(super) roots: Vec<usize>,
}

impl InitPlan {
    /// Which storages must be zeros at first, and when each is used last.
    pub(super) fn uses(&self, live: &[bool], roots: &[usize]) -> Uses {
        let mut written = vec![IntervalSet::default(); self.storages.len()];
        let mut zeroed = vec![false; self.storages.len()];
        let mut last = vec![None; self.storages.len()];
        for (i, (step, _)) in self
            .steps
            .iter()
            .zip(live)
            .enumerate()
            .filter(|(_, (_, live))| **live)
        {
            for read in step.op.reads() {
                let view = &self.views[read];
                zeroed[view.storage] |= !written[view.storage].contains(&view.bytes());
                last[view.storage] = Some(i);
            }
            let out = step.target(&self.views);
            last[out.storage] = Some(i);
            if out.is_dense() {
                written[out.storage].add(out.bytes());
            }
        }
        for root in roots {
            let view = &self.views[*root];
            zeroed[view.storage] |= !written[view.storage].contains(&view.bytes());
            last[view.storage] = None;
        }
        let done = last.into_iter().enumerate();
        let mut done: Vec<_> = done
            .filter_map(|(storage, last)| Some((last?, storage)))
            .collect();
        done.sort_unstable();
        let roots = roots.iter().map(|root| self.views[*root].storage).collect();
        Uses {
            zeroed,
            done,
            roots,
        }
    }
}
