//! Linear systems over GF(2), solved by the method of the four Russians.
//!
//! See Albrecht, Bard, Hart (2010), "Algorithm 898: Efficient Multiplication of Dense Matrices over GF(2)", for the tables, of which
//! several are used in each pass.

use crate::backend::Backend;
use crate::simd::{self, FullIsa, Kernel};

/// Equations in `unknowns` bits: sums of unknowns that are 0 or 1.
pub(crate) struct System {
    unknowns: usize,
    /// The 64-bit limbs of an equation: the unknowns, and after them the right side.
    limbs: usize,
    equations: Vec<u64>,
    /// The unknown that each equation of a solved system ends in, going down.
    pivots: Vec<usize>,
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

/// The unknowns of one table, which has 64 sums: the tables of a pass fit into a cache.
const TABLE: usize = 6;

/// The tables of one pass over the equations, which are more than caches hold.
const TABLES: usize = 5;

/// The unknowns that are eliminated in one pass.
const BLOCK: usize = TABLE * TABLES;

/// The limbs of the longest vectors, which equations are a multiple of.
const VECTOR: usize = 8;

impl System {
    pub(crate) fn new(unknowns: usize) -> System {
        System {
            unknowns,
            limbs: limbs(unknowns),
            equations: Vec::new(),
            pivots: Vec::new(),
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
        self.pivots.clear();
        let mut tables = vec![0; (limbs * TABLES) << TABLE];
        for column in (0..self.unknowns).step_by(BLOCK) {
            let width = BLOCK.min(self.unknowns - column);
            let found = self.find_pivots(rank, column, width);
            let (done, rest) = self.equations.split_at_mut((rank + found.len()) * limbs);
            eliminate(Elimination {
                block: &done[rank * limbs..],
                rest,
                limbs,
                column,
                pivots: &found,
                tables: &mut tables,
            });
            open += width - found.len();
            rank += found.len();
            pivots.extend(found.into_iter().map(|pivot| column + pivot));
        }
        // All unknowns are eliminated from the equations that remain.
        if self.equations[rank * limbs..].iter().any(|limb| *limb != 0) {
            return Solution::Contradiction;
        }
        self.equations.truncate(rank * limbs);
        self.pivots = pivots;
        match open {
            0 => Solution::Unique(self.complete(vec![0; limbs])),
            _ => Solution::Open(open),
        }
    }

    /// Adds the unknowns that follow from those that are open.
    fn complete(&self, mut solution: Vec<u64>) -> Vec<u64> {
        let equations = self.equations.chunks_exact(self.limbs).zip(&self.pivots);
        for (equation, pivot) in equations.rev() {
            // The unknown itself is still 0 in the solution.
            let others = equation.iter().zip(&solution);
            let ones: u32 = others.map(|(a, b)| (a & b).count_ones()).sum();
            let right = bits(equation, self.unknowns) as u32;
            solution[pivot / 64] |= u64::from((ones ^ right) & 1) << (pivot % 64);
        }
        solution
    }

    /// All solutions of a solved system of which some unknowns are open: two to the power of their number.
    pub(crate) fn solutions(&self) -> Vec<Vec<u64>> {
        let mut solutions = vec![self.complete(vec![0; self.limbs])];
        let mut is_open = vec![true; self.unknowns];
        for pivot in &self.pivots {
            is_open[*pivot] = false;
        }
        for open in (0..self.unknowns).filter(|unknown| is_open[*unknown]) {
            let mut start = vec![0; self.limbs];
            start[open / 64] |= 1 << (open % 64);
            let other = self.complete(start);
            // What this unknown changes is the same in each solution.
            let first = &solutions[0];
            let change: Vec<u64> = other.iter().zip(first).map(|(a, b)| a ^ b).collect();
            let changed = solutions.iter().map(|solution| {
                let limbs = solution.iter().zip(&change);
                limbs.map(|(a, b)| a ^ b).collect()
            });
            let changed: Vec<Vec<u64>> = changed.collect();
            solutions.extend(changed);
        }
        solutions
    }

    /// Moves equations that determine the unknowns of `width` columns to `rank`, and eliminates each of these unknowns from
    /// the others of these equations. Returns the unknowns, counted from `column`.
    fn find_pivots(&mut self, rank: usize, column: usize, width: usize) -> Vec<usize> {
        let limbs = self.limbs;
        let from = column / 64;
        let mask = (1 << width) - 1;
        let equations = self.equations[rank * limbs..].chunks_exact(limbs);
        // The columns alone, of the equations as they will be.
        let mut windows: Vec<u64> = equations.map(|e| bits(e, column) & mask).collect();
        let mut pivots: Vec<usize> = Vec::with_capacity(width);
        for pivot in 0..width {
            let has = |window: &u64| window >> pivot & 1 == 1;
            let found = pivots.len();
            let Some(place) = windows[found..].iter().position(has) else {
                continue;
            };
            windows.swap(found, found + place);
            let window = windows[found];
            for other in windows[found + 1..].iter_mut().filter(|other| has(other)) {
                *other ^= window;
            }
            let block = &mut self.equations[rank * limbs..];
            if place > 0 {
                let (a, b) = block.split_at_mut((found + place) * limbs);
                a[found * limbs..][..limbs].swap_with_slice(&mut b[..limbs]);
            }
            let (earlier, this) = block.split_at_mut(found * limbs);
            let this = &mut this[..limbs];
            for (pivot, equation) in pivots.iter().zip(earlier.chunks_exact(limbs)) {
                if bits(this, column + pivot) & 1 == 1 {
                    add(equation, this, from);
                }
            }
            for equation in earlier.chunks_exact_mut(limbs) {
                if bits(equation, column + pivot) & 1 == 1 {
                    add(this, equation, from);
                }
            }
            pivots.push(pivot);
        }
        pivots
    }
}

/// The elimination of the unknowns of a block.
struct Elimination<'s> {
    /// Equations of which each has one of the unknowns.
    block: &'s [u64],
    /// The equations that they are eliminated from.
    rest: &'s mut [u64],
    limbs: usize,
    /// The first column of the block.
    column: usize,
    /// The unknowns, counted from there.
    pivots: &'s [usize],
    tables: &'s mut [u64],
}

fn eliminate(elimination: Elimination<'_>) {
    simd::run(Backend::selected().simd(), elimination);
}

impl Kernel for Elimination<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: FullIsa>(self, isa: I) {
        let Elimination {
            block,
            rest,
            limbs,
            column,
            pivots,
            tables,
        } = self;
        // Limbs to the left of the block are 0 in all equations that remain.
        let from = column / 64 / VECTOR * VECTOR;
        let width = limbs - from;
        let groups = pivots.chunks(TABLE).zip(block.chunks(TABLE * limbs));
        for ((pivots, block), table) in groups.zip(tables.chunks_exact_mut(limbs << TABLE)) {
            table[..width].fill(0);
            for index in 1_usize..1 << pivots.len() {
                // The sum without its highest equation is in the table.
                let highest = index.ilog2() as usize;
                let (before, entry) = table.split_at_mut(index * width);
                let without = &before[(index ^ 1 << highest) * width..][..width];
                let equation = &block[highest * limbs + from..][..width];
                let entry = &mut entry[..width];
                entry.copy_from_slice(without);
                add_vectors(isa, equation, entry);
            }
        }
        let tables: [&[u64]; TABLES] = {
            let mut tables = tables.chunks_exact(limbs << TABLE);
            std::array::from_fn(|_| tables.next().unwrap_or_default())
        };
        for equation in rest.chunks_exact_mut(limbs) {
            let window = bits(equation, column);
            let mut sums = [&[][..]; TABLES];
            let mut any = 0;
            for (i, table) in tables.iter().enumerate() {
                let mut index = 0;
                let pivots = pivots.iter().skip(i * TABLE).take(TABLE);
                for (place, pivot) in pivots.enumerate() {
                    index |= (window >> pivot & 1) << place;
                }
                any |= index;
                // The first entry is 0.
                sums[i] = &table[index as usize * width..][..width];
            }
            if any != 0 {
                add_sums(isa, sums, &mut equation[from..]);
            }
        }
    }
}

