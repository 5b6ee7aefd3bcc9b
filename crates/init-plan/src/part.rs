//! Which part of the work is this process's.

use std::fmt;
use std::str::FromStr;

/// One of the processes that make a model together: number `index` of `count`.
///
/// ```
/// use init_plan::Part;
///
/// let part: Part = "3/8".parse()?;
/// assert_eq!((part.index(), part.count()), (3, 8));
/// assert!("8/8".parse::<Part>().is_err());
/// # Ok::<(), init_plan::PartError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    index: u64,
    count: u64,
}

/// A part that does not exist, or that the environment names by halves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PartError {
    /// Not of the form `I/N` with `I < N`.
    #[error("expected I/N with I from 0 to N - 1, found {0:?}")]
    Form(
        /// What was found.
        String,
    ),
    /// One variable of a pair is set, and the other is not.
    #[error(
        "{set} is set and {missing} is not; set both, neither, or say which part with --part I/N"
    )]
    Half {
        /// The variable that is set.
        set: &'static str,
        /// The one that is missing.
        missing: &'static str,
    },
    /// The variables do not name a part.
    #[error("expected {index} below {count}, found {found:?}; say which part with --part I/N")]
    Variables {
        /// The variable of the number.
        index: &'static str,
        /// The variable of the count.
        count: &'static str,
        /// Their values, as `I/N`.
        found: String,
    },
}

