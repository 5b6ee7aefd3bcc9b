//! `tch-init explain`: explains why tensors differ from what PyTorch draws.

use super::diff::{json as diff_json, require_tensors, table};
use super::dtype::FloatDtype;
use super::explain_alone;
use super::rename_hint::{Named, RenameHint};
use super::report::{Report, TensorBar, one_line};
use super::selection::{Names, Selection};
use super::weights::{Weights, begins_with};
use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use tch_init::explain::{
    Expected, Explanation, Finding, Model, NamedView, Options, Reference, explain_with_progress,
};
use tch_init::parity::{Compare, Criterion, NotCompared, SourceEntry, SourceError, TensorSource};
use tch_init::plan::InitPlan;
use tch_init::rng::Seed;
use tch_init::tensor::{Dtype, LeftOut, LeftOutKind};

#[derive(Args)]
pub struct Arguments {
    /// The tensors to explain: a file of safetensors, npz, npy, pt or ot, a folder of them, or a trace, whose parameters are meant
    yours: PathBuf,
    /// PyTorch's tensors, in a file of any of these formats, or the plan of a model, with --seed. The plan may also be
    /// the first argument. Without a reference, the seeds and positions of the tensors are found from their values
    #[arg(conflicts_with = "layers")]
    reference: Option<PathBuf>,
    /// Instead of PyTorch's tensors: a text file with the output of Python's print(model)
    #[arg(long, value_name = "FILE", requires = "seed")]
    layers: Option<PathBuf>,
    #[command(flatten)]
    names: Selection,
    /// The intended seed
    #[arg(long, allow_negative_numbers = true)]
    seed: Option<Seed>,
    /// The dtype of the model of --layers
    #[arg(long, value_enum, default_value = "float32")]
    dtype: FloatDtype,
    /// Number of other seeds to try, starting from 0; with a plan or --layers, 16 times as many at the positions that these tell
    #[arg(long, value_name = "N", default_value_t = Options::default().other_seeds)]
    other_seeds: u64,
    /// Without a reference, the most words after a seed
    #[arg(long, value_name = "N", default_value_t = Options::default().max_words)]
    max_words: u64,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Report> {
    let names = Names::new(&arguments.names)?;
    let (yours_path, reference_path) = match &arguments.reference {
        Some(weights) if is_plan(&arguments.yours) && !is_plan(weights) => {
            (weights, Some(&arguments.yours))
        }
        reference => (&arguments.yours, reference.as_ref()),
    };
    if is_plan(yours_path) {
        bail!(
            "{}: a plan has no tensors to explain; `tch-init materialize` makes them",
            yours_path.display()
        );
    }
    let yours_weights = Weights::open(yours_path)?;
    let yours_file = &yours_weights.file;
    let all_yours = yours_weights.named()?;
    let yours = renamed(all_yours.clone(), &names)?;
    let mut options = Options::default()
        .other_seeds(arguments.other_seeds)
        .max_words(arguments.max_words);
    if let Some(seed) = arguments.seed {
        options = options.seed(seed);
    }
    if reference_path.is_none() && arguments.layers.is_none() {
        require_tensors(yours_path, yours_file)?;
        names.warn_of_unused();
        return explain_alone::run(yours_path, &yours, &options, arguments.json);
    }
    // Of all tensors of the reference, before some are selected.
    let hint = |reference: Reference<'_>| {
        let reference: Vec<Named> = shapes(reference.shapes());
        let paired = |name: &str| reference.iter().any(|tensor| tensor.name == name);
        match yours.iter().all(|tensor| paired(&tensor.name)) && !yours.is_empty() {
            true => None,
            false => {
                let all_yours = all_yours.iter().map(|t| (t.name.as_str(), t.view.shape()));
                RenameHint::find(&shapes(all_yours), &reference, &names)
            }
        }
    };
    let report = |reference: Reference<'_>, hint: Option<RenameHint>, left_out: &[LeftOut]| {
        let expected: Vec<&str> = reference.shapes().map(|(name, _)| name).collect();
        let bar = TensorBar::new();
        let explanations = explain_with_progress(&yours, reference, &options, |p| bar.show(p));
        bar.finish();
        let explanations = explanations?;
        let in_yours = yours_file.left_out().iter().cloned().map(|mut member| {
            member.name = names.rename(&member.name);
            member
        });
        let left_out = LeftOutMembers::new(
            [in_yours.collect(), left_out.to_vec()],
            [
                yours.iter().map(|t| t.name.clone()).collect(),
                expected.iter().map(|name| (*name).to_owned()).collect(),
            ],
            &names,
        )?;
        names.warn_of_unused();
        if explanations.is_empty() {
            require_tensors(yours_path, yours_file)?;
            bail!(
                "{} and the reference have no tensor of the same name{}",
                yours_path.display(),
                match hint {
                    Some(hint) => format!(": {}", hint.sentence()),
                    None => "; --rename can give them one".to_owned(),
                }
            );
        }
        let unpaired = Unpaired::new(&yours, &expected, left_out, hint);
        let dtype = dtype_hint(&explanations, arguments, reference_path);
        Ok(Report {
            found: explanations.iter().any(|e| !e.equal) || unpaired.differ(),
            text: match arguments.json {
                true => json(&explanations, &unpaired, dtype.as_ref())?,
                false => text(&explanations, &unpaired, dtype.as_ref()),
            },
        })
    };
    let report_model = |mut model: Model| {
        let hint = hint((&model).into());
        model.retain(|name| names.keep(name));
        report((&model).into(), hint, &[])
    };
    match (reference_path, &arguments.layers, arguments.seed) {
        (Some(reference), _, seed) if is_plan(reference) => {
            let Some(seed) = seed else {
                bail!("{}: give the --seed of the plan", reference.display());
            };
            let plan = InitPlan::load(reference)?;
            let model = Model::of_plan(&plan, seed);
            let model = model.with_context(|| reference.display().to_string())?;
            report_model(model)
        }
        (Some(reference), _, _) => {
            let weights = Weights::open(reference)?;
            require_tensors(reference, &weights.file)?;
            let tensors = weights.named()?.into_iter();
            let mut expected: Vec<Expected<'_>> = tensors
                .map(|tensor| Expected {
                    tensor,
                    drawn: None,
                })
                .collect();
            let hint = hint((&expected).into());
            expected.retain(|e| names.keep(&e.tensor.name));
            report((&expected).into(), hint, weights.file.left_out())
        }
        (None, Some(layers), Some(seed)) => {
            report_model(printed_model(arguments, layers, seed, &yours)?)
        }
        _ => bail!("give a file of PyTorch's tensors, or --layers and --seed"),
    }
}

