//! The lines of a trace.

use crate::{Operation, TraceProblem};
use std::io::{BufRead, BufReader, Read};

/// A line of an operation on a list of 10,000 tensors has 2 MB.
const MAX_LINE: usize = 64 << 20;

/// The operation in a line.
pub fn operation(line: &[u8]) -> Result<Operation, serde_json::Error> {
    serde_json::from_slice(line)
}

/// The lines of a trace.
pub struct Lines<R> {
    input: BufReader<R>,
    /// The last line.
    pub buffer: Vec<u8>,
    /// Its number, from 1.
    pub number: usize,
}

impl<R: Read> Lines<R> {
    pub fn new(input: R, capacity: usize) -> Lines<R> {
        Lines {
            input: BufReader::with_capacity(capacity, input),
            buffer: Vec::new(),
            number: 0,
        }
    }

    /// Reads the next line and returns whether it is complete.
    pub fn next(&mut self) -> Result<Option<bool>, TraceProblem> {
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
