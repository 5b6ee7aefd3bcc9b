//! When a run uses the storages of its plan, and how many bytes it needs at a time.

use crate::error::PlanError;
use crate::interval_set::IntervalSet;
use crate::plan::InitPlan;
use crate::step::Step;

/// When a run uses each storage.
pub(crate) struct Lifetimes {
    /// Whether bytes of each are read that no step has written.
    pub(crate) zeroed: Vec<bool>,
    /// The last step that uses each storage without a requested view, and the storage; in order.
    pub(crate) last_uses: Vec<(usize, usize)>,
    /// The storages of the requested views.
    roots: Vec<usize>,
}

impl InitPlan {
    /// Which storages must be zeros at first, and when each is used last.
    pub(crate) fn lifetimes(&self, live: &[bool], roots: &[usize]) -> Lifetimes {
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
            for out in step.targets(&self.views) {
                last[out.storage] = Some(i);
                if out.is_dense() {
                    written[out.storage].add(out.bytes());
                }
            }
        }
        for root in roots {
            let view = &self.views[*root];
            zeroed[view.storage] |= !written[view.storage].contains(&view.bytes());
            last[view.storage] = None;
        }
        let last_uses = last.into_iter().enumerate();
        let mut last_uses: Vec<_> = last_uses
            .filter_map(|(storage, last)| Some((last?, storage)))
            .collect();
        last_uses.sort_unstable();
        let roots = roots.iter().map(|root| self.views[*root].storage).collect();
        Lifetimes {
            zeroed,
            last_uses,
            roots,
        }
    }

    /// Rejects a run that holds more bytes at a time than the machine has memory and swap space. `scratch` are
    /// the bytes that a step takes which is not live.
    pub(crate) fn check_memory(
        &self,
        live: &[bool],
        lifetimes: &Lifetimes,
        scratch: impl Fn(&Step) -> u64,
    ) -> Result<(), PlanError> {
        check_memory(self.peak_bytes(live, lifetimes, scratch))
    }

    /// The most bytes of storages at a time.
    fn peak_bytes(
        &self,
        live: &[bool],
        lifetimes: &Lifetimes,
        scratch: impl Fn(&Step) -> u64,
    ) -> u64 {
        let mut allocated = vec![false; self.storages.len()];
        let (mut now, mut peak) = (0u64, 0u64);
        let mut last_uses = lifetimes.last_uses.iter().peekable();
        for (i, (step, live)) in self.steps.iter().zip(live).enumerate() {
            if *live {
                for view in step.op.reads().into_iter().chain(step.outs.iter().copied()) {
                    let storage = self.views[view].storage;
                    if !std::mem::replace(&mut allocated[storage], true) {
                        now = now.saturating_add(self.storages[storage]);
                    }
                }
                peak = peak.max(now);
            } else {
                peak = peak.max(now.saturating_add(scratch(step)));
            }
            while let Some((_, storage)) = last_uses.next_if(|(last, _)| *last == i) {
                now = now.saturating_sub(self.storages[*storage]);
            }
        }
        // Requested storages that no step writes.
        for storage in &lifetimes.roots {
            if !std::mem::replace(&mut allocated[*storage], true) {
                now = now.saturating_add(self.storages[*storage]);
            }
        }
        peak.max(now)
    }
}

/// Rejects more bytes than the machine has memory and swap space.
pub(crate) fn check_memory(needed: u64) -> Result<(), PlanError> {
    match machine_memory() {
        Some(available) if needed > available => Err(PlanError::Memory { needed, available }),
        _ => Ok(()),
    }
}

/// Memory and swap space of the machine in bytes; `None` on systems other than Linux.
fn machine_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kilobytes = |key: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    Some((kilobytes("MemTotal:")? + kilobytes("SwapTotal:")?) * 1024)
}
