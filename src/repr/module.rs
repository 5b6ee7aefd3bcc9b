//! Modules as Python prints them.

use crate::walk::{Layer, VisitError, Walk};
use std::fmt::Write;
use tch::nn::VarStore;

/// Prints the layers of `vs` as `str(model)` does in Python for a model of this class.
///
/// Layers print with the options that they were made with; a layer that tch made prints what its
/// shapes show, and `...` for the rest. Containers print as `Module`, since a `VarStore` does not
/// know their classes.
///
/// Follows `Module.__repr__`, `torch/nn/modules/module.py`, PyTorch 2.13.
///
/// # Errors
///
/// [`VisitError`] as [`Walk::layers`].
///
/// ```
/// use tch::nn::VarStore;
///
/// # fn main() -> Result<(), tch_init::VisitError> {
/// let vs = VarStore::new(tch::Device::Cpu);
/// tch_init::nn::f_linear(vs.root() / "fc", 4, 2, Default::default()).unwrap();
/// assert_eq!(
///     tch_init::repr::module_str("Net", &vs)?,
///     "Net(\n  (fc): Linear(in_features=4, out_features=2, bias=True)\n)"
/// );
/// # Ok(())
/// # }
/// ```
pub fn module_str(class: &str, vs: &VarStore) -> Result<String, VisitError> {
    let mut root = Node::new(class);
    for layer in Walk::new().layers(vs)? {
        if !layer.is_within_another() {
            root.insert(&layer);
        }
    }
    Ok(root.text())
}

/// A module and its children in the order in which they were registered.
struct Node {
    text: String,
    children: Vec<(String, Node)>,
}

impl Node {
    fn new(class: &str) -> Node {
        Node {
            text: format!("{class}()"),
            children: Vec::new(),
        }
    }

    fn insert(&mut self, layer: &Layer) {
        let mut node = self;
        for name in layer.path().split('.').filter(|name| !name.is_empty()) {
            let at = match node.children.iter().position(|(known, _)| known == name) {
                Some(at) => at,
                None => {
                    node.children.push((name.to_owned(), Node::new("Module")));
                    node.children.len() - 1
                }
            };
            node = &mut node.children[at].1;
        }
        // A layer at the root is part of the caller's class.
        if let (Some(text), false) = (layer.repr(), layer.path().is_empty()) {
            node.text = text.to_owned();
        }
    }

    fn text(&self) -> String {
        if self.children.is_empty() {
            return self.text.clone();
        }
        let class = self.text.split('(').next().unwrap_or_default();
        let mut text = format!("{class}(\n");
        for (name, child) in &self.children {
            let child = child.text().replace('\n', "\n  ");
            // Writing to a String cannot fail.
            writeln!(text, "  ({name}): {child}").unwrap_or_default();
        }
        text.push(')');
        text
    }
}
