//! Folders of files that several processes make.

use crate::build::Builder;
use init_plan::{Assembled, FolderError, FolderEvent, InitPlan, Layout, Part, Save, assemble};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::num::NonZero;
use std::path::Path;
use tensor_parity::Dtype;
use tensor_parity::file::TensorFile;
use torch_rng::Mt19937;

/// Eight layers of different sizes, one of them tied, and a buffer.
fn plan() -> InitPlan {
    let mut plan = Builder::default();
    let mut first = 0;
    for layer in 0..8u64 {
        let weight = plan.tensor("float32", &[10 + 7 * layer, 30]);
        let bias = plan.tensor("float32", &[10 + layer]);
        plan.step(json!(["normal_", weight, 0.0, 0.02]))
            .step(json!(["uniform_", bias, -0.1, 0.1]))
            .parameter(&format!("layers.{layer}.weight"), weight)
            .parameter(&format!("layers.{layer}.bias"), bias);
        first = if layer == 0 { weight } else { first };
    }
    let table = plan.tensor("int64", &[40]);
    plan.step(json!(["arange", table, 0, 40, 1]));
    plan.parameter("head.weight", first);
    plan.buffers.push(json!(["layers.0.table", table]));
    plan.plan()
}

fn save() -> Save {
    Save::default()
        .dtype(Some(Dtype::Bfloat16))
        .max_shard_size(5000)
}

fn make(plan: &InitPlan, folder: &Path, part: Part) -> Result<Assembled, FolderError> {
    make_as(plan, folder, save(), part)
}

fn make_as(
    plan: &InitPlan,
    folder: &Path,
    save: Save,
    part: Part,
) -> Result<Assembled, FolderError> {
    plan.save_part(folder, &Mt19937::new(1), save, part, |_| true, |_| ())
}

/// The content of all files.
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
fn bytes_do_not_depend_on_the_number_of_parts() {
    let (plan, directory) = (plan(), tempfile::tempdir().unwrap());
    let mut first = None;
    for count in [1, 2, 3, 5, 8, 64] {
        let folder = directory.path().join(format!("by_{count}"));
        // The last first, as any order is.
        for index in (0..count).rev() {
            assert!(!folder.exists());
            make(&plan, &folder, Part::new(index, count).unwrap()).unwrap();
        }
        let files = content(&folder);
        let expected = first.get_or_insert_with(|| files.clone());
        assert!(files == *expected, "{count} parts");
        // Made once more, it stays as it is.
        let again = make(&plan, &folder, Part::new(0, count).unwrap()).unwrap();
        assert_eq!(again.missing, 0);
        assert_eq!(content(&folder), files);
    }
    let files = first.unwrap();
    let shards = plan.shards(save(), |_| true).unwrap();
    assert!(shards.len() > 3, "{}", shards.len());
    assert_eq!(
        shards[shards.len() - 1].file,
        "model.safetensors.index.json"
    );
    let others = ["SHA256SUMS", "tch-init.manifest.json"];
    let names = shards.iter().map(|shard| shard.file.as_str()).chain(others);
    assert_eq!(files.len(), names.clone().count());
    assert!(names.into_iter().all(|name| files.contains_key(name)));
    let sums = String::from_utf8(files["SHA256SUMS"].clone()).unwrap();
    assert_eq!(sums.lines().count(), shards.len());
    for line in sums.lines() {
        let (sum, name) = line.split_once("  ").unwrap();
        let found: String = Sha256::digest(&files[name])
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(sum, found, "{name}");
    }
    let index: Value = serde_json::from_slice(&files["model.safetensors.index.json"]).unwrap();
    let map = index["weight_map"].as_object().unwrap();
    // Tied weights are there once.
    assert!(map.contains_key("layers.0.weight") && !map.contains_key("head.weight"));
    assert_eq!(map.len(), 17);
    // All tensors are those of one file.
    let single = directory.path().join("single.safetensors");
    plan.save(&single, &mut Mt19937::new(1), save(), |_| true)
        .unwrap();
    let single = TensorFile::open(&single).unwrap();
    let folder =
        TensorFile::open(directory.path().join("by_3/model.safetensors.index.json")).unwrap();
    for name in map.keys() {
        let [made, expected] = [&folder, &single].map(|file| file.get(name).unwrap().to_bytes());
        assert_eq!(made, expected, "{name}");
    }
}

