//! Which models of `tch::vision` compute what torchvision's compute with the same weights, bit for bit, and why the others do not.
//!
//! `TCH_INIT_VISION=vgg16,resnet34 cargo test --release --test main -- --ignored vision_forward --nocapture` runs others of the table in
//! `docs/trace.md`. Needs `make models`.

use std::path::Path;
use std::process::Command;
use tch::nn::{FuncT, ModuleT, Path as VarPath, VarStore, func_t};
use tch::vision::{
    alexnet, convmixer, densenet, efficientnet, inception, mobilenet, resnet, squeezenet, vgg,
};
use tch::{Device, Tensor};

fn boxed(model: impl ModuleT + 'static) -> FuncT<'static> {
    func_t(move |x, train| model.forward_t(x, train))
}

fn make(name: &str, root: &VarPath<'_>) -> FuncT<'static> {
    match name {
        "resnet18" => resnet::resnet18(root, 10),
        "resnet34" => resnet::resnet34(root, 10),
        "resnet50" => boxed(resnet::resnet50(root, 10)),
        "vgg11" => boxed(vgg::vgg11(root, 10)),
        "vgg11_bn" => boxed(vgg::vgg11_bn(root, 10)),
        "vgg16" => boxed(vgg::vgg16(root, 10)),
        "alexnet" => boxed(alexnet::alexnet(root, 10)),
        "squeezenet1_0" => boxed(squeezenet::v1_0(root, 10)),
        "squeezenet1_1" => boxed(squeezenet::v1_1(root, 10)),
        "densenet121" => boxed(densenet::densenet121(root, 10)),
        "mobilenet_v2" => boxed(mobilenet::v2(root, 10)),
        "inception_v3" => boxed(inception::v3(root, 10)),
        "efficientnet_b0" => boxed(efficientnet::b0(root, 10)),
        "efficientnet_b1" => boxed(efficientnet::b1(root, 10)),
        "efficientnet_b2" => boxed(efficientnet::b2(root, 10)),
        "efficientnet_b3" => boxed(efficientnet::b3(root, 10)),
        "efficientnet_b4" => boxed(efficientnet::b4(root, 10)),
        "convmixer_1024_20_ks9_p14" => convmixer::c1024_20(root, 10),
        other => panic!("no model {other}"),
    }
}

/// What the result of tch is equal to, of the results of Python; and how far it is from torchvision's.
fn verdict(name: &str, folder: &Path) -> (Vec<String>, f64) {
    let mut vs = VarStore::new(Device::Cpu);
    let model = make(name, &vs.root());
    vs.load(folder.join(format!("{name}.safetensors"))).unwrap();
    let results = Tensor::read_safetensors(folder.join(format!("{name}.out.safetensors"))).unwrap();
    let of = |wanted: &str| {
        results
            .iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, t)| t)
    };
    let ours = tch::no_grad(|| model.forward_t(of("x").unwrap(), false));
    let equal = ["torchvision", "like tch"]
        .into_iter()
        .filter(|name| of(name).is_some_and(|t| t.equal(&ours)));
    let theirs = of("torchvision").unwrap();
    let far = (&ours - theirs).abs().max() / theirs.abs().max();
    (equal.map(str::to_owned).collect(), far.double_value(&[]))
}

#[test]
#[ignore = "needs PyTorch and `make models`"]
fn models_of_tch_vision_compute_what_torchvision_computes_or_why_not() {
    let chosen = std::env::var("TCH_INIT_VISION");
    let names = chosen
        .as_deref()
        .unwrap_or("resnet18,squeezenet1_1,mobilenet_v2,densenet121,efficientnet_b0");
    let folder = tempfile::tempdir().unwrap();
    let threads = tch::get_num_threads();
    tch::set_num_threads(1);
    let mut wrong = Vec::new();
    for name in names.split(',') {
        let output = Command::new(crate::common::python())
            .arg("tests/python/vision_forward.py")
            .arg(folder.path())
            .arg(name)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let (equal, far) = verdict(name, folder.path());
        println!("{name}: equal to {equal:?}; {far:.2e} of the largest element from torchvision's");
        let departs = ["alexnet", "densenet", "mobilenet", "efficientnet"]
            .iter()
            .any(|kind| name.starts_with(kind));
        let expected = if departs { "like tch" } else { "torchvision" };
        if equal != [expected] {
            wrong.push(format!("{name}: equal to {equal:?}, not to {expected}"));
        }
    }
    tch::set_num_threads(threads);
    assert!(wrong.is_empty(), "{wrong:#?}");
}
