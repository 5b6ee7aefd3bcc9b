//! What the adaptive softmax computes: `AdaptiveLogSoftmaxWithLoss.forward`, `log_prob` and
//! `predict`, `torch/nn/modules/adaptive.py`, PyTorch 2.13.

use super::adaptive::{AdaptiveLogSoftmaxWithLoss, AsmOutput, KIND};
use super::or_panic;
use crate::error::{Context, InitError};
use tch::nn::Linear;
use tch::{TchError, Tensor};

impl AdaptiveLogSoftmaxWithLoss {
    /// The log-probabilities of the targets, and the loss.
    ///
    /// `input` has shape `[N, in_features]` and `target`, classes as i64, shape `[N]`; or without
    /// a batch `[in_features]` and `[]`. Only the clusters of the targets are computed.
    ///
    /// # Errors
    ///
    /// [`InitError::Layer`] if the shapes are others or a target is no class,
    /// [`InitError::Libtorch`] where libtorch refuses.
    pub fn f_forward(&self, input: &Tensor, target: &Tensor) -> Result<AsmOutput, InitError> {
        let refused = |message| InitError::Layer {
            kind: KIND.name(),
            message,
        };
        let batched = match (&input.size()[..], &target.size()[..]) {
            ([rows, _], [targets]) if rows == targets => true,
            ([_], []) => false,
            (input, target) => {
                return Err(refused(format!(
                    "input and target must have shapes [N, in_features] and [N], or [in_features] \
                     and [], got {input:?} and {target:?}"
                )));
            }
        };
        if let Some([least, greatest]) = range(target).context(KIND.name(), target)? {
            let last = self.n_classes() - 1;
            if least < 0 || greatest > last {
                return Err(refused(format!(
                    "targets must be in [0, {last}], got values in [{least}, {greatest}]"
                )));
            }
        }
        let found = if batched {
            self.of_batch(input, target)
        } else {
            self.of_one(input, target)
        };
        let (output, loss) = found.context(KIND.name(), input)?;
        Ok(AsmOutput { output, loss })
    }

    /// [`f_forward`](Self::f_forward), as tch's layers are called.
    ///
    /// # Panics
    ///
    /// Where [`f_forward`](Self::f_forward) returns an error.
    pub fn forward(&self, input: &Tensor, target: &Tensor) -> AsmOutput {
        or_panic(self.f_forward(input, target))
    }

    /// The log-probabilities of all classes: `[N, n_classes]` for an input of `[N, in_features]`.
    ///
    /// # Errors
    ///
    /// [`InitError::Libtorch`] if the input has another shape.
    pub fn f_log_prob(&self, input: &Tensor) -> Result<Tensor, InitError> {
        apply(&self.head, input)
            .and_then(|scores| self.full_log_prob(input, &scores))
            .context(KIND.name(), input)
    }

    /// [`f_log_prob`](Self::f_log_prob), as tch's layers are called.
    ///
    /// # Panics
    ///
    /// Where [`f_log_prob`](Self::f_log_prob) returns an error.
    pub fn log_prob(&self, input: &Tensor) -> Tensor {
        or_panic(self.f_log_prob(input))
    }

    /// The likeliest class of each row: `[N]`, of i64, for an input of `[N, in_features]`. Clusters
    /// are computed only for the rows whose highest score is a cluster's.
    ///
    /// # Errors
    ///
    /// [`InitError::Libtorch`] if the input has another shape.
    pub fn f_predict(&self, input: &Tensor) -> Result<Tensor, InitError> {
        self.likeliest(input).context(KIND.name(), input)
    }

    /// [`f_predict`](Self::f_predict), as tch's layers are called.
    ///
    /// # Panics
    ///
    /// Where [`f_predict`](Self::f_predict) returns an error.
    pub fn predict(&self, input: &Tensor) -> Tensor {
        or_panic(self.f_predict(input))
    }

    /// The classes below the first cutoff.
    fn shortlist_size(&self) -> i64 {
        self.cutoffs[0]
    }

    fn n_classes(&self) -> i64 {
        self.cutoffs[self.tail.len()]
    }

    /// The clusters with their numbers and the classes that they hold.
    fn clusters(&self) -> impl Iterator<Item = (i64, &[Linear; 2], [i64; 2])> {
        let ends = self.cutoffs.windows(2).map(|ends| [ends[0], ends[1]]);
        let clusters = (0..).zip(&self.tail).zip(ends);
        clusters.map(|((number, layers), ends)| (number, layers, ends))
    }

