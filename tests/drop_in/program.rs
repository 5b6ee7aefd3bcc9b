// A program of tch's users, compiled once with tch's `nn` and once with ours: every constructor and
// option that tch has.

pub fn build(vs: &nn::Path<'_>) -> Vec<tch::Tensor> {
    use nn::{Module, ModuleT, RNN};
    let kaiming = nn::init::DEFAULT_KAIMING_NORMAL;
    let images = tch::Tensor::ones([2, 3, 8, 8], tch::kind::FLOAT_CPU);
    let ones = nn::Init::Const(1.0);
    let half = nn::Init::Const(0.5);

    let custom = vs.var("custom", &[2], nn::Init::Uniform { lo: 1.0, up: 1.0 });
    let conv = nn::conv2d(
        vs / "conv",
        3,
        4,
        3,
        nn::ConvConfig {
            stride: 1,
            padding: 1,
            dilation: 1,
            groups: 1,
            bias: true,
            ws_init: ones,
            bs_init: half,
            padding_mode: nn::PaddingMode::Reflect,
        },
    );
    let wide = nn::conv(
        vs / "wide",
        4,
        4,
        [1, 3],
        nn::ConvConfigND::<[i64; 2]> {
            ws_init: half,
            bs_init: nn::Init::Const(0.0),
            ..Default::default()
        },
    );
    let norm = nn::batch_norm2d(
        vs / "norm",
        4,
        nn::BatchNormConfig {
            cudnn_enabled: true,
            eps: 1e-5,
            momentum: 0.1,
            affine: true,
            ws_init: ones,
            bs_init: half,
        },
    );
    let up = nn::conv_transpose2d(
        vs / "up",
        4,
        2,
        2,
        nn::ConvTransposeConfig {
            stride: 2,
            padding: 0,
            output_padding: 0,
            groups: 1,
            bias: false,
            dilation: 1,
            ws_init: half,
            bs_init: ones,
        },
    );
    let body = nn::seq_t()
        .add(conv)
        .add(wide)
        .add(norm)
        .add_fn(|x| x.relu())
        .add(up)
        .add(nn::Id());
    let maps = body.forward_t(&images, true);

    let head = nn::seq()
        .add(nn::linear(
            vs / "fc",
            2,
            3,
            nn::LinearConfig {
                ws_init: half,
                bs_init: Some(ones),
                bias: true,
            },
        ))
        .add(nn::layer_norm(vs / "layer_norm", vec![3], Default::default()))
        .add(nn::func(|x| x.tanh()));
    let pooled = maps.mean_dim(&[2i64, 3][..], false, None::<tch::Kind>);
    let features = head.forward(&pooled);
    let grouped = nn::group_norm(vs / "group_norm", 2, 4, Default::default())
        .forward(&tch::Tensor::ones([1, 4, 2], tch::kind::FLOAT_CPU));

    let words = nn::embedding(
        vs / "words",
        5,
        3,
        nn::EmbeddingConfig {
            sparse: false,
            scale_grad_by_freq: false,
            ws_init: half,
            padding_idx: -1,
        },
    );
    let config = nn::RNNConfig {
        has_biases: true,
        num_layers: 2,
        dropout: 0.0,
        train: true,
        bidirectional: true,
        batch_first: true,
        w_ih_init: half,
        w_hh_init: half,
        b_ih_init: Some(ones),
        b_hh_init: Some(nn::Init::Const(0.0)),
    };
    let lstm = nn::lstm(vs / "lstm", 3, 2, config);
    let gru = nn::gru(vs / "gru", 3, 2, config);
    let tokens = words.forward(&tch::Tensor::from_slice(&[0i64, 4, 2]).view([1, 3]));
    let (states, _) = lstm.seq(&tokens);
    let (others, nn::GRUState(last)) = gru.seq(&tokens);

    // Named, not used: what only has to compile.
    let (_, _) = (kaiming, nn::no_bias());
    let _: fn(f64, f64, f64) -> nn::Adam = nn::adam;
    let _: Option<nn::ConvTransposeConfigND<i64>> = None;
    let loss = features.sum(tch::Kind::Float) + states.sum(tch::Kind::Float);
    vec![custom, maps, features, grouped, states, others, last, loss]
        .into_iter()
        .map(|tensor| tensor.detach())
        .collect()
}

/// One step of each optimiser.
pub fn train(vs: &nn::VarStore) -> Result<(), tch::TchError> {
    use nn::OptimizerConfig;
    let weights = vs.trainable_variables();
    for mut optimizer in [
        nn::Sgd::default().build(vs, 0.1)?,
        nn::Adam::default().build(vs, 0.1)?,
        nn::AdamW::default().build(vs, 0.1)?,
        nn::RmsProp::default().build(vs, 0.1)?,
    ] {
        optimizer.backward_step(&weights[0].sum(tch::Kind::Float));
    }
    Ok(())
}
