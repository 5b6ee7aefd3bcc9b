//! `torch.Generator`: the default generators and explicit ones.
//!
//! tch has no generator API; this follows `torch/csrc/Generator.cpp` and `torch/random.py` of
//! PyTorch 2.13 over `at::Generator`.

use crate::error::InitError;
use crate::ffi::{self, CGenerator};
use crate::rng::State;
use std::ffi::c_int;
use std::fmt;
use std::ptr::NonNull;
use tch::Device;

/// A random stream: a new, independent one, or a handle to a device's default one.
///
/// Every function of [`init`](crate::init) that draws takes an optional generator; without one it
/// draws from the default stream of the tensor's device, as PyTorch does.
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_init::{Generator, init};
///
/// # fn main() -> Result<(), tch_init::InitError> {
/// let mut generator = Generator::new(Device::Cpu)?;
/// generator.manual_seed(1)?;
/// let mut w = Tensor::zeros([2, 3], (Kind::Float, Device::Cpu));
/// init::uniform_(&mut w, 0.0, 1.0, Some(&mut generator))?;
/// // torch.empty(2, 3).uniform_(generator=torch.Generator().manual_seed(1))[0, 0]
/// assert_eq!(w.double_value(&[0, 0]) as f32, 0.757_631_6);
/// # Ok(())
/// # }
/// ```
pub struct Generator {
    raw: NonNull<CGenerator>,
    device: Device,
}

// SAFETY: `at::Generator` is a reference-counted pointer with an atomic count, and every use of
// its stream, here and in libtorch's kernels, holds the generator's own mutex.
unsafe impl Send for Generator {}

impl Generator {
    /// A new stream with PyTorch's default seed, as `torch.Generator(device)` makes it.
    ///
    /// # Errors
    ///
    /// [`InitError::Cuda`] or [`InitError::Libtorch`] if the device cannot be had.
    pub fn new(device: Device) -> Result<Generator, InitError> {
        let index = cuda_index(device)?;
        // SAFETY: the function writes a new generator to a valid place or fails.
        Generator::made(device, |out| unsafe {
            ffi::tch_init_generator_new(index, out)
        })
    }

    /// A handle to the default stream of `device`: drawing from it draws from the stream that
    /// libtorch uses when no generator is given. `torch.default_generator` for the CPU.
    ///
    /// # Errors
    ///
    /// [`InitError::Cuda`] or [`InitError::Libtorch`] if the device cannot be had.
    pub fn default_generator(device: Device) -> Result<Generator, InitError> {
        let index = cuda_index(device)?;
        // SAFETY: the function writes a new handle to a valid place or fails.
        Generator::made(device, |out| unsafe {
            ffi::tch_init_generator_default(index, out)
        })
    }

    /// An independent stream that stands where this one stands (`Generator.clone_state`).
    ///
    /// # Errors
    ///
    /// [`InitError::Libtorch`] if libtorch cannot copy it.
    ///
    /// ```
    /// # fn main() -> Result<(), tch_init::InitError> {
    /// let mut a = tch_init::Generator::new(tch::Device::Cpu)?;
    /// a.manual_seed(3)?;
    /// let b = a.clone_state()?;
    /// assert_eq!(a.get_state()?, b.get_state()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn clone_state(&self) -> Result<Generator, InitError> {
        // SAFETY: `self.raw` is a live generator, and `out` a valid place for another.
        Generator::made(self.device, |out| unsafe {
            ffi::tch_init_generator_clone(self.raw.as_ptr(), out)
        })
    }

    /// Starts the stream anew from `seed`; cached normals are dropped.
    ///
    /// Python takes seeds from -2^63 to 2^64 - 1 and means their two's complement; pass a seed
    /// above 2^63 - 1 as `seed as i64`.
    ///
    /// # Errors
    ///
    /// [`InitError::Libtorch`] if libtorch refuses.
    pub fn manual_seed(&mut self, seed: i64) -> Result<(), InitError> {
        // SAFETY: `self.raw` is a live generator.
        unsafe {
            ffi::check(ffi::tch_init_generator_manual_seed(
                self.raw.as_ptr(),
                seed as u64,
            ))
        }
        .map_err(|message| InitError::libtorch("manual_seed", &message))
    }

    /// The seed that the stream was last started from, as Python shows it.
    ///
    /// # Errors
    ///
    /// [`InitError::Libtorch`] if libtorch refuses.
    ///
    /// ```
    /// # fn main() -> Result<(), tch_init::InitError> {
    /// let mut g = tch_init::Generator::new(tch::Device::Cpu)?;
    /// assert_eq!(g.initial_seed()?, 67_280_421_310_721);
    /// g.manual_seed(-1)?;
    /// assert_eq!(g.initial_seed()?, u64::MAX);
    /// # Ok(())
    /// # }
    /// ```
    pub fn initial_seed(&self) -> Result<u64, InitError> {
        let mut seed = 0;
        // SAFETY: `self.raw` is a live generator, and `seed` a valid place.
        unsafe {
            ffi::check(ffi::tch_init_generator_initial_seed(
                self.raw.as_ptr(),
                &mut seed,
            ))
        }
        .map_err(|message| InitError::libtorch("initial_seed", &message))?;
        Ok(seed)
    }

    /// The state as bytes: for the CPU the [`STATE_LEN`](crate::rng::STATE_LEN) bytes that
    /// `torch.Generator.get_state()` holds, place in the stream and cached normals included.
    ///
    /// # Errors
    ///
    /// [`InitError::Libtorch`] if libtorch refuses.
    pub fn get_state(&self) -> Result<Vec<u8>, InitError> {
        let mut bytes = vec![0; crate::rng::STATE_LEN];
        let mut length = 0;
        // SAFETY: `self.raw` is a live generator; at most `bytes.len()` bytes are written.
        unsafe {
            ffi::check(ffi::tch_init_generator_get_state(
                self.raw.as_ptr(),
                bytes.as_mut_ptr(),
                bytes.len(),
                &mut length,
            ))
        }
        .map_err(|message| InitError::libtorch("get_state", &message))?;
        if length > bytes.len() {
            return Err(InitError::libtorch(
                "get_state",
                &format!("a state of {length} bytes, larger than libtorch 2.13 has"),
            ));
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    /// Puts the stream where the one that gave `state` stood.
    ///
    /// # Errors
    ///
    /// [`InitError::State`] if the bytes are not a CPU generator's state (the stream is left as
    /// it was), [`InitError::Libtorch`] if libtorch refuses them.
    ///
    /// ```
    /// use tch_init::{Generator, InitError};
    ///
    /// # fn main() -> Result<(), InitError> {
    /// let mut g = Generator::new(tch::Device::Cpu)?;
    /// let state = g.get_state()?;
    /// g.manual_seed(5)?;
    /// g.set_state(&state)?;
    /// assert_eq!(g.initial_seed()?, 67_280_421_310_721);
    /// assert!(matches!(g.set_state(&state[1..]), Err(InitError::State(_))));
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_state(&mut self, state: &[u8]) -> Result<(), InitError> {
        if self.device == Device::Cpu {
            // libtorch checks less, and would read outside its block.
            let _valid: State = State::from_bytes(state)?;
        }
        // SAFETY: `self.raw` is a live generator, and `state` outlives the call, which copies it.
        unsafe {
            ffi::check(ffi::tch_init_generator_set_state(
                self.raw.as_ptr(),
                state.as_ptr(),
                state.len(),
            ))
        }
        .map_err(|message| InitError::libtorch("set_state", &message))
    }

    /// The device that the stream belongs to.
    pub fn device(&self) -> Device {
        self.device
    }

    fn made(
        device: Device,
        make: impl FnOnce(*mut *mut CGenerator) -> *mut std::ffi::c_char,
    ) -> Result<Generator, InitError> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: what `make` returns comes from a function of `ffi` and is read here only.
        unsafe { ffi::check(make(&mut raw)) }
            .map_err(|message| InitError::libtorch("Generator", &message))?;
        NonNull::new(raw)
            .map(|raw| Generator { raw, device })
            .ok_or_else(|| InitError::libtorch("Generator", "no generator was made"))
    }

    /// The generator as the functions of `ffi` take it.
    pub(crate) fn as_raw(&self) -> &CGenerator {
        // SAFETY: `self.raw` is a live generator as long as `self` is.
        unsafe { self.raw.as_ref() }
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        // SAFETY: `self.raw` was made by `ffi`, is owned by this handle and is not used again.
        unsafe { ffi::tch_init_generator_free(self.raw.as_ptr()) }
    }
}

