//! The errors of optimizers.

/// An error of an optimizer, of clipping or of a learning-rate schedule: the conditions in which PyTorch raises an
/// exception, and failures of libtorch.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OptimError {
    /// An option has no meaning (PyTorch: `ValueError`, with this message).
    #[error("{function}: {message}")]
    Argument {
        /// The optimizer, schedule or function, by PyTorch's name.
        function: &'static str,
        /// The condition that is violated, in PyTorch's words, with the value.
        message: String,
    },

    /// There is nothing to optimize (PyTorch: `ValueError`).
    #[error("optimizer got an empty parameter list")]
    NoParameters,

    /// The tensor is a result of a computation (PyTorch: `ValueError`).
    #[error(
        "parameter {index} of group {group}, of shape {shape:?}: can't optimize a non-leaf Tensor"
    )]
    NonLeaf {
        /// The index of the group.
        group: usize,
        /// The index in the group.
        index: usize,
        /// The shape of the tensor.
        shape: Vec<i64>,
    },

    /// The same parameter occurs again (PyTorch: `ValueError` if it is in two groups; a warning if it is in one, which is
    /// then updated twice).
    #[error(
        "parameter {index} of group {group}, of shape {shape:?}, is also in group {other}: some parameters appear more than \
         once"
    )]
    Duplicate {
        /// The index of the group.
        group: usize,
        /// The index in the group.
        index: usize,
        /// The group that has it already.
        other: usize,
        /// The shape of the tensor.
        shape: Vec<i64>,
    },

    /// Groups of an optimizer have options of one kind.
    #[error("group {group} has options of {found}, but the optimizer is {expected}")]
    Kind {
        /// The index of the group.
        group: usize,
        /// The optimizer.
        expected: &'static str,
        /// The kind of the options.
        found: &'static str,
    },

    /// There is no such group.
    #[error("there is no parameter group {group}: the optimizer has {count}")]
    Group {
        /// The index that was given.
        group: usize,
        /// The number of groups.
        count: usize,
    },

    /// The optimizer lacks the option.
    #[error("{optimizer} has no option {option}")]
    NoOption {
        /// The optimizer.
        optimizer: &'static str,
        /// The option.
        option: String,
    },

    /// The optimizer does not take sparse gradients (PyTorch: `RuntimeError`).
    #[error(
        "{optimizer} does not support sparse gradients, and parameter {index} of group {group}, of shape {shape:?}, has one"
    )]
    Sparse {
        /// The optimizer.
        optimizer: &'static str,
        /// The index of the group.
        group: usize,
        /// The index in the group.
        index: usize,
        /// The shape of the tensor.
        shape: Vec<i64>,
    },

    /// Weight decay of a parameter with a sparse gradient (PyTorch: `RuntimeError`).
    #[error("weight_decay option is not compatible with sparse gradients")]
    SparseWeightDecay,

    /// The state lacks an entry that the options need: they were changed after the first step (PyTorch: `KeyError`).
    #[error("the state lacks {name:?}, which these options need: set them before the first step")]
    MissingState {
        /// The name in PyTorch's `state_dict`.
        name: &'static str,
    },

    /// A number of the update is divided by zero (PyTorch: `ZeroDivisionError`).
    #[error("{what} is zero with these options (PyTorch: float division by zero)")]
    ZeroDivision {
        /// The divisor.
        what: &'static str,
    },

    /// A saved state does not belong to this optimizer (PyTorch: `ValueError`).
    #[error("load_state_dict: {message}")]
    StateDict {
        /// The reason, in PyTorch's words.
        message: String,
    },

    /// A file cannot be read or written, or is not the state of an optimizer.
    #[error("{}: {message}", .path.display())]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// The reason.
        message: String,
    },

    /// The step of a parameter failed; parameters before it have made theirs.
    #[error("{optimizer}: parameter {index} of group {group}, of shape {shape:?}")]
    Step {
        /// The optimizer.
        optimizer: &'static str,
        /// The index of the group.
        group: usize,
        /// The index in the group.
        index: usize,
        /// The shape of the tensor.
        shape: Vec<i64>,
        /// The cause.
        #[source]
        cause: Box<OptimError>,
    },

    /// libtorch failed.
    #[error("{function}: libtorch: {message}")]
    Libtorch {
        /// The function that was called.
        function: &'static str,
        /// The first line of libtorch's message.
        message: String,
    },
}

impl OptimError {
    pub(super) fn libtorch(function: &'static str, message: &str) -> OptimError {
        let message = message.lines().next().unwrap_or_default().trim();
        OptimError::Libtorch {
            function,
            message: message.to_owned(),
        }
    }

    pub(super) fn argument(function: &'static str, message: impl Into<String>) -> OptimError {
        let message = message.into();
        OptimError::Argument { function, message }
    }
}

impl From<tch::TchError> for OptimError {
    fn from(error: tch::TchError) -> OptimError {
        match error {
            tch::TchError::Torch(message) => OptimError::libtorch("step", &message),
            other => OptimError::libtorch("step", &other.to_string()),
        }
    }
}
