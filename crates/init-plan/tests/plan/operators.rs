//! Calls of operators and changes of streams: what is read and rejected, and what needs no libtorch.

use crate::build::{Builder, linear, view};
use init_plan::{InitPlan, Operator, PlanError};
use serde_json::{Value, json};
use torch_rng::{Draw, Dtype, Engine, Mt19937, Target, Uniform};

/// Views 0 and 1 are those of a linear layer; 2 is a matrix of 4 by 3, 3 a vector of 5 integers, 4 a mask
/// of 4 by 3, 5 a matrix of 3 by 4.
fn plan() -> Builder {
    let mut plan = linear();
    plan.tensor("float32", &[4, 3]);
    plan.tensor("int64", &[5]);
    plan.tensor("bool", &[4, 3]);
    plan.tensor("float32", &[3, 4]);
    plan
}

fn problem(row: Value) -> Option<String> {
    let mut plan = plan();
    plan.step(row);
    let error = plan.read().err()?.to_string();
    Some(error.split_once(": ").unwrap().1.to_owned())
}

#[test]
fn calls_whose_shapes_fit_are_read_and_written() {
    let rows = r#"
["aten::tril",[2],{"view": 2}]
["aten::tril",[2],{"view": 2},-1]
["aten::sort",[2,2],{"view": 2},-1,true]
["aten::index.Tensor",[2],{"view": 2},[null,{"view": 2}]]
["aten::mm",[0],{"view": 5},{"view": 0}]
["aten::linalg_qr",[2,2],{"view": 2}]
["aten::bernoulli_.float",[2],0.5]
["aten::rand.generator",[2],[4,3],null,"float32"]
["aten::clamp",[2],{"view": 2},"-inf",1.0]
["aten::_assert_async",[],{"view": 4}]
["manual_seed",1,-9223372036854775808]
["copy_state",2,0]
["use_stream",0]
["aten::randint.low_generator",[3],-5,5,[5],null,"int64"]
"#;
    for row in rows.lines().filter(|row| !row.is_empty()) {
        let row: Value = serde_json::from_str(row).unwrap();
        let problem = problem(row.clone());
        let known = [
            "expected indices of dtype int64; record it again",
            "expected shapes that multiply, found [[3, 4], [3, 2]]; record it again",
        ];
        if let Some(problem) = problem {
            assert!(known.contains(&problem.as_str()), "{row}: {problem}");
            continue;
        }
        let mut plan = plan();
        plan.step(row);
        let plan = plan.plan();
        let json = plan.to_json();
        assert!(json.contains("\"version\": 2,"), "{json}");
        assert_eq!(
            InitPlan::from_json(json.as_bytes()).unwrap().steps(),
            plan.steps()
        );
    }
    assert!(linear().plan().to_json().contains("\"version\": 1,"));
}

