//! Folders that several processes of the program make.

use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::Instant;

/// The program without what a launcher of these tests may have set.
fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tch-init"));
    command.args(arguments).env_remove("RUST_LOG");
    for name in [
        "RANK",
        "WORLD_SIZE",
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_SIZE",
        "PMI_RANK",
        "PMI_SIZE",
        "SLURM_PROCID",
        "SLURM_STEP_NUM_TASKS",
    ] {
        command.env_remove(name);
    }
    command
}

fn said(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let stream = if code == 2 {
        &output.stderr
    } else {
        &output.stdout
    };
    String::from_utf8(stream.clone()).unwrap()
}

/// A plan of `layers` matrices of 1,000 x `columns` and their biases.
fn plan(path: &Path, layers: usize, columns: u64) {
    let (mut storages, mut views, mut steps, mut parameters) = (vec![], vec![], vec![], vec![]);
    for layer in 0..layers {
        for (name, shape) in [("weight", vec![1000, columns]), ("bias", vec![columns])] {
            let view = views.len();
            storages.push(shape.iter().product::<u64>() * 4);
            views.push(json!([view, "float32", shape]));
            steps.push(json!(["normal_", view, 0.0, 0.02]));
            parameters.push(json!([format!("layers.{layer}.{name}"), view]));
        }
    }
    let plan = json!({
        "format": "tch-init plan", "version": 1, "pytorch": "2.13.0", "semantics": "2.13", "model": "layers",
        "storages": storages, "views": views, "steps": steps, "parameters": parameters, "buffers": [],
    });
    fs::write(path, plan.to_string()).unwrap();
}

fn content(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    entries
        .map(|path| (name(&path), fs::read(&path).unwrap()))
        .collect()
}

#[test]
fn ranks_of_a_launcher_make_the_bytes_of_one_process() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let model = path("model.plan.json");
    plan(model.as_ref(), 6, 30);
    let materialize = |folder: &str| {
        let folder = format!("{}/", path(folder));
        program(&[
            "materialize",
            &model,
            "--seed",
            "3",
            "--max-shard-size",
            "250KB",
            "-o",
            &folder,
        ])
    };
    let one = said(&materialize("one").output().unwrap(), 0);
    assert!(
        one.ends_with("one: part 0/1 (default) made 4 of 4 files, 720720 bytes; complete\n"),
        "{one}"
    );
    let expected = content(directory.path().join("one").as_ref());
    for (folder, rank, size, extra) in [
        ("torchrun", "RANK", "WORLD_SIZE", None),
        (
            "open_mpi",
            "OMPI_COMM_WORLD_RANK",
            "OMPI_COMM_WORLD_SIZE",
            Some(("SLURM_PROCID", "0")),
        ),
        (
            "mpich",
            "PMI_RANK",
            "PMI_SIZE",
            Some(("SLURM_STEP_NUM_TASKS", "1")),
        ),
        ("srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", None),
    ] {
        // At the same time, as a launcher runs them.
        let children: Vec<_> = ["0", "1"]
            .map(|number| {
                let mut command = materialize(folder);
                command.env(rank, number).env(size, "2").envs(extra);
                thread::spawn(move || command.output().unwrap())
            })
            .into_iter()
            .collect();
        for (number, child) in children.into_iter().enumerate() {
            let output = child.join().unwrap();
            let text = said(&output, 0);
            assert!(
                text.contains(&format!("part {number}/2 ({rank}) made")),
                "{text}"
            );
        }
        assert!(
            content(directory.path().join(folder).as_ref()) == expected,
            "{folder}"
        );
    }
    // By hand, with a process that is told nothing of the others.
    for part in ["1/2", "0/2"] {
        let output = materialize("by_hand")
            .args(["--part", part])
            .env("RANK", "7")
            .output();
        said(&output.unwrap(), 0);
    }
    assert!(content(directory.path().join("by_hand").as_ref()) == expected);
    let half = materialize("half").env("RANK", "1").output().unwrap();
    assert!(said(&half, 2).contains("RANK is set and WORLD_SIZE is not"));
    let file = program(&[
        "materialize",
        &model,
        "--seed",
        "1",
        "--part",
        "0/2",
        "-o",
        &path("file"),
    ]);
    assert!(said(&{ file }.output().unwrap(), 2).contains("is one file"));
    let part = materialize("none")
        .args(["--part", "2/2"])
        .output()
        .unwrap();
    assert!(said(&part, 2).contains("expected I/N"));
}