/// Whether a file is a plan: a JSON object with the format of a plan at its start.
fn is_plan(path: &Path) -> bool {
    begins_with(path, "\"tch-init plan\"")
}

fn printed_model(
    arguments: &Arguments,
    layers: &PathBuf,
    seed: Seed,
    yours: &[NamedView<'_>],
) -> Result<Model> {
    let printed = std::fs::read_to_string(layers)
        .with_context(|| format!("{}: cannot be read", layers.display()))?;
    let model = Model::draw(&printed, seed, arguments.dtype.kind())
        .with_context(|| layers.display().to_string())?;
    for (path, class) in model.opaque() {
        let below = format!("{path}.");
        if let Some(tensor) = yours.iter().find(|tensor| tensor.name.starts_with(&below)) {
            bail!(
                "{}: {class} at {path} has the tensor {}, which print(model) does not show; take a \
                 file of PyTorch's tensors as the reference",
                layers.display(),
                tensor.name
            );
        }
    }
    Ok(model)
}

fn shapes<'t>(tensors: impl Iterator<Item = (&'t str, &'t [usize])>) -> Vec<Named> {
    let named = tensors.map(|(name, shape)| Named {
        name: name.to_owned(),
        shape: shape.to_vec(),
    });
    named.collect()
}

/// Selects and renames tensors.
fn renamed<'a>(tensors: Vec<NamedView<'a>>, names: &Names) -> Result<Vec<NamedView<'a>>> {
    let mut renamed: Vec<NamedView<'a>> = Vec::new();
    let mut known = BTreeSet::new();
    for tensor in tensors {
        let name = names.rename(&tensor.name);
        if !known.insert(name.clone()) {
            bail!(
                "--rename gives {} the name {name}, which another tensor already has",
                tensor.name
            );
        }
        if names.keep(&name) {
            renamed.push(NamedView { name, ..tensor });
        }
    }
    Ok(renamed)
}

