//! Models with data that is neither drawn nor computed, uninitialized memory, lazy modules and dtypes
//! of every kind: recorded once, materialized at other seeds, compared with what Python makes there.

use crate::common::{bytes, chain, run_script};
use crate::plan::build::seeded;
use serde_json::Value;
use std::fs;
use std::path::Path;
use tch_init::file::TensorFile;
use tch_init::plan::{InitPlan, NeedsLibtorch, PlanError, Save};
use tch_init::rng::Mt19937;
use tempfile::TempDir;

pub(super) const SEEDS: [i64; 2] = [77, -5];

/// What PyTorch made: name, bytes, and whether it leaves some of them uninitialized.
pub(super) struct Expected {
    pub(super) model: String,
    pub(super) tensors: Vec<(String, Vec<u8>, bool)>,
    pub(super) state: Vec<u8>,
}

pub(super) fn expected(folder: &Path, number: usize, seed: i64) -> Option<Expected> {
    let path = |end: &str| folder.join(format!("{number}.{seed}.{end}"));
    let rows: Value = serde_json::from_slice(&fs::read(path("json")).ok()?).unwrap();
    let mut rest = fs::read(path("bin")).unwrap();
    let rows_of = rows[1].as_array().unwrap();
    let tensors = rows_of.iter().map(|row| {
        let after = rest.split_off(row[1].as_u64().unwrap() as usize);
        let tensor = std::mem::replace(&mut rest, after);
        let name = row[0].as_str().unwrap().to_owned();
        (name, tensor, row[2].as_bool().unwrap())
    });
    Some(Expected {
        model: rows[0].as_str().unwrap().to_owned(),
        tensors: tensors.collect(),
        state: rest,
    })
}

/// Compares all but what PyTorch leaves uninitialized, which is the same at every run here.
pub(super) fn check(made: &[(String, Vec<u8>)], expected: &Expected, how: &str) {
    let model = &expected.model;
    assert_eq!(made.len(), expected.tensors.len(), "{model}");
    for ((name, ours), (expected, theirs, unset)) in made.iter().zip(&expected.tensors) {
        assert_eq!(name, expected, "{model}");
        assert!(*unset || ours == theirs, "{model}, {how}: {name} differs");
    }
}

/// The plans of all models of a kind, and the folder with what Python makes of them at [`SEEDS`].
pub(super) fn recorded(kind: &str) -> (TempDir, Vec<InitPlan>) {
    let folder = tempfile::tempdir().unwrap();
    let mut arguments = vec![kind.into(), folder.path().as_os_str().to_owned()];
    arguments.extend(SEEDS.map(|seed| seed.to_string().into()));
    run_script("tests/python/data_plans.py", arguments);
    let paths = (0..).map(|number| folder.path().join(format!("{number}.plan.json")));
    let plans = paths.take_while(|path| path.exists()).map(|path| {
        let plan = InitPlan::load(&path).unwrap_or_else(|error| panic!("{}", chain(&error)));
        let json = fs::read(&path).unwrap();
        assert_eq!(plan.to_json().as_bytes(), json, "{}", plan.model());
        plan
    });
    let plans = plans.collect();
    (folder, plans)
}

/// Whether a plan needs no libtorch; then what it makes is as expected.
pub(super) fn is_made_without_libtorch(plan: &InitPlan, seed: i64, expected: &Expected) -> bool {
    let model = &expected.model;
    let mut generator = Mt19937::new(seed);
    match plan.materialize(&mut generator) {
        Ok(made) => {
            let made = made.into_iter();
            let made: Vec<_> = made
                .map(|(name, t)| (name, t.to_bytes().to_vec()))
                .collect();
            check(&made, expected, "without libtorch");
            let state = generator.state().to_bytes();
            assert_eq!(state.as_slice(), expected.state, "{model}");
            true
        }
        Err(PlanError::Step { source, .. }) if source.is::<NeedsLibtorch>() => false,
        Err(error) => panic!("{model}: {}", chain(&error)),
    }
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn data_is_what_the_constructor_had() {
    let (folder, plans) = recorded("data");
    let mut without_libtorch = 0;
    for (number, plan) in plans.iter().enumerate() {
        for seed in SEEDS {
            let expected = expected(folder.path(), number, seed).unwrap();
            let model = &expected.model;
            let mut ways = 0;

            if is_made_without_libtorch(plan, seed, &expected) {
                ways += 1;
                without_libtorch += 1;
            }

            // tch lacks some dtypes.
            if plan.names().all(|(_, entry)| entry.dtype.kind().is_some()) {
                let mut generator = seeded(seed);
                let made = plan.materialize(&mut generator);
                let made = made.unwrap_or_else(|error| panic!("{model}: {}", chain(&error)));
                let made = made.into_iter();
                let made: Vec<_> = made.map(|(name, t)| (name, bytes(&t))).collect();
                check(&made, &expected, "libtorch's tensors");
                assert_eq!(generator.get_state().unwrap(), expected.state, "{model}");
                ways += 1;
            }

            let weights = folder.path().join("weights.safetensors");
            let mut generator = seeded(seed);
            let save = Save::default().non_persistent(true);
            match plan.save(&weights, &mut generator, save, |_| true) {
                Ok(_) => {
                    let file = TensorFile::open(&weights).unwrap();
                    let names = plan.names().map(|(name, _)| name.to_owned());
                    let made = names.map(|name| {
                        let bytes = file.get(&name).unwrap().to_bytes();
                        (name, bytes)
                    });
                    check(&made.collect::<Vec<_>>(), &expected, "a file");
                    assert_eq!(generator.get_state().unwrap(), expected.state, "{model}");
                    ways += 1;
                }
                Err(PlanError::NotStored { .. }) => assert_eq!(model, "complex"),
                Err(error) => panic!("{model}: {}", chain(&error)),
            }
            assert!(ways > 0, "{model}");
        }
    }
    let number = plans.len();
    assert!(
        number > 40 && without_libtorch > 60,
        "{number} {without_libtorch}"
    );
}
