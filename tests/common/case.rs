//! A call of one function of `torch.nn.init`, to be made here and in Python.

use super::bytes;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use tch_init::init::*;
use tch_init::{Generator, InitError, get_rng_state, manual_seed};

#[derive(Debug, Clone, Copy)]
pub enum Function {
    Uniform(f64, f64),
    Normal(f64, f64),
    TruncNormal(f64, f64, f64, f64),
    Constant(f64),
    Ones,
    Zeros,
    Eye,
    Dirac(i64),
    XavierUniform(f64),
    XavierNormal(f64),
    KaimingUniform(FanMode, Nonlinearity),
    KaimingNormal(FanMode, Nonlinearity),
    Orthogonal(f64),
    Sparse(f64, f64),
}

use Function::*;

impl Function {
    pub fn name_and_arguments(self) -> (&'static str, Value) {
        let kaiming = |mode: FanMode, nonlinearity: Nonlinearity| match nonlinearity {
            Nonlinearity::LeakyRelu { negative_slope } => {
                json!({ "a": number(negative_slope), "mode": mode.name() })
            }
            other => json!({ "mode": mode.name(), "nonlinearity": other.name() }),
        };
        match self {
            Uniform(a, b) => ("uniform_", json!({ "a": number(a), "b": number(b) })),
            Normal(mean, std) => (
                "normal_",
                json!({ "mean": number(mean), "std": number(std) }),
            ),
            TruncNormal(mean, std, a, b) => (
                "trunc_normal_",
                json!({ "mean": number(mean), "std": number(std), "a": number(a), "b": number(b) }),
            ),
            Constant(val) => ("constant_", json!({ "val": number(val) })),
            Ones => ("ones_", json!({})),
            Zeros => ("zeros_", json!({})),
            Eye => ("eye_", json!({})),
            Dirac(groups) => ("dirac_", json!({ "groups": groups })),
            XavierUniform(gain) => ("xavier_uniform_", json!({ "gain": number(gain) })),
            XavierNormal(gain) => ("xavier_normal_", json!({ "gain": number(gain) })),
            KaimingUniform(mode, n) => ("kaiming_uniform_", kaiming(mode, n)),
            KaimingNormal(mode, n) => ("kaiming_normal_", kaiming(mode, n)),
            Orthogonal(gain) => ("orthogonal_", json!({ "gain": number(gain) })),
            Sparse(sparsity, std) => (
                "sparse_",
                json!({ "sparsity": number(sparsity), "std": number(std) }),
            ),
        }
    }

    pub fn draws(self) -> bool {
        !matches!(self, Constant(_) | Ones | Zeros | Eye | Dirac(_))
    }

    fn call(self, t: &mut Tensor, g: Option<&mut Generator>) -> Result<(), InitError> {
        match self {
            Uniform(a, b) => uniform_(t, a, b, g),
            Normal(mean, std) => normal_(t, mean, std, g),
            TruncNormal(mean, std, a, b) => trunc_normal_(t, mean, std, a, b, g),
            Constant(val) => constant_(t, val),
            Ones => ones_(t),
            Zeros => zeros_(t),
            Eye => eye_(t),
            Dirac(groups) => dirac_(t, groups),
            XavierUniform(gain) => xavier_uniform_(t, gain, g),
            XavierNormal(gain) => xavier_normal_(t, gain, g),
            KaimingUniform(mode, n) => kaiming_uniform_(t, mode, n, g),
            KaimingNormal(mode, n) => kaiming_normal_(t, mode, n, g),
            Orthogonal(gain) => orthogonal_(t, gain, g),
            Sparse(sparsity, std) => sparse_(t, sparsity, std, g),
        }
    }
}

/// JSON has no infinities and no NaN; Python's `json` reads the words it writes itself.
pub fn number(x: f64) -> Value {
    match x {
        _ if x.is_finite() => json!(x),
        _ => json!({ "float": x.to_string() }),
    }
}

#[derive(Debug, Clone)]
pub struct Case {
    pub function: Function,
    pub dtype: &'static str,
    pub shape: Vec<i64>,
    pub layout: &'static str,
    pub seed: i128,
    /// Words drawn before, so that calls do not all start at a fresh stream.
    pub warm: i64,
    pub generator: Option<i128>,
}

impl Case {
    pub fn json(&self) -> Value {
        let (function, arguments) = self.function.name_and_arguments();
        json!({
            "kind": "init", "function": function, "arguments": arguments, "dtype": self.dtype,
            "shape": self.shape, "layout": self.layout, "seed": seed(self.seed),
            "warm": self.warm, "generator": self.generator.map(seed),
        })
    }

