//! Tensor files, read without libtorch and without running any code.
//!
//! [`TensorFile::open`] reads safetensors files and their indexes of shards; numpy's `npz` and
//! `npy`; what `torch.save` (of every version of PyTorch), TorchScript and `tch` write; and directories of such files. The
//! content decides which format a file has, not its name. Files are mapped into memory: opening one
//! reads its header only, and each [`TensorView`](crate::TensorView) borrows from the mapping.
//!
//! A pickle is read as data, that is, as containers and tensors: no code in it is run. Instances of
//! classes, numbers and text in it are not tensors, and neither are tensors of a kind that is not
//! supported or whose bytes are damaged: [`TensorFile::left_out`] lists them, and the others are
//! read. An error is a file that cannot be read as a whole.
//!
//! ```
//! use tensor_parity::file::TensorFile;
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("bias.npy");
//! # let mut npy = b"\x93NUMPY\x01\x00\x36\x00".to_vec();
//! # npy.extend(b"{'descr':'<f4','fortran_order':False,'shape':(2,),}  \n");
//! # npy.extend([0, 0, 128, 63, 0, 0, 0, 64]);
//! # std::fs::write(&path, npy)?;
//! let file = TensorFile::open(&path)?;
//! for (name, tensor) in file.iter() {
//!     println!("{name}: {} {:?}", tensor.dtype(), tensor.shape());
//! }
//! let bias = file.get("bias").expect("bias.npy has the tensor bias");
//! assert_eq!(bias.shape(), [2]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod archive;
mod directory;
mod error;
mod format;
mod index;
mod key;
mod legacy;
mod legacy_tar;
mod mapped_tensors;
mod members;
mod new_file;
mod npy;
mod npz;
mod pickle;
mod pickled_array;
mod plain_value;
mod safetensors;
mod single_file;
mod tensor_file;
mod torch;

pub use error::FileError;
pub use format::Format;
pub use new_file::NewFile;
pub use plain_value::PlainValue;
pub use tensor_file::TensorFile;
