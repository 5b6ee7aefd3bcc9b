//! Every kind of constructor of `tests/python/record/constructors.py`: computed constants, computing with draws, draws
//! that libtorch makes, generators of their own. Recorded once, materialized at other seeds, compared with
//! what Python makes there.

use super::plan_data::{SEEDS, expected, is_made_without_libtorch, recorded};
use crate::common::{bytes, chain};
use crate::plan::build::seeded;

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn constructors_are_replayed_at_other_seeds() {
    let (folder, plans) = recorded("constructors");
    let (mut wrong, mut without_libtorch) = (Vec::new(), Vec::new());
    for (number, plan) in plans.iter().enumerate() {
        for seed in SEEDS {
            let expected = expected(folder.path(), number, seed).unwrap();
            let model = &expected.model;
            if is_made_without_libtorch(plan, seed, &expected) {
                without_libtorch.push(model.clone());
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
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(plans.len() > 150, "{}", plans.len());
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
