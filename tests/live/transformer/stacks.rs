//! Encoders, decoders, and both together.

use super::{
    OTHER, PADDING, SMALL, X, X_BATCH_FIRST, causal, module_t, then_draw, twin, without_gradients,
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
            |vs| module_t(nn::f_transformer_encoder(vs, 8, 2, 3, SMALL, None)?, true)
        ),
        twin!(
            TransformerEncoder,
            "nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 5, dropout=0.25, \
             activation='gelu', layer_norm_eps=0.01, batch_first=True, norm_first=True, \
             bias=False), 1, nn.LayerNorm(8, bias=False))",
            "[m(x[0]), torch.rand(3, dtype=x[0].dtype)]",
            vec![X_BATCH_FIRST],
            |vs| {
                let norm = TransformerNormConfig {
                    bias: false,
                    ..Default::default()
                };
                let encoder = nn::f_transformer_encoder(vs, 8, 2, 1, OTHER, Some(norm))?;
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
                let norm = TransformerNormConfig {
                    eps: 0.1,
                    ..Default::default()
                };
                let encoder = nn::f_transformer_encoder(vs, 8, 2, 2, SMALL, Some(norm))?;
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
                            let masks = EncoderMasks {
                                src_mask: Some(src_mask),
                                src_key_padding_mask,
                                is_causal,
                            };
                            encoder.f_forward(&x[0], masks, true).unwrap()
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
                let config = TransformerLayerConfig {
                    batch_first: true,
                    ..SMALL
                };
                let encoder = nn::f_transformer_encoder(
                    vs,
                    8,
                    2,
                    2,
                    TransformerLayerConfig {
                        dropout: 0.1,
                        ..config
                    },
                    None,
                )?;
                without_gradients(Box::new(move |x: &[Tensor]| {
                    let masks = EncoderMasks {
                        src_key_padding_mask: Some(&x[1].to_kind(Kind::Bool)),
                        ..Default::default()
                    };
                    vec![encoder.f_forward(&x[0], masks, false).unwrap()]
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
                let config = TransformerLayerConfig {
                    dropout: 0.1,
                    ..SMALL
                };
                let encoder = nn::f_transformer_encoder(vs, 8, 2, 0, config, norm)?;
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
                let decoder = nn::f_transformer_decoder(vs, 8, 2, 2, SMALL, None)?;
                Box::new(move |x: &[Tensor]| {
                    let ones = Tensor::ones([4, 4], (Kind::Bool, Device::Cpu));
                    [1, 2]
                        .map(|diagonal| {
                            let masks = DecoderMasks {
                                tgt_mask: Some(&ones.triu(diagonal)),
                                ..Default::default()
                            };
                            decoder.f_forward(&x[0], &x[1], masks, true).unwrap()
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
                let decoder = nn::f_transformer_decoder(vs, 8, 4, 4, OTHER, norm)?;
                then_draw(Box::new(move |x: &[Tensor]| {
                    let masks = DecoderMasks::default();
                    vec![decoder.f_forward(&x[0], &x[1], masks, true).unwrap()]
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
                let norm = TransformerNormConfig {
                    elementwise_affine: false,
                    ..Default::default()
                };
                let config = TransformerLayerConfig::default();
                let decoder = nn::f_transformer_decoder(vs, 8, 2, 1, config, Some(norm))?;
                Box::new(move |x: &[Tensor]| {
                    let masks = DecoderMasks::default();
                    vec![decoder.f_forward(&x[0], &x[1], masks, false).unwrap()]
                })
            }
        ),
    ]);
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn transformers_are_pytorchs() {
    const CONFIG: TransformerConfig = TransformerConfig {
        d_model: 8,
        nhead: 2,
        num_encoder_layers: 2,
        num_decoder_layers: 3,
        layer: SMALL,
    };
    let inputs = || vec![Input::Randn(&[5, 2, 8]), X];
    assert_twins(&[
        twin!(
            Transformer,
            "nn.Transformer(8, 2, 2, 3, 12, dropout=0.0)",
            "[m(x[0], x[1], tgt_mask=m.generate_square_subsequent_mask(4, dtype=x[0].dtype), \
             tgt_key_padding_mask=x[2].to(x[0].dtype))]",
            [inputs(), vec![PADDING]].concat(),
            |vs| {
                let transformer = nn::f_transformer(vs, CONFIG)?;
                Box::new(move |x: &[Tensor]| {
                    let masks = TransformerMasks {
                        tgt_mask: Some(&causal(4, x[0].kind())),
                        tgt_key_padding_mask: Some(&x[2].to_kind(x[0].kind())),
                        ..Default::default()
                    };
                    vec![transformer.f_forward(&x[0], &x[1], masks, true).unwrap()]
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
                let config = TransformerConfig {
                    nhead: 4,
                    num_encoder_layers: 1,
                    num_decoder_layers: 2,
                    layer: OTHER,
                    ..CONFIG
                };
                let transformer = nn::f_transformer(vs, config)?;
                then_draw(Box::new(move |x: &[Tensor]| {
                    let masks = TransformerMasks::default();
                    vec![transformer.f_forward(&x[0], &x[1], masks, true).unwrap()]
                }))
            }
        ),
        twin!(
            Transformer,
            "nn.Transformer(8, 2, 0, 1, 12)",
            "[]",
            vec![],
            |vs| {
                let config = TransformerConfig {
                    num_encoder_layers: 0,
                    num_decoder_layers: 1,
                    layer: TransformerLayerConfig {
                        dropout: 0.1,
                        ..SMALL
                    },
                    ..CONFIG
                };
                let transformer = nn::f_transformer(vs, config)?;
                Box::new(move |_: &[Tensor]| {
                    assert!(transformer.encoder.layers.is_empty());
                    vec![]
                })
            }
        ),
    ]);
}
