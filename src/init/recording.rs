//! Fills that are noted instead of made, while a plan is recorded.
//!
//! A recording watches what this thread asks of libtorch. New tensors have no values meanwhile:
//! the functions of [`init`](super) note what they would write to them, and anything else that
//! needs or writes their values, or draws, is refused when the recording ends. Tensors that were
//! made with values are computed with as ever, and noted with the values that they have.

use crate::error::InitError;
use crate::ffi;
use crate::generator::{Generator, get_rng_state, set_rng_state};
use std::cell::RefCell;
use tch::{Device, Kind, Tensor};

/// What is written, or would have been.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fill {
    Uniform {
        from: f64,
        to: f64,
    },
    Normal {
        mean: f64,
        std: f64,
    },
    TruncNormal {
        mean: f64,
        std: f64,
        a: f64,
        b: f64,
    },
    Orthogonal {
        gain: f64,
    },
    Sparse {
        sparsity: f64,
        std: f64,
    },
    Constant(f64),
    Eye,
    Dirac {
        groups: i64,
    },
    /// The values of another place.
    Copy(Place),
    /// Values that were there.
    Values(Values),
}

/// Where a tensor lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The storage: no other has it as long as the recording goes on.
    pub storage: usize,
    /// Bytes of the storage.
    pub bytes: u64,
    pub kind: Kind,
    /// In elements, as the strides are.
    pub offset: i64,
    pub shape: Vec<i64>,
    pub stride: Vec<i64>,
}

/// Elements in the order of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Values {
    /// The bytes of one, which all are.
    All(Vec<u8>),
    Each(Vec<u8>),
    /// More bytes than anybody wants to see.
    Many(u64),
}

/// More bytes of values are not kept.
const MOST_BYTES: u64 = 65_536;

/// Something that was written, or would have been.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub out: Place,
    pub fill: Fill,
}

thread_local! {
    static EVENTS: RefCell<Option<Vec<Event>>> = const { RefCell::new(None) };
}

/// Notes a fill and returns `true`, if this thread records; then there is nothing else to do.
pub(crate) fn deferred(
    function: &'static str,
    tensor: &Tensor,
    generator: Option<&Generator>,
    fill: impl FnOnce() -> Fill,
) -> Result<bool, InitError> {
    if !EVENTS.with_borrow(Option::is_some) {
        return Ok(false);
    }
    let refused = |why: &str| InitError::libtorch(function, why).with_shape(&tensor.size());
    if generator.is_some() {
        return Err(refused(
            "a plan is recorded of the default stream, this draws from a generator of its own",
        ));
    }
    if tensor.device() != Device::Cpu {
        return Err(refused("a plan is recorded of tensors of the CPU"));
    }
    let out = Place::of(tensor);
    if !is_blank(tensor) {
        // What it had, of which this may write a part only.
        if let Some((whole, values)) = whole(tensor) {
            note(whole, Fill::Values(values));
        }
        // SAFETY: the tensor is live for the call; the message is read once.
        unsafe { ffi::check(ffi::tch_init_watch_make_blank(tensor.as_ptr())) }
            .map_err(|message| refused(&message))?;
    }
    note(out, fill());
    Ok(true)
}

/// Copies, or notes that.
pub(crate) fn copy_(
    function: &'static str,
    tensor: &mut Tensor,
    from: &Tensor,
) -> Result<(), InitError> {
    let source = || {
        let mut place = Place::of(from);
        if !is_blank(from) {
            // Numbers that are no addresses.
            let (_, values) = whole(from)?;
            place.storage = EVENTS.with_borrow(|events| events.as_ref().map(Vec::len))? * 2 + 1;
            let numel = place.bytes as i64 / place.kind.elt_size_in_bytes() as i64;
            let whole = Place {
                offset: 0,
                shape: vec![numel],
                stride: vec![1],
                ..place.clone()
            };
            note(whole, Fill::Values(values));
        }
        Some(Fill::Copy(place))
    };
    if EVENTS.with_borrow(Option::is_some) && tensor.size() == from.size() {
        if let Some(fill) = source() {
            deferred(function, tensor, None, || fill)?;
        }
        return Ok(());
    }
    let _no_grad = tch::no_grad_guard();
    let copied = tensor.f_copy_(from);
    copied.map_err(|error| InitError::tch(function, error).with_shape(&tensor.size()))
}

fn note(out: Place, fill: Fill) {
    EVENTS.with_borrow_mut(|events| {
        if let Some(events) = events {
            events.push(Event { out, fill });
        }
    });
}

