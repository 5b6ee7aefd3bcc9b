//! Every kind of damage is an error that names the line, or a part that is read.

use op_trace::{Comparison, Trace, TraceError, TraceProblem};
use std::error::Error;
use std::path::Path;

const TINY: &str = include_str!("data/tiny.trace");

fn read(bytes: impl AsRef<[u8]>) -> Result<Trace, TraceError> {
    Trace::from_bytes(Path::new("damaged.trace"), bytes.as_ref())
}

/// Line 4 of the trace, which is operation 1, with something else in it.
fn damaged(from: &str, to: &str) -> TraceError {
    let mut lines: Vec<String> = TINY.lines().map(str::to_owned).collect();
    assert!(lines[3].contains(from), "{from}");
    lines[3] = lines[3].replacen(from, to, 1);
    read(lines.join("\n") + "\n").expect_err(to)
}

#[track_caller]
fn fails(from: &str, to: &str, expected: &str) {
    let error = damaged(from, to);
    assert_eq!(error.line, Some(4), "{to}");
    assert_eq!(error.to_string(), "damaged.trace: line 4");
    let message = error.source().unwrap().to_string();
    assert!(message.contains(expected), "{to}: {message}");
}

#[test]
fn values_of_other_types() {
    fails("\"step\":1", "\"step\":-1", "invalid value: integer `-1`");
    fails("\"step\":1", "\"step\":1.5", "invalid type: floating point");
    fails("\"step\":1", "\"step\":99999999999", "expected u32");
    fails("\"step\":1", "\"step\":\"1\"", "invalid type: string");
    fails(
        "\"op\":\"aten::addmm\"",
        "\"op\":null",
        "invalid type: null",
    );
    fails(
        "\"phase\":\"forward\"",
        "\"phase\":\"sideways\"",
        "unknown variant",
    );
    fails("\"args\":{", "\"args\":[{", "expected");
    fails(
        "\"beta\":1",
        "\"beta\":{}",
        "an object that is not a value of a trace",
    );
    fails(
        "\"beta\":1",
        "\"beta\":{\"float\":\"one\"}",
        "\"one\" is not a float",
    );
    fails(
        "\"beta\":1",
        "\"beta\":{\"complex\":[1]}",
        "a complex number has two parts",
    );
    fails(
        "\"beta\":1",
        "\"beta\":{\"float\":\"1\",\"object\":\"X\"}",
        "not a value",
    );
    fails("\"shape\":[2]", "\"shape\":\"2\"", "invalid type: string");
    fails(
        "\"storage\":1",
        "\"storage\":-1",
        "invalid value: integer `-1`",
    );
    fails("\"sample\":[", "\"sample\":[\"x\",", "is not a number");
    fails(
        "\"sample\":[",
        "\"stats\":{\"mean\":1,\"std\":1},\"sample\":[",
        "missing field `zeros`",
    );
}

#[test]
fn members_that_are_missing_or_there_twice() {
    fails("\"phase\":\"forward\",", "", "missing field `phase`");
    fails("\"op\":\"aten::addmm\",", "", "missing field `op`");
    fails("\"shape\":[2],", "", "a tensor has a dtype and a shape");
    fails(
        "\"step\":1",
        "\"step\":1,\"step\":2",
        "duplicate field `step`",
    );
    fails(
        "\"shape\":[2]",
        "\"shape\":[2],\"shape\":[3]",
        "duplicate field `shape`",
    );
    fails(
        "\"beta\":1",
        "\"beta\":1,\"beta\":2",
        "`beta` is there twice",
    );
}

#[test]
fn numbers_that_are_too_large() {
    fails("\"beta\":1", "\"beta\":1e999", "number out of range");
    fails(
        "\"shape\":[2]",
        "\"shape\":[99999999999999999999]",
        "expected i64",
    );
    fails(
        "\"shape\":[2]",
        "\"shape\":[4294967296,4294967296]",
        "has too many elements",
    );
    fails(
        "\"shape\":[2]",
        "\"shape\":[4294967296,0,4294967296]",
        "has too many elements",
    );
    fails(
        "\"shape\":[2]",
        "\"shape\":[-2]",
        "a tensor has a size of -2",
    );
    fails(
        "\"shape\":[2]",
        "\"shape\":[2],\"strides\":[1,1]",
        "1 sizes and 2 strides",
    );
    // An integer of Python may be of any size.
    let lines = TINY.replacen("\"beta\":1", "\"beta\":123456789012345678901234567890", 1);
    assert!(read(&lines).is_ok());
    let lines = TINY.replacen("\"storage\":3", "\"storage\":18446744073709551615", 1);
    assert!(read(&lines).is_ok());
}

