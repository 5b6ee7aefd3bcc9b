//! Malformed plans are rejected in one line that says where.

use crate::allocation::most_held;
use crate::build::{Builder, linear, view};
use init_plan::{InitPlan, PlanError};
use serde_json::{Value, json};
use std::error::Error;
use torch_rng::Mt19937;

fn refused_plan(json: &Value) -> PlanError {
    let text = serde_json::to_vec(json).unwrap();
    let (result, held) = most_held(|| InitPlan::from_json(&text));
    let error = result.expect_err(&format!("{json}"));
    assert!(!error.to_string().contains(char::is_control), "{error:?}");
    assert!(held < 1 << 20, "{held} bytes held for {json}");
    error
}

fn refused(json: &Value) -> String {
    refused_plan(json).to_string()
}

/// A message with those of its causes.
fn chain(error: &dyn Error) -> String {
    let cause = error.source().map(|cause| format!(": {}", chain(cause)));
    error.to_string() + &cause.unwrap_or_default()
}

/// Lines of `list row => message`.
fn table(text: &'static str) -> impl Iterator<Item = (&'static str, Value, &'static str)> {
    text.lines().filter(|line| !line.is_empty()).map(|line| {
        let (row, message) = line.split_once(" => ").unwrap();
        let (list, row) = row.split_once(' ').unwrap();
        (list, serde_json::from_str(row).unwrap(), message)
    })
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
        (
            with("/version", json!(3)),
            "expected version 1 or 2, found 3",
        ),
        (
            with("/version", json!(1.0)),
            "expected version 1 or 2, found 1.0",
        ),
        (
            with("/version", json!("1")),
            "expected version 1 or 2, found \"1\"",
        ),
        (
            with("/version", json!([[1]])),
            "not a plan: invalid type: sequence",
        ),
        (
            with("/format", json!("plan\u{7}")),
            "expected format \"tch-init plan\", found \"plan\\u{7}\"",
        ),
        (
            with("/semantics", json!("2.10")),
            "expected semantics \"2.0\" or \"2.11\" or \"2.12\" or \"2.13\", found \"2.10\"",
        ),
        (
            with("/semantics", json!(2.13)),
            "expected semantics \"2.0\" or \"2.11\" or \"2.12\" or \"2.13\", found 2.13;",
        ),
        (without("version"), "not a plan: missing field `version`"),
        (without("steps"), "not a plan: missing field `steps`"),
        (json!([]), "not a plan: expected a JSON object"),
        (json!("tch-init plan"), "not a plan: expected a JSON object"),
    ] {
        let error = refused(&plan);
        assert!(error.starts_with(message), "{error}");
    }
    let mut plan = linear().json();
    plan["later"] = json!(1);
    assert!(refused(&plan).contains("unknown field `later`"));
    // A newer version may have other keys: its number is what is said.
    plan["version"] = json!(7);
    assert!(refused(&plan).starts_with("expected version 1 or 2, found 7"));
}

/// A row that is added to a list of the plan, and what is said of it after "not a plan: ".
const TYPES: &str = r#"
storages -1 => invalid value: integer `-1`, expected u64
storages 1.5 => invalid type: floating point `1.5`, expected u64
storages "1" => invalid type: string "1", expected u64
views {} => invalid type: map, expected [storage, dtype, shape, offset, stride]
views [0] => expected the dtype of a view
views [0,"float32"] => expected the shape of a view
views [0,"float32",[1],0,[1],0] => too many entries in a row
views [0,"float32",[-1]] => invalid value: integer `-1`, expected u64
views [0,"float32",[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]] => expected a list of at most 16, found more
steps [] => expected the op of a step
steps ["fill_"] => expected the view that a step writes
steps ["fill_",0,{"view":0,"of":1}] => expected {"view": index}
steps ["fill_",0,{"storage":0}] => expected {"view": index}
steps ["fill_",0,{"view":-1}] => invalid value: integer `-1`, expected u64
steps ["cat",0,[1,{"view":0}],0] => expected only numbers or only views in a list
steps ["cat",0,[[1]],0] => expected numbers or views in a list
steps ["fill_",0,9300000000000000000] => expected an i64, found 9300000000000000000
parameters ["x"] => expected the view of a name
parameters ["x",0,{"frozen":true}] => unknown option `frozen`
parameters ["x",0,{"unset":1}] => invalid type: integer `1`, expected a boolean
parameters ["x",0,{},1] => too many entries in a row
"#;

