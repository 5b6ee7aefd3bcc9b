//! Linear systems over GF(2), solved by the method of the four Russians.
//!
//! See Albrecht, Bard, Hart (2010), "Algorithm 898: Efficient Multiplication of Dense Matrices over GF(2)", for the tables.

/// Equations in `unknowns` bits: sums of unknowns that are 0 or 1.
pub(crate) struct System {
    unknowns: usize,
    /// The 64-bit limbs of an equation: the unknowns, and after them the right side.
    limbs: usize,
    equations: Vec<u64>,
}

/// The solution of a system.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Solution {
    /// The bits of the unknowns.
    Unique(Vec<u64>),
    /// The equations leave so many unknowns open.
    Open(usize),
    /// The equations contradict each other.
    Contradiction,
}

/// The unknowns that are eliminated at once: a table has 256 sums.
const BLOCK: usize = 8;

impl System {
    pub(crate) fn new(unknowns: usize) -> System {
        System {
            unknowns,
            limbs: limbs(unknowns),
            equations: Vec::new(),
        }
    }

    /// The number of equations.
    pub(crate) fn len(&self) -> usize {
        self.equations.len() / self.limbs
    }

    /// Adds an equation of `limbs(unknowns)` limbs. One without unknowns that holds is left out.
    pub(crate) fn push(&mut self, equation: &[u64]) {
        debug_assert_eq!(equation.len(), self.limbs);
        if equation.iter().any(|limb| *limb != 0) {
            self.equations.extend_from_slice(equation);
        }
    }

    /// Adds an equation whose right side is 1 where `right` and the equation's own bit differ.
    pub(crate) fn push_with(&mut self, equation: &mut [u64], right: bool) {
        equation[self.unknowns / 64] ^= u64::from(right) << (self.unknowns % 64);
        self.push(equation);
    }

    /// Solves the system, and keeps only equations that do not depend on others. So equations may be added and the system solved
    /// again.
    pub(crate) fn solve(&mut self) -> Solution {
        let limbs = self.limbs;
        let mut rank = 0;
        let mut open = 0;
        // The unknown that each of the first `rank` equations ends in, going down.
        let mut pivots = Vec::with_capacity(self.unknowns);
        let mut table = vec![0; limbs << BLOCK];
        let mut column = 0;
        while column < self.unknowns {
            let found = self.find_pivots(rank, column);
            if found == 0 {
                open += 1;
                column += 1;
                continue;
            }
            // Limbs to the left of the block are 0 in all equations that remain.
            let from = column / 64;
            let (done, rest) = self.equations.split_at_mut((rank + found) * limbs);
            let block = &done[rank * limbs..];
            for index in 1_usize..1 << found {
                // The sum without its highest equation is in the table.
                let highest = index.ilog2() as usize;
                let (before, entry) = table.split_at_mut(index * limbs);
                let without = &before[(index ^ 1 << highest) * limbs..][..limbs];
                let equation = &block[highest * limbs..][..limbs];
                for i in from..limbs {
                    entry[i] = without[i] ^ equation[i];
                }
            }
            let mask = (1_u64 << found) - 1;
            for equation in rest.chunks_exact_mut(limbs) {
                let index = (bits(equation, column) & mask) as usize;
                if index != 0 {
                    let sum = &table[index * limbs..][..limbs];
                    for (limb, sum) in equation[from..].iter_mut().zip(&sum[from..]) {
                        *limb ^= sum;
                    }
                }
            }
            pivots.extend(column..column + found);
            rank += found;
            column += found;
        }
        // All unknowns are eliminated from the equations that remain.
        if self.equations[rank * limbs..].iter().any(|limb| *limb != 0) {
            return Solution::Contradiction;
        }
        self.equations.truncate(rank * limbs);
        if open > 0 {
            return Solution::Open(open);
        }
        let mut solution = vec![0; limbs];
        for (equation, pivot) in self.equations.chunks_exact(limbs).zip(pivots).rev() {
            // The unknown itself is still 0 in the solution.
            let others = equation.iter().zip(&solution);
            let ones: u32 = others.map(|(a, b)| (a & b).count_ones()).sum();
            let right = bits(equation, self.unknowns) as u32;
            solution[pivot / 64] |= u64::from((ones ^ right) & 1) << (pivot % 64);
        }
        Solution::Unique(solution)
    }

