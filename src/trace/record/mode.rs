//! The dispatch mode of `cpp/trace.cpp`: every ATen operation of a thread, as calls of an [`Observer`].

use crate::ffi;
use std::cell::OnceCell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use tch::Tensor;
use torch_sys::C_tensor;

/// What a mode shows.
pub(super) trait Observer {
    /// An operation begins. Returns whether it is to be shown.
    fn begins(&mut self, call: &Call<'_>) -> bool;
    /// The next value is this argument. Returns whether the operation writes it.
    fn argument(&mut self, name: &str, is_keyword_only: bool, is_written: bool) -> bool;
    /// An argument, a result, or what was written; also within a list.
    fn value(&mut self, value: Value<'_>);
    /// The state of the generator of a draw, before and after it.
    fn generator(&mut self, state: &[u8]);
    /// All arguments were shown.
    fn calls(&mut self);
    /// The results follow.
    fn returned(&mut self);
    /// The next value is an argument that was written, with its index if it is in a list.
    fn written(&mut self, argument: &str, index: Option<usize>);
    /// The operation has ended.
    fn ends(&mut self);
    /// The operation has failed.
    fn failed(&mut self, message: &str);
    /// The observer itself panicked, and is called no more.
    fn panicked(&mut self);
}

/// A call of an operation.
pub(super) struct Call<'a> {
    pub(super) name: &'a str,
    pub(super) overload: &'a str,
    /// The backward node that runs.
    pub(super) node: Option<&'a str>,
    /// The leaf whose gradient it accumulates.
    pub(super) accumulated: Option<Described<'a>>,
    /// The number that the next forward node will have.
    pub(super) sequence: u64,
    /// The number that `sequence` had when the operation ran whose backward this is.
    pub(super) node_sequence: u64,
    pub(super) is_backward: bool,
    pub(super) grad: GradMode,
    pub(super) draws: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GradMode {
    On,
    Off,
    Inference,
}

/// An argument or a result.
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Double(f64),
    Complex(f64, f64),
    Text(&'a str),
    ListBegin,
    ListEnd,
    Tensor(Described<'a>),
    Generator(&'a str),
    Object(&'a str),
}

/// A tensor. The elements of one are read at a time.
pub(super) struct Described<'a> {
    raw: &'a CDescribed,
    /// Once they were read: a copy, if they are not as in memory, takes time.
    elements: OnceCell<&'a [u8]>,
    pub(super) dtype: &'a str,
    pub(super) sizes: &'a [i64],
    pub(super) device: Option<&'a str>,
    /// The place of its elements; `Err` is the layout of one that has none.
    pub(super) memory: Result<Memory<'a>, &'a str>,
}

/// Where the elements of a strided tensor are.
#[derive(Clone, Copy)]
pub(super) struct Memory<'a> {
    pub(super) strides: &'a [i64],
    pub(super) is_contiguous: bool,
    pub(super) offset: u64,
    /// The number of the storage.
    pub(super) storage: u64,
    pub(super) element_size: u64,
}

impl<'a> Described<'a> {
    /// # Safety
    ///
    /// The pointers of `raw` are valid as long as `raw` is.
    unsafe fn of(raw: &'a CDescribed) -> Described<'a> {
        let dimensions = usize::try_from(raw.dimensions).unwrap_or(0);
        let list = |data: *const i64| match dimensions {
            0 => &[][..],
            // SAFETY: by the caller's promise.
            _ => unsafe { std::slice::from_raw_parts(data, dimensions) },
        };
        // SAFETY: as above.
        let (dtype, opaque, device) =
            unsafe { (text(raw.dtype), text(raw.opaque), text(raw.device)) };
        Described {
            raw,
            elements: OnceCell::new(),
            dtype: dtype.unwrap_or("unknown"),
            sizes: list(raw.sizes),
            device,
            memory: match opaque {
                Some(layout) => Err(layout),
                None => Ok(Memory {
                    strides: list(raw.strides),
                    is_contiguous: raw.is_contiguous != 0,
                    offset: u64::try_from(raw.offset).unwrap_or(0),
                    storage: raw.storage,
                    element_size: raw.element_size,
                }),
            },
        }
    }

    /// The same for the same tensor, as long as it lives.
    pub(super) fn identity(&self) -> usize {
        self.raw.identity as usize
    }

    /// The memory that the elements fill, if they are in another order there than row-major.
    pub(super) fn reordered(&self) -> Result<Option<&[u8]>, String> {
        self.bytes(tch_init_trace_memory)
    }

    /// The logical elements in row-major order, valid until those of another tensor are read in this thread.
    pub(super) fn elements(&self) -> Result<&[u8], String> {
        if let Some(elements) = self.elements.get() {
            return Ok(elements);
        }
        let elements = self.bytes(tch_init_trace_elements)?.unwrap_or_default();
        Ok(self.elements.get_or_init(|| elements))
    }

    /// What a function of ours finds of the tensor; `None` for a null pointer.
    fn bytes(&self, find: FindBytes) -> Result<Option<&'a [u8]>, String> {
        let (mut data, mut length) = (std::ptr::null(), 0);
        // SAFETY: the tensor lives as long as its description.
        unsafe { ffi::check(find(self.raw.tensor, &mut data, &mut length)) }?;
        let data = data.cast::<u8>();
        // SAFETY: the tensor's memory, or a copy of it that is kept until another tensor is read, has these bytes. Another tensor has
        // another description, after this one, and no operation of the program runs as long as there is a description.
        Ok((!data.is_null()).then(|| unsafe { std::slice::from_raw_parts(data, length) }))
    }
}

/// Gives a pointer to bytes of a tensor, and their number.
type FindBytes =
    unsafe extern "C" fn(*const C_tensor, *mut *const c_void, *mut usize) -> ffi::Failure;

/// Describes a tensor of the program and calls `f` with it.
pub(super) fn describe<R>(
    tensor: &Tensor,
    f: impl FnOnce(Described<'_>) -> R,
) -> Result<R, String> {
    let mut raw = CDescribed::default();
    // SAFETY: the tensor is live; the function fills `raw` with pointers that are valid until its next call.
    unsafe { ffi::check(tch_init_trace_describe(tensor.as_ptr(), &mut raw)) }?;
    // SAFETY: as above.
    Ok(f(unsafe { Described::of(&raw) }))
}

/// The number of the storage of a tensor's gradient, if it has one.
pub(super) fn gradient_storage(tensor: &Tensor) -> Result<Option<u64>, String> {
    let mut number = -1;
    // SAFETY: the tensor is live.
    unsafe { ffi::check(tch_init_trace_gradient(tensor.as_ptr(), &mut number)) }?;
    Ok(u64::try_from(number).ok())
}

/// Shows the operations of this thread to an observer until [`end`].
///
/// # Safety
///
/// `observer` is valid and used by nobody else until [`end`] was called in this thread.
pub(super) unsafe fn begin<O: Observer>(observer: *mut O) -> Result<(), String> {
    let callbacks = callbacks::<O>();
    // SAFETY: the callbacks are copied; each casts the pointer to what it is here.
    unsafe { ffi::check(tch_init_trace_begin(&callbacks, observer.cast())) }
}

/// Ends what [`begin`] began in this thread.
pub(super) fn end() -> Result<(), String> {
    // SAFETY: no pointers are passed.
    unsafe { ffi::check(tch_init_trace_end()) }
}

/// What a program runs in, as libtorch says.
pub(super) struct Context {
    pub(super) version: String,
    pub(super) default_dtype: String,
    pub(super) matmul_precision: String,
    pub(super) capability: String,
    pub(super) threads: i64,
    pub(super) interop_threads: i64,
    pub(super) deterministic: bool,
    pub(super) mkldnn: bool,
    pub(super) nnpack: bool,
    pub(super) flash_sdp: bool,
    pub(super) mem_efficient_sdp: bool,
    pub(super) math_sdp: bool,
}

pub(super) fn context() -> Result<Context, String> {
    let mut raw = CContext::default();
    let mut capability = std::ptr::null_mut();
    // SAFETY: both are valid to write to; the texts in `raw` live as long as the process.
    unsafe { ffi::check(tch_init_trace_environment(&mut raw, &mut capability)) }?;
    // SAFETY: as above.
    let text = |pointer| unsafe { text(pointer) }.unwrap_or_default().to_owned();
    Ok(Context {
        version: text(raw.version),
        default_dtype: text(raw.default_dtype),
        matmul_precision: text(raw.matmul_precision),
        // SAFETY: the function made it, and it is taken once.
        capability: unsafe { ffi::take(capability) },
        threads: raw.threads.into(),
        interop_threads: raw.interop_threads.into(),
        deterministic: raw.deterministic != 0,
        mkldnn: raw.mkldnn != 0,
        nnpack: raw.nnpack != 0,
        flash_sdp: raw.flash_sdp != 0,
        mem_efficient_sdp: raw.mem_efficient_sdp != 0,
        math_sdp: raw.math_sdp != 0,
    })
}

// ---------------------------------------------------------------- the C side, as in cpp/trace.cpp

#[repr(C)]
struct CDescribed {
    tensor: *const C_tensor,
    identity: *const c_void,
    dtype: *const c_char,
    opaque: *const c_char,
    device: *const c_char,
    sizes: *const i64,
    strides: *const i64,
    dimensions: i64,
    offset: i64,
    storage: u64,
    element_size: u64,
    is_contiguous: c_int,
}

impl Default for CDescribed {
    fn default() -> CDescribed {
        CDescribed {
            tensor: std::ptr::null(),
            identity: std::ptr::null(),
            dtype: std::ptr::null(),
            opaque: std::ptr::null(),
            device: std::ptr::null(),
            sizes: std::ptr::null(),
            strides: std::ptr::null(),
            dimensions: 0,
            offset: 0,
            storage: 0,
            element_size: 0,
            is_contiguous: 0,
        }
    }
}

#[repr(C)]
struct CValue {
    tag: c_int,
    integer: i64,
    real: f64,
    imaginary: f64,
    text: *const c_char,
    tensor: *const CDescribed,
}

#[repr(C)]
struct CCall {
    name: *const c_char,
    overload: *const c_char,
    node: *const c_char,
    accumulated: *const CDescribed,
    sequence: u64,
    node_sequence: u64,
    returns: u64,
    is_backward: c_int,
    grad: c_int,
    draws: c_int,
}

#[repr(C)]
struct CContext {
    version: *const c_char,
    default_dtype: *const c_char,
    matmul_precision: *const c_char,
    threads: c_int,
    interop_threads: c_int,
    deterministic: c_int,
    mkldnn: c_int,
    nnpack: c_int,
    flash_sdp: c_int,
    mem_efficient_sdp: c_int,
    math_sdp: c_int,
}

impl Default for CContext {
    fn default() -> CContext {
        CContext {
            version: std::ptr::null(),
            default_dtype: std::ptr::null(),
            matmul_precision: std::ptr::null(),
            threads: 0,
            interop_threads: 0,
            deterministic: 0,
            mkldnn: 0,
            nnpack: 0,
            flash_sdp: 0,
            mem_efficient_sdp: 0,
            math_sdp: 0,
        }
    }
}

#[repr(C)]
struct CCallbacks {
    begins: extern "C" fn(*mut c_void, *const CCall) -> c_int,
    argument: extern "C" fn(*mut c_void, *const c_char, c_int, c_int) -> c_int,
    value: extern "C" fn(*mut c_void, *const CValue),
    generator: extern "C" fn(*mut c_void, *const u8, usize),
    calls: extern "C" fn(*mut c_void),
    returned: extern "C" fn(*mut c_void),
    written: extern "C" fn(*mut c_void, *const c_char, i64),
    ends: extern "C" fn(*mut c_void),
    failed: extern "C" fn(*mut c_void, *const c_char),
}

unsafe extern "C" {
    fn tch_init_trace_begin(callbacks: *const CCallbacks, recorder: *mut c_void) -> ffi::Failure;
    fn tch_init_trace_end() -> ffi::Failure;
    fn tch_init_trace_describe(tensor: *const C_tensor, out: *mut CDescribed) -> ffi::Failure;
    fn tch_init_trace_gradient(tensor: *const C_tensor, out: *mut i64) -> ffi::Failure;
    fn tch_init_trace_elements(
        tensor: *const C_tensor,
        data: *mut *const c_void,
        length: *mut usize,
    ) -> ffi::Failure;
    fn tch_init_trace_memory(
        tensor: *const C_tensor,
        data: *mut *const c_void,
        length: *mut usize,
    ) -> ffi::Failure;
    fn tch_init_trace_environment(out: *mut CContext, capability: *mut *mut c_char)
    -> ffi::Failure;
}

/// A text of C++; `None` for a null pointer, and for what is not UTF-8.
///
/// # Safety
///
/// The pointer is null or that of a text that lives as long as the result is used.
unsafe fn text<'a>(pointer: *const c_char) -> Option<&'a str> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: by the caller's promise.
    unsafe { CStr::from_ptr(pointer) }.to_str().ok()
}

/// The callbacks of an observer. No panic leaves them.
fn callbacks<O: Observer>() -> CCallbacks {
    /// # Safety
    ///
    /// `observer` is what [`begin`] was called with.
    unsafe fn guarded<O: Observer, R>(
        observer: *mut c_void,
        otherwise: R,
        f: impl FnOnce(&mut O) -> R,
    ) -> R {
        // SAFETY: by the caller's promise and that of `begin`. No observer calls back into the mode.
        let observer = unsafe { &mut *observer.cast::<O>() };
        match catch_unwind(AssertUnwindSafe(|| f(observer))) {
            Ok(result) => result,
            Err(_) => {
                observer.panicked();
                otherwise
            }
        }
    }

    extern "C" fn begins<O: Observer>(observer: *mut c_void, call: *const CCall) -> c_int {
        // SAFETY: C++ passes the observer and a call whose pointers are valid for the time of this one.
        unsafe {
            let raw = &*call;
            let call = Call {
                name: text(raw.name).unwrap_or_default(),
                overload: text(raw.overload).unwrap_or_default(),
                node: text(raw.node),
                accumulated: raw.accumulated.as_ref().map(|raw| Described::of(raw)),
                sequence: raw.sequence,
                node_sequence: raw.node_sequence,
                is_backward: raw.is_backward != 0,
                grad: match raw.grad {
                    0 => GradMode::On,
                    1 => GradMode::Off,
                    _ => GradMode::Inference,
                },
                draws: raw.draws != 0,
            };
            guarded::<O, _>(observer, 0, |observer| observer.begins(&call).into())
        }
    }
    extern "C" fn argument<O: Observer>(
        observer: *mut c_void,
        name: *const c_char,
        is_keyword_only: c_int,
        is_written: c_int,
    ) -> c_int {
        // SAFETY: as in `begins`.
        unsafe {
            let name = text(name).unwrap_or_default();
            guarded::<O, _>(observer, 0, |observer| {
                observer
                    .argument(name, is_keyword_only != 0, is_written != 0)
                    .into()
            })
        }
    }
    extern "C" fn value<O: Observer>(observer: *mut c_void, value: *const CValue) {
        // SAFETY: as in `begins`.
        unsafe {
            let raw = &*value;
            let text = || text(raw.text).unwrap_or_default();
            let value = match raw.tag {
                0 => Value::None,
                1 => Value::Bool(raw.integer != 0),
                2 => Value::Int(raw.integer),
                3 => Value::Double(raw.real),
                4 => Value::Complex(raw.real, raw.imaginary),
                5 => Value::Text(text()),
                6 => Value::ListBegin,
                7 => Value::ListEnd,
                8 => Value::Tensor(Described::of(&*raw.tensor)),
                9 => Value::Generator(text()),
                _ => Value::Object(text()),
            };
            guarded::<O, _>(observer, (), |observer| observer.value(value));
        }
    }
    extern "C" fn generator<O: Observer>(observer: *mut c_void, state: *const u8, length: usize) {
        // SAFETY: as in `begins`; `state` has `length` bytes.
        unsafe {
            let state = std::slice::from_raw_parts(state, length);
            guarded::<O, _>(observer, (), |observer| observer.generator(state));
        }
    }
    extern "C" fn calls<O: Observer>(observer: *mut c_void) {
        // SAFETY: as in `begins`.
        unsafe { guarded::<O, _>(observer, (), O::calls) }
    }
    extern "C" fn returned<O: Observer>(observer: *mut c_void) {
        // SAFETY: as in `begins`.
        unsafe { guarded::<O, _>(observer, (), O::returned) }
    }
    extern "C" fn written<O: Observer>(observer: *mut c_void, argument: *const c_char, index: i64) {
        // SAFETY: as in `begins`.
        unsafe {
            let argument = text(argument).unwrap_or_default();
            let index = usize::try_from(index).ok();
            guarded::<O, _>(observer, (), |observer| observer.written(argument, index));
        }
    }
    extern "C" fn ends<O: Observer>(observer: *mut c_void) {
        // SAFETY: as in `begins`.
        unsafe { guarded::<O, _>(observer, (), O::ends) }
    }
    extern "C" fn failed<O: Observer>(observer: *mut c_void, message: *const c_char) {
        // SAFETY: as in `begins`.
        unsafe {
            let message = text(message).unwrap_or_default();
            guarded::<O, _>(observer, (), |observer| observer.failed(message));
        }
    }
    CCallbacks {
        begins: begins::<O>,
        argument: argument::<O>,
        value: value::<O>,
        generator: generator::<O>,
        calls: calls::<O>,
        returned: returned::<O>,
        written: written::<O>,
        ends: ends::<O>,
        failed: failed::<O>,
    }
}