#[test]
fn no_layout_depends_on_the_number_of_parts() {
    let (plan, directory) = (plan(), tempfile::tempdir().unwrap());
    let shards = NonZero::new(7).unwrap();
    for (layout, expected) in [
        (Layout::Rows { shards }, 7),
        (
            Layout::Dcp {
                shards: Some(shards),
            },
            8,
        ),
        (Layout::Dcp { shards: None }, 6),
    ] {
        let save = save().layout(layout);
        let mut first = None;
        for count in [1, 2, 3, 5, 8, 64] {
            let folder = directory.path().join(format!("{layout:?} {count}"));
            for index in (0..count).rev() {
                make_as(&plan, &folder, save, Part::new(index, count).unwrap()).unwrap();
            }
            let mut files = content(&folder);
            if count == 1 {
                for (number, shard) in plan.shards(save, |_| true).unwrap().iter().enumerate() {
                    let (mut bytes, start) = (Vec::new(), Mt19937::new(1));
                    plan.write_shard(&start, save, |_| true, number, &mut bytes)
                        .unwrap();
                    assert!(bytes == files[&shard.file], "{}", shard.file);
                }
            }
            let expected = first.get_or_insert_with(|| files.clone());
            assert!(files == *expected, "{layout:?}, {count} parts");
            files.retain(|name, _| name != "SHA256SUMS" && name != "tch-init.manifest.json");
            assert!(files.keys().all(|name| {
                let is_ours = |shard: init_plan::Shard| shard.file == *name;
                plan.shards(save, |_| true)
                    .unwrap()
                    .into_iter()
                    .any(is_ours)
            }));
        }
        let count = plan.shards(save, |_| true).unwrap().len();
        assert_eq!(count, expected, "{layout:?}");
        assert_eq!(first.unwrap().len(), expected + 2);
        // Of another layout, though the files may have the same names.
        let folder = directory.path().join(format!("{layout:?} 1"));
        let other = make_as(&plan, &folder, self::save(), Part::WHOLE).unwrap_err();
        assert!(
            other.to_string().contains("layout of the files there is"),
            "{other}"
        );
    }
}

/// Every moment at which a process may be killed leaves files from which another number of parts goes on.
#[test]
fn a_run_that_was_killed_is_resumed() {
    let (plan, directory) = (plan(), tempfile::tempdir().unwrap());
    let expected = {
        let folder = directory.path().join("expected");
        make(&plan, &folder, Part::WHOLE).unwrap();
        content(&folder)
    };
    let folder = directory.path().join("killed");
    let partial = directory.path().join("killed.partial");
    make(&plan, &folder, Part::new(1, 3).unwrap()).unwrap();
    let made: Vec<String> = content(&partial)
        .into_keys()
        .filter(|name| name.ends_with(".safetensors"))
        .collect();
    assert!(made.len() > 1);
    // Killed while it wrote, before it renamed, and before the sum.
    fs::write(partial.join(format!(".{}.Ab3.tmp", made[1])), "half").unwrap();
    fs::remove_file(partial.join(format!("{}.sha256", made[0]))).unwrap();
    fs::write(partial.join(&made[1]), "cut").unwrap();
    let mut present = 0;
    for index in 0..2 {
        let part = Part::new(index, 2).unwrap();
        let progress =
            |event: FolderEvent<'_>| present += u32::from(matches!(event, FolderEvent::Present(_)));
        plan.save_part(&folder, &Mt19937::new(1), save(), part, |_| true, progress)
            .unwrap();
    }
    assert_eq!(present as usize, made.len() - 2);
    assert!(content(&folder) == expected);
    assert!(!partial.exists());
}

#[test]
fn a_missing_file_is_refused_before_the_folder_has_its_name() {
    let (plan, directory) = (plan(), tempfile::tempdir().unwrap());
    let folder = directory.path().join("start");
    let partial = directory.path().join("start.partial");
    let lacks = assemble(&folder).unwrap_err();
    assert!(matches!(lacks, FolderError::Io { .. }), "{lacks}");
    // All parts but the middle one.
    for index in [0, 2] {
        let made = make(&plan, &folder, Part::new(index, 3).unwrap()).unwrap();
        assert!(made.missing > 0);
    }
    let error = assemble(&folder).unwrap_err();
    let FolderError::Incomplete {
        missing,
        count,
        first,
        ..
    } = &error
    else {
        panic!("{error}");
    };
    assert!(
        *missing > 0 && missing < count && first.starts_with("model-0000"),
        "{error}"
    );
    assert!(!folder.exists() && partial.exists());
    // The others are made by a process that dies before it completes the folder.
    make(&plan, &folder, Part::new(1, 3).unwrap()).unwrap();
    let complete = content(&folder);
    fs::rename(&folder, &partial).unwrap();
    for shard in plan.shards(save(), |_| true).unwrap() {
        let file = &complete[&shard.file];
        let sum: String = Sha256::digest(file)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let sum_file = partial.join(format!("{}.sha256", shard.file));
        fs::write(sum_file, format!("{sum} {}\n", file.len())).unwrap();
    }
    fs::remove_file(partial.join("SHA256SUMS")).unwrap();
    for _ in 0..2 {
        let assembled = assemble(&folder).unwrap();
        assert_eq!((assembled.missing, assembled.files > 3), (0, true));
        assert!(content(&folder) == complete);
    }
    // Later damage is seen.
    let second = &plan.shards(save(), |_| true).unwrap()[1].file;
    fs::remove_file(folder.join(second)).unwrap();
    assert!(matches!(
        assemble(&folder),
        Err(FolderError::Incomplete { missing: 1, .. })
    ));
}

