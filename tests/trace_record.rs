//! The recorder of Rust programs: it changes nothing, and writes what it should.

use crate::common::{bytes, default_stream};
use std::path::Path;
use tch::nn::{self, Module, ModuleT, OptimizerConfig, VarStore};
use tch::{Device, Kind, Tensor, kind::FLOAT_CPU, no_grad};
use tch_init::file::TensorFile;
use tch_init::trace::file::{Operation, SharedStr, Trace, Value, ValueHash};
use tch_init::trace::replay::Replay;
use tch_init::trace::{RecordOptions, RecordProblem, record};
use tch_init::{get_rng_state, manual_seed};

const CPU: Device = Device::Cpu;

/// A program with layers of several kinds, dropout and an optimizer with momentum. Returns all that it ends in.
fn train(path: Option<&Path>) -> Vec<Vec<u8>> {
    manual_seed(3).unwrap();
    let vs = VarStore::new(CPU);
    let conv = nn::conv2d(vs.root() / "conv", 1, 4, 3, Default::default());
    let norm = nn::batch_norm2d(vs.root() / "norm", 4, Default::default());
    let lstm = nn::lstm(vs.root() / "lstm", 16, 8, Default::default());
    let fc = nn::linear(vs.root() / "fc", 8, 3, Default::default());
    let mut optimizer = nn::sgd(0.9, 0., 1e-3, true).build(&vs, 0.1).unwrap();
    let recording = path.map(|path| record(path, &vs).unwrap());
    let mut ends = Vec::new();
    for _ in 0..3 {
        let x = Tensor::randn([2, 1, 6, 6], FLOAT_CPU);
        let y = Tensor::randint(3, [8], (Kind::Int64, CPU));
        let x = norm
            .forward_t(&conv.forward(&x), true)
            .relu()
            .dropout(0.3, true);
        let x = nn::RNN::seq(&lstm, &x.flatten(2, -1)).0;
        let loss = fc.forward(&x.flatten(0, 1)).cross_entropy_for_logits(&y);
        optimizer.backward_step(&loss);
        ends.push(bytes(&loss));
    }
    for variable in vs.trainable_variables() {
        ends.extend([bytes(&variable), bytes(&variable.grad())]);
    }
    ends.push(get_rng_state().unwrap());
    if let Some(recording) = recording {
        recording.finish().unwrap();
    }
    ends
}

fn operations(trace: &Trace) -> Vec<Operation> {
    trace.operations().map(Result::unwrap).collect()
}

fn call(trace: &Trace, name: &str) -> Operation {
    let is_named = |operation: &Operation| operation.name.as_str() == name;
    operations(trace).into_iter().find(is_named).unwrap()
}

/// Text that is shared, if there is one.
fn text(shared: &Option<SharedStr>) -> &str {
    shared.as_ref().map_or("", SharedStr::as_str)
}

#[test]
fn recording_changes_no_bit_and_writes_the_same_bytes_again() {
    let _stream = default_stream();
    let folder = tempfile::tempdir().unwrap();
    let plain = train(None);
    let [a, b] = ["a", "b"].map(|name| folder.path().join(name).join("t.trace"));
    for path in [&a, &b] {
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        assert!(train(Some(path)) == plain);
    }
    assert!(std::fs::read(&a).unwrap() == std::fs::read(&b).unwrap());
    let values = |path: &Path| std::fs::read(path.with_file_name("t.trace.safetensors")).unwrap();
    assert!(values(&a) == values(&b));
    let names: Vec<_> = std::fs::read_dir(a.parent().unwrap()).unwrap().collect();
    assert_eq!(names.len(), 2, "no temporary file is left: {names:?}");
}

