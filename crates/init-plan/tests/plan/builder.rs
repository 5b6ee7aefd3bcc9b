//! Plans built in code.

use init_plan::{InitPlan, PlanBuilder, PlanError, Scalar};
use tensor_parity::Dtype;
use torch_rng::{Normal, Uniform};

const UNIFORM: Uniform = Uniform {
    from: -0.5,
    to: 0.5,
};

#[test]
fn rows_are_numbered_by_their_first_use_and_dead_fills_are_left_out() -> Result<(), PlanError> {
    let mut plan = PlanBuilder::new().pytorch("2.13.1");
    let mask = plan.buffer("mask", Dtype::Bool, &[2])?;
    let weight = plan.parameter("weight", Dtype::Float32, &[4, 3])?;
    let unused = plan.tensor(Dtype::Float32, &[20])?;
    plan.fill(weight, Scalar::Float(0.0))?;
    plan.draw(unused, UNIFORM)?;
    plan.fill(unused, Scalar::Int(1))?;
    plan.draw(weight, UNIFORM)?;
    plan.fill_row(weight, 2, Scalar::Float(0.0))?;
    plan.fill(mask, Scalar::Bool(true))?;
    plan.name_parameter("tied", weight, false);
    let plan = plan.finish("model")?;
    let json = plan.to_json();
    assert_eq!(
        json.replace(char::is_whitespace, ""),
        r#"{"format":"tch-initplan","version":1,"pytorch":"2.13.1","semantics":"2.13","model":"model","storages":[80,48,2],"views":[[0,"float32",[20]],[1,"float32",[4,3]],[1,"float32",[3],6],[2,"bool",[2]]],"steps":[["uniform_",0,-0.5,0.5],["uniform_",1,-0.5,0.5],["fill_",2,0.0],["fill_",3,true]],"parameters":[["weight",1],["tied",1,{"requires_grad":false}]],"buffers":[["mask",3]]}"#
    );
    assert_eq!(InitPlan::from_json(json.as_bytes())?, plan);
    Ok(())
}

#[test]
fn what_nothing_writes_is_unset() -> Result<(), PlanError> {
    let mut plan = PlanBuilder::new();
    plan.parameter("never", Dtype::Float32, &[3])?;
    plan.parameter("empty", Dtype::Float32, &[0])?;
    let row = plan.parameter("row", Dtype::Float32, &[2, 2])?;
    plan.fill_row(row, 0, Scalar::Float(1.0))?;
    let plan = plan.finish("model")?;
    let unset = plan.names().map(|(name, entry)| (name, entry.unset));
    assert_eq!(
        unset.collect::<Vec<_>>(),
        [("never", true), ("empty", false), ("row", true)]
    );
    Ok(())
}

#[test]
fn mistakes_are_errors() -> Result<(), PlanError> {
    let mut plan = PlanBuilder::new();
    let weight = plan.parameter("weight", Dtype::Float32, &[4, 3])?;
    let mask = plan.parameter("mask", Dtype::Bool, &[2])?;
    let message = |result: Result<(), PlanError>| result.unwrap_err().to_string();
    let std = Normal {
        mean: 0.0,
        std: -1.0,
    };
    assert_eq!(
        message(plan.draw(weight, std)),
        "step 0 (\"normal_\"): expected std of 0 or more, found -1"
    );
    assert!(message(plan.draw(mask, UNIFORM)).contains("bool"));
    assert!(message(plan.copy(mask, weight)).contains("expected an output of shape [2]"));
    assert!(message(plan.fill_row(weight, 4, Scalar::Int(0))).contains("expected a row"));
    assert!(plan.tensor(Dtype::Float64, &[u64::MAX, 2]).is_err());

    // Identifiers of another builder.
    let mut other = PlanBuilder::new();
    assert!(message(other.fill(mask, Scalar::Int(0))).contains("of this builder"));
    assert!(message(other.fill_row(mask, 0, Scalar::Int(0))).contains("of this builder"));
    other.name_parameter("mask", mask, true);
    assert!(other.finish("model").is_err());

    plan.refuse(weight, "drawn by a friend")?;
    let error = plan.clone().finish("model").unwrap_err();
    assert!(
        matches!(&error, PlanError::Record { name, .. } if name == "weight"),
        "{error}"
    );
    plan.fill(weight, Scalar::Float(0.0))?;
    plan.clone().finish("model")?;
    plan.name_buffer("mask", mask, true);
    let error = plan.finish("model").unwrap_err().to_string();
    assert_eq!(error, "buffer \"mask\": duplicate name");
    Ok(())
}

#[test]
fn rows_of_empty_tensors_are_filled_without_overflow() -> Result<(), PlanError> {
    let mut plan = PlanBuilder::new();
    let empty = plan.parameter("empty", Dtype::Float32, &[1 << 50, 0, 1 << 50])?;
    plan.fill_row(empty, (1 << 50) - 1, Scalar::Float(0.0))?;
    assert!(plan.fill_row(empty, 1 << 50, Scalar::Float(0.0)).is_err());
    plan.finish("empty").map(drop)
}
