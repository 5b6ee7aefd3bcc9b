//! Prints tensors exactly as PyTorch prints them.
//!
//! [`tensor_str`] gives what Python's `str(tensor)` gives: the same digits, widths, line breaks
//! and suffixes. It follows `torch/_tensor_str.py` of PyTorch 2.13. A tensor of more than
//! [`PrintOptions::threshold`] elements shows only its edges, and only they are read and copied.
//!
//! Differences:
//!
//! - PyTorch leaves out the element type if it is the default one. Here that is always float32:
//!   tch cannot set another.
//! - Quantized, nested and meta tensors are an error. So are the element types that PyTorch does
//!   not print either: `bits8` and the like, integers of 1 to 7 bits.

mod contents;
mod error;
mod formatter;
mod module;
mod number;
mod options;
mod sparse;
mod values;

use tch::{Device, Tensor};

pub use error::ReprError;
pub use module::module_str;
pub use options::PrintOptions;

use contents::contents;
use values::{Dtype, size_suffix};

/// `repr(float)`: the shortest digits that read back, with an exponent below 1e-4 and from 1e16.
///
/// ```
/// use tch_init::repr::python_float;
///
/// assert_eq!(python_float(1e-5), "1e-05");
/// assert_eq!(python_float(0.1), "0.1");
/// assert_eq!(python_float(1.0), "1.0");
/// ```
pub fn python_float(value: f64) -> String {
    tensor_parity::python_repr::float(value)
}

/// Prints a tensor as Python's `str(tensor)` does, with PyTorch's default options.
///
/// # Errors
///
/// As [`tensor_str_with`].
///
/// ```
/// use tch::{Kind, Tensor};
/// use tch_init::repr::tensor_str;
///
/// let tensor = Tensor::from_slice(&[1.0_f32, -0.5, 2.25, 100.0]).view([2, 2]);
/// assert_eq!(
///     tensor_str(&tensor)?,
///     "tensor([[  1.0000,  -0.5000],\n        [  2.2500, 100.0000]])",
/// );
/// let counts = Tensor::from_slice(&[1_i32, 20, 300]);
/// assert_eq!(tensor_str(&counts)?, "tensor([  1,  20, 300], dtype=torch.int32)");
/// # Ok::<(), tch_init::repr::ReprError>(())
/// ```
pub fn tensor_str(tensor: &Tensor) -> Result<String, ReprError> {
    tensor_str_with(tensor, &PrintOptions::default())
}

/// Prints a tensor as Python's `str(tensor)` does after `torch.set_printoptions` with `options`.
///
/// Sparse tensors are printed too. See the [module](self) for what differs.
///
/// # Errors
///
/// [`ReprError::Undefined`], [`ReprError::Unsupported`] and [`ReprError::Precision`] as they are
/// described there; [`ReprError::Torch`] if libtorch cannot copy the elements to the CPU.
///
/// ```
/// use tch_init::repr::{PrintOptions, tensor_str_with};
///
/// let tensor = tch::Tensor::arange(10, tch::kind::INT64_CPU);
/// let options = PrintOptions { threshold: 5, ..PrintOptions::default() };
/// assert_eq!(tensor_str_with(&tensor, &options)?, "tensor([0, 1, 2,  ..., 7, 8, 9])");
/// # Ok::<(), tch_init::repr::ReprError>(())
/// ```
pub fn tensor_str_with(tensor: &Tensor, options: &PrintOptions) -> Result<String, ReprError> {
    if !tensor.defined() {
        return Err(ReprError::Undefined);
    }
    if options.precision > number::MAX_PRECISION {
        return Err(ReprError::Precision(options.precision));
    }
    let prefix = "tensor(";
    let mut suffixes = Vec::new();
    match tensor.device() {
        Device::Cpu => {}
        Device::Cuda(index) => suffixes.push(format!("device='cuda:{index}'")),
        Device::Mps => suffixes.push("device='mps:0'".to_owned()),
        Device::Vulkan => return Err(ReprError::Unsupported("Vulkan tensors".to_owned())),
    }
    let values = tensor.f_detach()?;
    let body = body(&values, prefix.len(), options)?;
    suffixes.extend(body.suffixes);
    suffixes.extend(gradient(tensor));
    Ok(add_suffixes(
        format!("{prefix}{}", body.text),
        &suffixes,
        prefix.len(),
        body.force_newline,
        options.linewidth,
    ))
}

