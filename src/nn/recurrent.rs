//! What the recurrent layers have in common: tch's trait, and its twin with a `train` argument.

use tch::Tensor;
use tch::nn::RNN;

/// [`RNN`] with `train` as an argument, as [`ModuleT`](tch::nn::ModuleT) is `Module` with it: the dropout between layers
/// drops while `train` is true, as in PyTorch between `model.train()` and `model.eval()`.
///
/// tch fixes this when it makes a layer, so its LSTM and GRU drop in evaluation too. The functions of [`RNN`] take it from
/// the layer's `config.train`.
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_init::nn::{self, ModuleT, RNNT};
///
/// #[derive(Debug)]
/// struct Tagger {
///     lstm: nn::LSTM,
///     tags: nn::Linear,
/// }
///
/// impl ModuleT for Tagger {
///     fn forward_t(&self, words: &Tensor, train: bool) -> Tensor {
///         let (states, _) = self.lstm.seq_t(words, train);
///         states.apply(&self.tags)
///     }
/// }
///
/// let vs = nn::VarStore::new(Device::Cpu);
/// let config = nn::RNNConfig { num_layers: 2, dropout: 0.5, ..Default::default() };
/// let model = Tagger {
///     lstm: nn::lstm(vs.root() / "lstm", 3, 8, config),
///     tags: nn::linear(vs.root() / "tags", 8, 2, Default::default()),
/// };
/// let words = Tensor::ones([1, 4, 3], (Kind::Float, Device::Cpu));
/// assert_eq!(model.forward_t(&words, false), model.forward_t(&words, false));
/// ```
pub trait RNNT: RNN {
    /// As [`RNN::step`].
    fn step_t(&self, input: &Tensor, state: &Self::State, train: bool) -> Self::State;

    /// As [`RNN::seq`].
    fn seq_t(&self, input: &Tensor, train: bool) -> (Tensor, Self::State);

    /// As [`RNN::seq_init`].
    fn seq_init_t(&self, input: &Tensor, state: &Self::State, train: bool)
    -> (Tensor, Self::State);
}

/// Implements [`RNN`] and [`RNNT`] for a layer by its `forward_t`.
macro_rules! recurrent {
    ($layer:ident, $state:ty) => {
        /// As tch's layers; with either `batch_first`, and without a batch in [`seq`](tch::nn::RNN::seq). Outputs are dropped while
        /// `config.train` is set.
        ///
        #[doc = concat!("Panics where [`", stringify!($layer), "::forward`] returns an error.")]
        impl tch::nn::RNN for $layer {
            type State = $state;

            fn zero_state(&self, batch_dim: i64) -> $state {
                $crate::nn::tch_layers::or_panic(self.zeros(batch_dim))
            }

            fn step(&self, input: &Tensor, state: &$state) -> $state {
                $crate::nn::RNNT::step_t(self, input, state, self.config.train)
            }

            fn seq(&self, input: &Tensor) -> (Tensor, $state) {
                $crate::nn::RNNT::seq_t(self, input, self.config.train)
            }

            fn seq_init(&self, input: &Tensor, state: &$state) -> (Tensor, $state) {
                $crate::nn::RNNT::seq_init_t(self, input, state, self.config.train)
            }
        }

        #[doc = concat!("Panics where [`", stringify!($layer), "::forward_t`] returns an error.")]
        impl $crate::nn::RNNT for $layer {
            fn step_t(&self, input: &Tensor, state: &$state, train: bool) -> $state {
                let input = $crate::nn::tch_layers::or_panic(self.base().one_step(input));
                self.seq_init_t(&input, state, train).1
            }

            fn seq_t(&self, input: &Tensor, train: bool) -> (Tensor, $state) {
                $crate::nn::tch_layers::or_panic(self.forward_t(input, None, train))
            }

            fn seq_init_t(&self, input: &Tensor, state: &$state, train: bool) -> (Tensor, $state) {
                $crate::nn::tch_layers::or_panic(self.forward_t(input, Some(state), train))
            }
        }
    };
}

pub(super) use recurrent;
