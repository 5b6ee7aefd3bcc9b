//! The walk of a `VarStore` by layer kind, and `apply`.
//!
//! A `VarStore` holds named tensors; [`Walk`] groups them into layers. Layers that this crate made
//! are known; those that `tch::nn` made are inferred from the names and shapes of their variables.
//! An ambiguous layer is reported, and the caller settles its kind; nothing is guessed. Variables of
//! no known layer are reported where they would otherwise be left as they are.

mod error;
mod group;
mod hint;
mod infer;
mod layer;
mod probe;
mod split;
mod variable;

pub use error::VisitError;
pub use layer::Layer;
pub(crate) use variable::variables_in_order;

use crate::error::InitError;
use crate::generator::Generator;
use crate::nn::LayerKind;
use crate::nn::registry;
use globset::{Glob, GlobMatcher};
use hint::Hint;
use std::collections::{BTreeMap, BTreeSet};
use tch::Tensor;
use tch::nn::VarStore;
use variable::Variables;

/// A walk of a `VarStore`, with the caller's hints about its layers.
///
/// Layers that this crate made are known under the paths that they were made at, also after
/// `VarStore::merge` with a prefix that ends with a dot.
///
/// ```
/// use tch::nn::{self, VarStore};
/// use tch_init::Walk;
/// use tch_init::nn::LayerKind;
///
/// # fn main() -> Result<(), tch_init::VisitError> {
/// // Made by plain tch: this weight could also be a convolution's.
/// let vs = VarStore::new(tch::Device::Cpu);
/// nn::conv_transpose2d(vs.root() / "up", 8, 8, 2, Default::default());
/// let layers = Walk::new().with_kind("up", LayerKind::ConvTranspose2d).layers(&vs)?;
/// assert_eq!(layers[0].kind(), Some(LayerKind::ConvTranspose2d));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Walk<'g> {
    kinds: Vec<Hint>,
    preferred: Vec<LayerKind>,
    left: Vec<String>,
    requires_all: bool,
    generator: Option<&'g mut Generator>,
}

