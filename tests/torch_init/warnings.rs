//! What PyTorch says with `warnings.warn` goes to the log here.

use super::support::{filled, seeded, values};
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::cell::{Cell, RefCell};
use std::panic::AssertUnwindSafe;
use std::sync::Once;
use tch::{Kind, Tensor};
use tch_init::init::*;
use tch_init::{Generator, InitError};

/// Keeps each thread's records to itself, so that tests that run at once do not mix theirs.
struct Capture;

thread_local! {
    static RECORDS: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
    static PANICS: Cell<bool> = const { Cell::new(false) };
}

impl Log for Capture {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if PANICS.get() {
            panic!("logger: {}", record.args());
        }
        let line = (record.level(), record.args().to_string());
        RECORDS.with_borrow_mut(|records| records.push(line));
    }

    fn flush(&self) {}
}

/// What the log gets while `call` runs.
fn logged<T>(call: impl FnOnce() -> T) -> (T, Vec<(Level, String)>) {
    install();
    RECORDS.take();
    let result = call();
    (result, RECORDS.take())
}

fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        log::set_logger(&Capture).unwrap();
        log::set_max_level(LevelFilter::Trace);
    });
}

/// A draw that tch-init leaves to libtorch is logged. A logger that panics then neither aborts the
/// process nor leaves the generator locked or moved.
#[test]
fn panicking_logger_unwinds_and_leaves_the_generator_usable() {
    install();
    let mut generator = seeded(1);
    let mut tensor = filled(&[1000], Kind::Float);
    PANICS.set(true);
    let panic = std::panic::catch_unwind(AssertUnwindSafe(|| {
        uniform_(&mut tensor, 1.0, 0.0, Some(&mut generator))
    }));
    PANICS.set(false);
    let message = panic.unwrap_err();
    let message = message.downcast_ref::<String>().unwrap();
    assert!(message.starts_with("logger: "), "{message}");
    assert_eq!(generator.get_state(), seeded(1).get_state());
    normal_(&mut tensor, 0.0, 1.0, Some(&mut generator)).unwrap();
}

/// One warning that names the function and the shape, nothing drawn, no error; and none of it on
/// a tensor that has elements.
fn assert_warns_of_zero_elements(
    name: &str,
    init: impl Fn(&mut Tensor, Option<&mut Generator>) -> Result<(), InitError>,
) {
    for shape in [&[0, 1][..], &[3, 0], &[2, 2, 0], &[0]] {
        let mut generator = seeded(1);
        let mut tensor = filled(shape, Kind::Float);
        let (result, records) = logged(|| init(&mut tensor, Some(&mut generator)));
        result.unwrap();
        assert_eq!(generator.get_state(), seeded(1).get_state(), "{name} drew");
        let [(Level::Warn, message)] = &records[..] else {
            panic!("{records:?}");
        };
        for part in [
            name,
            "zero-element tensors is a no-op",
            &format!("{shape:?}"),
        ] {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
    }
    let (result, records) =
        logged(|| init(&mut filled(&[1, 1], Kind::Float), Some(&mut seeded(1))));
    result.unwrap();
    assert_eq!(records, []);
}

/// Upstream: `test_kaiming_uniform_warning_on_0element_tensor`.
#[test]
fn kaiming_uniform_warning_on_0element_tensor() {
    assert_warns_of_zero_elements("kaiming_uniform_", |t, g| {
        kaiming_uniform_(t, FanMode::FanIn, Nonlinearity::default(), g)
    });
}

/// Upstream: `test_kaiming_normal_warning_on_0element_tensor`.
#[test]
fn kaiming_normal_warning_on_0element_tensor() {
    assert_warns_of_zero_elements("kaiming_normal_", |t, g| {
        kaiming_normal_(t, FanMode::FanIn, Nonlinearity::default(), g)
    });
}

/// The others do nothing to tensors without elements, in silence, and Xavier on fans that add up
/// to 0 fails as Python does.
#[test]
fn nothing_else_warns_of_zero_elements() {
    let mut generator = seeded(1);
    let g = &mut generator;
    let empty = || filled(&[0, 4], Kind::Float);
    let (result, records) = logged(|| -> Result<(), InitError> {
        uniform_(&mut empty(), 0.0, 1.0, Some(g))?;
        normal_(&mut empty(), 0.0, 1.0, Some(g))?;
        trunc_normal_(&mut empty(), 0.0, 1.0, -2.0, 2.0, Some(g))?;
        trunc_normal_(&mut empty(), 0.0, 1.0, 2.0, 3.0, Some(g))?;
        constant_(&mut empty(), 1.0)?;
        ones_(&mut empty())?;
        zeros_(&mut empty())?;
        eye_(&mut empty())?;
        xavier_uniform_(&mut empty(), 1.0, Some(g))?;
        xavier_normal_(&mut empty(), 1.0, Some(g))?;
        orthogonal_(&mut empty(), 1.0, Some(g))
    });
    result.unwrap();
    assert_eq!(records, []);
    assert_eq!(generator.get_state(), seeded(1).get_state());

    let mut none = filled(&[0, 0], Kind::Float);
    for error in [
        xavier_uniform_(&mut none, 1.0, None).unwrap_err(),
        xavier_normal_(&mut none, 1.0, None).unwrap_err(),
    ] {
        assert!(
            matches!(
                error,
                InitError::Argument {
                    argument: "fan_in + fan_out",
                    ..
                }
            ),
            "{error:?}"
        );
        assert!(error.to_string().contains("[0, 0]"), "{error}");
    }
}

/// PyTorch warns of a mean more than two std outside the bounds; at two std it does not yet.
#[test]
fn trunc_normal_warns_of_a_mean_far_outside() {
    let init = |mean: f64, std: f64| {
        let mut tensor = filled(&[50], Kind::Float);
        let generator = &mut seeded(2);
        let (result, records) =
            logged(|| trunc_normal_(&mut tensor, mean, std, -2.0, 2.0, Some(generator)));
        result.unwrap();
        assert!(values(&tensor).iter().all(|x| (-2.0..=2.0).contains(x)));
        records
    };
    for (mean, std) in [(0.0, 1.0), (4.0, 1.0), (-4.0, 1.0), (3.0, 0.5), (-3.0, 0.5)] {
        assert_eq!(init(mean, std), [], "mean {mean}");
    }
    for (mean, std) in [(4.25, 1.0), (-4.25, 1.0), (3.5, 0.5), (-3.5, 0.5)] {
        let records = init(mean, std);
        let [(Level::Warn, message)] = &records[..] else {
            panic!("mean {mean}: {records:?}");
        };
        for part in [
            "trunc_normal_",
            "more than 2 std",
            &mean.to_string(),
            "[-2, 2]",
        ] {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
    }
}