/// The names of the tensors of one side, and the tensors that it cannot read.
struct TensorNames {
    tensors: Vec<String>,
    left_out: Vec<LeftOut>,
}

impl TensorSource for TensorNames {
    fn entries(&self) -> Result<Vec<SourceEntry<'_>>, SourceError> {
        let entry = |name: &String| {
            SourceEntry::new(name.as_str(), 0, || Err(SourceError::new("not read")))
        };
        Ok(self.tensors.iter().map(entry).collect())
    }

    fn left_out(&self) -> Vec<LeftOut> {
        self.left_out.clone()
    }
}

/// The members of both sides that are not among the tensors.
struct LeftOutMembers {
    /// The tensors that a side cannot read.
    not_compared: Vec<NotCompared>,
    /// The values that are not tensors: yours, and the reference's.
    values: [Vec<LeftOut>; 2],
}

impl LeftOutMembers {
    /// The selected ones of these members, beside tensors of these names.
    fn new(
        members: [Vec<LeftOut>; 2],
        tensors: [Vec<String>; 2],
        names: &Names,
    ) -> Result<LeftOutMembers> {
        let [yours, reference] = members.map(|members| {
            let kept = members.into_iter().filter(|m| names.keep(&m.name));
            kept.partition::<Vec<LeftOut>, _>(|m| m.kind == LeftOutKind::NotATensor)
        });
        let [own, other] = tensors;
        let sides = [(own, yours.1), (other, reference.1)];
        let [yours_names, reference_names] =
            sides.map(|(tensors, left_out)| TensorNames { tensors, left_out });
        let left_out = || yours_names.left_out.iter().chain(&reference_names.left_out);
        let unread: BTreeSet<&str> = left_out().map(|member| member.name.as_str()).collect();
        let comparison = Compare::new(Criterion::Bits)
            .filter(|name| unread.contains(name))
            .run(&yours_names, &reference_names)?;
        Ok(LeftOutMembers {
            not_compared: comparison.not_compared,
            values: [yours.0, reference.0],
        })
    }
}

/// What is not explained: names of only one side, tensors that one side cannot read, and values that
/// are not tensors.
#[derive(Serialize)]
struct Unpaired {
    only_yours: Vec<String>,
    only_reference: Vec<String>,
    #[serde(serialize_with = "not_compared")]
    not_compared: Vec<NotCompared>,
    #[serde(serialize_with = "left_out")]
    left_out_a: Vec<LeftOut>,
    #[serde(serialize_with = "left_out")]
    left_out_b: Vec<LeftOut>,
    /// The arguments of `--rename` that pair most of these.
    rename: Vec<String>,
    #[serde(skip)]
    hint: Option<RenameHint>,
}

fn not_compared<S: serde::Serializer>(
    members: &[NotCompared],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(members.iter().map(diff_json::not_compared))
}

fn left_out<S: serde::Serializer>(members: &[LeftOut], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(members.iter().map(diff_json::left_out))
}

