//! `torch.Generator`: explicit generators and handles to the default ones.
//!
//! tch has no generator API; this follows `torch/csrc/Generator.cpp` and `torch/random.py` of PyTorch 2.13
//! on top of `at::Generator`.

use crate::error::InitError;
use crate::ffi::{self, CGenerator};
use crate::rng::{Seed, State};
use std::ffi::c_int;
use std::fmt;
use std::ptr::NonNull;
use tch::Device;

/// A random number generator: an explicit one, or a handle to the default one of a device.
///
/// Every function of [`init`](crate::init) that draws takes an optional generator; without one it draws
/// from the default generator of the tensor's device, as in PyTorch.
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

// SAFETY: `at::Generator` is a reference-counted pointer with an atomic count, and every use of its
// state, here and in libtorch's kernels, holds the generator's own mutex.
unsafe impl Send for Generator {}

impl Generator {
    /// Creates a generator with PyTorch's default seed, 67280421310721, as `torch.Generator(device)`.
    ///
    /// # Errors
    ///
    /// [`InitError::Cuda`] or [`InitError::Libtorch`] if the device is not available.
    pub fn new(device: Device) -> Result<Generator, InitError> {
        let index = cuda_index(device)?;
        // SAFETY: the function writes a new generator or fails.
        Generator::create(device, |out| unsafe {
            ffi::tch_init_generator_new(index, out)
        })
    }

    /// Returns a handle to the default generator of `device`, which libtorch uses when no generator is
    /// given. For the CPU this is `torch.default_generator`.
    ///
    /// # Errors
    ///
    /// [`InitError::Cuda`] or [`InitError::Libtorch`] if the device is not available.
    pub fn default_generator(device: Device) -> Result<Generator, InitError> {
        let index = cuda_index(device)?;
        // SAFETY: the function writes a new handle or fails.
        Generator::create(device, |out| unsafe {
            ffi::tch_init_generator_default(index, out)
        })
    }

