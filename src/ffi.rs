//! The functions of `cpp/libtorch.cpp`, with safe wrappers that turn their messages into errors.

use crate::rng::State;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use tch::{Kind, Tensor};
use torch_rng::HeldLog;
use torch_sys::{C_scalar, C_tensor};

/// `at::Generator`.
#[repr(C)]
pub(crate) struct CGenerator {
    _private: [u8; 0],
}

/// A weak handle to a tensor.
#[repr(C)]
pub(crate) struct CWeakTensor {
    _private: [u8; 0],
}

/// `at::CPUGeneratorImpl`, while it is locked.
#[repr(C)]
struct CLockedGenerator {
    _private: [u8; 0],
}

/// The contiguous elements of a CPU tensor.
#[repr(C)]
struct CMemory {
    data: *mut c_void,
    numel: i64,
    sizes: *const i64,
    dim: u64,
    dtype: c_int,
}

/// The storage of a CPU tensor.
#[repr(C)]
struct CStorage {
    id: *const c_void,
    data: *const c_void,
    nbytes: u64,
    offset: i64,
}

/// An argument of an operator: what its kind does not name is zero or null.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct CArgument {
    kind: i64,
    integer: i64,
    real: f64,
    text: *const c_char,
    tensor: *const C_tensor,
    items: *const CArgument,
    count: u64,
}

impl CArgument {
    /// The absence of an optional argument.
    pub(crate) fn none() -> CArgument {
        CArgument {
            kind: 0,
            integer: 0,
            real: 0.0,
            text: std::ptr::null(),
            tensor: std::ptr::null(),
            items: std::ptr::null(),
            count: 0,
        }
    }

    /// A tensor, which must outlive the argument.
    pub(crate) fn tensor(tensor: &Tensor) -> CArgument {
        CArgument {
            kind: 1,
            tensor: tensor.as_ptr(),
            ..CArgument::none()
        }
    }

    pub(crate) fn int(integer: i64) -> CArgument {
        CArgument {
            kind: 2,
            integer,
            ..CArgument::none()
        }
    }

    pub(crate) fn real(real: f64) -> CArgument {
        CArgument {
            kind: 3,
            real,
            ..CArgument::none()
        }
    }

    pub(crate) fn bool(bool: bool) -> CArgument {
        CArgument {
            kind: 4,
            integer: bool.into(),
            ..CArgument::none()
        }
    }

    /// A text, which must outlive the argument.
    pub(crate) fn text(text: &CStr) -> CArgument {
        CArgument {
            kind: 5,
            text: text.as_ptr(),
            ..CArgument::none()
        }
    }

    /// A list, which must outlive the argument.
    pub(crate) fn list(items: &[CArgument]) -> CArgument {
        CArgument {
            kind: 6,
            items: items.as_ptr(),
            count: items.len() as u64,
            ..CArgument::none()
        }
    }
}

/// The number of a dtype in `c10/core/ScalarType.h`; `Float` for dtypes that tch-init never passes.
pub(crate) const fn scalar_type(kind: Kind) -> c_int {
    match kind {
        Kind::Uint8 => 0,
        Kind::Int8 => 1,
        Kind::Int16 => 2,
        Kind::Int => 3,
        Kind::Int64 => 4,
        Kind::Half => 5,
        Kind::Double => 7,
        Kind::Bool => 11,
        Kind::BFloat16 => 15,
        _ => 6,
    }
}

/// Null, or a message that [`check`] reads and frees.
pub(crate) type Failure = *mut c_char;

