//! Whether a run fits the machine, before it allocates anything.

use super::uses::Uses;
use crate::plan::{InitPlan, PlanError};

/// Refuses a run that holds more at a time than there is memory and swap space.
pub(super) fn check(plan: &InitPlan, live: &[bool], uses: &Uses) -> Result<(), PlanError> {
    let needed = most(plan, live, uses);
    match machine() {
        Some(available) if needed > available => Err(PlanError::Memory { needed, available }),
        _ => Ok(()),
    }
}

/// The most bytes of storages at a time.
fn most(plan: &InitPlan, live: &[bool], uses: &Uses) -> u64 {
    let mut held = vec![false; plan.storages.len()];
    let (mut now, mut most) = (0u64, 0u64);
    let mut done = uses.done.iter().peekable();
    for (i, step) in plan.steps.iter().enumerate() {
        if live[i] {
            for view in step.op.reads().into_iter().chain([step.out]) {
                let storage = plan.views[view].storage;
                if !std::mem::replace(&mut held[storage], true) {
                    now = now.saturating_add(plan.storages[storage]);
                }
            }
            most = most.max(now);
        } else if step.op.is_draw() {
            let out = step.target(&plan.views).bytes();
            most = most.max(now.saturating_add(out.end - out.start));
        }
        while let Some((_, storage)) = done.next_if(|(last, _)| *last == i) {
            now = now.saturating_sub(plan.storages[*storage]);
        }
    }
    // What nothing was written to.
    for storage in &uses.roots {
        if !std::mem::replace(&mut held[*storage], true) {
            now = now.saturating_add(plan.storages[*storage]);
        }
    }
    most.max(now)
}

/// Memory and swap space in bytes, where Linux tells.
fn machine() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kilobytes = |key: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    Some((kilobytes("MemTotal:")? + kilobytes("SwapTotal:")?) * 1024)
}
