//! Which steps the requested tensors depend on.

use crate::interval_set::IntervalSet;
use crate::plan::InitPlan;
use crate::step::Step;

impl InitPlan {
    /// For every step, whether one of the views `roots` depends on what it writes.
    ///
    /// This errs on the live side: a step is live if any byte from its first to its last is read.
    pub(crate) fn live(&self, roots: impl IntoIterator<Item = usize>) -> Vec<bool> {
        self.live_steps(&self.steps, roots, |_, step| step.op.is_always_live())
    }

    /// As [`live`](Self::live) of the first steps only, without those that are always live but one.
    pub(crate) fn live_in(
        &self,
        steps: &[Step],
        roots: &[usize],
        also: Option<usize>,
    ) -> Vec<bool> {
        self.live_steps(steps, roots.iter().copied(), |i, _| Some(i) == also)
    }

    fn live_steps(
        &self,
        steps: &[Step],
        roots: impl IntoIterator<Item = usize>,
        is_always_live: impl Fn(usize, &Step) -> bool,
    ) -> Vec<bool> {
        let mut wanted = vec![IntervalSet::default(); self.storages.len()];
        let want = |wanted: &mut [IntervalSet], view: usize| {
            let view = &self.views[view];
            wanted[view.storage].add(view.bytes());
        };
        for root in roots {
            want(&mut wanted, root);
        }
        let mut live = vec![false; steps.len()];
        for (i, (step, live)) in steps.iter().zip(&mut live).enumerate().rev() {
            let mut outs = step.targets(&self.views);
            *live = is_always_live(i, step)
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
