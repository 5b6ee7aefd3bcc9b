//! Sets of bytes, as ranges.

use std::collections::BTreeMap;
use std::ops::Range;

/// A set of numbers as ranges that neither touch nor overlap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct IntervalSet {
    /// Start and end of each range.
    ranges: BTreeMap<u64, u64>,
}

impl IntervalSet {
    /// Adds a range, joining those it touches.
    pub(crate) fn add(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let (mut start, mut end) = (range.start, range.end);
        // Those that start at or before the end of the new one, from the last back.
        while let Some((&s, &e)) = self.ranges.range(..=end).next_back() {
            if e < start {
                break;
            }
            self.ranges.remove(&s);
            start = start.min(s);
            end = end.max(e);
        }
        self.ranges.insert(start, end);
    }

    /// Takes a range away.
    pub(crate) fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        while let Some((&s, &e)) = self.ranges.range(..range.end).next_back() {
            if e <= range.start {
                break;
            }
            self.ranges.remove(&s);
            if e > range.end {
                self.ranges.insert(range.end, e);
            }
            if s < range.start {
                self.ranges.insert(s, range.start);
            }
        }
    }

    /// Whether any number of `range` is in the set.
    pub(crate) fn touches(&self, range: &Range<u64>) -> bool {
        !range.is_empty()
            && self
                .ranges
                .range(..range.end)
                .next_back()
                .is_some_and(|(_, &end)| end > range.start)
    }

    /// Whether all numbers of `range` are in the set.
    pub(crate) fn contains(&self, range: &Range<u64>) -> bool {
        range.is_empty()
            || self
                .ranges
                .range(..=range.start)
                .next_back()
                .is_some_and(|(_, &end)| end >= range.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against one flag a number.
        #[test]
        fn ranges_are_a_set(changes in prop::collection::vec((any::<bool>(), 0u64..40, 0u64..40), 0..30)) {
            let mut spans = IntervalSet::default();
            let mut flags = [false; 40];
            for (add, a, b) in changes {
                let range = a.min(b)..a.max(b);
                for flag in &mut flags[range.start as usize..range.end as usize] {
                    *flag = add;
                }
                match add {
                    true => spans.add(range),
                    false => spans.remove(range),
                }
                for start in 0..40 {
                    for end in start..40 {
                        let of = &flags[start as usize..end as usize];
                        prop_assert_eq!(spans.touches(&(start..end)), of.contains(&true));
                        prop_assert_eq!(spans.contains(&(start..end)), !of.contains(&false));
                    }
                }
                // As few ranges as there can be.
                let starts = (0..40).filter(|&i| flags[i] && (i == 0 || !flags[i - 1])).count();
                prop_assert_eq!(spans.ranges.len(), starts);
            }
        }
    }
}