impl<'g> Walk<'g> {
    /// A walk without hints.
    pub fn new() -> Walk<'g> {
        Walk::default()
    }

    /// Sets the kind of one layer, by its path or by the full name of one of its variables. The name
    /// is needed where several layers at one path could be of that kind.
    ///
    /// ```
    /// use tch::nn::{self, VarStore};
    /// use tch_init::Walk;
    /// use tch_init::nn::LayerKind;
    ///
    /// # fn main() -> Result<(), tch_init::VisitError> {
    /// let vs = VarStore::new(tch::Device::Cpu);
    /// nn::gru(vs.root(), 4, 4, Default::default());
    /// nn::embedding(vs.root(), 9, 4, Default::default());
    /// // Of plain tch, the embedding could be a linear layer without a bias.
    /// let mut walk = Walk::new().with_kind("weight", LayerKind::Embedding);
    /// walk.reset_parameters(&vs)?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_kind(mut self, path: impl Into<String>, kind: LayerKind) -> Walk<'g> {
        let address = path.into();
        self.kinds.push(Hint { address, kind });
        self
    }

    /// Sets the kind of every layer that could be `kind`, among others.
    #[must_use]
    pub fn prefer(mut self, kind: LayerKind) -> Walk<'g> {
        self.preferred.push(kind);
        self
    }

    /// Leaves variables to the caller: the walk treats those whose full name matches a glob as if the
    /// `VarStore` did not hold them. They are of no layer, no visitor sees them, nothing fills them
    /// and nothing is drawn for them.
    ///
    /// The glob is that of the program's `--only`: `*` matches any characters, dots included, `?` one
    /// of them, `[ab]` one of those listed and `{a,b}` either text. It matches the whole name.
    ///
    /// ```
    /// use tch::nn::{self, Init, VarStore};
    /// use tch_init::Walk;
    ///
    /// # fn main() -> Result<(), tch_init::VisitError> {
    /// let vs = VarStore::new(tch::Device::Cpu);
    /// nn::linear(vs.root() / "fc", 4, 2, Default::default());
    /// let gamma = vs.root().sub("fc").var("gamma", &[2], Init::Const(1.0));
    /// let error = tch_init::reset_parameters(&vs).unwrap_err();
    /// assert!(error.to_string().contains("fc.gamma [2]"));
    /// Walk::new().leave("*.gamma").reset_parameters(&vs)?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn leave(mut self, glob: impl Into<String>) -> Walk<'g> {
        self.left.push(glob.into());
        self
    }

    /// Makes variables of no known layer an error of [`layers`](Self::layers) and
    /// [`apply`](Self::apply), before anything is visited, unless they are [left](Self::leave).
    ///
    /// [`reset_parameters`](Self::reset_parameters) always does that, and so do the
    /// [recipes](crate::recipe) for what they do not fill.
    ///
    /// ```
    /// use tch::nn::{Init, VarStore};
    /// use tch_init::{VisitError, Walk};
    ///
    /// let vs = VarStore::new(tch::Device::Cpu);
    /// let token = vs.root().var("token", &[8], Init::Const(0.0));
    /// let error = Walk::new().require_all().layers(&vs).unwrap_err();
    /// assert_eq!(error, VisitError::Unclaimed { variables: vec!["token [8]".to_owned()] });
    /// ```
    #[must_use]
    pub fn require_all(mut self) -> Walk<'g> {
        self.requires_all = true;
        self
    }

    /// Lets [`reset_parameters`](Self::reset_parameters), [recipes](crate::recipe) and
    /// [`Layer::fill`] draw from a generator instead of the default stream.
    ///
    /// ```
    /// use tch_init::{Generator, Walk, nn};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let vs = nn::VarStore::new(tch::Device::Cpu);
    /// let fc = nn::f_linear(vs.root() / "fc", 4, 2, Default::default())?;
    /// let mut generator = Generator::new(tch::Device::Cpu)?;
    /// generator.manual_seed(0)?;
    /// Walk::new().generator(&mut generator).reset_parameters(&vs)?;
    /// // torch.manual_seed(0); torch.nn.Linear(4, 2).weight[0, 0]
    /// assert_eq!(fc.ws.double_value(&[0, 0]) as f32, -0.003_743_410_1);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn generator(mut self, generator: &'g mut Generator) -> Walk<'g> {
        self.generator = Some(generator);
        self
    }

    /// The layers in the order in which their first parameters were created, a layer before those
    /// below it; those without trainable parameters come last, by name. Variables that do not form a
    /// known layer form layers without a kind, one at each path.
    ///
    /// Layers that plain tch made at one path are told apart by the names of their variables, by
    /// what each kind of layer needs, and by the order of creation: tch makes the variables of a
    /// layer one after the other, the bias of a linear layer or convolution before its weight, that
    /// of a norm after it.
    ///
    /// # Errors
    ///
    /// [`VisitError::NoSuchLayer`], [`VisitError::SeveralLayers`], [`VisitError::Contradiction`],
    /// [`VisitError::NothingToLeave`] or [`VisitError::Glob`] if the caller's hints do not fit;
    /// [`VisitError::Unclaimed`] after [`require_all`](Self::require_all). Ambiguity is not an error
    /// here: such a layer has several [`Layer::candidates`].
    pub fn layers<'l>(&self, vs: &VarStore) -> Result<Vec<Layer<'l>>, VisitError> {
        let (layers, unnamed) = self.layers_and_unnamed(vs)?;
        if self.requires_all {
            require_all(&layers, unnamed)?;
        }
        Ok(layers)
    }

    /// The layers, and trainable variables without a name.
    fn layers_and_unnamed<'l>(
        &self,
        vs: &VarStore,
    ) -> Result<(Vec<Layer<'l>>, Vec<String>), VisitError> {
        let mut variables = Variables::of(vs);
        self.leave_out(&mut variables)?;
        let mut layers = group::layers(&variables, &self.kinds);
        for hint in &self.kinds {
            settle(&mut layers, hint)?;
        }
        for layer in &mut layers {
            layer.prefer(&self.preferred);
        }
        Ok((layers, variables.unnamed))
    }

    fn no_layers(&self, variables: &str) -> VisitError {
        let variables = match (variables, self.left.is_empty()) {
            ("", true) => "no variables",
            ("", false) => "no variables but those that are left to the caller",
            _ => variables,
        };
        VisitError::NoLayers(variables.to_owned())
    }

    /// Removes the variables that are left to the caller.
    fn leave_out(&self, variables: &mut Variables) -> Result<(), VisitError> {
        for glob in &self.left {
            let matcher = matcher(glob)?;
            let names = variables
                .sorted
                .iter()
                .map(|variable| variable.full.as_str());
            if !names.clone().any(|name| matcher.is_match(name)) {
                return Err(VisitError::NothingToLeave {
                    glob: glob.clone(),
                    variables: names.collect::<Vec<_>>().join(", "),
                });
            }
        }
        for glob in &self.left {
            let matcher = matcher(glob)?;
            variables
                .sorted
                .retain(|variable| !matcher.is_match(&variable.full));
        }
        Ok(())
    }

    /// Calls `visitor` with every layer, children before their parents and otherwise in order of
    /// creation, as `torch.nn.Module.apply` does.
    ///
    /// A layer of plain tch can be ambiguous, such as a convolution that could be a transposed one.
    /// If the visitor asks for its kind, it is called with the layer as each of the candidates, each
    /// time from the same values and the same states of the default generators and of the
    /// [walk's](Self::generator). If the results are the same to the bit, they are kept; else the
    /// layer is restored, and the kind has to be settled. So a visitor that counts its calls, or
    /// draws from a generator of its own, needs settled kinds.
    ///
    /// Variables of no known layer are visited as layers without a kind. Whether leaving them is an
    /// error is up to the visitor: it is for the [recipes](crate::recipe), and for every visitor
    /// after [`require_all`](Self::require_all).
    ///
    /// # Errors
    ///
    /// As [`Walk::layers`]; [`VisitError::NoLayers`] for a `VarStore` without variables;
    /// [`VisitError::Ambiguous`] at a layer that the visitor treats differently as different kinds;
    /// [`VisitError::Layer`] with the first error of the visitor; [`VisitError::Unclaimed`], after
    /// the last layer, if a recipe left variables of no known layer as they were.
    pub fn apply(
        &mut self,
        vs: &VarStore,
        mut visitor: impl FnMut(&mut Layer<'_>) -> Result<(), InitError>,
    ) -> Result<(), VisitError> {
        let layers = self.layers(vs)?;
        if layers.is_empty() {
            return Err(self.no_layers(""));
        }
        let mut generator = self.generator.as_deref_mut();
        let mut unclaimed = Vec::new();
        for mut layer in group::children_first(layers) {
            layer.generator = generator;
            let visited = probe::visit(&mut layer, &mut visitor);
            generator = layer.generator.take();
            visited?;
            unclaimed.extend(layer.take_unclaimed());
        }
        claimed(unclaimed)
    }

    /// Initializes every layer again as PyTorch's layer of its kind, in order of creation: layer after
    /// layer as a model's constructor in Python does that makes the same layers in the same order.
    ///
    /// An ambiguous layer is accepted if all its candidates have the same initialization, such as a
    /// convolution and a transposed one. A variable under several names keeps what the layer draws
    /// whose variable was created first; the others draw as well, and their values are discarded, as
    /// in Python after `head.weight = embedding.weight`.
    ///
    /// # Errors
    ///
    /// As [`Walk::layers`]. Before anything is drawn: [`VisitError::NoLayers`] if no layer has a
    /// known kind; [`VisitError::Unclaimed`] if variables are of no known layer and not
    /// [left](Self::leave) to the caller; [`VisitError::Ambiguous`] if the candidates of a layer have
    /// different initializations. [`VisitError::Layer`] if a layer cannot be filled.
    pub fn reset_parameters(&mut self, vs: &VarStore) -> Result<(), VisitError> {
        let (layers, unnamed) = self.layers_and_unnamed(vs)?;
        if layers.iter().all(Layer::is_unknown) {
            let variables = layers.iter().map(Layer::variables_in_words);
            let variables = variables.collect::<Vec<_>>().join(", ");
            return Err(self.no_layers(&variables));
        }
        require_all(&layers, unnamed)?;
        if let Some(layer) = layers.iter().find(|layer| !layer.same_init()) {
            return Err(layer.ambiguous());
        }
        let mut generator = self.generator.as_deref_mut();
        let mut seen = BTreeSet::new();
        for mut layer in layers {
            if layer.is_within_another() {
                continue;
            }
            layer.generator = generator;
            let reset = layer.discard_tied(&mut seen);
            let reset = reset.and_then(|()| layer.reset_parameters());
            generator = layer.generator.take();
            reset.map_err(|source| VisitError::Layer {
                path: layer.path().to_owned(),
                source,
            })?;
        }
        Ok(())
    }
}

