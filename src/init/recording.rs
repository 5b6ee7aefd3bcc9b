//! The recording of initializations instead of making them, from which plans are built.
//!
//! While a thread records, the tensors that it creates have no values. The functions of [`init`](super)
//! note what they would write. libtorch runs everything else, but an operator that draws, or that reads
//! or writes missing values, makes the recording fail when it ends. Tensors that were created with
//! values keep them, and their values are noted.

use crate::error::InitError;
use crate::ffi;
use crate::generator::{Generator, get_rng_state, set_rng_state};
use crate::rng::Draw;
use std::cell::RefCell;
use tch::{Kind, Tensor};

/// What an event writes to a tensor.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fill {
    /// The values of a draw.
    Draw(Draw),
    /// One number.
    Constant(f64),
    /// The identity matrix.
    Eye,
    /// The Dirac delta of a convolution.
    Dirac { groups: i64 },
    /// The values of another tensor.
    Copy(Location),
    /// Values that the tensor was created with.
    Values(Values),
}

/// The location of a tensor in its storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    /// The identity of the storage, unique during the recording.
    pub storage: usize,
    /// The size of the storage in bytes.
    pub bytes: u64,
    /// The dtype of the elements.
    pub kind: Kind,
    /// The position of the first element, in elements.
    pub offset: i64,
    /// The size of each dimension.
    pub shape: Vec<i64>,
    /// The stride of each dimension, in elements.
    pub stride: Vec<i64>,
}

/// The elements of a storage, in memory order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Values {
    /// Equal elements: the bytes of one.
    Repeated(Vec<u8>),
    /// The bytes of all elements.
    Each(Vec<u8>),
}

/// A write to a tensor, made or replaced by the recording.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    /// The tensor written to.
    pub out: Location,
    /// The values written.
    pub fill: Fill,
}

thread_local! {
    static EVENTS: RefCell<Option<Vec<Event>>> = const { RefCell::new(None) };
}

/// Whether this thread records.
pub(crate) fn is_recording() -> bool {
    EVENTS.with_borrow(Option::is_some)
}

/// Notes a fill and returns `true` if this thread records; the caller then writes nothing.
pub(crate) fn intercept(
    function: &'static str,
    tensor: &Tensor,
    generator: Option<&Generator>,
    fill: impl FnOnce() -> Fill,
) -> Result<bool, InitError> {
    if !is_recording() {
        return Ok(false);
    }
    let refused = |why: String| InitError::libtorch(function, &why).with_shape(&tensor.size());
    if generator.is_some() {
        let why = "a plan records draws from the default generator only, this one is explicit";
        return Err(refused(why.to_owned()));
    }
    let out = Location::of(tensor).map_err(refused)?;
    if !ffi::is_blank(tensor).map_err(refused)? {
        // The fill may overwrite only a part of the storage.
        if let Some((storage, values)) = stored_values(tensor).map_err(refused)? {
            note(storage, Fill::Values(values));
        }
        ffi::make_blank(tensor).map_err(refused)?;
    }
    note(out, fill());
    Ok(true)
}

/// Copies `from` to a tensor, or notes the copy if this thread records.
pub(crate) fn copy_(
    function: &'static str,
    tensor: &mut Tensor,
    from: &Tensor,
) -> Result<(), InitError> {
    if is_recording() && tensor.size() == from.size() {
        let source = copied_location(from);
        let source = source.map_err(|why| InitError::libtorch(function, &why))?;
        if let Some(source) = source {
            intercept(function, tensor, None, || Fill::Copy(source))?;
        }
        return Ok(());
    }
    let _no_grad = tch::no_grad_guard();
    let copied = tensor.f_copy_(from);
    copied.map_err(|error| InitError::tch(function, error).with_shape(&tensor.size()))
}

/// The location of a tensor that is copied from; its values, if it has any, are noted as those of a
/// storage of their own, since the tensor's may change. `None` for an empty storage.
fn copied_location(from: &Tensor) -> Result<Option<Location>, String> {
    let mut location = Location::of(from)?;
    if ffi::is_blank(from)? {
        return Ok(Some(location));
    }
    let Some((mut storage, values)) = stored_values(from)? else {
        return Ok(None);
    };
    // An odd number is never an address.
    let events = EVENTS.with_borrow(|events| events.as_ref().map_or(0, Vec::len));
    location.storage = 2 * events + 1;
    storage.storage = location.storage;
    note(storage, Fill::Values(values));
    Ok(Some(location))
}

