//! Models of `tch_init::nn`, constructed without drawing: what is materialised afterwards is what
//! the constructor would have drawn.

use super::build::seeded;
use crate::common::{bytes, default_stream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};
use tch_init::init::{self, FanMode, Nonlinearity};
use tch_init::nn::{self, Init, Path};
use tch_init::plan::{self, InitPlan};
use tch_init::{apply, get_rng_state, manual_seed, recipe, set_rng_state};

type Model = (&'static str, fn(&VarStore));

const MODELS: &[Model] = &[
    ("linear", |vs| {
        drop(nn::linear(vs.root(), 20, 30, Default::default()))
    }),
    ("small", |vs| {
        drop(nn::linear(vs.root() / "a", 2, 3, Default::default()))
    }),
    ("embedding", |vs| {
        let config = nn::EmbeddingConfig {
            padding_idx: 1,
            ..Default::default()
        };
        drop(nn::embedding(vs.root(), 10, 7, config));
    }),
    ("batch_norm", |vs| {
        let conv = nn::conv2d(vs.root() / "conv", 3, 8, 3, Default::default());
        drop((
            conv,
            nn::batch_norm2d(vs.root() / "bn", 8, Default::default()),
        ));
    }),
    ("lstm", |vs| {
        let config = nn::RNNConfig {
            bidirectional: true,
            num_layers: 2,
            ..Default::default()
        };
        drop(nn::lstm(vs.root(), 5, 6, config));
    }),
    ("transformer_encoder", |vs| {
        let config = Default::default();
        drop(nn::transformer_encoder(vs.root(), 16, 2, 3, config, None).unwrap());
    }),
    ("adaptive", |vs| {
        let config = Default::default();
        let softmax =
            nn::adaptive_log_softmax_with_loss(vs.root(), 20, 100, &[10, 50], config).unwrap();
        drop(softmax);
    }),
    ("prelu", |vs| {
        drop(nn::prelu(vs.root(), Default::default()).unwrap())
    }),
    ("half", |vs| {
        let mut path = vs.root();
        path.set_kind(Kind::BFloat16);
        drop(nn::linear(path, 30, 7, Default::default()));
    }),
    ("given constants", |vs| {
        let config = nn::LinearConfig {
            ws_init: Init::Const(0.25),
            ..Default::default()
        };
        drop(nn::linear(vs.root(), 4, 3, config));
    }),
    ("applied", |vs| {
        drop(nn::linear(vs.root() / "fc1", 20, 30, Default::default()));
        drop(nn::linear(vs.root() / "fc2", 30, 4, Default::default()));
        apply(vs, recipe::weight_init).unwrap();
        apply(vs, recipe::orthogonal).unwrap();
        apply(vs, recipe::vit).unwrap();
    }),
    ("every init", |vs| {
        let root = vs.root();
        let t = |name: &str, shape: &[i64]| root.f_zeros(name, shape).unwrap();
        init::trunc_normal_(&mut t("trunc", &[30, 9]), 0.0, 1.0, -1.0, 2.0, None).unwrap();
        init::trunc_normal_(&mut t("tail", &[30]), 0.0, 1.0, 1.0, 2.0, None).unwrap();
        init::sparse_(&mut t("sparse", &[9, 11]), 0.3, 0.1, None).unwrap();
        init::dirac_(&mut t("dirac", &[4, 2, 3]), 2).unwrap();
        init::eye_(&mut t("eye", &[4, 5])).unwrap();
        let relu = Nonlinearity::Relu;
        init::kaiming_normal_(&mut t("kaiming", &[4, 5]), FanMode::FanOut, relu, None).unwrap();
        init::ones_(&mut t("ones", &[2])).unwrap();
        let mut part = t("part", &[6, 6]);
        part = part.narrow(1, 2, 3);
        init::normal_(&mut part, 0.0, 1.0, None).unwrap();
        drop(t("untouched", &[3]));
    }),
];

/// Constructs, and gives the tensors by name and the stream that is left.
fn constructed(model: fn(&VarStore), seed: i64) -> (VarStore, Vec<u8>) {
    manual_seed(seed).unwrap();
    let vs = VarStore::new(Device::Cpu);
    model(&vs);
    (vs, get_rng_state().unwrap())
}

#[test]
fn recorded_models_are_constructed_models() {
    let _stream = default_stream();
    for (name, model) in MODELS {
        manual_seed(77).unwrap();
        let before = get_rng_state().unwrap();
        let mut vs = VarStore::new(Device::Cpu);
        let ((), plan) = plan::record(name, &vs, || model(&vs))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(get_rng_state().unwrap(), before, "{name} draws");
        assert_eq!(plan.model(), *name);
        assert!(plan.pytorch().starts_with("2.13."), "{}", plan.pytorch());
        let json = plan.to_json();
        let read = InitPlan::from_json(json.as_bytes()).unwrap();
        assert_eq!(read, plan, "{name}");

        for seed in [1, -9] {
            let (expected, end) = constructed(*model, seed);
            let mut generator = seeded(seed);
            plan::materialize_into(&plan, &mut vs, &mut generator)
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            let (ours, theirs) = (vs.variables(), expected.variables());
            assert_eq!(ours.len(), theirs.len());
            for (variable, tensor) in &theirs {
                let ours = &ours[variable];
                assert_eq!(bytes(ours), bytes(tensor), "{name}: {variable}");
                assert_eq!(ours.requires_grad(), tensor.requires_grad());
            }
            assert_eq!(generator.get_state().unwrap(), end, "{name}");
        }
    }
}

/// As the recorder writes it of the same model in Python.
#[test]
fn a_plan_has_the_form_of_the_recorders() {
    let vs = VarStore::new(Device::Cpu);
    let config = nn::EmbeddingConfig {
        padding_idx: 0,
        ..Default::default()
    };
    let ((), plan) = plan::record("net", &vs, || {
        drop(nn::embedding(vs.root() / "emb", 3, 4, config));
        drop(nn::batch_norm1d(vs.root() / "bn", 4, Default::default()));
    })
    .unwrap();
    // tch-init record 'torch.nn.Sequential(collections.OrderedDict(emb=torch.nn.Embedding(
    //     3, 4, padding_idx=0), bn=torch.nn.BatchNorm1d(4)))' --import collections
    // writes the same, but for the model's name, and for the buffers in the order of their making.
    let expected = r#"{
"format": "tch-init plan",
"version": 1,
"pytorch": "PYTORCH",
"semantics": "2.13",
"model": "net",
"storages": [
48,
16,
16,
8,
16,
16
],
"views": [
[0,"float32",[3,4]],
[0,"float32",[4]],
[1,"float32",[4]],
[2,"float32",[4]],
[3,"int64",[]],
[4,"float32",[4]],
[5,"float32",[4]]
],
"steps": [
["normal_",0,0.0,1.0],
["fill_",1,0.0],
["fill_",2,0.0],
["fill_",3,1.0],
["fill_",4,0],
["fill_",5,1.0],
["fill_",6,0.0]
],
"parameters": [
["emb.weight",0],
["bn.weight",5],
["bn.bias",6]
],
"buffers": [
["bn.num_batches_tracked",4],
["bn.running_mean",2],
["bn.running_var",3]
]
}
"#;
    let expected = expected.replace("PYTORCH", plan.pytorch());
    assert_eq!(plan.to_json(), expected);
}

