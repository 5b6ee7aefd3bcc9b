//! Embeddings and their bags.

use crate::common::{bytes, default_stream};
use crate::live::family::{Forward, Input, Twin, assert_twins};
use tch::nn::{Init, VarStore};
use tch::{Device, Kind, Tensor};
use tch_init::nn::{
    self, BilinearConfig, EmbeddingBagConfig, EmbeddingBagMode, EmbeddingConfig, EmbeddingOptions,
    LayerKind, Module, PReLUConfig,
};
use tch_init::{InitError, Walk, manual_seed};

/// A layer's output, and the gradient of its sum by the weight.
fn with_gradient(output: Tensor, ws: &Tensor) -> Vec<Tensor> {
    let gradient = Tensor::run_backward(&[output.sum(output.kind())], &[ws], false, false);
    let dense = gradient
        .into_iter()
        .map(|gradient| match gradient.is_sparse() {
            true => gradient.to_dense(None, false),
            false => gradient,
        });
    [output].into_iter().chain(dense).collect()
}

const GRADIENT: &str = "(lambda y: [y, (lambda g: g.to_dense() if g.is_sparse else g)\
                        (torch.autograd.grad(y.sum(), m.weight)[0])])(m(*x))";

fn embedding(layer: nn::Embedding) -> Forward {
    Box::new(move |x: &[Tensor]| with_gradient(layer.forward(&x[0]), &layer.ws))
}

/// With what is left of the weight.
fn renormed(layer: nn::EmbeddingWithOptions) -> Forward {
    Box::new(move |x: &[Tensor]| {
        let mut outputs = with_gradient(layer.forward(&x[0]), &layer.ws);
        outputs.push(layer.ws.detach().copy());
        outputs
    })
}

const RENORMED: &str = "(lambda y: [y, (lambda g: g.to_dense() if g.is_sparse else g)\
                        (torch.autograd.grad(y.sum(), m.weight)[0]), m.weight])(m(*x))";

const ROWS: Input = Input::Ints(&[2, 5], &[1, 4, 4, 0, 9, 2, 9, 9, 8, 1]);

