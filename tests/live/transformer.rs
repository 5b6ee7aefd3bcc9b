//! Transformers and their parts.

mod stacks;

use crate::common::default_stream;
use crate::live::family::{Forward, Input, Twin, assert_twins};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};
use tch_init::InitError;
use tch_init::nn::{
    self, DecoderMasks, EncoderMasks, LayerKind, ModuleT, Transformer, TransformerActivation,
    TransformerConfig, TransformerLayerConfig, TransformerMasks,
};

/// Without dropout.
fn small() -> TransformerLayerConfig {
    TransformerLayerConfig::default()
        .dim_feedforward(12)
        .dropout(0.0)
        .activation(TransformerActivation::Relu)
        .layer_norm_eps(1e-5)
        .batch_first(false)
        .norm_first(false)
        .bias(true)
}

/// Everything else than by default.
fn other() -> TransformerLayerConfig {
    TransformerLayerConfig::default()
        .dim_feedforward(5)
        .dropout(0.25)
        .activation(TransformerActivation::Gelu)
        .layer_norm_eps(0.01)
        .batch_first(true)
        .norm_first(true)
        .bias(false)
}

fn causal(size: i64, kind: Kind) -> Tensor {
    Transformer::generate_square_subsequent_mask(size, kind, Device::Cpu).unwrap()
}

fn module_t(layer: impl ModuleT + 'static, train: bool) -> Forward {
    Box::new(move |x: &[Tensor]| vec![layer.forward_t(&x[0], train)])
}

/// The pass, and what the default stream gives after it.
fn then_draw(pass: Forward) -> Forward {
    Box::new(move |x: &[Tensor]| {
        let mut outputs = pass(x);
        outputs.push(Tensor::rand([3], (x[0].kind(), Device::Cpu)));
        outputs
    })
}

fn without_gradients(pass: Forward) -> Forward {
    Box::new(move |x: &[Tensor]| tch::no_grad(|| pass(x)))
}

macro_rules! twin {
    ($kind:ident, $python:literal, $forward:literal, $inputs:expr, |$vs:ident| $make:expr) => {
        Twin {
            python: $python,
            forward: $forward,
            inputs: $inputs,
            kind: LayerKind::$kind,
            make: |$vs| Ok($make),
            tolerance: 0.0,
        }
    };
}
use twin;