    /// Moves equations that determine the unknowns from `column` on, at most [`BLOCK`], to `rank`, and eliminates each of
    /// these unknowns from the others of these equations. Returns how many there are.
    fn find_pivots(&mut self, rank: usize, column: usize) -> usize {
        let (limbs, count) = (self.limbs, self.len());
        let from = column / 64;
        let most = BLOCK.min(self.unknowns - column);
        for found in 0..most {
            let place = rank + found;
            let pivot = (place..count).find(|&candidate| {
                let (block, rest) = self.equations.split_at_mut(place * limbs);
                let candidate = &mut rest[(candidate - place) * limbs..][..limbs];
                for i in 0..found {
                    if bits(candidate, column + i) & 1 == 1 {
                        add(&block[(rank + i) * limbs..][..limbs], candidate, from);
                    }
                }
                bits(candidate, column + found) & 1 == 1
            });
            let Some(pivot) = pivot else {
                return found;
            };
            let (a, b) = self.equations.split_at_mut((place + 1) * limbs);
            if pivot > place {
                let other = &mut b[(pivot - place - 1) * limbs..][..limbs];
                a[place * limbs..].swap_with_slice(other);
            }
            let (block, pivot) = a.split_at_mut(place * limbs);
            for equation in block[rank * limbs..].chunks_exact_mut(limbs) {
                if bits(equation, column + found) & 1 == 1 {
                    add(pivot, equation, from);
                }
            }
        }
        most
    }
}

/// The limbs of an equation in so many unknowns.
pub(crate) fn limbs(unknowns: usize) -> usize {
    (unknowns + 1).div_ceil(64)
}

/// Adds an equation to another; the limbs below `from` are 0.
fn add(equation: &[u64], to: &mut [u64], from: usize) {
    for (to, limb) in to[from..].iter_mut().zip(&equation[from..]) {
        *to ^= limb;
    }
}

/// The 64 bits from `at` on.
fn bits(equation: &[u64], at: usize) -> u64 {
    let (limb, shift) = (at / 64, at % 64);
    let above = equation.get(limb + 1).copied().unwrap_or(0);
    equation[limb] >> shift | above << 1 << (63 - shift)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mt19937;

    /// A random system in which so many equations are sums of others.
    fn system(
        unknowns: usize,
        equations: usize,
        dependent: usize,
        seed: u64,
    ) -> (System, Vec<u64>) {
        let mut words = Mt19937::new(seed);
        let width = limbs(unknowns);
        let mut solution: Vec<u64> = (0..width).map(|_| words.random64()).collect();
        if unknowns.is_multiple_of(64) {
            solution[width - 1] = 0;
        } else {
            solution[width - 1] &= (1 << (unknowns % 64)) - 1;
        }
        let mut system = System::new(unknowns);
        let mut rows: Vec<Vec<u64>> = Vec::new();
        for i in 0..equations {
            let mut row: Vec<u64> = if i >= equations - dependent {
                let a = &rows[words.random64() as usize % rows.len()];
                let b = &rows[words.random64() as usize % rows.len()];
                a.iter().zip(b).map(|(a, b)| a ^ b).collect()
            } else {
                (0..width).map(|_| words.random64()).collect()
            };
            for at in unknowns..width * 64 {
                row[at / 64] &= !(1 << (at % 64));
            }
            let ones: u32 = row
                .iter()
                .zip(&solution)
                .map(|(a, b)| (a & b).count_ones())
                .sum();
            row[unknowns / 64] |= u64::from(ones & 1) << (unknowns % 64);
            system.push(&row);
            row[unknowns / 64] &= !(1 << (unknowns % 64));
            rows.push(row);
        }
        (system, solution)
    }

    #[test]
    fn systems_of_all_sizes_are_solved() {
        for unknowns in (1..140).chain([191, 192, 193, 500, 1000]) {
            let (mut system, solution) = system(unknowns, unknowns + 40, 0, unknowns as u64);
            assert_eq!(system.solve(), Solution::Unique(solution), "{unknowns}");
        }
    }

    #[test]
    fn open_unknowns_are_counted() {
        for (unknowns, independent) in [(10, 9), (64, 50), (129, 3), (200, 199)] {
            let (mut system, _) = system(unknowns, independent + 5, 5, 7);
            assert_eq!(system.solve(), Solution::Open(unknowns - independent));
        }
    }

    #[test]
    fn a_contradiction_is_found() {
        for unknowns in [1, 63, 64, 65, 130] {
            let (mut system, _) = system(unknowns, unknowns + 80, 0, 3);
            let last = system.equations.len() - system.limbs + unknowns / 64;
            system.equations[last] ^= 1 << (unknowns % 64);
            assert_eq!(system.solve(), Solution::Contradiction, "{unknowns}");
        }
    }
}
