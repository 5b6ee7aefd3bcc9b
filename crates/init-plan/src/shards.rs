//! The files of a folder in the layout that transformers and huggingface_hub read.

use crate::error::PlanError;
use crate::plan::{InitPlan, Name};
use crate::save::{Save, Written};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A file of a folder, with whole tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shard {
    /// The name of the file.
    pub file: String,
    /// The tensors in it, in the order of the `state_dict`.
    pub names: Vec<String>,
    /// The bytes of the tensors.
    pub bytes: u64,
}

/// The files of a folder. They are a function of the plan and of [`Save`] alone, whoever makes them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Layout {
    pub(crate) shards: Vec<Shard>,
    /// The content of the index; none for a single file.
    pub(crate) index: Option<Value>,
}

/// The name of the index.
pub(crate) const INDEX: &str = "model.safetensors.index.json";

impl InitPlan {
    /// The files that [`save_part`](Self::save_part) makes of the names for which `wanted` returns `true`: as
    /// huggingface_hub splits a `state_dict` (`split_torch_state_dict_into_shards`), by [`Save::max_shard_size`].
    ///
    /// Tensors are in the order of the `state_dict`: a module's parameters, its buffers, then its children. A plan does
    /// not say where among its siblings a module without parameters is: it comes last.
    ///
    /// # Errors
    ///
    /// [`PlanError::NotStored`] for a dtype that safetensors lacks.
    ///
    /// ```
    /// use init_plan::{PlanBuilder, Save};
    /// use tensor_parity::Dtype;
    ///
    /// let mut plan = PlanBuilder::new();
    /// for name in ["a", "b", "c"] {
    ///     plan.parameter(name, Dtype::Float32, &[100])?;
    /// }
    /// let plan = plan.finish("three vectors")?;
    /// let shards = plan.shards(Save::default().max_shard_size(1000), |_| true)?;
    /// assert_eq!(shards[1].file, "model-00002-of-00002.safetensors");
    /// assert_eq!(shards[1].names, ["c"]);
    /// # Ok::<(), init_plan::PlanError>(())
    /// ```
    pub fn shards(
        &self,
        save: Save,
        wanted: impl FnMut(&str) -> bool,
    ) -> Result<Vec<Shard>, PlanError> {
        Ok(self.layout(save, wanted)?.shards)
    }

    pub(crate) fn layout(
        &self,
        save: Save,
        mut wanted: impl FnMut(&str) -> bool,
    ) -> Result<Layout, PlanError> {
        let mut seen = BTreeSet::new();
        let wanted = |name: &Name| {
            let view = &self.views[name.view];
            let mut is_first =
                || seen.insert((view.storage, view.offset, &view.shape, &view.stride));
            wanted(&name.name) && (is_first() || save.tied)
        };
        let tensors = self.written(save, wanted)?;
        let (mut files, mut current, mut size) = (Vec::new(), Vec::new(), 0);
        for tensor in in_state_dict_order(tensors) {
            if tensor.bytes > save.max_shard_size {
                files.push(vec![tensor]);
                continue;
            }
            if size + tensor.bytes > save.max_shard_size {
                files.push(std::mem::take(&mut current));
                size = 0;
            }
            size += tensor.bytes;
            current.push(tensor);
        }
        if !current.is_empty() || files.is_empty() {
            files.push(current);
        }
        let count = files.len();
        let all = || files.iter().flatten();
        let bytes: u64 = all().map(|tensor| tensor.bytes).sum();
        let is_parameter = |tensor: &&Written<'_>| {
            self.get(tensor.name)
                .is_some_and(|entry| entry.is_parameter)
        };
        let parameters: u64 = all().filter(is_parameter).map(Written::numel).sum();
        let shards = files.iter().enumerate().map(|(i, tensors)| Shard {
            file: match count {
                1 => "model.safetensors".to_owned(),
                _ => format!("model-{:05}-of-{count:05}.safetensors", i + 1),
            },
            names: tensors
                .iter()
                .map(|tensor| tensor.name.to_owned())
                .collect(),
            bytes: tensors.iter().map(|tensor| tensor.bytes).sum(),
        });
        let shards: Vec<Shard> = shards.collect();
        let places = shards.iter().flat_map(|shard| {
            shard
                .names
                .iter()
                .map(|name| (name.as_str(), shard.file.as_str()))
        });
        let index = (count > 1).then(|| {
            json!({
                "metadata": {"total_parameters": parameters, "total_size": bytes},
                "weight_map": places.collect::<BTreeMap<_, _>>(),
            })
        });
        Ok(Layout { shards, index })
    }
}

/// A module: its tensors, then its children.
#[derive(Default)]
struct Module<'a> {
    tensors: Vec<Written<'a>>,
    children: Vec<Module<'a>>,
    numbers: BTreeMap<&'a str, usize>,
}

impl<'a> Module<'a> {
    fn add(&mut self, path: &'a str, tensor: Written<'a>) {
        // Not recursive: a name may have hundreds of dots.
        let (mut module, mut rest) = (self, path);
        while let Some((child, after)) = rest.split_once('.') {
            let next = module.children.len();
            let number = *module.numbers.entry(child).or_insert(next);
            if number == next {
                module.children.push(Module::default());
            }
            (module, rest) = (&mut module.children[number], after);
        }
        module.tensors.push(tensor);
    }
}

fn in_state_dict_order(tensors: Vec<Written<'_>>) -> Vec<Written<'_>> {
    let mut root = Module::default();
    for tensor in tensors {
        root.add(tensor.name, tensor);
    }
    let (mut ordered, mut open) = (Vec::new(), vec![root]);
    while let Some(module) = open.pop() {
        ordered.extend(module.tensors);
        open.extend(module.children.into_iter().rev());
    }
    ordered
}