#[test]
fn rows_of_the_wrong_kind_are_refused() {
    for (list, row, message) in table(TYPES) {
        let error = refused_plan(&and(list, row));
        assert!(matches!(error, PlanError::Json(_)), "{error:?}");
        let error = error.to_string();
        let (said, column) = error.split_once(" at line 1 column ").unwrap();
        assert_eq!(said, format!("not a plan: {message}"));
        assert!(column.ends_with("; record it again"), "{error}");
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
    assert!(error.contains("duplicate option `unset`"), "{error}");
}

/// A row that is added to a list of the plan, and what is said of it.
const CONTRADICTIONS: &str = r#"
views [18446744073709551615,"float32",[1]] => view 2: expected one of 2 storages, found 18446744073709551615
views [0,"float33",[1]] => view 2: unknown dtype "float33"
views [0,"quint8",[1]] => view 2: unknown dtype "quint8"
views [0,"float32",[7]] => view 2: expected to end within the 24 bytes of storage 0, found byte 28
views [0,"float32",[1],6] => view 2: expected to end within the 24 bytes of storage 0, found byte 28
views [0,"float32",[2,3],0,[4,1]] => view 2: expected to end within the 24 bytes of storage 0, found byte 28
views [0,"float32",[1],18446744073709551615] => view 2: shape [1] with strides [1] and offset 18446744073709551615 exceeds 9007199254740991
views [0,"float32",[18446744073709551615]] => view 2: shape [18446744073709551615] with strides [1] and offset 0 exceeds 9007199254740991
views [0,"float32",[1099511627776,1099511627776]] => view 2: shape [1099511627776, 1099511627776] with strides [1099511627776, 1] and offset 0 exceeds 9007199254740991
views [0,"float32",[2],0,[18446744073709551615]] => view 2: shape [2] with strides [18446744073709551615] and offset 0 exceeds 9007199254740991
views [0,"float32",[2],0,[1,1]] => view 2: expected 1 strides, found 2
views [0,"float32",[1099511627776],0,[0]] => view 2: 1099511627776 elements repeat too few bytes
storages 18446744073709551615 => storage 2: expected at most 9007199254740991 bytes up to here, found 18446744073709551615
steps ["neg",0,{"view":18446744073709551615}] => step 4 ("neg"): expected one of 2 views, found 18446744073709551615
buffers ["x",2] => buffer "x": expected one of 2 views, found 2
buffers ["weight",0] => buffer "weight": duplicate name
parameters ["weight",0] => parameter "weight": duplicate name
parameters ["",0] => parameter "": expected a name of 1 to 1024 bytes, found 0
parameters ["x",0,{"persistent":false}] => parameter "x": the option `persistent` is for buffers
buffers ["x",0,{"requires_grad":false}] => buffer "x": the option `requires_grad` is for parameters
steps ["fill_",0] => step 4 ("fill_"): too few arguments
steps ["fill_",0,0.0,0.0] => step 4 ("fill_"): too many arguments
steps ["fill_",0,{"view":0}] => step 4 ("fill_"): expected a number, found a view
steps ["fill_",0,"infinity"] => step 4 ("fill_"): expected a number, found text
steps ["uniform_",0,0,1] => step 4 ("uniform_"): expected a float, found an int or a bool
steps ["uniform_",0,"nan",1.0] => step 4 ("uniform_"): expected from <= to with a finite difference, found from = NaN, to = 1
steps ["uniform_",0,1.0,0.5] => step 4 ("uniform_"): expected from <= to with a finite difference, found from = 1, to = 0.5
steps ["uniform_",0,"-inf","inf"] => step 4 ("uniform_"): expected from <= to with a finite difference, found from = -inf, to = inf
steps ["normal_",0,0.0,"nan"] => step 4 ("normal_"): expected std of 0 or more, found NaN
steps ["normal_",0,0.0,-1.0] => step 4 ("normal_"): expected std of 0 or more, found -1
steps ["trunc_normal_",0,"nan",1.0,-2.0,2.0] => step 4 ("trunc_normal_"): expected numbers, found mean = NaN, std = 1, a = -2, b = 2
steps ["trunc_normal_",0,0.0,0.0,-2.0,2.0] => step 4 ("trunc_normal_"): expected a finite mean and a positive finite std, found mean = 0, std = 0
steps ["trunc_normal_",0,0.0,1.0,2.0,-2.0] => step 4 ("trunc_normal_"): expected a <= b, found a = 2, b = -2
steps ["sparse_",0,"inf",1.0] => step 4 ("sparse_"): expected a finite sparsity, found inf
steps ["randperm",1] => step 4 ("randperm"): expected dtype int64, found float32
steps ["orthogonal_",1,1.0] => step 4 ("orthogonal_"): expected 2 or more dimensions, found shape [3]
steps ["dirac_",0,1] => step 4 ("dirac_"): expected 3 to 5 dimensions, found shape [3, 2]
steps ["dirac_",0,0] => step 4 ("dirac_"): expected groups that divide the first size, found 0
steps ["const",1,"AAAA"] => step 4 ("const"): expected 12 bytes, found 3
steps ["const",1,"A"] => step 4 ("const"): expected base64: Invalid input length: 1
steps ["pow",1,2,2] => step 4 ("pow"): expected a view among the arguments, found two numbers
steps ["clamp",1,{"view":1},null,null] => step 4 ("clamp"): expected at least one bound, found none
steps ["div",1,{"view":1},2,"up"] => step 4 ("div"): expected "floor", "trunc" or null, found text
steps ["where",1,{"view":1},0.0,1.0] => step 4 ("where"): expected a mask of dtype bool, found float32
steps ["neg",0,{"view":1}] => step 4 ("neg"): expected an output of shape [3], found [3, 2]
steps ["add",0,{"view":0},{"view":1},1] => step 4 ("add"): expected shapes that broadcast, found [3, 2] and [3]
steps ["arange",1,0,4,1] => step 4 ("arange"): expected an output of shape [4], found [3]
steps ["arange",1,0,3,0] => step 4 ("arange"): expected a range, found 0 to 3 by 0
steps ["arange",1,0.0,"nan",1.0] => step 4 ("arange"): expected a range, found 0 to NaN by 1
steps ["sum",1,{"view":0},[2],false] => step 4 ("sum"): expected a dimension of shape [3, 2] to reduce, found 2
steps ["sum",1,{"view":0},[1,1],false] => step 4 ("sum"): expected a dimension of shape [3, 2] to reduce, found 1
steps ["sum",1,{"view":0},[-1],false] => step 4 ("sum"): expected a dimension of shape [3, 2] to reduce, found -1
steps ["mv",1,{"view":0},{"view":1}] => step 4 ("mv"): expected shapes that multiply, found [3, 2] and [3]
steps ["cat",1,[],0] => step 4 ("cat"): expected a list of views, found an empty list
steps ["cat",1,[{"view":0},{"view":1}],0] => step 4 ("cat"): expected shapes that differ only in dimension 0, found [3, 2] and [3]
steps ["cat",1,[{"view":1}],1] => step 4 ("cat"): expected a dimension of shape [3], found 1
steps ["stack",1,[{"view":0},{"view":1}],0] => step 4 ("stack"): expected equal shapes, found [3, 2] and [3]
steps ["constant_pad_nd",1,{"view":1},[1],0.0] => step 4 ("constant_pad_nd"): expected an even number of entries that pads shape [3], found 1
steps ["constant_pad_nd",1,{"view":1},[-4,0],0.0] => step 4 ("constant_pad_nd"): expected entries that pad shape [3], found [-4, 0]
steps ["constant_pad_nd",1,{"view":1},[9223372036854775807,9223372036854775807],0.0] => step 4 ("constant_pad_nd"): expected entries that pad shape [3], found [9223372036854775807, 9223372036854775807]
views [0,"float32",[2],2147483648] => view 2: expected to end within the 24 bytes of storage 0, found byte 8589934600
steps ["uniform_",0,1.0] => step 4 ("uniform_"): too few arguments
steps ["normal_",0,"nan",1.0] => step 4 ("normal_"): expected a number as mean, found NaN
steps ["eye",1] => step 4 ("eye"): expected 2 dimensions, found shape [3]
steps ["sparse_",1,0.5,0.01] => step 4 ("sparse_"): expected 2 dimensions, found shape [3]
steps ["sparse_",0,0.5,"nan"] => step 4 ("sparse_"): expected std of 0 or more, found NaN
steps ["orthogonal_",0,true] => step 4 ("orthogonal_"): expected a float, found an int or a bool
steps ["masked_fill",1,{"view":1},{"view":1},0.0] => step 4 ("masked_fill"): expected a mask of dtype bool, found float32
steps ["copy_",1,{"view":0}] => step 4 ("copy_"): expected an output of shape [3, 2], found [3]
steps ["add",1,{"view":1},1,null] => step 4 ("add"): expected a number, found null
steps ["cat",0,[{"view":0}],-1] => step 4 ("cat"): expected a dimension of shape [3, 2], found -1
steps ["stack",0,[{"view":1}],2] => step 4 ("stack"): expected a new dimension of shape [3], found 2
steps ["sum",1,{"view":0},[],false] => step 4 ("sum"): expected an output of shape [], found [3]
steps ["norm",1,{"view":0},{"view":0},null,false] => step 4 ("norm"): expected a number, found a view
steps ["const",0,7] => step 4 ("const"): expected base64
steps ["mul",0,3,{"view":0}] => step 4 ("mul"): expected a view, found an int
steps ["fill_",0,null] => step 4 ("fill_"): expected a number, found null
steps ["neg",1,{"view":1},{"view":1}] => step 4 ("neg"): too many arguments
steps ["orthogonal_",0,"nan"] => step 4 ("orthogonal_"): expected a number as gain, found NaN
steps ["sparse_",0,"nan",1.0] => step 4 ("sparse_"): expected a finite sparsity, found NaN
steps ["trunc_normal_",0,0.0,"inf",-2.0,2.0] => step 4 ("trunc_normal_"): expected a finite mean and a positive finite std, found mean = 0, std = inf
"#;

#[test]
fn plans_that_contradict_themselves_are_refused() {
    for (list, row, message) in table(CONTRADICTIONS) {
        let error = refused_plan(&and(list, row));
        assert!(matches!(error, PlanError::Invalid { .. }), "{error:?}");
        assert_eq!(error.to_string(), format!("{message}; record it again"));
    }
}

#[test]
fn what_is_too_long_is_refused() {
    let name = "x".repeat(1025);
    assert_eq!(
        refused(&and("parameters", json!([name, 0]))),
        format!(
            "parameter \"{}...\": expected a name of 1 to 1024 bytes, found 1025; record it again",
            "x".repeat(100)
        )
    );
    assert_eq!(
        refused(&with("/model", json!("x".repeat(65_537)))),
        "model: expected at most 65536 bytes, found 65537; record it again"
    );
    assert_eq!(
        refused(&with("/storages", json!([24, 12, 1u64 << 52, 1u64 << 52]))),
        "storage 3: expected at most 9007199254740991 bytes up to here, found 9007199254741028; record it again"
    );
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
    assert!(refused(&plan.json()).contains("expected an output of shape [1048576, 1048576]"));
}

#[test]
fn overlapping_writes_are_refused() {
    for (shape, stride) in [([3, 2], [0, 1]), ([2, 3], [2, 1]), ([2, 3], [1, 1])] {
        let mut plan = linear();
        let out = plan.view(json!([0, "float32", shape, 0, stride]));
        plan.step(json!(["fill_", out, 0.0]));
        assert!(
            refused(&plan.json()).starts_with(
                "step 4 (\"fill_\"): expected an output without overlaps, found view 2"
            )
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
        "step 4: unknown step `cauchy_` (needed by \"y\"); use a newer tch-init"
    );
    plan.parameters.pop();
    assert!(refused(&plan.json()).starts_with("step 4: unknown step `cauchy_`; use"));
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
    assert!(
        error.contains("expected a list of at most 1000000, found more"),
        "{error}"
    );
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
            .source()
            .unwrap()
            .to_string()
            .contains("expected at most 67108864 bytes, found 21474836480"),
        "{error}"
    );
    assert!(held < 1 << 16);
    let error = chain(&InitPlan::load("/dev/zero").unwrap_err());
    assert!(
        error.contains("expected at most 67108864 bytes, found 67108865"),
        "{error}"
    );
    let error = chain(&InitPlan::load("no/such.plan.json").unwrap_err());
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
        .materialize(&mut Mt19937::new(0))
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
        .materialize(&mut Mt19937::new(0))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("bytes of tensors are needed at a time"),
        "{error}"
    );
}
