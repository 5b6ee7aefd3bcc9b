//! Rows of one parameter, made alone.

use super::run::stream::Stream;
use super::run::{ints, kind};
use super::step::Op;
use super::view::View;
use super::{InitPlan, PlanError};
use crate::error::InitError;
use crate::generator::Generator;
use crate::init;
use crate::tensor::Dtype;
use std::ops::Range;
use tch::{Device, TchError, Tensor};
use torch_rng::{Draw, Normal, Target, Uniform};

/// Elements that libtorch draws normals in together.
const BLOCK: u64 = 16;

impl InitPlan {
    /// Makes some rows of a parameter or buffer: those of its first dimension, with the bits that
    /// [`materialize`](Self::materialize) from `generator` gives them. The generator is not moved.
    ///
    /// Where the last that happens to the tensor is one plain draw (`uniform_`, or `normal_` of 16
    /// elements and more) or one constant, only these rows are made; any other tensor is made
    /// whole and cut. The stream is moved past what is drawn before, but for a draw whose number
    /// of words depends on its values (`trunc_normal_`), which is repeated to see where it ends.
    ///
    /// # Errors
    ///
    /// [`PlanError::NoSuchName`], [`PlanError::Rows`] if the tensor has not these rows, and as
    /// [`materialize`](Self::materialize).
    ///
    /// ```
    /// # use tch_init::Generator;
    /// # use tch_init::plan::InitPlan;
    /// # let json = br#"{"format": "tch-init plan", "version": 1, "pytorch": "2.13.0",
    /// #   "semantics": "2.13", "model": "torch.nn.Linear(2, 3)", "storages": [24, 12],
    /// #   "views": [[0, "float32", [3, 2]], [1, "float32", [3]]],
    /// #   "steps": [["uniform_", 0, -0.7071067811865475, 0.7071067811865475],
    /// #             ["uniform_", 1, -0.7071067811865475, 0.7071067811865475]],
    /// #   "parameters": [["weight", 0], ["bias", 1]], "buffers": []}"#;
    /// # let plan = InitPlan::from_json(json)?;
    /// let mut generator = Generator::new(tch::Device::Cpu)?;
    /// let last = plan.materialize_rows(&generator, "weight", 2..3)?;
    /// let whole = &plan.materialize(&mut generator)?[0].1;
    /// assert!(last.equal(&whole.narrow(0, 2, 1)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn materialize_rows(
        &self,
        generator: &Generator,
        name: &str,
        rows: Range<u64>,
    ) -> Result<Tensor, PlanError> {
        let known = self
            .find(name)
            .ok_or_else(|| PlanError::NoSuchName(name.to_owned()))?;
        let view = &self.views[known.view];
        let has = view.shape.first().copied().unwrap_or(0);
        if rows.start > rows.end || rows.end > has {
            return Err(PlanError::Rows {
                name: name.to_owned(),
                has,
                start: rows.start,
                end: rows.end,
            });
        }
        let mut generator = generator.clone_state()?;
        match self.only_fill(known.view) {
            Some(step) => self.part(step, view, rows, &mut generator),
            None => {
                let whole = self.execute(&mut generator, &[known.view])?.remove(0);
                let cut = whole.f_narrow(0, rows.start as i64, (rows.end - rows.start) as i64);
                // A copy, so that the whole can go.
                let cut = cut.and_then(|cut| super::run::copied(&cut));
                Ok(cut.map_err(failed)?)
            }
        }
    }

    /// The step that alone makes all of a view, if its elements can be made one without the other.
    fn only_fill(&self, root: usize) -> Option<usize> {
        let mut live = self
            .live([root])
            .into_iter()
            .enumerate()
            .filter(|(_, live)| *live);
        let (Some((step, _)), None) = (live.next(), live.next()) else {
            return None;
        };
        let (root, out) = (&self.views[root], self.steps[step].target(&self.views));
        let same = root.bytes() == out.bytes() && root.dtype == out.dtype;
        let plain = match self.steps[step].op {
            Op::Draw(draw) => out.target().is_some_and(|target| draw.has_ranges(target)),
            Op::Fill(_) => true,
            _ => false,
        };
        (same && plain && root.is_contiguous() && out.is_contiguous()).then_some(step)
    }

    /// Rows of a view that one step fills.
    fn part(
        &self,
        step: usize,
        view: &View,
        rows: Range<u64>,
        generator: &mut Generator,
    ) -> Result<Tensor, PlanError> {
        let row: u64 = view.shape[1..].iter().product();
        let wanted = rows.start * row..rows.end * row;
        let mut shape = ints(&view.shape);
        shape[0] = (rows.end - rows.start) as i64;
        let empty = |numel: u64| {
            Tensor::f_empty([numel as i64], (kind(view.dtype), Device::Cpu)).map_err(failed)
        };
        let mut part = empty(wanted.end - wanted.start)?;
        let part = match self.steps[step].op {
            Op::Draw(Draw::Uniform(Uniform { from, to })) => {
                let mut stream = self.stream_at(step, generator)?;
                stream.words()?.skip(words(view.dtype, wanted.start));
                init::uniform_(&mut part, from, to, Some(stream.generator()?))?;
                part
            }
            Op::Draw(Draw::Normal(Normal { mean, std })) => {
                let mut stream = self.stream_at(step, generator)?;
                for (drawn, words, of) in normal_parts(view.dtype, view.numel(), wanted.clone()) {
                    let mut ahead = stream.generator()?.clone_state()?;
                    let mut ahead = Stream::new(&mut ahead)?;
                    ahead.words()?.skip(words);
                    let mut block = empty(drawn.end - drawn.start)?;
                    init::normal_(&mut block, mean, std, Some(ahead.generator()?))?;
                    let length = (of.end - of.start) as i64;
                    let from = block.f_narrow(0, (of.start - drawn.start) as i64, length);
                    let to = part.f_narrow(0, (of.start - wanted.start) as i64, length);
                    from.and_then(|from| to?.f_copy_(&from)).map_err(failed)?;
                }
                part
            }
            Op::Fill(value) => {
                super::run::fill(&part, value).map_err(failed)?;
                part
            }
            _ => part,
        };
        Ok(part.f_reshape(&*shape).map_err(failed)?)
    }

    /// The stream where a step begins.
    fn stream_at<'a>(
        &self,
        step: usize,
        generator: &'a mut Generator,
    ) -> Result<Stream<'a>, PlanError> {
        let mut stream = Stream::new(generator)?;
        for (i, before) in self.steps[..step].iter().enumerate() {
            if before.op.is_draw() {
                self.pass(&mut stream, before)
                    .map_err(|source| self.failed_step(i, source))?;
            }
        }
        Ok(stream)
    }
}

