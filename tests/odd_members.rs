//! `diff` and `explain` of files with members that cannot be compared.

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Writes a safetensors file of members with one byte each per unit of `bytes`.
fn write(folder: &Path, name: &str, members: &[(&str, &str, &str, usize)]) -> PathBuf {
    let mut header = serde_json::Map::new();
    let mut end = 0;
    for (member, dtype, shape, bytes) in members {
        let shape: Value = serde_json::from_str(shape).unwrap();
        let offsets = [end, end + bytes];
        end += bytes;
        let info = json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets });
        header.insert((*member).to_owned(), info);
    }
    let header = Value::Object(header).to_string();
    let length = (header.len() as u64).to_le_bytes();
    let path = folder.join(name);
    std::fs::write(&path, [&length, header.as_bytes(), &vec![0; end]].concat()).unwrap();
    path
}

/// The exit code, and all lines.
fn run(arguments: &[&str], paths: [&Path; 2]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tch-init"))
        .args(arguments)
        .args(paths)
        .env_remove("RUST_LOG")
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

const ADVICE: &str = "save it as uint8 or a wider dtype";

/// The commands that compare two files; `explain` draws with libtorch.
const COMMANDS: &[&str] = match cfg!(feature = "tch") {
    true => &["diff", "explain"],
    false => &["diff"],
};

#[test]
fn a_member_that_cannot_be_compared_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let w = ("w", "F32", "[2]", 8);
    let packed = write(folder, "packed", &[w, ("q", "F4", "[4]", 2)]);
    let plain = write(folder, "plain", &[w]);
    let float = write(folder, "float", &[w, ("q", "F32", "[4]", 16)]);
    let damaged = write(folder, "damaged", &[w, ("q", "F32", "[5]", 16)]);
    let future = write(folder, "future", &[w, ("q", "F5_X", "[4]", 2)]);
    let alone = write(folder, "alone", &[("q", "F4", "[4]", 2)]);
    let equal = "1 tensor is equal, bit for bit; 1 not compared\n";
    for (a, b, arguments, code, text) in [
        (
            &packed,
            &packed,
            &[][..],
            0,
            format!("not compared: q, 4-bit floats; {ADVICE}\n{equal}"),
        ),
        (
            &packed,
            &plain,
            &[],
            1,
            format!("not compared: q, 4-bit floats, only in A; {ADVICE}\n{equal}"),
        ),
        (
            &plain,
            &packed,
            &[],
            1,
            format!("not compared: q, 4-bit floats, only in B; {ADVICE}\n{equal}"),
        ),
        (
            &packed,
            &float,
            &[],
            1,
            format!("not compared: q, 4-bit floats in A, a tensor in B; {ADVICE}\n{equal}"),
        ),
        (
            &float,
            &damaged,
            &[],
            1,
            format!(
                "not compared: q, damaged: a float32 tensor of shape [5] needs 20 bytes, found 16 \
                 in B, a tensor in A\n{equal}"
            ),
        ),
        (
            &packed,
            &future,
            &[],
            0,
            format!(
                "not compared: q, 4-bit floats in A, elements of the dtype F5_X, which safetensors \
                 0.8 and PyTorch 2.13 lack in B; {ADVICE}\n{equal}"
            ),
        ),
        // The choice of members comes before their checks.
        (
            &packed,
            &plain,
            &["--ignore", "q"],
            0,
            "1 tensor is equal, bit for bit\n".to_owned(),
        ),
        (
            &damaged,
            &plain,
            &["--only", "w"],
            0,
            "1 tensor is equal, bit for bit\n".to_owned(),
        ),
        (
            &packed,
            &packed,
            &["--rename", "s/q/v/"],
            1,
            format!(
                "not compared: v, 4-bit floats, only in A; {ADVICE}\n\
                 not compared: q, 4-bit floats, only in B; {ADVICE}\n\
                 1 tensor is equal, bit for bit; 2 not compared\n"
            ),
        ),
        (
            &alone,
            &alone,
            &[],
            2,
            format!(
                "tch-init: {0} and {0} have no tensor that can be compared: q, 4-bit floats; {ADVICE}\n",
                alone.display()
            ),
        ),
    ] {
        let arguments = [&["diff"], arguments].concat();
        let (found, output) = run(&arguments, [a, b]);
        assert_eq!(
            (found, output),
            (Some(code), text),
            "{arguments:?} {a:?} {b:?}"
        );
    }
    let (code, output) = run(&["diff", "--json"], [&packed, &damaged]);
    let output: Value = serde_json::from_str(&output).unwrap();
    assert_eq!((code, &output["same"]), (Some(1), &json!(false)));
    let expected = json!([{
        "name": "q",
        "differs": true,
        "a": "4-bit floats",
        "b": "damaged: a float32 tensor of shape [5] needs 20 bytes, found 16",
    }]);
    assert_eq!(output["not_compared"], expected);
    assert_eq!(output["left_out_a"], json!([]));
}

#[cfg(feature = "tch")]
#[test]
fn explain_lists_members_that_cannot_be_compared() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let w = ("w", "F32", "[2]", 8);
    let packed = write(folder, "packed", &[w, ("q", "F4", "[4]", 2)]);
    let plain = write(folder, "plain", &[w]);
    let line = format!("not compared: q, 4-bit floats; {ADVICE}\n");
    let (code, output) = run(&["explain"], [&packed, &packed]);
    assert!(output.contains(&line), "{output}");
    assert_eq!(code, Some(0), "{output}");
    let (code, output) = run(&["explain"], [&packed, &plain]);
    let line = format!("not compared: q, 4-bit floats, only in A; {ADVICE}\n");
    assert!(output.contains(&line), "{output}");
    assert_eq!(code, Some(1), "{output}");
    let (code, output) = run(&["explain", "--ignore", "q"], [&packed, &plain]);
    assert!(!output.contains("not compared"), "{output}");
    assert_eq!(code, Some(0), "{output}");
}

