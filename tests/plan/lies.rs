//! Plans that lie: each is refused in one line that says where.

use crate::alloc::most_held;
use crate::build::{Builder, linear, seeded, view};
use serde_json::{Value, json};
use tch_init::plan::{InitPlan, PlanError};

fn refused(json: &Value) -> String {
    let text = serde_json::to_vec(json).unwrap();
    let (result, held) = most_held(|| InitPlan::from_json(&text));
    let error = result.expect_err(&format!("{json}")).to_string();
    assert!(!error.contains(char::is_control), "{error:?}");
    assert!(held < 1 << 20, "{held} bytes held for {json}");
    error
}

fn with(path: &str, value: Value) -> Value {
    let mut json = linear().json();
    *json.pointer_mut(path).unwrap_or_else(|| panic!("{path}")) = value;
    json
}

fn without(key: &str) -> Value {
    let mut json = linear().json();
    json.as_object_mut().unwrap().remove(key);
    json
}

fn and(key: &str, row: Value) -> Value {
    let mut json = linear().json();
    json[key].as_array_mut().unwrap().push(row);
    json
}

#[test]
fn the_plan_itself_is_fine() {
    linear().plan();
}

#[test]
fn other_formats_versions_and_keys_are_refused() {
    for (plan, message) in [
        (with("/version", json!(2)), "version is 2, known is 1"),
        (with("/version", json!(1.0)), "version is 1.0, known is 1"),
        (with("/version", json!("1")), "version is \"1\", known is 1"),
        (
            with("/version", json!([[1]])),
            "not a plan: invalid type: sequence",
        ),
        (
            with("/format", json!("plan\u{7}")),
            "format is \"plan\\u{7}\", known is \"tch-init plan\"",
        ),
        (
            with("/semantics", json!("2.12")),
            "semantics is \"2.12\", known is \"2.13\"",
        ),
        (without("version"), "not a plan: missing field `version`"),
        (without("steps"), "not a plan: missing field `steps`"),
        (json!([]), "not a plan: it is no JSON object"),
        (json!("tch-init plan"), "not a plan: it is no JSON object"),
    ] {
        let error = refused(&plan);
        assert!(error.starts_with(message), "{error}");
    }
    let mut plan = linear().json();
    plan["later"] = json!(1);
    assert!(refused(&plan).contains("unknown field `later`"));
    // A newer version may have other keys: its number is what is said.
    plan["version"] = json!(7);
    assert!(refused(&plan).starts_with("version is 7"));
}