/// Adds an entry of each table to an equation.
#[inline(always)]
fn add_sums<I: FullIsa>(isa: I, sums: [&[u64]; TABLES], to: &mut [u64]) {
    let step = I::LANES / 2;
    assert!(sums.iter().all(|sum| sum.len() == to.len()));
    for (i, to) in to.chunks_exact_mut(step).enumerate() {
        // SAFETY: a vector is `LANES / 2` limbs, and each sum is as long as the equation.
        unsafe {
            let mut vector = isa.load(to.as_ptr().cast());
            for sum in sums {
                vector = isa.xor(vector, isa.load(sum.as_ptr().add(i * step).cast()));
            }
            isa.store(to.as_mut_ptr().cast(), vector);
        }
    }
}

/// Adds limbs to others, whole vectors of them.
#[inline(always)]
fn add_vectors<I: FullIsa>(isa: I, limbs: &[u64], to: &mut [u64]) {
    let step = I::LANES / 2;
    assert!(limbs.len() == to.len());
    for (to, limbs) in to.chunks_exact_mut(step).zip(limbs.chunks_exact(step)) {
        // SAFETY: a vector is `LANES / 2` limbs.
        unsafe {
            let sum = isa.xor(
                isa.load(to.as_ptr().cast()),
                isa.load(limbs.as_ptr().cast()),
            );
            isa.store(to.as_mut_ptr().cast(), sum);
        }
    }
}