#[test]
fn another_run_is_refused() {
    let (plan, directory) = (plan(), tempfile::tempdir().unwrap());
    let folder = directory.path().join("start");
    let half = Part::new(0, 2).unwrap();
    make(&plan, &folder, half).unwrap();
    let refused = |seed, save: Save, said: &str| {
        let made = plan.save_part(&folder, &Mt19937::new(seed), save, half, |_| true, |_| ());
        let error = made.unwrap_err();
        assert!(matches!(error, FolderError::OtherRun { .. }), "{error}");
        assert!(error.to_string().contains(said), "{error}");
    };
    refused(
        2,
        save(),
        "seed of the files there is \"1\", and here it is \"2\"",
    );
    refused(
        1,
        save().dtype(None),
        "dtype of the files there is \"bfloat16\", and here it is not given",
    );
    refused(
        1,
        save().max_shard_size(9000),
        "max_shard_size of the files there is 5000, and here it is 9000",
    );
    make(&plan, &folder, Part::new(1, 2).unwrap()).unwrap();
    refused(2, save(), "seed");
    let other = directory.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("notes.txt"), "mine").unwrap();
    let error = make(&plan, &other, Part::WHOLE).unwrap_err();
    assert!(matches!(error, FolderError::Exists { .. }), "{error}");
    // An empty one is taken.
    let empty = directory.path().join("empty");
    fs::create_dir(&empty).unwrap();
    assert_eq!(make(&plan, &empty, Part::WHOLE).unwrap().missing, 0);
    fs::write(directory.path().join("bad.json"), "{}").unwrap();
    let bad = directory.path().join("bad.partial");
    fs::create_dir(&bad).unwrap();
    fs::write(bad.join("tch-init.manifest.json"), "{\"format\": 1}").unwrap();
    let error = assemble(directory.path().join("bad")).unwrap_err();
    assert!(matches!(error, FolderError::Manifest { .. }), "{error}");
}

/// As `split_torch_state_dict_into_shards` of huggingface_hub 1.x splits: a tensor over the limit is alone, and the file
/// that is being filled stays open.
#[test]
fn files_are_split_as_huggingface_hub_splits_them() {
    let split = |sizes: &[u64], limit: u64| -> Vec<Vec<String>> {
        let mut plan = Builder::default();
        for (i, size) in sizes.iter().enumerate() {
            let tensor = plan.tensor("uint8", &[*size]);
            plan.parameter(&format!("t{i}"), tensor);
        }
        let shards = plan
            .plan()
            .shards(Save::default().max_shard_size(limit), |_| true)
            .unwrap();
        let is_index = |shard: &init_plan::Shard| shard.names.is_empty();
        let files = shards.into_iter().filter(|shard| !is_index(shard));
        files.map(|shard| shard.names).collect()
    };
    assert_eq!(
        split(&[4, 4, 30, 2, 1, 9], 10),
        [vec!["t2"], vec!["t0", "t1", "t3"], vec!["t4", "t5"]]
    );
    assert_eq!(split(&[4, 6], 10), [["t0", "t1"]]);
    assert_eq!(split(&[30], 10), [["t0"]]);
    assert_eq!(split(&[6, 6], 10), [["t0"], ["t1"]]);
    let all = plan().shards(Save::default(), |_| true).unwrap();
    assert_eq!((all.len(), &*all[0].file), (1, "model.safetensors"));
    assert_eq!(
        all[0].names[..3],
        ["layers.0.weight", "layers.0.bias", "layers.0.table"]
    );
    let tied = plan()
        .shards(Save::default().tied(true), |name| name.contains("weight"))
        .unwrap();
    assert_eq!(tied[0].names.len(), 9);
}