macro_rules! twin {
    ($python:literal, $kind:ident, $inputs:expr, $forward:expr, |$vs:ident| $make:expr) => {
        Twin {
            python: $python,
            forward: $forward,
            inputs: $inputs.into(),
            kind: LayerKind::$kind,
            make: |$vs| $make,
            tolerance: 0.0,
        }
    };
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn embeddings_are_pytorchs() {
    assert_twins(&[
        twin!("nn.Embedding(10, 3)", Embedding, [ROWS], GRADIENT, |vs| {
            nn::f_embedding(vs, 10, 3, Default::default()).map(embedding)
        }),
        twin!(
            "nn.Embedding(10, 17, padding_idx=9, sparse=True)",
            Embedding,
            [ROWS],
            GRADIENT,
            |vs| {
                let config = EmbeddingConfig {
                    padding_idx: 9,
                    sparse: true,
                    ..Default::default()
                };
                nn::f_embedding(vs, 10, 17, config).map(embedding)
            }
        ),
        twin!(
            "nn.Embedding(10, 2, padding_idx=0, scale_grad_by_freq=True)",
            Embedding,
            [Input::Randint(10, &[20])],
            GRADIENT,
            |vs| {
                let config = EmbeddingConfig {
                    padding_idx: 0,
                    scale_grad_by_freq: true,
                    ..Default::default()
                };
                nn::f_embedding(vs, 10, 2, config).map(embedding)
            }
        ),
        twin!("nn.Embedding(10, 4)", Embedding, [ROWS], RENORMED, |vs| {
            nn::embedding_with(vs, 10, 4, Default::default()).map(renormed)
        }),
        twin!(
            "nn.Embedding(10, 4, padding_idx=-1, max_norm=1.0, norm_type=1.5)",
            Embedding,
            [ROWS],
            RENORMED,
            |vs| {
                let options = EmbeddingOptions::default()
                    .padding_idx(Some(-1))
                    .max_norm(Some(1.0))
                    .norm_type(1.5);
                nn::embedding_with(vs, 10, 4, options).map(renormed)
            }
        ),
        twin!(
            "nn.Embedding(10, 40, padding_idx=-10, max_norm=0.3, sparse=True)",
            Embedding,
            [ROWS],
            RENORMED,
            |vs| {
                let options = EmbeddingOptions::default()
                    .padding_idx(Some(-10))
                    .max_norm(Some(0.3))
                    .sparse(true);
                nn::embedding_with(vs, 10, 40, options).map(renormed)
            }
        ),
        twin!(
            "nn.Embedding(10, 4, max_norm=2.0, scale_grad_by_freq=True)",
            Embedding,
            [ROWS],
            RENORMED,
            |vs| {
                let options = EmbeddingOptions::default()
                    .max_norm(Some(2.0))
                    .scale_grad_by_freq(true);
                nn::embedding_with(vs, 10, 4, options).map(renormed)
            }
        ),
    ]);
}

fn bags(layer: nn::EmbeddingBag) -> Forward {
    Box::new(move |x: &[Tensor]| {
        let bags = layer.f_forward(&x[0], x.get(1), x.get(2)).unwrap();
        let mut outputs = with_gradient(bags, &layer.ws);
        outputs.push(layer.ws.detach().copy());
        outputs
    })
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn embedding_bags_are_pytorchs() {
    const FLAT: Input = Input::Ints(&[8], &[1, 2, 4, 5, 4, 3, 2, 9]);
    const STARTS: Input = Input::Ints(&[4], &[0, 3, 3, 5]);
    use EmbeddingBagMode::{Max, Sum};
    assert_twins(&[
        twin!(
            "nn.EmbeddingBag(10, 3)",
            EmbeddingBag,
            [ROWS],
            RENORMED,
            |vs| { nn::embedding_bag(vs, 10, 3, Default::default()).map(bags) }
        ),
        twin!(
            "nn.EmbeddingBag(10, 3, padding_idx=-6, sparse=True)",
            EmbeddingBag,
            [FLAT, STARTS],
            RENORMED,
            |vs| {
                let config = EmbeddingBagConfig::default()
                    .padding_idx(Some(-6))
                    .sparse(true);
                nn::embedding_bag(vs, 10, 3, config).map(bags)
            }
        ),
        twin!(
            "nn.EmbeddingBag(10, 5, mode='sum', max_norm=1.0, norm_type=1.0, padding_idx=2)",
            EmbeddingBag,
            [FLAT, STARTS, Input::Randn(&[8])],
            RENORMED,
            |vs| {
                let config = EmbeddingBagConfig::default()
                    .mode(Sum)
                    .max_norm(Some(1.0))
                    .norm_type(1.0)
                    .padding_idx(Some(2));
                nn::embedding_bag(vs, 10, 5, config).map(bags)
            }
        ),
        twin!(
            "nn.EmbeddingBag(10, 4, mode='sum', include_last_offset=True, scale_grad_by_freq=True)",
            EmbeddingBag,
            [FLAT, Input::Ints(&[4], &[0, 2, 6, 8])],
            RENORMED,
            |vs| {
                let config = EmbeddingBagConfig::default()
                    .mode(Sum)
                    .include_last_offset(true)
                    .scale_grad_by_freq(true);
                nn::embedding_bag(vs, 10, 4, config).map(bags)
            }
        ),
        twin!(
            "nn.EmbeddingBag(10, 4, mode='max', padding_idx=4)",
            EmbeddingBag,
            [FLAT, STARTS],
            RENORMED,
            |vs| {
                let config = EmbeddingBagConfig::default().mode(Max).padding_idx(Some(4));
                nn::embedding_bag(vs, 10, 4, config).map(bags)
            }
        ),
        twin!(
            "nn.EmbeddingBag(10, 4, mode='sum', include_last_offset=True)",
            EmbeddingBag,
            [ROWS],
            "[m(x[0], per_sample_weights=x[0].to(m.weight.dtype)), m(x[0][:0])]",
            |vs| {
                let config = EmbeddingBagConfig::default()
                    .mode(Sum)
                    .include_last_offset(true);
                let layer = nn::embedding_bag(vs, 10, 4, config)?;
                Ok(Box::new(move |x: &[Tensor]| {
                    let factors = x[0].to_kind(layer.ws.kind());
                    let weighted = layer.f_forward(&x[0], None, Some(&factors)).unwrap();
                    vec![weighted, layer.forward(&x[0].narrow(0, 0, 0))]
                }))
            }
        ),
    ]);
}

fn error<T>(result: Result<T, InitError>) -> String {
    result.err().expect("an error").to_string()
}

#[test]
fn what_embeddings_refuse_is_said() {
    let _stream = default_stream();
    let vs = VarStore::new(Device::Cpu);
    let padded = |n, padding_idx| {
        let config = EmbeddingConfig {
            padding_idx,
            ..Default::default()
        };
        nn::f_embedding(vs.root(), n, 3, config)
    };
    assert_eq!(
        error(padded(10, 10)),
        "Embedding: padding_idx = 10 must be within num_embeddings = 10"
    );
    assert_eq!(
        error(padded(10, -2)),
        "Embedding: padding_idx = -2: -1 means no row, and other rows count from the first: did you \
         mean num_embeddings - 2?"
    );
    assert!(matches!(padded(0, 0), Err(InitError::Libtorch { .. })));
    assert!(matches!(padded(-1, -1), Err(InitError::Libtorch { .. })));
    for (n, row) in [(10, 10), (10, -11), (0, 1), (-5, -1), (i64::MAX, i64::MIN)] {
        let options = EmbeddingOptions::default().padding_idx(Some(row));
        let config = EmbeddingBagConfig::default().padding_idx(Some(row));
        let message = format!(": padding_idx = {row} must be within num_embeddings = {n}");
        let table = error(nn::embedding_with(vs.root(), n, 3, options));
        assert_eq!(table, format!("Embedding{message}"));
        let bag = error(nn::embedding_bag(vs.root(), n, 3, config));
        assert_eq!(bag, format!("EmbeddingBag{message}"));
    }
    assert!(vs.variables().is_empty());
    let options = EmbeddingOptions::default().max_norm(Some(1.0));
    let table = nn::embedding_with(vs.root(), 10, 3, options).unwrap();
    let rows = |values: &[i64], shape: &[i64]| Tensor::from_slice(values).view(shape);
    assert!(error(table.f_forward(&rows(&[10], &[1]))).contains("libtorch"));
    let reals = Tensor::ones([2], (Kind::Float, Device::Cpu));
    assert!(error(table.f_forward(&reals)).contains("libtorch"));
}

#[test]
fn what_bags_refuse_is_said() {
    let _stream = default_stream();
    let vs = VarStore::new(Device::Cpu);
    let bag = |mode, scale_grad_by_freq, sparse| {
        let config = EmbeddingBagConfig::default()
            .mode(mode)
            .scale_grad_by_freq(scale_grad_by_freq)
            .sparse(sparse);
        nn::embedding_bag(vs.root(), 10, 3, config).unwrap()
    };
    use EmbeddingBagMode::{Max, Mean, Sum};
    let table = Tensor::from_slice(&[1i64, 2, 3, 4]).view([2, 2]);
    let flat = table.view([4]);
    let starts = Tensor::from_slice(&[0i64, 2]);
    let factors = Tensor::ones([2, 2], (Kind::Float, Device::Cpu));
    let sum = bag(Sum, false, false);
    for (result, message) in [
        (
            sum.f_forward(&table, Some(&starts), None),
            "offsets are not for an input of shape [2, 2]",
        ),
        (
            sum.f_forward(&flat, None, None),
            "offsets of one dimension are needed for an input of shape [4]",
        ),
        (
            sum.f_forward(&flat, Some(&table), None),
            "offsets of one dimension are needed for an input of shape [4]",
        ),
        (
            sum.f_forward(&table.view([2, 1, 2]), None, None),
            "1 or 2 dimensions are expected, got shape [2, 1, 2]",
        ),
        (
            sum.f_forward(&table.narrow(1, 0, 0), None, None),
            "bags without rows, of shape [2, 0]",
        ),
        (
            sum.f_forward(&flat, Some(&starts), Some(&factors)),
            "per_sample_weights of shape [2, 2] must have the shape of the input, [4]",
        ),
        (
            bag(Mean, false, false).f_forward(&table, None, Some(&factors)),
            "mode = mean does not support per_sample_weights",
        ),
        (
            bag(Max, true, false).f_forward(&table, None, None),
            "mode = max does not support scale_grad_by_freq",
        ),
        (
            bag(Max, false, true).f_forward(&table, None, None),
            "mode = max does not support sparse",
        ),
    ] {
        assert_eq!(error(result), format!("EmbeddingBag: {message}"));
    }
    let outside = sum.f_forward(&(table + 100), None, None);
    assert!(matches!(outside, Err(InitError::Libtorch { .. })));
}

#[test]
fn an_initializer_that_was_set_wins_over_the_padding_row_until_the_layer_is_reset() {
    let _stream = default_stream();
    let vs = VarStore::new(Device::Cpu);
    manual_seed(0).unwrap();
    let before = tch_init::get_rng_state().unwrap();
    let config = EmbeddingConfig {
        ws_init: Init::Const(2.0),
        padding_idx: 1,
        ..Default::default()
    };
    let table = nn::f_embedding(vs.root() / "table", 4, 3, config).unwrap();
    let config = BilinearConfig::default()
        .ws_init(Init::Const(3.0))
        .bs_init(Init::Const(4.0));
    let pair = nn::bilinear(vs.root() / "pair", 4, 3, 2, config).unwrap();
    let config = PReLUConfig::default().ws_init(Init::Const(5.0));
    let prelu = nn::prelu(vs.root() / "prelu", config).unwrap();
    assert_eq!(tch_init::get_rng_state().unwrap(), before);
    let bias = pair.bs.as_ref().unwrap();
    for (tensor, value) in [
        (&table.ws, 2.0),
        (&pair.ws, 3.0),
        (bias, 4.0),
        (&prelu.ws, 5.0),
    ] {
        assert_eq!(tensor.min().double_value(&[]), value);
        assert_eq!(tensor.max().double_value(&[]), value);
    }
    Walk::new().reset_parameters(&vs).unwrap();
    assert_eq!(table.ws.get(1).abs().max().double_value(&[]), 0.0);
    assert_ne!(table.ws.get(0).double_value(&[0]), 2.0);
    assert_eq!(prelu.ws.double_value(&[0]), 0.25);
}

/// tch's config and PyTorch's options say the same of a padding row, but for tch's word for none.
#[test]
fn padding_rows_have_one_meaning() {
    let _stream = default_stream();
    let vs = VarStore::new(Device::Cpu);
    let config = |padding_idx| EmbeddingConfig {
        padding_idx,
        ..Default::default()
    };
    let none = EmbeddingConfig::default().padding_idx;
    assert_eq!(none, EmbeddingConfig::NO_PADDING);
    for (own, options) in [
        (none, None),
        (-1, None),
        (0, Some(0)),
        (9, Some(9)),
        (9, Some(-1)),
    ] {
        let translated = EmbeddingOptions::try_from(config(own)).unwrap();
        let row = |row: i64| if row < 0 { row + 10 } else { row };
        assert_eq!(translated.padding_idx.map(row), options.map(row), "{own}");
        manual_seed(5).unwrap();
        let table = nn::f_embedding(vs.root() / "a", 10, 3, config(own)).unwrap();
        manual_seed(5).unwrap();
        let options = EmbeddingOptions::default().padding_idx(options);
        let twin = nn::embedding_with(vs.root() / "b", 10, 3, options).unwrap();
        assert_eq!(bytes(&table.ws), bytes(&twin.ws), "{own}");
        // The padding row has no gradient.
        let rows = Tensor::arange(10, (Kind::Int64, Device::Cpu));
        let gradient = |loss: Tensor, ws: &Tensor| {
            loss.sum(Kind::Float).backward();
            bytes(&ws.grad())
        };
        let ours = gradient(nn::Module::forward(&table, &rows), &table.ws);
        assert_eq!(
            ours,
            gradient(twin.f_forward(&rows).unwrap(), &twin.ws),
            "{own}"
        );
    }
}