/// What is drawn or computed past the recording is rejected, never left out.
#[test]
fn what_cannot_be_recorded_is_refused() {
    let _stream = default_stream();
    let weight = |vs: &VarStore| nn::linear(vs.root(), 20, 30, Default::default()).ws;
    type Then = fn(Tensor, &Path<'_>);
    let cases: [(&str, Then); 8] = [
        ("aten::uniform_", |mut w, _| {
            tch::no_grad(|| drop(w.uniform_(0.0, 1.0)));
        }),
        ("aten::randn", |_, _| {
            drop(Tensor::randn([3], tch::kind::FLOAT_CPU))
        }),
        ("aten::fill_", |mut w, _| {
            tch::no_grad(|| drop(w.fill_(0.0)))
        }),
        ("aten::mul", |w, _| drop(w * 2)),
        ("aten::sum", |w, _| drop(w.sum(Kind::Float))),
        ("aten::item", |w, _| {
            std::hint::black_box(w.double_value(&[0, 0]));
        }),
        ("aten::copy_", |w, _| {
            let mut copy = Tensor::zeros([30, 20], tch::kind::FLOAT_CPU);
            copy.copy_(&w.detach());
        }),
        ("aten::uniform_", |_, path| {
            drop(path.var("w", &[20], Init::Uniform { lo: 0.0, up: 1.0 }));
        }),
    ];
    for (call, then) in cases {
        manual_seed(3).unwrap();
        let before = get_rng_state().unwrap();
        let vs = VarStore::new(Device::Cpu);
        let error = plan::record("x", &vs, || then(weight(&vs), &vs.root())).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "record: libtorch: the constructor calls {call}, which draws or needs values that a \
                 recording lacks; fill tensors by the functions of tch_init::init"
            )
        );
        assert_eq!(get_rng_state().unwrap(), before, "{call}");
    }
}

/// Sparse tensors have no storage, which libtorch reports by an exception; those of the device `meta` have
/// one that the host cannot read, as those of CUDA.
#[test]
fn tensors_without_readable_bytes_are_refused() {
    let sparse = || {
        let dense = Tensor::ones([2, 2], (Kind::Float, Device::Cpu));
        dense.to_sparse(None, None::<i64>, None)
    };
    let meta = || {
        // tests/python/meta_tensor.py
        let mut module = &include_bytes!("../data/meta_tensor.pt")[..];
        let module = tch::CModule::load_data(&mut module).unwrap();
        module.forward_ts(&[Tensor::from(0)]).unwrap()
    };
    // tch takes `meta` for another device.
    for (tensor, reason, variable_reason) in [
        (sparse(), "layout Sparse", "layout Sparse"),
        (meta(), "on meta", "expected a tensor on the CPU"),
    ] {
        let vs = VarStore::new(Device::Cpu);
        let mut filled = tensor.shallow_clone();
        let filled = plan::record("x", &vs, || init::uniform_(&mut filled, 0.0, 1.0, None));
        let error = filled.unwrap().0.unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        drop(vs.root().add("tensor", tensor, false));
        let error = plan::record("x", &vs, || ()).unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string);
        let message = format!("{error}: {source:?}");
        assert!(message.contains(variable_reason), "{message}");
    }
}

