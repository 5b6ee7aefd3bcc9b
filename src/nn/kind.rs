//! The kinds of layers, by PyTorch's class names.

use std::fmt;

/// What a layer is, as `torch.nn` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum LayerKind {
    /// `torch.nn.Linear`.
    Linear,
    /// `torch.nn.Conv1d`.
    Conv1d,
    /// `torch.nn.Conv2d`.
    Conv2d,
    /// `torch.nn.Conv3d`.
    Conv3d,
    /// `torch.nn.ConvTranspose1d`.
    ConvTranspose1d,
    /// `torch.nn.ConvTranspose2d`.
    ConvTranspose2d,
    /// `torch.nn.ConvTranspose3d`.
    ConvTranspose3d,
    /// `torch.nn.BatchNorm1d`.
    BatchNorm1d,
    /// `torch.nn.BatchNorm2d`.
    BatchNorm2d,
    /// `torch.nn.BatchNorm3d`.
    BatchNorm3d,
}

impl LayerKind {
    /// The name of PyTorch's class.
    ///
    /// ```
    /// assert_eq!(tch_init::nn::LayerKind::Conv2d.name(), "Conv2d");
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            LayerKind::Linear => "Linear",
            LayerKind::Conv1d => "Conv1d",
            LayerKind::Conv2d => "Conv2d",
            LayerKind::Conv3d => "Conv3d",
            LayerKind::ConvTranspose1d => "ConvTranspose1d",
            LayerKind::ConvTranspose2d => "ConvTranspose2d",
            LayerKind::ConvTranspose3d => "ConvTranspose3d",
            LayerKind::BatchNorm1d => "BatchNorm1d",
            LayerKind::BatchNorm2d => "BatchNorm2d",
            LayerKind::BatchNorm3d => "BatchNorm3d",
        }
    }
}

impl fmt::Display for LayerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
