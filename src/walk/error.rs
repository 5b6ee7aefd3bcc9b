//! Errors of walks.

use crate::error::InitError;
use crate::nn::LayerKind;

/// Why a `VarStore` could not be walked or visited.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum VisitError {
    /// The variables fit several kinds of layers.
    #[error(
        "layer {path:?} could be {}; set its kind with `Walk::with_kind({path:?}, ..)` or `Walk::prefer(..)`",
        either(.candidates)
    )]
    Ambiguous {
        /// The layer's path, or the full name of its first variable if other layers share the path.
        path: String,
        /// The kinds that its variables fit.
        candidates: Vec<LayerKind>,
    },

    /// The caller named a kind that the variables do not fit.
    #[error("layer {path:?} cannot be {kind}: its variables are {variables}")]
    Contradiction {
        /// The layer's path.
        path: String,
        /// The kind that the caller named.
        kind: LayerKind,
        /// The layer's variables with their shapes.
        variables: String,
    },

    /// The caller named a path at which several layers could be of the kind.
    #[error(
        "several layers at {path:?} could be {kind}; name one by a variable, such as \
         `Walk::with_kind({:?}, ..)`: {}",
        .variables.first().map_or("", String::as_str), .variables.join(", ")
    )]
    SeveralLayers {
        /// The path that the caller named.
        path: String,
        /// The kind that the caller named.
        kind: LayerKind,
        /// One variable of each of the layers, by its full name.
        variables: Vec<String>,
    },

    /// Variables belong to no layer of a known kind, so they would stay as they are.
    #[error(
        "variables of no known layer would be left as they are: {}; fill them yourself and exclude \
         them with `Walk::leave({:?})`, or name the kind of their layer with `Walk::with_kind`",
        .variables.join(", "), first_name(.variables)
    )]
    Unclaimed {
        /// The variables by their full names, each with its shape: `fc.gamma [8]`.
        variables: Vec<String>,
    },

    /// A pattern of [`Walk::leave`](crate::Walk::leave) matches no variable.
    #[error("`Walk::leave({glob:?})` matches no variable; the variables are: {variables}")]
    NothingToLeave {
        /// The pattern.
        glob: String,
        /// The names of all variables.
        variables: String,
    },

    /// A pattern of [`Walk::leave`](crate::Walk::leave) is malformed.
    #[error("`Walk::leave({glob:?})`: {problem}")]
    Glob {
        /// The pattern.
        glob: String,
        /// What is wrong with it.
        problem: String,
    },

    /// The caller named a layer that does not exist.
    #[error("there is no layer {path:?}; the layers are: {layers}")]
    NoSuchLayer {
        /// The path that was named.
        path: String,
        /// The paths that there are.
        layers: String,
    },

    /// The `VarStore` has no layers to visit or reset.
    #[error("the VarStore has no layers of a known kind; it has {0}")]
    NoLayers(
        /// The variables that it has.
        String,
    ),

    /// An error that does not belong to a layer.
    #[error(transparent)]
    Init(#[from] InitError),

    /// The visitor failed.
    #[error("layer {path:?}")]
    Layer {
        /// The layer's path.
        path: String,
        /// The visitor's error.
        source: InitError,
    },
}

/// The name of the first variable, without its shape.
fn first_name(variables: &[String]) -> &str {
    let first = variables.first().map_or("", String::as_str);
    first.rsplit_once(" [").map_or(first, |(name, _)| name)
}

fn either(kinds: &[LayerKind]) -> String {
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => "none of the kinds that are known".to_owned(),
    }
}
