//! Compares traces of a small program (tests/python/trace/programs.py) and changes of them.

use op_trace::{Class, Comparison, Outcome, Trace, Verdict};

const TINY: &str = include_str!("data/tiny.trace");

fn read(text: &str) -> Trace {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    Trace::read(file.path()).unwrap()
}

fn compare(b: &str) -> Comparison {
    Comparison::new(&read(TINY), &read(b))
}

#[test]
fn equal_traces_have_no_difference() {
    let comparison = compare(TINY);
    assert!(comparison.is_same());
    assert_eq!(comparison.outcome, Outcome::Equal);
    assert_eq!((comparison.departed.a, comparison.departed.b), (0, 0));
}

#[test]
fn another_probability_is_named() {
    let comparison = compare(include_str!("data/tiny-p.trace"));
    let [departure] = &comparison.departures[..] else {
        panic!("{:?}", comparison.departures);
    };
    assert_eq!(departure.class, Class::Argument("p".to_owned()));
    assert_eq!(departure.details[0], "argument p: 0.5 in A, 0.75 in B");
    assert_eq!(departure.a.as_ref().unwrap().module.as_deref(), Some("1"));
    // Operation 2 allocates, 3 draws another mask.
    let verdicts: Vec<Verdict> = (1..4)
        .map(|index| comparison.verdicts.b.of(index))
        .collect();
    assert_eq!(
        verdicts,
        [Verdict::Shared, Verdict::Nothing, Verdict::Departed]
    );
    assert_eq!(comparison.outcome, Outcome::Differs);
}

#[test]
fn another_learning_rate_is_one_difference() {
    let comparison = compare(include_str!("data/tiny-lr.trace"));
    let [departure] = &comparison.departures[..] else {
        panic!("{:?}", comparison.departures);
    };
    assert_eq!(departure.class, Class::Optimizer("alpha".to_owned()));
    assert_eq!(departure.similar, 1);
    assert_eq!(
        departure.a.as_ref().unwrap().parameter.as_deref(),
        Some("0.weight")
    );
}

/// Results that differ without another argument are not blamed on the program.
#[test]
fn the_environment_is_named_before_the_program() {
    let update = TINY
        .lines()
        .rfind(|line| line.contains("\"aten::add_\""))
        .unwrap();
    let results = &update[update.find("\"results\"").unwrap()..];
    let hash = results.split("\"hash\":\"").nth(1).unwrap();
    let hash = hash.split('"').next().unwrap();
    let other = TINY.replace(hash, "00000000000000000000000000000001");
    let comparison = compare(&other);
    assert_eq!(comparison.departures[0].class, Class::Unknown);
    let comparison = compare(&other.replacen("\"threads\":1", "\"threads\":7", 1));
    assert_eq!(comparison.departures[0].class, Class::Environment);
    assert_eq!(comparison.environment[0].name, "threads");
    assert_eq!(comparison.environment[0].b.as_deref(), Some("7"));
}

/// A difference that the operations do not show is not passed over.
#[test]
fn another_outcome_without_a_cause_is_reported() {
    let end = TINY.lines().last().unwrap();
    let hash = end
        .split("\"hash\":\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let comparison =
        compare(&TINY.replace(end, &end.replace(hash, "00000000000000000000000000000001")));
    assert!(comparison.departures.is_empty());
    assert_eq!(comparison.outcome, Outcome::Differs);
    assert!(!comparison.is_same());
}

#[test]
fn a_killed_program_is_compared() {
    let end = TINY.rfind("{\"end\"").unwrap();
    let comparison = compare(&TINY[..end]);
    assert!(comparison.is_same());
    assert_eq!(comparison.outcome, Outcome::Unknown);
}
