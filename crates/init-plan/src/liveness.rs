//! Which steps anybody reads the result of.

use super::InitPlan;
use crate::interval_set::IntervalSet;

impl InitPlan {
    /// For every step, whether what it writes reaches one of the views `roots`.
    ///
    /// A step that is not dead may still write elements that nobody reads: it is live if any
    /// byte between its first and its last may be.
    pub(super) fn live(&self, roots: impl IntoIterator<Item = usize>) -> Vec<bool> {
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
            let out = step.target(&self.views);
            let spans = &mut wanted[out.storage];
            *live = spans.touches(&out.bytes());
            if !*live {
                continue;
            }
            if out.is_dense() {
                spans.remove(out.bytes());
            }
            for read in step.op.reads() {
                want(&mut wanted, read);
            }
        }
        live
    }
}