#[test]
fn rows_of_the_wrong_kind_are_refused() {
    for (plan, message) in [
        (and("storages", json!(-1)), "invalid value: integer `-1`"),
        (and("storages", json!(1.5)), "invalid type: floating point"),
        (and("storages", json!("1")), "invalid type: string"),
        (and("views", json!({})), "invalid type: map"),
        (and("views", json!([0])), "the dtype of a view is missing"),
        (
            and("views", json!([0, "float32"])),
            "the shape of a view is missing",
        ),
        (
            and("views", json!([0, "float32", [1], 0, [1], 0])),
            "too many entries",
        ),
        (
            and("views", json!([0, "float32", [-1]])),
            "invalid value: integer `-1`",
        ),
        (
            and("views", json!([0, "float32", vec![1; 17]])),
            "a list of more than 16",
        ),
        (and("steps", json!([])), "the op of a step is missing"),
        (
            and("steps", json!(["fill_"])),
            "the view that a step writes is missing",
        ),
        (
            and("steps", json!(["fill_", 0, {"view": 0, "of": 1}])),
            "an object that is not",
        ),
        (
            and("steps", json!(["fill_", 0, {"storage": 0}])),
            "an object that is not",
        ),
        (
            and("steps", json!(["fill_", 0, {"view": -1}])),
            "invalid value",
        ),
        (
            and("steps", json!(["cat", 0, [1, {"view": 0}], 0])),
            "a list of both ints and views",
        ),
        (
            and("steps", json!(["cat", 0, [[1]], 0])),
            "a list of arguments holds ints or views",
        ),
        (
            and("steps", json!(["fill_", 0, 9_300_000_000_000_000_000u64])),
            "is no i64",
        ),
        (
            and("parameters", json!(["x"])),
            "the view of a name is missing",
        ),
        (
            and("parameters", json!(["x", 0, {"frozen": true}])),
            "unknown option `frozen`",
        ),
        (
            and("parameters", json!(["x", 0, {"unset": 1}])),
            "invalid type: integer",
        ),
        (
            and("parameters", json!(["x", 0, {}, 1])),
            "too many entries",
        ),
    ] {
        let error = refused(&plan);
        assert!(
            error.starts_with("not a plan: ") && error.contains(message),
            "{error}"
        );
    }
    let twice =
        serde_json::to_string(&linear().json())
            .unwrap()
            .replacen('{', r#"{"steps":[],"#, 1);
    let error = InitPlan::from_json(twice.as_bytes())
        .unwrap_err()
        .to_string();
    assert!(error.contains("duplicate field `steps`"), "{error}");
    let twice = r#"["x",0,{"unset":true,"unset":true}]"#;
    let json = serde_json::to_string(&linear().json()).unwrap();
    let json = json.replace(r#""buffers":[]"#, &format!(r#""buffers":[{twice}]"#));
    let error = InitPlan::from_json(json.as_bytes())
        .unwrap_err()
        .to_string();
    assert!(error.contains("the option `unset` stands twice"), "{error}");
}

#[test]
fn plans_that_contradict_themselves_are_refused() {
    const HUGE: u64 = u64::MAX;
    for (plan, message) in [
        // Missing storages, views outside of theirs, sizes that overflow.
        (
            and("views", json!([2, "float32", [1]])),
            "view 2: there is no storage 2, there are 2;",
        ),
        (
            and("views", json!([HUGE, "float32", [1]])),
            "view 2: there is no storage",
        ),
        (
            and("views", json!([0, "float33", [1]])),
            "view 2: unknown dtype \"float33\"",
        ),
        (
            and("views", json!([0, "complex64", [1]])),
            "view 2: unknown dtype \"complex64\"",
        ),
        (
            and("views", json!([0, "float32", [7]])),
            "view 2: it ends at byte 28 of storage 0, which has 24",
        ),
        (
            and("views", json!([0, "float32", [1], 6])),
            "view 2: it ends at byte 28",
        ),
        (
            and("views", json!([0, "float32", [2, 3], 0, [4, 1]])),
            "view 2: it ends at byte 28",
        ),
        (
            and("views", json!([0, "float32", [1], HUGE])),
            "view 2: shape [1]",
        ),
        (
            and("views", json!([0, "float32", [HUGE]])),
            "view 2: shape [",
        ),
        (
            and("views", json!([0, "float32", [1 << 40, 1 << 40]])),
            "view 2: shape [",
        ),
        (
            and("views", json!([0, "float32", [2], 0, [HUGE]])),
            "view 2: shape [2]",
        ),
        (
            and("views", json!([0, "float32", [2], 0, [1, 1]])),
            "view 2: a shape of 1 dimensions with 2 strides",
        ),
        (
            and("views", json!([0, "float32", [1u64 << 40], 0, [0]])),
            "view 2: 1099511627776 elements, repeated from less",
        ),
        (and("storages", json!(HUGE)), "storage 2: "),
        (
            with("/storages", json!([24, 12, 1u64 << 52, 1u64 << 52])),
            "storage 3: ",
        ),
        // Views that are not there, in steps and names.
        (
            and("steps", json!(["fill_", 2, 0.0])),
            "step 4 (\"fill_\"): there is no view 2, there are 2;",
        ),
        (
            and("steps", json!(["neg", 0, {"view": HUGE}])),
            "step 4 (\"neg\"): there is no view",
        ),
        (
            and("buffers", json!(["x", 2])),
            "buffer \"x\": there is no view 2",
        ),
        // Names.
        (
            and("buffers", json!(["weight", 0])),
            "buffer \"weight\": the name stands twice",
        ),
        (
            and("parameters", json!(["weight", 0])),
            "parameter \"weight\": the name stands twice",
        ),
        (
            and("parameters", json!(["", 0])),
            "parameter \"\": a name has 1 to 1024 bytes",
        ),
        (
            and("parameters", json!(["x".repeat(1025), 0])),
            "parameter \"xxx",
        ),
        (
            and("parameters", json!(["x", 0, {"persistent": false}])),
            "parameter \"x\": the option `persistent`",
        ),
        (
            and("buffers", json!(["x", 0, {"requires_grad": false}])),
            "buffer \"x\": the option `requires_grad`",
        ),
        (
            with("/model", json!("x".repeat(65_537))),
            "model: 65537 bytes",
        ),
        // Arguments.
        (
            and("steps", json!(["fill_", 0])),
            "step 4 (\"fill_\"): too few arguments",
        ),
        (
            and("steps", json!(["fill_", 0, 0.0, 0.0])),
            "step 4 (\"fill_\"): too many arguments",
        ),
        (
            and("steps", json!(["fill_", 0, {"view": 0}])),
            "step 4 (\"fill_\"): a number is expected, a view",
        ),
        (
            and("steps", json!(["fill_", 0, "infinity"])),
            "step 4 (\"fill_\"): a number is expected, a text",
        ),
        (
            and("steps", json!(["uniform_", 0, 0, 1])),
            "step 4 (\"uniform_\"): a float is expected",
        ),
        (
            and("steps", json!(["uniform_", 0, "nan", 1.0])),
            "step 4 (\"uniform_\"): from = NaN",
        ),
        (
            and("steps", json!(["uniform_", 0, 1.0, 0.5])),
            "step 4 (\"uniform_\"): from = 1",
        ),
        (
            and("steps", json!(["uniform_", 0, "-inf", "inf"])),
            "step 4 (\"uniform_\"): from = -inf",
        ),
        (
            and("steps", json!(["normal_", 0, 0.0, "nan"])),
            "step 4 (\"normal_\"): std = NaN",
        ),
        (
            and("steps", json!(["normal_", 0, 0.0, -1.0])),
            "step 4 (\"normal_\"): std = -1",
        ),
        (
            and("steps", json!(["trunc_normal_", 0, "nan", 1.0, -2.0, 2.0])),
            "step 4 (\"trunc_normal_\"): NaN",
        ),
        (
            and("steps", json!(["trunc_normal_", 0, 0.0, 0.0, -2.0, 2.0])),
            "step 4 (\"trunc_normal_\"): mean = 0",
        ),
        (
            and("steps", json!(["trunc_normal_", 0, 0.0, 1.0, 2.0, -2.0])),
            "step 4 (\"trunc_normal_\"): a = 2",
        ),
        (
            and("steps", json!(["sparse_", 0, "inf", 1.0])),
            "step 4 (\"sparse_\"): sparsity = inf",
        ),
        (
            and("steps", json!(["randperm", 1])),
            "step 4 (\"randperm\"): it writes float32",
        ),
        (
            and("steps", json!(["orthogonal_", 1, 1.0])),
            "step 4 (\"orthogonal_\"): it writes shape [3]",
        ),
        (
            and("steps", json!(["dirac_", 0, 1])),
            "step 4 (\"dirac_\"): it writes shape [3, 2]",
        ),
        (
            and("steps", json!(["dirac_", 0, 0])),
            "step 4 (\"dirac_\"): groups = 0",
        ),
        (
            and("steps", json!(["const", 1, "AAAA"])),
            "step 4 (\"const\"): 3 bytes, its elements have 12",
        ),
        (
            and("steps", json!(["const", 1, "A"])),
            "step 4 (\"const\"): no base64",
        ),
        (
            and("steps", json!(["pow", 1, 2, 2])),
            "step 4 (\"pow\"): neither argument is a view",
        ),
        (
            and("steps", json!(["clamp", 1, {"view": 1}, null, null])),
            "step 4 (\"clamp\"): without any bound",
        ),
        (
            and("steps", json!(["div", 1, {"view": 1}, 2, "up"])),
            "step 4 (\"div\"): \"floor\", \"trunc\" or null",
        ),
        (
            and("steps", json!(["where", 1, {"view": 1}, 0.0, 1.0])),
            "step 4 (\"where\"): view 1 is float32, a mask is bool",
        ),
        // Results that are not what is written.
        (
            and("steps", json!(["neg", 0, {"view": 1}])),
            "step 4 (\"neg\"): its result has shape [3], what it writes [3, 2]",
        ),
        (
            and("steps", json!(["add", 0, {"view": 0}, {"view": 1}, 1])),
            "step 4 (\"add\"): shapes [3, 2] and [3] do not broadcast",
        ),
        (
            and("steps", json!(["arange", 1, 0, 4, 1])),
            "step 4 (\"arange\"): its result has shape [4]",
        ),
        (
            and("steps", json!(["arange", 1, 0, 3, 0])),
            "step 4 (\"arange\"): from 0 to 3 by 0 is no range",
        ),
        (
            and("steps", json!(["arange", 1, 0.0, "nan", 1.0])),
            "step 4 (\"arange\"): from 0 to NaN",
        ),
        (
            and("steps", json!(["sum", 1, {"view": 0}, [2], false])),
            "step 4 (\"sum\"): shape [3, 2] has no dimension 2",
        ),
        (
            and("steps", json!(["sum", 1, {"view": 0}, [1, 1], false])),
            "step 4 (\"sum\"): shape [3, 2] has no dimension 1",
        ),
        (
            and("steps", json!(["sum", 1, {"view": 0}, [-1], false])),
            "step 4 (\"sum\"): shape [3, 2] has no dimension -1",
        ),
        (
            and("steps", json!(["mv", 1, {"view": 0}, {"view": 1}])),
            "step 4 (\"mv\"): shapes [3, 2] and [3]",
        ),
        (
            and("steps", json!(["cat", 1, [], 0])),
            "step 4 (\"cat\"): a list of views is expected",
        ),
        (
            and("steps", json!(["cat", 1, [view(0), view(1)], 0])),
            "step 4 (\"cat\"): shapes [3, 2] and [3] differ",
        ),
        (
            and("steps", json!(["cat", 1, [view(1)], 1])),
            "step 4 (\"cat\"): shape [3] has no dimension 1",
        ),
        (
            and("steps", json!(["stack", 1, [view(0), view(1)], 0])),
            "step 4 (\"stack\"): shapes [3, 2] and [3] differ",
        ),
        (
            and("steps", json!(["constant_pad_nd", 1, view(1), [1], 0.0])),
            "step 4 (\"constant_pad_nd\"): 1 entries",
        ),
        (
            and(
                "steps",
                json!(["constant_pad_nd", 1, view(1), [-4, 0], 0.0]),
            ),
            "step 4 (\"constant_pad_nd\"): [-4, 0]",
        ),
        (
            and(
                "steps",
                json!(["constant_pad_nd", 1, view(1), [i64::MAX, i64::MAX], 0.0]),
            ),
            "step 4 (\"constant_pad_nd\"): [",
        ),
    ] {
        let error = refused(&plan);
        assert!(error.starts_with(message), "{error}\n{message}");
    }
}

/// Broadcasting two small views would be 4 TiB.
#[test]
fn results_larger_than_what_is_written_are_refused() {
    let mut plan = Builder::default();
    let (a, b) = (
        plan.tensor("float32", &[1 << 20, 1]),
        plan.tensor("float32", &[1, 1 << 20]),
    );
    let out = plan.tensor("float32", &[1 << 20]);
    plan.step(json!(["add", out, view(a), view(b), 1]))
        .parameter("out", out);
    assert!(refused(&plan.json()).contains("its result has shape [1048576, 1048576]"));
}

#[test]
fn overlapping_writes_are_refused() {
    for (shape, stride) in [([3, 2], [0, 1]), ([2, 3], [2, 1]), ([2, 3], [1, 1])] {
        let mut plan = linear();
        let out = plan.view(json!([0, "float32", shape, 0, stride]));
        plan.step(json!(["fill_", out, 0.0]));
        assert!(
            refused(&plan.json())
                .starts_with("step 4 (\"fill_\"): it writes view 2, which overlaps itself")
        );
        // Reading it is fine.
        plan.steps.pop();
        plan.plan();
    }
}

#[test]
fn unknown_steps_name_themselves_and_the_parameter() {
    let mut plan = linear();
    let (x, y) = (plan.tensor("float32", &[3]), plan.tensor("float32", &[3]));
    plan.step(json!(["cauchy_", x, 0.0, 1.0]))
        .step(json!(["copy_", y, view(x)]))
        .parameter("y", y);
    let error = plan.read().unwrap_err();
    assert!(
        matches!(&error, PlanError::UnknownStep { step: 4, op, parameter: Some(name) } if op == "cauchy_" && name == "y")
    );
    assert_eq!(
        error.to_string(),
        "step 4: unknown step `cauchy_` (needed by \"y\"); take a newer tch-init"
    );
    plan.parameters.pop();
    assert!(refused(&plan.json()).starts_with("step 4: unknown step `cauchy_`; take"));
}

#[test]
fn every_cut_is_refused() {
    let json = serde_json::to_vec(&linear().json()).unwrap();
    for length in 0..json.len() {
        let error = InitPlan::from_json(&json[..length])
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("not a plan: "), "{error}");
    }
}

/// A billion steps end at the first million, or before they are read.
#[test]
fn endless_plans_are_refused() {
    let json = serde_json::to_string(&linear().json()).unwrap();
    let steps = vec![r#"["fill_",0,0]"#; 1_000_001].join(",");
    let endless = json.replace(r#""steps":["#, &format!(r#""steps":[{steps},"#));
    let (error, held) = most_held(|| {
        InitPlan::from_json(endless.as_bytes())
            .unwrap_err()
            .to_string()
    });
    assert!(error.contains("a list of more than 1000000"), "{error}");
    assert!(
        held < 16 * endless.len(),
        "{held} bytes held for {}",
        endless.len()
    );

    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(20 << 30).unwrap();
    let (error, held) = most_held(|| InitPlan::load(file.path()).unwrap_err());
    assert!(
        error
            .to_string()
            .contains("21474836480 bytes, a plan has at most 67108864"),
        "{error}"
    );
    assert!(held < 1 << 16);
    let error = InitPlan::load("/dev/zero").unwrap_err().to_string();
    assert!(
        error.contains("67108865 bytes, a plan has at most"),
        "{error}"
    );
    let error = InitPlan::load("no/such.plan.json").unwrap_err().to_string();
    assert!(
        error.starts_with("no/such.plan.json: cannot be read: No such file"),
        "{error}"
    );
}

/// Sizes are looked at before anything is allocated.
#[test]
fn what_exceeds_the_machine_is_refused() {
    let mut plan = linear();
    let huge = plan.tensor("float32", &[1 << 50]);
    plan.step(json!(["normal_", huge, 0.0, 1.0]))
        .parameter("huge", huge);
    let error = plan
        .plan()
        .materialize(&mut seeded(0))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("4503599627370532 bytes of tensors are needed at a time"),
        "{error}"
    );
    // Never written.
    plan.steps.pop();
    let error = plan
        .plan()
        .materialize(&mut seeded(0))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("bytes of tensors are needed at a time"),
        "{error}"
    );
}