/// What a draw of so many elements takes, of a dtype that is drawn.
fn words(dtype: Dtype, numel: u64) -> u64 {
    let uniform = Draw::from(Uniform { from: 0.0, to: 1.0 });
    torch_rng::Dtype::from_name(dtype.name())
        .and_then(|dtype| uniform.consumed(Target::new(dtype, &[numel]), None).words)
        .unwrap_or(0)
}

/// What to draw for some elements of a normal draw of `numel`: whole blocks, as the elements that
/// they are; the words before them; and which of these elements are taken.
fn normal_parts(
    dtype: Dtype,
    numel: u64,
    wanted: Range<u64>,
) -> impl Iterator<Item = (Range<u64>, u64, Range<u64>)> {
    let rest = numel % BLOCK;
    // The last block is drawn again, behind everything, if it is not the end of the others.
    let again = if rest == 0 { numel } else { numel - BLOCK };
    let before = match dtype {
        Dtype::Float32 | Dtype::Float64 => numel,
        _ => numel - rest,
    };
    let first = wanted.start..wanted.end.min(again);
    let last = wanted.start.max(again)..wanted.end;
    let blocks = first.start / BLOCK * BLOCK..first.end.next_multiple_of(BLOCK);
    [
        (blocks.clone(), words(dtype, blocks.start), first),
        (again..numel, words(dtype, before), last),
    ]
    .into_iter()
    .filter(|(_, _, of)| !of.is_empty())
}

fn failed(error: TchError) -> InitError {
    InitError::tch("materialize_rows", error)
}
