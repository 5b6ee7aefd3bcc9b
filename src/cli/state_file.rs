//! `--state-in`: the state of PyTorch's CPU generator, from the files in which people keep it.

use anyhow::{Context, Result, anyhow, bail};
use std::path::{Path, PathBuf};
use tch_init::file::{FileError, TensorFile};
use tch_init::rng::{Mt19937, STATE_LEN, Seed, State};
use tch_init::tensor::Dtype;

/// Names of the state in a file that has several of its size, best first.
const NAMES: [&str; 7] = [
    "rng_state",
    "torch_rng_state",
    "cpu_rng_state",
    "torch_rng",
    "cpu",
    "torch",
    "torch_manual_seed",
];

/// Reads raw bytes, or a tensor of bytes of any format that `diff` reads: `torch.save`, `npy`, a
/// checkpoint with the state under any name.
pub fn read(path: &Path) -> Result<Mt19937> {
    let shown = path.display();
    let bytes = std::fs::metadata(path).with_context(|| format!("{shown}: cannot be read"))?;
    let bytes = match usize::try_from(bytes.len()) {
        Ok(STATE_LEN) => std::fs::read(path).with_context(|| format!("{shown}: cannot be read"))?,
        _ => in_tensor_file(path)?,
    };
    State::from_bytes(&bytes)
        .and_then(|state| Mt19937::from_state(&state))
        .with_context(|| format!("{shown}: not the state of a CPU generator"))
}

fn in_tensor_file(path: &Path) -> Result<Vec<u8>> {
    let shown = path.display();
    let file = TensorFile::open(path).map_err(|error| match error {
        FileError::Unknown { .. } => anyhow!(
            "{shown}: not the state of a CPU generator, which is {STATE_LEN} bytes, or a tensor of them in a \
             file of torch.save or numpy"
        ),
        error => error.into(),
    })?;
    let is_state = |dtype, shape: &[usize]| dtype == Dtype::Uint8 && shape == [STATE_LEN];
    let mut states: Vec<_> = file
        .iter()
        .filter(|(_, tensor)| is_state(tensor.dtype(), tensor.shape()))
        .collect();
    let rank = |name: &str| {
        let last = name.rsplit('.').next().unwrap_or(name);
        let known = NAMES.iter().position(|known| *known == last);
        (known.unwrap_or(NAMES.len()), name.matches('.').count())
    };
    states.sort_by_key(|(name, _)| rank(name));
    match states.as_slice() {
        [] => bail!(
            "{shown}: has no state of a CPU generator, a uint8 tensor of {STATE_LEN} elements as \
             torch.get_rng_state() returns it"
        ),
        [(first, _), (second, _), ..] if rank(first) == rank(second) => bail!(
            "{shown}: has several states of generators ({first}, {second}); save the one to start from with \
             torch.save(state, path)"
        ),
        [(_, state), ..] => Ok(state.to_bytes()),
    }
}

/// Where a plan starts in the stream.
#[derive(clap::Args)]
pub struct Start {
    /// The seed, as torch.manual_seed takes it
    #[arg(
        long,
        allow_negative_numbers = true,
        required_unless_present = "state_in"
    )]
    seed: Option<Seed>,
    /// Instead of a seed: a file with the generator state to start from, as torch.get_rng_state() returns it: raw bytes, npy,
    /// what torch.save wrote of it, or a checkpoint that has it
    #[arg(long, value_name = "FILE", conflicts_with = "seed")]
    state_in: Option<PathBuf>,
}

impl Start {
    /// The generator that `--seed` or `--state-in` names.
    pub fn generator(&self) -> Result<Mt19937> {
        match (&self.state_in, self.seed) {
            (Some(path), _) => read(path),
            (None, Some(seed)) => Ok(Mt19937::new(seed)),
            (None, None) => bail!("give --seed or --state-in"),
        }
    }
}
