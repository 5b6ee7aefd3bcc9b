//! Archives of torch.distributed.checkpoint whose numbers exceed 32 bits, read by PyTorch: `large_archives.py`. The files
//! are sparse, and take no room on the disk.

use crate::common::run_script;
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write};
use std::path::Path;
use tch_init::plan::{CpuStream, InitPlan, Layout, Save};
use tch_init::rng::Mt19937;

/// Writes no zeros, which a file has where nothing is written.
struct Sparse {
    file: File,
    zeros: Vec<u8>,
}

impl Write for Sparse {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = &bytes[..bytes.len().min(self.zeros.len())];
        if *bytes == self.zeros[..bytes.len()] {
            self.file.seek(SeekFrom::Current(bytes.len() as i64))?;
            return Ok(bytes.len());
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Zeros, the last of which is 1.5, in f64: more than 4 GiB; less, with a directory beyond; and a few that follow.
const NUMEL: [u64; 3] = [(1 << 29) + 1, (1 << 29) - 8, 5];

fn plan() -> InitPlan {
    let (mut storages, mut views, mut steps, mut parameters) = (vec![], vec![], vec![], vec![]);
    for (name, numel) in ["a", "b", "c"].into_iter().zip(NUMEL) {
        let view = views.len();
        views.push(serde_json::json!([storages.len(), "float64", [numel]]));
        let last = serde_json::json!([storages.len(), "float64", [1], numel - 1]);
        views.push(last);
        storages.push(numel * 8);
        steps.push(serde_json::json!(["fill_", view, 0.0]));
        steps.push(serde_json::json!(["fill_", view + 1, 1.5]));
        parameters.push(serde_json::json!([name, view]));
    }
    let plan = serde_json::json!({
        "format": "tch-init plan", "version": 1, "pytorch": "2.13.0", "semantics": "2.13", "model": "zeros",
        "storages": storages, "views": views, "steps": steps, "parameters": parameters, "buffers": [],
    });
    InitPlan::from_json(plan.to_string().as_bytes()).unwrap()
}

fn write(plan: &InitPlan, folder: &Path, save: Save, names: [&str; 2]) {
    std::fs::create_dir(folder).unwrap();
    let generator = CpuStream::new(Mt19937::new(1));
    let wanted = |name: &str| names.contains(&name);
    for (number, shard) in plan.shards(save, wanted).unwrap().iter().enumerate() {
        let mut file = Sparse {
            file: File::create(folder.join(&shard.file)).unwrap(),
            zeros: vec![0; 8 << 20],
        };
        let written = plan.write_shard(&generator, save, wanted, number, &mut file);
        written.unwrap();
    }
}

#[test]
#[ignore = "needs the Python reference: run `make test`"]
fn large_archives_are_read_by_pytorch() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan();
    let save = Save::default().layout(Layout::Dcp { shards: None });
    // Each in its own file, and both in one.
    write(
        &plan,
        &folder.path().join("apart"),
        save.max_shard_size(1000),
        ["a", "b"],
    );
    write(
        &plan,
        &folder.path().join("together"),
        save.max_shard_size(1 << 40),
        ["a", "c"],
    );
    run_script("tests/python/large_archives.py", [folder.path()]);
}
