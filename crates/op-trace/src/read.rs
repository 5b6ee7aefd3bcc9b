//! Reads a trace line by line.

use crate::{Environment, Operation, SharedStr, Trace, TraceError, TraceProblem};
use serde::Deserialize;
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

const FORMAT: &str = "tch-init trace";
const HASH: &str = "rows-sha256-128";
/// A line of an operation on a list of 10,000 tensors has 2 MB.
const MAX_LINE: usize = 64 << 20;
/// About 1 KB of memory each.
const MAX_OPERATIONS: usize = 4_000_000;

#[derive(Deserialize)]
struct Header {
    format: String,
    version: u64,
    language: String,
    hash: String,
    #[serde(default)]
    values: Option<String>,
    environment: Environment,
}

impl Trace {
    /// Reads a trace, line by line.
    ///
    /// A trace that ends without its last line, or within a line, is that of a program that was killed: `end` is `None`.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is not a trace, or is damaged: the error names the line.
    pub fn read(path: &Path) -> Result<Trace, TraceError> {
        trace(path)
    }
}

fn trace(path: &Path) -> Result<Trace, TraceError> {
    let failed = |line, problem: TraceProblem| TraceError {
        path: path.to_owned(),
        line,
        problem,
    };
    let file = File::open(path).map_err(|error| failed(None, error.into()))?;
    let mut lines = Lines {
        input: BufReader::with_capacity(1 << 16, file),
        buffer: Vec::new(),
        number: 0,
    };
    let header = header(&mut lines).map_err(|problem| failed(None, problem))?;
    let mut trace = Trace {
        language: header.language,
        values: header.values,
        environment: header.environment,
        models: Vec::new(),
        operations: Vec::new(),
        end: None,
    };
    let mut strings = HashSet::new();
    while let Some(complete) = lines
        .next()
        .map_err(|problem| failed(Some(lines.number), problem))?
    {
        match add(&mut trace, &lines.buffer, &mut strings) {
            Ok(()) => {}
            // A killed program may leave a part of a line.
            Err(_) if !complete && trace.end.is_none() => break,
            Err(problem) => return Err(failed(Some(lines.number), problem)),
        }
    }
    Ok(trace)
}

fn header(lines: &mut Lines) -> Result<Header, TraceProblem> {
    match lines.next() {
        Ok(None) => return Err(TraceProblem::Empty),
        Ok(Some(complete)) => {
            let start = br#"{"format":""#;
            let shared = start.len().min(lines.buffer.len());
            if lines.buffer[..shared] != start[..shared] {
                return Err(TraceProblem::NotATrace);
            }
            if !complete {
                return Err(TraceProblem::Empty);
            }
        }
        Err(TraceProblem::LineTooLong(_)) => return Err(TraceProblem::NotATrace),
        Err(problem) => return Err(problem),
    }
    #[derive(Deserialize)]
    struct Version {
        format: String,
        version: u64,
    }
    match serde_json::from_slice::<Version>(&lines.buffer) {
        Ok(Version { format, version }) if format == FORMAT && version != 1 => {
            return Err(TraceProblem::Version(version));
        }
        _ => {}
    }
    match serde_json::from_slice::<Header>(&lines.buffer) {
        Ok(header) if header.format != FORMAT || header.version != 1 => {
            Err(TraceProblem::NotATrace)
        }
        Ok(header) if header.hash != HASH => Err(TraceProblem::Hash(header.hash)),
        Ok(header) => Ok(header),
        Err(_) => Err(TraceProblem::NotATrace),
    }
}

fn add(
    trace: &mut Trace,
    line: &[u8],
    strings: &mut HashSet<SharedStr>,
) -> Result<(), TraceProblem> {
    if trace.end.is_some() {
        return Err(TraceProblem::AfterEnd);
    }
    // The first member says what a line is.
    if line.starts_with(br#"{"i":"#) {
        let mut operation: Operation = serde_json::from_slice(line)?;
        let expected = trace.operations.len();
        if operation.index != expected {
            return Err(TraceProblem::Missing {
                expected,
                found: operation.index,
            });
        }
        if expected >= MAX_OPERATIONS {
            return Err(TraceProblem::TooManyOperations(MAX_OPERATIONS));
        }
        operation.share(|text| match strings.get(text) {
            Some(known) => *text = known.clone(),
            None => {
                strings.insert(text.clone());
            }
        });
        trace.operations.push(operation);
    } else if line.starts_with(br#"{"model":"#) {
        trace.models.push(serde_json::from_slice(line)?);
    } else if line.starts_with(br#"{"end":"#) {
        trace.end = Some(serde_json::from_slice(line)?);
    } else {
        // Of a line that is not JSON, that is said.
        serde_json::from_slice::<serde::de::IgnoredAny>(line)?;
        return Err(TraceProblem::UnknownLine);
    }
    Ok(())
}

struct Lines {
    input: BufReader<File>,
    buffer: Vec<u8>,
    number: usize,
}

impl Lines {
    /// Reads the next line and returns whether it is complete.
    fn next(&mut self) -> Result<Option<bool>, TraceProblem> {
        self.buffer.clear();
        self.number += 1;
        let limit = MAX_LINE as u64 + 1;
        let read = self
            .input
            .by_ref()
            .take(limit)
            .read_until(b'\n', &mut self.buffer)?;
        let complete = self.buffer.last() == Some(&b'\n');
        if !complete && read > MAX_LINE {
            return Err(TraceProblem::LineTooLong(MAX_LINE));
        }
        Ok((read > 0).then_some(complete))
    }
}
