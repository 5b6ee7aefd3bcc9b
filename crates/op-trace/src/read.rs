//! Reads a trace line by line.

use crate::calls::Calls;
use crate::compare::computes;
use crate::lines::{Lines, operation};
use crate::source::Source;
use crate::trace::Places;
use crate::{End, Environment, Model, Trace, TraceError, TraceProblem, ValueHash};
use serde::Deserialize;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

const FORMAT: &str = "tch-init trace";
const HEADER: &[u8] = br#"{"format":""#;
const OPERATION: &[u8] = br#"{"i":"#;

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
    /// Reads a trace, line by line. Every line is checked; of an operation, about 100 bytes stay in memory.
    ///
    /// A trace that ends without its last line, or within a line, is that of a program that was killed: `end` is `None`.
    /// What comes from a pipe is held in memory as it is.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is not a trace, or is damaged: the error names the line.
    pub fn read(path: &Path) -> Result<Trace, TraceError> {
        match File::open(path).and_then(Source::open) {
            Ok(source) => trace(path, source),
            Err(error) => Err(TraceError {
                path: path.to_owned(),
                line: None,
                problem: error.into(),
            }),
        }
    }

    /// Reads a trace from memory. `path` is what errors name.
    ///
    /// # Errors
    ///
    /// As [`Trace::read`].
    ///
    /// ```
    /// use op_trace::Trace;
    ///
    /// let error = Trace::from_bytes("a.trace".as_ref(), *b"no trace\n").unwrap_err();
    /// assert!(error.problem.to_string().starts_with("not a trace"));
    /// ```
    pub fn from_bytes(path: &Path, bytes: impl Into<Arc<[u8]>>) -> Result<Trace, TraceError> {
        trace(path, Source::Bytes(bytes.into()))
    }
}

fn trace(path: &Path, source: Source) -> Result<Trace, TraceError> {
    let failed = |line, problem: TraceProblem| TraceError {
        path: path.to_owned(),
        line,
        problem,
    };
    let reader = source.clone();
    let mut lines = Lines::new(reader.from(0), 1 << 16);
    let header = header(&mut lines).map_err(|problem| failed(None, problem))?;
    let mut trace = Trace {
        language: header.language,
        values: header.values,
        environment: header.environment,
        models: Vec::new(),
        end: None,
        calls: Calls::default(),
        lines: Places {
            path: path.to_owned(),
            source,
            offsets: Vec::new(),
        },
    };
    let mut offset = lines.buffer.len() as u64;
    while let Some(complete) = lines
        .next()
        .map_err(|problem| failed(Some(lines.number), problem))?
    {
        match add(&mut trace, &lines.buffer, offset) {
            Ok(()) => {}
            // A killed program may leave a part of a line.
            Err(_) if !complete && trace.end.is_none() => break,
            Err(problem) => return Err(failed(Some(lines.number), problem)),
        }
        offset += lines.buffer.len() as u64;
    }
    trace.calls.shrink();
    trace.lines.offsets.shrink_to_fit();
    Ok(trace)
}

fn header(lines: &mut Lines<impl Read>) -> Result<Header, TraceProblem> {
    match lines.next() {
        Ok(None) => return Err(TraceProblem::Empty),
        Ok(Some(complete)) => {
            let shared = HEADER.len().min(lines.buffer.len());
            if lines.buffer[..shared] != HEADER[..shared] {
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
        Ok(header) if header.hash != ValueHash::NAME => Err(TraceProblem::Hash(header.hash)),
        Ok(header) => Ok(header),
        Err(_) => Err(TraceProblem::NotATrace),
    }
}

fn add(trace: &mut Trace, line: &[u8], offset: u64) -> Result<(), TraceProblem> {
    if trace.end.is_some() {
        return Err(TraceProblem::AfterEnd);
    }
    // The first member says what a line is.
    if line.starts_with(OPERATION) {
        let operation = operation(line)?;
        let expected = trace.calls.len();
        if operation.index != expected {
            return Err(TraceProblem::Missing {
                expected,
                found: operation.index,
            });
        }
        if trace.calls.is_full() {
            return Err(TraceProblem::TooMany(Calls::MAX));
        }
        if let Some(forward) = operation.forward.filter(|forward| *forward >= expected) {
            return Err(TraceProblem::NotBefore {
                index: expected,
                forward,
            });
        }
        trace
            .calls
            .add(&operation, computes(operation.name.as_str()));
        trace.lines.offsets.push(offset);
    } else if line.starts_with(br#"{"model":"#) {
        let model: Model = serde_json::from_slice(line)?;
        for named in &model.names {
            // Says which values are weak.
            trace.calls.value(&named.tensor);
        }
        trace.models.push(model);
    } else if line.starts_with(br#"{"end":"#) {
        let end: End = serde_json::from_slice(line)?;
        let found = trace.calls.len();
        if let Some(said) = end.operations.filter(|said| *said != found) {
            return Err(TraceProblem::Count { said, found });
        }
        trace.end = Some(end);
    } else {
        // Of a line that is not JSON, that is said.
        serde_json::from_slice::<serde::de::IgnoredAny>(line)?;
        return Err(match line.starts_with(HEADER) {
            true => TraceProblem::SecondHeader,
            false => TraceProblem::UnknownLine,
        });
    }
    Ok(())
}