#[test]
fn kept_operations_run_again_without_what_came_before() {
    let _stream = default_stream();
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, options: RecordOptions| {
        let path = folder.path().join(name);
        manual_seed(3).unwrap();
        let vs = VarStore::new(CPU);
        let _fc = nn::linear(vs.root() / "fc", 64, 3, Default::default());
        let x = Tensor::randn([20], FLOAT_CPU);
        // A state of the generator that no recorded draw leaves.
        drop(Tensor::rand([7], FLOAT_CPU));
        let recording = options.record(&path, [&vs]).unwrap();
        let y = x.exp().dropout(0.5, true);
        let _z = y.square().sum(Kind::Float);
        recording.finish().unwrap();
        path
    };
    let runs = |path: &Path| -> Vec<(String, bool)> {
        let trace = Trace::read(path).unwrap();
        let mut replay = Replay::new(path, &trace).unwrap();
        let mut runs = |operation: &Operation| {
            let call = replay.call(operation.index);
            call.is_ok_and(|call| call.run().unwrap().has_results_of(operation))
        };
        let operations = operations(&trace).into_iter();
        operations.map(|o| (o.name.to_string(), runs(&o))).collect()
    };
    let all = runs(&run("all", RecordOptions::new()));
    // An empty tensor has no value.
    let has_values = |name: &str| name != "aten::empty_like";
    for (name, runs) in &all {
        assert_eq!(*runs, has_values(name), "{name}");
    }
    let hashes = run("hashes", RecordOptions::new().max_values(0));
    assert!(!runs(&hashes).iter().any(|(_, runs)| *runs));
    for number in 0..all.len() {
        let kept = run("kept", RecordOptions::new().keep(number..number + 1));
        let runs = runs(&kept);
        assert_eq!(runs.len(), all.len());
        assert_eq!(runs[number].1, has_values(&runs[number].0), "{runs:?}");
        // The weights of the model are not among the values.
        let values = TensorFile::open(kept.with_file_name("kept.safetensors")).unwrap();
        assert!(values.iter().all(|(_, view)| view.numel() != 64 * 3));
    }
}

/// A large model: hashes first, then the inputs of the operations that `trace diff` names.
#[test]
fn a_cause_is_proved_by_a_second_run() {
    let _stream = default_stream();
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, eps: f64, options: RecordOptions| {
        let path = folder.path().join(name);
        manual_seed(3).unwrap();
        let vs = VarStore::new(CPU);
        let fc = nn::linear(vs.root() / "fc", 16, 16, Default::default());
        let x = Tensor::randn([4, 16], FLOAT_CPU);
        let recording = options.record(&path, [&vs]).unwrap();
        let y = fc.forward(&x).tanh();
        let y = y.layer_norm([16], None::<Tensor>, None::<Tensor>, eps, false);
        y.square().sum(Kind::Float).backward();
        recording.finish().unwrap();
        path
    };
    let diff = |[a, b]: [&Path; 2]| {
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_tch-init"));
        let output = program.args(["trace", "diff"]).args([a, b]).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    let record = |names: [&str; 2], options: [RecordOptions; 2]| {
        let [a, b] = options;
        let (a, b) = (run(names[0], 1e-5, a), run(names[1], 1e-6, b));
        diff([&a, &b])
    };
    let hashes = || RecordOptions::new().max_values(0);
    let text = record(["a", "b"], [hashes(), hashes()]);
    assert!(text.contains("not run again"), "{text}");
    let numbers = text.split("--keep ").skip(1).map(|rest| {
        let number = rest.split("..").next().unwrap();
        number.parse::<usize>().unwrap()
    });
    let keep: Vec<RecordOptions> = numbers
        .map(|number| RecordOptions::new().keep(number..number + 1))
        .collect();
    let text = record(["kept a", "kept b"], keep.try_into().unwrap());
    assert!(text.contains("cause: eps"), "{text}");
}

#[test]
fn lines_say_what_ran_where_and_when() {
    let _stream = default_stream();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.trace");
    train(Some(&path));
    let trace = Trace::read(&path).unwrap();
    assert_eq!(trace.language, "rust");
    let end = trace.end.as_ref().unwrap();
    assert_eq!((end.reason.as_str(), end.steps), ("finished", 3));
    let names: Vec<&str> = trace.models[0]
        .names
        .iter()
        .map(|named| named.name.as_str())
        .collect();
    assert!(
        names.contains(&"conv.weight") && names.contains(&"norm.running_mean"),
        "{names:?}"
    );

    let convolution = call(&trace, "aten::convolution");
    assert_eq!(convolution.phase.to_string(), "forward");
    assert!(text(&convolution.at).starts_with("tests/trace_record.rs:"));
    assert_eq!(convolution.argument("groups"), Some(&Value::Int(1)));
    let Some(Value::Tensor(weight)) = convolution.argument("weight") else {
        panic!("{convolution:?}");
    };
    assert_eq!(text(&weight.name), "conv.weight");
    let backward = call(&trace, "aten::convolution_backward");
    assert_eq!(backward.phase.to_string(), "backward");
    assert_eq!(backward.forward, Some(convolution.index));
    let draw = call(&trace, "aten::bernoulli_");
    let states = draw.generator.unwrap();
    assert!(states.len() == 2 && states[0].seed == 3 && states[0].state != states[1].state);
    // The state that the first draw began with is kept, so that the draw can be run again.
    let first = operations(&trace)
        .into_iter()
        .find_map(|operation| operation.generator)
        .unwrap();
    let values = TensorFile::open(path.with_file_name("t.trace.safetensors")).unwrap();
    let key = format!("uint8:{}", first[0].state);
    assert!(values.get(&key).is_some(), "{key}");
    let mut all = operations(&trace).into_iter();
    let update = all.find(|operation| operation.phase.to_string() == "optimizer");
    let update = update.unwrap();
    assert_eq!(update.step, 1);
    assert!(text(&update.at).starts_with("tests/trace_record.rs:"));
    let norm = call(&trace, "aten::native_batch_norm");
    let writes: Vec<&str> = norm.writes().map(|(name, _)| name).collect();
    assert_eq!(writes, ["running_mean", "running_var"]);
}

#[test]
fn a_failing_operation_is_recorded_and_the_program_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.trace");
    let vs = VarStore::new(CPU);
    let recording = record(&path, &vs).unwrap();
    let failed = Tensor::ones([2, 3], FLOAT_CPU).f_mm(&Tensor::ones([2, 3], FLOAT_CPU));
    assert!(failed.is_err());
    drop(Tensor::ones([2], FLOAT_CPU) + 1.0);
    // Dropped, not finished.
    drop(recording);
    let trace = Trace::read(&path).unwrap();
    let error = call(&trace, "aten::mm").error.unwrap();
    assert!(
        error.starts_with("RuntimeError: mat1 and mat2 shapes"),
        "{error}"
    );
    assert_eq!(operations(&trace).last().unwrap().schema(), "add.Scalar");
    assert!(trace.end.is_some());
}