fn is_blank(tensor: &Tensor) -> bool {
    // SAFETY: the tensor is live for the call.
    unsafe { ffi::tch_init_watch_is_blank(tensor.as_ptr()) != 0 }
}

/// The storage of a tensor as one of one dimension, and its values.
fn whole(tensor: &Tensor) -> Option<(Place, Values)> {
    let place = Place::of(tensor);
    let size = place.kind.elt_size_in_bytes() as u64;
    let numel = place.bytes / size;
    if numel == 0 {
        return None;
    }
    let data = storage(tensor).1;
    // SAFETY: the bytes of the tensor's storage, which lives as long as the tensor and which
    // nobody writes to here.
    let bytes = unsafe { std::slice::from_raw_parts(data, (numel * size) as usize) };
    let (first, rest) = bytes.split_at(size as usize);
    let values = if rest
        .chunks_exact(size as usize)
        .all(|element| element == first)
    {
        Values::All(first.to_vec())
    } else if bytes.len() as u64 > MOST_BYTES {
        Values::Many(bytes.len() as u64)
    } else {
        Values::Each(bytes.to_vec())
    };
    let whole = Place {
        offset: 0,
        shape: vec![numel as i64],
        stride: vec![1],
        ..place
    };
    Some((whole, values))
}

/// Number, data and bytes of the storage, and the offset of the first element in it.
fn storage(tensor: &Tensor) -> (usize, *const u8, u64, i64) {
    let (mut id, mut data) = (std::ptr::null(), std::ptr::null());
    let (mut bytes, mut offset) = (0, 0);
    // SAFETY: the tensor is live for the call, the places are valid to write to.
    unsafe {
        ffi::tch_init_storage(tensor.as_ptr(), &mut id, &mut data, &mut bytes, &mut offset);
    }
    (id as usize, data.cast(), bytes, offset)
}

impl Place {
    fn of(tensor: &Tensor) -> Place {
        let (storage, _, bytes, offset) = storage(tensor);
        Place {
            storage,
            bytes,
            kind: tensor.kind(),
            offset,
            shape: tensor.size(),
            stride: tensor.stride(),
        }
    }
}

/// A recording, until it is dropped.
pub(crate) struct Recording {
    /// The default stream as it was.
    stream: Vec<u8>,
    is_over: bool,
}

impl Recording {
    pub(crate) fn begin() -> Result<Recording, InitError> {
        let stream = get_rng_state()?;
        // SAFETY: takes nothing; the message is read once.
        unsafe { ffi::check(ffi::tch_init_watch_begin()) }
            .map_err(|message| InitError::libtorch("record", &message))?;
        EVENTS.set(Some(Vec::new()));
        Ok(Recording {
            stream,
            is_over: false,
        })
    }

    /// Where a tensor lies; if it has values, they are noted first.
    pub(crate) fn place(&self, tensor: &Tensor) -> Place {
        if !is_blank(tensor)
            && let Some((whole, values)) = whole(tensor)
        {
            let known = EVENTS.with_borrow(|events| {
                let events = events.as_deref().unwrap_or_default();
                events
                    .iter()
                    .any(|event| event.out.storage == whole.storage)
            });
            if !known {
                note(whole, Fill::Values(values));
            }
        }
        Place::of(tensor)
    }

    /// What was noted, or the first call that cannot be recorded.
    pub(crate) fn end(mut self) -> Result<Vec<Event>, InitError> {
        let events = EVENTS.take().unwrap_or_default();
        self.is_over = true;
        match self.stop()? {
            None => Ok(events),
            Some(call) => Err(InitError::libtorch(
                "record",
                &format!(
                    "the constructor calls {call}, which draws or needs values that a recording has not; \
                 fill tensors by the functions of tch_init::init"
                ),
            )),
        }
    }

    fn stop(&mut self) -> Result<Option<String>, InitError> {
        // SAFETY: the function sets the text to null or a string of its own making, or fails.
        let refused = unsafe { ffi::text(|text| ffi::tch_init_watch_end(text)) };
        let refused = refused.map_err(|message| InitError::libtorch("record", &message))?;
        if refused.is_empty() {
            return Ok(None);
        }
        // It may have been a draw.
        set_rng_state(&self.stream)?;
        Ok(Some(refused))
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        EVENTS.set(None);
        if let Err(error) = self.stop() {
            log::warn!("{error}");
        }
    }
}
