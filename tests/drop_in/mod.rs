//! One program with `use tch::nn` and with `use tch_init::nn`, and nothing else changed.

use crate::common::{bytes, default_stream};
use tch::Device;

mod with_tch {
    use tch::nn;
    include!("program.rs");
}

mod with_ours {
    use tch_init::nn;
    include!("program.rs");
}

#[test]
fn a_program_changes_its_use_line_and_nothing_else() {
    let _stream = default_stream();
    let theirs = tch::nn::VarStore::new(Device::Cpu);
    let ours = tch_init::nn::VarStore::new(Device::Cpu);
    let state = tch_init::get_rng_state().unwrap();
    let expected = with_tch::build(&theirs.root());
    tch_init::set_rng_state(&state).unwrap();
    let outputs = with_ours::build(&ours.root());
    // The program sets every initializer but those of norms, which are alike: the same values.
    for (i, (output, expected)) in outputs.iter().zip(&expected).enumerate() {
        assert_eq!(bytes(output), bytes(expected), "output {i}");
    }
    // And only the caller's one draw was made.
    let mut names: Vec<String> = theirs.variables().into_keys().collect();
    names.push("norm.num_batches_tracked".to_owned());
    names.sort();
    let mut named: Vec<String> = ours.variables().into_keys().collect();
    named.sort();
    assert_eq!(named, names);
    with_ours::train(&ours).unwrap();
    with_tch::train(&theirs).unwrap();
}

#[test]
fn an_initializer_that_is_set_is_the_only_one_that_draws() {
    use tch_init::nn::{self, Init};
    let _stream = default_stream();
    let vs = nn::VarStore::new(Device::Cpu);
    tch_init::manual_seed(3).unwrap();
    let before = tch_init::get_rng_state().unwrap();
    let zero = Init::Const(0.0);
    let config = nn::ConvConfig {
        ws_init: zero,
        bs_init: zero,
        ..Default::default()
    };
    let conv = nn::conv2d(vs.root() / "conv", 2, 2, 3, config);
    assert_eq!(tch_init::get_rng_state().unwrap(), before);
    assert_eq!(conv.ws.abs().max().double_value(&[]), 0.0);

    let config = nn::LinearConfig {
        bs_init: Some(zero),
        ..Default::default()
    };
    let fc = nn::linear(vs.root() / "fc", 20, 2, config);
    let after = tch_init::get_rng_state().unwrap();
    tch_init::set_rng_state(&before).unwrap();
    let bound = 1.0 / 20f64.sqrt();
    let mut weight = fc.ws.detach().copy();
    tch_init::init::uniform_(&mut weight, -bound, bound, None).unwrap();
    assert_eq!(tch_init::get_rng_state().unwrap(), after);
}

#[test]
#[should_panic(expected = "groups = 0")]
fn constructors_of_tchs_signature_panic_where_tchs_do() {
    let _stream = default_stream();
    let vs = tch_init::nn::VarStore::new(Device::Cpu);
    let config = tch_init::nn::ConvConfig {
        groups: 0,
        ..Default::default()
    };
    tch_init::nn::conv2d(vs.root(), 1, 1, 1, config);
}

#[test]
fn no_bias_is_no_bias_in_norms_and_refused_elsewhere() {
    use tch_init::nn::{self, init::NO_BIAS};
    let _stream = default_stream();
    let vs = nn::VarStore::new(Device::Cpu);
    let config = nn::BatchNormConfig {
        bs_init: NO_BIAS,
        ..Default::default()
    };
    assert!(
        nn::batch_norm2d(vs.root() / "batch", 3, config)
            .bs
            .is_none()
    );
    // A config with a field for the bias has no other word for it.
    let config = nn::SyncBatchNormConfig::default();
    let sync = nn::sync_batch_norm(vs.root() / "sync", 3, config.bias(false)).unwrap();
    assert!(sync.ws.is_some() && sync.bs.is_none());
    let error = nn::sync_batch_norm(vs.root(), 3, config.bs_init(NO_BIAS)).unwrap_err();
    assert!(error.to_string().contains("NO_BIAS"), "{error}");
    let config = nn::InstanceNormConfig::default().affine(true);
    let instance = nn::instance_norm2d(vs.root() / "instance", 3, config.bias(false)).unwrap();
    assert!(instance.ws.is_some() && instance.bs.is_none());
    let error = nn::instance_norm2d(vs.root(), 3, config.bs_init(NO_BIAS)).unwrap_err();
    assert!(error.to_string().contains("NO_BIAS"), "{error}");
    let config = nn::LinearConfig {
        bs_init: Some(NO_BIAS),
        ..Default::default()
    };
    let error = nn::f_linear(vs.root() / "fc", 3, 3, config).unwrap_err();
    assert!(error.to_string().contains("NO_BIAS"), "{error}");
}

