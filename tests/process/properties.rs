//! Whatever stands in a file: a plan or one line, no panic, and memory that its size bounds.

use crate::alloc::most_held;
use crate::build::{Builder, linear, seeded, view};
use proptest::prelude::*;
use serde_json::{Value, json};
use tch_init::plan::InitPlan;

fn read(json: &[u8]) -> Result<(), TestCaseError> {
    let (plan, held) = most_held(|| InitPlan::from_json(json));
    // A row of two bytes may be a view of many.
    prop_assert!(
        held < (1 << 20) + 64 * json.len(),
        "{held} bytes held for {}",
        json.len()
    );
    match plan {
        Err(error) => {
            let message = error.to_string();
            prop_assert!(!message.contains(char::is_control), "{message:?}");
            prop_assert!(message.len() < 3000, "{message}");
        }
        Ok(plan) => {
            let shown = plan.to_string();
            prop_assert!(
                !shown.contains(|c: char| c.is_control() && c != '\n'),
                "{shown:?}"
            );
            // Small as these plans are, all of it is made or rejected.
            if plan
                .names()
                .all(|(_, entry)| entry.shape.iter().product::<u64>() < 1 << 20)
            {
                plan.materialize(&mut seeded(0)).map_or_else(|_| (), drop);
            }
        }
    }
    Ok(())
}

fn rich() -> Builder {
    let mut plan = linear();
    let half = plan.tensor("float16", &[2, 8]);
    let square = plan.tensor("float32", &[4, 4]);
    let mask = plan.tensor("bool", &[4, 4]);
    let numbers = plan.tensor("int64", &[4]);
    let transposed = plan.view(json!([3, "float32", [4, 4], 0, [1, 4]]));
    plan.step(json!(["trunc_normal_", half, 0.0, 1.0, -2.0, 2.0]))
        .step(json!(["orthogonal_", square, 1.0]))
        .step(json!(["sparse_", square, 0.5, 0.01]))
        .step(json!(["randperm", numbers]))
        .step(json!(["gt", mask, view(transposed), 0.0]))
        .step(json!([
            "where",
            transposed,
            view(mask),
            view(square),
            "nan"
        ]))
        .step(json!(["cat", numbers, [view(numbers)], 0]))
        .step(json!(["clamp", square, view(square), null, 0.5]))
        .parameter("square", square);
    plan.buffers
        .push(json!(["numbers", numbers, {"persistent": false}]));
    plan
}

/// Values that are where they may be, and where they may not.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2i64..9).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec![
            "nan",
            "inf",
            "float32",
            "int64",
            "fill_",
            "normal_",
            "copy_",
            "\u{0}\u{85}"
        ])
        .prop_map(Value::from),
        (0u64..8).prop_map(view),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| {
        prop::collection::vec(inner, 0..4).prop_map(Value::from)
    })
}

/// Every place in a JSON value.
fn places(value: &Value, at: String, places: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                self::places(item, format!("{at}/{i}"), places);
            }
        }
        Value::Object(items) => {
            for (key, item) in items {
                self::places(item, format!("{at}/{key}"), places);
            }
        }
        _ => {}
    }
    places.push(at);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn changed_values_are_read_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), value()), 1..4),
    ) {
        let mut json = rich().json();
        for (place, value) in changes {
            let mut all = Vec::new();
            places(&json, String::new(), &mut all);
            *json.pointer_mut(&all[place.index(all.len())]).unwrap() = value;
        }
        read(&serde_json::to_vec(&json).unwrap())?;
    }

    #[test]
    fn changed_bytes_are_read_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut json = serde_json::to_vec(&rich().json()).unwrap();
        for (place, byte) in changes {
            let place = place.index(json.len());
            json[place] = byte;
        }
        read(&json)?;
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        read(&bytes)?;
    }
}

#[test]
fn the_rich_plan_is_fine() {
    let plan = rich().plan();
    plan.materialize(&mut seeded(0)).unwrap();
}
