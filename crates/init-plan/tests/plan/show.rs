//! What a plan says of itself.

use crate::build::{linear, view};
use serde_json::json;
use tensor_parity::Dtype;

#[test]
fn a_plan_shows_what_it_draws_and_what_is_dead() {
    let mut plan = linear();
    let temporary = plan.tensor("float32", &[3]);
    let window = plan.view(json!([0, "float32", [2], 1]));
    plan.step(json!(["trunc_normal_", temporary, 0.0, 1.0, -2.0, 2.0]))
        .step(json!(["normal_", temporary, 0.0, 1.0]))
        .step(json!(["copy_", window, {"view": 3}]));
    plan.buffers
        .push(json!(["window", window, {"persistent": false}]));
    assert_eq!(
        plan.plan().to_string(),
        "\
by hand (PyTorch 2.13.0)
parameter weight  float32 [3, 2]
    step 0: uniform_(-0.5, 0.5), words 0 + 6, dead
    step 2: normal_(0, 0.02), words 9 + 12
    step 6: copy_ on [2]
parameter bias  float32 [3]
    step 1: uniform_(-0.5, 0.5), words 6 + 3, dead
    step 3: fill_(0.0)
buffer window  float32 [2], not in the state_dict
    step 0: uniform_(-0.5, 0.5) on [3, 2], words 0 + 6, dead
    step 2: normal_(0, 0.02) on [3, 2], words 9 + 12
    step 6: copy_
memory without a name
    step 4: trunc_normal_(0, 1, -2, 2) on [3], words 21 + as many as it takes, dead
    step 5: normal_(0, 1) on [3], words 0 after step 4 + as many as it takes, dead
2 parameters, 1 buffer: 11 elements
7 steps, 5 draws of 21 values, 15 of them dead (71.4%); 21 words, and those of 2 draws that depend on their values
"
    );
    assert_eq!(view(3), json!({"view": 3}));
}

/// Of three normal values, two pairs are drawn, and the second draw begins with the one that is kept.
#[test]
fn a_kept_normal_counts() {
    let mut plan = linear();
    let temporary = plan.tensor("float32", &[3]);
    plan.step(json!(["normal_", temporary, 0.0, 1.0]))
        .step(json!(["normal_", temporary, 0.0, 1.0]))
        .step(json!(["normal_", temporary, 0.0, 1.0]));
    let text = plan.plan().to_string();
    for line in ["words 21 + 8", "words 29 + 4", "words 33 + 8"] {
        assert!(text.contains(line), "{line}:\n{text}");
    }
}

#[test]
fn names_say_what_they_are() {
    let mut plan = linear();
    plan.parameters[1] = json!(["bias", 1, {"requires_grad": false, "unset": true}]);
    plan.buffers
        .push(json!(["running", 1, {"persistent": false}]));
    let plan = plan.plan();
    let names: Vec<_> = plan.names().map(|(name, _)| name).collect();
    assert_eq!(names, ["weight", "bias", "running"]);
    let weight = plan.get("weight").unwrap();
    assert_eq!(
        (weight.dtype, weight.shape.as_slice()),
        (Dtype::Float32, &[3, 2][..])
    );
    assert!(weight.is_parameter && weight.requires_grad && weight.persistent && !weight.unset);
    let bias = plan.get("bias").unwrap();
    assert!(bias.is_parameter && !bias.requires_grad && bias.unset);
    let running = plan.get("running").unwrap();
    assert!(!running.is_parameter && !running.requires_grad && !running.persistent);
    assert!(plan.get("none").is_none());
    assert_eq!((plan.pytorch(), plan.model()), ("2.13.0", "by hand"));
}
