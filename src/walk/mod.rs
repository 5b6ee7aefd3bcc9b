//! The walk of a `VarStore` by layer kind, and `apply`.
//!
//! A `VarStore` holds named tensors; [`Walk`] groups them into layers. Layers that this crate made
//! are known; those that `tch::nn` made are inferred from the names and shapes of their variables.
//! An ambiguous layer is reported, and the caller settles its kind; nothing is guessed.

mod error;
mod group;
mod infer;
mod layer;

pub use error::VisitError;
pub(crate) use group::variables_in_order;
pub use layer::Layer;

use crate::error::InitError;
use crate::generator::Generator;
use crate::nn::LayerKind;
use tch::nn::VarStore;

/// A walk of a `VarStore`, with the caller's hints about its layers.
///
/// Layers that this crate made are known under the paths that they were made at; after
/// `VarStore::merge` with a prefix they are inferred like tch's.
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
    kinds: Vec<(String, LayerKind)>,
    preferred: Vec<LayerKind>,
    generator: Option<&'g mut Generator>,
}

impl<'g> Walk<'g> {
    /// A walk without hints.
    pub fn new() -> Walk<'g> {
        Walk::default()
    }

    /// Sets the kind of one layer.
    #[must_use]
    pub fn with_kind(mut self, path: impl Into<String>, kind: LayerKind) -> Walk<'g> {
        self.kinds.push((path.into(), kind));
        self
    }

    /// Sets the kind of every layer that could be `kind`, among others.
    #[must_use]
    pub fn prefer(mut self, kind: LayerKind) -> Walk<'g> {
        self.preferred.push(kind);
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
    /// known layer form layers without a kind.
    ///
    /// # Errors
    ///
    /// [`VisitError::NoSuchLayer`] or [`VisitError::Contradiction`] if the caller's hints do not
    /// fit. Ambiguity is not an error here: such a layer has several [`Layer::candidates`].
    pub fn layers<'l>(&self, vs: &VarStore) -> Result<Vec<Layer<'l>>, VisitError> {
        let mut layers = group::layers(vs);
        for (path, kind) in &self.kinds {
            let Some(layer) = layers.iter_mut().find(|layer| layer.path() == path) else {
                let paths: Vec<&str> = layers.iter().map(Layer::path).collect();
                return Err(VisitError::NoSuchLayer {
                    path: path.clone(),
                    layers: paths.join(", "),
                });
            };
            layer.settle(*kind)?;
        }
        for layer in &mut layers {
            layer.prefer(&self.preferred);
        }
        Ok(layers)
    }

    /// Calls `visitor` with every layer, children before their parents and otherwise in order of
    /// creation, as `torch.nn.Module.apply` does.
    ///
    /// # Errors
    ///
    /// As [`Walk::layers`]; [`VisitError::NoLayers`] for a `VarStore` without variables;
    /// [`VisitError::Ambiguous`] before anything is visited if a kind is not settled;
    /// [`VisitError::Layer`] with the first error of the visitor.
    pub fn apply(
        &mut self,
        vs: &VarStore,
        mut visitor: impl FnMut(&mut Layer<'_>) -> Result<(), InitError>,
    ) -> Result<(), VisitError> {
        let layers = self.layers(vs)?;
        if layers.is_empty() {
            return Err(VisitError::NoLayers("no variables".to_owned()));
        }
        if let Some(layer) = layers.iter().find(|layer| layer.candidates().len() > 1) {
            return Err(layer.ambiguous());
        }
        let mut generator = self.generator.as_deref_mut();
        for mut layer in group::children_first(layers) {
            layer.generator = generator;
            let visited = visitor(&mut layer);
            generator = layer.generator.take();
            visited.map_err(|source| VisitError::Layer {
                path: layer.path().to_owned(),
                source,
            })?;
        }
        Ok(())
    }

    /// Initializes every layer again as PyTorch's layer of its kind, in order of creation.
    ///
    /// An ambiguous layer is accepted if all its candidates have the same initialization, such as a
    /// convolution and a transposed one. Variables that do not form a known layer are left alone,
    /// with a warning in the log.
    ///
    /// # Errors
    ///
    /// As [`Walk::layers`]; [`VisitError::NoLayers`] if no layer has a known kind;
    /// [`VisitError::Ambiguous`], before anything is drawn, if the candidates of a layer have
    /// different initializations; [`VisitError::Layer`] if a layer cannot be filled.
    pub fn reset_parameters(&mut self, vs: &VarStore) -> Result<(), VisitError> {
        let layers = self.layers(vs)?;
        if layers.iter().all(|layer| layer.candidates().is_empty()) {
            let variables = layers.iter().map(Layer::variables_in_words);
            let variables = variables.collect::<Vec<_>>().join(", ");
            return Err(VisitError::NoLayers(match variables.as_str() {
                "" => "no variables".to_owned(),
                _ => variables,
            }));
        }
        if let Some(layer) = layers.iter().find(|layer| !layer.same_init()) {
            return Err(layer.ambiguous());
        }
        let mut generator = self.generator.as_deref_mut();
        for mut layer in layers {
            if layer.is_within_another() {
                continue;
            }
            if layer.candidates().is_empty() {
                log::warn!(
                    "reset_parameters: {:?} is not a layer of a known kind and is left alone: {}",
                    layer.path(),
                    layer.variables_in_words()
                );
            }
            layer.generator = generator;
            let reset = layer.reset_parameters();
            generator = layer.generator.take();
            reset.map_err(|source| VisitError::Layer {
                path: layer.path().to_owned(),
                source,
            })?;
        }
        Ok(())
    }
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