/// Prints a tensor as Python's `str(parameter)` prints an `nn.Parameter` with its value.
///
/// # Errors
///
/// As [`tensor_str_with`].
///
/// ```
/// let bias = tch::Tensor::zeros([2], tch::kind::FLOAT_CPU).set_requires_grad(true);
/// assert_eq!(
///     tch_init::repr::parameter_str(&bias)?,
///     "Parameter containing:\ntensor([0., 0.], requires_grad=True)",
/// );
/// # Ok::<(), tch_init::repr::ReprError>(())
/// ```
pub fn parameter_str(tensor: &Tensor) -> Result<String, ReprError> {
    Ok(format!("Parameter containing:\n{}", tensor_str(tensor)?))
}

/// The printed elements, and suffixes for what they do not show.
struct Body {
    text: String,
    suffixes: Vec<String>,
    /// Whether the first suffix is on a separate line.
    force_newline: bool,
}

fn body(tensor: &Tensor, indent: usize, options: &PrintOptions) -> Result<Body, ReprError> {
    let dtype = Dtype::of(tensor)?;
    let strided = is_strided(tensor);
    if !strided && !tensor.is_mkldnn() {
        let Some(sparse) = sparse::sparse(tensor, indent, options)? else {
            return Err(ReprError::Unsupported(
                "a tensor that is neither strided nor sparse".to_owned(),
            ));
        };
        let mut suffixes = sparse.suffixes;
        suffixes.push(format!("layout={}", sparse.layout));
        return Ok(Body {
            text: sparse.text,
            suffixes,
            force_newline: tensor.is_sparse(),
        });
    }
    let shape = tensor.size();
    let mut suffixes = Vec::new();
    let mut text = "[]".to_owned();
    if shape.contains(&0) {
        if shape.len() != 1 {
            suffixes.push(size_suffix(&shape));
        }
        // No element shows whether they are integers.
        if !dtype.is_default() {
            suffixes.push(format!("dtype={}", dtype.name));
        }
    } else {
        if options.edgeitems == 0 {
            suffixes.push(size_suffix(&shape));
        }
        if !dtype.is_evident() {
            suffixes.push(format!("dtype={}", dtype.name));
        }
        text = if strided {
            contents(tensor, indent, options)?
        } else {
            contents(&tensor.f_to_dense(None, false)?, indent, options)?
        };
    }
    if !strided {
        suffixes.push("layout=torch._mkldnn".to_owned());
    }
    Ok(Body {
        text,
        suffixes,
        force_newline: false,
    })
}

/// The tensor's part in autograd, which PyTorch prints.
fn gradient(tensor: &Tensor) -> Option<String> {
    let function = match crate::ffi::grad_fn(tensor) {
        Ok(function) => function,
        // A view that was made and then modified where no gradients are kept has a history that
        // cannot be brought up to date.
        Err(_) => "Invalid".to_owned(),
    };
    if !function.is_empty() {
        let name = function.rsplit("::").next().unwrap_or(&function);
        return Some(format!("grad_fn=<{name}>"));
    }
    tensor
        .requires_grad()
        .then(|| "requires_grad=True".to_owned())
}

/// Whether the tensor has strides: others refuse to be seen through new ones.
fn is_strided(tensor: &Tensor) -> bool {
    tch::no_grad(|| tensor.f_as_strided([0], [1], None)).is_ok()
}

/// Appends the suffixes, on a new line where they would pass `linewidth`: `_add_suffixes` of
/// `torch/_tensor_str.py`, PyTorch 2.13.
fn add_suffixes(
    mut text: String,
    suffixes: &[String],
    indent: usize,
    mut force_newline: bool,
    linewidth: usize,
) -> String {
    // The columns of the last line, two of which PyTorch counts too many.
    let mut columns = text.len() - text.rfind('\n').map_or(0, |newline| newline + 1) + 2;
    for suffix in suffixes {
        if force_newline || columns + suffix.len() + 2 > linewidth {
            text.push_str(",\n");
            text.extend(std::iter::repeat_n(' ', indent));
            columns = indent + suffix.len();
            force_newline = false;
        } else {
            text.push_str(", ");
            columns += suffix.len() + 2;
        }
        text.push_str(suffix);
    }
    text.push(')');
    text
}