#[test]
fn one_recording_a_thread_and_only_its_operations() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ["a.trace", "b.trace"].map(|name| folder.path().join(name));
    let vs = VarStore::new(CPU);
    let recording = record(&a, &vs).unwrap();
    let nested = record(&b, &vs).unwrap_err();
    assert!(
        matches!(&nested.problem, RecordProblem::Libtorch(m) if m.contains("recorded already"))
    );
    std::thread::spawn(|| drop(Tensor::ones([2], FLOAT_CPU).cos()))
        .join()
        .unwrap();
    drop(Tensor::ones([2], FLOAT_CPU).sin());
    recording.finish().unwrap();
    let trace = Trace::read(&a).unwrap();
    let names: Vec<String> = operations(&trace).iter().map(Operation::schema).collect();
    assert_eq!(
        names,
        ["ones", "sin"].map(str::to_owned).to_vec(),
        "{names:?}"
    );
    // Another one can begin now.
    record(&b, &vs).unwrap().finish().unwrap();
}

#[test]
fn errors_have_a_path_and_a_reason() {
    let vs = VarStore::new(CPU);
    let missing = record("/nonexistent/folder/t.trace", &vs).unwrap_err();
    assert_eq!(missing.to_string(), "the trace /nonexistent/folder/t.trace");
    assert!(matches!(missing.problem, RecordProblem::Io(_)));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.trace");
    let none = RecordOptions::new()
        .steps(0)
        .record(&path, [&vs])
        .unwrap_err();
    assert!(matches!(none.problem, RecordProblem::NoSteps));
    assert!(!path.exists());
}

