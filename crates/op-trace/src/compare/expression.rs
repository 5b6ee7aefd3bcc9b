//! Where a value comes from, as an expression over values that both sides have.

use super::bits::Bits;
use super::side::{Key, Side, copies, is_quiet};
use crate::calls::Form;
use crate::{SharedStr, Value};

/// A value: known to both sides, or what it is computed from.
pub struct Expression {
    pub key: Key,
    /// The operation that made it, if it is expanded.
    pub node: Option<usize>,
    /// The last operation that made it, or `None` for a value from outside.
    pub origin: Option<usize>,
    pub name: Option<String>,
    pub dtype: String,
    pub shape: Vec<i64>,
    pub inputs: Vec<(String, Expression)>,
}

const DEPTH: usize = 6;
const NODES: usize = 400;

/// Expands values of one side until values of the other are met.
pub struct Expander<'s, 'a> {
    pub side: &'s Side<'a>,
    pub other: &'s Side<'a>,
    pub weak: &'s Bits,
}

impl Expander<'_, '_> {
    pub fn expand(&self, key: Key, tensor: &Form, before: usize) -> Expression {
        self.part(key, tensor, before, DEPTH, &mut NODES.clone())
    }

    fn part(
        &self,
        key: Key,
        tensor: &Form,
        before: usize,
        depth: usize,
        budget: &mut usize,
    ) -> Expression {
        let origin = self.side.producer(key, before);
        *budget = budget.saturating_sub(1);
        let mut part = Expression {
            key,
            node: None,
            origin,
            name: tensor.name.as_ref().map(SharedStr::to_string),
            dtype: tensor.dtype.to_string(),
            shape: tensor.shape.clone(),
            inputs: Vec::new(),
        };
        let Some(index) = origin else { return part };
        let node = self.side.node(index);
        let is_known = match self.weak.contains(&key) {
            true => !node.bad,
            false => self.other.has(key),
        };
        let is_copy = node.view || matches!(node.canon, "clone" | "contiguous" | "_to_copy");
        if depth == 0 || *budget == 0 || (is_known && !is_copy) {
            return part;
        }
        part.node = Some(index);
        part.inputs = node
            .inputs
            .iter()
            .map(|input| {
                (
                    input.name.to_owned(),
                    self.part(input.key, input.tensor, index, depth - 1, budget),
                )
            })
            .collect();
        part
    }
}

/// Two expressions differ here.
pub enum Difference<'e> {
    /// The same operation with another scalar.
    Scalar {
        a: usize,
        b: usize,
        name: String,
        values: (Value, Value),
    },
    /// The same operation of the same values with another result.
    Result { a: usize, b: usize },
    /// Other operations, or other values.
    Part(&'e Expression, &'e Expression),
}

/// The smallest differing parts.
pub fn differences<'e>(
    a: &'e Expression,
    b: &'e Expression,
    sides: (&Side<'_>, &Side<'_>),
    found: &mut Vec<Difference<'e>>,
) {
    if a.key == b.key {
        return;
    }
    let (Some(p), Some(r)) = (a.node, b.node) else {
        found.push(Difference::Part(a, b));
        return;
    };
    let are_same = |a: usize, b: usize| sides.0.node(a).canon == sides.1.node(b).canon;
    if !are_same(p, r) || a.inputs.len() != b.inputs.len() {
        // One of them may be a view of the same operation.
        let (x, y) = (a.without_views(sides.0), b.without_views(sides.1));
        if let (Some(p), Some(r)) = (x.node, y.node)
            && x.key != y.key
            && are_same(p, r)
            && x.inputs.len() == y.inputs.len()
        {
            return differences(x, y, sides, found);
        }
        found.push(Difference::Part(a, b));
        return;
    }
    let before = found.len();
    for (name, values) in scalar_differences(sides, p, r) {
        found.push(Difference::Scalar {
            a: p,
            b: r,
            name,
            values,
        });
    }
    for ((_, x), (_, y)) in a.inputs.iter().zip(&b.inputs) {
        differences(x, y, sides, found);
    }
    if found.len() == before {
        // Another result of the same operation, or another view of the same value, is not another result.
        let both_have = sides.1.has(a.key) && sides.0.has(b.key);
        found.push(match both_have {
            true => Difference::Part(a, b),
            false => Difference::Result { a: p, b: r },
        });
    }
}