#[test]
fn folders_are_assembled_and_checked() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (model, folder) = (path("model.plan.json"), path("start"));
    plan(model.as_ref(), 6, 30);
    let part = |seed: &str, part: &str| {
        let folder = format!("{folder}/");
        let arguments = [
            "materialize",
            &model,
            "--seed",
            seed,
            "--max-shard-size",
            "250KB",
            "--part",
            part,
        ];
        let arguments = [&arguments[..], &["--dtype", "bfloat16", "-o", &folder]].concat();
        program(&arguments).output().unwrap()
    };
    assert!(said(&part("1", "1/2"), 0).ends_with("not there yet\n"));
    let lacks = program(&["assemble", &folder]).output().unwrap();
    assert!(said(&lacks, 2).contains(
        "1 of 3 files are missing or not whole, the first is model-00001-of-00002.safetensors"
    ));
    let other = said(&part("2", "0/2"), 2);
    assert!(
        other.contains("seed of the files there is \"1\", and here it is \"2\""),
        "{other}"
    );
    said(&part("1", "0/2"), 0);
    for _ in 0..2 {
        let output = program(&["assemble", &folder]).output().unwrap();
        assert!(said(&output, 0).ends_with("start: 3 files, 360360 bytes; complete\n"));
    }
    let check = |seed: &str| {
        let arguments = [
            "check", &folder, "--plan", &model, "--seed", seed, "--sample", "50",
        ];
        program(&arguments).output().unwrap()
    };
    let equal = said(&check("1"), 0);
    assert!(
        equal.ends_with(
            "start: 3 files of layout hf: sizes, headers and 50 of 186 chunks of 12 tensors are equal\n"
        ),
        "{equal}"
    );
    let differ = said(&check("2"), 1);
    assert!(
        differ.ends_with("start: 50 of 50 chunks differ\n"),
        "{differ}"
    );
    // One byte at the end, which the last sample has.
    let file = directory
        .path()
        .join("start/model-00002-of-00002.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    let arguments = [
        "check", &folder, "--plan", &model, "--seed", "1", "--sample", "180180",
    ];
    let differ = said(&program(&arguments).output().unwrap(), 1);
    assert!(
        differ.contains("layers.5.weight: element 29999 differs"),
        "{differ}"
    );
}

