//! Which steps the requested tensors depend on.

use crate::interval_set::IntervalSet;
use crate::plan::InitPlan;

impl InitPlan {
    /// For every step, whether one of the views `roots` depends on what it writes.
    ///
    /// This errs on the live side: a step is live if any byte from its first to its last is read.
    pub(crate) fn live(&self, roots: impl IntoIterator<Item = usize>) -> Vec<bool> {
        let mut wanted = vec![IntervalSet::default(); self.storages.len()];
        let want = |wanted: &mut [IntervalSet], view: usize| {
            let view = &self.views[view];
            wanted[view.storage].add(view.bytes());
        };
        for root in roots {
            want(&mut wanted, root);
        }
        let mut live = vec![false; self.steps.len()];
        for (step, live) in self.steps.iter().zip(&mut live).rev() {
            let mut outs = step.targets(&self.views);
            *live = step.op.is_always_live()
                || outs.any(|out| wanted[out.storage].touches(&out.bytes()));
            if !*live {
                continue;
            }
            for out in step.targets(&self.views).filter(|out| out.is_dense()) {
                wanted[out.storage].remove(out.bytes());
            }
            for read in step.op.reads() {
                want(&mut wanted, read);
            }
        }
        live
    }
}