unsafe extern "C" {
    fn tch_init_free(text: *mut c_char);
    pub(crate) fn tch_init_generator_new(cuda: c_int, out: *mut *mut CGenerator) -> Failure;
    pub(crate) fn tch_init_generator_default(cuda: c_int, out: *mut *mut CGenerator) -> Failure;
    pub(crate) fn tch_init_generator_clone(
        generator: *mut CGenerator,
        out: *mut *mut CGenerator,
    ) -> Failure;
    pub(crate) fn tch_init_generator_share(
        generator: *const CGenerator,
        out: *mut *mut CGenerator,
    ) -> Failure;
    pub(crate) fn tch_init_generator_free(generator: *mut CGenerator);
    pub(crate) fn tch_init_generator_manual_seed(generator: *mut CGenerator, seed: u64) -> Failure;
    pub(crate) fn tch_init_generator_initial_seed(
        generator: *mut CGenerator,
        out: *mut u64,
    ) -> Failure;
    pub(crate) fn tch_init_generator_get_state(
        generator: *mut CGenerator,
        bytes: *mut u8,
        capacity: usize,
        length: *mut usize,
    ) -> Failure;
    pub(crate) fn tch_init_generator_set_state(
        generator: *mut CGenerator,
        bytes: *const u8,
        length: usize,
    ) -> Failure;
    pub(crate) fn tch_init_generator_exchange(
        a: *const CGenerator,
        b: *const CGenerator,
    ) -> Failure;
    pub(crate) fn tch_init_generator_same(a: *const CGenerator, b: *const CGenerator) -> c_int;
    pub(crate) fn tch_init_manual_seed(seed: u64) -> Failure;
    fn tch_init_uniform_(
        tensor: *mut C_tensor,
        from: f64,
        to: f64,
        generator: Option<&CGenerator>,
    ) -> Failure;
    fn tch_init_normal_(
        tensor: *mut C_tensor,
        mean: f64,
        std: f64,
        generator: Option<&CGenerator>,
    ) -> Failure;
    fn tch_init_cpu_memory(tensor: *const C_tensor, out: *mut CMemory) -> Failure;
    fn tch_init_bump_version(tensor: *const C_tensor) -> Failure;
    fn tch_init_dispatch_is_plain() -> c_int;
    fn tch_init_vml_sqrt(is_double: c_int) -> *mut c_void;
    fn tch_init_set_mkl_threads(threads: c_int) -> c_int;
    fn tch_init_state_lock(
        generator: Option<&CGenerator>,
        locked: *mut *mut CLockedGenerator,
        state: *mut State,
    ) -> Failure;
    fn tch_init_state_store(locked: *mut CLockedGenerator, state: *const State) -> Failure;
    fn tch_init_state_unlock(locked: *mut CLockedGenerator);
    fn tch_init_fill_(tensor: *mut C_tensor, value: f64) -> Failure;
    pub(crate) fn tch_init_add(
        a: *const C_tensor,
        b: *const C_tensor,
        number: *const C_scalar,
        alpha: *const C_scalar,
        operation: c_int,
        out: *mut *mut C_tensor,
    ) -> Failure;
    fn tch_init_scaled_(
        tensor: *mut C_tensor,
        a: *const C_tensor,
        b: *const C_tensor,
        value: f64,
        operation: c_int,
    ) -> Failure;
    fn tch_init_scaled(
        tensor: *const C_tensor,
        a: *const C_tensor,
        b: *const C_tensor,
        value: f64,
        operation: c_int,
        out: *mut *mut C_tensor,
    ) -> Failure;
    fn tch_init_number_(tensor: *mut C_tensor, number: f64, operation: c_int) -> Failure;
    fn tch_init_number(
        tensor: *const C_tensor,
        number: f64,
        operation: c_int,
        out: *mut *mut C_tensor,
    ) -> Failure;
    fn tch_init_clone(tensor: *const C_tensor, out: *mut *mut C_tensor) -> Failure;
    fn tch_init_vector_norm(
        tensor: *const C_tensor,
        order: f64,
        out: *mut *mut C_tensor,
    ) -> Failure;
    fn tch_init_zero_grad(tensor: *const C_tensor, set_to_none: c_int) -> Failure;
    fn tch_init_randperm(
        n: i64,
        generator: Option<&CGenerator>,
        out: *mut *mut C_tensor,
    ) -> Failure;
    fn tch_init_call(
        name: *const c_char,
        overload: *const c_char,
        in_place: c_int,
        arguments: *const CArgument,
        argument_count: u64,
        generator: Option<&CGenerator>,
        outs: *mut *mut C_tensor,
        capacity: u64,
        count: *mut u64,
    ) -> Failure;
    fn tch_init_storage(tensor: *const C_tensor, out: *mut CStorage) -> Failure;
    fn tch_init_recording_begin() -> Failure;
    fn tch_init_recording_end(refused: *mut *mut c_char) -> Failure;
    fn tch_init_recording_is_blank(tensor: *const C_tensor, out: *mut c_int) -> Failure;
    fn tch_init_recording_make_blank(tensor: *const C_tensor) -> Failure;
    fn tch_init_outside(
        tensor: *const C_tensor,
        low: f64,
        high: f64,
        out: *mut *mut C_tensor,
    ) -> Failure;
    pub(crate) fn tch_init_tensor_identity(tensor: *const C_tensor) -> *const c_void;
    fn tch_init_grad_fn(tensor: *const C_tensor, out: *mut *mut c_char) -> Failure;
    pub(crate) fn tch_init_weak_new(tensor: *const C_tensor, out: *mut *mut CWeakTensor)
    -> Failure;
    pub(crate) fn tch_init_weak_expired(weak: *const CWeakTensor) -> c_int;
    pub(crate) fn tch_init_weak_free(weak: *mut CWeakTensor);
    fn tch_init_fact(which: c_int, out: *mut *mut c_char) -> Failure;
}