/// The scalars of two operations that do not mean the same.
pub fn scalar_differences(
    sides: (&Side<'_>, &Side<'_>),
    a: usize,
    b: usize,
) -> Vec<(String, (Value, Value))> {
    let (p, r) = (sides.0.node(a), sides.1.node(b));
    let mut found = Vec::new();
    for (name, value) in &p.scalars {
        let Some((_, other)) = r.scalars.iter().find(|(n, _)| n == name) else {
            continue;
        };
        if !is_quiet(name) && !p.meaning(name, value).means(&r.meaning(name, other)) {
            found.push(((*name).to_owned(), ((*value).clone(), (*other).clone())));
        }
    }
    found
}

impl Expression {
    /// Whether a value is among what this one is computed from.
    pub fn contains(&self, key: Key) -> bool {
        self.inputs
            .iter()
            .any(|(_, input)| input.key == key || input.contains(key))
    }

    /// The operations that are expanded.
    pub fn nodes(&self, found: &mut Vec<usize>) {
        found.extend(self.node);
        for (_, input) in &self.inputs {
            input.nodes(found);
        }
    }

    /// The value of which this one is a view, of whatever shape.
    pub fn without_views(&self, side: &Side<'_>) -> &Expression {
        self.without(|node| side.node(node).view)
    }

    /// The value of which this one is a copy, of whatever shape.
    pub fn without_copies(&self, side: &Side<'_>) -> &Expression {
        self.without(|node| copies(side.canon(node)))
    }

    /// The value under operations of one input that are left out.
    fn without(&self, is_left_out: impl Fn(usize) -> bool) -> &Expression {
        let mut part = self;
        while let (Some(node), [(_, input)]) = (part.node, &part.inputs[..]) {
            if !is_left_out(node) {
                break;
            }
            part = input;
        }
        part
    }

    /// The operations between this value and one that it is computed from, outermost first.
    pub fn path_to(&self, key: Key) -> Vec<usize> {
        let mut path = Vec::new();
        let mut part = self;
        while part.key != key {
            path.extend(part.node);
            let mut inputs = part.inputs.iter().map(|(_, input)| input);
            match inputs.find(|input| input.key == key || input.contains(key)) {
                Some(input) => part = input,
                None => break,
            }
        }
        path
    }

    pub fn text(&self, side: &Side<'_>, depth: usize) -> String {
        let Some(index) = self.node.filter(|_| depth > 0) else {
            return self.leaf(side);
        };
        let node = side.node(index);
        if node.view && self.inputs.len() == 1 {
            return self.inputs[0].1.text(side, depth);
        }
        let mut parts: Vec<String> = self
            .inputs
            .iter()
            .take(6)
            .map(|(_, input)| input.text(side, depth - 1))
            .collect();
        if self.inputs.len() > 6 {
            parts.push("...".to_owned());
        }
        parts.extend(shown_scalars(side, index));
        format!("{}({})", node.canon, parts.join(", "))
    }

    fn leaf(&self, side: &Side<'_>) -> String {
        match (&self.name, self.origin) {
            (Some(name), _) => name.clone(),
            (None, Some(origin)) => {
                let node = side.node(origin);
                match (
                    &node.operation.node,
                    &node.operation.module,
                    &node.operation.at,
                ) {
                    (Some(backward), ..) => format!("the {} of {backward}", node.canon),
                    (None, Some(module), _) => format!("the {} of {module}", node.canon),
                    (None, None, Some(at)) => format!("the {} at {at}", node.canon),
                    _ => format!("the {}", node.canon),
                }
            }
            (None, None) => format!("an input {}{:?}", self.dtype, self.shape),
        }
    }
}

/// The scalars of a call that are worth showing: all but defaults that say nothing.
pub fn shown_scalars(side: &Side<'_>, index: usize) -> Vec<String> {
    let node = side.node(index);
    node.scalars
        .iter()
        .filter(|(name, value)| {
            let is_default = matches!(value, Value::None | Value::Bool(false))
                || (matches!(value, Value::Int(1)) && matches!(*name, "alpha" | "beta" | "groups"));
            !is_default && !is_quiet(name)
        })
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}