    fn of_one(&self, input: &Tensor, target: &Tensor) -> Result<(Tensor, Tensor), TchError> {
        let (output, loss) = self.of_batch(&input.f_unsqueeze(0)?, &target.f_unsqueeze(0)?)?;
        Ok((output.f_squeeze_dim(0)?, loss))
    }

    fn of_batch(&self, input: &Tensor, target: &Tensor) -> Result<(Tensor, Tensor), TchError> {
        let options = (input.f_kind()?, input.device());
        let mut output = Tensor::f_zeros(target.size(), options)?;
        // Of the head's scores each row needs that of its class or of its cluster.
        let mut score = target.shallow_clone();
        for (number, layers, [low, high]) in self.clusters() {
            let (low, high) = (Tensor::from(low), Tensor::from(high));
            let in_cluster = target
                .f_ge_tensor(&low)?
                .f_logical_and(&target.f_lt_tensor(&high)?)?;
            let rows = in_cluster.f_nonzero()?.f_squeeze_dim(1)?;
            if rows.size() == [0] {
                continue;
            }
            let class = target.f_index_select(0, &rows)?.f_sub(&low)?;
            let log_prob = cluster_log_prob(layers, &input.f_index_select(0, &rows)?)?;
            let log_prob = pick(&log_prob, &class)?;
            output = output.f_index_copy_(0, &rows, &log_prob)?;
            let cluster = Tensor::from(self.shortlist_size() + number);
            score = score.f_index_fill_int_tensor(0, &rows, &cluster)?;
        }
        let head = apply(&self.head, input)?.f_log_softmax(1, None)?;
        let output = output.f_add_(&pick(&head, &score)?)?;
        let loss = output.f_neg()?.f_mean(None)?;
        Ok((output, loss))
    }

    /// `scores` are what the head gives `input`.
    fn full_log_prob(&self, input: &Tensor, scores: &Tensor) -> Result<Tensor, TchError> {
        let head = scores.f_log_softmax(1, None)?;
        let mut parts = vec![head.f_narrow(1, 0, self.shortlist_size())?];
        for (number, layers, _) in self.clusters() {
            let of_cluster = head.f_narrow(1, self.shortlist_size() + number, 1)?;
            parts.push(cluster_log_prob(layers, input)?.f_add(&of_cluster)?);
        }
        Tensor::f_cat(&parts, 1)
    }

    fn likeliest(&self, input: &Tensor) -> Result<Tensor, TchError> {
        let scores = apply(&self.head, input)?;
        let mut output = scores.f_argmax(1, false)?;
        let in_cluster = output.f_ge_tensor(&Tensor::from(self.shortlist_size()))?;
        let rows = in_cluster.f_nonzero()?.f_squeeze_dim(1)?;
        if rows.size() == [0] {
            return Ok(output);
        }
        if rows.size() == output.size() {
            return self.full_log_prob(input, &scores)?.f_argmax(1, false);
        }
        let (input, scores) = (
            input.f_index_select(0, &rows)?,
            scores.f_index_select(0, &rows)?,
        );
        let classes = self.full_log_prob(&input, &scores)?.f_argmax(1, false)?;
        output.f_index_copy_(0, &rows, &classes)
    }
}

fn apply(layer: &Linear, input: &Tensor) -> Result<Tensor, TchError> {
    input.f_linear(&layer.ws, layer.bs.as_ref())
}

fn cluster_log_prob(layers: &[Linear; 2], input: &Tensor) -> Result<Tensor, TchError> {
    let [projection, classes] = layers;
    apply(classes, &apply(projection, input)?)?.f_log_softmax(1, None)
}

/// Of each row the element of its index.
fn pick(rows: &Tensor, index: &Tensor) -> Result<Tensor, TchError> {
    let index = index.f_unsqueeze(1)?;
    rows.f_gather(1, &index, false)?.f_squeeze_dim(1)
}

/// The least and the greatest value, if there is a value.
fn range(target: &Tensor) -> Result<Option<[i64; 2]>, TchError> {
    if target.numel() == 0 {
        return Ok(None);
    }
    let least = target.f_min()?.f_int64_value(&[])?;
    let greatest = target.f_max()?.f_int64_value(&[])?;
    Ok(Some([least, greatest]))
}
