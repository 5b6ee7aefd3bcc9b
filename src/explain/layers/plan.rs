//! A plan as a reference.

use super::{Drawn, Model, Stored};
use crate::explain::replay::bytes;
use crate::generator::Generator;
use crate::plan::{InitPlan, PlanError};
use tch::Device;

impl Model {
    /// What a plan makes with a seed, and how and where in the stream it draws each tensor. Has
    /// what a `state_dict` has. The default stream is neither read nor moved.
    ///
    /// # Errors
    ///
    /// As [`InitPlan::materialize`].
    ///
    /// ```
    /// use tch_init::explain::Model;
    /// use tch_init::plan::InitPlan;
    ///
    /// // The second draw of a weight that is drawn twice.
    /// let json = br#"{"format": "tch-init plan", "version": 1, "pytorch": "2.13.0",
    ///     "semantics": "2.13", "model": "by hand", "storages": [24],
    ///     "views": [[0, "float32", [3, 2]]],
    ///     "steps": [["uniform_", 0, 0.0, 1.0], ["normal_", 0, 0.0, 0.02]],
    ///     "parameters": [["weight", 0]], "buffers": []}"#;
    /// let model = Model::of_plan(&InitPlan::from_json(json)?, 1)?;
    /// assert_eq!(model.expected()?[0].drawn.map(|drawn| drawn.word), Some(6));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of_plan(plan: &InitPlan, seed: i64) -> Result<Model, PlanError> {
        let mut generator = Generator::new(Device::Cpu)?;
        generator.manual_seed(seed)?;
        let draws = plan.draws(&mut generator.clone_state()?)?;
        let tensors = plan.materialize(&mut generator)?;
        let mut stored = Vec::new();
        for (((_, entry), (name, tensor)), draw) in plan.names().zip(tensors).zip(draws) {
            if !entry.persistent {
                continue;
            }
            let drawn = draw.map(|(draw, word)| Drawn {
                draw,
                seed: seed as u64,
                word,
            });
            stored.push(Stored {
                name,
                dtype: entry.dtype,
                shape: tensor.size().iter().map(|size| *size as usize).collect(),
                bytes: bytes(&tensor, entry.dtype)?,
                drawn,
            });
        }
        Ok(Model {
            tensors: stored,
            opaque: Vec::new(),
        })
    }
}
