//! What can go wrong, as a type.

use crate::rng::StateError;

/// Everything that PyTorch raises while it initialises, and what libtorch reports.
///
/// Messages name the function, the argument and the shape; none of them needs a backtrace to be
/// understood.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// The tensor has a number of dimensions that the function does not take (PyTorch:
    /// `ValueError`).
    #[error(
        "{function}: only tensors with {supported} dimensions are supported, got shape {shape:?}"
    )]
    Dimensions {
        /// The function that was called.
        function: &'static str,
        /// The numbers of dimensions that it takes, in words.
        supported: &'static str,
        /// The shape it was given.
        shape: Vec<i64>,
    },

    /// Fan in and fan out need two dimensions (PyTorch: `ValueError`).
    #[error(
        "{function}: fan in and fan out cannot be computed for a tensor with fewer than 2 dimensions, got shape {shape:?}"
    )]
    Fan {
        /// The function that was called.
        function: &'static str,
        /// The shape it was given.
        shape: Vec<i64>,
    },

    /// `dirac_` with groups that do not divide the first dimension (PyTorch: `ValueError`).
    #[error("dirac_: dim 0 of shape {shape:?} must be divisible by groups = {groups}")]
    Groups {
        /// The shape of the tensor.
        shape: Vec<i64>,
        /// The number of groups asked for.
        groups: i64,
    },

    /// `dirac_` on a kernel without elements (PyTorch: `IndexError`).
    #[error("dirac_: shape {shape:?} has a kernel without elements, so no middle to set")]
    EmptyKernel {
        /// The shape of the tensor.
        shape: Vec<i64>,
    },

    /// An argument for which the formula has no value (PyTorch: `ZeroDivisionError`,
    /// `OverflowError` or `ValueError`).
    #[error("{function}: {argument} = {value}: {reason}{}", for_shape(.shape))]
    Argument {
        /// The function that was called.
        function: &'static str,
        /// The argument's name.
        argument: &'static str,
        /// Its value.
        value: f64,
        /// Why that value cannot be used.
        reason: &'static str,
        /// The shape of the tensor, where there is one.
        shape: Option<Vec<i64>>,
    },

    /// Channels that do not divide into groups (PyTorch: `ValueError`).
    #[error(
        "{kind}: groups = {groups} must be positive and divide in_channels = {in_channels} and \
         out_channels = {out_channels}"
    )]
    Channels {
        /// PyTorch's name of the layer.
        kind: &'static str,
        /// The channels of the input.
        in_channels: i64,
        /// The channels of the output.
        out_channels: i64,
        /// The number of groups asked for.
        groups: i64,
    },

    /// A layer that cannot be made as asked for, or an input that it does not take (PyTorch:
    /// `ValueError` or `RuntimeError`).
    #[error("{kind}: {message}")]
    Layer {
        /// PyTorch's name of the layer.
        kind: &'static str,
        /// What is wrong, with the argument and its value.
        message: String,
    },

    /// A name that is neither `fan_in` nor `fan_out` (PyTorch: `ValueError`).
    #[error("fan mode {0:?} is not supported, use \"fan_in\" or \"fan_out\"")]
    FanMode(String),

    /// A nonlinearity that PyTorch has no gain for (PyTorch: `ValueError`).
    #[error(
        "nonlinearity {0:?} is not supported, use one of linear, conv1d, conv2d, conv3d, \
         conv_transpose1d, conv_transpose2d, conv_transpose3d, sigmoid, tanh, relu, leaky_relu, selu"
    )]
    Nonlinearity(String),

    /// A generator state that is not one.
    #[error("not the state of a CPU generator")]
    State(#[from] StateError),

    /// CUDA was asked for and cannot be had.
    #[error("CUDA is not available: {0}")]
    Cuda(String),

    /// libtorch refused.
    #[error("{function}: libtorch: {message}{}", for_shape(.shape))]
    Libtorch {
        /// The function that was called.
        function: &'static str,
        /// libtorch's first line.
        message: String,
        /// The shape of the tensor, where there is one.
        shape: Option<Vec<i64>>,
    },
}

fn for_shape(shape: &Option<Vec<i64>>) -> String {
    match shape {
        Some(shape) => format!(" (tensor of shape {shape:?})"),
        None => String::new(),
    }
}

#[cfg(feature = "tch")]
mod libtorch {
    use super::InitError;
    use tch::{TchError, Tensor};

    impl InitError {
        pub(crate) fn libtorch(function: &'static str, message: &str) -> InitError {
            InitError::Libtorch {
                function,
                message: first_line(message),
                shape: None,
            }
        }

        pub(crate) fn with_shape(mut self, of: &[i64]) -> InitError {
            if let InitError::Libtorch { shape, .. } = &mut self {
                *shape = Some(of.to_vec());
            }
            self
        }

        /// An error of tch's, without tch's own preamble.
        pub(crate) fn tch(function: &'static str, error: TchError) -> InitError {
            let message = match error {
                TchError::Torch(message) => message,
                other => other.to_string(),
            };
            InitError::libtorch(function, &message)
        }
    }

    /// libtorch appends its own stack to some messages; the first line says what is wrong.
    fn first_line(message: &str) -> String {
        message.lines().next().unwrap_or_default().trim().to_owned()
    }

    /// Gives an error of tch's the function and the shape that it happened with.
    pub(crate) trait Context<T> {
        fn context(self, function: &'static str, tensor: &Tensor) -> Result<T, InitError>;
    }

    impl<T> Context<T> for Result<T, TchError> {
        fn context(self, function: &'static str, tensor: &Tensor) -> Result<T, InitError> {
            self.map_err(|error| InitError::tch(function, error).with_shape(&tensor.size()))
        }
    }
}

#[cfg(feature = "tch")]
pub(crate) use libtorch::Context;
