//! libtorch's operators, called by their schemas.

use super::{Argument, OperatorCall, Scalar};
use crate::ffi::{self, CArgument, CGenerator};
use std::ffi::CString;
use tch::{TchError, Tensor};

/// Calls an operator with its tensors by the numbers of their views. The result of one in place is in
/// `target`, its first argument; others have new tensors, as many as `outs`.
pub(super) fn call(
    call: &OperatorCall,
    view: &impl Fn(usize) -> Result<Tensor, TchError>,
    target: Option<&Tensor>,
    outs: usize,
    generator: Option<&CGenerator>,
) -> Result<Vec<Tensor>, TchError> {
    let mut owned = Owned::default();
    for argument in &call.args {
        owned.add(argument, view)?;
    }
    // Lists do not nest.
    let lists = owned.lists.iter().map(|list| owned.raw(list, &[]));
    let lists: Vec<Vec<CArgument>> = lists.collect();
    let mut arguments: Vec<CArgument> = target.map(CArgument::tensor).into_iter().collect();
    arguments.extend(owned.raw(&owned.arguments, &lists));
    let name = text(&format!("aten::{}", call.operator.name()))?;
    let overload = text(&call.overload)?;
    // SAFETY: the operators that a plan may call are functions of their arguments, but for those in place, which
    // overwrite the first one, whose memory the caller owns. The arguments outlive the call.
    let made = unsafe {
        ffi::call(
            &name,
            &overload,
            target.is_some(),
            &arguments,
            generator,
            outs,
        )
    };
    made.map_err(TchError::Torch)
}

/// What the arguments of a call point to.
#[derive(Default)]
struct Owned {
    tensors: Vec<Tensor>,
    texts: Vec<CString>,
    arguments: Vec<Part>,
    lists: Vec<Vec<Part>>,
}

/// An argument, by the number of what it points to.
enum Part {
    None,
    Tensor(usize),
    Scalar(Scalar),
    Text(usize),
    List(usize),
}

impl Owned {
    fn add(
        &mut self,
        argument: &Argument,
        view: &impl Fn(usize) -> Result<Tensor, TchError>,
    ) -> Result<(), TchError> {
        let part = match argument {
            Argument::View(of) => self.tensor(view(*of)?),
            Argument::Scalar(value) => Part::Scalar(*value),
            Argument::Text(value) => {
                self.texts.push(text(value)?);
                Part::Text(self.texts.len() - 1)
            }
            Argument::Views(views) => {
                let mut list = Vec::with_capacity(views.len());
                for of in views {
                    list.push(match of {
                        Some(of) => self.tensor(view(*of)?),
                        None => Part::None,
                    });
                }
                self.list(list)
            }
            Argument::Scalars(values) => {
                self.list(values.iter().map(|value| Part::Scalar(*value)).collect())
            }
            // Also what a newer plan may have, which libtorch then rejects.
            _ => Part::None,
        };
        self.arguments.push(part);
        Ok(())
    }

    fn tensor(&mut self, tensor: Tensor) -> Part {
        self.tensors.push(tensor);
        Part::Tensor(self.tensors.len() - 1)
    }

    fn list(&mut self, list: Vec<Part>) -> Part {
        self.lists.push(list);
        Part::List(self.lists.len() - 1)
    }

    /// The arguments as C++ takes them, which refer to `self` and to the lists.
    fn raw(&self, parts: &[Part], lists: &[Vec<CArgument>]) -> Vec<CArgument> {
        let raw = |part: &Part| match part {
            Part::None => CArgument::none(),
            Part::Tensor(number) => CArgument::tensor(&self.tensors[*number]),
            Part::Text(number) => CArgument::text(&self.texts[*number]),
            Part::Scalar(Scalar::Int(value)) => CArgument::int(*value),
            Part::Scalar(Scalar::Float(value)) => CArgument::real(*value),
            Part::Scalar(Scalar::Bool(value)) => CArgument::bool(*value),
            Part::List(number) => CArgument::list(&lists[*number]),
        };
        parts.iter().map(raw).collect()
    }
}

fn text(text: &str) -> Result<CString, TchError> {
    CString::new(text).map_err(|_| TchError::Torch("a text with a zero byte".to_owned()))
}
