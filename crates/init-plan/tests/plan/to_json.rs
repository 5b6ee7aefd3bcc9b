//! Plans as they are written: the bytes that the recorder writes.

use crate::build::{Builder, linear, view};
use init_plan::InitPlan;
use serde_json::json;

/// Every kind of row, as python/record.py would write them: its numbers are those of Python's
/// `repr`, its text that of `json.dumps`.
const PLAN: &str = r#"{
"format": "tch-init plan",
"version": 1,
"pytorch": "2.13.0",
"semantics": "2.13",
"model": "\"\\\n\r\t\b\f\u0007\u007f\u00e4\ud83d\ude00",
"storages": [
48,
24,
12,
3
],
"views": [
[0,"float32",[3,4]],
[0,"float32",[2],5],
[0,"float32",[4,3],0,[1,4]],
[1,"int64",[3]],
[2,"float32",[3]],
[3,"bool",[3]],
[2,"float32",[],2],
[0,"float32",[3,3],1,[4,1]],
[2,"float32",[1,3]],
[2,"float32",[1]]
],
"steps": [
["uniform_",0,-0.1,1e-05],
["normal_",2,-0.0,0.0001],
["trunc_normal_",0,0.0,1e+16,"-inf","inf"],
["orthogonal_",0,1234567890123456.0],
["sparse_",0,0.1,1.5e-300],
["randperm",3],
["fill_",4,"nan"],
["fill_",5,true],
["fill_",3,-9223372036854775808],
["const",5,"AQAB"],
["arange",4,0,3,1.0],
["eye",0],
["copy_",4,{"view": 3}],
["add",4,{"view": 4},{"view": 3},2],
["sub",4,{"view": 4},1.0,0.5],
["rsub",4,{"view": 4},1,1],
["mul",4,{"view": 4},{"view": 6}],
["div",4,{"view": 4},2,null],
["div",4,{"view": 4},2,"floor"],
["div",4,{"view": 4},{"view": 6},"trunc"],
["pow",4,2,{"view": 4}],
["pow",4,{"view": 4},0.5],
["clamp",4,{"view": 4},null,1],
["clamp",4,{"view": 4},0.0,1e+22],
["neg",4,{"view": 4}],
["bitwise_not",5,{"view": 5}],
["ne",5,{"view": 4},0],
["where",4,{"view": 5},{"view": 4},0.0],
["masked_fill",4,{"view": 4},{"view": 5},1.0],
["sum",6,{"view": 4},null,false],
["norm",8,{"view": 7},2,[0],true],
["linalg_vector_norm",4,{"view": 7},"inf",[1],false],
["mv",4,{"view": 7},{"view": 4}],
["cat",4,[{"view": 1},{"view": 9}],0],
["stack",7,[{"view": 4},{"view": 4},{"view": 3}],1],
["constant_pad_nd",4,{"view": 1},[1,0],0.0]
],
"parameters": [
["weight",0],
["frozen",4,{"requires_grad": false,"unset": true}]
],
"buffers": [
["index",3],
["mask",5,{"persistent": false}]
]
}
"#;

#[test]
fn what_is_read_is_written_byte_for_byte() {
    let plan = InitPlan::from_json(PLAN.as_bytes()).unwrap();
    assert_eq!(plan.to_json(), PLAN);
}

#[test]
fn plans_without_rows_are_written() {
    let json = Builder::default().plan().to_json();
    assert!(json.contains("\n\"storages\": [],\n"), "{json}");
    assert!(json.ends_with("\n\"buffers\": []\n}\n"), "{json}");
    InitPlan::from_json(json.as_bytes()).unwrap();
}

/// A stride that a contiguous view may have, and an offset of 0, are left out.
#[test]
fn there_is_one_form() {
    let mut plan = linear();
    let other = plan.view(json!([0, "float32", [1, 6], 0, [77, 1]]));
    plan.step(json!(["neg", other, view(other)]));
    let json = plan.plan().to_json();
    assert!(json.contains("\n[0,\"float32\",[1,6]]\n"), "{json}");
}
