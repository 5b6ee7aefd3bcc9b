//! `torch.set_printoptions`.

/// How to print tensors: the options of `torch.set_printoptions`, with its names.
///
/// ```
/// use tch_init::repr::PrintOptions;
///
/// let options = PrintOptions { precision: 2, ..PrintOptions::default() };
/// assert_eq!(options.linewidth, 80);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PrintOptions {
    /// Digits after the point; 65534 at most.
    pub precision: usize,
    /// A tensor of more elements than this shows only its edges. `usize::MAX` is PyTorch's `inf`.
    pub threshold: usize,
    /// Elements shown at either end of a dimension of which not all is shown.
    pub edgeitems: usize,
    /// Columns after which lines are broken.
    pub linewidth: usize,
    /// Whether to print floating-point numbers with exponents; `None` decides by the values.
    pub sci_mode: Option<bool>,
}

impl Default for PrintOptions {
    /// PyTorch's: 4 digits, 1000 elements, 3 edge items, 80 columns.
    fn default() -> Self {
        PrintOptions {
            precision: 4,
            threshold: 1000,
            edgeitems: 3,
            linewidth: 80,
            sci_mode: None,
        }
    }
}

impl PrintOptions {
    /// PyTorch's profile `short`: 2 digits, 2 edge items.
    ///
    /// ```
    /// use tch_init::repr::{PrintOptions, tensor_str_with};
    ///
    /// let pi = tch::Tensor::from(3.14159_f32);
    /// assert_eq!(tensor_str_with(&pi, &PrintOptions::short())?, "tensor(3.14)");
    /// # Ok::<(), tch_init::repr::ReprError>(())
    /// ```
    pub fn short() -> Self {
        PrintOptions {
            precision: 2,
            edgeitems: 2,
            ..PrintOptions::default()
        }
    }

    /// PyTorch's profile `full`: every element is shown.
    ///
    /// ```
    /// assert_eq!(tch_init::repr::PrintOptions::full().threshold, usize::MAX);
    /// ```
    pub fn full() -> Self {
        PrintOptions {
            threshold: usize::MAX,
            ..PrintOptions::default()
        }
    }
}
