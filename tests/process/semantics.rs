//! Initializations with the bits of older versions of PyTorch, recorded in tests/data/semantics-*.json by
//! tests/data/semantics.py.

use serde_json::Value;
use std::process::Command;
use tch::{Device, Kind, Tensor};
use tch_init::distribution::{Engine, erf};
use tch_init::init::{self, FanMode, Nonlinearity};
use tch_init::plan::{CpuStream, InitPlan, PlanBuilder, PlanError, StorageId};
use tch_init::rng::{Backend, Draw, Mt19937, Semantics};
use tch_init::tensor::Dtype;
use tch_init::{Generator, InitError};

const THIS_TEST: &str = "semantics::functions_of_init_draw_the_bits_of_older_versions";
/// The name of the semantics, in the process that draws: they are those of a whole process.
const SEMANTICS: &str = "TCH_INIT_TEST_SEMANTICS";

struct Row {
    function: String,
    args: Vec<f64>,
    dtype: Dtype,
    layout: String,
    rows: i64,
    columns: i64,
    values: String,
    state: String,
}

fn rows(semantics: Semantics) -> Vec<Row> {
    let json = match semantics {
        Semantics::PyTorch2_0 => include_str!("../data/semantics-2.0.json"),
        Semantics::PyTorch2_11 => include_str!("../data/semantics-2.11.json"),
        _ => include_str!("../data/semantics-2.12.json"),
    };
    let rows: Vec<Value> = serde_json::from_str(json).unwrap();
    // PyTorch 2.0 has no `trunc_normal_` of float16.
    let missing = if semantics == Semantics::PyTorch2_0 {
        3 * 3 * 2
    } else {
        0
    };
    assert_eq!(rows.len(), 11 * 4 * 3 * 2 + 2 * 3 * 2 - missing);
    let row = |row: &Value| {
        let text = |i: usize| row[i].as_str().unwrap().to_owned();
        let args = row[1].as_array().unwrap().iter();
        let dtype = text(2);
        let mut dtypes = Dtype::ALL.into_iter();
        Row {
            function: text(0),
            args: args.map(|value| value.as_f64().unwrap()).collect(),
            dtype: dtypes.find(|known| known.name() == dtype).unwrap(),
            layout: text(3),
            rows: row[4][0].as_i64().unwrap(),
            columns: row[4][1].as_i64().unwrap(),
            values: text(5),
            state: text(6),
        }
    };
    rows.iter().map(row).collect()
}

/// FNV-1a, 64 bits.
fn fnv(data: &[u8]) -> String {
    let hash = data.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    format!("{hash:016x}")
}

fn bytes(tensor: &Tensor) -> Vec<u8> {
    let flat = tensor.contiguous().view([-1]).view_dtype(Kind::Uint8);
    Vec::try_from(flat).unwrap()
}

impl Row {
    fn tensor(&self) -> Tensor {
        let options = (self.dtype.kind().unwrap(), Device::Cpu);
        let (rows, columns) = (self.rows, self.columns);
        match self.layout.as_str() {
            "contiguous" => Tensor::zeros([rows, columns], options),
            "transposed" => Tensor::zeros([columns, rows], options).tr(),
            _ => Tensor::zeros([rows, 2 * columns], options).slice(1, None, None, 2),
        }
    }

    fn fill(&self, tensor: &mut Tensor, generator: Option<&mut Generator>) {
        let args = &self.args[..];
        match (self.function.as_str(), args) {
            ("uniform_", [a, b]) => init::uniform_(tensor, *a, *b, generator),
            ("normal_", [mean, std]) => init::normal_(tensor, *mean, *std, generator),
            ("xavier_uniform_", []) => init::xavier_uniform_(tensor, 1.0, generator),
            ("kaiming_normal_", []) => {
                let nonlinearity = Nonlinearity::LeakyRelu {
                    negative_slope: 0.0,
                };
                init::kaiming_normal_(tensor, FanMode::FanIn, nonlinearity, generator)
            }
            ("sparse_", [sparsity, std]) => init::sparse_(tensor, *sparsity, *std, generator),
            ("trunc_normal_", [mean, std, a, b]) => {
                init::trunc_normal_(tensor, *mean, *std, *a, *b, generator)
            }
            ("orthogonal_", [gain]) => init::orthogonal_(tensor, *gain, generator),
            (function, _) => panic!("{function}"),
        }
        .unwrap();
    }

