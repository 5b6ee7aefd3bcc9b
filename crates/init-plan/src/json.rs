//! Reads the JSON of a plan: types are checked here, everything else later.
//!
//! Lists are cut off at their limits while they are read, so that memory stays within a small
//! multiple of the file's size.

use crate::error::PlanError;
use crate::limits;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;
use std::sync::LazyLock;
use torch_rng::Semantics;

/// A plan before its rows are checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Raw {
    #[serde(rename = "format")]
    _format: IgnoredAny,
    #[serde(rename = "version")]
    _version: IgnoredAny,
    pub pytorch: String,
    pub semantics: RawSemantics,
    pub model: String,
    #[serde(default, deserialize_with = "present")]
    pub data: Option<RawData>,
    pub storages: Rows<u64>,
    pub views: Rows<RawView>,
    pub steps: Rows<RawStep>,
    pub parameters: Rows<RawName>,
    pub buffers: Rows<RawName>,
}

/// The keys that are read first, so that a newer plan is reported as newer and not as damaged.
#[derive(Deserialize)]
struct Head {
    format: Short,
    version: Short,
    semantics: Short,
}

/// The names of all semantics, as they are quoted in JSON.
static SEMANTICS: LazyLock<String> = LazyLock::new(|| {
    let names = Semantics::ALL.map(|semantics| format!("\"{}\"", semantics.name()));
    names.join(" or ")
});

pub(crate) fn parse(json: &[u8]) -> Result<Raw, PlanError> {
    // The derived readers take an array of the values too.
    match json.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => {}
        None => {
            return Err(PlanError::Json(
                "expected a JSON object, found nothing".to_owned(),
            ));
        }
        Some(_) => return Err(PlanError::Json("expected a JSON object".to_owned())),
    }
    let head: Head = read(json)?;
    for (key, found, known) in [
        ("format", head.format.0, "\"tch-init plan\""),
        ("version", head.version.0, "1 or 2"),
        ("semantics", head.semantics.0, SEMANTICS.as_str()),
    ] {
        if !known.split(" or ").any(|known| known == found) {
            return Err(PlanError::Version { key, found, known });
        }
    }
    read(json)
}

fn read<'de, T: Deserialize<'de>>(json: &'de [u8]) -> Result<T, PlanError> {
    serde_json::from_slice(json).map_err(|error| {
        // It quotes what it found, which may be long or hold control characters.
        let message = error.to_string();
        let mut text: String = message
            .chars()
            .flat_map(char::escape_debug)
            .take(300)
            .collect();
        if text.len() == 300 {
            text += "...";
        }
        PlanError::Json(text.replace("\\\"", "\"").replace("\\'", "'"))
    })
}

/// A number or a text, as JSON has it, for a message.
struct Short(String);

impl<'de> Deserialize<'de> for Short {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Short, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Short;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or a text")
            }
            fn visit_u64<E>(self, number: u64) -> Result<Short, E> {
                Ok(Short(number.to_string()))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Short, E> {
                Ok(Short(number.to_string()))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Short, E> {
                Ok(Short(format!("{number:?}")))
            }
            fn visit_str<E>(self, text: &str) -> Result<Short, E> {
                Ok(Short(crate::error::Shown(text).to_string()))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

/// The name of [`Semantics`].
pub(crate) struct RawSemantics(pub Semantics);

impl<'de> Deserialize<'de> for RawSemantics {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RawSemantics, D::Error> {
        let name = String::deserialize(deserializer)?;
        let semantics = Semantics::from_name(&name);
        let semantics = semantics.ok_or_else(|| D::Error::custom("unknown semantics"))?;
        Ok(RawSemantics(semantics))
    }
}

/// A list of at most [`limits::ROWS`].
#[derive(Debug)]
pub(crate) struct Rows<T>(pub Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Rows<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_seq(List(limits::ROWS, PhantomData))
            .map(Rows)
    }
}

/// Reads a list of at most this many rows.
struct List<T>(usize, PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {}", self.0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
        let mut rows = Vec::new();
        while let Some(row) = seq.next_element()? {
            if rows.len() == self.0 {
                return Err(A::Error::custom(format!(
                    "expected a list of at most {}, found more",
                    self.0
                )));
            }
            rows.push(row);
        }
        Ok(rows)
    }
}

/// The sizes or strides of a view.
#[derive(Default)]
pub(crate) struct Sizes(pub Vec<u64>);

impl<'de> Deserialize<'de> for Sizes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_seq(List(limits::DIMS, PhantomData))
            .map(Sizes)
    }
}