/// The trainable variables of a `VarStore` in the order of `Module.parameters()`: that of their creation, and within a layer
/// PyTorch's.
///
/// `VarStore::trainable_variables` has them in the order of creation, in which the bias of a linear layer or convolution of plain tch
/// is before its weight. The total norm of gradients has other bits then, and the state of an optimizer other numbers.
///
/// ```
/// let vs = tch::nn::VarStore::new(tch::Device::Cpu);
/// let fc = tch::nn::linear(vs.root() / "fc", 3, 2, Default::default());
/// assert_eq!(vs.trainable_variables()[0].size(), [2]);
/// assert_eq!(tch_init::parameters(&vs)[0].size(), [2, 3]);
/// ```
pub fn parameters(vs: &VarStore) -> Vec<Tensor> {
    let trainable = vs.trainable_variables();
    let order = order_of_parameters(&trainable, vs.variables());
    let tensors = order
        .into_iter()
        .map(|index| trainable[index].shallow_clone());
    tensors.collect()
}

/// The order of [`parameters`], as indices of the trainable variables.
pub(crate) fn order_of_parameters(
    trainable: &[Tensor],
    named: impl IntoIterator<Item = (String, Tensor)>,
) -> Vec<usize> {
    let variables = Variables::new(trainable, named.into_iter().collect());
    let mut order: Vec<usize> = (0..trainable.len()).collect();
    let mut index_of = BTreeMap::new();
    for (index, tensor) in trainable.iter().enumerate() {
        index_of.entry(registry::identity(tensor)).or_insert(index);
    }
    let mut placed = BTreeSet::new();
    for layer in group::layers(&variables, &[]) {
        let tensors = layer
            .parameters()
            .map(|(_, tensor)| registry::identity(tensor));
        let indices: Option<Vec<usize>> = tensors
            .map(|identity| index_of.get(&identity).copied())
            .collect();
        // A tied variable belongs to the layer that was made first.
        let Some(indices) =
            indices.filter(|indices| indices.iter().all(|index| placed.insert(*index)))
        else {
            continue;
        };
        let mut places = indices.clone();
        places.sort_unstable();
        for (place, index) in places.into_iter().zip(indices) {
            order[place] = index;
        }
    }
    order
}