/// tch's own convolution is left with a flat weight by this initializer, and cannot run.
#[test]
fn a_convolution_can_start_orthogonal() {
    use tch_init::nn::{self, Init};
    let _stream = default_stream();
    let vs = nn::VarStore::new(Device::Cpu);
    let config = nn::ConvConfig {
        ws_init: Init::Orthogonal { gain: 1.0 },
        ..Default::default()
    };
    let conv = nn::conv2d(vs.root(), 3, 8, 3, config);
    assert_eq!(conv.ws.size(), [8, 3, 3, 3]);
    let rows = conv.ws.detach().view([8, 27]);
    let identity = tch::Tensor::eye(8, tch::kind::FLOAT_CPU);
    assert!(
        rows.matmul(&rows.tr())
            .allclose(&identity, 1e-5, 1e-5, false)
    );
}

/// tch exchanges paddings that differ between dimensions in other modes than zeros: a forward pass with
/// other numbers than PyTorch's must not go unnoticed.
#[test]
fn a_convolution_that_tch_pads_wrongly_has_no_forward_pass() {
    use tch::Kind;
    use tch_init::nn::{self, ConvConfigND, Module, PaddingMode};

    let _stream = default_stream();
    let ones = |shape: &[i64]| tch::Tensor::ones(shape, (Kind::Float, Device::Cpu));
    let fails = |module: &dyn Module, input: &tch::Tensor| {
        let forward = std::panic::AssertUnwindSafe(|| module.forward(input));
        std::panic::catch_unwind(forward).is_err()
    };
    let vs = tch_init::nn::VarStore::new(Device::Cpu);
    let modes = [
        PaddingMode::Reflect,
        PaddingMode::Replicate,
        PaddingMode::Circular,
    ];
    for (i, padding_mode) in modes.into_iter().enumerate() {
        let path = |dims: &str| vs.root() / i / dims;
        let config = ConvConfigND {
            padding: [0, 1],
            padding_mode,
            ..Default::default()
        };
        let conv = nn::f_conv(path("2"), 1, 2, [3, 3], config).unwrap();
        assert!(fails(&conv, &ones(&[1, 1, 6, 6])), "{padding_mode:?}");
        assert_eq!(conv.ws.size(), [2, 1, 3, 3]);
        let config = ConvConfigND {
            padding: [1, 1, 2],
            padding_mode,
            ..Default::default()
        };
        let conv = nn::conv(path("3"), 1, 2, [3; 3], config);
        assert!(fails(&conv, &ones(&[1, 1, 6, 6, 6])), "{padding_mode:?}");
        // Equal paddings are right, and so are all of `padded_conv`.
        let config = ConvConfigND {
            padding: [1, 1],
            padding_mode,
            ..Default::default()
        };
        let conv = nn::f_conv(path("equal"), 1, 2, [3, 3], config).unwrap();
        assert_eq!(conv.forward(&ones(&[1, 1, 6, 6])).size(), [1, 2, 6, 6]);
        let config = ConvConfigND {
            padding: [0, 1],
            padding_mode,
            ..Default::default()
        };
        let conv = nn::padded_conv(path("padded"), 1, 2, [3, 3], config).unwrap();
        assert_eq!(conv.forward(&ones(&[1, 1, 6, 6])).size(), [1, 2, 4, 6]);
    }
    // Zeros are added by the convolution itself.
    let config = ConvConfigND {
        padding: [0, 1],
        ..Default::default()
    };
    let conv = nn::f_conv(vs.root() / "zeros", 1, 2, [3, 3], config).unwrap();
    assert_eq!(conv.forward(&ones(&[1, 1, 6, 6])).size(), [1, 2, 4, 6]);
}
