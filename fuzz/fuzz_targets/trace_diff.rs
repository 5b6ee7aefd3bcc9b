#![no_main]

use op_trace::{Comparison, Trace};
use std::fmt::Write;
use std::path::Path;

const HEADER: &str = r#"{"format":"tch-init trace","version":1,"language":"python","hash":"rows32-sha256-128","environment":{"threads":"#;
const OPERATIONS: &[&str] = &[
    "addmm", "mm", "add", "mul", "relu", "gelu", "view", "t", "transpose", "sum", "mean", "bernoulli_", "div_", "detach", "empty",
    "native_batch_norm", "nll_loss_forward", "_to_copy", "clone", "add_", "addcmul_", "zero_", "_foreach_add_", "expand",
];
const NAMES: &[&str] = &["", "", "", "w", "b", "w.grad", "b.grad", "running_mean"];

/// Bytes as small numbers; zeros when they are used up.
struct Bytes<'a>(std::slice::Iter<'a, u8>);

impl Bytes<'_> {
    fn below(&mut self, limit: usize) -> usize {
        self.0.next().map_or(0, |byte| usize::from(*byte) % limit)
    }
}

/// A tensor with one of few values, so that programs share them.
fn tensor(bytes: &mut Bytes<'_>) -> String {
    let value = bytes.below(96);
    let name = NAMES[bytes.below(NAMES.len())];
    let mut text = format!(r#"{{"dtype":"{}","shape":[{}]"#, if value % 13 == 0 { "int64" } else { "float32" }, value % 3);
    write!(text, r#","storage":{},"hash":"{value:032x}""#, value / 2).unwrap();
    if !name.is_empty() {
        write!(text, r#","name":"{name}""#).unwrap();
    }
    if value % 7 == 0 {
        write!(text, r#","all":{value}"#).unwrap();
    } else if value % 5 == 0 {
        write!(text, r#","sample":[{value}.5,{{"float":"nan"}}]"#).unwrap();
    }
    text + "}"
}

fn trace(bytes: &[u8]) -> String {
    let mut bytes = Bytes(bytes.iter());
    let mut text = format!("{HEADER}{}}}}}\n", bytes.below(2));
    if bytes.below(2) == 1 {
        let named: Vec<String> = ["w", "b"]
            .map(|name| format!(r#"{{"name":"{name}","tensor":{},"requires_grad":{}}}"#, tensor(&mut bytes), bytes.below(2) == 0))
            .into();
        writeln!(text, r#"{{"model":"","class":"M","names":[{}]}}"#, named.join(",")).unwrap();
    }
    let (mut index, mut step) = (0, 1);
    while bytes.0.len() > 0 {
        let name = OPERATIONS[bytes.below(OPERATIONS.len())];
        let flags = bytes.below(256);
        step += usize::from(flags & 7 == 7);
        let phase = ["forward", "forward", "backward", "optimizer"][flags >> 3 & 3];
        write!(text, r#"{{"i":{index},"op":"aten::{name}","step":{step},"phase":"{phase}""#).unwrap();
        if flags & 32 != 0 {
            write!(text, r#","module":"m{}","eval":{},"at":"a.py:{}""#, flags & 1, flags & 2 != 0, flags & 4).unwrap();
        }
        if phase == "backward" {
            let node = if flags & 64 != 0 { "AccumulateGrad" } else { "AddmmBackward0" };
            write!(text, r#","grad":"off","node":"{node}""#).unwrap();
            if index > 0 {
                write!(text, r#","forward":{}"#, bytes.below(index)).unwrap();
            }
        }
        text += r#","args":{"#;
        for argument in ["self", "other", "weight"].iter().take(bytes.below(4)) {
            write!(text, r#""{argument}":{},"#, tensor(&mut bytes)).unwrap();
        }
        if name.starts_with("_foreach") {
            write!(text, r#""tensors":[{},{}],"#, tensor(&mut bytes), tensor(&mut bytes)).unwrap();
        }
        let scalar = bytes.below(8);
        write!(text, r#""dim":{},"eps":{}}}"#, scalar as i64 - 4, ["0.1", "null", "[1,-1]", "true"][scalar % 4]).unwrap();
        if name == "bernoulli_" {
            let state = |bytes: &mut Bytes<'_>| format!(r#"{{"seed":{},"state":"{:032x}"}}"#, bytes.below(2), bytes.below(9));
            write!(text, r#","generator":[{},{}]"#, state(&mut bytes), state(&mut bytes)).unwrap();
        }
        if flags & 128 == 0 {
            write!(text, r#","results":[{}]"#, tensor(&mut bytes)).unwrap();
        }
        if name.ends_with('_') {
            write!(text, r#","writes":{{"self":{}}}"#, tensor(&mut bytes)).unwrap();
        }
        text += "}\n";
        index += 1;
    }
    text
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    // The second program is the first with some bytes changed, or another one.
    let second: Vec<u8> = match second.first() {
        Some(byte) if byte % 2 == 0 => {
            let mut changed = first.to_vec();
            for change in second[1..].chunks_exact(2).take(4) {
                let length = changed.len().max(1);
                if let Some(place) = changed.get_mut(usize::from(change[0]) % length) {
                    *place = change[1];
                }
            }
            changed
        }
        _ => second.to_vec(),
    };
    let [a, b] = [first, &second[..]].map(|bytes| {
        let text = trace(bytes);
        Trace::from_bytes(Path::new("fuzz.trace"), text.as_bytes()).unwrap_or_else(|error| panic!("{:?}\n{text}", error))
    });
    let there = Comparison::new(&a, &b);
    let back = Comparison::new(&b, &a);
    assert_eq!((there.departed.a, there.departed.b), (back.departed.b, back.departed.a));
    assert_eq!((there.operations.a, there.outcome), (back.operations.b, back.outcome));
    for departure in &there.departures {
        assert!(!departure.class.to_string().is_empty() && !departure.details.is_empty());
    }
});
