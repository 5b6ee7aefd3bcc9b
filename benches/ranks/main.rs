//! `make bench`: times the processes that make one model together, each its own files, to nowhere.
//!
//! First a model of 1.2 billion elements, by 1, 2, 4 and 8 processes of 0.2 cores and 64 MB each, all at the same time:
//! the slowest of them beside the one process. This needs cgroups, and so mostly root. Then one file of 64, 512 and
//! 4,096 of the shapes of large models, alone on the machine. Built without libtorch, as a node needs it.

#[path = "../table/mod.rs"]
mod table;

use init_plan::{InitPlan, Layout, PlanBuilder, PlanError, Save, Scalar};
use std::fs;
use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Instant;
use table::{Row, median, row};
use tensor_parity::Dtype;
use torch_rng::{Mt19937, Normal};

/// The shape of a decoder.
struct Shape {
    name: &'static str,
    layers: u64,
    hidden: u64,
    /// The outputs of the keys, and of the values.
    keys: u64,
    feed_forward: u64,
    /// 0 if the layers are dense.
    experts: u64,
    vocabulary: u64,
}

const SMALL: Shape = Shape {
    name: "1.2B",
    layers: 16,
    hidden: 2048,
    keys: 512,
    feed_forward: 8192,
    experts: 0,
    vocabulary: 64_000,
};

const LARGE: [Shape; 3] = [
    Shape {
        name: "70B",
        layers: 80,
        hidden: 8192,
        keys: 1024,
        feed_forward: 28_672,
        experts: 0,
        vocabulary: 128_256,
    },
    Shape {
        name: "405B",
        layers: 126,
        hidden: 16_384,
        keys: 1024,
        feed_forward: 53_248,
        experts: 0,
        vocabulary: 128_256,
    },
    Shape {
        name: "671B",
        layers: 58,
        hidden: 7168,
        keys: 7168,
        feed_forward: 2048,
        experts: 256,
        vocabulary: 129_280,
    },
];

/// The files that the processes of [`SMALL`] share.
const SMALL_FILES: u32 = 8;

fn plan(shape: &Shape) -> Result<InitPlan, PlanError> {
    let mut plan = PlanBuilder::new();
    let mut matrix = |name: String, sizes: &[u64]| {
        let tensor = plan.parameter(name, Dtype::Float32, sizes)?;
        plan.draw(
            tensor,
            Normal {
                mean: 0.0,
                std: 0.02,
            },
        )
    };
    let Shape { hidden, keys, .. } = *shape;
    matrix(
        "embed_tokens.weight".to_owned(),
        &[shape.vocabulary, hidden],
    )?;
    for layer in 0..shape.layers {
        for (name, rows) in [("q", hidden), ("k", keys), ("v", keys), ("o", hidden)] {
            matrix(
                format!("layers.{layer}.self_attn.{name}_proj.weight"),
                &[rows, hidden],
            )?;
        }
        let inner = shape.feed_forward;
        for (name, sizes) in [
            ("gate", [inner, hidden]),
            ("up", [inner, hidden]),
            ("down", [hidden, inner]),
        ] {
            let name = format!("layers.{layer}.mlp.{name}_proj.weight");
            match shape.experts {
                0 => matrix(name, &sizes)?,
                experts => matrix(name, &[experts, sizes[0], sizes[1]])?,
            }
        }
    }
    matrix("lm_head.weight".to_owned(), &[shape.vocabulary, hidden])?;
    for layer in 0..shape.layers {
        let name = format!("layers.{layer}.input_layernorm.weight");
        let norm = plan.parameter(name, Dtype::Float32, &[hidden])?;
        plan.fill(norm, Scalar::Float(1.0))?;
    }
    plan.finish(shape.name)
}

/// Makes some files of a model, in bf16.
fn make(shape: &str, shards: u32, files: impl Iterator<Item = u32>) {
    let shapes = std::iter::once(&SMALL).chain(&LARGE);
    let shape = shapes.into_iter().find(|known| known.name == shape);
    let plan = plan(shape.unwrap()).unwrap();
    let save = Save::default()
        .layout(Layout::Rows {
            shards: NonZero::new(shards).unwrap(),
        })
        .dtype(Some(Dtype::Bfloat16));
    let generator = Mt19937::new(1);
    for file in files {
        plan.write_shard(&generator, save, |_| true, file as usize, &mut io::sink())
            .unwrap();
    }
}