impl fmt::Debug for Generator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generator")
            .field("device", &self.device)
            .field("initial_seed", &self.initial_seed().ok())
            .finish_non_exhaustive()
    }
}

/// `torch.manual_seed`: starts the default streams of the CPU and of all CUDA devices anew.
///
/// CUDA's are reached only if [`cuda::load`](crate::cuda::load) was called before the first seed.
///
/// # Errors
///
/// [`InitError::Libtorch`] if libtorch refuses.
pub fn manual_seed(seed: i64) -> Result<(), InitError> {
    // SAFETY: no pointers are passed, and the failure is read once.
    unsafe { ffi::check(ffi::tch_init_manual_seed(seed as u64)) }
        .map_err(|message| InitError::libtorch("manual_seed", &message))
}

/// `torch.initial_seed`: the seed of the default CPU stream.
///
/// # Errors
///
/// [`InitError::Libtorch`] if libtorch refuses.
pub fn initial_seed() -> Result<u64, InitError> {
    Generator::default_generator(Device::Cpu)?.initial_seed()
}

/// `torch.get_rng_state`: the state of the default CPU stream, 5056 bytes.
///
/// # Errors
///
/// [`InitError::Libtorch`] if libtorch refuses.
///
/// ```standalone_crate
/// # fn main() -> Result<(), tch_init::InitError> {
/// let before = tch_init::get_rng_state()?;
/// let a = tch::Tensor::randn([3], tch::kind::FLOAT_CPU);
/// tch_init::set_rng_state(&before)?;
/// let b = tch::Tensor::randn([3], tch::kind::FLOAT_CPU);
/// assert!(a.equal(&b));
/// # Ok(())
/// # }
/// ```
pub fn get_rng_state() -> Result<Vec<u8>, InitError> {
    Generator::default_generator(Device::Cpu)?.get_state()
}

/// `torch.set_rng_state`: puts the default CPU stream where the one that gave `state` stood.
///
/// # Errors
///
/// [`InitError::State`] if `state` is not one, [`InitError::Libtorch`] if libtorch refuses it.
pub fn set_rng_state(state: &[u8]) -> Result<(), InitError> {
    Generator::default_generator(Device::Cpu)?.set_state(state)
}

/// The number that `cpp/libtorch.cpp` takes for a device.
fn cuda_index(device: Device) -> Result<c_int, InitError> {
    match device {
        Device::Cpu => Ok(-1),
        Device::Cuda(index) => {
            crate::cuda::load()?;
            c_int::try_from(index)
                .ok()
                .filter(|index| i64::from(*index) < tch::Cuda::device_count())
                .ok_or_else(|| InitError::Cuda(format!("there is no device with index {index}")))
        }
        other => Err(InitError::libtorch(
            "Generator",
            &format!("{other:?} has no generator that tch-init knows"),
        )),
    }
}
