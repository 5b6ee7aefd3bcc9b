#![no_main]

use op_trace::{Comparison, Outcome, Trace};
use std::path::Path;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let trace = match Trace::from_bytes(Path::new("fuzz.trace"), bytes) {
        Ok(trace) => trace,
        Err(error) => {
            assert!(error.to_string().starts_with("fuzz.trace"));
            return;
        }
    };
    let mut count = 0;
    for operation in trace.operations() {
        let operation = operation.unwrap();
        assert_eq!(operation.index, count);
        assert_eq!(trace.operation(count).unwrap().index, count);
        count += 1;
    }
    assert_eq!(count, trace.len());
    let comparison = Comparison::new(&trace, &trace);
    assert!(comparison.departures.is_empty(), "{:?}", comparison.departures);
    assert_eq!((comparison.departed.a, comparison.departed.b), (0, 0));
    assert_ne!(comparison.outcome, Outcome::Differs);
});
