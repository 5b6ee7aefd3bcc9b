//! Plans as JSON, written by hand.

use init_plan::{InitPlan, PlanError};
use serde_json::{Value, json};

/// A plan that grows: one storage and one name per tensor.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    pub storages: Vec<Value>,
    pub views: Vec<Value>,
    pub steps: Vec<Value>,
    pub parameters: Vec<Value>,
    pub buffers: Vec<Value>,
}

impl Builder {
    /// A contiguous view of a new storage.
    pub fn tensor(&mut self, dtype: &str, shape: &[u64]) -> u64 {
        let numel: u64 = shape.iter().product();
        self.storage(numel * size(dtype));
        self.view(json!([self.storages.len() - 1, dtype, shape]))
    }

    pub fn storage(&mut self, bytes: u64) {
        self.storages.push(json!(bytes));
    }

    pub fn view(&mut self, row: Value) -> u64 {
        self.views.push(row);
        self.views.len() as u64 - 1
    }

    pub fn step(&mut self, row: Value) -> &mut Builder {
        self.steps.push(row);
        self
    }

    pub fn parameter(&mut self, name: &str, view: u64) -> &mut Builder {
        self.parameters.push(json!([name, view]));
        self
    }

    pub fn json(&self) -> Value {
        json!({
            "format": "tch-init plan",
            "version": 1,
            "pytorch": "2.13.0",
            "semantics": "2.13",
            "model": "by hand",
            "storages": self.storages,
            "views": self.views,
            "steps": self.steps,
            "parameters": self.parameters,
            "buffers": self.buffers,
        })
    }

    pub fn read(&self) -> Result<InitPlan, PlanError> {
        InitPlan::from_json(&serde_json::to_vec(&self.json()).unwrap())
    }

    pub fn plan(&self) -> InitPlan {
        self.read()
            .unwrap_or_else(|error| panic!("{error}: {}", self.json()))
    }
}

pub fn size(dtype: &str) -> u64 {
    match dtype {
        "bool" | "uint8" | "int8" => 1,
        "int16" | "float16" | "bfloat16" => 2,
        "int32" | "float32" => 4,
        "int64" | "float64" => 8,
        other => unreachable!("{other}"),
    }
}

pub fn view(view: u64) -> Value {
    json!({ "view": view })
}

/// `torch.nn.Linear(2, 3)`, and that drawn over as many models do.
pub fn linear() -> Builder {
    let mut plan = Builder::default();
    let (weight, bias) = (
        plan.tensor("float32", &[3, 2]),
        plan.tensor("float32", &[3]),
    );
    plan.step(json!(["uniform_", weight, -0.5, 0.5]))
        .step(json!(["uniform_", bias, -0.5, 0.5]))
        .step(json!(["normal_", weight, 0.0, 0.02]))
        .step(json!(["fill_", bias, 0.0]))
        .parameter("weight", weight)
        .parameter("bias", bias);
    plan
}
