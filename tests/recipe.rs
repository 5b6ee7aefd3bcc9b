//! What recipes do without a Python to compare them with: what they reject, and what they leave alone.

use crate::common::{chain, default_stream};
use tch::Device;
use tch::nn::{Init, VarStore};
use tch_init::nn::{self, LayerKind};
use tch_init::recipe::{bert, gpt2, resnet, vit};
use tch_init::{InitError, VisitError, Walk};

#[test]
fn a_recipe_refuses_what_its_source_refuses() {
    let _stream = default_stream();
    let mut walk = Walk::new().prefer(LayerKind::Embedding);
    let vs = VarStore::new(Device::Cpu);
    let c_proj = vs.root() / "mlp" / "c_proj";
    drop(c_proj.var("weight", &[8, 4], Init::Const(0.0)));
    drop(c_proj.var("bias", &[4], Init::Const(0.0)));
    for n_layer in [0, -2] {
        let error = walk.apply(&vs, gpt2(n_layer, 0.02)).unwrap_err();
        assert!(
            chain(&error).contains(&format!("n_layer = {n_layer}")),
            "{error}"
        );
    }
    let error = walk.apply(&vs, gpt2(2, -0.02)).unwrap_err();
    assert!(error.to_string().contains("\"mlp.c_proj\""), "{error}");

    let vs = VarStore::new(Device::Cpu);
    let words = vs.root() / "word_embeddings";
    tch::nn::embedding(words, 4, 2, Default::default());
    let error = walk.apply(&vs, bert(0.02, Some(4))).unwrap_err();
    let VisitError::Layer { source, .. } = &error else {
        panic!("{error}")
    };
    assert!(matches!(source, InitError::Libtorch { .. }), "{error}");
    assert!(chain(&error).contains("[4, 2]"), "{error}");

    let vs = VarStore::new(Device::Cpu);
    let pre_logits = vs.root() / "heads" / "pre_logits";
    nn::f_linear(pre_logits, 0, 2, Default::default()).unwrap();
    let error = walk.apply(&vs, vit).unwrap_err();
    assert!(chain(&error).contains("fan_in = 0"), "{error}");
}

#[test]
fn the_last_norm_of_a_block_is_found_in_any_order_and_only_in_blocks() {
    let _stream = default_stream();
    let vs = VarStore::new(Device::Cpu);
    let root = vs.root();
    let norms = [
        "bn2",
        "a.bn3",
        "a.bn2",
        "b.0.bn2",
        "b.0.bn1",
        "b.0.downsample.1",
    ];
    let weights = norms.map(|path| {
        let at = path.split('.').fold(root.clone(), |at, name| at / name);
        nn::f_batch_norm2d(at, 2, Default::default()).unwrap().ws
    });
    Walk::new().apply(&vs, resnet(true)).unwrap();
    let values = weights.map(|weight| weight.map(|weight| weight.double_value(&[1])));
    assert_eq!(values, [1.0, 0.0, 1.0, 0.0, 1.0, 1.0].map(Some));
}

#[test]
fn bert_keeps_the_padding_row_that_the_embedding_was_made_with() {
    let _stream = default_stream();
    let vs = VarStore::new(Device::Cpu);
    let config = nn::EmbeddingConfig {
        padding_idx: 1,
        ..Default::default()
    };
    let words = nn::embedding(vs.root() / "words", 3, 4, config);
    tch_init::apply(&vs, bert(0.02, None)).unwrap();
    let greatest = |row: i64| words.ws.get(row).abs().max().double_value(&[]);
    assert_eq!(greatest(1), 0.0);
    assert!(greatest(0) > 0.0 && greatest(0) < 0.2, "{}", greatest(0));
}