/// `torch.Tensor.uniform_`; without a generator, from the default one of the tensor's device.
pub(crate) fn uniform_(
    tensor: &mut Tensor,
    from: f64,
    to: f64,
    generator: Option<&CGenerator>,
) -> Result<(), String> {
    // SAFETY: the tensor and the generator are live for the call, and the tensor is borrowed uniquely.
    unsafe { check(tch_init_uniform_(tensor.as_mut_ptr(), from, to, generator)) }
}

/// `torch.Tensor.normal_`; without a generator, from the default one of the tensor's device.
pub(crate) fn normal_(
    tensor: &mut Tensor,
    mean: f64,
    std: f64,
    generator: Option<&CGenerator>,
) -> Result<(), String> {
    // SAFETY: as for `uniform_`.
    unsafe { check(tch_init_normal_(tensor.as_mut_ptr(), mean, std, generator)) }
}

/// `torch.Tensor.fill_`.
pub(crate) fn fill_(tensor: &mut Tensor, value: f64) -> Result<(), String> {
    // SAFETY: the tensor is live for the call and borrowed uniquely.
    unsafe { check(tch_init_fill_(tensor.as_mut_ptr(), value)) }
}

/// What is added to a tensor, scaled by a number.
#[derive(Clone, Copy)]
pub(crate) enum Scaled<'a> {
    /// `a`.
    Tensor(&'a Tensor),
    /// `a * b`, of `addcmul`.
    Product(&'a Tensor, &'a Tensor),
    /// `a / b`, of `addcdiv`.
    Quotient(&'a Tensor, &'a Tensor),
    /// `a` less the tensor itself, of `lerp`.
    Difference(&'a Tensor),
}

impl Scaled<'_> {
    fn parts(self) -> (*const C_tensor, *const C_tensor, c_int) {
        match self {
            Scaled::Tensor(a) => (a.as_ptr(), std::ptr::null(), 0),
            Scaled::Product(a, b) => (a.as_ptr(), b.as_ptr(), 1),
            Scaled::Quotient(a, b) => (a.as_ptr(), b.as_ptr(), 2),
            Scaled::Difference(a) => (a.as_ptr(), std::ptr::null(), 3),
        }
    }
}

/// `add_(a, alpha=value)`, `addcmul_(a, b, value=value)`, `addcdiv_(a, b, value=value)` or `lerp_(a, value)`.
pub(crate) fn scaled_(tensor: &mut Tensor, what: Scaled<'_>, value: f64) -> Result<(), String> {
    let (a, b, operation) = what.parts();
    // SAFETY: the tensors are live for the call; `b` is null only for the operations that do not read it.
    unsafe {
        check(tch_init_scaled_(
            tensor.as_mut_ptr(),
            a,
            b,
            value,
            operation,
        ))
    }
}

/// `add`, `addcmul`, `addcdiv` or `lerp` of the same.
pub(crate) fn scaled(tensor: &Tensor, what: Scaled<'_>, value: f64) -> Result<Tensor, String> {
    let (a, b, operation) = what.parts();
    // SAFETY: as for `scaled_`; the function writes a new tensor or fails.
    unsafe { new_tensor(|out| tch_init_scaled(tensor.as_ptr(), a, b, value, operation, out)) }
}

/// An operation of a tensor and a Python number. tch's fallible calls panic where libtorch rejects the number: its `Scalar` is
/// dropped, and finds the error, before the call returns it.
#[derive(Clone, Copy)]
pub(crate) enum WithNumber {
    Add = 0,
    Mul = 1,
    Div = 2,
    ClampMin = 3,
    ClampMax = 4,
}

