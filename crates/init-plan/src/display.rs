//! What `tch-init plan show` prints.

use crate::plan::{InitPlan, Name};
use crate::scalar::Scalar;
use crate::step::{Op, Step, StreamChange};
use crate::view::View;
use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};

/// What the plan draws, by parameter: every step that writes to its memory, in order, its position in
/// the stream, and whether it is dead (overwritten before it is read).
///
/// The first line names the version of PyTorch, and the semantics unless they are named after it.
///
/// Positions are words after the start of the plan, for a generator that has just been seeded, or
/// after the last step whose number of words depends on its values.
impl Display for InitPlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let live = self.live(self.names.iter().map(|name| name.view));
        let offsets = self.offsets(false);
        let mut shown = vec![false; self.steps.len()];
        let mut totals = Totals::default();
        let line = |f: &mut Formatter<'_>, i: usize, shape: Option<&[u64]>| {
            let step = &self.steps[i];
            write!(f, "    step {i}: {}", Call(step))?;
            if let Some(shape) = shape {
                write!(f, " on {shape:?}")?;
            }
            if step.op.is_draw() {
                let (offset, words) = offsets[i];
                if offset.stream > 0 {
                    write!(f, ", stream {}", offset.stream)?;
                }
                match offset.after {
                    None => write!(f, ", words {}", offset.words)?,
                    Some(before) => write!(f, ", words {} after step {before}", offset.words)?,
                }
                match words {
                    Some(words) => write!(f, " + {words}")?,
                    None => write!(f, " + as many as it takes")?,
                }
            }
            writeln!(f, "{}", if live[i] { "" } else { ", dead" })
        };

        let (model, pytorch) = (one_line(&self.model), one_line(&self.pytorch));
        let semantics = self.semantics.name();
        match pytorch.strip_prefix(semantics) {
            Some(patch) if !patch.starts_with(|next: char| next.is_ascii_digit()) => {
                writeln!(f, "{model} (PyTorch {pytorch})")?;
            }
            _ => writeln!(f, "{model} (PyTorch {pytorch}, semantics {semantics})")?,
        }
        if let Some(data) = &self.data {
            writeln!(f, "data: {} bytes in {}", data.bytes, one_line(&data.name))?;
        }
        let by_storage = self.writers();
        for name in &self.names {
            writeln!(f, "{}", Heading(name))?;
            let view = &self.views[name.view];
            for i in &by_storage[view.storage] {
                let overlaps = |out: &&View| {
                    out.storage == view.storage
                        && out.bytes().start < view.bytes().end
                        && view.bytes().start < out.bytes().end
                };
                if let Some(out) = self.steps[*i].targets(&self.views).find(overlaps) {
                    line(f, *i, (out.shape != view.shape).then_some(&out.shape))?;
                    shown[*i] = true;
                }
            }
        }
        let is_stream = |i: &usize| matches!(self.steps[*i].op, Op::Stream(_));
        let hidden = |i: &usize| !shown[*i] && !is_stream(i);
        if (0..self.steps.len()).any(|i| hidden(&i)) {
            writeln!(f, "memory without a name")?;
            for i in (0..self.steps.len()).filter(hidden) {
                let out = self.steps[i].targets(&self.views).next();
                line(f, i, out.map(View::shape))?;
            }
        }
        if (0..self.steps.len()).any(|i| is_stream(&i)) {
            writeln!(f, "streams")?;
            for i in (0..self.steps.len()).filter(is_stream) {
                writeln!(f, "    step {i}: {}", Call(&self.steps[i]))?;
            }
        }
        for (i, step) in self.steps.iter().enumerate() {
            totals.add(
                step,
                offsets[i].1,
                step.targets(&self.views).map(View::numel).sum(),
                live[i],
            );
        }
        let parameters = self
            .names
            .iter()
            .filter(|name| name.entry.is_parameter)
            .count();
        let buffers = self.names.len() - parameters;
        // Tied weights once.
        let views: BTreeSet<usize> = self.names.iter().map(|name| name.view).collect();
        let numel: u64 = views.iter().map(|view| self.views[*view].numel()).sum();
        let plural = |count| if count == 1 { "" } else { "s" };
        write!(f, "{parameters} parameter{}, ", plural(parameters))?;
        write!(f, "{buffers} buffer{}", plural(buffers))?;
        if views.len() < self.names.len() {
            write!(f, ", {} of them tied", self.names.len() - views.len())?;
        }
        writeln!(f, ": {numel} elements")?;
        write!(f, "{totals}")
    }
}

