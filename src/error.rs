//! The errors of initialization.

use crate::rng::{Semantics, StateError};

/// An error of an initialization: the conditions in which PyTorch raises an exception, and failures that
/// libtorch reports.
///
/// Messages name the function, the argument and the shape. A cause is not part of the message but its
/// [`source`](std::error::Error::source).
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// The function does not take tensors with this number of dimensions (PyTorch: `ValueError`).
    #[error(
        "{function}: only tensors with {supported} dimensions are supported, got shape {shape:?}"
    )]
    Dimensions {
        /// The function that was called.
        function: &'static str,
        /// The supported numbers of dimensions, as text.
        supported: &'static str,
        /// The shape of the tensor.
        shape: Vec<i64>,
    },

    /// Fan in and fan out are not defined for fewer than two dimensions (PyTorch: `ValueError`).
    #[error(
        "{function}: fan in and fan out cannot be computed for a tensor with fewer than 2 dimensions, got shape {shape:?}"
    )]
    Fan {
        /// The function that was called.
        function: &'static str,
        /// The shape of the tensor.
        shape: Vec<i64>,
    },

    /// The libtorch of this process is not one that can run what was built against another.
    #[cfg(feature = "tch")]
    #[error(
        "this is libtorch {found} ({}), but tch-init was built against {built}, and only {built} to 2.15 can run it: \
         remove its folder from LD_LIBRARY_PATH, or build against it with LIBTORCH",
        .library.display()
    )]
    LibtorchVersion {
        /// The version of the library that is loaded.
        found: String,
        /// The version that tch-init was compiled against.
        built: String,
        /// The file of the library.
        library: std::path::PathBuf,
    },

    /// The groups of `dirac_` do not divide the first dimension (PyTorch: `ValueError`).
    #[error("dirac_: dim 0 of shape {shape:?} must be divisible by groups = {groups}")]
    Groups {
        /// The shape of the tensor.
        shape: Vec<i64>,
        /// The number of groups.
        groups: i64,
    },

    /// The kernel that `dirac_` fills has no elements (PyTorch: `IndexError`).
    #[error("dirac_: the kernel of shape {shape:?} has no elements, so no central one")]
    EmptyKernel {
        /// The shape of the tensor.
        shape: Vec<i64>,
    },

    /// The formula has no value for this argument (PyTorch: `ZeroDivisionError`, `OverflowError` or
    /// `ValueError`).
    #[error("{function}: {argument} = {value}: {reason}{}", for_shape(.shape))]
    Argument {
        /// The function that was called.
        function: &'static str,
        /// The name of the argument.
        argument: &'static str,
        /// Its value.
        value: f64,
        /// The reason why the value cannot be used.
        reason: &'static str,
        /// The shape of the tensor, if there is one.
        shape: Option<Vec<i64>>,
    },

    /// The groups of a convolution do not divide its channels (PyTorch: `ValueError`).
    #[error(
        "{kind}: groups = {groups} must be positive and divide in_channels = {in_channels} and \
         out_channels = {out_channels}"
    )]
    Channels {
        /// PyTorch's name of the layer.
        kind: &'static str,
        /// The number of channels of the input.
        in_channels: i64,
        /// The number of channels of the output.
        out_channels: i64,
        /// The number of groups.
        groups: i64,
    },

    /// A layer rejects an argument of its constructor or an input (PyTorch: `ValueError` or
    /// `RuntimeError`).
    #[error("{kind}: {message}")]
    Layer {
        /// PyTorch's name of the layer.
        kind: &'static str,
        /// The name of the argument or input; `parameters` if the layer lacks one.
        argument: &'static str,
        /// The condition that it violates, with its value.
        message: String,
    },

    /// The kind of a layer of a `VarStore` is not known, so PyTorch's initialization is not either.
    #[error(
        "layer {path:?} is not of one known kind: its variables are {variables}; name the kind with \
         `Walk::with_kind`, or exclude variables with `Walk::leave`"
    )]
    UnknownLayer {
        /// The layer's path.
        path: String,
        /// The layer's variables with their shapes.
        variables: String,
    },

    /// The name is neither `fan_in` nor `fan_out` (PyTorch: `ValueError`).
    #[error("fan mode {0:?} is not supported, use \"fan_in\" or \"fan_out\"")]
    FanMode(String),

    /// PyTorch has no gain for a nonlinearity of this name (PyTorch: `ValueError`).
    #[error(
        "nonlinearity {0:?} is not supported, use one of linear, conv1d, conv2d, conv3d, \
         conv_transpose1d, conv_transpose2d, conv_transpose3d, sigmoid, tanh, relu, leaky_relu, selu"
    )]
    Nonlinearity(String),

    /// The bytes are not a valid generator state.
    #[error("not the state of a CPU generator")]
    State(#[from] StateError),

    /// The bits that older versions of PyTorch draw into such a tensor are not known.
    #[error(
        "{function}: the bits of {semantics} are not known for {what} (tensor of shape {shape:?}); draw \
         on the CPU in a floating-point dtype, or with the newest semantics"
    )]
    Semantics {
        /// The function that was called.
        function: &'static str,
        /// The semantics of the draw.
        semantics: Semantics,
        /// The kind of the tensor.
        what: &'static str,
        /// The shape of the tensor.
        shape: Vec<i64>,
    },

    /// CUDA is not available.
    #[error("CUDA is not available: {0}")]
    Cuda(String),

    /// libtorch failed.
    #[error("{function}: libtorch: {message}{}", for_shape(.shape))]
    Libtorch {
        /// The function that was called.
        function: &'static str,
        /// The first line of libtorch's message.
        message: String,
        /// The shape of the tensor, if there is one.
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

        /// An error of tch, without tch's preamble.
        pub(crate) fn tch(function: &'static str, error: TchError) -> InitError {
            let message = match error {
                TchError::Torch(message) => message,
                other => other.to_string(),
            };
            InitError::libtorch(function, &message)
        }
    }

    /// libtorch appends a stack trace to some messages; the first line is the message itself.
    fn first_line(message: &str) -> String {
        message.lines().next().unwrap_or_default().trim().to_owned()
    }

    /// Adds the function and the shape of its tensor to an error of tch.
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