/// What a plan that was written by hand could do: allocate more than its views say, reach other operators, or use what
/// has no position.
#[test]
fn calls_that_do_not_fit_are_rejected() {
    let rows = r#"
["aten::tril",[0],{"view": 2}] => expected an output of shape [4, 3], found [3, 2]
["aten::tril",2,{"view": 2}] => expected a list of outputs
["aten::tril",[],{"view": 2}] => expected another number of outputs, found 0
["aten::tril",[2]] => expected more tensors
["aten::tril",[9],{"view": 2}] => expected one of 6 views, found 9
["aten::tril",[2],{"view": 9}] => expected one of 6 views, found 9
["aten::tril.out",[2],{"view": 2}] => expected the overload of a function
["aten::add.a/b",[2],{"view": 2}] => expected the overload of a function
["aten::hann_window",[3],1000000] => expected an output of shape [1000000], found [5]
["aten::hann_window",[3],-1] => expected arguments that determine the size of the output
["aten::rand.generator",[2],[1000000,1000000]] => expected an output of shape [1000000, 1000000], found [4, 3]
["aten::repeat_interleave.Tensor",[2],{"view": 3}] => expected arguments that determine the size of the output
["aten::repeat_interleave.self_int",[3],{"view": 3},7] => expected arguments that determine the size of the output
["aten::diag_embed",[2],{"view": 3},9007199254740993] => expected one output with the elements of the result
["aten::multinomial",[3],{"view": 2},1000000] => expected one output with the elements of the result
["aten::index.Tensor",[2],{"view": 2},[{"view": 4}]] => expected indices of dtype int64
["aten::index.Tensor",[2],{"view": 2},[null,null,{"view": 3}]] => expected at most 2 indices, found 3
["aten::linalg_qr",[2,2],{"view": 2},"complete"] => expected arguments that determine the size of the output
["aten::_linalg_svd",[2,3,2],{"view": 2},true] => expected arguments that determine the size of the output
["aten::_fft_c2r",[2],{"view": 2},[1],0,1000000] => expected arguments that determine the size of the output
["aten::_fft_r2c",[2],{"view": 2},[7],0,true] => expected dimensions of the tensor, each once, for a transform
["aten::_fft_c2c",[2],{"view": 2},[1,1],0,true] => expected dimensions of the tensor, each once, for a transform
["aten::block_diag",[2],[{"view": 2},{"view": 3}]] => expected an output of shape [5, 8], found [4, 3]
["aten::_cdist_forward",[2],{"view": 2},{"view": 0},2.0,null] => expected rows of one size
["aten::_pdist_forward",[3],{"view": 2},2.0] => expected one output with the elements of the result
["aten::linalg_lstsq",[3,3,3,3],{"view": 2},{"view": 2}] => expected arguments that determine the size of the output
["aten::mkldnn_rnn_layer",[2,2,2,2],{"view": 2}] => expected the tensors of a layer of an LSTM
["aten::addbmm",[2],{"view": 2},{"view": 2},{"view": 2}] => expected shapes that multiply, found [[4, 3], [4, 3], [4, 3]]
["aten::bernoulli_.float",[2,2],0.5] => expected one output
["aten::where.self",[2],{"view": 4},{"view": 3},{"view": 2}] => expected shapes that broadcast, found [4, 3] and [5]
["fill_",[2],0.0] => expected one output, found a list
["manual_seed",1,0.5] => expected an int, found a float
["manual_seed",65536,1] => expected a stream below 65536, found 65536
["manual_seed",1,1,1] => too many arguments
["copy_state",1,7] => expected a stream that has a position, found 7
["use_stream",1] => expected a stream that has a position, found 1"#;
    for line in rows.lines().filter(|line| !line.is_empty()) {
        let (row, message) = line.split_once(" => ").unwrap();
        let found = problem(serde_json::from_str(row).unwrap());
        assert_eq!(found, Some(format!("{message}; record it again")), "{row}");
    }
    for name in [
        "aten::save",
        "prim::Print",
        "aten::resize_",
        "aten::from_file",
        "aten::as_strided",
        "tril",
    ] {
        let mut plan = plan();
        plan.step(json!([name, [2], view(2)]));
        let error = plan.read().unwrap_err();
        match name.contains("::") {
            true => assert!(
                matches!(error, PlanError::UnknownStep { .. }) || name.starts_with("prim"),
                "{error}"
            ),
            false => assert!(matches!(error, PlanError::Invalid { .. }), "{error}"),
        }
    }
}

#[test]
fn operators_are_listed_once_and_none_is_in_place_unless_it_draws() {
    let mut names: Vec<&str> = Operator::names().collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
    for name in names {
        let operator = Operator::find(&format!("aten::{name}")).unwrap();
        assert_eq!(operator.is_in_place(), name.ends_with('_'), "{name}");
        assert!(!operator.is_in_place() || operator.is_draw(), "{name}");
    }
}