const PADDING: Input = Input::Ints(&[2, 4], &[0, 0, 0, 1, 0, 1, 0, 0]);
const X: Input = Input::Randn(&[4, 2, 8]);
const X_BATCH_FIRST: Input = Input::Randn(&[2, 4, 8]);

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn encoder_layers_are_pytorchs() {
    assert_twins(&[
        twin!(
            TransformerEncoderLayer,
            "nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0)",
            "[m(x[0])]",
            vec![X],
            |vs| module_t(nn::transformer_encoder_layer(vs, 8, 2, small())?, true)
        ),
        twin!(
            TransformerEncoderLayer,
            "nn.TransformerEncoderLayer(8, 2, 5, dropout=0.25, activation='gelu', \
             layer_norm_eps=0.01, batch_first=True, norm_first=True, bias=False)",
            "[m(x[0]), torch.rand(3, dtype=x[0].dtype)]",
            vec![X_BATCH_FIRST],
            |vs| {
                let layer = nn::transformer_encoder_layer(vs, 8, 2, other())?;
                then_draw(module_t(layer, true))
            }
        ),
        twin!(
            TransformerEncoderLayer,
            "nn.TransformerEncoderLayer(8, 2)",
            "[m(x[0]), torch.rand(3, dtype=x[0].dtype)]",
            vec![Input::Randn(&[3, 8])],
            |vs| {
                let layer = nn::transformer_encoder_layer(vs, 8, 2, Default::default())?;
                then_draw(module_t(layer, true))
            }
        ),
        twin!(
            TransformerEncoderLayer,
            "nn.TransformerEncoderLayer(8, 2, 12).eval()",
            "[m(x[0], src_mask=torch.ones(4, 4).triu(1).bool(), src_key_padding_mask=x[1].bool())]",
            vec![X, PADDING],
            |vs| {
                let config = small().dropout(0.1);
                let layer = nn::transformer_encoder_layer(vs, 8, 2, config)?;
                Box::new(move |x: &[Tensor]| {
                    vec![
                        layer
                            .forward(
                                &x[0],
                                EncoderMasks::default()
                                    .src_mask(Some(&causal(4, Kind::Bool)))
                                    .src_key_padding_mask(Some(&x[1].to_kind(Kind::Bool)))
                                    .is_causal(None),
                                false,
                            )
                            .unwrap(),
                    ]
                })
            }
        ),
        // The fused kernel, without and with masks.
        twin!(
            TransformerEncoderLayer,
            "nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, activation='gelu', \
             norm_first=True).eval()",
            "torch.no_grad()(lambda: [m(x[0])])()",
            vec![X_BATCH_FIRST],
            |vs| {
                let config = TransformerLayerConfig::default()
                    .dim_feedforward(12)
                    .batch_first(true)
                    .activation(TransformerActivation::Gelu)
                    .norm_first(true);
                let layer = nn::transformer_encoder_layer(vs, 8, 2, config)?;
                without_gradients(module_t(layer, false))
            }
        ),
        twin!(
            TransformerEncoderLayer,
            "nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, layer_norm_eps=0.5).eval()",
            "torch.no_grad()(lambda: [m(x[0], src_key_padding_mask=x[1].bool(), \
             src_mask=torch.ones(4, 4).triu(1).bool())])()",
            vec![X_BATCH_FIRST, PADDING],
            |vs| {
                let config = TransformerLayerConfig::default()
                    .dim_feedforward(12)
                    .batch_first(true)
                    .layer_norm_eps(0.5);
                let layer = nn::transformer_encoder_layer(vs, 8, 2, config)?;
                without_gradients(Box::new(move |x: &[Tensor]| {
                    vec![
                        layer
                            .forward(
                                &x[0],
                                EncoderMasks::default()
                                    .src_mask(Some(&causal(4, Kind::Bool)))
                                    .src_key_padding_mask(Some(&x[1].to_kind(Kind::Bool)))
                                    .is_causal(None),
                                false,
                            )
                            .unwrap(),
                    ]
                }))
            }
        ),
    ]);
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn decoder_layers_are_pytorchs() {
    let inputs = || vec![X, Input::Randn(&[5, 2, 8])];
    assert_twins(&[
        twin!(
            TransformerDecoderLayer,
            "nn.TransformerDecoderLayer(8, 2, 12, dropout=0.0)",
            "[m(x[0], x[1])]",
            inputs(),
            |vs| {
                let layer = nn::transformer_decoder_layer(vs, 8, 2, small())?;
                Box::new(move |x: &[Tensor]| {
                    vec![
                        layer
                            .forward(&x[0], &x[1], Default::default(), true)
                            .unwrap(),
                    ]
                })
            }
        ),
        twin!(
            TransformerDecoderLayer,
            "nn.TransformerDecoderLayer(8, 4, 5, dropout=0.25, activation='gelu', \
             layer_norm_eps=0.01, batch_first=True, norm_first=True, bias=False)",
            "[m(x[0], x[1]), torch.rand(3, dtype=x[0].dtype)]",
            vec![X_BATCH_FIRST, Input::Randn(&[2, 5, 8])],
            |vs| {
                let layer = nn::transformer_decoder_layer(vs, 8, 4, other())?;
                then_draw(Box::new(move |x: &[Tensor]| {
                    vec![
                        layer
                            .forward(&x[0], &x[1], Default::default(), true)
                            .unwrap(),
                    ]
                }))
            }
        ),
        twin!(
            TransformerDecoderLayer,
            "nn.TransformerDecoderLayer(8, 1).eval()",
            "[m(x[0], x[1], tgt_mask=nn.Transformer.generate_square_subsequent_mask(4, \
             dtype=x[0].dtype), tgt_is_causal=True, memory_mask=torch.ones(4, 5).triu(2).bool(), \
             memory_key_padding_mask=x[3].bool(), tgt_key_padding_mask=x[2].to(x[0].dtype))]",
            [
                inputs(),
                vec![
                    PADDING,
                    Input::Ints(&[2, 5], &[0, 0, 0, 1, 1, 0, 0, 0, 0, 1])
                ]
            ]
            .concat(),
            |vs| {
                let layer = nn::transformer_decoder_layer(vs, 8, 1, Default::default())?;
                Box::new(move |x: &[Tensor]| {
                    let memory_mask = Tensor::ones([4, 5], (Kind::Bool, Device::Cpu)).triu(2);
                    vec![
                        layer
                            .forward(
                                &x[0],
                                &x[1],
                                DecoderMasks::default()
                                    .tgt_mask(Some(&causal(4, x[0].kind())))
                                    .memory_mask(Some(&memory_mask))
                                    .tgt_key_padding_mask(Some(&x[2].to_kind(x[0].kind())))
                                    .memory_key_padding_mask(Some(&x[3].to_kind(Kind::Bool)))
                                    .tgt_is_causal(Some(true))
                                    .memory_is_causal(false),
                                false,
                            )
                            .unwrap(),
                    ]
                })
            }
        ),
    ]);
}

fn message<L>(result: Result<L, InitError>) -> String {
    match result {
        Ok(_) => "no error".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_pytorch_refuses_is_refused() {
    let _stream = default_stream();
    let vs = VarStore::new(Device::Cpu);
    let with = |config| {
        [
            message(nn::transformer_encoder_layer(vs.root(), 8, 2, config)),
            message(nn::transformer_decoder_layer(vs.root(), 8, 2, config)),
            message(nn::transformer_encoder(vs.root(), 8, 2, 0, config, None)),
            message(nn::transformer_decoder(vs.root(), 8, 2, 2, config, None)),
        ]
    };
    for error in with(small().dropout(-0.1)) {
        assert!(
            error.contains("dropout = -0.1 must be between 0 and 1"),
            "{error}"
        );
    }
    for error in with(small().dim_feedforward(-1)) {
        assert!(error.contains("[-1, 8]"), "{error}");
    }
    for nhead in [3, 0, -1] {
        let error = message(nn::transformer_encoder(
            vs.root(),
            8,
            nhead,
            1,
            small(),
            None,
        ));
        assert!(error.contains(&format!("num_heads = {nhead}")), "{error}");
    }
    assert!(vs.variables().is_empty(), "a failure leaves no variables");

    let config = TransformerConfig::default()
        .d_model(8)
        .nhead(2)
        .num_encoder_layers(1)
        .num_decoder_layers(1)
        .layer(small());
    let whole = nn::transformer(vs.root() / "whole", config).unwrap();
    let randn = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
    let pass = |src: &[i64], tgt: &[i64]| {
        message(whole.forward(&randn(src), &randn(tgt), Default::default(), true))
    };
    assert!(pass(&[5, 2, 8], &[4, 3, 8]).contains("batch"));
    assert!(pass(&[5, 2, 7], &[4, 2, 8]).contains("d_model = 8"));
    assert!(pass(&[5, 2, 8], &[4, 2, 9]).contains("d_model = 8"));
    assert!(pass(&[], &[]).contains("d_model = 8"));
    assert_eq!(pass(&[5, 8], &[4, 8]), "no error");
    let integers = Tensor::zeros([4, 4], (Kind::Int64, Device::Cpu));
    let masks = TransformerMasks::default().tgt_mask(Some(&integers));
    let x = randn(&[4, 2, 8]);
    let error = message(whole.forward(&x, &x, masks, true));
    assert!(
        error.contains("tgt_mask") && error.contains("Int64"),
        "{error}"
    );

    let empty = nn::transformer_encoder(vs.root() / "empty", 8, 2, 0, small(), None).unwrap();
    let error = message(empty.forward(&x, Default::default(), true));
    assert!(error.contains("num_layers = 0"), "{error}");

    let mask = |size, kind| {
        message(Transformer::generate_square_subsequent_mask(
            size,
            kind,
            Device::Cpu,
        ))
    };
    assert!(mask(-1, Kind::Float).contains("sz = -1"));
    assert!(mask(3, Kind::Int64).contains("Int64"));
}
