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
        /// The layer's path.
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

fn either(kinds: &[LayerKind]) -> String {
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => "none of the kinds that are known".to_owned(),
    }
}
