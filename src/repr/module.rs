//! Modules as Python prints them.

use crate::walk::{Layer, VisitError, Walk};
use tch::nn::VarStore;

/// Prints the layers of `vs` as `str(model)` does in Python for a model of this class.
///
/// Layers print with the options that they were made with; a layer that tch made prints what its
/// shapes show, and `...` for the rest. Containers print as `Module`, since a `VarStore` does not
/// know their classes.
///
/// Layers at one path, which Python does not have, are printed one after the other under its name.
/// Those at the root have no name and are printed as `()`, unless the only one is of `class`, which
/// is then the model itself.
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
    let mut root = Node::default();
    for layer in Walk::new().layers(vs)? {
        if !layer.is_within_another() {
            root.insert(&layer);
        }
    }
    Ok(root.model(class))
}

/// A path: the layers at it, and what lies below it in the order of registration.
#[derive(Default)]
struct Node {
    layers: Vec<String>,
    children: Vec<(String, Node)>,
}

impl Node {
    fn insert(&mut self, layer: &Layer) {
        let mut node = self;
        for name in layer.path().split('.').filter(|name| !name.is_empty()) {
            let at = match node.children.iter().position(|(known, _)| known == name) {
                Some(at) => at,
                None => {
                    node.children.push((name.to_owned(), Node::default()));
                    node.children.len() - 1
                }
            };
            node = &mut node.children[at].1;
        }
        node.layers.extend(layer.repr().map(str::to_owned));
    }

    /// The modules at this path.
    fn modules(&self) -> Vec<String> {
        let children: Vec<String> = self.children.iter().flat_map(Node::lines).collect();
        match self.layers.as_slice() {
            [] => vec![with_children("Module()", &children)],
            [layer] => vec![with_children(layer, &children)],
            layers if children.is_empty() => layers.to_vec(),
            // It does not show which of the layers they belong to.
            layers => {
                let below = with_children("Module()", &children);
                layers.iter().cloned().chain([below]).collect()
            }
        }
    }

    /// The modules at the path of a child, each with its name.
    fn lines((name, child): &(String, Node)) -> Vec<String> {
        let modules = child.modules().into_iter();
        modules
            .map(|module| format!("({name}): {module}"))
            .collect()
    }

    /// The model of a class: layers at the root are nameless parts of it.
    fn model(&self, class: &str) -> String {
        let children = self.children.iter().flat_map(Node::lines);
        match self.layers.as_slice() {
            [layer] if class_of(layer) == class => {
                with_children(layer, &children.collect::<Vec<_>>())
            }
            layers => {
                let layers = layers.iter().map(|layer| format!("(): {layer}"));
                let lines: Vec<String> = layers.chain(children).collect();
                with_children(&format!("{class}()"), &lines)
            }
        }
    }
}

/// The class of a printed module.
fn class_of(module: &str) -> &str {
    module.split('(').next().unwrap_or_default()
}

/// A printed module with more children, each a name and a module: `Module.__repr__`,
/// `torch/nn/modules/module.py`, PyTorch 2.13.
fn with_children(module: &str, children: &[String]) -> String {
    let class = class_of(module);
    let inner = module.strip_prefix(class).unwrap_or_default();
    let inner = inner.strip_prefix('(').and_then(|t| t.strip_suffix(')'));
    let Some(inner) = inner.filter(|_| !children.is_empty()) else {
        return module.to_owned();
    };
    // Options and children that it has already are indented if they take several lines.
    let mut text = match inner.trim_end() {
        "" => format!("{class}("),
        options if options.starts_with('\n') => format!("{class}({options}"),
        options => format!("{class}(\n  {options}"),
    };
    for child in children {
        text.push_str("\n  ");
        text.push_str(&child.replace('\n', "\n  "));
    }
    text.push_str("\n)");
    text
}

#[cfg(test)]
mod tests {
    use super::module_str;
    use tch::nn::{self, VarStore};

    fn printed(class: &str, build: fn(&nn::Path<'_>)) -> String {
        let vs = VarStore::new(tch::Device::Cpu);
        build(&vs.root());
        module_str(class, &vs).unwrap()
    }

    #[test]
    fn all_layers_at_one_path_are_printed() {
        // char-rnn and translation of tch's examples.
        assert_eq!(
            printed("Net", |root| {
                nn::lstm(root, 3, 4, Default::default());
                nn::linear(root, 4, 3, Default::default());
            }),
            "Net(\n  (): LSTM(...)\n  (): Linear(in_features=4, out_features=3, bias=True)\n)"
        );
        assert_eq!(
            printed("Net", |root| {
                crate::nn::f_gru(root / "dec", 4, 4, Default::default()).unwrap();
                crate::nn::f_embedding(root / "dec", 9, 4, Default::default()).unwrap();
                crate::nn::f_linear(root / "out", 4, 9, Default::default()).unwrap();
            }),
            "Net(\n  (dec): GRU(4, 4, batch_first=True)\n  (dec): Embedding(9, 4)\n  \
             (out): Linear(in_features=4, out_features=9, bias=True)\n)"
        );
        // A layer below both.
        assert_eq!(
            printed("Net", |root| {
                crate::nn::f_gru(root / "a", 4, 4, Default::default()).unwrap();
                crate::nn::f_embedding(root / "a", 9, 4, Default::default()).unwrap();
                crate::nn::f_linear(root / "a" / "b", 4, 5, Default::default()).unwrap();
            }),
            "Net(\n  (a): GRU(4, 4, batch_first=True)\n  (a): Embedding(9, 4)\n  \
             (a): Module(\n    (b): Linear(in_features=4, out_features=5, bias=True)\n  )\n)"
        );
    }

    #[test]
    fn a_layer_keeps_its_options_beside_children() {
        assert_eq!(
            printed("Net", |root| {
                crate::nn::f_linear(root / "a", 2, 3, Default::default()).unwrap();
                crate::nn::f_linear(root / "a" / "lora", 3, 4, Default::default()).unwrap();
            }),
            "Net(\n  (a): Linear(\n    in_features=2, out_features=3, bias=True\n    \
             (lora): Linear(in_features=3, out_features=4, bias=True)\n  )\n)"
        );
    }

    #[test]
    fn a_layer_at_the_root_is_the_model_or_a_part_of_it() {
        let linear = |root: &nn::Path<'_>| {
            crate::nn::f_linear(root, 2, 3, Default::default()).unwrap();
        };
        assert_eq!(
            printed("Linear", linear),
            "Linear(in_features=2, out_features=3, bias=True)"
        );
        assert_eq!(
            printed("Net", linear),
            "Net(\n  (): Linear(in_features=2, out_features=3, bias=True)\n)"
        );
        assert_eq!(printed("Net", |_| ()), "Net()");
    }
}
