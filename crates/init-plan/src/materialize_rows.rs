//! Rows of one parameter or buffer.

use crate::error::PlanError;
use crate::plan::InitPlan;
use crate::stream::Stream;
use std::ops::Range;

impl InitPlan {
    /// Makes some rows of a parameter or buffer: those of its first dimension, with the bits that
    /// [`materialize`](Self::materialize) from `generator` gives them. The generator is not moved.
    ///
    /// Only these rows are made, and what they are made from, as far as [`Places::fill`](crate::Places::fill) makes
    /// ranges; the stream is moved past earlier draws.
    ///
    /// # Errors
    ///
    /// [`PlanError::NoSuchName`], [`PlanError::Rows`] if the tensor lacks these rows, and as
    /// [`materialize`](Self::materialize).
    ///
    /// ```
    /// # use init_plan::InitPlan;
    /// # use torch_rng::Mt19937;
    /// # let json = br#"{"format": "tch-init plan", "version": 1, "pytorch": "2.13.0",
    /// #   "semantics": "2.13", "model": "torch.nn.Linear(2, 3)", "storages": [24, 12],
    /// #   "views": [[0, "float32", [3, 2]], [1, "float32", [3]]],
    /// #   "steps": [["uniform_", 0, -0.7071067811865475, 0.7071067811865475],
    /// #             ["uniform_", 1, -0.7071067811865475, 0.7071067811865475]],
    /// #   "parameters": [["weight", 0], ["bias", 1]], "buffers": []}"#;
    /// # let plan = InitPlan::from_json(json)?;
    /// let mut generator = Mt19937::new(1);
    /// let last = plan.materialize_rows(&generator, "weight", 2..3)?;
    /// let (_, weight) = &plan.materialize(&mut generator)?[0];
    /// assert_eq!(*last.to_bytes(), weight.to_bytes()[16..]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn materialize_rows<S: Stream>(
        &self,
        generator: &S,
        name: &str,
        rows: Range<u64>,
    ) -> Result<S::Tensor, PlanError> {
        let known = self
            .find(name)
            .ok_or_else(|| PlanError::NoSuchName(name.to_owned()))?;
        let view = &self.views[known.view];
        let has = view.shape.first().copied();
        // A tensor without dimensions has no part, not even an empty one.
        if rows.start > rows.end || has.is_none_or(|has| rows.end > has) {
            return Err(PlanError::Rows {
                name: name.to_owned(),
                has: has.unwrap_or(0),
                start: rows.start,
                end: rows.end,
            });
        }
        let row: u64 = view.shape[1..].iter().product();
        let alone = view.part(0, rows.clone()).alone(0, view.dtype);
        let mut places = self.places(generator)?;
        // SAFETY: all bytes are written below.
        let storage = unsafe { generator.allocate(alone.bytes().end, false) };
        let mut storage = storage.map_err(PlanError::Generator)?;
        let elements = rows.start * row..rows.end * row;
        let bytes = &mut storage.bytes_mut()[..alone.bytes().end as usize];
        places.fill(name, elements, view.dtype, bytes)?;
        // SAFETY: the rows are made, and nothing else writes to their storage.
        let tensor = unsafe { generator.tensor(&storage, &alone) };
        tensor.map_err(PlanError::Generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PlanBuilder;
    use tensor_parity::Dtype;
    use torch_rng::{Mt19937, Uniform};

    #[test]
    fn a_tensor_without_dimensions_has_no_rows() {
        let mut plan = PlanBuilder::new();
        let scalar = plan.parameter("scalar", Dtype::Float32, &[]).unwrap();
        plan.draw(scalar, Uniform { from: 0.0, to: 1.0 }).unwrap();
        let plan = plan.finish("a scalar").unwrap();
        for rows in [0..0, 0..1] {
            let made = plan.materialize_rows(&Mt19937::new(1), "scalar", rows);
            assert!(matches!(made, Err(PlanError::Rows { has: 0, .. })));
        }
    }
}