/// `tensor += number` and so on, as Python calls it.
pub(crate) fn number_(
    tensor: &mut Tensor,
    operation: WithNumber,
    number: f64,
) -> Result<(), String> {
    // SAFETY: the tensor is live for the call.
    unsafe {
        check(tch_init_number_(
            tensor.as_mut_ptr(),
            number,
            operation as c_int,
        ))
    }
}

/// `tensor + number` and so on, as Python calls it.
pub(crate) fn number(
    tensor: &Tensor,
    operation: WithNumber,
    number: f64,
) -> Result<Tensor, String> {
    // SAFETY: the tensor is live for the call; the function writes a new tensor or fails.
    unsafe { new_tensor(|out| tch_init_number(tensor.as_ptr(), number, operation as c_int, out)) }
}

/// `tensor.detach().clone()`.
pub(crate) fn clone(tensor: &Tensor) -> Result<Tensor, String> {
    // SAFETY: the tensor is live for the call; the function writes a new tensor or fails.
    unsafe { new_tensor(|out| tch_init_clone(tensor.as_ptr(), out)) }
}

/// `torch.linalg.vector_norm(tensor, order)`
pub(crate) fn vector_norm(tensor: &Tensor, order: f64) -> Result<Tensor, String> {
    // SAFETY: the tensor is live for the call; the function writes a new tensor or fails.
    unsafe { new_tensor(|out| tch_init_vector_norm(tensor.as_ptr(), order, out)) }
}

/// Removes the gradient of a tensor, or fills it with zeros.
pub(crate) fn zero_grad(tensor: &Tensor, set_to_none: bool) -> Result<(), String> {
    // SAFETY: the tensor is live for the call. Handles to its gradient keep the gradient alive.
    unsafe { check(tch_init_zero_grad(tensor.as_ptr(), set_to_none.into())) }
}

/// `torch.randperm(n)`.
pub(crate) fn randperm(n: i64, generator: Option<&CGenerator>) -> Result<Tensor, String> {
    // SAFETY: the generator is live for the call; the function writes a new tensor or fails.
    unsafe { new_tensor(|out| tch_init_randperm(n, generator, out)) }
}

/// Calls an operator by its schema, and returns its results, of which it must have this many unless it is
/// in place.
///
/// # Safety
///
/// All that the arguments point to lives during the call. An operator in place overwrites its first argument, to
/// whose memory no reference lives; others do nothing but compute new tensors.
pub(crate) unsafe fn call(
    name: &CStr,
    overload: &CStr,
    in_place: bool,
    arguments: &[CArgument],
    generator: Option<&CGenerator>,
    results: usize,
) -> Result<Vec<Tensor>, String> {
    let (mut outs, mut count) = (vec![std::ptr::null_mut(); results], 0);
    // SAFETY: by the caller's promise; the function writes at most `results` new tensors to `outs`, and their
    // number to `count`.
    let failure = unsafe {
        tch_init_call(
            name.as_ptr(),
            overload.as_ptr(),
            in_place.into(),
            arguments.as_ptr(),
            arguments.len() as u64,
            generator,
            outs.as_mut_ptr(),
            results as u64,
            &mut count,
        )
    };
    let made = outs.into_iter().take(count as usize);
    // SAFETY: new tensors that nobody else owns.
    let made = made.map(|out| unsafe { Tensor::from_ptr(out) }).collect();
    // SAFETY: made by the call above and read once.
    unsafe { check(failure) }.map(|()| made)
}

/// A mask of the elements below `low` or above `high`.
pub(crate) fn outside(tensor: &Tensor, low: f64, high: f64) -> Result<Tensor, String> {
    // SAFETY: the tensor is live for the call; the function writes a new tensor or fails.
    unsafe { new_tensor(|out| tch_init_outside(tensor.as_ptr(), low, high, out)) }
}

/// The elements of a tensor that is contiguous memory of the CPU.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CpuMemory<'a> {
    /// The first element.
    pub(crate) data: NonNull<c_void>,
    /// The number of elements.
    pub(crate) numel: usize,
    /// The size of each dimension.
    pub(crate) shape: &'a [u64],
    /// The [number](scalar_type) of the dtype.
    pub(crate) dtype: c_int,
}