/// Settles the kind of the layer that a hint is about.
fn settle(layers: &mut [Layer<'_>], hint: &Hint) -> Result<(), VisitError> {
    let Hint { address, kind } = hint;
    let at = |is_it: &dyn Fn(&Layer<'_>) -> bool| -> Vec<usize> {
        (0..layers.len())
            .filter(|layer| is_it(&layers[*layer]))
            .collect()
    };
    let mut named = at(&|layer| layer.is_at(address));
    if named.is_empty() {
        named = at(&|layer| layer.has(address));
    }
    if named.is_empty() {
        let paths: Vec<&str> = layers.iter().map(Layer::path).collect();
        return Err(VisitError::NoSuchLayer {
            path: address.clone(),
            layers: paths.join(", "),
        });
    }
    let mut fitting = named.clone();
    fitting.retain(|layer| layers[*layer].spec_of(*kind).is_some());
    // What is of that kind anyhow needs no hint, if another could be meant.
    let mut open = fitting.clone();
    open.retain(|layer| layers[*layer].is_open());
    match (&fitting[..], &open[..]) {
        ([], _) => {
            let variables = named
                .iter()
                .map(|layer| layers[*layer].variables_in_words());
            Err(VisitError::Contradiction {
                path: address.clone(),
                kind: *kind,
                variables: variables.collect::<Vec<_>>().join(", "),
            })
        }
        ([layer], _) | (_, [layer]) => {
            let spec = layers[*layer].spec_of(*kind);
            layers[*layer].set_specs(spec.into_iter().collect());
            Ok(())
        }
        (_, []) => Ok(()),
        (_, several) => Err(VisitError::SeveralLayers {
            path: address.clone(),
            kind: *kind,
            variables: several
                .iter()
                .map(|layer| layers[*layer].address())
                .collect(),
        }),
    }
}

/// An error that names the variables of no known layer, if there are any.
fn require_all(layers: &[Layer<'_>], unnamed: Vec<String>) -> Result<(), VisitError> {
    let unknown = layers.iter().filter(|layer| layer.is_unknown());
    let unknown = unknown.flat_map(Layer::full_names_with_shapes);
    claimed(unknown.map(|(_, words)| words).chain(unnamed).collect())
}

fn claimed(unclaimed: Vec<String>) -> Result<(), VisitError> {
    match unclaimed.is_empty() {
        true => Ok(()),
        false => Err(VisitError::Unclaimed {
            variables: unclaimed,
        }),
    }
}

/// Compiles a glob as `--only` of the program does.
fn matcher(glob: &str) -> Result<GlobMatcher, VisitError> {
    let compiled = Glob::new(glob).map_err(|error| VisitError::Glob {
        glob: glob.to_owned(),
        problem: error.kind().to_string(),
    })?;
    Ok(compiled.compile_matcher())
}

/// [`Walk::apply`] without hints.
///
/// # Errors
///
/// As [`Walk::apply`].
///
/// ```
/// use tch::nn::VarStore;
///
/// # fn main() -> Result<(), tch_init::VisitError> {
/// let vs = VarStore::new(tch::Device::Cpu);
/// tch_init::nn::f_linear(vs.root() / "fc", 4, 2, Default::default()).unwrap();
/// tch_init::apply(&vs, |layer| match layer.weight_mut() {
///     Some(weight) => tch_init::init::xavier_uniform_(weight, 1.0, None),
///     None => Ok(()),
/// })?;
/// # Ok(())
/// # }
/// ```
pub fn apply(
    vs: &VarStore,
    visitor: impl FnMut(&mut Layer<'_>) -> Result<(), InitError>,
) -> Result<(), VisitError> {
    Walk::new().apply(vs, visitor)
}

/// [`Walk::reset_parameters`] without hints: gives a program of plain `tch::nn` PyTorch's weights.
///
/// # Errors
///
/// As [`Walk::reset_parameters`].
///
/// ```standalone_crate
/// use tch::nn::{self, VarStore};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let vs = VarStore::new(tch::Device::Cpu);
/// let fc = nn::linear(vs.root() / "fc", 4, 2, Default::default());
/// tch_init::manual_seed(0)?;
/// tch_init::reset_parameters(&vs)?;
/// // torch.manual_seed(0); torch.nn.Linear(4, 2).weight[0, 0]
/// assert_eq!(fc.ws.double_value(&[0, 0]) as f32, -0.003_743_410_1);
/// # Ok(())
/// # }
/// ```
pub fn reset_parameters(vs: &VarStore) -> Result<(), VisitError> {
    Walk::new().reset_parameters(vs)
}
