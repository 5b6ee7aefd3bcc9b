//! Multi-head attentions.

mod masks;

use crate::common::default_stream;
use crate::live::family::{Forward, Input, Twin, assert_twins};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};
use tch_init::InitError;
use tch_init::nn::{self, AttentionOptions, LayerKind, MultiheadAttentionConfig};

/// Query, key and value, by which of the inputs they are.
const SELF: [usize; 3] = [0, 0, 0];
const CROSS: [usize; 3] = [0, 1, 1];
const ALL: [usize; 3] = [0, 1, 2];

/// A forward pass; what is left out of the options comes from the inputs.
fn attend(
    attention: nn::MultiheadAttention,
    inputs: [usize; 3],
    train: bool,
    options: impl Fn(&[Tensor]) -> AttentionOptions<'_> + 'static,
) -> Forward {
    Box::new(move |x: &[Tensor]| {
        let [q, k, v] = inputs.map(|i| &x[i]);
        let (output, weights) = attention.forward(q, k, v, options(x), train).unwrap();
        std::iter::once(output).chain(weights).collect()
    })
}

fn without_weights<'a>() -> AttentionOptions<'a> {
    AttentionOptions::default().need_weights(false)
}

macro_rules! twin {
    ($python:literal, $forward:literal, $inputs:expr, |$vs:ident| $make:expr) => {
        Twin {
            python: $python,
            forward: $forward,
            inputs: $inputs,
            kind: LayerKind::MultiheadAttention,
            make: |$vs| Ok($make),
            tolerance: 0.0,
        }
    };
}
use twin;

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn attention_is_pytorchs() {
    let x = || vec![Input::Randn(&[5, 3, 8])];
    let two = || vec![Input::Randn(&[5, 3, 8]), Input::Randn(&[4, 3, 8])];
    assert_twins(&[
        twin!(
            "nn.MultiheadAttention(8, 2)",
            "m(x[0], x[0], x[0])",
            x(),
            |vs| {
                let m = nn::multihead_attention(vs, 8, 2, Default::default())?;
                attend(m, SELF, true, |_| Default::default())
            }
        ),
        twin!(
            "nn.MultiheadAttention(8, 4)",
            "m(x[0], x[0], x[0], need_weights=False)[:1]",
            x(),
            |vs| {
                let m = nn::multihead_attention(vs, 8, 4, Default::default())?;
                attend(m, SELF, true, |_| without_weights())
            }
        ),
        twin!(
            "nn.MultiheadAttention(8, 2, bias=False, batch_first=True)",
            "m(x[0], x[1], x[1], average_attn_weights=False)",
            vec![Input::Randn(&[3, 5, 8]), Input::Randn(&[3, 4, 8])],
            |vs| {
                let config = MultiheadAttentionConfig::default()
                    .bias(false)
                    .batch_first(true);
                let m = nn::multihead_attention(vs, 8, 2, config)?;
                attend(m, CROSS, true, |_| {
                    AttentionOptions::default().average_attn_weights(false)
                })
            }
        ),
        twin!(
            "nn.MultiheadAttention(8, 2)",
            "m(x[0], x[1], x[2])",
            [two(), vec![Input::Randn(&[4, 3, 8])]].concat(),
            |vs| {
                let m = nn::multihead_attention(vs, 8, 2, Default::default())?;
                attend(m, ALL, true, |_| Default::default())
            }
        ),
        twin!(
            "nn.MultiheadAttention(6, 3, kdim=5, vdim=7, add_bias_kv=True)",
            "m(x[0], x[1], x[2])",
            vec![
                Input::Randn(&[5, 2, 6]),
                Input::Randn(&[4, 2, 5]),
                Input::Randn(&[4, 2, 7])
            ],
            |vs| {
                let config = MultiheadAttentionConfig::default()
                    .kdim(Some(5))
                    .vdim(Some(7))
                    .add_bias_kv(true);
                let m = nn::multihead_attention(vs, 6, 3, config)?;
                attend(m, ALL, true, |_| Default::default())
            }
        ),
        twin!(
            "nn.MultiheadAttention(8, 1, vdim=3, bias=False, add_zero_attn=True)",
            "m(x[0], x[0], x[1], need_weights=False)[:1]",
            vec![Input::Randn(&[5, 2, 8]), Input::Randn(&[5, 2, 3])],
            |vs| {
                let config = MultiheadAttentionConfig::default()
                    .vdim(Some(3))
                    .bias(false)
                    .add_zero_attn(true);
                let m = nn::multihead_attention(vs, 8, 1, config)?;
                attend(m, [0, 0, 1], true, |_| without_weights())
            }
        ),
        // Without a batch nothing is projected in one product.
        twin!(
            "nn.MultiheadAttention(8, 2)",
            "m(x[0], x[0], x[0])",
            vec![Input::Randn(&[5, 8])],
            |vs| {
                let m = nn::multihead_attention(vs, 8, 2, Default::default())?;
                attend(m, SELF, true, |_| Default::default())
            }
        ),
        // Large enough that one product of three rounds otherwise than three.
        twin!(
            "nn.MultiheadAttention(48, 6, add_bias_kv=True, add_zero_attn=True)",
            "m(x[0], x[1], x[1], need_weights=False)[:1]",
            vec![Input::Randn(&[37, 5, 48]), Input::Randn(&[21, 5, 48])],
            |vs| {
                let config = MultiheadAttentionConfig::default()
                    .add_bias_kv(true)
                    .add_zero_attn(true);
                let m = nn::multihead_attention(vs, 48, 6, config)?;
                attend(m, CROSS, true, |_| without_weights())
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
    let make = |embed_dim, num_heads, config| {
        nn::multihead_attention(vs.root() / "m", embed_dim, num_heads, config)
    };
    let config = MultiheadAttentionConfig::default();
    for (embed_dim, num_heads) in [(0, 2), (8, 0), (-8, 2), (8, -2)] {
        let error = message(make(embed_dim, num_heads, config).map(drop));
        assert!(
            error.contains(&format!("embed_dim = {embed_dim}")),
            "{error}"
        );
        assert!(
            error.contains(&format!("num_heads = {num_heads}")),
            "{error}"
        );
    }
    assert_eq!(
        message(make(8, 3, config)),
        "MultiheadAttention: embed_dim = 8 must be divisible by num_heads = 3"
    );
    let negative = config.kdim(Some(-1));
    assert!(message(make(8, 2, negative)).contains("[8, -1]"));
    assert!(vs.variables().is_empty(), "a failure leaves no variables");

    let m = make(8, 2, config).unwrap();
    let randn = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
    let x = randn(&[4, 3, 8]);
    let pass = |options: AttentionOptions<'_>| message(m.forward(&x, &x, &x, options, true));
    let mask = |shape: &[i64], kind| Tensor::zeros(shape, (kind, Device::Cpu));
    let attn = |mask: &Tensor| pass(AttentionOptions::default().attn_mask(Some(mask)));
    assert!(attn(&mask(&[4, 5], Kind::Bool)).contains("[4, 4] or [6, 4, 4], got [4, 5]"));
    assert!(attn(&mask(&[3, 4, 4], Kind::Bool)).contains("got [3, 4, 4]"));
    assert!(attn(&mask(&[4, 4], Kind::Int64)).contains("got Int64"));
    assert!(attn(&mask(&[4, 4], Kind::Double)).contains("Double"));
    let padding = mask(&[4, 3], Kind::Bool);
    let error = pass(AttentionOptions::default().key_padding_mask(Some(&padding)));
    assert!(error.contains("[3, 4], got [4, 3]"), "{error}");
    let error = pass(AttentionOptions::default().is_causal(true));
    assert!(error.contains("is_causal"), "{error}");

    // Whole numbers cannot hold what a mask adds.
    let whole = x.to_kind(Kind::Int64);
    let hidden = mask(&[4, 4], Kind::Bool);
    let options = AttentionOptions::default().attn_mask(Some(&hidden));
    let error = message(m.forward(&whole, &whole, &whole, options, true));
    assert!(error.contains("Int64"), "{error}");

    let of = |q: &[i64], k: &[i64], v: &[i64]| {
        message(m.forward(&randn(q), &randn(k), &randn(v), Default::default(), true))
    };
    assert!(of(&[8], &[8], &[8]).contains("[8]"));
    assert!(of(&[4, 3, 8], &[4, 8], &[4, 8]).contains("[4, 8]"));
    assert!(of(&[4, 3, 6], &[4, 3, 8], &[4, 3, 8]).contains("embed_dim = 8"));
    assert!(of(&[4, 3, 8], &[4, 3, 8], &[5, 3, 8]).contains("[5, 3, 8]"));
    assert!(of(&[4, 3, 8], &[4, 2, 8], &[4, 2, 8]).contains("libtorch"));
    assert!(of(&[4, 3, 8], &[4, 3, 7], &[4, 3, 7]).contains("libtorch"));

    let wild = config.dropout(1.5);
    let wild = nn::multihead_attention(vs.root() / "wild", 8, 2, wild).unwrap();
    let error = message(wild.forward(&x, &x, &x, Default::default(), true));
    assert!(error.contains("1.5"), "{error}");
}