/// The memory of a tensor whose elements can be overwritten as they are; `None` for a tensor that is
/// empty, not contiguous, on another device, lazily negated or otherwise more than its elements.
pub(crate) fn cpu_memory(tensor: &mut Tensor) -> Result<Option<CpuMemory<'_>>, String> {
    let mut memory = MaybeUninit::uninit();
    // SAFETY: the tensor is live for the call, which writes `memory` or fails.
    let memory = unsafe {
        check(tch_init_cpu_memory(tensor.as_ptr(), memory.as_mut_ptr()))?;
        memory.assume_init()
    };
    let (Some(data), Ok(numel)) = (NonNull::new(memory.data), usize::try_from(memory.numel)) else {
        return Ok(None);
    };
    let shape = match memory.dim {
        0 => &[][..],
        // SAFETY: the tensor, whose borrow this extends, keeps the sizes alive. They are not
        // negative, so each is also a valid `u64`.
        dim => unsafe { std::slice::from_raw_parts(memory.sizes.cast(), dim as usize) },
    };
    Ok(Some(CpuMemory {
        data,
        numel,
        shape,
        dtype: memory.dtype,
    }))
}

/// Tells autograd that the values of a tensor were overwritten.
pub(crate) fn bump_version(tensor: &mut Tensor) -> Result<(), String> {
    // SAFETY: the tensor is live for the call.
    unsafe { check(tch_init_bump_version(tensor.as_ptr())) }
}

/// Whether the operators that this thread calls go to their kernels, and nothing intercepts them.
pub(crate) fn dispatch_is_plain() -> bool {
    // SAFETY: takes nothing.
    unsafe { tch_init_dispatch_is_plain() != 0 }
}

/// MKL's function for the square roots of many numbers, `vmsSqrt` or `vmdSqrt`, if libtorch has it.
pub(crate) fn vml_sqrt(is_double: bool) -> Option<NonNull<c_void>> {
    // SAFETY: takes a number.
    NonNull::new(unsafe { tch_init_vml_sqrt(c_int::from(is_double)) })
}

/// Until it is dropped, MKL takes no further threads in calls of this thread: of 128 elements or more it would, which takes longer
/// than the work.
#[derive(Debug)]
pub(crate) struct SingleThreadedMkl {
    before: c_int,
    thread: PhantomData<*const ()>,
}

impl SingleThreadedMkl {
    pub(crate) fn begin() -> SingleThreadedMkl {
        SingleThreadedMkl {
            // SAFETY: takes a number.
            before: unsafe { tch_init_set_mkl_threads(1) },
            thread: PhantomData,
        }
    }
}

impl Drop for SingleThreadedMkl {
    fn drop(&mut self) {
        // SAFETY: takes a number.
        unsafe { tch_init_set_mkl_threads(self.before) };
    }
}

/// A CPU generator that this thread has locked, and a copy of its state. Dropping it, also while a
/// panic unwinds, unlocks the generator and discards the copy.
pub(crate) struct LockedState<'a> {
    locked: NonNull<CLockedGenerator>,
    state: MaybeUninit<State>,
    // Keeps the generator alive, and the lock on the thread that took it.
    _generator: PhantomData<(&'a CGenerator, *const ())>,
}

impl<'a> LockedState<'a> {
    /// Locks a generator, by default the default CPU one, and passes its state to `work`, which
    /// returns whether to store the changed state. `None`, without calling `work`, if the generator
    /// is not a CPU one.
    pub(crate) fn with<R>(
        generator: Option<&'a CGenerator>,
        work: impl FnOnce(&mut State) -> Result<R, R>,
    ) -> Result<Option<R>, String> {
        // Dropped last: a logger may draw from the same generator.
        let _held_log = HeldLog::new();
        let mut locked = std::ptr::null_mut();
        let mut state = MaybeUninit::uninit();
        // SAFETY: the generator is live for the call, and both places are valid to write to.
        unsafe {
            check(tch_init_state_lock(
                generator,
                &mut locked,
                state.as_mut_ptr(),
            ))
        }?;
        let Some(locked) = NonNull::new(locked) else {
            return Ok(None);
        };
        let mut locked = LockedState {
            locked,
            state,
            _generator: PhantomData,
        };
        // SAFETY: locking wrote every field.
        let state = unsafe { locked.state.assume_init_mut() };
        match work(state) {
            Ok(result) => {
                // SAFETY: this thread holds the lock, and the state is a valid one.
                unsafe { check(tch_init_state_store(locked.locked.as_ptr(), state)) }?;
                Ok(Some(result))
            }
            Err(result) => Ok(Some(result)),
        }
    }
}