#[test]
fn constants_are_recorded_as_far_as_a_plan_has_place() {
    let vs = VarStore::new(Device::Cpu);
    let ((), plan) = plan::record("x", &vs, || {
        let position = Tensor::arange(7, (Kind::Int64, Device::Cpu)) * 2;
        drop(vs.root().add("position", position, false));
        drop(vs.root().add(
            "mask",
            Tensor::ones([300, 300], (Kind::Bool, Device::Cpu)),
            false,
        ));
        let mut part = vs.root().ones("part", &[2, 3]);
        init::zeros_(&mut part.select(0, 1)).unwrap();
        part = part.shallow_clone();
        drop(part);
    })
    .unwrap();
    let made = plan.materialize(&mut seeded(0)).unwrap();
    let made: Vec<(&str, Vec<u8>)> = made
        .iter()
        .map(|(name, t)| (name.as_str(), bytes(t)))
        .collect();
    let part: Vec<u8> = [1f32, 1., 1., 0., 0., 0.]
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect();
    let position: Vec<u8> = (0..7).flat_map(|i| (2i64 * i).to_le_bytes()).collect();
    let expected = [
        ("part", part),
        ("mask", vec![1; 90_000]),
        ("position", position),
    ];
    assert_eq!(made, expected);

    // Large ones lie beside the plan, equal ones once.
    let vs = VarStore::new(Device::Cpu);
    let ((), large) = plan::record("x", &vs, || {
        for name in ["position", "again"] {
            let position = Tensor::arange(20_000, tch::kind::FLOAT_CPU);
            drop((vs.root() / "deep").add(name, position, false));
        }
    })
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (
        folder.path().join("x.plan.json"),
        folder.path().join("y.json"),
    );
    large.write(&path).unwrap();
    let read = InitPlan::load(&path).unwrap();
    assert_eq!(
        std::fs::metadata(read.data_file().unwrap()).unwrap().len(),
        80_072
    );
    read.write(&copy).unwrap();
    std::fs::remove_file(path).unwrap();
    for plan in [large, InitPlan::load(&copy).unwrap()] {
        let made = plan.materialize(&mut seeded(1)).unwrap();
        let expected = bytes(&Tensor::arange(20_000, tch::kind::FLOAT_CPU));
        assert_eq!(made.len(), 2);
        assert!(made.iter().all(|(_, t)| bytes(t) == expected));
    }
}

#[test]
fn own_generators_are_refused_where_they_draw() {
    let vs = VarStore::new(Device::Cpu);
    let (refused, _) = plan::record("x", &vs, || {
        let mut w = vs.root().zeros("w", &[20]);
        init::uniform_(&mut w, 0.0, 1.0, Some(&mut seeded(1)))
    })
    .unwrap();
    assert_eq!(
        refused.unwrap_err().to_string(),
        "uniform_: libtorch: a plan records draws from the default generator only, this one is explicit \
         (tensor of shape [20])"
    );
}

/// The memory of another device cannot be read: nothing is constructed on it.
#[test]
fn models_on_other_devices_are_refused_before_their_memory_is_read() {
    for device in [Device::Cuda(0), Device::Mps, Device::Vulkan] {
        let vs = VarStore::new(device);
        let mut constructed = false;
        let error = plan::record("x", &vs, || constructed = true).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("record: libtorch: expected a VarStore on the CPU, found {device:?}")
        );
        assert!(!constructed);
    }
}

/// Recordings end, whatever happens within.
#[test]
fn a_recording_ends() {
    let _stream = default_stream();
    let vs = VarStore::new(Device::Cpu);
    let inner = plan::record("outer", &vs, || {
        plan::record("inner", &vs, || ()).unwrap_err().to_string()
    });
    assert_eq!(
        inner.unwrap().0,
        "record: libtorch: a recording cannot begin within another one"
    );
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        plan::record("x", &vs, || panic!("on purpose")).map(|((), plan)| plan)
    }));
    assert!(panicked.is_err());
    let state = get_rng_state().unwrap();
    let mut drawn = Tensor::zeros([20], tch::kind::FLOAT_CPU);
    init::uniform_(&mut drawn, 1.0, 2.0, None).unwrap();
    assert!(drawn.min().double_value(&[]) >= 1.0);
    assert_ne!(get_rng_state().unwrap(), state);
    set_rng_state(&state).unwrap();
}
