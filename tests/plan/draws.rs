//! Draws: all of them against the functions of `init`, some of them against all, rows against the
//! whole. The streams at the end are compared too.

use super::build::{Builder, made, seeded, size};
use crate::common::{bytes, default_stream};
use proptest::prelude::*;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use tch_init::{get_rng_state, init, set_rng_state};

/// One draw into a tensor of its own.
#[derive(Debug, Clone)]
struct Draw {
    op: &'static str,
    dtype: &'static str,
    shape: Vec<u64>,
    transposed: bool,
}

impl Draw {
    fn arguments(&self) -> Vec<f64> {
        match self.op {
            "uniform_" => vec![-0.25, 0.5],
            "normal_" => vec![0.1, 0.7],
            "trunc_normal_" => vec![0.0, 1.0, -1.5, 1.0],
            // Of less than 0.3 of the distribution: the other method.
            "trunc_tail" => vec![0.0, 1.0, 1.0, 3.0],
            "orthogonal_" => vec![1.25],
            "sparse_" => vec![0.3, 0.02],
            _ => vec![],
        }
    }

    fn add(&self, plan: &mut Builder, name: &str) {
        let numel: u64 = self.shape.iter().product();
        plan.storage(numel * size(self.dtype));
        let storage = plan.storages.len() - 1;
        let row = match self.transposed {
            false => json!([storage, self.dtype, self.shape]),
            true => json!([storage, self.dtype, self.shape, 0, strides(&self.shape)]),
        };
        let out = plan.view(row);
        let op = if self.op == "trunc_tail" {
            "trunc_normal_"
        } else {
            self.op
        };
        let mut step = vec![json!(op), json!(out)];
        step.extend(self.arguments().into_iter().map(Value::from));
        plan.step(step.into()).parameter(name, out);
    }

    /// The same by libtorch's default stream.
    fn drawn(&self) -> Vec<u8> {
        let kind = match self.dtype {
            "float32" => Kind::Float,
            "float64" => Kind::Double,
            "bfloat16" => Kind::BFloat16,
            "float16" => Kind::Half,
            _ => Kind::Int64,
        };
        let shape: Vec<i64> = self.shape.iter().map(|size| *size as i64).collect();
        if self.op == "randperm" {
            return bytes(&Tensor::randperm(shape[0], (Kind::Int64, Device::Cpu)));
        }
        let mut tensor = match self.transposed {
            false => Tensor::zeros(&*shape, (kind, Device::Cpu)),
            true => {
                let strides: Vec<i64> = strides(&self.shape).iter().map(|s| *s as i64).collect();
                Tensor::empty_strided(&*shape, &*strides, (kind, Device::Cpu))
            }
        };
        let a = self.arguments();
        let t = &mut tensor;
        match self.op {
            "uniform_" => init::uniform_(t, a[0], a[1], None),
            "normal_" => init::normal_(t, a[0], a[1], None),
            "orthogonal_" => init::orthogonal_(t, a[0], None),
            "sparse_" => init::sparse_(t, a[0], a[1], None),
            _ => init::trunc_normal_(t, a[0], a[1], a[2], a[3], None),
        }
        .unwrap();
        bytes(&tensor)
    }
}

/// Column-major.
fn strides(shape: &[u64]) -> Vec<u64> {
    let before = |dim: usize| shape[..dim].iter().map(|size| size.max(&1)).product();
    (0..shape.len()).map(before).collect()
}