    fn check(&self, seed: usize, values: &[u8], state: &[u8]) {
        let case = format!(
            "{} {:?} {} {} [{}, {}] of seed {seed}",
            self.function, self.args, self.dtype, self.layout, self.rows, self.columns
        );
        if fnv(values) != self.values {
            let here = self.made_on_this_machine(seed);
            assert_eq!(Some(values), here.as_deref(), "values of {case}");
        }
        assert_eq!(fnv(state), self.state, "state after {case}");
    }

    /// The bytes that libtorch's operations give on this machine, step by step as in `torch/nn/init.py` of 2.11: those of
    /// `erfinv` (MKL) and of QR (LAPACK) depend on the vendor of the CPU, and the file was recorded on one machine.
    fn made_on_this_machine(&self, seed: usize) -> Option<Vec<u8>> {
        if !matches!(self.dtype, Dtype::Float32 | Dtype::Float64) {
            return None;
        }
        let mut generator = Generator::new(Device::Cpu).unwrap();
        generator.manual_seed(seed as i64).unwrap();
        let mut tensor = self.tensor();
        let made = match (self.function.as_str(), &self.args[..]) {
            ("trunc_normal_", [mean, std, a, b]) => {
                let cdf = |x: f64| (1.0 + erf((x - mean) / std / 2f64.sqrt())) / 2.0;
                let (from, to) = (2.0 * cdf(*a) - 1.0, 2.0 * cdf(*b) - 1.0);
                init::uniform_(&mut tensor, from, to, Some(&mut generator)).unwrap();
                let values = tensor.erfinv_() * (std * 2f64.sqrt()) + *mean;
                values.clamp(*a, *b)
            }
            ("orthogonal_", [gain]) => {
                let mut flat = tensor.contiguous();
                init::normal_(&mut flat, 0.0, 1.0, Some(&mut generator)).unwrap();
                let is_wide = self.rows < self.columns;
                let flat = if is_wide { flat.tr() } else { flat };
                let (q, r) = Tensor::linalg_qr(&flat, "reduced");
                let q = q * r.diagonal(0, 0, 1).sign();
                (if is_wide { q.tr() } else { q }) * *gain
            }
            _ => return None,
        };
        Some(bytes(&made))
    }

    /// A plan of the one draw; `None` for a function that is not one.
    fn plan(&self, semantics: Semantics) -> Option<InitPlan> {
        let draw = Draw::new(&self.function, &self.args)?;
        let (rows, columns) = (self.rows as u64, self.columns as u64);
        let mut plan = PlanBuilder::new().semantics(semantics);
        let size = self.dtype.size() as u64;
        let mut storage = |elements: u64| -> StorageId { plan.storage(elements * size) };
        let (storage, stride) = match self.layout.as_str() {
            "contiguous" => (storage(rows * columns), [columns, 1]),
            "transposed" => (storage(rows * columns), [1, rows]),
            _ => (storage(2 * rows * columns), [2 * columns, 2]),
        };
        let shape = [rows, columns];
        let tensor = plan.view(storage, self.dtype, 0, &shape, &stride).unwrap();
        plan.draw(tensor, draw).unwrap();
        plan.name_parameter("weight", tensor, true);
        Some(plan.finish("one draw").unwrap())
    }
}

