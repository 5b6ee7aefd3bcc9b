//! Every kind of constructor of `tests/python/record/constructors.py`: computed constants, computing with draws, draws
//! that libtorch makes, generators of their own. Recorded once, materialized at other seeds, compared with
//! what Python makes there.

use super::plan_data::{SEEDS, check, expected};
use crate::common::{bytes, chain, python};
use crate::plan::build::seeded;
use std::fs;
use std::path::Path;
use std::process::Command;
use tch_init::plan::{InitPlan, NeedsLibtorch, PlanError};
use tch_init::rng::Mt19937;

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn constructors_are_replayed_at_other_seeds() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(python())
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/data_plans.py"))
        .arg("constructors")
        .arg(folder.path())
        .args(SEEDS.map(|seed| seed.to_string()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let (mut wrong, mut without_libtorch, mut number) = (Vec::new(), Vec::new(), 0);
    while folder.path().join(format!("{number}.plan.json")).exists() {
        let path = folder.path().join(format!("{number}.plan.json"));
        let plan = InitPlan::load(&path).unwrap_or_else(|error| panic!("{}", chain(&error)));
        let json = fs::read(&path).unwrap();
        assert_eq!(plan.to_json().as_bytes(), json, "{}", plan.model());
        for seed in SEEDS {
            let expected = expected(folder.path(), number, seed).unwrap();
            let model = &expected.model;
            let mut generator = Mt19937::new(seed);
            match plan.materialize(&mut generator) {
                Ok(made) => {
                    let made = made.into_iter();
                    let made: Vec<_> = made
                        .map(|(name, t)| (name, t.to_bytes().to_vec()))
                        .collect();
                    check(&made, &expected, "without libtorch");
                    let state = generator.state().to_bytes();
                    assert_eq!(state.as_slice(), expected.state, "{model}");
                    without_libtorch.push(model.clone());
                }
                Err(PlanError::Step { source, .. }) if source.is::<NeedsLibtorch>() => {}
                Err(error) => panic!("{model}: {}", chain(&error)),
            }
            let mut generator = seeded(seed);
            let made = match plan.materialize(&mut generator) {
                Ok(made) => made,
                Err(error) => {
                    wrong.push(format!("{model}: {}", chain(&error)));
                    continue;
                }
            };
            let made: Vec<_> = made
                .into_iter()
                .map(|(name, t)| (name, bytes(&t)))
                .collect();
            for ((name, ours), (_, theirs, _)) in made.iter().zip(&expected.tensors) {
                if ours != theirs {
                    wrong.push(format!("{model} at {seed}: {name} differs"));
                }
            }
            assert_eq!(made.len(), expected.tensors.len(), "{model}");
            if generator.get_state().unwrap() != expected.state {
                wrong.push(format!("{model} at {seed}: the end state differs"));
            }
            // One tensor alone, then its last row.
            let (name, whole) = &made[made.len() - 1];
            let mut generator = seeded(seed);
            let only = plan
                .materialize_only(&mut generator, |wanted| wanted == name)
                .unwrap();
            assert_eq!(&bytes(&only[0].1), whole, "{model}: {name} alone");
            assert_eq!(
                generator.get_state().unwrap(),
                expected.state,
                "{model}: {name} alone"
            );
            if let Some(rows) = plan
                .get(name)
                .unwrap()
                .shape
                .first()
                .filter(|rows| **rows > 0)
            {
                let row = plan
                    .materialize_rows(&seeded(seed), name, rows - 1..*rows)
                    .unwrap();
                let row = bytes(&row);
                assert_eq!(
                    row,
                    whole[whole.len() - row.len()..],
                    "{model}: a row of {name}"
                );
            }
            let positions = plan.draw_positions(&mut seeded(seed)).unwrap();
            assert_eq!(positions.len(), made.len());
        }
        assert!(plan.to_string().contains("steps"), "{}", plan.model());
        number += 1;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(number > 150, "{number}");
    without_libtorch.dedup();
    for name in [
        "tril",
        "triu_inf",
        "flip",
        "roll",
        "index",
        "index_two",
        "index_select",
        "draw_gather",
        "repeat_interleave_tensor",
        "two_generators",
    ] {
        assert!(
            without_libtorch.iter().any(|model| model == name),
            "{name}: {without_libtorch:?}"
        );
    }
}