fn draw() -> impl Strategy<Value = Draw> {
    let dtypes = prop::sample::select(vec!["float32", "float64", "bfloat16", "float16"]);
    let op = prop::sample::select(vec![
        "uniform_",
        "normal_",
        "normal_",
        "trunc_normal_",
        "trunc_tail",
        "orthogonal_",
        "sparse_",
        "randperm",
    ]);
    let shape = prop_oneof![
        prop::collection::vec(1u64..9, 1..4),
        Just(vec![0, 3]),
        Just(vec![16]),
        Just(vec![33, 21])
    ];
    (op, dtypes, shape, any::<bool>()).prop_map(|(op, dtype, mut shape, transposed)| {
        let (dtype, transposed) = match op {
            // LAPACK has no halves.
            "orthogonal_" if dtype.ends_with("16") => ("float32", transposed),
            "randperm" => ("int64", false),
            _ => (dtype, transposed),
        };
        match op {
            "randperm" => shape.truncate(1),
            "sparse_" | "orthogonal_" => shape.resize(2, 5),
            _ => {}
        }
        let transposed = transposed && shape.len() > 1 && !shape.contains(&0);
        Draw {
            op,
            dtype,
            shape,
            transposed,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn some_draws_are_those_of_all_and_all_are_those_of_libtorch(
        draws in prop::collection::vec(draw(), 1..12),
        wanted in any::<u16>(),
        seed in any::<i64>(),
        warm in 0u64..3,
    ) {
        let _stream = default_stream();
        let mut plan = Builder::default();
        for (i, draw) in draws.iter().enumerate() {
            draw.add(&mut plan, &i.to_string());
        }
        let plan = plan.plan();
        // Some streams begin with a normal that was kept.
        let mut generator = seeded(seed);
        for _ in 0..warm {
            init::normal_(&mut Tensor::zeros([1], (Kind::Float, Device::Cpu)), 0.0, 1.0, Some(&mut generator)).unwrap();
        }
        set_rng_state(&generator.get_state().unwrap()).unwrap();
        let expected: Vec<_> = draws.iter().map(Draw::drawn).collect();
        let end = get_rng_state().unwrap();

        let (all, state) = made(&plan, generator.clone_state().unwrap(), |_| true);
        for ((draw, (_, ours)), theirs) in draws.iter().zip(&all).zip(&expected) {
            prop_assert_eq!(ours, theirs, "{:?}", draw);
        }
        prop_assert_eq!(&state, &end);

        let is_wanted = |name: &str| wanted >> name.parse::<u32>().unwrap() & 1 == 1;
        let (some, state) = made(&plan, generator, is_wanted);
        prop_assert_eq!(&state, &end);
        let of_all: Vec<_> = all.into_iter().filter(|(name, _)| is_wanted(name)).collect();
        prop_assert_eq!(some, of_all);
    }

    #[test]
    fn rows_are_those_of_the_whole(
        draws in prop::collection::vec(draw(), 1..6),
        cut in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        seed in any::<i64>(),
    ) {
        let mut plan = Builder::default();
        for (i, draw) in draws.iter().enumerate() {
            draw.add(&mut plan, &i.to_string());
        }
        let plan = plan.plan();
        let generator = seeded(seed);
        let before = generator.get_state().unwrap();
        let whole = plan.materialize(&mut generator.clone_state().unwrap()).unwrap();
        for ((name, whole), draw) in whole.iter().zip(&draws) {
            let rows = draw.shape[0];
            let (a, b) = (cut.0.index(rows as usize + 1) as u64, cut.1.index(rows as usize + 1) as u64);
            let (start, end) = (a.min(b), a.max(b));
            let part = plan.materialize_rows(&generator, name, start..end).unwrap();
            let expected = whole.narrow(0, start as i64, (end - start) as i64);
            prop_assert_eq!(part.size(), expected.size());
            prop_assert_eq!(part.kind(), expected.kind());
            prop_assert_eq!(bytes(&part), bytes(&expected), "{:?} rows {}..{}", draw, start, end);
            // Its memory is its own: nothing of the whole is held.
            let past_the_end = [part.numel() as i64 + 1];
            prop_assert!(part.f_as_strided(past_the_end, [1], 0).is_err());
        }
        prop_assert_eq!(generator.get_state().unwrap(), before);
    }
}

/// Only the rows are drawn: the whole would be 256 GiB.
#[test]
fn rows_of_what_fits_no_memory_are_made() {
    let mut plan = Builder::default();
    let before = plan.tensor("float32", &[5]);
    let huge = plan.tensor("float32", &[1 << 20, 1 << 16]);
    plan.step(json!(["normal_", before, 0.0, 1.0]))
        .step(json!(["normal_", huge, 0.0, 1.0]))
        .step(json!(["fill_", before, 0.5]))
        .parameter("before", before)
        .parameter("huge", huge);
    let plan = plan.plan();
    let part = plan.materialize_rows(&seeded(3), "huge", 2..3).unwrap();

    // The same words, drawn as the third row of a smaller draw.
    let mut generator = seeded(3);
    let mut small = Tensor::zeros([5], (Kind::Float, Device::Cpu));
    init::normal_(&mut small, 0.0, 1.0, Some(&mut generator)).unwrap();
    let mut rows = Tensor::zeros([3, 1 << 16], (Kind::Float, Device::Cpu));
    init::normal_(&mut rows, 0.0, 1.0, Some(&mut generator)).unwrap();
    assert_eq!(bytes(&part), bytes(&rows.narrow(0, 2, 1)));
    assert_eq!(
        bytes(&plan.materialize_rows(&seeded(3), "before", 1..3).unwrap()),
        bytes(&Tensor::from_slice(&[0.5f32; 2]))
    );
}

#[test]
fn rows_that_are_not_there_are_refused() {
    let plan = super::build::linear().plan();
    let rows = |name: &str, rows| {
        plan.materialize_rows(&seeded(0), name, rows)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        rows("weight", 1..4),
        "\"weight\" has 3 rows, but rows 1 to 4 were requested"
    );
    #[expect(
        clippy::reversed_empty_ranges,
        reason = "a range that a user can build"
    )]
    let reversed = 2..1;
    assert_eq!(
        rows("weight", reversed),
        "\"weight\" has 3 rows, but rows 2 to 1 were requested"
    );
    assert_eq!(
        rows("wight", 0..1),
        "the plan lacks a parameter or buffer \"wight\""
    );
}

/// What is overwritten is not drawn, and the last draw is that of the constructor.
#[test]
fn overwritten_draws_move_the_stream_only() {
    let (made, state) = made(&super::build::linear().plan(), seeded(5), |_| true);
    let mut generator = seeded(5);
    let mut draw = |shape: &[i64], normal: bool| {
        let mut tensor = Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        match normal {
            true => init::normal_(&mut tensor, 0.0, 0.02, Some(&mut generator)),
            false => init::uniform_(&mut tensor, -0.5, 0.5, Some(&mut generator)),
        }
        .unwrap();
        tensor
    };
    drop(draw(&[3, 2], false));
    drop(draw(&[3], false));
    assert_eq!(made[0].1, bytes(&draw(&[3, 2], true)));
    assert_eq!(made[1].1, [0; 12]);
    assert_eq!(state, generator.get_state().unwrap());
}

/// A write with gaps leaves what lies in them, and the draw that made it is not dead.
#[test]
fn draws_live_in_the_gaps_of_later_writes() {
    let mut plan = Builder::default();
    let whole = plan.tensor("float32", &[40]);
    let even = plan.view(json!([0, "float32", [20], 0, [2]]));
    plan.step(json!(["uniform_", whole, 0.0, 1.0]))
        .step(json!(["fill_", even, 7.0]))
        .parameter("whole", whole);
    let made = plan.plan().materialize(&mut seeded(1)).unwrap();
    let mut drawn = Tensor::zeros([40], (Kind::Float, Device::Cpu));
    init::uniform_(&mut drawn, 0.0, 1.0, Some(&mut seeded(1))).unwrap();
    drop(drawn.as_strided([20], [2], 0).fill_(7.0));
    assert_eq!(bytes(&made[0].1), bytes(&drawn));
}
