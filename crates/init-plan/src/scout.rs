//! How often truncated normal draws are repeated, which processes count together without waiting for each other.
//!
//! Where a step begins depends on how often those before it are drawn again. Every process counts a part of the
//! elements first, and appends what it has found to a file; parts that it finds there it does not count. A process that
//! sees nothing of the others counts all by itself, to the same numbers.

use crate::part::Part;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use torch_rng::{Engine, Mt19937, Target, TruncNormal};

/// The name of the file.
pub(crate) const SCOUT: &str = "tch-init.scout";

/// The elements of a part, at least, and the most parts of a tensor.
const PART: u64 = 1 << 22;
const MAX_PARTS: u64 = 64;
/// The elements from which on what has been counted is worth a line.
const WORTH: u64 = 1 << 18;

/// What is known of the passes of all steps.
pub(crate) struct Scout {
    /// The file; `None` once it cannot be read or written, after which this process counts alone.
    file: Option<File>,
    /// How far it has been read.
    read: u64,
    /// What a line is about besides its step: plan, seed and version.
    run: String,
    part: Part,
    /// Passes by step, the number of parts, and the part.
    passes: BTreeMap<(usize, u64, u64), u64>,
}

impl Scout {
    pub(crate) fn open(folder: &Path, part: Part, run: &Value) -> Scout {
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true);
        Scout {
            file: file.open(folder.join(SCOUT)).ok(),
            read: 0,
            run: run.to_string(),
            part,
            passes: BTreeMap::new(),
        }
    }

    /// The passes of a step. `start` is the generator before it.
    pub(crate) fn count(
        &mut self,
        step: usize,
        draw: &TruncNormal,
        engine: &Engine,
        start: &Mt19937,
        target: Target<'_>,
    ) -> u64 {
        let numel = target.numel();
        let parts = (numel / PART).clamp(1, MAX_PARTS);
        // Others begin elsewhere.
        let first = u128::from(self.part.index()) * u128::from(parts);
        let first = (first / u128::from(self.part.count())) as u64;
        let mut most = 0;
        for part in (first..parts).chain(0..first) {
            let key = (step, parts, part);
            if numel >= WORTH && !self.passes.contains_key(&key) {
                self.reading(Scout::refresh);
            }
            let known = self.passes.get(&key).copied();
            let passes = known.unwrap_or_else(|| {
                let at =
                    |part: u64| (u128::from(numel) * u128::from(part) / u128::from(parts)) as u64;
                let passes = draw.passes(engine, start, target, at(part)..at(part + 1));
                self.passes.insert(key, passes);
                if numel >= WORTH {
                    self.reading(|scout, file| file.write_all(scout.line(key, passes).as_bytes()));
                }
                passes
            });
            most = most.max(passes);
        }
        most
    }

    /// Works with the file. It saves time, and nothing depends on it: after an error it is left alone.
    fn reading(&mut self, work: impl FnOnce(&mut Scout, &mut File) -> io::Result<()>) {
        self.file = self.file.take().and_then(|mut file| {
            let done = work(self, &mut file);
            done.is_ok().then_some(file)
        });
    }

    fn line(&self, (step, parts, part): (usize, u64, u64), passes: u64) -> String {
        let words = format!("{step} {parts} {part} {passes}");
        let sum = crc32fast::hash(format!("{} {words}", self.run).as_bytes());
        format!("{words} {sum:08x}\n")
    }

    /// Reads what others have appended.
    fn refresh(&mut self, file: &mut File) -> io::Result<()> {
        let length = file.metadata()?.len();
        if length <= self.read {
            return Ok(());
        }
        file.seek(SeekFrom::Start(self.read))?;
        let mut bytes = Vec::new();
        file.take(length - self.read).read_to_end(&mut bytes)?;
        // The last line may still be written.
        let whole = bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        for line in bytes[..whole].split_inclusive(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(line);
            let mut numbers = line.split(' ').map(str::parse::<u64>);
            let mut next = || numbers.next().and_then(Result::ok);
            if let (Some(step), Some(parts), Some(part), Some(passes)) =
                (next(), next(), next(), next())
                && passes > 0
            {
                let key = (step as usize, parts, part);
                // Lines that were written over each other, or by another run, are none.
                if *line == self.line(key, passes) {
                    self.passes.insert(key, passes);
                }
            }
        }
        self.read += whole as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::fs;
    use torch_rng::Dtype;

    const DRAW: TruncNormal = TruncNormal {
        mean: 0.0,
        std: 0.02,
        a: -0.05,
        b: 0.06,
    };

    fn count(scout: &mut Scout) -> u64 {
        let target = Target::new(Dtype::Bfloat16, &[3 * PART + 7]);
        let start = Mt19937::new(1);
        scout.count(5, &DRAW, &Engine::default(), &start, target)
    }

    #[test]
    fn what_one_process_has_counted_others_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(SCOUT);
        let open = |part: &str, run: &Value| Scout::open(folder.path(), part.parse().unwrap(), run);
        let run = json!({"seed": "1"});
        let target = Target::new(Dtype::Bfloat16, &[3 * PART + 7]);
        let (engine, start) = (Engine::default(), Mt19937::new(1));
        let expected = DRAW.passes(&engine, &start, target, 0..target.numel());
        let mut second = open("1/2", &run);
        assert_eq!(count(&mut second), expected);
        let text = fs::read_to_string(&path).unwrap();
        let parts: Vec<&str> = text.lines().map(|line| &line[..5]).collect();
        assert_eq!(parts, ["5 3 1", "5 3 2", "5 3 0"]);
        assert_eq!(count(&mut open("0/2", &run)), expected);
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        // What is there is not counted again, so that it would be seen if it were wrong.
        let line = second.line((5, 3, 2), 99);
        fs::write(&path, [&text, &*line].concat()).unwrap();
        assert_eq!(count(&mut open("0/2", &run)), 99);
        // Of another run, not whole, overwritten: counted again.
        assert_eq!(count(&mut open("0/2", &json!({"seed": "2"}))), expected);
        for damaged in [
            line.trim_end(),
            &line.replace("99", "98"),
            &line[1..],
            "\n \u{fffd}\n5 3 2\n5 3 2 99 \n",
            "",
        ] {
            fs::write(&path, damaged).unwrap();
            assert_eq!(count(&mut open("0/2", &run)), expected, "{damaged:?}");
        }
        // No file can be written here.
        let mut alone = Scout::open(&path, Part::WHOLE, &run);
        assert!(alone.file.is_none() && count(&mut alone) == expected);
    }
}
