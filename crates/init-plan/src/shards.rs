//! In which files whole tensors are: as huggingface_hub splits a `state_dict`.

use crate::piece::Piece;
use std::collections::BTreeMap;

/// The tensors of each file, by number: one over the limit is alone, and the file that is being filled stays open.
pub(crate) fn split(tensors: &[Piece<'_>], limit: u64) -> Vec<Vec<usize>> {
    let (mut files, mut current, mut size) = (Vec::new(), Vec::new(), 0);
    for (number, tensor) in tensors.iter().enumerate() {
        let bytes = tensor.bytes();
        if bytes > limit {
            files.push(vec![number]);
            continue;
        }
        if size + bytes > limit {
            files.push(std::mem::take(&mut current));
            size = 0;
        }
        size += bytes;
        current.push(number);
    }
    if !current.is_empty() || files.is_empty() {
        files.push(current);
    }
    files
}

/// A module: its tensors, then its children.
#[derive(Default)]
struct Module<'a> {
    tensors: Vec<Piece<'a>>,
    children: Vec<Module<'a>>,
    numbers: BTreeMap<&'a str, usize>,
}

impl<'a> Module<'a> {
    fn add(&mut self, path: &'a str, tensor: Piece<'a>) {
        // Not recursive: a name may have hundreds of dots.
        let (mut module, mut rest) = (self, path);
        while let Some((child, after)) = rest.split_once('.') {
            let next = module.children.len();
            let number = *module.numbers.entry(child).or_insert(next);
            if number == next {
                module.children.push(Module::default());
            }
            (module, rest) = (&mut module.children[number], after);
        }
        module.tensors.push(tensor);
    }
}

/// Sorts tensors as a `state_dict` has them: a module's parameters, its buffers, then its children.
pub(crate) fn in_state_dict_order(tensors: Vec<Piece<'_>>) -> Vec<Piece<'_>> {
    let mut root = Module::default();
    for tensor in tensors {
        root.add(tensor.name, tensor);
    }
    let (mut ordered, mut open) = (Vec::new(), vec![root]);
    while let Some(module) = open.pop() {
        ordered.extend(module.tensors);
        open.extend(module.children.into_iter().rev());
    }
    ordered
}