#[test]
fn hashes_that_are_none() {
    let hash = "1c9a12c000c6ccd1c0829628a2365ea3";
    for other in [
        "",
        "1c9a",
        "1c9a12c000c6ccd1c0829628a2365eag",
        "+c9a12c000c6ccd1c0829628a2365ea3",
    ] {
        fails(hash, other, "a hash has 32 hexadecimal digits");
    }
}

#[test]
fn nesting_that_is_too_deep() {
    for depth in [200, 100_000] {
        let list = "[".repeat(depth) + &"]".repeat(depth);
        fails("\"beta\":1", &format!("\"beta\":{list}"), "recursion limit");
        // What is not known is left out, however deep it is.
        let objects = "{\"a\":".repeat(depth) + "1" + &"}".repeat(depth);
        let line = format!("\"step\":1,\"x\":{objects}");
        assert!(read(TINY.replacen("\"step\":1", &line, 1)).is_ok());
    }
}

#[test]
fn bytes_that_are_no_text() {
    let at = TINY.find("programs.py").unwrap();
    for byte in [0xff, 0xc0, 0x00, 0x0a] {
        let mut bytes = TINY.as_bytes().to_vec();
        bytes[at] = byte;
        let error = read(&bytes).unwrap_err();
        assert_eq!(error.line, Some(3), "{byte}");
    }
    fails("\"module\":\"0\"", "\"module\":\"\\ud800\"", "hex escape");
    // Line breaks of other systems are spaces.
    assert!(read(TINY.replace('\n', "\r\n")).is_ok());
    // A mark of the byte order is none that a recorder writes.
    let error = read(format!("\u{feff}{TINY}")).unwrap_err();
    assert!(matches!(error.problem, TraceProblem::NotATrace));
}

#[test]
fn lines_that_are_elsewhere() {
    let lines: Vec<&str> = TINY.lines().collect();
    let joined = |lines: &[&str]| lines.join("\n") + "\n";
    let message = |text: String| {
        let error = read(text).unwrap_err();
        (error.line, error.problem.to_string())
    };
    let twice = message(TINY.to_owned() + TINY);
    assert_eq!(
        twice,
        (
            Some(lines.len() + 1),
            "a line follows the end of the trace".into()
        )
    );
    // Two programs that were killed wrote to one file.
    let killed = joined(&lines[..8]);
    assert_eq!(
        message(killed.clone() + &killed),
        (
            Some(9),
            "a second header: the file has more than one trace".into()
        )
    );
    let mut exchanged = lines.clone();
    exchanged.swap(5, 6);
    assert_eq!(
        message(joined(&exchanged)),
        (
            Some(6),
            "operation 4 follows operation 2: lines are missing".into()
        )
    );
    let mut without = lines.clone();
    without.remove(lines.len() - 2);
    assert_eq!(
        message(joined(&without)),
        (
            Some(lines.len() - 1),
            "the last line says 22 operations, the trace has 21".into()
        )
    );
    let later = TINY.replacen("\"forward\":7", "\"forward\":9", 1);
    assert_eq!(
        message(later),
        (
            Some(12),
            "operation 9 is the backward of operation 9, which is not before it".into()
        )
    );
    assert_eq!(
        message(TINY.replacen("{\"model\"", "{\"modle\"", 1)).0,
        Some(2)
    );
}

/// Numbers of storages that are met in another order say nothing wrong: only what is shared counts.
#[test]
fn storages_in_another_order() {
    let other = read(
        TINY.replace("\"storage\":1,", "\"storage\":77,")
            .replace("\"storage\":0,", "\"storage\":1,"),
    );
    let comparison = Comparison::new(&read(TINY).unwrap(), &other.unwrap());
    assert!(comparison.is_same());
    assert_eq!(comparison.departed.b, 0);
}

/// What a killed program leaves ends anywhere.
#[test]
fn every_part_is_read() {
    let header = TINY.find('\n').unwrap() + 1;
    let whole = read(TINY).unwrap();
    for length in (header..TINY.len()).step_by(61) {
        let part = read(&TINY[..length]).unwrap();
        assert!(part.len() <= whole.len());
        let comparison = Comparison::new(&whole, &part);
        assert!(
            !comparison
                .departures
                .iter()
                .any(|departure| departure.a.is_some() && departure.b.is_some()),
            "{length}: {:#?}",
            comparison.departures
        );
    }
}