/// Each layout, with every element in a sample.
#[test]
fn what_is_damaged_is_found_in_every_layout() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let model = path("model.plan.json");
    plan(model.as_ref(), 6, 30);
    for (layout, options, middle) in [
        (
            "hf",
            &["--max-shard-size", "250KB"][..],
            "model-00002-of-00003.safetensors",
        ),
        (
            "rows",
            &["--layout", "rows", "--shards", "3", "--dtype", "bfloat16"],
            "shard-00002-model-00001-of-00001.safetensors",
        ),
        ("dcp", &["--layout", "dcp", "--shards", "3"], "__1_0.distcp"),
        (
            "whole",
            &[
                "--layout",
                "dcp",
                "--max-shard-size",
                "250KB",
                "--only",
                "*.weight",
            ],
            "__1_0.distcp",
        ),
    ] {
        let folder = path(layout);
        let output = format!("{folder}/");
        let arguments = ["materialize", &model, "--seed", "1", "-o", &output];
        said(
            &program(&[&arguments, options].concat()).output().unwrap(),
            0,
        );
        let check = |seed: &str, samples: &str, options: &[&str]| {
            let arguments = ["check", &folder, "--plan", &model, "--seed", seed];
            let arguments = [&arguments[..], &["--sample", samples], options].concat();
            program(&arguments).output().unwrap()
        };
        let equal = said(&check("1", "70", &["--sums"]), 0);
        let told = "sizes, headers, SHA256SUMS and 70 of ";
        assert!(
            equal.contains(told) && equal.ends_with("tensors are equal\n"),
            "{equal}"
        );
        let all = said(&check("1", "1000", &[]), 0);
        assert!(all.contains("headers and all chunks of"), "{all}");
        let other = said(&check("2", "70", &[]), 1);
        assert!(
            other.starts_with("the manifest has seed \"1\", and here it is \"2\"\n")
                && other.ends_with("70 of 70 chunks differ\n"),
            "{other}"
        );
        let file = directory.path().join(layout).join(middle);
        let whole = fs::read(&file).unwrap();
        let assemble = || program(&["assemble", &folder]).output().unwrap();
        // Every kind of byte; and every element is drawn again.
        for at in [0, 40, whole.len() / 3, whole.len() / 2, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            fs::write(&file, bytes).unwrap();
            let found = said(&check("1", "1000", &[]), 1);
            assert!(found.starts_with(&format!("{middle}: ")), "{at}: {found}");
            let found = said(&check("1", "1", &["--sums"]), 1);
            let sum = format!("{middle}: another SHA-256 than in SHA256SUMS\n");
            assert!(found.contains(&sum), "{at}: {found}");
        }
        for length in [0, 100, whole.len() - 1, whole.len() + 1] {
            let mut bytes = whole.clone();
            bytes.resize(length, 0);
            fs::write(&file, bytes).unwrap();
            let size = format!("expected {} bytes, found {length}", whole.len());
            let found = said(&check("1", "5", &[]), 1);
            assert!(found.starts_with(&format!("{middle}: {size}\n")), "{found}");
            assert!(said(&assemble(), 2).contains(middle));
        }
        fs::remove_file(&file).unwrap();
        let found = said(&check("1", "5", &[]), 1);
        assert!(
            found.starts_with(&format!("{middle}: missing\n")),
            "{found}"
        );
        assert!(said(&assemble(), 2).contains(middle));
        fs::write(&file, whole).unwrap();
        said(&assemble(), 0);
        // What a reader of PyTorch would take for a part.
        fs::write(directory.path().join(layout).join("old.safetensors"), "").unwrap();
        let found = said(&check("1", "5", &[]), 1);
        assert!(
            found.starts_with("old.safetensors: not a file of this run"),
            "{found}"
        );
    }
    let (partial, output) = (path("partial"), format!("{}/", path("partial")));
    let arguments = ["materialize", &model, "--seed", "1", "-o", &output];
    let part = ["--layout", "rows", "--shards", "3", "--part", "0/2"];
    said(
        &program(&[&arguments[..], &part].concat()).output().unwrap(),
        0,
    );
    let arguments = ["check", &partial, "--plan", &model, "--seed", "1"];
    let found = said(&program(&arguments).output().unwrap(), 2);
    assert!(
        found.contains("not complete; `tch-init assemble`"),
        "{found}"
    );
    // The tensors that were chosen are part of what the files are.
    let only = [
        "--layout", "rows", "--shards", "3", "--part", "1/2", "--only", "*",
    ];
    let arguments = ["materialize", &model, "--seed", "1", "-o", &output];
    said(
        &program(&[&arguments[..], &only].concat()).output().unwrap(),
        0,
    );
    let other = path("other.plan.json");
    plan(other.as_ref(), 5, 30);
    let arguments = ["check", &partial, "--plan", &other, "--seed", "1"];
    let found = said(&program(&arguments).output().unwrap(), 1);
    assert!(
        found.ends_with("not those that the plan makes\n"),
        "{found}"
    );
}

#[test]
fn layouts_are_named_with_their_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let model = path("model.plan.json");
    plan(model.as_ref(), 3, 30);
    let materialize = |output: &str, options: &[&str]| {
        let arguments = ["materialize", &model, "--seed", "1", "-o", output];
        program(&[&arguments, options].concat()).output().unwrap()
    };
    let rows = materialize(
        &format!("{}/", path("rows")),
        &["--layout", "rows", "--shards", "3"],
    );
    assert!(said(&rows, 0).contains("made 3 of 3 files, 360360 bytes; complete"));
    let files = content(path("rows").as_ref());
    assert!(files.contains_key("shard-00003-model-00001-of-00001.safetensors"));
    let whole = materialize(&format!("{}/", path("dcp")), &["--layout", "dcp"]);
    assert!(said(&whole, 0).contains("made 2 of 2 files"));
    let files = content(path("dcp").as_ref());
    assert!(files.contains_key(".metadata") && files.contains_key("__0_0.distcp"));
    for (output, options, problem) in [
        ("a/", &["--layout", "rows"][..], "say --shards S"),
        ("a/", &["--shards", "3"], "the layout hf has whole tensors"),
        ("a/", &["--layout", "dcp", "--shards", "0"], "invalid value"),
        ("a", &["--layout", "dcp"], "a folder ends with /"),
    ] {
        let output = materialize(&path(output), options);
        assert!(said(&output, 2).contains(problem), "{output:?}");
    }
}