/// `[file, bytes, sha256]` of the data beside the plan.
pub(crate) struct RawData {
    pub file: String,
    pub bytes: u64,
    pub sha256: String,
}

/// Reads a key that may be absent, but not `null`.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// `[storage, dtype, shape, offset, stride]`, the last two optional.
pub(crate) struct RawView {
    pub storage: u64,
    pub dtype: String,
    pub shape: Vec<u64>,
    pub offset: u64,
    pub stride: Option<Vec<u64>>,
}

/// `[op, out, args...]`; a call of an operator has a list of outputs.
pub(crate) struct RawStep {
    pub op: String,
    pub out: RawOut,
    pub args: Vec<Arg>,
}

/// A view or a stream, or a list of views.
#[derive(Clone)]
pub(crate) enum RawOut {
    One(u64),
    Many(Vec<u64>),
}

impl<'de> Deserialize<'de> for RawOut {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RawOut, D::Error> {
        struct Out;
        impl<'de> Visitor<'de> for Out {
            type Value = RawOut;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a view or a list of views")
            }
            fn visit_u64<E>(self, view: u64) -> Result<RawOut, E> {
                Ok(RawOut::One(view))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<RawOut, A::Error> {
                List(limits::OUTS, PhantomData)
                    .visit_seq(seq)
                    .map(RawOut::Many)
            }
        }
        deserializer.deserialize_any(Out)
    }
}

/// `[name, view, options]`, the last one optional.
pub(crate) struct RawName {
    pub name: String,
    pub view: u64,
    pub options: Options,
}

/// What differs from the default.
#[derive(Default)]
pub(crate) struct Options {
    pub requires_grad: Option<bool>,
    pub persistent: Option<bool>,
    pub unset: Option<bool>,
}

/// Reads a row with a function of its elements.
macro_rules! row {
    ($row:ty, $expecting:literal, |$seq:ident| $read:block) => {
        impl<'de> Deserialize<'de> for $row {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Row;
                impl<'de> Visitor<'de> for Row {
                    type Value = $row;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_seq<A: SeqAccess<'de>>(self, mut $seq: A) -> Result<$row, A::Error> {
                        $read
                    }
                }
                deserializer.deserialize_seq(Row)
            }
        }
    };
}

row!(RawData, "[file, bytes, sha256]", |seq| {
    let row = RawData {
        file: need(&mut seq, "the file of the data")?,
        bytes: need(&mut seq, "the bytes of the data")?,
        sha256: need(&mut seq, "the hash of the data")?,
    };
    end(&mut seq)?;
    Ok(row)
});

row!(RawView, "[storage, dtype, shape, offset, stride]", |seq| {
    let row = RawView {
        storage: need(&mut seq, "the storage of a view")?,
        dtype: need(&mut seq, "the dtype of a view")?,
        shape: need::<Sizes, A>(&mut seq, "the shape of a view")?.0,
        offset: seq.next_element()?.unwrap_or(0),
        stride: seq.next_element::<Sizes>()?.map(|sizes| sizes.0),
    };
    end(&mut seq)?;
    Ok(row)
});

row!(RawStep, "[op, out, args...]", |seq| {
    let (op, out) = (
        need(&mut seq, "the op of a step")?,
        need(&mut seq, "the view that a step writes")?,
    );
    let args = List(limits::ARGS, PhantomData).visit_seq(seq)?;
    Ok(RawStep { op, out, args })
});

row!(RawName, "[name, view, options]", |seq| {
    let row = RawName {
        name: need(&mut seq, "a name")?,
        view: need(&mut seq, "the view of a name")?,
        options: seq.next_element()?.unwrap_or_default(),
    };
    end(&mut seq)?;
    Ok(row)
});

fn need<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(
    seq: &mut A,
    what: &str,
) -> Result<T, A::Error> {
    seq.next_element()?
        .ok_or_else(|| A::Error::custom(format!("expected {what}")))
}

