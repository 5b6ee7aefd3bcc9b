//! The defaults of all layers are those of the signatures of PyTorch's classes.

use crate::common::default_stream;
use crate::common::reference::expected;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use tch::{Device, Reduction};
use tch_init::nn::{self, LayerKind, PaddingMode, TransformerActivation};

/// What takes the place of an argument with a default.
enum Ours {
    /// A default of the same value.
    Is(Value),
    /// Another default, for a reason.
    Differs(Value, &'static str),
    /// An argument without a default.
    Argument,
    /// Nothing: the argument does not exist here, for a reason.
    Lacks(&'static str),
}

use Ours::{Argument, Differs, Is, Lacks};

type Defaults = Vec<(&'static str, Ours)>;

fn is(value: impl Into<Value>) -> Ours {
    Is(value.into())
}

const CALLERS: &str = "tch's convolutions pad by numbers, and transposed ones with zeros only";

fn conv() -> Defaults {
    let one = nn::ConvConfig::default();
    let each = nn::ConvConfigND::<[i64; 2]>::default();
    assert_eq!(
        (each.stride, each.padding, each.dilation),
        ([1; 2], [0; 2], [1; 2])
    );
    assert_eq!((each.groups, each.bias), (one.groups, one.bias));
    assert!(matches!(each.padding_mode, PaddingMode::Zeros));
    vec![
        ("stride", is(one.stride)),
        ("padding", is(one.padding)),
        ("dilation", is(one.dilation)),
        ("groups", is(one.groups)),
        ("bias", is(one.bias)),
        (
            "padding_mode",
            is(match one.padding_mode {
                PaddingMode::Zeros => "zeros",
                _ => "another",
            }),
        ),
    ]
}

fn conv_transpose() -> Defaults {
    let one = nn::ConvTransposeConfig::default();
    let each = nn::ConvTransposeConfigND::<[i64; 3]>::default();
    assert_eq!(
        (each.stride, each.padding, each.dilation),
        ([1; 3], [0; 3], [1; 3])
    );
    assert_eq!(
        (each.output_padding, each.groups, each.bias),
        ([0; 3], one.groups, one.bias)
    );
    vec![
        ("stride", is(one.stride)),
        ("padding", is(one.padding)),
        ("output_padding", is(one.output_padding)),
        ("groups", is(one.groups)),
        ("bias", is(one.bias)),
        ("dilation", is(one.dilation)),
        ("padding_mode", Lacks(CALLERS)),
    ]
}

fn has_bias(make: impl Fn(nn::Path<'_>) -> bool) -> Ours {
    let vs = nn::VarStore::new(Device::Cpu);
    is(make(vs.root()))
}

fn batch_norm(bias: Ours) -> Defaults {
    let config = nn::BatchNormConfig::default();
    vec![
        ("eps", is(config.eps)),
        ("momentum", is(config.momentum)),
        ("affine", is(config.affine)),
        ("track_running_stats", is(true)),
        ("bias", bias),
    ]
}

/// The defaults as the layer has them: an option may depend on the class.
fn instance_norm(layer: &nn::InstanceNorm) -> Defaults {
    let config = nn::InstanceNormConfig::default();
    vec![
        ("eps", is(config.eps)),
        ("momentum", is(config.momentum)),
        ("affine", is(layer.ws.is_some())),
        ("track_running_stats", is(layer.running_mean.is_some())),
        ("bias", is(config.bias)),
    ]
}

fn eager_instance_norm() -> Defaults {
    let vs = nn::VarStore::new(Device::Cpu);
    instance_norm(&nn::instance_norm1d(vs.root(), 2, Default::default()).unwrap())
}

fn lazy_instance_norm() -> Defaults {
    let vs = nn::VarStore::new(Device::Cpu);
    let all = [
        nn::lazy_instance_norm1d(vs.root() / "a", Default::default()),
        nn::lazy_instance_norm2d(vs.root() / "b", Default::default()),
        nn::lazy_instance_norm3d(vs.root() / "c", Default::default()),
    ];
    let [first, ..] = all.map(|lazy| {
        let lazy = lazy.unwrap();
        assert!(lazy.materialize_for(2).unwrap().bs.is_some());
        lazy.into_layer().unwrap()
    });
    instance_norm(&first)
}

fn recurrent() -> Defaults {
    let config = nn::RNNConfig::default();
    vec![
        ("num_layers", is(config.num_layers)),
        ("bias", is(config.has_biases)),
        (
            "batch_first",
            Differs(
                json!(config.batch_first),
                "tch's default, so that a program's shapes keep their meaning",
            ),
        ),
        ("dropout", is(config.dropout)),
        ("bidirectional", is(config.bidirectional)),
        (
            "proj_size",
            Lacks("`projected_lstm` takes it as an argument"),
        ),
    ]
}

fn transformer_layer() -> Defaults {
    let config = nn::TransformerLayerConfig::default();
    vec![
        ("dim_feedforward", is(config.dim_feedforward)),
        ("dropout", is(config.dropout)),
        (
            "activation",
            is(match config.activation {
                TransformerActivation::Relu => "relu",
                _ => "another",
            }),
        ),
        ("layer_norm_eps", is(config.layer_norm_eps)),
        ("batch_first", is(config.batch_first)),
        ("norm_first", is(config.norm_first)),
        ("bias", is(config.bias)),
    ]
}

fn stack() -> Defaults {
    vec![("norm", Argument)]
}

fn ours(class: &str) -> Defaults {
    let table = || nn::EmbeddingOptions::default();
    let data = "the caller writes to `ws`";
    match class {
        "Linear" | "LazyLinear" => vec![("bias", is(nn::LinearConfig::default().bias))],
        "Bilinear" => vec![("bias", is(nn::BilinearConfig::default().bias))],
        "Conv1d" | "Conv2d" | "Conv3d" | "LazyConv1d" | "LazyConv2d" | "LazyConv3d" => conv(),
        "ConvTranspose1d"
        | "ConvTranspose2d"
        | "ConvTranspose3d"
        | "LazyConvTranspose1d"
        | "LazyConvTranspose2d"
        | "LazyConvTranspose3d" => conv_transpose(),
        "BatchNorm1d" | "BatchNorm2d" | "BatchNorm3d" | "LazyBatchNorm1d" | "LazyBatchNorm2d"
        | "LazyBatchNorm3d" => batch_norm(has_bias(|path| {
            nn::batch_norm2d(path, 2, Default::default()).bs.is_some()
        })),
        "SyncBatchNorm" => {
            let config = nn::SyncBatchNormConfig::default();
            vec![
                ("eps", is(config.eps)),
                ("momentum", is(config.momentum)),
                ("affine", is(config.affine)),
                ("track_running_stats", is(config.track_running_stats)),
                ("process_group", Lacks("one process")),
                ("bias", is(config.bias)),
            ]
        }
        "InstanceNorm1d" | "InstanceNorm2d" | "InstanceNorm3d" => eager_instance_norm(),
        "LazyInstanceNorm1d" | "LazyInstanceNorm2d" | "LazyInstanceNorm3d" => lazy_instance_norm(),
        "LayerNorm" => {
            let config = nn::LayerNormConfig::default();
            vec![
                ("eps", is(config.eps)),
                ("elementwise_affine", is(config.elementwise_affine)),
                (
                    "bias",
                    has_bias(|path| {
                        nn::layer_norm(path, vec![2], Default::default())
                            .bs
                            .is_some()
                    }),
                ),
            ]
        }
        "RMSNorm" => {
            let config = nn::RMSNormConfig::default();
            vec![
                ("eps", is(config.eps)),
                ("elementwise_affine", is(config.elementwise_affine)),
            ]
        }
        "GroupNorm" => {
            let config = nn::GroupNormConfig::default();
            vec![
                ("eps", is(config.eps)),
                ("affine", is(config.affine)),
                (
                    "bias",
                    has_bias(|path| nn::group_norm(path, 1, 2, Default::default()).bs.is_some()),
                ),
            ]
        }
        "PReLU" => {
            let config = nn::PReLUConfig::default();
            vec![
                ("num_parameters", is(config.num_parameters)),
                ("init", is(config.init)),
            ]
        }
        "Embedding" => {
            let config = nn::EmbeddingConfig::default();
            assert_eq!(config.padding_idx, nn::EmbeddingConfig::NO_PADDING);
            assert_eq!((config.scale_grad_by_freq, config.sparse), (false, false));
            vec![
                ("padding_idx", is(table().padding_idx)),
                ("max_norm", is(table().max_norm)),
                ("norm_type", is(table().norm_type)),
                ("scale_grad_by_freq", is(table().scale_grad_by_freq)),
                ("sparse", is(table().sparse)),
                ("_weight", Lacks(data)),
                ("_freeze", Lacks("`VarStore::freeze`")),
            ]
        }
        "EmbeddingBag" => {
            let config = nn::EmbeddingBagConfig::default();
            vec![
                ("max_norm", is(config.max_norm)),
                ("norm_type", is(config.norm_type)),
                ("scale_grad_by_freq", is(config.scale_grad_by_freq)),
                ("mode", is(config.mode.to_string())),
                ("sparse", is(config.sparse)),
                ("_weight", Lacks(data)),
                ("include_last_offset", is(config.include_last_offset)),
                ("padding_idx", is(config.padding_idx)),
            ]
        }
        "RNN" | "LSTM" | "GRU" => recurrent(),
        "RNNCell" => vec![
            ("bias", is(nn::RNNCellConfig::default().bias)),
            ("nonlinearity", Argument),
        ],
        "LSTMCell" | "GRUCell" => vec![("bias", is(nn::RNNCellConfig::default().bias))],
        "MultiheadAttention" => {
            let config = nn::MultiheadAttentionConfig::default();
            vec![
                ("dropout", is(config.dropout)),
                ("bias", is(config.bias)),
                ("add_bias_kv", is(config.add_bias_kv)),
                ("add_zero_attn", is(config.add_zero_attn)),
                ("kdim", is(config.kdim)),
                ("vdim", is(config.vdim)),
                ("batch_first", is(config.batch_first)),
            ]
        }
        "TransformerEncoderLayer" | "TransformerDecoderLayer" => transformer_layer(),
        "TransformerEncoder" => {
            let fast_path = "options of a fast path of Python";
            let mut defaults = stack();
            defaults.push(("enable_nested_tensor", Lacks(fast_path)));
            defaults.push(("mask_check", Lacks(fast_path)));
            defaults
        }
        "TransformerDecoder" => stack(),
        "Transformer" => {
            let config = nn::TransformerConfig::default();
            let mut defaults = transformer_layer();
            defaults.extend([
                ("d_model", is(config.d_model)),
                ("nhead", is(config.nhead)),
                ("num_encoder_layers", is(config.num_encoder_layers)),
                ("num_decoder_layers", is(config.num_decoder_layers)),
                ("custom_encoder", Lacks("modules of Python")),
                ("custom_decoder", Lacks("modules of Python")),
            ]);
            assert_eq!(config.layer.dim_feedforward, 2048);
            assert_eq!(config.layer.dropout, 0.1);
            defaults
        }
        "AdaptiveLogSoftmaxWithLoss" => {
            let config = nn::AdaptiveLogSoftmaxWithLossConfig::default();
            vec![
                ("div_value", is(config.div_value)),
                ("head_bias", is(config.head_bias)),
            ]
        }
        "LinearCrossEntropyLoss" => {
            let config = nn::LinearCrossEntropyLossConfig::default();
            vec![
                ("out_features", is(config.out_features)),
                ("bias", is(config.bias)),
                (
                    "reduction",
                    is(match config.reduction {
                        Reduction::Mean => "mean",
                        _ => "another",
                    }),
                ),
                ("weight", is(config.weight.map(|_| true))),
                ("ignore_index", is(config.ignore_index)),
                ("label_smoothing", is(config.label_smoothing)),
                ("options", Lacks("how the loss is computed in chunks")),
            ]
        }
        other => panic!("{other} is not in the table of defaults"),
    }
}

/// Every argument of every class, lazy ones included: a default that PyTorch adds or changes fails.
#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn defaults_are_those_of_the_signatures() {
    let kinds: Vec<&str> = LayerKind::ALL.iter().map(|kind| kind.name()).collect();
    let case = json!({ "kind": "defaults", "classes": kinds });
    let expected = expected(&[case]).remove(0);
    assert_eq!(expected.error, None);
    let _stream = default_stream();
    let classes: BTreeMap<String, Map<String, Value>> =
        serde_json::from_value(expected.rest[0].clone()).unwrap();
    assert!(classes.len() > kinds.len() && classes.contains_key("LazyInstanceNorm3d"));
    let mut wrong = Vec::new();
    for (class, theirs) in &classes {
        let mut ours: BTreeMap<&str, Ours> = ours(class).into_iter().collect();
        for (argument, value) in theirs {
            match ours.remove(argument.as_str()) {
                Some(Is(own)) if own == *value => {}
                Some(Is(own)) => wrong.push(format!("{class}: {argument} is {own}, not {value}")),
                Some(Differs(own, reason)) if own != *value && !reason.is_empty() => {}
                Some(Argument) => {}
                Some(Lacks(reason)) if !reason.is_empty() => {}
                Some(_) => wrong.push(format!("{class}: {argument} does not differ")),
                None => wrong.push(format!("{class}: {argument}={value} is not known")),
            }
        }
        wrong.extend(
            ours.keys()
                .map(|argument| format!("{class}: PyTorch has no {argument}")),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
