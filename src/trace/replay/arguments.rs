//! Arguments as libtorch takes them.

use super::NotRun;
use crate::ffi::CArgument;
use std::ffi::CString;
use tch::Tensor;

/// An argument that can be passed.
#[derive(Debug)]
pub enum Argument {
    None,
    Int(i64),
    Float(f64),
    Bool(bool),
    Text(CString),
    Tensor(Tensor),
    List(Vec<Argument>),
}

impl Argument {
    pub fn text(text: &str) -> Result<Argument, NotRun> {
        CString::new(text)
            .map(Argument::Text)
            .map_err(|_| NotRun::Argument("text with a zero".to_owned()))
    }

    /// Another handle to the same tensors.
    pub fn shallow(&self) -> Argument {
        match self {
            Argument::None => Argument::None,
            Argument::Int(value) => Argument::Int(*value),
            Argument::Float(value) => Argument::Float(*value),
            Argument::Bool(value) => Argument::Bool(*value),
            Argument::Text(text) => Argument::Text(text.clone()),
            Argument::Tensor(tensor) => Argument::Tensor(tensor.shallow_clone()),
            Argument::List(list) => Argument::List(list.iter().map(Argument::shallow).collect()),
        }
    }

    /// Its raw form. `lists` owns the items of lists.
    pub fn raw(&self, lists: &mut Vec<Vec<CArgument>>) -> CArgument {
        match self {
            Argument::None => CArgument::none(),
            Argument::Int(value) => CArgument::int(*value),
            Argument::Float(value) => CArgument::real(*value),
            Argument::Bool(value) => CArgument::bool(*value),
            Argument::Text(text) => CArgument::text(text),
            Argument::Tensor(tensor) => CArgument::tensor(tensor),
            Argument::List(list) => {
                let items: Vec<CArgument> = list.iter().map(|item| item.raw(lists)).collect();
                let raw = CArgument::list(&items);
                // The items stay where they are when their vector is moved.
                lists.push(items);
                raw
            }
        }
    }
}