/// Draws from streams, at their words.
#[test]
fn streams_are_seeded_copied_and_used() {
    let mut plan = Builder::default();
    let tensors: Vec<u64> = (0..5).map(|_| plan.tensor("float32", &[3])).collect();
    let uniform = |tensor| json!(["uniform_", tensor, 0.0, 1.0]);
    plan.step(uniform(tensors[0]))
        .step(json!(["manual_seed", 1, 42]))
        .step(json!(["use_stream", 1]))
        .step(uniform(tensors[1]))
        .step(json!(["copy_state", 2, 1]))
        .step(uniform(tensors[2]))
        .step(json!(["use_stream", 2]))
        .step(uniform(tensors[3]))
        .step(json!(["use_stream", 0]))
        .step(uniform(tensors[4]));
    for (i, tensor) in tensors.iter().enumerate() {
        plan.parameter(&format!("t{i}"), *tensor);
    }
    let plan = plan.plan();
    let draw = |generator: &mut Mt19937| {
        let mut values = [0f32; 3];
        let draw = Draw::from(Uniform { from: 0.0, to: 1.0 });
        let target = Target::new(Dtype::Float32, &[3]);
        draw.fill(&Engine::default(), generator, target, &mut values)
            .unwrap();
        values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect::<Vec<u8>>()
    };
    let (mut user, mut own) = (Mt19937::new(7), Mt19937::new(42));
    let first = draw(&mut user);
    let second = draw(&mut own);
    let third = draw(&mut own);
    let last = draw(&mut user);
    let expected = [first, second, third.clone(), third, last];

    let mut generator = Mt19937::new(7);
    let made = plan.materialize(&mut generator).unwrap();
    for ((name, tensor), expected) in made.iter().zip(&expected) {
        assert_eq!(*tensor.to_bytes(), **expected, "{name}");
        let mut generator = Mt19937::new(7);
        let only = plan
            .materialize_only(&mut generator, |wanted| wanted == name)
            .unwrap();
        assert_eq!(*only[0].1.to_bytes(), **expected, "{name}");
        assert_eq!(generator, user);
        let rows = plan.materialize_rows(&Mt19937::new(7), name, 1..2).unwrap();
        assert_eq!(*rows.to_bytes(), expected[4..8], "{name}");
    }
    assert_eq!(generator, user);
    let positions = plan.draw_positions(&mut Mt19937::new(7)).unwrap();
    let words: Vec<_> = positions.iter().map(|at| at.map(|at| at.word)).collect();
    assert_eq!(words, [Some(0), None, None, None, None]);
    let shown = plan.to_string();
    for line in [
        "step 3: uniform_(0, 1), stream 1, words 0 after step 1 + 3",
        "step 7: uniform_(0, 1), stream 2, words 0 after step 4 + 3",
        "step 9: uniform_(0, 1), words 3 + 3",
        "streams\n    step 1: manual_seed(1, 42)\n    step 2: use_stream(1)\n    step 4: copy_state(2, 1)",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
}

#[test]
fn elements_are_moved_without_libtorch() {
    let mut plan = Builder::default();
    let matrix = plan.tensor("float32", &[2, 3]);
    let indices = plan.tensor("int64", &[3]);
    let row: Vec<u8> = [2i64, 0, -1].iter().flat_map(|i| i.to_le_bytes()).collect();
    plan.step(json!(["arange", 0, 0, 6, 1]));
    plan.views[0] = json!([0, "float32", [6]]);
    let matrix = {
        plan.views.push(json!([0, "float32", [2, 3]]));
        let _ = matrix;
        plan.views.len() as u64 - 1
    };
    use base64::Engine as _;
    let row = base64::prelude::BASE64_STANDARD.encode(row);
    plan.step(json!(["const", indices, row]));
    let mut expected = Vec::new();
    let cases: [(&str, &[u64], Value, &[f32]); 8] = [
        (
            "aten::tril",
            &[2, 3],
            json!([view(matrix)]),
            &[0., 0., 0., 3., 4., 0.],
        ),
        (
            "aten::triu",
            &[2, 3],
            json!([view(matrix), 1]),
            &[0., 1., 2., 0., 0., 5.],
        ),
        (
            "aten::flip",
            &[2, 3],
            json!([view(matrix), [-1, 0]]),
            &[5., 4., 3., 2., 1., 0.],
        ),
        (
            "aten::roll",
            &[2, 3],
            json!([view(matrix), [1]]),
            &[5., 0., 1., 2., 3., 4.],
        ),
        (
            "aten::roll",
            &[2, 3],
            json!([view(matrix), [-1, 1], [1, 0]]),
            &[4., 5., 3., 1., 2., 0.],
        ),
        (
            "aten::index.Tensor",
            &[2, 3],
            json!([view(matrix), [null, view(indices)]]),
            &[2., 0., 2., 5., 3., 5.],
        ),
        (
            "aten::index.Tensor",
            &[3],
            json!([view(0), [view(indices)]]),
            &[2., 0., 5.],
        ),
        (
            "aten::clone",
            &[2, 3],
            json!([view(matrix)]),
            &[0., 1., 2., 3., 4., 5.],
        ),
    ];
    for (i, (op, shape, args, values)) in cases.into_iter().enumerate() {
        let out = plan.tensor("float32", shape);
        let mut step = vec![json!(op), json!([out])];
        step.extend(args.as_array().unwrap().clone());
        plan.step(step.into());
        plan.parameter(&format!("p{i}"), out);
        expected.push(values);
    }
    let made = plan.plan().materialize(&mut Mt19937::new(1)).unwrap();
    for ((name, tensor), expected) in made.iter().zip(expected) {
        let bytes: Vec<u8> = expected
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        assert_eq!(*tensor.to_bytes(), bytes, "{name}");
    }
}