    pub fn run(&self) -> (Result<(), InitError>, Vec<Vec<u8>>) {
        manual_seed(self.seed as i64).unwrap();
        if self.warm > 0 {
            drop(Tensor::rand([self.warm], (Kind::Float, Device::Cpu)));
            drop(Tensor::randn([1], (Kind::Float, Device::Cpu)));
        }
        let mut generator = self.generator.map(|seed| {
            let mut generator = Generator::new(Device::Cpu).unwrap();
            generator.manual_seed(seed as i64).unwrap();
            generator
        });
        let (mut tensor, base) = make(self.dtype, &self.shape, self.layout);
        let result = self.function.call(&mut tensor, generator.as_mut());
        let mut chunks = vec![bytes(&base), get_rng_state().unwrap()];
        chunks.extend(generator.map(|g| g.get_state().unwrap()));
        (result, chunks)
    }
}

fn seed(seed: i128) -> Value {
    match u64::try_from(seed) {
        Ok(seed) => json!(seed),
        Err(_) => json!(i64::try_from(seed).unwrap()),
    }
}

fn make(dtype: &str, shape: &[i64], layout: &str) -> (Tensor, Tensor) {
    let kind = match dtype {
        "f32" => Kind::Float,
        "f64" => Kind::Double,
        "bf16" => Kind::BFloat16,
        "f16" => Kind::Half,
        "i64" => Kind::Int64,
        "bool" => Kind::Bool,
        "c64" => Kind::ComplexFloat,
        other => unreachable!("{other}"),
    };
    let zeros = |shape: &[i64]| Tensor::zeros(shape, (kind, Device::Cpu));
    let both = |base: Tensor| (base.shallow_clone(), base);
    match layout {
        "contiguous" => both(zeros(shape)),
        "leaf" => both(zeros(shape).set_requires_grad(true)),
        "transposed" => {
            let reversed: Vec<i64> = shape.iter().rev().copied().collect();
            let order: Vec<i64> = (0..shape.len() as i64).rev().collect();
            let base = zeros(&reversed);
            (base.permute(order), base)
        }
        "strided" => {
            let mut doubled = shape.to_vec();
            *doubled.last_mut().unwrap() *= 2;
            let base = zeros(&doubled);
            (base.slice(-1, None, None, 2), base)
        }
        "offset" => {
            let mut larger = shape.to_vec();
            larger[0] += 1;
            let base = zeros(&larger);
            (base.narrow(0, 1, shape[0]), base)
        }
        "channels_last" => {
            // tch has no memory formats: permute a contiguous tensor so that channels lie last.
            let mut stored = vec![shape[0]];
            stored.extend(&shape[2..]);
            stored.push(shape[1]);
            let last = shape.len() as i64 - 1;
            let order: Vec<i64> = [0, last].into_iter().chain(1..last).collect();
            both(zeros(&stored).permute(order))
        }
        "expanded" => {
            let mut one = shape.to_vec();
            one[0] = 1;
            let base = zeros(&one);
            (base.expand(shape, false), base)
        }
        other => unreachable!("{other}"),
    }
}

pub const LEAKY: Nonlinearity = Nonlinearity::LeakyRelu {
    negative_slope: 0.0,
};

pub fn functions() -> Vec<Function> {
    let sqrt5 = Nonlinearity::LeakyRelu {
        negative_slope: 5f64.sqrt(),
    };
    let odd_slope = Nonlinearity::LeakyRelu {
        negative_slope: -0.3719,
    };
    vec![
        Uniform(0.0, 1.0),
        Uniform(-0.1, 0.3),
        Uniform(2.0, 2.0),
        Normal(0.0, 1.0),
        Normal(0.5, 0.02),
        Normal(-0.0, 0.0),
        TruncNormal(0.0, 1.0, -2.0, 2.0),
        TruncNormal(0.0, 0.02, -2.0, 2.0),
        TruncNormal(1.0, 0.5, 0.7, 1.1),
        TruncNormal(0.0, 1.0, 2.0, 3.0),
        TruncNormal(0.0, 1.0, 0.1, 0.2),
        Constant(0.3),
        Ones,
        Zeros,
        Eye,
        Dirac(1),
        Dirac(2),
        XavierUniform(1.0),
        XavierUniform(5.0 / 3.0),
        XavierNormal(1.0),
        XavierNormal(0.1),
        KaimingUniform(FanMode::FanIn, LEAKY),
        KaimingUniform(FanMode::FanIn, sqrt5),
        KaimingUniform(FanMode::FanOut, Nonlinearity::Tanh),
        KaimingNormal(FanMode::FanIn, odd_slope),
        KaimingNormal(FanMode::FanOut, Nonlinearity::Relu),
        Orthogonal(1.0),
        Orthogonal(2f64.sqrt()),
        Sparse(0.3, 0.01),
        Sparse(0.9, 1.0),
        // A literal port: the name alone, with PyTorch's default `a`.
        KaimingUniform(FanMode::FanOut, "leaky_relu".parse().unwrap()),
        KaimingNormal(FanMode::FanOut, "leaky_relu".parse().unwrap()),
    ]
}

/// A contiguous tensor on a fresh stream.
pub fn case(function: Function, dtype: &'static str, shape: &[i64], layout: &'static str) -> Case {
    Case {
        function,
        dtype,
        shape: shape.to_vec(),
        layout,
        seed: 3,
        warm: 0,
        generator: None,
    }
}