fn end<'de, A: SeqAccess<'de>>(seq: &mut A) -> Result<(), A::Error> {
    match seq.next_element::<IgnoredAny>()? {
        None => Ok(()),
        Some(_) => Err(A::Error::custom("too many entries in a row")),
    }
}

impl<'de> Deserialize<'de> for Options {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Options;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of options")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Options, A::Error> {
                let mut options = Options::default();
                while let Some(key) = map.next_key::<String>()? {
                    let option = match key.as_str() {
                        "requires_grad" => &mut options.requires_grad,
                        "persistent" => &mut options.persistent,
                        "unset" => &mut options.unset,
                        _ => return Err(A::Error::custom(format!("unknown option `{key}`"))),
                    };
                    if option.replace(map.next_value()?).is_some() {
                        return Err(A::Error::custom(format!("duplicate option `{key}`")));
                    }
                }
                Ok(options)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// An argument of a step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Arg {
    View(u64),
    Int(i64),
    Float(f64),
    Bool(bool),
    Null,
    Text(String),
    /// A list of views.
    Views(Vec<u64>),
    /// A list of ints, or an empty list.
    Ints(Vec<i64>),
    /// A list of views some of which are absent, or of numbers that are not all ints.
    Items(Vec<Item>),
}

/// An item of a list of arguments.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Item {
    View(u64),
    Int(i64),
    Float(f64),
    Bool(bool),
    Null,
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Arg::deserialize(deserializer)? {
            Arg::View(view) => Ok(Item::View(view)),
            Arg::Int(int) => Ok(Item::Int(int)),
            Arg::Float(float) => Ok(Item::Float(float)),
            Arg::Bool(bool) => Ok(Item::Bool(bool)),
            Arg::Null => Ok(Item::Null),
            _ => Err(D::Error::custom("expected numbers or views in a list")),
        }
    }
}

impl<'de> Deserialize<'de> for Arg {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Arg;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an argument of a step")
            }
            fn visit_bool<E>(self, value: bool) -> Result<Arg, E> {
                Ok(Arg::Bool(value))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Arg, E> {
                Ok(Arg::Int(value))
            }
            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Arg, E> {
                i64::try_from(value)
                    .map(Arg::Int)
                    .map_err(|_| E::custom(format!("expected an i64, found {value}")))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Arg, E> {
                Ok(Arg::Float(value))
            }
            fn visit_unit<E>(self) -> Result<Arg, E> {
                Ok(Arg::Null)
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Arg, E> {
                if text.len() > limits::TEXT {
                    return Err(E::custom(format!(
                        "expected text of at most {} bytes",
                        limits::TEXT
                    )));
                }
                Ok(Arg::Text(text.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Arg, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    if items.len() == limits::LIST {
                        let limit = limits::LIST;
                        return Err(A::Error::custom(format!(
                            "expected a list of at most {limit}, found more"
                        )));
                    }
                    items.push(item);
                }
                list(items).ok_or_else(|| {
                    A::Error::custom("expected only numbers or only views in a list")
                })
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Arg, A::Error> {
                let view = match map.next_key::<String>()?.as_deref() {
                    Some("view") => Arg::View(map.next_value()?),
                    _ => return Err(A::Error::custom("expected {\"view\": index}")),
                };
                match map.next_key::<IgnoredAny>()? {
                    None => Ok(view),
                    Some(_) => Err(A::Error::custom("expected {\"view\": index}")),
                }
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// A list by the kind of its items; `None` for views among numbers.
fn list(items: Vec<Item>) -> Option<Arg> {
    let views = items.iter().map(|item| match item {
        Item::View(view) => Some(*view),
        _ => None,
    });
    let ints = items.iter().map(|item| match item {
        Item::Int(int) => Some(*int),
        _ => None,
    });
    let has_view = items.iter().any(|item| matches!(item, Item::View(_)));
    let is_view = |item: &Item| matches!(item, Item::View(_) | Item::Null);
    match (ints.collect(), views.collect()) {
        (Some(ints), _) => Some(Arg::Ints(ints)),
        (_, Some(views)) => Some(Arg::Views(views)),
        _ if has_view && !items.iter().all(is_view) => None,
        _ => Some(Arg::Items(items)),
    }
}