/// This program, as the process that makes every `step`th file.
fn process(shape: &str, shards: u32, first: u32, step: u32) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["make", shape]);
    command.args([shards, first, step].map(|number| number.to_string()));
    command
}

/// The nanoseconds until all processes have ended.
fn nanoseconds(start: impl FnOnce() -> io::Result<Vec<Child>>) -> io::Result<f64> {
    let begin = Instant::now();
    for mut child in start()? {
        assert!(child.wait()?.success(), "a process failed");
    }
    Ok(begin.elapsed().as_nanos() as f64)
}

/// A group of processes that has a part of a core and of the memory.
struct Group(Vec<PathBuf>);

impl Group {
    fn new(name: &str) -> io::Result<Group> {
        let root = Path::new("/sys/fs/cgroup");
        let limits: &[(PathBuf, &[(&str, &str)])] = match root.join("cgroup.controllers").exists() {
            true => {
                fs::write(root.join("cgroup.subtree_control"), "+cpu +memory")?;
                &[(
                    root.join(name),
                    &[("cpu.max", "20000 100000"), ("memory.max", "64000000")],
                )]
            }
            false => &[
                (
                    root.join("cpu").join(name),
                    &[
                        ("cpu.cfs_period_us", "100000"),
                        ("cpu.cfs_quota_us", "20000"),
                    ],
                ),
                (
                    root.join("memory").join(name),
                    &[("memory.limit_in_bytes", "64000000")],
                ),
            ],
        };
        let mut group = Group(Vec::new());
        for (folder, limits) in limits {
            fs::create_dir(folder)?;
            group.0.push(folder.clone());
            for (limit, value) in *limits {
                fs::write(folder.join(limit), value)?;
            }
        }
        Ok(group)
    }

    /// Starts the command in the group.
    fn spawn(&self, command: &Command) -> io::Result<Child> {
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs" || exit 1; shift; done; shift; exec "$@""#, "sh"]);
        shell.args(&self.0).arg("--");
        shell.arg(command.get_program()).args(command.get_args());
        shell.spawn()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for folder in &self.0 {
            if let Err(error) = fs::remove_dir(folder) {
                eprintln!("{}: {error}", folder.display());
            }
        }
    }
}

/// The slowest of some processes in groups of their own.
fn together(processes: u32) -> io::Result<f64> {
    let name = |i| format!("tch-init-{}-{i}", std::process::id());
    let groups: Vec<Group> = (0..processes)
        .map(|i| Group::new(&name(i)))
        .collect::<io::Result<_>>()?;
    nanoseconds(|| {
        let started = groups.iter().zip(0..);
        let started =
            started.map(|(group, i)| group.spawn(&process(SMALL.name, SMALL_FILES, i, processes)));
        started.collect()
    })
}

fn ranks() -> io::Result<Vec<Row>> {
    let alone = together(1)?;
    let mut rows = vec![row(
        format!("{}, 1 process of 0.2 cores", SMALL.name),
        alone,
        0.0,
        1,
    )];
    for processes in [2, 4, 8] {
        let name = format!("{}, {processes} of them", SMALL.name);
        rows.push(row(name, together(processes)?, alone, 1));
    }
    Ok(rows)
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, shape, numbers @ ..] = &arguments[..]
        && first == "make"
    {
        let numbers: Vec<u32> = numbers
            .iter()
            .map(|number| number.parse().unwrap())
            .collect();
        let [shards, file, step] = numbers[..] else {
            panic!("expected make SHAPE SHARDS FIRST STEP");
        };
        return make(shape, shards, (file..shards).step_by(step as usize));
    }
    table::print_head();
    let mut rows = ranks().unwrap_or_else(|error| {
        eprintln!("not measured, since cgroups cannot be made here (it needs root): {error}");
        Vec::new()
    });
    for shape in &LARGE {
        for shards in [64, 512, 4096] {
            let one = |_| nanoseconds(|| Ok(vec![process(shape.name, shards, 0, shards).spawn()?]));
            let times = (0..3).map(one).map(Result::unwrap).collect();
            let name = format!("{}, one file of {shards}", shape.name);
            rows.push(row(name, median(times), 0.0, 1));
        }
    }
    table::save(rows);
}
