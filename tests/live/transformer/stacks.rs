//! Encoders, decoders, and both together.

use super::{
    PADDING, X, X_BATCH_FIRST, causal, module_t, other, small, then_draw, twin, without_gradients,
};
use crate::live::family::{Input, Twin, assert_twins};
use tch::{Device, Kind, Tensor};
use tch_init::nn::{
    self, DecoderMasks, EncoderMasks, LayerKind, TransformerConfig, TransformerLayerConfig,
    TransformerMasks, TransformerNormConfig,
};

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn encoders_are_pytorchs() {
    assert_twins(&[
        twin!(
            TransformerEncoder,
            "nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0), 3)",
            "[m(x[0])]",
            vec![X],
            |vs| module_t(nn::transformer_encoder(vs, 8, 2, 3, small(), None)?, true)
        ),
        twin!(
            TransformerEncoder,
            "nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 5, dropout=0.25, \
             activation='gelu', layer_norm_eps=0.01, batch_first=True, norm_first=True, \
             bias=False), 1, nn.LayerNorm(8, bias=False))",
            "[m(x[0]), torch.rand(3, dtype=x[0].dtype)]",
            vec![X_BATCH_FIRST],
            |vs| {
                let norm = TransformerNormConfig::default().bias(false);
                let encoder = nn::transformer_encoder(vs, 8, 2, 1, other(), Some(norm))?;
                then_draw(module_t(encoder, true))
            }
        ),
        // The mask is seen to be causal, and the kernel is given the hint in its place.
        twin!(
            TransformerEncoder,
            "nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0), 2, \
             nn.LayerNorm(8, eps=0.1))",
            "[m(x[0], mask=torch.ones(4, 4).triu(1).bool()), \
             m(x[0], mask=torch.ones(4, 4).triu(1).bool(), src_key_padding_mask=x[1].bool()), \
             m(x[0], mask=torch.zeros(4, 4, dtype=x[0].dtype), is_causal=True)]",
            vec![X, PADDING],
            |vs| {
                let norm = TransformerNormConfig::default().eps(0.1);
                let encoder = nn::transformer_encoder(vs, 8, 2, 2, small(), Some(norm))?;
                Box::new(move |x: &[Tensor]| {
                    let causal = causal(4, Kind::Bool);
                    let padding = x[1].to_kind(Kind::Bool);
                    let zeros = Tensor::zeros([4, 4], (x[0].kind(), Device::Cpu));
                    let masks = [
                        (&causal, None, None),
                        (&causal, Some(&padding), None),
                        (&zeros, None, Some(true)),
                    ];
                    masks
                        .into_iter()
                        .map(|(src_mask, src_key_padding_mask, is_causal)| {
                            encoder
                                .forward(
                                    &x[0],
                                    EncoderMasks::default()
                                        .src_mask(Some(src_mask))
                                        .src_key_padding_mask(src_key_padding_mask)
                                        .is_causal(is_causal),
                                    true,
                                )
                                .unwrap()
                        })
                        .collect()
                })
            }
        ),
        twin!(
            TransformerEncoder,
            "nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12, batch_first=True), 2, \
             enable_nested_tensor=False).eval()",
            "torch.no_grad()(lambda: [m(x[0], src_key_padding_mask=x[1].bool())])()",
            vec![X_BATCH_FIRST, PADDING],
            |vs| {
                let config = small().batch_first(true);
                let encoder = nn::transformer_encoder(vs, 8, 2, 2, config.dropout(0.1), None)?;
                without_gradients(Box::new(move |x: &[Tensor]| {
                    vec![
                        encoder
                            .forward(
                                &x[0],
                                EncoderMasks::default()
                                    .src_key_padding_mask(Some(&x[1].to_kind(Kind::Bool))),
                                false,
                            )
                            .unwrap(),
                    ]
                }))
            }
        ),
        // Without layers one is drawn all the same.
        twin!(
            TransformerEncoder,
            "nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12), 0, \
             nn.LayerNorm(8, elementwise_affine=True))",
            "[]",
            vec![],
            |vs| {
                let norm = Some(TransformerNormConfig::default());
                let config = small().dropout(0.1);
                let encoder = nn::transformer_encoder(vs, 8, 2, 0, config, norm)?;
                Box::new(move |_: &[Tensor]| {
                    assert!(encoder.layers.is_empty());
                    vec![]
                })
            }
        ),
    ]);
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn decoders_are_pytorchs() {
    let inputs = || vec![X, Input::Randn(&[5, 2, 8])];
    assert_twins(&[
        twin!(
            TransformerDecoder,
            "nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 12, dropout=0.0), 2)",
            "[m(x[0], x[1], tgt_mask=torch.ones(4, 4).triu(1).bool()), \
             m(x[0], x[1], tgt_mask=torch.ones(4, 4).triu(2).bool())]",
            inputs(),
            |vs| {
                let decoder = nn::transformer_decoder(vs, 8, 2, 2, small(), None)?;
                Box::new(move |x: &[Tensor]| {
                    let ones = Tensor::ones([4, 4], (Kind::Bool, Device::Cpu));
                    [1, 2]
                        .map(|diagonal| {
                            decoder
                                .forward(
                                    &x[0],
                                    &x[1],
                                    DecoderMasks::default().tgt_mask(Some(&ones.triu(diagonal))),
                                    true,
                                )
                                .unwrap()
                        })
                        .into()
                })
            }
        ),
        twin!(
            TransformerDecoder,
            "nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 4, 5, dropout=0.25, \
             activation='gelu', layer_norm_eps=0.01, batch_first=True, norm_first=True, \
             bias=False), 4, nn.LayerNorm(8))",
            "[m(x[0], x[1]), torch.rand(3, dtype=x[0].dtype)]",
            vec![X_BATCH_FIRST, Input::Randn(&[2, 5, 8])],
            |vs| {
                let norm = Some(TransformerNormConfig::default());
                let decoder = nn::transformer_decoder(vs, 8, 4, 4, other(), norm)?;
                then_draw(Box::new(move |x: &[Tensor]| {
                    vec![
                        decoder
                            .forward(&x[0], &x[1], DecoderMasks::default(), true)
                            .unwrap(),
                    ]
                }))
            }
        ),
        twin!(
            TransformerDecoder,
            "nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2), 1, \
             nn.LayerNorm(8, elementwise_affine=False)).eval()",
            "[m(x[0], x[1])]",
            inputs(),
            |vs| {
                let norm = TransformerNormConfig::default().elementwise_affine(false);
                let config = TransformerLayerConfig::default();
                let decoder = nn::transformer_decoder(vs, 8, 2, 1, config, Some(norm))?;
                Box::new(move |x: &[Tensor]| {
                    vec![
                        decoder
                            .forward(&x[0], &x[1], DecoderMasks::default(), false)
                            .unwrap(),
                    ]
                })
            }
        ),
    ]);
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn transformers_are_pytorchs() {
    fn config() -> TransformerConfig {
        TransformerConfig::default()
            .d_model(8)
            .nhead(2)
            .num_encoder_layers(2)
            .num_decoder_layers(3)
            .layer(small())
    }
    let inputs = || vec![Input::Randn(&[5, 2, 8]), X];
    assert_twins(&[
        twin!(
            Transformer,
            "nn.Transformer(8, 2, 2, 3, 12, dropout=0.0)",
            "[m(x[0], x[1], tgt_mask=m.generate_square_subsequent_mask(4, dtype=x[0].dtype), \
             tgt_key_padding_mask=x[2].to(x[0].dtype))]",
            [inputs(), vec![PADDING]].concat(),
            |vs| {
                let transformer = nn::transformer(vs, config())?;
                Box::new(move |x: &[Tensor]| {
                    vec![
                        transformer
                            .forward(
                                &x[0],
                                &x[1],
                                TransformerMasks::default()
                                    .tgt_mask(Some(&causal(4, x[0].kind())))
                                    .tgt_key_padding_mask(Some(&x[2].to_kind(x[0].kind()))),
                                true,
                            )
                            .unwrap(),
                    ]
                })
            }
        ),
        twin!(
            Transformer,
            "nn.Transformer(8, 4, 1, 2, 5, dropout=0.25, activation='gelu', layer_norm_eps=0.01, \
             batch_first=True, norm_first=True, bias=False)",
            "[m(x[0], x[1]), torch.rand(3, dtype=x[0].dtype)]",
            vec![Input::Randn(&[2, 5, 8]), X_BATCH_FIRST],
            |vs| {
                let config = config()
                    .nhead(4)
                    .num_encoder_layers(1)
                    .num_decoder_layers(2)
                    .layer(other());
                let transformer = nn::transformer(vs, config)?;
                then_draw(Box::new(move |x: &[Tensor]| {
                    vec![
                        transformer
                            .forward(&x[0], &x[1], TransformerMasks::default(), true)
                            .unwrap(),
                    ]
                }))
            }
        ),
        twin!(
            Transformer,
            "nn.Transformer(8, 2, 0, 1, 12)",
            "[]",
            vec![],
            |vs| {
                let config = config()
                    .num_encoder_layers(0)
                    .num_decoder_layers(1)
                    .layer(small().dropout(0.1));
                let transformer = nn::transformer(vs, config)?;
                Box::new(move |_: &[Tensor]| {
                    assert!(transformer.encoder.layers.is_empty());
                    vec![]
                })
            }
        ),
    ]);
}