/// A file of `torch.save` of a tensor `w` and what a pickle has beside it.
#[cfg(feature = "tch")]
fn write_pt(folder: &Path, name: &str, values: &[u8]) -> PathBuf {
    use std::io::Write as _;
    use zip::write::{SimpleFileOptions, ZipWriter};
    let tensor = b"X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x02tQK\0K\x02\x85K\x01\x85\x89}tR";
    let pickle = [b"\x80\x02}(", &tensor[..], values, b"u."].concat();
    let path = folder.join(name);
    let mut zip = ZipWriter::new(std::fs::File::create(&path).unwrap());
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in [("m/data.pkl", &pickle[..]), ("m/data/0", &[0; 8])] {
        zip.start_file(name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
    path
}

/// `explain` lists values that are not tensors as `diff` does; they never count.
#[cfg(feature = "tch")]
#[test]
fn explain_lists_values_that_are_not_tensors() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // {"w": .., "epoch": 3, "note": "x"}, and the same without a note.
    let epoch = b"X\x05\0\0\0epochK\x03";
    let noted = [&epoch[..], b"X\x04\0\0\0noteX\x01\0\0\0x"].concat();
    let (both, one) = (
        write_pt(folder, "both.pt", &noted),
        write_pt(folder, "one.pt", epoch),
    );
    let lines = "left out: epoch, an integer\nleft out of A: note, text\n";
    for command in COMMANDS {
        let (code, text) = run(&[command], [&both, &one]);
        assert!(text.contains(lines), "{command}: {text}");
        assert_eq!(code, Some(0), "{command}: {text}");
        let (code, text) = run(&[command], [&one, &both]);
        assert!(
            text.contains("left out of B: note, text\n"),
            "{command}: {text}"
        );
        assert_eq!(code, Some(0), "{command}: {text}");
        let (_, text) = run(&[command, "--ignore", "epoch"], [&both, &one]);
        assert!(!text.contains("epoch"), "{command}: {text}");
        // Yours is renamed.
        let (_, text) = run(&[command, "--rename", "s/note/remark/"], [&both, &one]);
        assert!(
            text.contains("left out of A: remark, text\n"),
            "{command}: {text}"
        );
        let (_, text) = run(&[command, "--json"], [&both, &one]);
        let output: Value = serde_json::from_str(&text).unwrap();
        let epoch = json!({ "name": "epoch", "what": "an integer" });
        let note = json!({ "name": "note", "what": "text" });
        assert_eq!(output["left_out_a"], json!([epoch, note]), "{command}");
        assert_eq!(output["left_out_b"], json!([epoch]), "{command}");
        assert_eq!(output["not_compared"], json!([]), "{command}");
    }
    // Many values.
    let item = |i: u8| [b"X\x02\0\0\0v", &[b'A' + i][..], b"K\x01"].concat();
    let many: Vec<u8> = (0..50).flat_map(item).collect();
    let many = write_pt(folder, "many.pt", &many);
    let (code, text) = run(&["explain"], [&many, &one]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(text.matches("left out").count(), 40, "{text}");
    assert!(
        text.contains("left out: 12 more values; --json lists them\n"),
        "{text}"
    );
    // A member that one side cannot read is an object, as in `diff`.
    let w = ("w", "F32", "[2]", 8);
    let packed = write(folder, "packed", &[w, ("q", "F4", "[4]", 2)]);
    let float = write(folder, "float", &[w, ("q", "F32", "[4]", 16)]);
    for command in COMMANDS {
        let (code, text) = run(&[command, "--json"], [&packed, &float]);
        let output: Value = serde_json::from_str(&text).unwrap();
        let expected =
            json!([{ "name": "q", "differs": true, "a": "4-bit floats", "b": "a tensor" }]);
        assert_eq!(output["not_compared"], expected, "{command}");
        assert_eq!(code, Some(1), "{command}");
    }
}

#[test]
fn names_with_control_characters_stay_on_their_line() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let w = ("w\n\u{1b}[31m", "F32", "[2]", 8);
    let a = write(folder, "a", &[w, ("a\rb", "U8", "[1]", 1)]);
    let b = write(folder, "b", &[("w\n\u{1b}[31m", "F32", "[1, 2]", 8)]);
    let (code, text) = run(&["diff", "--all"], [&a, &b]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains(r"w\n\u{1b}[31m: shapes differ"), "{text}");
    assert!(text.contains(r"only in A: a\rb"), "{text}");
    for command in COMMANDS {
        let (_, text) = run(&[command], [&a, &b]);
        let plain = |c: char| !c.is_control() || c == '\n';
        assert!(text.chars().all(plain), "{command}: {text:?}");
        assert!(text.lines().all(|line| line != "w"), "{command}: {text:?}");
    }
}

#[test]
fn a_file_without_tensors_is_said_to_have_none() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let full = write(folder, "full", &[("w", "F32", "[2]", 8)]);
    let empty = write(folder, "empty", &[]);
    for command in COMMANDS {
        for pair in [[&empty, &full], [&full, &empty], [&empty, &empty]] {
            let (code, text) = run(&[command], [pair[0], pair[1]]);
            let expected = format!("tch-init: {}: has no tensors\n", empty.display());
            assert_eq!((code, text), (Some(2), expected), "{command}");
        }
    }
}