impl Drop for LockedState<'_> {
    fn drop(&mut self) {
        // SAFETY: this thread holds the lock, since the type is not `Send`, and it is not used again.
        unsafe { tch_init_state_unlock(self.locked.as_ptr()) }
    }
}

/// The storage of a tensor.
pub(crate) struct Storage<'a> {
    /// An address that all tensors of the storage share.
    pub(crate) id: usize,
    /// The size of the storage in bytes.
    pub(crate) nbytes: u64,
    /// The position of the tensor's first element, in elements.
    pub(crate) offset: i64,
    data: *const u8,
    _tensor: PhantomData<&'a Tensor>,
}

impl Storage<'_> {
    /// The bytes of the storage.
    pub(crate) fn bytes(&self) -> &[u8] {
        let nbytes = usize::try_from(self.nbytes).unwrap_or(0);
        if nbytes == 0 || self.data.is_null() {
            return &[];
        }
        // SAFETY: `storage` makes this of CPU tensors only, whose borrow keeps the memory alive.
        unsafe { std::slice::from_raw_parts(self.data, nbytes) }
    }
}

/// The storage of a tensor that is strided memory of the CPU; an error for any other tensor.
pub(crate) fn storage(tensor: &Tensor) -> Result<Storage<'_>, String> {
    let mut storage = MaybeUninit::uninit();
    // SAFETY: the tensor is live for the call, which writes `storage` or fails.
    let storage = unsafe {
        check(tch_init_storage(tensor.as_ptr(), storage.as_mut_ptr()))?;
        storage.assume_init()
    };
    Ok(Storage {
        id: storage.id as usize,
        nbytes: storage.nbytes,
        offset: storage.offset,
        data: storage.data.cast(),
        _tensor: PhantomData,
    })
}

/// Begins to intercept the operators that this thread calls.
pub(crate) fn recording_begin() -> Result<(), String> {
    // SAFETY: takes nothing.
    unsafe { check(tch_init_recording_begin()) }
}

/// Ends the recording and returns the name of the first operator that cannot be recorded, or an empty
/// string.
pub(crate) fn recording_end() -> Result<String, String> {
    // SAFETY: the function sets the text to null or a new string, or fails.
    unsafe { text(|text| tch_init_recording_end(text)) }
}

/// Whether this thread records and the tensor has no values.
pub(crate) fn is_blank(tensor: &Tensor) -> Result<bool, String> {
    let mut blank = 0;
    // SAFETY: the tensor is live for the call, and `blank` valid to write to.
    unsafe { check(tch_init_recording_is_blank(tensor.as_ptr(), &mut blank)) }?;
    Ok(blank != 0)
}

/// Marks the values of a tensor as missing while this thread records.
pub(crate) fn make_blank(tensor: &Tensor) -> Result<(), String> {
    // SAFETY: the tensor is live for the call.
    unsafe { check(tch_init_recording_make_blank(tensor.as_ptr())) }
}

/// A fact about libtorch, by its number in `cpp/libtorch.cpp`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fact {
    /// The instruction set of its kernels: `AVX2`, `AVX512`, `DEFAULT` and others.
    CpuCapability = 0,
    /// The version of MKL; empty without MKL.
    MklVersion = 1,
    /// The path of the library.
    LibraryPath = 2,
    /// Whether it has LAPACK: `yes` or `no`.
    HasLapack = 3,
    /// The version of the library in this process.
    Version = 4,
    /// The version of the headers that tch-init was built with.
    HeaderVersion = 5,
}

/// A fact about libtorch.
pub(crate) fn fact(which: Fact) -> Result<String, String> {
    // SAFETY: the function sets `text` to a new string or fails.
    unsafe { text(|text| tch_init_fact(which as c_int, text)) }
}

/// The C++ name of the function that computed a tensor, empty for a leaf.
pub(crate) fn grad_fn(tensor: &Tensor) -> Result<String, String> {
    // SAFETY: the tensor is live for the call, and the function sets `text` to a new string or fails.
    unsafe { text(|text| tch_init_grad_fn(tensor.as_ptr(), text)) }
}