/// The variables that launchers set, the number and the count, in the order in which they are looked for. Inside
/// `sbatch`, Slurm's are also set for processes that another launcher numbers; `SLURM_NTASKS` is not that of a step.
const VARIABLES: [(&str, &str); 4] = [
    ("RANK", "WORLD_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
];

impl Part {
    /// All of the work.
    pub const WHOLE: Part = Part { index: 0, count: 1 };

    /// Part number `index` of `count`.
    ///
    /// # Errors
    ///
    /// [`PartError::Form`] unless `index` is below `count`.
    pub fn new(index: u64, count: u64) -> Result<Part, PartError> {
        match index < count {
            true => Ok(Part { index, count }),
            false => Err(PartError::Form(format!("{index}/{count}"))),
        }
    }

    /// The part that a launcher gave this process, and the variable that says so: the first complete pair of
    /// `RANK`, `WORLD_SIZE` (torchrun); `OMPI_COMM_WORLD_RANK`, `_SIZE` (Open MPI); `PMI_RANK`, `PMI_SIZE` (MPICH, Intel
    /// MPI); `SLURM_PROCID`, `SLURM_STEP_NUM_TASKS` (srun). `None` without any.
    ///
    /// # Errors
    ///
    /// [`PartError::Half`] if half of a pair is set and no pair is complete, except for `SLURM_PROCID`, which the body
    /// of a batch script has; [`PartError::Variables`] for values that are not a part.
    pub fn from_env() -> Result<Option<(Part, &'static str)>, PartError> {
        Part::from_variables(|name| std::env::var(name).ok())
    }

    /// [`from_env`](Self::from_env) of other variables.
    ///
    /// ```
    /// use init_plan::Part;
    ///
    /// let variables = |name: &str| match name {
    ///     "PMI_RANK" => Some("2".to_owned()),
    ///     "PMI_SIZE" => Some("4".to_owned()),
    ///     _ => None,
    /// };
    /// assert_eq!(Part::from_variables(variables), Ok(Some((Part::new(2, 4)?, "PMI_RANK"))));
    /// # Ok::<(), init_plan::PartError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
    pub fn from_variables(
        get: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<(Part, &'static str)>, PartError> {
        let mut half = None;
        for (index, count) in VARIABLES {
            match (get(index), get(count)) {
                (Some(i), Some(n)) => {
                    let found = format!("{}/{}", i.trim(), n.trim());
                    let part = found.parse();
                    let part = part.map_err(|_| PartError::Variables {
                        index,
                        count,
                        found,
                    });
                    return Ok(Some((part?, index)));
                }
                (Some(_), None) if index != "SLURM_PROCID" => half = half.or(Some((index, count))),
                (None, Some(_)) => half = half.or(Some((count, index))),
                _ => {}
            }
        }
        match half {
            Some((set, missing)) => Err(PartError::Half { set, missing }),
            None => Ok(None),
        }
    }

    /// The number, from 0.
    pub fn index(self) -> u64 {
        self.index
    }

    /// The number of parts.
    pub fn count(self) -> u64 {
        self.count
    }

    /// Which of some pieces of work of these sizes are this part's: the largest goes to the part that has least so far.
    pub(crate) fn share(self, sizes: &[u64]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..sizes.len()).collect();
        order.sort_by_key(|piece| (std::cmp::Reverse(sizes[*piece]), *piece));
        // No more parts have work than there are pieces.
        let parts = self.count.min(sizes.len() as u64) as usize;
        let (mut loads, mut share) = (vec![0u128; parts], Vec::new());
        for piece in order {
            let least = (0..parts).min_by_key(|part| (loads[*part], *part));
            let Some(least) = least else { continue };
            loads[least] += u128::from(sizes[piece]);
            if least as u64 == self.index {
                share.push(piece);
            }
        }
        share.sort_unstable();
        share
    }
}

impl FromStr for Part {
    type Err = PartError;

    fn from_str(text: &str) -> Result<Part, PartError> {
        let wrong = || PartError::Form(text.to_owned());
        let (index, count) = text.split_once('/').ok_or_else(wrong)?;
        let number = |text: &str| text.parse().map_err(|_| wrong());
        Part::new(number(index)?, number(count)?).map_err(|_| wrong())
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Result<Option<(u64, u64, &'static str)>, PartError> {
        let get = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let part = Part::from_variables(get)?;
        Ok(part.map(|(part, by)| (part.index, part.count, by)))
    }

    /// What each launcher sets, as it was seen.
    #[test]
    fn launchers_name_the_part() {
        let slurm = ("SLURM_PROCID", "0");
        for (variables, expected) in [
            (&[][..], None),
            (&[slurm, ("SLURM_NTASKS", "4")], None),
            (&[("JOB_COMPLETION_INDEX", "3")], None),
            (
                &[
                    ("RANK", "3"),
                    ("WORLD_SIZE", "4"),
                    slurm,
                    ("SLURM_STEP_NUM_TASKS", "1"),
                ],
                Some((3, 4, "RANK")),
            ),
            (
                &[
                    ("OMPI_COMM_WORLD_RANK", "1"),
                    ("OMPI_COMM_WORLD_SIZE", "2"),
                    slurm,
                ],
                Some((1, 2, "OMPI_COMM_WORLD_RANK")),
            ),
            (
                &[
                    ("PMI_RANK", "1"),
                    ("PMI_SIZE", "2"),
                    slurm,
                    ("SLURM_STEP_NUM_TASKS", "1"),
                ],
                Some((1, 2, "PMI_RANK")),
            ),
            (
                &[
                    ("SLURM_PROCID", "5"),
                    ("SLURM_STEP_NUM_TASKS", "8"),
                    ("RANK", "1"),
                ],
                Some((5, 8, "SLURM_PROCID")),
            ),
        ] {
            assert_eq!(from(variables), Ok(expected), "{variables:?}");
        }
        for (variables, said) in [
            (&[("RANK", "1")][..], "RANK is set and WORLD_SIZE is not"),
            (
                &[("WORLD_SIZE", "2"), slurm],
                "WORLD_SIZE is set and RANK is not",
            ),
            (
                &[("PMI_RANK", "2"), ("PMI_SIZE", "2")],
                "expected PMI_RANK below PMI_SIZE, found \"2/2\"",
            ),
            (&[("RANK", "one"), ("WORLD_SIZE", "2")], "found \"one/2\""),
            (
                &[("SLURM_STEP_NUM_TASKS", "2")],
                "SLURM_STEP_NUM_TASKS is set and SLURM_PROCID is not",
            ),
        ] {
            let error = from(variables).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn every_piece_is_in_one_share() {
        for sizes in [
            &[][..],
            &[7],
            &[5, 5, 5, 5, 1],
            &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
            &[0, 0, 0],
        ] {
            for count in [1, 2, 3, 5, 8, 64, u64::MAX] {
                let parts = count.min(64);
                let shares = (0..parts).map(|index| Part::new(index, count).unwrap().share(sizes));
                let shares: Vec<Vec<usize>> = shares.collect();
                let mut all: Vec<usize> = shares.concat();
                all.sort_unstable();
                assert!(all.into_iter().eq(0..sizes.len()), "{sizes:?} {count}");
                let loads = shares
                    .iter()
                    .map(|share| share.iter().map(|i| sizes[*i]).sum::<u64>());
                let most = loads.max().unwrap_or(0);
                let largest = sizes.iter().copied().max().unwrap_or(0);
                assert!(most <= largest + sizes.iter().sum::<u64>() / parts);
            }
        }
        assert_eq!(Part::new(0, 2).unwrap().share(&[5, 9, 5]), [1]);
    }
}