impl Unpaired {
    fn new(
        yours: &[NamedView<'_>],
        theirs: &[&str],
        left_out: LeftOutMembers,
        hint: Option<RenameHint>,
    ) -> Unpaired {
        let LeftOutMembers {
            not_compared,
            values: [left_out_a, left_out_b],
        } = left_out;
        let yours: Vec<&str> = yours.iter().map(|tensor| tensor.name.as_str()).collect();
        let without = |names: &[&str], others: &[&str]| {
            let is_read = |name: &str| not_compared.iter().all(|member| member.name != name);
            let alone = names
                .iter()
                .filter(|name| !others.contains(name) && is_read(name));
            alone.map(|name| (*name).to_owned()).collect()
        };
        Unpaired {
            only_yours: without(&yours, theirs),
            only_reference: without(theirs, &yours),
            not_compared,
            left_out_a,
            left_out_b,
            rename: hint
                .as_ref()
                .map_or(Vec::new(), |hint| hint.expressions.clone()),
            hint,
        }
    }

    fn differ(&self) -> bool {
        !self.only_yours.is_empty()
            || !self.only_reference.is_empty()
            || self.not_compared.iter().any(NotCompared::differs)
    }
}

/// What to give where tensors were drawn in another dtype than the reference.
struct DtypeHint {
    /// The dtype that the model was made in.
    dtype: Dtype,
    /// One line that says what to do.
    advice: String,
}

/// The hint for the dtype that most of these tensors were drawn in.
fn dtype_hint(
    explanations: &[Explanation],
    arguments: &Arguments,
    reference: Option<&PathBuf>,
) -> Option<DtypeHint> {
    let mut drawn: BTreeMap<Dtype, usize> = BTreeMap::new();
    for finding in explanations.iter().flat_map(|e| &e.findings) {
        if let Finding::DrawnIn { dtype, .. }
        | Finding::Rounded {
            through: dtype,
            drawn: true,
            ..
        } = finding
        {
            *drawn.entry(*dtype).or_default() += 1;
        }
    }
    let (dtype, count) = drawn.into_iter().max_by_key(|(_, count)| *count)?;
    let many = if count == 1 {
        "1 tensor was"
    } else {
        &format!("{count} tensors were")
    };
    let what = match (&arguments.layers, reference) {
        (Some(_), _) => format!("--dtype {dtype} draws the model of --layers in it"),
        (None, Some(plan)) if is_plan(plan) => {
            format!("record the plan of a model that is made in it (dtype=torch.{dtype})")
        }
        _ => format!("the reference has to be made in it (dtype=torch.{dtype})"),
    };
    Some(DtypeHint {
        dtype,
        advice: format!("{many} drawn in {dtype}: {what}"),
    })
}

fn json(
    explanations: &[Explanation],
    unpaired: &Unpaired,
    drawn_in: Option<&DtypeHint>,
) -> Result<String> {
    #[derive(Serialize)]
    struct Output<'a> {
        tensors: &'a [Explanation],
        #[serde(flatten)]
        unpaired: &'a Unpaired,
        drawn_in: Option<Dtype>,
    }
    let output = Output {
        tensors: explanations,
        unpaired,
        drawn_in: drawn_in.map(|hint| hint.dtype),
    };
    Ok(serde_json::to_string_pretty(&output)? + "\n")
}

fn text(explanations: &[Explanation], unpaired: &Unpaired, dtype: Option<&DtypeHint>) -> String {
    let mut text = String::new();
    let mut line = |line: String| {
        // Writing to a string does not fail.
        text.push_str(&line);
        text.push('\n');
    };
    // The tensors of each cause.
    let mut shared: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut causes = Vec::new();
    for explanation in explanations {
        let cause = shared_cause(explanation);
        if let Some(cause) = &cause {
            let tensors = shared.entry(cause.clone()).or_default();
            tensors.push(&explanation.tensor);
        }
        causes.push(cause);
    }
    let all = explanations.iter().zip(&causes);
    for (explanation, cause) in all.filter(|(explanation, _)| !explanation.equal) {
        let tensors = cause.as_ref().and_then(|cause| shared.get_key_value(cause));
        if let Some((cause, tensors)) = tensors
            && tensors.len() > 1
        {
            if tensors[0] == explanation.tensor {
                line(format!(
                    "{} tensors: {}",
                    tensors.len(),
                    one_line(&list(tensors))
                ));
                cause.lines().for_each(|text| line(format!("  {text}")));
            }
            continue;
        }
        line(heading(explanation));
        for finding in &explanation.findings {
            let text = finding.to_string();
            let mut lines = text.lines();
            line(format!("  {}", one_line(lines.next().unwrap_or_default())));
            lines.for_each(|evidence| line(format!("    {}", one_line(evidence))));
        }
        if explanation.findings.is_empty() {
            line("  no hypothesis fits".to_owned());
        }
    }
    let equal: Vec<&str> = explanations
        .iter()
        .filter(|e| e.equal)
        .map(|e| e.tensor.as_str())
        .collect();
    for (names, what) in [
        (equal, "equal, bit for bit"),
        (names(&unpaired.only_yours), "only in yours"),
        (names(&unpaired.only_reference), "only in the reference"),
    ] {
        if !names.is_empty() {
            line(format!("{what}: {}", one_line(&list(&names))));
        }
    }
    for member in &unpaired.not_compared {
        line(format!("not compared: {}", table::not_compared(member)));
    }
    let left_out = [&unpaired.left_out_a[..], &unpaired.left_out_b];
    for member in table::left_out(left_out, table::LISTED, "--json") {
        line(member);
    }
    if let Some(hint) = &unpaired.hint {
        line(hint.sentence());
    }
    if let Some(hint) = dtype {
        line(hint.advice.clone());
    }
    line(summary(explanations));
    text
}