/// In a process of each of the semantics.
#[test]
fn functions_of_init_draw_the_bits_of_older_versions() {
    if let Some(name) = std::env::var_os(SEMANTICS) {
        return draw_rows(Semantics::from_name(name.to_str().unwrap()).unwrap());
    }
    for semantics in ["2.0", "2.11", "2.12"] {
        // With libtorch's backend, no draw takes the fast path.
        for backend in ["", "scalar", "libtorch"] {
            let child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", THIS_TEST, "--test-threads=1", "--nocapture"])
                .env(SEMANTICS, semantics)
                .env("TCH_INIT_BACKEND", backend)
                .output()
                .unwrap();
            let message = String::from_utf8_lossy(&child.stderr);
            assert!(child.status.success(), "{semantics} {backend}: {message}");
        }
    }
}

fn draw_rows(semantics: Semantics) {
    init::set_semantics(semantics);
    assert_eq!(init::semantics(), semantics);
    for (seed, row) in rows(semantics).into_iter().enumerate() {
        let mut tensor = row.tensor();
        tch_init::manual_seed(seed as i64).unwrap();
        row.fill(&mut tensor, None);
        let state = tch_init::get_rng_state().unwrap();
        row.check(seed, &bytes(&tensor), &state);

        // The zeros of `sparse_` come from the default generator in any case.
        if row.function != "sparse_" {
            let mut generator = Generator::new(Device::Cpu).unwrap();
            generator.manual_seed(seed as i64).unwrap();
            let mut tensor = row.tensor();
            row.fill(&mut tensor, Some(&mut generator));
            row.check(seed, &bytes(&tensor), &generator.get_state().unwrap());
        }
    }
    // On all threads.
    let other = std::thread::spawn(init::semantics);
    assert_eq!(other.join().unwrap(), semantics);
    a_layer_and_its_plan_have_the_semantics(semantics);
    tensors_that_libtorch_rejects();
}

/// Recipes that draw a layer's weight only, directly and from a recorded plan, against the recorded rows of the function.
fn a_layer_and_its_plan_have_the_semantics(semantics: Semantics) {
    let mut checked = 0;
    for (seed, row) in rows(semantics).into_iter().enumerate() {
        let recipe = match row.function.as_str() {
            "xavier_uniform_" => tch_init::recipe::xavier_uniform,
            "kaiming_normal_" => tch_init::recipe::kaiming_fan_in,
            _ => continue,
        };
        if row.layout != "contiguous" {
            continue;
        }
        let store = || {
            let mut vs = tch_init::nn::VarStore::new(Device::Cpu);
            vs.set_kind(row.dtype.kind().unwrap());
            let linear = tch_init::nn::linear(vs.root(), row.columns, row.rows, Default::default());
            (vs, linear)
        };
        let (vs, linear) = store();
        tch_init::manual_seed(seed as i64).unwrap();
        tch_init::apply(&vs, recipe).unwrap();
        let state = tch_init::get_rng_state().unwrap();
        row.check(seed, &bytes(&linear.ws), &state);

        let (mut vs, linear) = store();
        let ((), plan) = tch_init::plan::record("linear", &vs, || {
            tch_init::apply(&vs, recipe).unwrap();
        })
        .unwrap();
        assert_eq!(plan.semantics(), semantics);
        let mut generator = Generator::new(Device::Cpu).unwrap();
        generator.manual_seed(seed as i64).unwrap();
        tch_init::plan::materialize_into(&plan, &mut vs, &mut generator).unwrap();
        row.check(seed, &bytes(&linear.ws), &generator.get_state().unwrap());
        checked += 1;
    }
    assert_eq!(checked, 2 * 4 * 2);
}

