//! Masks, dropout and evaluation.

use super::{SELF, attend, twin, without_weights};
use crate::live::family::{Forward, Input, Twin, assert_twins};
use tch::{Device, Kind, Tensor};
use tch_init::nn::{self, AttentionOptions, LayerKind, MultiheadAttentionConfig};

const PADDING: Input = Input::Ints(&[2, 4], &[0, 0, 0, 1, 0, 0, 0, 0]);

/// Boolean padding of the last input.
fn padding(x: &[Tensor]) -> Tensor {
    x[1].to_kind(Kind::Bool)
}

fn causal() -> Tensor {
    nn::Transformer::generate_square_subsequent_mask(4, Kind::Bool, Device::Cpu).unwrap()
}

/// A pass over the first input that is shown masks made of the second.
fn masked(
    attention: nn::MultiheadAttention,
    train: bool,
    options: fn(AttentionOptions<'_>) -> AttentionOptions<'_>,
    attn_mask: fn(&[Tensor]) -> Option<Tensor>,
    key_padding_mask: fn(&[Tensor]) -> Option<Tensor>,
) -> Forward {
    Box::new(move |x: &[Tensor]| {
        let (attn_mask, key_padding_mask) = (attn_mask(x), key_padding_mask(x));
        let options = options(
            AttentionOptions::default()
                .attn_mask(attn_mask.as_ref())
                .key_padding_mask(key_padding_mask.as_ref()),
        );
        let x = &x[0];
        let (output, weights) = attention.forward(x, x, x, options, train).unwrap();
        std::iter::once(output).chain(weights).collect()
    })
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn masks_hide_what_they_hide_in_pytorch() {
    let inputs = || vec![Input::Randn(&[4, 2, 8]), PADDING];
    assert_twins(&[
        twin!(
            "nn.MultiheadAttention(8, 2)",
            "m(x[0], x[0], x[0], attn_mask=torch.ones(4, 4).triu(1).bool(), key_padding_mask=x[1].bool())",
            inputs(),
            |vs| {
                let m = nn::multihead_attention(vs, 8, 2, Default::default())?;
                masked(m, true, |o| o, |_| Some(causal()), |x| Some(padding(x)))
            }
        ),
        twin!(
            "nn.MultiheadAttention(8, 2, add_bias_kv=True)",
            "m(x[0], x[0], x[0], attn_mask=torch.ones(4, 4, dtype=x[0].dtype).triu(1) * 0.5, \
             key_padding_mask=x[1] * torch.tensor(-0.25, dtype=x[0].dtype), need_weights=False)[:1]",
            inputs(),
            |vs| {
                let config = MultiheadAttentionConfig::default().add_bias_kv(true);
                let m = nn::multihead_attention(vs, 8, 2, config)?;
                masked(
                    m,
                    true,
                    |o| o.need_weights(false),
                    |x| Some(causal().to_kind(x[0].kind()) * 0.5),
                    |x| Some(x[1].to_kind(x[0].kind()) * -0.25),
                )
            }
        ),
        twin!(
            "nn.MultiheadAttention(8, 2)",
            "m(x[0], x[0], x[0], key_padding_mask=x[1].bool(), need_weights=False)[:1]",
            inputs(),
            |vs| {
                let m = nn::multihead_attention(vs, 8, 2, Default::default())?;
                masked(
                    m,
                    true,
                    |o| o.need_weights(false),
                    |_| None,
                    |x| Some(padding(x)),
                )
            }
        ),
        // The hint is taken where neither padding nor weights are asked for.
        twin!(
            "nn.MultiheadAttention(8, 2)",
            "m(x[0], x[0], x[0], attn_mask=torch.zeros(4, 4), is_causal=True, need_weights=False)[:1]",
            inputs(),
            |vs| {
                let m = nn::multihead_attention(vs, 8, 2, Default::default())?;
                masked(
                    m,
                    true,
                    |o| o.need_weights(false).is_causal(true),
                    |x| Some(Tensor::zeros([4, 4], (x[0].kind(), Device::Cpu))),
                    |_| None,
                )
            }
        ),
        twin!(
            "nn.MultiheadAttention(8, 2, add_zero_attn=True)",
            "m(x[0], x[0], x[0], attn_mask=torch.ones(4, 4).triu(1).bool().expand(4, 4, 4), is_causal=True)",
            inputs(),
            |vs| {
                let config = MultiheadAttentionConfig::default().add_zero_attn(true);
                let m = nn::multihead_attention(vs, 8, 2, config)?;
                masked(
                    m,
                    true,
                    |o| o.is_causal(true),
                    |_| Some(causal().expand([4, 4, 4], false)),
                    |_| None,
                )
            }
        ),
    ]);
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn dropout_and_evaluation_are_pytorchs() {
    let inputs = || vec![Input::Randn(&[2, 4, 8]), PADDING];
    fn config() -> MultiheadAttentionConfig {
        MultiheadAttentionConfig::default()
            .dropout(0.4)
            .bias(true)
            .add_bias_kv(false)
            .add_zero_attn(false)
            .kdim(None)
            .vdim(None)
            .batch_first(true)
    }
    assert_twins(&[
        twin!(
            "nn.MultiheadAttention(8, 2, dropout=0.4, batch_first=True)",
            "[*m(x[0], x[0], x[0]), torch.rand(3, dtype=x[0].dtype)]",
            inputs(),
            |vs| {
                let m = nn::multihead_attention(vs, 8, 2, config())?;
                let pass = attend(m, SELF, true, |_| Default::default());
                then_draw(pass)
            }
        ),
        twin!(
            "nn.MultiheadAttention(8, 2, dropout=0.4, batch_first=True)",
            "[m(x[0], x[0], x[0], need_weights=False)[0], torch.rand(3, dtype=x[0].dtype)]",
            inputs(),
            |vs| {
                let m = nn::multihead_attention(vs, 8, 2, config())?;
                then_draw(attend(m, SELF, true, |_| without_weights()))
            }
        ),
        // With gradients, evaluation is training without dropout.
        twin!(
            "nn.MultiheadAttention(8, 2, dropout=0.4, batch_first=True).eval()",
            "[*m(x[0], x[0], x[0]), torch.rand(3, dtype=x[0].dtype)]",
            inputs(),
            |vs| {
                let m = nn::multihead_attention(vs, 8, 2, config())?;
                then_draw(attend(m, SELF, false, |_| Default::default()))
            }
        ),
        // Without gradients the fused kernel runs.
        twin!(
            "nn.MultiheadAttention(8, 2, dropout=0.4, batch_first=True).eval()",
            "torch.no_grad()(lambda: m(x[0], x[0], x[0]))()",
            inputs(),
            |vs| {
                let m = nn::multihead_attention(vs, 8, 2, config())?;
                without_gradients(attend(m, SELF, false, |_| Default::default()))
            }
        ),
        twin!(
            "nn.MultiheadAttention(8, 2, dropout=0.4, batch_first=True).eval()",
            "torch.no_grad()(lambda: m(x[0], x[0], x[0], attn_mask=torch.ones(4, 4).triu(1).bool(), \
             key_padding_mask=x[1].bool(), average_attn_weights=False))()",
            inputs(),
            |vs| {
                let m = nn::multihead_attention(vs, 8, 2, config())?;
                without_gradients(masked(
                    m,
                    false,
                    |o| o.average_attn_weights(false),
                    |_| Some(causal()),
                    |x| Some(padding(x)),
                ))
            }
        ),
    ]);
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