/// Where a tensor begins depends on how often those before it are drawn again.
#[test]
fn processes_count_truncated_draws_together() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let model = path("model.plan.json");
    plan(model.as_ref(), 3, 9_000);
    let text = fs::read_to_string(&model).unwrap();
    let text = text.replace("\"normal_\"", "\"trunc_normal_\"");
    let text = text.replace("0.0,0.02]", "0.0,0.02,-0.05,0.06]");
    fs::write(&model, text).unwrap();
    let materialize = |folder: &str, part: &str| {
        let folder = format!("{}/", path(folder));
        let arguments = ["materialize", &model, "--seed", "3", "--dtype", "bfloat16"];
        let rows = [
            "--layout", "rows", "--shards", "3", "--part", part, "-o", &folder,
        ];
        program(&[&arguments[..], &rows].concat())
    };
    said(&materialize("one", "0/1").output().unwrap(), 0);
    let expected = content(path("one").as_ref());
    assert_eq!(expected.len(), 5, "{:?}", expected.keys());
    let children: Vec<_> = ["0/3", "1/3", "2/3"]
        .into_iter()
        .map(|part| {
            let mut command = materialize("three", part);
            thread::spawn(move || command.output().unwrap())
        })
        .collect();
    for child in children {
        said(&child.join().unwrap(), 0);
    }
    assert!(content(path("three").as_ref()) == expected);
    // Later, by what the first one has counted.
    said(&materialize("apart", "0/3").output().unwrap(), 0);
    let counted = || fs::read_to_string(path("apart.partial/tch-init.scout")).unwrap();
    let before = counted();
    assert_eq!(before.lines().count(), 6, "{before}");
    said(&materialize("apart", "1/3").output().unwrap(), 0);
    assert_eq!(counted(), before);
    said(&materialize("apart", "2/3").output().unwrap(), 0);
    assert!(content(path("apart").as_ref()) == expected);
}

/// A node whose libtorch has other kernels rounds differently. The program that draws by itself has the same bits anywhere.
#[test]
fn a_node_with_other_kernels_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let model = path("model.plan.json");
    plan(model.as_ref(), 6, 30);
    let part = |folder: &str, part: &str, variable: &str, value: &str| {
        let folder = format!("{}/", path(folder));
        let arguments = ["materialize", &model, "--seed", "3", "-o", &folder];
        let limited = ["--max-shard-size", "250KB", "--part", part];
        let mut command = program(&[&arguments[..], &limited].concat());
        command.env(variable, value).output().unwrap()
    };
    said(&part("same", "0/1", "TCH_INIT_BACKEND", "scalar"), 0);
    said(&part("both", "0/2", "ATEN_CPU_CAPABILITY", "avx2"), 0);
    if cfg!(feature = "tch") {
        let other = said(&part("both", "1/2", "ATEN_CPU_CAPABILITY", "default"), 2);
        assert!(
            other.contains("kernels of the files there is \"AVX2\", and here it is \"DEFAULT\""),
            "{other}"
        );
    }
    said(&part("both", "1/2", "TCH_INIT_BACKEND", "scalar"), 0);
    assert!(content(path("both").as_ref()) == content(path("same").as_ref()));
    said(&part("avx2", "0/1", "ATEN_CPU_CAPABILITY", "avx2"), 0);
    assert!(content(path("avx2").as_ref()) == content(path("same").as_ref()));
}

/// Killed at any moment, and gone on with by any number of processes.
#[cfg(unix)]
#[test]
fn a_killed_run_is_resumed() {
    let directory = tempfile::tempdir().unwrap();
    let model = directory.path().join("model.plan.json");
    plan(&model, 24, 200);
    let materialize = |folder: &Path, part: &str| {
        let folder = format!("{}/", folder.display());
        let arguments = [
            "materialize",
            model.to_str().unwrap(),
            "--seed",
            "1",
            "--max-shard-size",
            "1MB",
        ];
        program(&[&arguments[..], &["--part", part, "-o", &folder]].concat())
    };
    let expected = directory.path().join("expected");
    let start = Instant::now();
    said(&materialize(&expected, "0/1").output().unwrap(), 0);
    let longest = start.elapsed();
    let expected = content(&expected);
    let killed = directory.path().join("killed");
    let mut kills = 0;
    // Moments through all of the run, most of which is spent before anything is written.
    for round in 0..12 {
        let count = 1 + round % 3;
        let part = format!("{}/{count}", round % count);
        let mut child = materialize(&killed, &part).spawn().unwrap();
        thread::sleep(longest * (round * 7 % 12) / 12);
        kills += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        if killed.exists() {
            break;
        }
    }
    assert!(kills > 0);
    for part in ["0/2", "1/2"] {
        said(&materialize(&killed, part).output().unwrap(), 0);
    }
    assert!(content(&killed) == expected);
}