/// Turns the message of a function of this module into an error.
///
/// # Safety
///
/// `failure` is what one of them returned, and is not used again.
pub(crate) unsafe fn check(failure: Failure) -> Result<(), String> {
    if failure.is_null() {
        return Ok(());
    }
    // SAFETY: not null, so by the caller's promise a NUL-terminated string that is ours to free.
    Err(unsafe { take(failure) })
}

/// # Safety
///
/// `text` is a NUL-terminated string made by `cpp/libtorch.cpp`, and is not used again.
pub(crate) unsafe fn take(text: *mut c_char) -> String {
    // SAFETY: by the caller's promise.
    let owned = unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned();
    // SAFETY: the string was made by `strdup` or `calloc` there, and `owned` is a copy.
    unsafe { tch_init_free(text) };
    owned
}

/// # Safety
///
/// `make` sets the pointer to null or a string made by `cpp/libtorch.cpp` that is not used elsewhere,
/// and returns what a function of this module returned.
unsafe fn text(make: impl FnOnce(*mut *mut c_char) -> Failure) -> Result<String, String> {
    let mut text = std::ptr::null_mut();
    // SAFETY: by the caller's promise; the failure is read once.
    unsafe { check(make(&mut text)) }?;
    if text.is_null() {
        return Ok(String::new());
    }
    // SAFETY: by the caller's promise, set by the call, not null, and not used again.
    Ok(unsafe { take(text) })
}

/// # Safety
///
/// `make` sets the pointer to a new tensor and returns null, or returns what a function of this module
/// returned.
pub(crate) unsafe fn new_tensor(
    make: impl FnOnce(*mut *mut C_tensor) -> Failure,
) -> Result<Tensor, String> {
    let mut tensor = std::ptr::null_mut();
    // SAFETY: by the caller's promise; the failure is read once.
    unsafe { check(make(&mut tensor)) }?;
    // SAFETY: the call succeeded, so by the caller's promise this is a new tensor with no other owner.
    Ok(unsafe { Tensor::from_ptr(tensor) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Generator;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use tch::Device;

    /// Without the unlock, the calls after the panic would deadlock.
    #[test]
    fn panic_unlocks_the_generator_and_discards_the_state() {
        let mut generator = Generator::new(Device::Cpu).unwrap();
        generator.manual_seed(3).unwrap();
        let before = generator.get_state().unwrap();
        let panic = catch_unwind(AssertUnwindSafe(|| {
            LockedState::with(Some(generator.as_raw()), |state| -> Result<(), ()> {
                assert_eq!(state.to_bytes(), before);
                state.words[0] ^= 1;
                panic!("while locked")
            })
        }));
        assert!(panic.is_err());
        assert_eq!(generator.get_state().unwrap(), before);
    }

    #[test]
    fn locked_state_is_stored_on_success_only() {
        let mut generator = Generator::new(Device::Cpu).unwrap();
        generator.manual_seed(3).unwrap();
        let before = generator.get_state().unwrap();
        for store in [false, true] {
            let stored = LockedState::with(Some(generator.as_raw()), |state| {
                (state.left, state.next) = (600, 25);
                state.next_double_normal = Some(0.25).into();
                state.next_float_normal = Some(-0.5).into();
                let state = state.to_bytes();
                if store { Ok(state) } else { Err(state) }
            });
            let expected = if store {
                stored.unwrap().unwrap()
            } else {
                before.clone()
            };
            assert!(generator.get_state().unwrap() == expected, "{store}");
        }
    }

    #[test]
    fn only_strided_cpu_tensors_have_a_storage() {
        let dense = Tensor::ones([2, 3], (Kind::Float, Device::Cpu));
        let storage_of = storage(&dense).unwrap();
        assert_eq!((storage_of.nbytes, storage_of.offset), (24, 0));
        assert_eq!(storage_of.bytes(), 1f32.to_le_bytes().repeat(6));
        for (tensor, expected) in [
            (dense.to_sparse(None, None::<i64>, None), "layout Sparse"),
            (dense.internal_neg_view(), "lazily negated"),
            (Tensor::new(), "undefined"),
        ] {
            let Err(message) = storage(&tensor) else {
                panic!("{expected}");
            };
            assert!(message.contains(expected), "{message}");
        }
    }
}
