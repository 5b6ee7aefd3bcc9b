//! Traces of long runs are compared in bounded memory: less than 200 bytes for each operation of each trace.
//!
//! The only test of its program, since the memory is that of the process. `OP_TRACE_LINES=10000000 cargo test --release -p op-trace
//! --test large -- --nocapture` is one of the size that the documentation states.

use op_trace::{Class, Comparison, Trace, ValueHash};
use std::collections::HashMap;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

const TINY: &str = include_str!("data/tiny.trace");
/// Bytes of memory for each operation of each trace, and for the program.
const BOUND: usize = 200;
const PROGRAM: usize = 48 << 20;

/// A piece of a line: what stays, or what changes with the step.
enum Piece<'a> {
    Text(&'a str),
    Index(usize),
    Step,
    Hash(&'a str),
}

fn pieces<'a>(line: &'a str) -> Vec<Piece<'a>> {
    let mut found = Vec::new();
    let mut rest = line;
    let number = |text: &'a str| text.find(|c: char| !c.is_ascii_digit()).unwrap();
    while !rest.is_empty() {
        let next = [
            "{\"i\":",
            "\"forward\":",
            "\"step\":",
            "\"hash\":\"",
            "\"state\":\"",
        ]
        .into_iter()
        .filter_map(|mark| rest.find(mark).map(|at| (at + mark.len(), mark)))
        // The phase has the word, too.
        .min();
        let Some((at, mark)) = next else {
            found.push(Piece::Text(rest));
            break;
        };
        found.push(Piece::Text(&rest[..at]));
        rest = &rest[at..];
        let length = match mark {
            "\"hash\":\"" | "\"state\":\"" => 32,
            _ => number(rest),
        };
        found.push(match mark {
            "\"step\":" => Piece::Step,
            "\"hash\":\"" | "\"state\":\"" => Piece::Hash(&rest[..length]),
            _ => Piece::Index(rest[..length].parse().unwrap()),
        });
        rest = &rest[length..];
    }
    found
}

/// The tiny program in a loop: `count` operations. From `departs` on, the learning rate is another, and so is what follows.
fn write(path: &Path, count: usize, departs: usize) {
    let lines: Vec<&str> = TINY.lines().collect();
    let operations: Vec<Vec<Piece<'_>>> = lines[2..lines.len() - 1]
        .iter()
        .map(|line| pieces(line))
        .collect();
    // What a step starts with is what the last one ended with.
    let of = |name: &str, line: &str| {
        let at = line
            .rfind(&format!("\"name\":\"{name}\",\"hash\":\""))
            .unwrap();
        line[at..].split('"').nth(7).unwrap().to_owned()
    };
    let mut carried = HashMap::new();
    for name in ["0.weight", "0.bias"] {
        carried.insert(of(name, lines[1]), of(name, lines[lines.len() - 1]));
    }
    let states: Vec<&str> = lines
        .iter()
        .find(|line| line.contains("\"state\""))
        .unwrap()
        .split("\"state\":\"")
        .skip(1)
        .map(|rest| &rest[..32])
        .collect();
    carried.insert(states[0].to_owned(), states[1].to_owned());
    // The data and the draws do not depend on the weights.
    let independent = lines[2..].iter().take(5).flat_map(|line| {
        let from_data = line.find("\"mat1\"").map(|at| &line[at..at + 120]);
        let drawn = Some(*line).filter(|line| line.contains("bernoulli") || line.contains("div_"));
        from_data.into_iter().chain(drawn).collect::<Vec<_>>()
    });
    let independent: Vec<&str> = independent
        .flat_map(|text| text.split('"').filter(|word| word.len() == 32))
        .collect();
    let hash = |text: &str, step: usize| {
        let is_last = carried.values().any(|last| last == text);
        let (text, step) = match carried.get(text) {
            Some(_) if step == 0 => return text.to_owned(),
            Some(last) => (last.as_str(), step - 1),
            None => (text, step),
        };
        let other = step >= departs && !independent.contains(&text) && !states.contains(&text);
        // The step's own gradients come before the departure.
        let other =
            other && (step > departs || is_last || carried.values().any(|last| last == text));
        ValueHash::of(format!("{text} {step} {other}").as_bytes()).to_string()
    };
    let mut out = BufWriter::new(std::fs::File::create(path).unwrap());
    writeln!(out, "{}\n{}", lines[0], lines[1]).unwrap();
    for index in 0..count {
        let step = index / operations.len();
        let first = step * operations.len();
        for piece in &operations[index % operations.len()] {
            match piece {
                Piece::Text(text) if step >= departs => {
                    out.write_all(text.replace("\"alpha\":-0.1", "\"alpha\":-0.2").as_bytes())
                }
                Piece::Text(text) => out.write_all(text.as_bytes()),
                Piece::Index(index) => write!(out, "{}", first + index),
                Piece::Step => write!(out, "{}", step + 1),
                Piece::Hash(text) => out.write_all(hash(text, step).as_bytes()),
            }
            .unwrap();
        }
        out.write_all(b"\n").unwrap();
    }
    out.flush().unwrap();
}

/// The largest memory that the process had, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<usize>()
        .unwrap()
        << 10
}

#[test]
#[cfg(target_os = "linux")]
fn long_traces_are_compared_in_bounded_memory() {
    let count = std::env::var("OP_TRACE_LINES").map_or(100_000, |count| count.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ["a.trace", "b.trace"].map(|name| folder.path().join(name));
    let departs = count / 22 / 2;
    write(&a, count, usize::MAX);
    write(&b, count, departs);
    let size = a.metadata().unwrap().len();
    let start = Instant::now();
    let (a, b) = std::thread::scope(|scope| {
        let b = scope.spawn(|| Trace::read(&b).unwrap());
        (Trace::read(&a).unwrap(), b.join().unwrap())
    });
    let read = (start.elapsed(), peak());
    assert_eq!((a.len(), b.len()), (count, count));
    let comparison = Comparison::new(&a, &b);
    println!(
        "{count} operations, {size} bytes a trace: read in {:.1?} with {} MiB, compared in {:.1?} with {} MiB",
        read.0,
        read.1 >> 20,
        start.elapsed() - read.0,
        peak() >> 20
    );
    assert!(peak() < 2 * BOUND * count + PROGRAM, "{} bytes", peak());
    // Twice the rate: one cause, in the optimizer's step, for both parameters.
    let [departure] = &comparison.departures[..] else {
        panic!("{:#?}", comparison.departures);
    };
    assert_eq!(departure.class, Class::Optimizer("alpha".to_owned()));
    let place = departure.a.as_ref().unwrap();
    assert_eq!(
        (place.step as usize, place.phase),
        (departs + 1, "optimizer")
    );
    assert_eq!(departure.similar, 1);
    let equal = Comparison::new(&a, &a);
    assert!(equal.departures.is_empty());
    assert_eq!(equal.departed.a, 0);
}