    /// Creates an independent generator with the same state, as `Generator.clone_state`.
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
        // SAFETY: `self.raw` is a live generator; the function writes a new one or fails.
        Generator::create(self.device, |out| unsafe {
            ffi::tch_init_generator_clone(self.raw.as_ptr(), out)
        })
    }

    /// Returns another handle to the same generator, as `h = g` in Python: what one draws, the other has drawn.
    ///
    /// # Errors
    ///
    /// [`InitError::Libtorch`] if libtorch fails.
    ///
    /// ```
    /// # fn main() -> Result<(), tch_init::InitError> {
    /// let a = tch_init::Generator::new(tch::Device::Cpu)?;
    /// let mut b = a.try_clone()?;
    /// b.manual_seed(3)?;
    /// assert_eq!(a.initial_seed()?, 3);
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_clone(&self) -> Result<Generator, InitError> {
        // SAFETY: `self.raw` is a live generator; the function writes a new handle or fails.
        Generator::create(self.device, |out| unsafe {
            ffi::tch_init_generator_share(self.raw.as_ptr(), out)
        })
    }

    /// Resets the state to that of a [`Seed`] and drops cached normals, as `Generator.manual_seed`.
    ///
    /// # Errors
    ///
    /// [`InitError::Libtorch`] if libtorch fails.
    pub fn manual_seed(&mut self, seed: impl Into<Seed>) -> Result<(), InitError> {
        // SAFETY: `self.raw` is a live generator.
        unsafe {
            ffi::check(ffi::tch_init_generator_manual_seed(
                self.raw.as_ptr(),
                seed.into().value(),
            ))
        }
        .map_err(|message| InitError::libtorch("manual_seed", &message))
    }

    /// Returns the last seed, as Python shows it: a negative one as its two's complement.
    ///
    /// # Errors
    ///
    /// [`InitError::Libtorch`] if libtorch fails.
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
        // SAFETY: `self.raw` is a live generator, and `seed` valid to write to.
        unsafe {
            ffi::check(ffi::tch_init_generator_initial_seed(
                self.raw.as_ptr(),
                &mut seed,
            ))
        }
        .map_err(|message| InitError::libtorch("initial_seed", &message))?;
        Ok(seed)
    }

    /// Returns the state as bytes, as `Generator.get_state`. For the CPU these are
    /// [`STATE_LEN`](crate::rng::STATE_LEN) bytes, which include the position in the stream and the
    /// cached normals; [`State`] reads them.
    ///
    /// # Errors
    ///
    /// [`InitError::Libtorch`] if libtorch fails.
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
                &format!("a state of {length} bytes is larger than those of libtorch 2.13"),
            ));
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    /// Sets the state to one that [`get_state`](Self::get_state) returned, as `Generator.set_state`.
    ///
    /// # Errors
    ///
    /// [`InitError::State`] if the bytes are not the state of a CPU generator, [`InitError::Libtorch`] if
    /// libtorch rejects them. The state is unchanged then.
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
            // libtorch does not check the position and would read outside its block.
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

    /// Returns the device that the generator draws for.
    pub fn device(&self) -> Device {
        self.device
    }

    fn create(
        device: Device,
        create: impl FnOnce(*mut *mut CGenerator) -> *mut std::ffi::c_char,
    ) -> Result<Generator, InitError> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: what `create` returns comes from a function of `ffi` and is read here only.
        unsafe { ffi::check(create(&mut raw)) }
            .map_err(|message| InitError::libtorch("Generator", &message))?;
        NonNull::new(raw)
            .map(|raw| Generator { raw, device })
            .ok_or_else(|| InitError::libtorch("Generator", "no generator was created"))
    }

    /// Whether both are handles to one generator.
    pub(crate) fn is_same(&self, other: &Generator) -> bool {
        // SAFETY: both are live generators.
        unsafe { ffi::tch_init_generator_same(self.as_raw(), other.as_raw()) != 0 }
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

/// Seeds the default generators of the CPU and of all CUDA devices, as `torch.manual_seed`.
///
/// The generators of CUDA devices are seeded only if [`cuda::load`](crate::cuda::load) was called before
/// the first seed.
///
/// # Errors
///
/// [`InitError::Libtorch`] if libtorch fails.
///
/// ```standalone_crate
/// tch_init::manual_seed(-1)?;
/// assert_eq!(tch_init::initial_seed()?, u64::MAX);
/// # Ok::<(), tch_init::InitError>(())
/// ```
pub fn manual_seed(seed: impl Into<Seed>) -> Result<(), InitError> {
    // SAFETY: no pointers are passed, and the failure is read once.
    unsafe { ffi::check(ffi::tch_init_manual_seed(seed.into().value())) }
        .map_err(|message| InitError::libtorch("manual_seed", &message))
}

/// Returns the last seed of the default CPU generator, as `torch.initial_seed`.
///
/// # Errors
///
/// [`InitError::Libtorch`] if libtorch fails.
pub fn initial_seed() -> Result<u64, InitError> {
    Generator::default_generator(Device::Cpu)?.initial_seed()
}

/// Returns the state of the default CPU generator, 5056 bytes, as `torch.get_rng_state`.
///
/// # Errors
///
/// [`InitError::Libtorch`] if libtorch fails.
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

/// Sets the state of the default CPU generator, as `torch.set_rng_state`.
///
/// # Errors
///
/// [`InitError::State`] if the bytes are not a valid state, [`InitError::Libtorch`] if libtorch rejects
/// them. The state is unchanged then.
///
/// ```
/// use tch_init::{InitError, set_rng_state};
///
/// assert!(matches!(set_rng_state(&[0; 16]), Err(InitError::State(_))));
/// ```
pub fn set_rng_state(state: &[u8]) -> Result<(), InitError> {
    Generator::default_generator(Device::Cpu)?.set_state(state)
}

/// The number of a device in `cpp/libtorch.cpp`.
fn cuda_index(device: Device) -> Result<c_int, InitError> {
    match device {
        Device::Cpu => Ok(-1),
        Device::Cuda(index) => {
            crate::cuda::load()?;
            c_int::try_from(index)
                .ok()
                .filter(|index| i64::from(*index) < tch::Cuda::device_count())
                .ok_or_else(|| InitError::Cuda(format!("no device has index {index}")))
        }
        other => Err(InitError::libtorch(
            "Generator",
            &format!("generators of {other:?} are not supported"),
        )),
    }
}