#[test]
fn steps_are_counted_with_and_without_an_optimizer() {
    let folder = tempfile::tempdir().unwrap();
    let steps = |limit: Option<u32>, train: &dyn Fn(&VarStore, &Tensor)| {
        let path = folder.path().join("t.trace");
        let vs = VarStore::new(CPU);
        let w = vs.root().ones("w", &[3]);
        let options = match limit {
            Some(limit) => RecordOptions::new().steps(limit),
            None => RecordOptions::new(),
        };
        let recording = options.record(&path, [&vs]).unwrap();
        train(&vs, &w);
        recording.finish().unwrap();
        let trace = Trace::read(&path).unwrap();
        let last = operations(&trace).last().unwrap().step;
        let end = trace.end.unwrap();
        (end.steps, end.reason, last)
    };
    let by_hand = |_: &VarStore, w: &Tensor| {
        for _ in 0..4 {
            (w * 2.0).sum(Kind::Float).backward();
            let mut w = w.shallow_clone();
            no_grad(|| {
                drop(w.f_sub_(&(w.grad() * 0.1)).unwrap());
                drop(w.grad().zero_());
            });
        }
    };
    assert_eq!(steps(None, &by_hand), (4, "finished".to_owned(), 4));
    let by_optimizer = |vs: &VarStore, w: &Tensor| {
        let mut optimizer = nn::Adam::default().build(vs, 0.1).unwrap();
        for _ in 0..4 {
            optimizer.backward_step(&(w * 2.0).sum(Kind::Float));
        }
    };
    assert_eq!(steps(None, &by_optimizer), (4, "finished".to_owned(), 4));
    assert_eq!(steps(Some(2), &by_optimizer), (2, "steps".to_owned(), 2));
    // Before an optimizer has stepped for the first time, nothing is a step.
    let looks_and_clips = |vs: &VarStore, w: &Tensor| {
        let mut optimizer = nn::Sgd::default().build(vs, 0.1).unwrap();
        for _ in 0..4 {
            let loss = (w * 2.0).sum(Kind::Float);
            optimizer.zero_grad();
            loss.backward();
            assert!((&loss + 1.0).double_value(&[]).is_finite());
            optimizer.clip_grad_value(0.5);
            optimizer.step();
        }
    };
    assert_eq!(steps(None, &looks_and_clips), (4, "finished".to_owned(), 4));
    let by_ours = |vs: &VarStore, w: &Tensor| {
        use tch_init::optim::OptimizerConfig;
        let mut optimizer = tch_init::optim::AdamW::default().build(vs, 0.1).unwrap();
        for _ in 0..4 {
            optimizer.backward_step(&(w * 2.0).sum(Kind::Float));
        }
    };
    assert_eq!(steps(None, &by_ours), (4, "finished".to_owned(), 4));
    assert_eq!(steps(Some(3), &by_ours), (3, "steps".to_owned(), 3));
}

#[test]
fn statistics_of_results_are_recorded_on_demand() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.trace");
    let vs = VarStore::new(CPU);
    let recording = RecordOptions::new()
        .stats(true)
        .record(&path, [&vs])
        .unwrap();
    drop(Tensor::from_slice(&[-4.0_f32, 0.0, 1.0, 1.0]).relu());
    recording.finish().unwrap();
    let relu = call(&Trace::read(&path).unwrap(), "aten::relu");
    let Value::Tensor(result) = &relu.results[0] else {
        panic!("{relu:?}");
    };
    let stats = result.stats.unwrap();
    assert_eq!(
        (stats.mean, stats.std, stats.zeros, stats.absmax),
        (0.5, 0.5, 2, 1.0)
    );
}

/// What no operation writes is seen, too, also where the elements are in another order in memory.
#[test]
fn transposed_memory_is_hashed_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.trace");
    let _stream = default_stream();
    let base = Tensor::randn([60, 70], FLOAT_CPU);
    let view = base.tr();
    let vs = VarStore::new(CPU);
    // SAFETY: the tensor has more bytes, and nothing else uses them now.
    let write = |byte| unsafe { base.data_ptr().cast::<u8>().add(5000).write(byte) };
    let written = [0, 1, 1, 2];
    let recording = record(&path, &vs).unwrap();
    for byte in written {
        write(byte);
        assert_eq!(view.exp().size(), [70, 60]);
    }
    recording.finish().unwrap();
    let expected = written.map(|byte| {
        write(byte);
        Some(ValueHash::of(&bytes(&view.contiguous())))
    });
    let trace = Trace::read(&path).unwrap();
    let taken = operations(&trace)
        .into_iter()
        .filter(|op| op.name.as_str() == "aten::exp");
    let hash = |op: Operation| match op.argument("self") {
        Some(Value::Tensor(tensor)) => tensor.hash,
        _ => None,
    };
    assert_eq!(taken.map(hash).collect::<Vec<_>>(), expected);
}

#[test]
fn memory_without_a_value_is_not_hashed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.trace");
    let vs = VarStore::new(CPU);
    let recording = record(&path, &vs).unwrap();
    let empty = Tensor::empty([3], FLOAT_CPU);
    let _sum = &empty + 1.0;
    let mut filled = empty;
    drop(filled.fill_(2.0));
    drop(filled.sqrt());
    recording.finish().unwrap();
    let trace = Trace::read(&path).unwrap();
    let has_hash = |name: &str| {
        let operation = call(&trace, name);
        match &operation.results[0] {
            Value::Tensor(tensor) => tensor.hash.is_some(),
            other => panic!("{other:?}"),
        }
    };
    assert!(!has_hash("aten::empty") && !has_hash("aten::add"));
    assert!(has_hash("aten::fill_") && has_hash("aten::sqrt"));
}