fn tensors_that_libtorch_rejects() {
    let mut expanded = Tensor::zeros([1, 20], (Kind::BFloat16, Device::Cpu)).expand([3, 20], false);
    let before = tch_init::get_rng_state().unwrap();
    let error = init::uniform_(&mut expanded, 0.0, 1.0, None).unwrap_err();
    assert!(
        error.to_string().contains("single memory location"),
        "{error}"
    );
    let mut integers = Tensor::zeros([20], (Kind::Int64, Device::Cpu));
    assert!(init::uniform_(&mut integers, 0.0, 1.0, None).is_err());
    let mut halves = Tensor::zeros([20], (Kind::BFloat16, Device::Cpu));
    assert!(init::uniform_(&mut halves, 1.0, 0.0, None).is_err());
    assert!(init::normal_(&mut halves, 0.0, -1.0, None).is_err());
    assert_eq!(tch_init::get_rng_state().unwrap(), before);
    if init::semantics() == Semantics::PyTorch2_0 {
        let mut halves = Tensor::zeros([20], (Kind::Half, Device::Cpu));
        let error = init::trunc_normal_(&mut halves, 0.0, 1.0, -2.0, 2.0, None).unwrap_err();
        assert!(
            error.to_string().contains("PyTorch 2.0 has no erfinv"),
            "{error}"
        );
    }
    let mut complex = Tensor::zeros([20], (Kind::ComplexHalf, Device::Cpu));
    let drawn = init::normal_(&mut complex, 0.0, 1.0, None);
    // libtorch draws its own.
    if Semantics::of_version(tch_init::LIBTORCH_VERSION) == Some(init::semantics()) {
        drawn.unwrap();
    } else {
        let error = drawn.unwrap_err();
        assert!(matches!(error, InitError::Semantics { .. }), "{error}");
    }
    let mut empty = Tensor::zeros([0], (Kind::BFloat16, Device::Cpu));
    init::uniform_(&mut empty, 0.0, 1.0, None).unwrap();
}

#[test]
fn plans_draw_the_bits_of_their_semantics() {
    for semantics in [
        Semantics::PyTorch2_0,
        Semantics::PyTorch2_11,
        Semantics::PyTorch2_12,
    ] {
        let mut without_libtorch = 0;
        for (seed, row) in rows(semantics).into_iter().enumerate() {
            let Some(plan) = row.plan(semantics) else {
                continue;
            };
            assert_eq!(plan.semantics(), semantics);
            let json = plan.to_json();
            let plan = InitPlan::from_json(json.as_bytes()).unwrap();
            assert_eq!(plan.to_json(), json);
            assert!(
                plan.to_string()
                    .contains(&format!(", semantics {}", semantics.name()))
            );

            let mut generator = Generator::new(Device::Cpu).unwrap();
            generator.manual_seed(seed as i64).unwrap();
            let start = generator.clone_state().unwrap();
            let tensors = plan.materialize(&mut generator).unwrap();
            let values = bytes(&tensors[0].1);
            row.check(seed, &values, &generator.get_state().unwrap());
            let size = values.len() / row.rows as usize;
            let some = plan.materialize_rows(&start, "weight", 1..3).unwrap();
            assert_eq!(bytes(&some), values[size..3 * size]);

            for backend in Backend::ALL.into_iter().filter(|b| b.is_available()) {
                let start = CpuStream::new(Mt19937::new(seed as i64));
                let start = start.engine(Engine::new(backend).unwrap());
                let mut stream = start.clone();
                match plan.materialize(&mut stream) {
                    Ok(tensors) => {
                        let state = tch_init::plan::Stream::position(&stream).unwrap();
                        let state = state.to_state().to_bytes();
                        row.check(seed, &tensors[0].1.to_bytes(), &state);
                        let some = plan.materialize_rows(&start, "weight", 1..3).unwrap();
                        assert_eq!(*some.to_bytes(), values[size..3 * size]);
                        without_libtorch += 1;
                    }
                    Err(error) => assert!(matches!(error, PlanError::Step { .. }), "{error}"),
                }
            }
        }
        assert!(without_libtorch >= 130, "{without_libtorch}");
    }
}