/// The number of events that this thread has recorded; `None` if it does not record.
pub(crate) fn mark() -> Option<usize> {
    EVENTS.with_borrow(|events| events.as_ref().map(Vec::len))
}

/// Takes the events after a mark out of the recording.
pub(crate) fn take_since(mark: Option<usize>) -> Vec<Event> {
    EVENTS.with_borrow_mut(|events| match (events, mark) {
        (Some(events), Some(mark)) if mark <= events.len() => events.split_off(mark),
        _ => Vec::new(),
    })
}

/// Adds events that were taken out to the recording.
pub(crate) fn append(taken: impl IntoIterator<Item = Event>) {
    EVENTS.with_borrow_mut(|events| {
        if let Some(events) = events {
            events.extend(taken);
        }
    });
}

fn note(out: Location, fill: Fill) {
    EVENTS.with_borrow_mut(|events| {
        if let Some(events) = events {
            events.push(Event { out, fill });
        }
    });
}

/// The storage of a tensor as a location of one dimension, and its values; `None` if it is empty.
fn stored_values(tensor: &Tensor) -> Result<Option<(Location, Values)>, String> {
    let storage = ffi::storage(tensor)?;
    let kind = tensor.f_kind().map_err(|error| error.to_string())?;
    let size = kind.elt_size_in_bytes();
    let bytes = storage.bytes();
    let numel = bytes.len() / size;
    let bytes = &bytes[..numel * size];
    let Some((first, rest)) = bytes.split_at_checked(size).filter(|_| numel > 0) else {
        return Ok(None);
    };
    let values = if rest.chunks_exact(size).all(|element| element == first) {
        Values::Repeated(first.to_vec())
    } else {
        Values::Each(bytes.to_vec())
    };
    let location = Location {
        storage: storage.id,
        bytes: storage.nbytes,
        kind,
        offset: 0,
        shape: vec![numel as i64],
        stride: vec![1],
    };
    Ok(Some((location, values)))
}

impl Location {
    /// The location of a strided CPU tensor.
    fn of(tensor: &Tensor) -> Result<Location, String> {
        let storage = ffi::storage(tensor)?;
        Ok(Location {
            storage: storage.id,
            bytes: storage.nbytes,
            kind: tensor.f_kind().map_err(|error| error.to_string())?,
            offset: storage.offset,
            shape: tensor.size(),
            stride: tensor.stride(),
        })
    }
}

/// A recording on this thread, which ends when it is dropped.
pub(crate) struct Recording {
    /// The state of the default generator when the recording began.
    state: Vec<u8>,
    is_over: bool,
}

impl Recording {
    pub(crate) fn begin() -> Result<Recording, InitError> {
        let state = get_rng_state()?;
        ffi::recording_begin().map_err(|message| InitError::libtorch("record", &message))?;
        EVENTS.set(Some(Vec::new()));
        Ok(Recording {
            state,
            is_over: false,
        })
    }

    /// The location of a tensor. Values that it was created with are noted.
    pub(crate) fn locate(&self, tensor: &Tensor) -> Result<Location, InitError> {
        let locate = || {
            if !ffi::is_blank(tensor)?
                && let Some((storage, values)) = stored_values(tensor)?
                && !is_noted(storage.storage)
            {
                note(storage, Fill::Values(values));
            }
            Location::of(tensor)
        };
        locate().map_err(|why| InitError::libtorch("record", &why).with_shape(&tensor.size()))
    }

    /// The events in order, or an error that names the first operator that cannot be recorded.
    pub(crate) fn end(mut self) -> Result<Vec<Event>, InitError> {
        let events = EVENTS.take().unwrap_or_default();
        self.is_over = true;
        match self.stop()? {
            None => Ok(events),
            Some(operator) => Err(InitError::libtorch(
                "record",
                &format!(
                    "the constructor calls {operator}, which draws or needs values that a recording \
                     lacks; fill tensors by the functions of tch_init::init"
                ),
            )),
        }
    }

    fn stop(&mut self) -> Result<Option<String>, InitError> {
        let refused = ffi::recording_end();
        let refused = refused.map_err(|message| InitError::libtorch("record", &message))?;
        if refused.is_empty() {
            return Ok(None);
        }
        // The operator may have drawn.
        set_rng_state(&self.state)?;
        Ok(Some(refused))
    }
}

/// Whether a fill of the storage was noted.
fn is_noted(storage: usize) -> bool {
    EVENTS.with_borrow(|events| {
        let mut events = events.iter().flatten();
        events.any(|event| event.out.storage == storage)
    })
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