/// The cause of a tensor's difference, if it may be that of others too: a shift of the stream, or another seed.
fn shared_cause(explanation: &Explanation) -> Option<String> {
    match explanation.findings.as_slice() {
        [Finding::OtherSeed { seed, expected, .. }] => {
            let expected = expected.map(|expected| format!(", not {expected}"));
            let expected = expected.unwrap_or_default();
            Some(format!(
                "drawn with another seed: {seed}{expected}, each bit for bit"
            ))
        }
        [
            Finding::OtherOffset {
                seed,
                word,
                expected: Some(expected),
                because,
                unexplained,
                ..
            },
        ] if because.is_empty() => {
            let (direction, rest) = match word > expected {
                true => (
                    "earlier",
                    "by a dropout, a randn or a layer that PyTorch's model lacks",
                ),
                false => ("later", "a draw of PyTorch's is missing"),
            };
            let shift = word.abs_diff(*expected);
            let mut text = format!(
                "drawn at other positions in the stream of seed {seed}, each bit for bit\n\
                 PyTorch draws each {shift} words {direction}"
            );
            let is_all = unexplained.is_some_and(|words| words.unsigned_abs() == shift);
            if is_all {
                text.push_str(": ");
                text.push_str(rest);
            }
            Some(text)
        }
        _ => None,
    }
}

fn heading(explanation: &Explanation) -> String {
    let Explanation {
        tensor,
        shape,
        dtype,
        reference_shape,
        reference_dtype,
        differing,
        ..
    } = explanation;
    let numel: usize = shape.iter().product();
    let differ = match differing {
        Some(differing) => format!("{differing} of {numel} elements differ"),
        None => format!("the reference is {reference_dtype} {reference_shape:?}"),
    };
    format!("{}  {dtype} {shape:?}  {differ}", one_line(tensor))
}

/// How many tensors each cause explains.
fn summary(explanations: &[Explanation]) -> String {
    let mut causes: Vec<(&str, usize)> = Vec::new();
    let mut count = |cause| match causes.iter_mut().find(|(known, _)| *known == cause) {
        Some((_, count)) => *count += 1,
        None => causes.push((cause, 1)),
    };
    for explanation in explanations {
        match explanation.findings.as_slice() {
            _ if explanation.equal => count("equal"),
            [] => count("unexplained"),
            findings => findings.iter().for_each(|finding| count(finding.id())),
        }
    }
    let plural = if explanations.len() == 1 { "" } else { "s" };
    let mut text = format!("{} tensor{plural}", explanations.len());
    for (number, (cause, count)) in causes.iter().enumerate() {
        let separator = if number == 0 { ": " } else { ", " };
        if write!(text, "{separator}{count} {cause}").is_err() {
            break;
        }
    }
    text
}

fn names(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

fn list(names: &[&str]) -> String {
    const SHOWN: usize = 6;
    let shown = names[..names.len().min(SHOWN)].join(", ");
    match names.len() {
        n if n > SHOWN => format!("{shown} and {} more", n - SHOWN),
        _ => shown,
    }
}
