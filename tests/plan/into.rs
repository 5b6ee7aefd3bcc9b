//! Plans into a `VarStore`.

use super::build::{linear, seeded};
use crate::common::bytes;
use crate::common::default_stream;
use tch::nn::{self, VarStore};
use tch::{Device, Kind, Tensor};
use tch_init::plan::materialize_into_renamed;

fn store() -> (VarStore, nn::Linear) {
    let vs = VarStore::new(Device::Cpu);
    let fc = nn::linear(vs.root() / "fc", 2, 3, Default::default());
    (vs, fc)
}

#[test]
fn variables_get_the_values_under_their_names() {
    let _stream = default_stream();
    let plan = linear().plan();
    let (mut vs, fc) = store();
    let mut generator = seeded(4);
    materialize_into_renamed(&plan, &mut vs, &mut generator, |name| {
        name.replace("fc.", "")
    })
    .unwrap();
    let mut other = seeded(4);
    let made = plan.materialize(&mut other).unwrap();
    assert_eq!(bytes(&fc.ws), bytes(&made[0].1));
    assert_eq!(bytes(fc.bs.as_ref().unwrap()), bytes(&made[1].1));
    assert_eq!(generator.get_state().unwrap(), other.get_state().unwrap());
    assert!(fc.ws.requires_grad() && fc.ws.is_leaf());

    vs.half();
    materialize_into_renamed(&plan, &mut vs, &mut seeded(4), |name| {
        name.replace("fc.", "")
    })
    .unwrap();
    assert_eq!(
        bytes(&vs.variables()["fc.weight"]),
        bytes(&made[0].1.to_kind(Kind::Half))
    );
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_drawn() {
    let _stream = default_stream();
    let plan = linear().plan();
    let refused = |vs: &mut VarStore, rename: &dyn Fn(&str) -> String| {
        let mut generator = seeded(4);
        let before = generator.get_state().unwrap();
        let error = materialize_into_renamed(&plan, vs, &mut generator, rename)
            .unwrap_err()
            .to_string();
        assert_eq!(generator.get_state().unwrap(), before);
        error
    };
    let strip = |name: &str| name.replace("fc.", "");
    let (mut vs, _) = store();
    assert_eq!(
        refused(&mut vs, &str::to_owned),
        "variable \"fc.bias\": the plan lacks \"fc.bias\""
    );

    let mut vs = VarStore::new(Device::Cpu);
    nn::linear(vs.root() / "fc", 3, 3, Default::default());
    assert_eq!(
        refused(&mut vs, &strip),
        "variable \"fc.weight\": expected shape [3, 2], found [3, 3]"
    );

    let mut vs = VarStore::new(Device::Cpu);
    drop(vs.root().var("bias", &[3], nn::Init::Const(0.0)));
    assert_eq!(
        refused(&mut vs, &strip),
        "variable \"weight\": the parameter matches no variable"
    );

    let mut vs = VarStore::new(Device::Cpu);
    let integers = Tensor::zeros([3], (Kind::Int64, Device::Cpu));
    drop(vs.root().add("bias", integers, false));
    assert_eq!(
        refused(&mut vs, &strip),
        "variable \"bias\": expected float32, found Int64"
    );
}