/// The number of limbs of an equation in `unknowns` unknowns: whole vectors.
pub(crate) fn limbs(unknowns: usize) -> usize {
    (unknowns + 1).div_ceil(64).next_multiple_of(VECTOR)
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
        for at in unknowns..width * 64 {
            solution[at / 64] &= !(1 << (at % 64));
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

    /// The number of independent equations, one bit at a time.
    fn rank(system: &System) -> usize {
        let rows = system.equations.chunks_exact(system.limbs);
        let mut rows: Vec<Vec<u64>> = rows.map(<[u64]>::to_vec).collect();
        let mut rank = 0;
        for column in 0..system.unknowns {
            let has = |row: &Vec<u64>| row[column / 64] >> (column % 64) & 1 == 1;
            let Some(pivot) = rows[rank..].iter().position(has) else {
                continue;
            };
            rows.swap(rank, rank + pivot);
            let (done, rest) = rows.split_at_mut(rank + 1);
            for row in rest.iter_mut().filter(|row| has(row)) {
                add(&done[rank], row, 0);
            }
            rank += 1;
        }
        rank
    }

    #[test]
    fn open_unknowns_are_counted() {
        for (unknowns, independent) in [(10, 9), (30, 29), (31, 25), (64, 50), (129, 3), (200, 199)]
        {
            for seed in 0..20 {
                let (mut system, _) = system(unknowns, independent + 5, 5, seed);
                let rank = rank(&system);
                assert!(rank <= independent);
                assert_eq!(system.solve(), Solution::Open(unknowns - rank));
                // What is kept gives the same again.
                assert_eq!(system.len(), rank);
                assert_eq!(system.solve(), Solution::Open(unknowns - rank));
            }
        }
    }

    #[test]
    fn open_systems_have_all_solutions() {
        for (unknowns, independent) in [(10, 9), (31, 25), (64, 60), (129, 121), (200, 200)] {
            for seed in 0..20 {
                let (mut system, solution) = system(unknowns, independent + 5, 5, seed);
                let rows: Vec<Vec<u64>> = {
                    let rows = system.equations.chunks_exact(system.limbs);
                    rows.map(<[u64]>::to_vec).collect()
                };
                let open = match system.solve() {
                    Solution::Open(open) => open,
                    Solution::Unique(_) => 0,
                    Solution::Contradiction => panic!("{unknowns} has a solution"),
                };
                let mut solutions = system.solutions();
                assert!(solutions.contains(&solution));
                for solution in &solutions {
                    for row in &rows {
                        let ones = row.iter().zip(solution).map(|(a, b)| (a & b).count_ones());
                        let right = row[unknowns / 64] >> (unknowns % 64) & 1;
                        assert_eq!(u64::from(ones.sum::<u32>() & 1), right);
                    }
                }
                solutions.sort();
                solutions.dedup();
                assert_eq!(solutions.len(), 1 << open);
            }
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