#[derive(Default)]
struct Totals {
    steps: usize,
    draws: usize,
    drawn: u128,
    dead: u128,
    words: u128,
    open: usize,
}

impl Totals {
    fn add(&mut self, step: &Step, words: Option<u64>, numel: u64, live: bool) {
        self.steps += 1;
        if !step.op.is_draw() {
            return;
        }
        self.draws += 1;
        self.drawn += u128::from(numel);
        if !live {
            self.dead += u128::from(numel);
        }
        match words {
            Some(words) => self.words += u128::from(words),
            None => self.open += 1,
        }
    }
}

impl Display for Totals {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Totals {
            steps,
            draws,
            drawn,
            dead,
            words,
            open,
        } = self;
        // Tenths of a percent, rounded down.
        let share = (dead * 1000).checked_div(*drawn).unwrap_or(0);
        write!(
            f,
            "{steps} steps, {draws} draws of {drawn} values, {dead} of them dead ({}.{}%); {words} words",
            share / 10,
            share % 10
        )?;
        match open {
            0 => writeln!(f),
            1 => writeln!(f, ", and those of 1 draw that depend on its values"),
            _ => writeln!(f, ", and those of {open} draws that depend on their values"),
        }
    }
}

struct Heading<'a>(&'a Name);

impl Display for Heading<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Name { name, entry, .. } = self.0;
        let kind = if entry.is_parameter {
            "parameter"
        } else {
            "buffer"
        };
        write!(
            f,
            "{kind} {}  {} {:?}",
            one_line(name),
            entry.dtype,
            entry.shape
        )?;
        for (note, holds) in [
            ("frozen", entry.is_parameter && !entry.requires_grad),
            ("not in the state_dict", !entry.persistent),
            ("PyTorch leaves some of it uninitialized", entry.unset),
        ] {
            if holds {
                write!(f, ", {note}")?;
            }
        }
        Ok(())
    }
}

/// A step as a call.
struct Call<'a>(&'a Step);

impl Display for Call<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Op::Draw(draw) = &self.0.op
            && !draw.args().is_empty()
        {
            return write!(f, "{draw}");
        }
        f.write_str(self.0.op.name())?;
        match &self.0.op {
            Op::Dirac { groups } => write!(f, "({groups})"),
            Op::Stream(StreamChange::Seed { stream, seed }) => write!(f, "({stream}, {seed})"),
            Op::Stream(StreamChange::Copy { to, from }) => write!(f, "({to}, {from})"),
            Op::Stream(StreamChange::Use(stream)) => write!(f, "({stream})"),
            Op::Data(name) => write!(f, "({})", one_line(name)),
            Op::Fill(Scalar::Int(value)) => write!(f, "({value})"),
            Op::Fill(Scalar::Float(value)) => write!(f, "({value:?})"),
            Op::Fill(Scalar::Bool(value)) => write!(f, "({value})"),
            _ => Ok(()),
        }
    }
}

fn one_line(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect::<Vec<_>>()
            } else {
                vec![c]
            }
        })
        .collect()
}

impl InitPlan {
    /// The steps that write to each storage, in order.
    fn writers(&self) -> Vec<Vec<usize>> {
        let mut writers = vec![Vec::new(); self.storages.len()];
        for (i, step) in self.steps.iter().enumerate() {
            for storage in step
                .targets(&self.views)
                .map(View::storage)
                .collect::<BTreeSet<_>>()
            {
                writers[storage].push(i);
            }
        }
        writers
    }
}
