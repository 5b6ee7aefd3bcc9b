//! Writes files of a layout to standard output, as to an object store, without a folder.
//!
//! ```text
//! shards llama.plan.json SEED S R [R ...] | upload
//! ```
//!
//! Files number `R`, from 0, of `S` files of rows, in bf16, one after the other.

use init_plan::{InitPlan, Layout, Save};
use std::error::Error;
use std::io;
use std::num::NonZero;
use tensor_parity::Dtype;
use torch_rng::Mt19937;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [plan, seed, shards, files @ ..] = &arguments[..] else {
        return Err("expected PLAN SEED S R [R ...]".into());
    };
    let plan = InitPlan::load(plan)?;
    let generator = Mt19937::new(seed.parse::<u64>()?);
    let shards: NonZero<u32> = shards.parse()?;
    let save = Save::default()
        .layout(Layout::Rows { shards })
        .dtype(Some(Dtype::Bfloat16));
    for file in files {
        plan.write_shard(&generator, save, |_| true, file.parse()?, &mut io::stdout())?;
    }
    Ok(())
}
