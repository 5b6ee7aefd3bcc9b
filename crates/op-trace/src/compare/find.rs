//! Finds the independent departures of two traces.

use super::bits::Bits;
use super::class::Class;
use super::departure::{
    Departure, Place, call_text, departure, place_of, sample_difference, step_name,
};
use super::explain::{Explanation, is_accumulation};
use super::expression::scalar_differences;
use super::pairing::{Origins, Pairing, Which};
use super::side::{Key, Node, Pass, Side};
use super::sides::Sides;
use crate::calls::{Call, Form};
use crate::{Phase, SharedStr, ValueHash};
use std::collections::{HashMap, HashSet};

/// More causes than any user reads.
const MAX_CAUSES: usize = 2000;
const MAX_CHAIN: usize = 32;
/// More differences are not compared with each other.
const MAX_COMPARED: usize = 64;

struct Found {
    /// The position in A, for the order.
    position: f64,
    /// The nodes from which what follows is counted.
    from: Origins,
    /// The nodes whose results depart.
    pair: Origins,
    departure: Departure,
}

impl Found {
    /// What differs before the first operation.
    fn at_start(class: Class, detail: String) -> Found {
        Found {
            position: -1.0,
            from: (None, None),
            pair: (None, None),
            departure: departure(class, None, None, vec![detail]),
        }
    }
}

/// Finds all departures, in order.
pub fn departures(pairing: &Pairing<'_, '_>) -> Vec<Departure> {
    pairing.departures()
}

impl<'s, 'a> Pairing<'s, 'a> {
    fn departures(&self) -> Vec<Departure> {
        let mut found = self.trained();
        found.extend(self.shared_parameters());
        let frozen = !found.is_empty();
        found.extend(self.differing_roots());
        let stream = self.stream().or_else(|| self.exchanged_draws());
        let extra = match stream {
            Some(_) => None,
            None => self.extra_draw(),
        };
        let stream_differs = stream.is_some() || extra.is_some();
        found.extend(stream);
        found.extend(extra.map(|(draw, which)| self.found_extra_draw(draw, which)));
        let is_root =
            |found: &&Found| matches!(found.departure.class, Class::Weights | Class::Data);
        let roots = found.iter().filter(is_root);
        let roots: Vec<_> = roots
            .map(|found| (found.pair, found.departure.class == Class::Weights))
            .collect();
        found.extend(self.causes(frozen, (stream_differs, extra), &roots));
        if found.is_empty() {
            found.extend(self.ends());
        }
        if found.is_empty() {
            found.extend(self.writes());
        }
        if found.is_empty() {
            found.extend(self.other_draws());
        }
        if found.is_empty() {
            found.extend(self.written_once());
        }
        if found
            .iter()
            .any(|found| found.departure.class == Class::Frozen)
        {
            // The gradients of what is not trained are computed on one side only.
            found.retain(|found| {
                let Departure { a, b, .. } = &found.departure;
                let is_gradient = |place: &Option<Place>| {
                    place
                        .as_ref()
                        .is_some_and(|place| place.phase == "backward")
                };
                !(a.is_none() && is_gradient(b) || b.is_none() && is_gradient(a))
            });
        }
        if found
            .iter()
            .any(|found| found.departure.class == Class::Tied)
        {
            // The gradients of all uses are added on one side only.
            found.retain(|found| {
                let Departure { class, a, b, .. } = &found.departure;
                let is_sum = class.subject() == Some("add");
                let is_only = matches!(class, Class::OnlyInA(_) | Class::OnlyInB(_));
                let mut places = [a, b].into_iter().flatten();
                !(is_only && is_sum && places.any(|place| place.phase == "backward"))
            });
        }
        self.join_twins(&mut found);
        for found in &mut found {
            self.place_in_forward(found);
        }
        self.drop_backward(&mut found);
        self.drop_consequences(&mut found);
        let pass = |found: &Found| {
            let in_a = found.from.0.map(|node| self.a.pass(node).number);
            in_a.or(found.from.1.map(|node| self.b.pass(node).number))
        };
        found.sort_by(|x, y| {
            pass(x)
                .cmp(&pass(y))
                .then(x.position.total_cmp(&y.position))
        });
        let lines = [self.a, self.b].map(optimizer_lines);
        let merged = merge(found, &lines).into_iter();
        merged
            .map(|(mut departure, from, pairs)| {
                departure.pairs = pairs
                    .into_iter()
                    .map(|(a, b)| Sides {
                        a: a.map(|node| self.a.operation(node).index),
                        b: b.map(|node| self.b.operation(node).index),
                    })
                    .collect();
                // A program without modules is where the other one is.
                match (&mut departure.a, &mut departure.b) {
                    (Some(a), Some(b)) if self.a.has_modules != self.b.has_modules => {
                        let (own, other) = match self.a.has_modules {
                            true => (&a.layer, &mut b.layer),
                            false => (&b.layer, &mut a.layer),
                        };
                        *other = other.take().or_else(|| own.clone());
                    }
                    _ => {}
                }
                // Counted for what is reported only.
                departure.consequences = self.after(from);
                departure
            })
            .collect()
    }

    /// Joins two steps of one kind and from the same values, one only in A and one only in B: their arguments differ.
    fn join_twins(&self, found: &mut Vec<Found>) {
        let mut place = 0;
        while place < found.len() {
            let own = &found[place];
            let twin = (place + 1..found.len()).find_map(|other| {
                let (in_a, in_b) = match (&own.departure.class, &found[other].departure.class) {
                    (Class::OnlyInA(_), Class::OnlyInB(_)) => (own, &found[other]),
                    (Class::OnlyInB(_), Class::OnlyInA(_)) => (&found[other], own),
                    _ => return None,
                };
                let (p, r) = (in_a.from.0?, in_b.from.1?);
                let (x, y) = (self.a.node(p), self.b.node(r));
                let keys = |node: &Node<'a>| {
                    let inputs = node.inputs.iter();
                    inputs.map(|input| input.key).collect::<Vec<_>>()
                };
                let are_alone = in_a.departure.b.is_none() && in_b.departure.a.is_none();
                let is_twin = are_alone
                    && x.canon == y.canon
                    && x.pass == y.pass
                    && keys(&x) == keys(&y)
                    && !scalar_differences((self.a, self.b), p, r).is_empty();
                is_twin.then_some((other, p, r))
            });
            if let Some((other, p, r)) = twin {
                let explanation = self.explain(p, r);
                let position = found[place].position.min(found[other].position);
                let (class, details) = (explanation.class, explanation.details);
                found[place] = self.found_at(position, class, (p, r), details);
                found.remove(other);
            }
            place += 1;
        }
    }

    /// Drops what is the same difference as another one, in the backward pass.
    fn drop_backward(&self, found: &mut Vec<Found>) {
        let places = |found: &Found| {
            let Departure { a, b, .. } = &found.departure;
            [(Which::A, a), (Which::B, b)]
                .map(|(which, place)| place.as_ref().map(|place| (which, place.index)))
        };
        let forward: HashSet<(Which, usize)> = found.iter().flat_map(places).flatten().collect();
        let is_backward = |(which, index): (Which, usize)| {
            let calls = &self.sides(which).0.trace.calls;
            let of = calls.call(index).forward;
            of.is_some_and(|of| forward.contains(&(which, of)))
        };
        found.retain(|found| !places(found).into_iter().flatten().any(is_backward));
    }

    /// Places a step of the backward pass where its operation of the forward pass is, if that is a step of the same kind which the other side
    /// lacks, too.
    fn place_in_forward(&self, found: &mut Found) {
        let is_step = matches!(found.departure.class, Class::OnlyInA(_) | Class::OnlyInB(_));
        let Some((node, which)) = one_sided(found.from).filter(|_| is_step) else {
            return;
        };
        let (side, _) = self.sides(which);
        let is_same = |forward: &usize| {
            side.canon(*forward) == side.canon(node)
                && side.is_bad(*forward)
                && !side.has_bad_input(*forward)
        };
        let Some(forward) = side.forward_of(node).filter(is_same) else {
            return;
        };
        let class = found.departure.class.clone();
        let call = call_text(&self.expander(which), forward);
        let detail = format!("only in {}: {call}", side.label);
        let (a, b) = which.in_order(Some(place_of(side, forward)), None);
        let from = which.in_order(Some(forward), None);
        *found = Found {
            position: found.position,
            from,
            pair: from,
            departure: departure(class, a, b, vec![detail]),
        };
    }

    /// Drops what another difference explains.
    fn drop_consequences(&self, found: &mut Vec<Found>) {
        if found.len() > MAX_COMPARED {
            return;
        }
        let mut place = 0;
        while place < found.len() {
            let mut others = found[..place].iter().chain(&found[place + 1..]);
            match others.any(|other| self.explains(other, &found[place])) {
                true => drop(found.remove(place)),
                false => place += 1,
            }
        }
    }

    /// Whether a difference follows from another one.
    fn explains(&self, other: &Found, found: &Found) -> bool {
        let Departure { class, a, b, .. } = &found.departure;
        match (class, found.pair) {
            // No gradient comes to a parameter, since what is computed of it goes on otherwise.
            (Class::Frozen, pair) => one_sided(pair).is_some_and(|(_, which)| {
                let (update, _) = which.in_order(a, b);
                self.cuts_update(other, update, which)
            }),
            (Class::OnlyInA(_) | Class::OnlyInB(_), pair) => {
                one_sided(pair).is_some_and(|(node, which)| self.cuts_gradient(other, node, which))
            }
            // What comes of two operations that differ, of which a result is met by chance.
            (Class::Input(_), (Some(p), Some(r))) => {
                let (Class::Argument(_), (Some(x), Some(y))) = (&other.departure.class, other.pair)
                else {
                    return false;
                };
                let comes_of = |side: &Side<'a>, start: usize, node: usize| {
                    side.pass(start) == side.pass(node) && leads(side, start, node)
                };
                comes_of(self.a, x, p) && comes_of(self.b, y, r)
            }
            // A value that both have is met at another line.
            (Class::Argument(_), (Some(p), Some(r))) => {
                let is_value = matches!(other.departure.class, Class::Input(_) | Class::Order(..));
                is_value
                    && other.position < found.position
                    && self.a.operation(p).at != self.b.operation(r).at
                    && self.has_exchanged_arguments(p, r)
            }
            // The position of the draws after a dropout that one side lacks.
            (Class::Stream, _) => {
                let (own, of) = match &other.departure.class {
                    Class::OnlyInA(step) if step == "dropout" => (a, &other.departure.a),
                    Class::OnlyInB(step) if step == "dropout" => (b, &other.departure.b),
                    _ => return false,
                };
                let [Some(own), Some(of)] = [own, of].map(Option::as_ref) else {
                    return false;
                };
                own.module == of.module && own.at == of.at && own.step == of.step
            }
            // An update by other gradients.
            (Class::Optimizer(_), (Some(p), Some(r))) => {
                let (x, y) = (self.a.node(p), self.b.node(r));
                let inputs = x.inputs.iter().zip(&y.inputs);
                let mut differing = inputs
                    .filter(|(x, y)| x.key != y.key)
                    .map(|(x, y)| [x.tensor.name.as_ref(), y.tensor.name.as_ref()])
                    .peekable();
                let is_gradient = |name: Option<&SharedStr>| {
                    name.is_some_and(|name| name.as_str().ends_with(".grad"))
                };
                let is_before = other.from.0.is_some_and(|node| {
                    node < p && self.a.operation(node).step == self.a.operation(p).step
                });
                is_before
                    && differing.peek().is_some()
                    && differing.all(|names| names.into_iter().all(is_gradient))
                    && scalar_differences((self.a, self.b), p, r).is_empty()
            }
            _ => false,
        }
    }

    /// Whether another difference is on the way from a parameter that only this side updates to the loss.
    fn cuts_update(&self, other: &Found, update: &Option<Place>, which: Which) -> bool {
        let (side, _) = self.sides(which);
        let update = update
            .as_ref()
            .map(|place| side.trace.calls.call(place.index));
        let Some(name) = update.and_then(|update| update.site.updated.as_ref()) else {
            return false;
        };
        self.cuts(other, which, |node| {
            let inputs = side.node(node).inputs;
            let mut inputs = inputs.iter();
            inputs.any(|input| input.tensor.name.as_ref() == Some(name))
        })
    }

    /// Whether another difference is on the way to the loss from the operation whose gradient only this side computes.
    fn cuts_gradient(&self, other: &Found, node: usize, which: Which) -> bool {
        let (side, _) = self.sides(which);
        let Some(forward) = side.forward_of(node) else {
            return false;
        };
        if other.departure.class == Class::GradientNotZeroed {
            // It is computed and added on this side only.
            let (own, _) = which.in_order(other.from.0, other.from.1);
            return own.is_some_and(|own| leads(side, node, own));
        }
        self.cuts(other, which, |node| node == forward)
    }

    /// Whether a difference is another step of the forward pass, and comes of such an operation there.
    fn cuts(&self, found: &Found, which: Which, is_start: impl Fn(usize) -> bool) -> bool {
        let is_step = matches!(
            found.departure.class,
            Class::Input(_) | Class::OnlyInA(_) | Class::OnlyInB(_) | Class::Exchanged(..)
        );
        let (side, _) = self.sides(which);
        let (own, _) = which.in_order(found.from.0, found.from.1);
        let Some(own) = own.filter(|own| is_step && side.operation(*own).phase == Phase::Forward)
        else {
            return false;
        };
        let number = side.pass(own).number;
        let mut reached = Bits::new(side.len());
        for node in side.of_pass(side.pass(own)) {
            if is_start(node) && reached.insert(node) {
                let is_near = |next| side.pass(next).number <= number;
                side.follow_while(node, is_near, &mut reached);
            }
        }
        // Another call of the same line is the same difference.
        let spot = Spot::of(side, own);
        let mut reached = side.of_pass(spot.0).filter(|node| reached.has(*node));
        reached.any(|node| Spot::of(side, node) == spot)
    }

    /// Whether both programs have two operations in a pass with each other's arguments, so that their inputs are exchanged.
    fn has_exchanged_arguments(&self, p: usize, r: usize) -> bool {
        let has_twin = |which: Which, of: usize, among: usize| {
            let (_, other) = self.sides(which);
            let mut others = other.of_pass(other.pass(among));
            others.any(|twin| {
                let pair = which.in_order(of, twin);
                self.a.canon(pair.0) == self.b.canon(pair.1)
                    && scalar_differences((self.a, self.b), pair.0, pair.1).is_empty()
            })
        };
        has_twin(Which::A, p, r) && has_twin(Which::B, r, p)
    }

    /// A name, with that of the other side if it is another one.
    fn both_names(&self, a: &str, b: &str) -> String {
        match a == b || b.is_empty() {
            true => a.to_owned(),
            false => format!("{a} ({b} in {})", self.b.label),
        }
    }

    /// Parameters that are trained on one side only.
    fn trained(&self) -> Vec<Found> {
        let names = |side: &Side<'a>| {
            let models = side.trace.models.iter().flat_map(|model| &model.names);
            models
                .map(|named| (named.name.to_string(), named.requires_grad))
                .collect::<Vec<_>>()
        };
        let others = names(self.b);
        let (mut found, mut known) = (Vec::new(), HashSet::new());
        for (name, trained) in names(self.a) {
            let Some((twin, other)) = others
                .iter()
                .find(|(other, _)| self.names.is_same(&name, other))
            else {
                continue;
            };
            let (Some(in_a), Some(in_b)) = (trained, *other) else {
                continue;
            };
            if in_a != in_b {
                let labels = (self.a.label, self.b.label);
                let (with, without) = if in_a { labels } else { (labels.1, labels.0) };
                let names = self.both_names(&name, twin);
                found.push(Found::at_start(
                    Class::Frozen,
                    format!("{names} has requires_grad=True in {with} and False in {without}"),
                ));
                known.insert(name);
            }
        }
        found.extend(self.updated(&known));
        found
    }

    /// Whether a program writes none of the parameters that the other one's optimizer updates, in whatever way.
    fn never_writes(&self, which: Which, updated: &HashMap<&SharedStr, usize>) -> bool {
        let (side, _) = self.sides(which);
        let nodes = (0..side.len()).filter_map(|node| side.operation(node).site.updated.as_ref());
        let written: HashSet<&SharedStr> = nodes.collect();
        let mut pairs = self.names.all().map(|(a, b)| which.in_order(a, b));
        !updated.is_empty()
            && !pairs.any(|(own, other)| updated.contains_key(other) && written.contains(own))
    }

    /// Parameters that only one side's optimizers update, though both train. Those of A that are known to be frozen are left out.
    fn updated(&self, known: &HashSet<String>) -> Vec<Found> {
        let updates = |side: &'s Side<'a>| {
            let mut first: HashMap<&SharedStr, usize> = HashMap::new();
            for node in 0..side.len() {
                let operation = side.operation(node);
                if operation.phase == Phase::Optimizer && operation.writes {
                    for (_, form) in side.node(node).outputs {
                        if let Some(name) = &form.name {
                            first.entry(name).or_insert(node);
                        }
                    }
                }
            }
            first
        };
        let (in_a, in_b) = (updates(self.a), updates(self.b));
        // What a program does not use has no gradient: that is another difference.
        let uses = |side: &'s Side<'a>| {
            let forward = |node: &usize| side.operation(*node).phase == Phase::Forward;
            let nodes = (0..side.len()).filter(forward);
            let inputs = nodes.flat_map(|node| side.node(node).inputs);
            let names = inputs.filter_map(|input| input.tensor.name.as_ref());
            names.collect::<HashSet<&SharedStr>>()
        };
        let (used_in_a, used_in_b) = (uses(self.a), uses(self.b));
        // Nor has it one if its use does not lead to the loss.
        let mut unled = None;
        let mut leads = |a: &'s SharedStr, b: &'s SharedStr, which: Which| {
            let unled = unled.get_or_insert_with(|| self.not_leading());
            let (own, _) = which.in_order(a, b);
            !unled.contains(&(which, own))
        };
        let mut found = Vec::new();
        // One that updates by hand has no optimizer.
        if (in_a.is_empty() && !self.never_writes(Which::A, &in_b))
            || (in_b.is_empty() && !self.never_writes(Which::B, &in_a))
        {
            return found;
        }
        for (a, b) in self.names.all() {
            let (node, which) = match (in_a.get(a), in_b.get(b)) {
                (Some(node), None) if used_in_b.contains(b) => (*node, Which::A),
                (None, Some(node)) if used_in_a.contains(a) => (*node, Which::B),
                _ => continue,
            };
            if known.contains(a.as_str()) || !leads(a, b, which) {
                continue;
            }
            let names = self.both_names(a.as_str(), b.as_str());
            let (side, _) = self.sides(which);
            let (in_a, in_b) = which.in_order(Some(place_of(side, node)), None);
            let from = which.in_order(Some(self.first_of_update(node, side)), None);
            found.push(Found {
                position: node as f64,
                from,
                pair: from,
                departure: departure(
                    Class::Frozen,
                    in_a,
                    in_b,
                    vec![format!("{names} is updated only in {}", side.label)],
                ),
            });
        }
        found
    }

    /// The parameters from which operations of the forward pass lead to the gradient of a loss.
    fn leading_to_loss(&self, side: &'s Side<'a>) -> HashSet<&'s SharedStr> {
        let mut leads = Bits::new(side.len());
        let mut names = HashSet::new();
        for node in (0..side.len()).rev() {
            if side.operation(node).phase != Phase::Forward {
                continue;
            }
            let of = side.node(node);
            let is_loss = of.canon == "ones_like" && side.loss_of(node) == Some(node);
            let mut outputs = of.outputs.iter();
            let is_strong = |key: Key| !self.keys.weak.contains(&key);
            let is_leading = outputs.any(|(key, _)| {
                is_strong(*key) && side.consumers(*key, node).any(|taken| leads.has(taken))
            });
            if is_loss || is_leading {
                leads.insert(node);
                names.extend(
                    of.inputs
                        .iter()
                        .filter_map(|input| input.tensor.name.as_ref()),
                );
            }
        }
        names
    }

    /// The first operation of an update that the other side lacks: it takes what both have.
    fn first_of_update(&self, update: usize, side: &Side<'a>) -> usize {
        let mut first = update;
        loop {
            let node = side.node(first);
            let mut producers = node.inputs.iter().filter_map(|input| {
                let producer = side.producer(input.key, first)?;
                let is_bad = side.is_bad(producer) && side.pass(producer) == node.pass;
                is_bad.then_some(producer)
            });
            match producers.next() {
                Some(producer) => first = producer,
                None => return first,
            }
        }
    }

    /// Parameters of one value that are one on one side and several on the other.
    fn shared_parameters(&self) -> Vec<Found> {
        let groups = |side: &'s Side<'a>| {
            let mut groups: Vec<(Contents<'_>, Vec<Stored<'_>>)> = Vec::new();
            let mut known = HashMap::new();
            let names = || side.trace.models.iter().flat_map(|model| &model.names);
            // Said only where a value is met first.
            let alike: HashSet<_> = names()
                .filter(|named| named.tensor.all.is_some())
                .map(|named| named.tensor.hash)
                .collect();
            for named in names().filter(|named| named.requires_grad.is_some()) {
                let is_alike = alike.contains(&named.tensor.hash);
                let Some(hash) = named.tensor.hash.filter(|_| !is_alike) else {
                    continue;
                };
                let key = (&named.tensor.dtype, &named.tensor.shape[..], hash);
                let index = *known.entry(key).or_insert(groups.len());
                if index == groups.len() {
                    groups.push((key, Vec::new()));
                }
                let names = &mut groups[index].1;
                // One storage is one parameter, whatever its names.
                if !names
                    .iter()
                    .any(|(_, storage)| *storage == named.tensor.storage)
                {
                    names.push((&named.name, named.tensor.storage));
                }
            }
            groups
        };
        // The storage of a name, which is the same in both programs.
        let stored = |side: &'s Side<'a>, name: &SharedStr| {
            let mut names = side.trace.models.iter().flat_map(|model| &model.names);
            let named = names.find(|named| named.name == *name)?;
            named.tensor.storage
        };
        let in_b: HashMap<_, _> = groups(self.b).into_iter().collect();
        let mut found = Vec::new();
        for (key, a) in groups(self.a) {
            let Some(b) = in_b.get(&key) else { continue };
            if a.len() == b.len() || (a.len() > 1 && b.len() > 1) {
                continue;
            }
            let (single, several, one, many) = match a.len() {
                1 => (&a, b, self.a.label, self.b.label),
                _ => (b, &a, self.b.label, self.a.label),
            };
            // Where the other program has each of them, too, they only have one value.
            let with_one = if a.len() == 1 { self.a } else { self.b };
            let storages: HashSet<_> = several
                .iter()
                .filter_map(|(name, _)| stored(with_one, name))
                .collect();
            if storages.len() > 1 {
                continue;
            }
            let names: Vec<&str> = several.iter().map(|(name, _)| name.as_str()).collect();
            found.push(Found::at_start(
                Class::Tied,
                format!(
                    "{} are {} parameters in {many}, one in {one}: {}",
                    names.join(" and "),
                    names.len(),
                    single[0].0
                ),
            ));
        }
        found
    }

    /// Weights and data that the sides do not share.
    fn differing_roots(&self) -> Vec<Found> {
        let starts = |side: &'s Side<'a>| {
            let names = side.trace.models.iter().flat_map(|model| &model.names);
            names
                .map(|named| {
                    (
                        named.name.as_str(),
                        (&named.tensor.dtype, named.tensor.hash),
                    )
                })
                .collect::<HashMap<_, _>>()
        };
        // Values of which the other side has the parameter with another value, though it has this one elsewhere, too: ones.
        let (starts_a, starts_b) = (starts(self.a), starts(self.b));
        let others = self.names.all().filter(|(a, b)| {
            let (a, b) = (starts_a.get(a.as_str()), starts_b.get(b.as_str()));
            a.is_some() && b.is_some() && a != b
        });
        let (others_a, others_b): (HashSet<_>, HashSet<_>) = others.unzip();
        let only = |side: &'s Side<'a>, other: &'s Side<'a>, others: &HashSet<&SharedStr>| {
            let roots = side.roots.iter().copied();
            roots
                .filter(|(key, node, position)| {
                    let tensor = side.node(*node).inputs[*position].tensor;
                    let is_other = tensor
                        .name
                        .as_ref()
                        .is_some_and(|name| others.contains(name));
                    let is_weak = self.keys.weak.contains(key);
                    is_other || (!other.has(*key) && (!is_weak || tensor.name.is_some()))
                })
                .collect::<Vec<_>>()
        };
        let in_a = only(self.a, self.b, &others_a);
        let mut in_b = only(self.b, self.a, &others_b);
        let mut found = Vec::new();
        for (key, index, position) in in_a {
            let node = &self.a.node(index);
            let input = &node.inputs[position];
            let named_twin = input.tensor.name.as_ref().and_then(|name| {
                in_b.iter().position(|(_, other, place)| {
                    let twin = &self.b.node(*other).inputs[*place];
                    self.is_same_name(Which::A, Some(name), twin.tensor.name.as_ref())
                })
            });
            let twin = named_twin.or_else(|| {
                in_b.iter().position(|(_, other, place)| {
                    let twin = &self.b.node(*other);
                    let other = &twin.inputs[*place];
                    let is_unknown = |name: &SharedStr| {
                        let mut names = self.a.trace.models.iter().flat_map(|model| &model.names);
                        !names.any(|named| named.name == *name)
                    };
                    other.tensor.name.is_some() == input.tensor.name.is_some()
                        && other.tensor.name.as_ref().is_none_or(is_unknown)
                        && twin.canon == node.canon
                        && other.name == input.name
                        && other.tensor.shape == input.tensor.shape
                        && twin.pass == node.pass
                })
            });
            let Some(twin) = twin else {
                // Another dtype or shape shows in the operation that takes it.
                continue;
            };
            let (_, other, place) = in_b.remove(twin);
            if !self.matters(index, Which::A) && !self.keys.weak.contains(&key) {
                continue;
            }
            let tensor = self.b.node(other).inputs[place].tensor;
            let (mut details, mut weights) = (Vec::new(), Vec::new());
            let class = match &input.tensor.name {
                Some(name) => {
                    let twin = tensor.name.as_ref().map_or("", SharedStr::as_str);
                    weights.push(Sides {
                        a: name.to_string(),
                        b: twin.to_owned(),
                    });
                    let names = self.both_names(name.as_str(), twin);
                    details.push(format!("{names} has other values at the start"));
                    Class::Weights
                }
                None => {
                    details.push(format!(
                        "argument {} is from outside: {}{:?} in {}, {}{:?} in {}, with other values",
                        input.name,
                        input.tensor.dtype,
                        input.tensor.shape,
                        self.a.label,
                        tensor.dtype,
                        tensor.shape,
                        self.b.label
                    ));
                    Class::Data
                }
            };
            details.extend(sample_difference(
                &self.a.input_sample(index, position),
                &self.b.input_sample(other, place),
            ));
            found.push(Found {
                position: index as f64 - 0.25,
                from: (Some(index), Some(other)),
                pair: (Some(index), Some(other)),
                departure: Departure {
                    weights,
                    ..departure(
                        class,
                        Some(place_of(self.a, index)),
                        Some(place_of(self.b, other)),
                        details,
                    )
                },
            });
        }
        found
    }

    /// The first draw from another position of the stream that no draw before it explains.
    fn stream(&self) -> Option<Found> {
        let jumps = |which: Which| {
            let (side, other) = self.sides(which);
            let mut last = None;
            self.draws(which).into_iter().find(|index| {
                let states = side.draw(*index);
                let before = states.map(|(before, _)| before);
                let jumps = last != before && before.is_some_and(|before| !other.has_state(before));
                last = states.map(|(_, after)| after);
                jumps
            })
        };
        let (index, other) = (jumps(Which::A)?, jumps(Which::B)?);
        let seed = |side: &'s Side<'a>, index: usize| side.seed(index);
        let (class, detail) = match (seed(self.a, index), seed(self.b, other)) {
            (Some(a), Some(b)) if a != b => (
                Class::Seed,
                format!(
                    "the generator has seed {a} in {}, {b} in {}",
                    self.a.label, self.b.label
                ),
            ),
            _ => (
                Class::Stream,
                "the generators have the same seed and another position".to_owned(),
            ),
        };
        Some(self.found_draws(class, index, other, detail))
    }

    /// The draws of a side up to where the other side has ended.
    fn draws(&self, which: Which) -> Vec<usize> {
        let (side, other) = self.sides(which);
        let nodes = (0..side.len()).take_while(|index| !side.is_after(*index, other));
        nodes.filter(|index| side.draw(*index).is_some()).collect()
    }

    /// The first draws of one state of the generator that are not the same, as positions in the lists of draws.
    fn first_other_draw(&self, in_a: &[usize], in_b: &[usize]) -> Option<usize> {
        let are_same = |p: usize, r: usize| {
            // randn and normal draw the same values.
            self.a.outputs(p).eq(self.b.outputs(r))
                || self.a.canon(p) == self.b.canon(r)
                    && scalar_differences((self.a, self.b), p, r).is_empty()
        };
        let mut pairs = in_a.iter().zip(in_b);
        let place = pairs.position(|(p, r)| !self.begin_alike(*p, *r) || !are_same(*p, *r))?;
        self.begin_alike(in_a[place], in_b[place]).then_some(place)
    }

    /// Whether two draws begin at one place of the stream.
    pub fn begin_alike(&self, p: usize, r: usize) -> bool {
        let before = |states: Option<(u32, u32)>| states.map(|(before, _)| before);
        before(self.a.draw(p)) == before(self.b.draw(r))
    }

    /// A draw that only one side has, though the other one draws the same later, in another pass: of a dropout in an evaluation.
    fn extra_draw(&self) -> Option<(usize, Which)> {
        let (in_a, in_b) = (self.draws(Which::A), self.draws(Which::B));
        let is_same =
            |p: usize, r: usize| self.begin_alike(p, r) && self.a.outputs(p).eq(self.b.outputs(r));
        let mut pairs = in_a.iter().copied().zip(in_b.iter().copied());
        let (p, r) = pairs.find(|(p, r)| self.a.pass(*p) != self.b.pass(*r) || !is_same(*p, *r))?;
        let (in_a, in_b) = (self.a.pass(p), self.b.pass(r));
        let (x, y) = (self.a.operation(p), self.b.operation(r));
        // One call of one module in one mode, with gradients on one side.
        let site = |call: Call<'a>| {
            (
                call.site.module.clone(),
                call.site.at.clone(),
                call.site.eval,
            )
        };
        let is_one_line = x.module.is_some() && site(x) == site(y);
        // A step may have more backward passes on one side.
        let is_elsewhere = x.step != y.step || !in_a.is_of_kind(in_b) && !is_one_line;
        (is_same(p, r) && is_elsewhere).then_some(match in_a < in_b {
            true => (p, Which::A),
            false => (r, Which::B),
        })
    }

    /// The operation that uses a draw with something else.
    fn taker_of_draw(&self, draw: usize, which: Which) -> Option<usize> {
        let (side, _) = self.sides(which);
        let mut node = draw;
        for _ in 0..4 {
            let key = side.outputs(node).next()?;
            node = side.consumers(key, node).next()?;
            if side.node(node).inputs.len() > 1 {
                return Some(node);
            }
        }
        None
    }

    fn found_extra_draw(&self, draw: usize, which: Which) -> Found {
        let (side, other) = self.sides(which);
        let canon = side.canon(draw);
        let pass = side.pass(draw);
        let is_mask = canon.contains("bernoulli") || canon.contains("dropout");
        let class = match is_mask {
            true if other.evaluates(pass) && !side.evaluates(pass) => Class::Mode,
            true => which.only("dropout".to_owned()),
            false => which.only(canon.to_owned()),
        };
        let call = call_text(&self.expander(which), draw);
        let detail = format!("only in {}, and later in the other: {call}", side.label);
        let (a, b) = which.in_order(Some(place_of(side, draw)), None);
        let from = which.in_order(Some(draw), None);
        Found {
            position: draw as f64 - 0.5,
            from,
            pair: from,
            departure: departure(class, a, b, vec![detail]),
        }
    }

    /// The draw of the other side that has the same number in its pass.
    fn twin_draw(&self, draw: usize, which: Which) -> Option<usize> {
        let (side, other) = self.sides(which);
        let pass = side.pass(draw);
        let draws =
            |side: &'s Side<'a>| side.of_pass(pass).filter(|node| side.draw(*node).is_some());
        let number = draws(side).position(|node| node == draw)?;
        draws(other).nth(number)
    }

    /// Two draws that follow each other in the other order.
    fn exchanged_draws(&self) -> Option<Found> {
        let (in_a, in_b) = (self.draws(Which::A), self.draws(Which::B));
        let place = self.first_other_draw(&in_a, &in_b)?;
        let canon = |side: &Side<'a>, draws: &[usize], place: usize| {
            draws.get(place).map(|node| side.canon(*node))
        };
        let of_a = [place, place + 1].map(|place| canon(self.a, &in_a, place));
        let of_b = [place + 1, place].map(|place| canon(self.b, &in_b, place));
        let [Some(first), Some(second)] = of_a else {
            return None;
        };
        let passes = |side: &Side<'a>, draws: &[usize]| {
            [place, place + 1].map(|place| side.pass(draws[place]))
        };
        let is_exchanged = first != second
            && of_a == of_b
            && passes(self.a, &in_a).windows(2).all(|two| two[0] == two[1])
            && passes(self.a, &in_a) == passes(self.b, &in_b);
        is_exchanged.then(|| {
            let detail = format!(
                "{} draws with {first} and then with {second}, {} the other way round",
                self.a.label, self.b.label
            );
            let class = Class::Order(first.to_owned(), second.to_owned());
            self.found_draws(class, in_a[place], in_b[place], detail)
        })
    }

    /// The first draws of one state that are not the same, where nothing else tells why the programs end in other values.
    fn other_draws(&self) -> Option<Found> {
        let (end_a, end_b) = (ends(self.a), ends(self.b));
        let mut names = self.names.all();
        if !names.any(|(a, b)| end_a.get(a.as_str()) != end_b.get(b.as_str())) {
            return None;
        }
        let (class, (p, r), detail) = self.other_draw_class()?;
        Some(self.found_draws(class, p, r, detail))
    }

    /// How the first draws of one state that are not the same differ.
    pub fn other_draw_class(&self) -> Option<(Class, (usize, usize), String)> {
        let (in_a, in_b) = (self.draws(Which::A), self.draws(Which::B));
        let place = self.first_other_draw(&in_a, &in_b)?;
        let (p, r) = (in_a[place], in_b[place]);
        let (first, other) = (self.a.canon(p), self.b.canon(r));
        let next =
            |side: &Side<'a>, draws: &[usize]| draws.get(place + 1).map(|node| side.canon(*node));
        let (class, detail) = if first == other {
            let (name, (a, b)) = scalar_differences((self.a, self.b), p, r)
                .into_iter()
                .next()?;
            let (in_a, in_b) = (self.a.label, self.b.label);
            let detail = format!("argument {name}: {a} in {in_a}, {b} in {in_b}");
            (Class::Argument(name), detail)
        } else if next(self.b, &in_b) == Some(first) && next(self.a, &in_a) != Some(other) {
            let call = call_text(&self.expander(Which::B), r);
            let detail = format!("only in {}: {call}", self.b.label);
            (Class::OnlyInB(other.to_owned()), detail)
        } else if next(self.a, &in_a) == Some(other) && next(self.b, &in_b) != Some(first) {
            let call = call_text(&self.expander(Which::A), p);
            let detail = format!("only in {}: {call}", self.a.label);
            (Class::OnlyInA(first.to_owned()), detail)
        } else {
            let (in_a, in_b) = (self.a.label, self.b.label);
            let detail = format!("{in_a} draws with {first}, {in_b} with {other}");
            (Class::Exchanged(first.to_owned(), other.to_owned()), detail)
        };
        Some((class, (p, r), detail))
    }

    /// A difference of two draws comes before what follows from it.
    fn found_draws(&self, class: Class, p: usize, r: usize, detail: String) -> Found {
        self.found_at(p as f64 - 0.5, class, (p, r), vec![detail])
    }

    /// What differs at an operation of each side.
    fn found_at(
        &self,
        position: f64,
        class: Class,
        (p, r): (usize, usize),
        details: Vec<String>,
    ) -> Found {
        let (a, b) = (place_of(self.a, p), place_of(self.b, r));
        Found {
            position,
            from: (Some(p), Some(r)),
            pair: (Some(p), Some(r)),
            departure: departure(class, Some(a), Some(b), details),
        }
    }

    /// Whether all that differs between two operations was drawn.
    fn are_drawn(&self, explanation: &Explanation, p: usize, r: usize) -> bool {
        let is_drawn =
            |(a, b): &(Key, Key)| self.is_drawn(*a, p, self.a) || self.is_drawn(*b, r, self.b);
        !explanation.parts.is_empty()
            && explanation.parts.len() == explanation.details.len()
            && explanation.step.is_none()
            && explanation.parts.iter().all(is_drawn)
    }

    /// `roots` are the operations that take other values from outside, and whether these are parameters.
    ///
    /// Of the stream, whether it is known to differ, and a draw that only one side has.
    fn causes(
        &self,
        frozen: bool,
        (stream_differs, extra): (bool, Option<(usize, Which)>),
        roots: &[(Origins, bool)],
    ) -> Vec<Found> {
        let mut causes: Vec<(f64, usize, Which)> = Vec::new();
        let draws_in = |side: &Side<'a>| (0..side.len()).any(|node| side.draw(node).is_some());
        for (which, pairs) in [(Which::A, None), (Which::B, Some(&self.back))] {
            let (side, other) = self.sides(which);
            let mut first_draw = true;
            let other_draws = draws_in(other);
            for index in 0..side.len() {
                if side.is_after(index, other) {
                    break;
                }
                let is_first = side.draw(index).is_some() && std::mem::take(&mut first_draw);
                // The first draw of a program whose twin never draws.
                let starts = is_first && !other_draws;
                // The gradient of a loss has nothing of its value.
                let is_cause = !side.has_bad_input(index) && side.canon(index) != "ones_like";
                if side.is_bad(index) && (is_cause || starts) {
                    let position = match pairs {
                        None => index as f64,
                        Some(back) => back.position(index) + 0.5,
                    };
                    causes.push((position, index, which));
                }
            }
        }
        // By passes first, since what only one side has is not where it would be on the other.
        causes.sort_by(|x, y| {
            let pass = |cause: &(f64, usize, Which)| self.sides(cause.2).0.pass(cause.1).number;
            pass(x).cmp(&pass(y)).then(x.0.total_cmp(&y.0))
        });
        causes.truncate(MAX_CAUSES);
        let mut used: HashSet<(bool, usize)> = HashSet::new();
        let mut unled = None;
        let mut found: Vec<Found> = Vec::new();
        // Where each of these begins: an operation that has no twin at first.
        let mut begins: Vec<(usize, Which)> = Vec::new();
        let mut reported = Reported::default();
        let (mut reached_a, mut reached_b) = (Bits::new(self.a.len()), Bits::new(self.b.len()));
        let mut frozen_step = frozen.then_some(1);
        // The pass in which a module of each side first departed.
        let mut modules: HashMap<(Which, &SharedStr), Pass> = HashMap::new();
        let mut lines: [HashSet<Spot>; 2] = Default::default();
        // The first iteration that one side lacks: the side that has it, and the step.
        let mut iteration: Option<(Which, u32)> = None;
        // What follows a number that the program reads of a draw that one side lacks.
        let mut decided: HashSet<(Which, usize)> = HashSet::new();
        let weak = &self.keys.weak;
        for ((a, b), is_weights) in roots {
            for node in a.iter() {
                self.a.reach(*node, self.b, weak, &mut reached_a);
            }
            for node in b.iter() {
                self.b.reach(*node, self.a, weak, &mut reached_b);
            }
            if *is_weights {
                used.extend(a.map(|node| (true, node)));
                used.extend(b.map(|node| (false, node)));
            }
        }
        if let Some((draw, which)) = extra {
            let taken = self.taker_of_draw(draw, which).unwrap_or(draw);
            self.spread((taken, which), &mut reached_a, &mut reached_b);
        }
        let of_weights = used.clone();
        // After a draw that one side lacks, both read other parts of the stream.
        let mut stream_moved = stream_differs;
        for (position, index, which) in causes {
            let (side, other) = self.sides(which);
            let node = &side.node(index);
            if used.contains(&(which == Which::A, index)) {
                // Of a later step, it is the same again.
                reported.is_repeated(node, which);
                continue;
            }
            if node.states.is_some() && stream_moved {
                if extra.is_some() {
                    let (reached, reached_in_other) = match which {
                        Which::A => (&mut reached_a, &mut reached_b),
                        Which::B => (&mut reached_b, &mut reached_a),
                    };
                    side.follow(index, reached);
                    if let Some(twin) = self.twin_draw(index, which) {
                        other.follow(twin, reached_in_other);
                    }
                }
                continue;
            }
            // A parameter that only one side trains makes gradients, updates and all later steps differ, whatever their inputs.
            if frozen_step.is_some_and(|step| {
                node.operation.step > step || (frozen && node.operation.phase != Phase::Forward)
            }) {
                continue;
            }
            let written = self.writes_of_one(index, which);
            let matters = written.is_some() || self.matters(index, which);
            if !matters || reported.is_repeated(node, which) {
                continue;
            }
            // Later draws on this side come from another part of the stream.
            stream_moved |= node
                .states
                .is_some_and(|(_, after)| !other.has_state(after));
            let mut chain = vec![index];
            // No operation is the twin of an update that the other side does not make.
            let is_never = node.operation.phase == Phase::Optimizer
                && node.operation.step == 1
                && !self.is_updated(index, which);
            let mut partner = match is_never {
                true => None,
                false => self.partner(index, which),
            };
            while !is_never && partner.is_none() && chain.len() < MAX_CHAIN {
                let Some(next) = self.next_bad(*chain.last().unwrap_or(&index), side) else {
                    break;
                };
                // What an update does to a parameter ends with it.
                let is_update = node.operation.phase == Phase::Optimizer;
                let by_hand = side.update_by_hand(index).is_some();
                if (is_update && side.node(next).pass != node.pass)
                    || (by_hand && side.update_by_hand(next).is_none())
                {
                    break;
                }
                chain.push(next);
                partner = self.partner(next, which);
            }
            let mut end = *chain.last().unwrap_or(&index);
            if partner.is_none()
                && node.states.is_none()
                && !self.reaches_parameter(index, side)
                && let Some((own, twin)) = self.losses(index, which)
            {
                // What only goes into the value of a loss.
                (end, partner) = (own, Some(twin));
            }
            if partner.is_none()
                && let Some((own, twin)) = written
            {
                (end, partner) = (own, Some(twin));
            }
            let is_optimizer = node.operation.phase == Phase::Optimizer;
            let is_accumulation = is_accumulation(node.operation.site);
            let Some(partner) = partner else {
                if frozen && (is_optimizer || node.operation.phase == Phase::Backward) {
                    continue;
                }
                let is_frozen = is_optimizer && !self.is_updated(index, which);
                if is_frozen {
                    // That no gradient comes to it follows from an operation of the forward pass.
                    let unled = unled.get_or_insert_with(|| self.not_leading());
                    let updates = side.closure(index);
                    let mut updated = updates
                        .iter()
                        .filter_map(|node| side.operation(node).site.updated.as_ref());
                    if updated.any(|name| unled.contains(&(which, name))) {
                        continue;
                    }
                    frozen_step = frozen_step.or(Some(node.operation.step));
                }
                if node.states.is_none() && !self.reaches_parameter(index, side) {
                    continue;
                }
                // The other side made a step in between, after which gradients are zeroed.
                if is_accumulation && !found.is_empty() && self.is_stepped_between(node, which) {
                    continue;
                }
                let reached = match which {
                    Which::A => &reached_a,
                    Which::B => &reached_b,
                };
                if node.states.is_none() && !is_optimizer && !is_accumulation {
                    let is_backward = node.operation.phase == Phase::Backward;
                    let unled = unled.get_or_insert_with(|| self.not_leading());
                    // The way back of what does not lead to the other side's loss.
                    let is_unled = is_backward && unled.iter().any(|(of, _)| *of == which);
                    // In a later pass of a module that departed, too.
                    let module = node.operation.site.module.as_ref();
                    let departed_before = module.is_some_and(|module| {
                        let pass = modules.get(&(which, module));
                        pass.is_some_and(|pass| *pass < node.pass)
                    });
                    if reached.has(index) || is_unled || departed_before {
                        continue;
                    }
                }
                let is_more = !is_optimizer
                    && self.calls_in_loop(index, which) == Some(std::cmp::Ordering::Greater);
                // Of the iteration that one side lacks, and of what the other side does meanwhile.
                if iteration.is_some_and(|(of, step)| {
                    step == node.operation.step && (is_more || of != which)
                }) {
                    continue;
                }
                stream_moved |= node.states.is_some();
                iteration = iteration.or(is_more.then_some((which, node.operation.step)));
                decided.extend(self.decided_by(index, which).map(|next| (which, next)));
                let class = match (is_accumulation, is_optimizer) {
                    _ if node.states.is_some() => Class::Stream,
                    (true, _) => Class::GradientNotZeroed,
                    _ if is_frozen => Class::Frozen,
                    (_, true) => Class::Optimizer(node.canon.to_owned()),
                    _ => which.only(step_name(side, &[index])),
                };
                let expander = self.expander(which);
                let detail = format!("only in {}: {}", side.label, call_text(&expander, index));
                let (a, b) = which.in_order(Some(place_of(side, index)), None);
                let from = which.in_order(Some(index), None);
                if !is_optimizer && !is_accumulation {
                    self.spread((index, which), &mut reached_a, &mut reached_b);
                } else if is_optimizer {
                    // What the parameter is used for.
                    let reached = match which {
                        Which::A => &mut reached_a,
                        Which::B => &mut reached_b,
                    };
                    side.reach(index, other, &self.keys.weak, reached);
                }
                reported.add_closure(which, side.closure(index));
                reported.alone.insert((which, index));
                begins.push((index, which));
                found.push(Found {
                    position,
                    from,
                    pair: from,
                    departure: departure(class, a, b, vec![detail]),
                });
                continue;
            };
            let (p, r) = which.in_order(end, partner);
            if used.contains(&(true, p)) || used.contains(&(false, r)) {
                // An earlier cause of the same pair was reported.
                continue;
            }
            used.extend([(which == Which::A, index), (true, p), (false, r)]);
            // Masks of what has another shape since it departed.
            if !found.is_empty()
                && self.a.draw(p).is_some()
                && self.b.draw(r).is_some()
                && !self.draw_as_many(p, r)
            {
                stream_moved = true;
                continue;
            }
            // Computed from what departed before: its inputs are equal by chance, such as those that Adam scales.
            if reached_a.has(p) && reached_b.has(r) {
                continue;
            }
            let mut explanation = self.by_loss(p, r, self.explain(p, r));
            self.in_forward(&mut explanation);
            let is_more = self.called_more_often(&mut explanation, p, r);
            let is_of_weights = explanation
                .step
                .is_some_and(|(step, of)| of_weights.contains(&(of == Which::A, step)));
            if is_of_weights || self.follows(&explanation, (p, r), (&reached_a, &reached_b), &lines)
            {
                continue;
            }
            used.extend(
                explanation
                    .covered
                    .iter()
                    .map(|(node, of)| (*of == Which::A, *node)),
            );
            if frozen
                && matches!(explanation.class, Class::OnlyInA(_) | Class::OnlyInB(_))
                && node.operation.phase != Phase::Forward
            {
                continue;
            }
            // A state of the shape of a parameter, whatever that has.
            let is_like = is_optimizer
                && self.a.canon(p) == self.b.canon(r)
                && self.a.canon(p).ends_with("_like")
                && scalar_differences((self.a, self.b), p, r).is_empty();
            let (at_a, at_b) = explanation.places.unwrap_or((p, r));
            // Both sides call it, after something else has departed.
            let is_called = |(step, of): (usize, Which)| {
                !found.is_empty() && self.calls_in_loop(step, of) == Some(std::cmp::Ordering::Equal)
            };
            let is_known = reported.has(&explanation)
                || is_like
                || explanation.step.is_some_and(is_called)
                // After a draw that one side lacks, what is drawn from is called once more.
                || is_more && extra.is_some()
                || reported.alone.contains(&(Which::A, at_a))
                || reported.alone.contains(&(Which::B, at_b))
                || reported.is_exchanged(&self.a.node(p), &self.b.node(r))
                || explanation.step.is_some_and(|(step, of)| {
                    reported.is_repeated_step(&self.sides(of).0.node(step), of)
                });
            // Both sides read other parts of the stream.
            let is_moved = stream_moved && self.are_drawn(&explanation, p, r);
            let is_decided =
                decided.contains(&(Which::A, at_a)) || decided.contains(&(Which::B, at_b));
            // After an iteration that one side lacks, the same operations are in other steps.
            let is_shifted =
                iteration.is_some() && self.a.operation(at_a).step != self.b.operation(at_b).step;
            let weak = &self.keys.weak;
            self.a.reach(p, self.b, weak, &mut reached_a);
            self.b.reach(r, self.a, weak, &mut reached_b);
            for (step, of) in explanation.steps.iter().copied() {
                self.spread((step, of), &mut reached_a, &mut reached_b);
            }
            if let Some((p, r)) = explanation.ahead {
                self.a.follow(p, &mut reached_a);
                self.b.follow(r, &mut reached_b);
            }
            if is_known || is_moved || is_decided || is_shifted {
                continue;
            }
            for (node, of) in [(p, Which::A), (r, Which::B)] {
                let side = self.sides(of).0;
                lines[usize::from(of == Which::B)].insert(Spot::of(side, node));
                let operation = side.operation(node);
                // In a backward pass, that of the operation whose gradient is computed.
                let calls = &side.trace.calls;
                let forward = operation.forward.map(|forward| calls.call(forward).site);
                let own = operation.site.module.as_ref();
                if let Some(module) = own.or_else(|| forward?.module.as_ref()) {
                    modules.entry((of, module)).or_insert(side.pass(node));
                }
            }
            reported.add_closure(which, side.closure(index));
            reported.parts.extend(explanation.parts.iter().copied());
            stream_moved |= explanation.moves_stream;
            let extra = explanation.step_operation(self);
            let is_update = is_optimizer
                || extra
                    .as_ref()
                    .is_some_and(|(_, step)| step.phase == Phase::Optimizer);
            let is_plain = matches!(
                explanation.class,
                Class::Unknown | Class::Environment | Class::Dtype | Class::Optimizer(_)
            );
            if is_update && !is_plain {
                explanation.class = Class::Optimizer(match explanation.class.subject() {
                    Some(subject) if extra.is_some() => subject.to_owned(),
                    _ => step_name(side, &[index]),
                });
            }
            if is_update {
                explanation.details.extend(self.lerp(p, r));
            }
            explanation.details.extend(self.clipping(p, r));
            // A step that one side lacks is where it is, not where its value is used.
            // In an optimizer, what went in differs too.
            let places = explanation.places.filter(|_| !is_optimizer);
            let (mut at_a, mut at_b) = places.unwrap_or((p, r));
            if let Some((step, of)) = explanation.step {
                match of {
                    Which::A => at_a = step,
                    Which::B => at_b = step,
                }
            }
            for (node, of) in [(at_a, Which::A), (at_b, Which::B)] {
                let side = self.sides(of).0;
                lines[usize::from(of == Which::B)].insert(Spot::of(side, node));
            }
            begins.push((index, which));
            found.push(Found {
                position: position.min(p as f64),
                from: (Some(p), Some(r)),
                pair: match explanation.step {
                    Some(_) => (Some(p), Some(r)),
                    None => explanation
                        .places
                        .map_or((Some(p), Some(r)), |(p, r)| (Some(p), Some(r))),
                },
                departure: departure(
                    explanation.class,
                    Some(place_of(self.a, at_a)),
                    Some(place_of(self.b, at_b)),
                    explanation.details,
                ),
            });
        }
        self.drop_coincidences(&mut found, &begins);
        found
    }

    /// Drops causes that begin where they do only because the values that go in happen to be equal: in what follows from a step that
    /// only it has, the other side calls the same operation, and as often.
    fn drop_coincidences(&self, found: &mut Vec<Found>, begins: &[(usize, Which)]) {
        let has_twin = |found: &Found| matches!(found.pair, (Some(_), Some(_)));
        let all = found.iter().zip(begins);
        let steps: Vec<_> = all
            .filter(|(found, _)| !has_twin(found))
            .map(|(_, begin)| *begin)
            .collect();
        let mut begins = begins.iter();
        found.retain(|found| {
            let Some((cause, which)) = begins.next().copied().filter(|_| has_twin(found)) else {
                return true;
            };
            let mut steps = steps.iter().filter(|(_, of)| *of != which).peekable();
            if steps.peek().is_none() {
                return true;
            }
            let (own, other) = self.sides(which);
            let (name, pass) = (own.canon(cause), own.pass(cause));
            let is_same =
                |side: &Side<'a>, node| side.canon(node) == name && side.pass(node) == pass;
            let count = |side: &Side<'a>| {
                side.of_pass(pass)
                    .filter(|node| is_same(side, *node))
                    .count()
            };
            let follows = |step| {
                other
                    .walk(step)
                    .any(|node| node != step && is_same(other, node))
            };
            count(own) > count(other) || !steps.any(|(step, _)| follows(*step))
        });
    }

    /// Names a step of a backward pass by the operation of the forward pass whose gradient it computes, if only one side has that: its result
    /// may be a value that both have.
    fn in_forward(&self, explanation: &mut Explanation) {
        let (Class::OnlyInA(_) | Class::OnlyInB(_), Some((step, which))) =
            (&explanation.class, explanation.step)
        else {
            return;
        };
        let (side, other) = self.sides(which);
        let Some(forward) = side.forward_of(step) else {
            return;
        };
        let (pass, name) = (side.pass(forward), side.canon(forward));
        let count = |side: &Side<'a>| {
            let nodes = side.of_pass(pass);
            nodes.filter(|node| side.canon(*node) == name).count()
        };
        if side.operation(step).phase == Phase::Backward && count(side) > count(other) {
            explanation.class = which.only(step_name(side, &[forward]));
            explanation.step = Some((forward, which));
        }
    }

    /// Whether only the other side updates the parameter to whose gradient an operation adds, since the backward pass before.
    fn is_stepped_between(&self, node: &Node<'a>, which: Which) -> bool {
        let (side, other) = self.sides(which);
        let Some(name) = &node.operation.site.parameter else {
            return false;
        };
        let Some(number) = node.pass.number.checked_sub(1) else {
            return false;
        };
        let steps = |of: &Side<'a>, is_same: &dyn Fn(&SharedStr) -> bool| {
            of.of_number(number).any(|node| {
                of.operation(node).phase == Phase::Optimizer && of.writes_named(node, is_same)
            })
        };
        !steps(side, &|updated| updated == name)
            && steps(other, &|updated| {
                self.is_same_name(which, Some(name), Some(updated))
            })
    }

    /// The last writes on both sides of the parameter or buffer that an operation updates by hand, if they write other values.
    fn writes_of_one(&self, index: usize, which: Which) -> Option<(usize, usize)> {
        let (side, other) = self.sides(which);
        side.update_by_hand(index)?;
        let pass = side.pass(index);
        let updated = |node: usize| side.operation(node).site.updated.as_ref();
        let mut next = Some(index);
        while let Some(node) = next.filter(|node| updated(*node).is_none()) {
            next = self.next_bad(node, side);
        }
        let name = updated(next.filter(|node| side.pass(*node) == pass)?)?;
        let last = |of: &Side<'a>, is_same: &dyn Fn(&SharedStr) -> bool| {
            let nodes = of.of_pass(pass);
            nodes.filter(|node| of.writes_named(*node, is_same)).last()
        };
        let own = last(side, &|updated| updated == name)?;
        let twin = last(other, &|updated| {
            self.is_same_name(which, Some(name), Some(updated))
        })?;
        let are_other = side.outputs(own).ne(other.outputs(twin));
        are_other.then_some((own, twin))
    }

    /// Where another value goes into an operation, and one side calls the operation more often there: an iteration that the other one lacks.
    fn called_more_often(&self, explanation: &mut Explanation, p: usize, r: usize) -> bool {
        let is_input = matches!(explanation.class, Class::Input(_));
        if !is_input || self.a.node(p).view || self.a.canon(p) != self.b.canon(r) {
            return false;
        }
        // In one line, whatever the module.
        let count = |side: &'s Side<'a>, node: usize| {
            let at = &side.operation(node).site.at;
            let calls = side.calls_of_step(side.operation(node));
            calls
                .filter(|other| side.operation(*other).site.at == *at)
                .count()
        };
        let (in_a, in_b) = (count(self.a, p), count(self.b, r));
        let which = match in_a.cmp(&in_b) {
            std::cmp::Ordering::Greater => Which::A,
            std::cmp::Ordering::Less => Which::B,
            std::cmp::Ordering::Equal => return false,
        };
        let canon = self.a.canon(p);
        explanation.details.push(format!(
            "{canon} is called {in_a} times there in {}, {in_b} times in {}",
            self.a.label, self.b.label
        ));
        explanation.class = which.only(canon.to_owned());
        true
    }

    /// How much more often a side calls an operation in a step than the other side does, if it has called it before in its line: in a
    /// loop.
    fn calls_in_loop(&self, index: usize, which: Which) -> Option<std::cmp::Ordering> {
        let (side, other) = self.sides(which);
        let this = side.operation(index);
        let is_before = |node: usize| node < index && side.operation(node).site.at == this.site.at;
        let is_loop = this.site.at.is_some() && side.calls_of_step(this).any(is_before);
        let count = |of: &'s Side<'a>| of.calls_of_step(this).count();
        is_loop.then(|| count(side).cmp(&count(other)))
    }

    /// What a program does when it has read a number of what it drew.
    fn decided_by(&self, draw: usize, which: Which) -> Option<usize> {
        let (side, _) = self.sides(which);
        side.draw(draw)?;
        let next = |node: &usize| side.consumers(side.outputs(*node).next()?, *node).next();
        let last = std::iter::successors(Some(draw), next).last()?;
        let calls = &side.trace.calls;
        let after = side.operation(last).index + 1;
        let is_read = after < calls.len()
            && calls
                .call(after)
                .site
                .name
                .as_str()
                .ends_with("_local_scalar_dense");
        is_read.then_some(last + 1)
    }

    /// The losses of both sides in the pass of an operation, if it goes into that of its own.
    fn losses(&self, index: usize, which: Which) -> Option<(usize, usize)> {
        let (side, other) = self.sides(which);
        if side.operation(index).phase != Phase::Forward {
            return None;
        }
        let own = side.loss_of(index)?;
        let number = side.pass(own).number + 1;
        let twin = *other.losses.get(&number)?;
        let key = side.node(own).inputs.first()?.key;
        let gives = |node: usize| side.node(node).outputs.iter().any(|(made, _)| *made == key);
        side.walk(index).any(gives).then_some((own, twin))
    }

    /// Adds what one side computes after a step that only it has, and the other one of what goes into it.
    fn spread(&self, (step, which): (usize, Which), reached_a: &mut Bits, reached_b: &mut Bits) {
        let (side, other) = self.sides(which);
        let weak = &self.keys.weak;
        let (reached, reached_in_other) = match which {
            Which::A => (reached_a, reached_b),
            Which::B => (reached_b, reached_a),
        };
        side.reach(step, other, weak, reached);
        let node = side.node(step);
        let inputs = node.inputs.iter();
        for input in inputs.filter(|input| !weak.contains(&input.key)) {
            for taken in other.all_consumers(input.key) {
                if other.is_bad(taken) && other.pass(taken) == node.pass {
                    reached_in_other.insert(taken);
                    other.reach(taken, side, weak, reached_in_other);
                }
            }
        }
    }

    /// Whether a difference only seems to be one more: of other steps or values in a computation that departed before on either side, or of
    /// an argument of an operation there.
    fn follows(
        &self,
        explanation: &Explanation,
        (p, r): (usize, usize),
        (reached_a, reached_b): (&Bits, &Bits),
        lines: &[HashSet<Spot<'a>>; 2],
    ) -> bool {
        if let Some((p, r)) = explanation.places
            && (reached_a.has(p) || reached_b.has(r))
        {
            return true;
        }
        // Which part is taken follows the control flow.
        let (p, r) = explanation.places.unwrap_or((p, r));
        let is_position = matches!(explanation.class, Class::Argument(_))
            && self.a.node(p).view
            && self.b.node(r).view;
        let takes =
            |node: &Node<'a>, name: &str| node.inputs.iter().any(|input| input.name == name);
        let is_structure = is_position
            || matches!(&explanation.class, Class::Argument(name)
                if takes(&self.a.node(p), name) != takes(&self.b.node(r), name))
            || matches!(
                explanation.class,
                Class::Input(_)
                    | Class::OnlyInA(_)
                    | Class::OnlyInB(_)
                    | Class::Exchanged(..)
                    | Class::Order(..)
            );
        let is_at = |side: &Side<'a>, node, lines: &HashSet<Spot<'a>>, reached: &Bits| {
            let spot = Spot::of(side, node);
            let mut reached = side.of_pass(spot.0).filter(|node| reached.has(*node));
            lines.contains(&spot) || reached.any(|node| Spot::of(side, node) == spot)
        };
        let same_lines =
            || is_at(self.a, p, &lines[0], reached_a) && is_at(self.b, r, &lines[1], reached_b);
        is_structure && (reached_a.has(p) || reached_b.has(r) || same_lines())
    }

    /// The parameters that one program uses without an effect on a loss.
    fn not_leading(&self) -> HashSet<(Which, &'s SharedStr)> {
        let (in_a, in_b) = (self.leading_to_loss(self.a), self.leading_to_loss(self.b));
        let pairs = self.names.all();
        pairs
            .filter_map(|(a, b)| match (in_a.get(a), in_b.get(b)) {
                (Some(a), None) => Some((Which::A, *a)),
                (None, Some(b)) => Some((Which::B, *b)),
                _ => None,
            })
            .collect()
    }

    /// What is to be said of `mul_` and `add_` for `lerp_`: libtorch's own Adam, AdamW and centred RMSprop, which tch has.
    fn lerp(&self, p: usize, r: usize) -> Option<String> {
        let is_lerp = |side: &Side<'a>, node| side.canon(node).ends_with("lerp");
        let is_sum = |side: &Side<'a>, node| matches!(side.canon(node), "mul" | "add");
        let (with, without) = match (is_lerp(self.a, p), is_lerp(self.b, r)) {
            (true, false) if is_sum(self.b, r) => (self.a, self.b),
            (false, true) if is_sum(self.a, p) => (self.b, self.a),
            _ => return None,
        };
        let remedy = match without.has_modules {
            true => "",
            false => ", and tch_init::optim::Adam and AdamW compute it as PyTorch does",
        };
        Some(format!(
            "{} updates the moment with lerp_ as torch.optim.Adam does, {} with mul_ and add_, which round otherwise: so do libtorch's optimizers, which tch has{remedy}",
            with.label, without.label
        ))
    }

    /// What is to be said of gradients that one program multiplies by a tensor and the other by a number: tch's `clip_grad_norm`.
    fn clipping(&self, p: usize, r: usize) -> Option<String> {
        let is_factor = |side: &Side<'a>, node: usize| {
            let node = side.node(node);
            let gradient = node.inputs.first()?.tensor.name.as_ref()?;
            let is_clipped = node.canon == "mul" && gradient.as_str().ends_with(".grad");
            is_clipped.then_some(node.inputs.len() > 1)
        };
        let (with, without) = match (is_factor(self.a, p)?, is_factor(self.b, r)?) {
            (true, false) => (self.a, self.b),
            (false, true) => (self.b, self.a),
            _ => return None,
        };
        let remedy = match without.has_modules {
            true => "",
            false => {
                ", as the clip_grad_norm of tch's optimizers does; tch_init::optim::clip_grad_norm_ computes it as PyTorch does"
            }
        };
        Some(format!(
            "{} clips by a factor of the gradients' dtype, as torch.nn.utils.clip_grad_norm_ does, {} by a number in double precision{remedy}",
            with.label, without.label
        ))
    }

    /// The first operation that writes a parameter or buffer as the other program never does, if it computes the same otherwise:
    /// running statistics that only one program has.
    fn writes(&self) -> Option<Found> {
        let first = |side: &'s Side<'a>, other: &'s Side<'a>| {
            (0..side.len()).find(|index| {
                let node = side.node(*index);
                let is_other = |(key, form): &(Key, &Form)| {
                    form.name.is_some() && !self.keys.weak.contains(key) && !other.has(*key)
                };
                node.bad
                    && !node.bad_input
                    && !side.is_after(*index, other)
                    && node.operation.writes
                    && node.outputs.iter().any(is_other)
            })
        };
        let (which, index) = match (first(self.a, self.b), first(self.b, self.a)) {
            (Some(index), _) => (Which::A, index),
            (None, index) => (Which::B, index?),
        };
        let (side, other) = self.sides(which);
        let node = side.node(index);
        // The twin's results are not bad: all are on this side, too.
        let twin = node.inputs.iter().find_map(|input| {
            let mut taken = other.all_consumers(input.key);
            taken.find(|taken| {
                other.canon(*taken) == node.canon
                    && other.pass(*taken) == node.pass
                    && !self.update_others(which, node.operation.site, other.operation(*taken).site)
            })
        })?;
        let (p, r) = which.in_order(index, twin);
        let explanation = self.explain(p, r);
        let (class, details) = (explanation.class, explanation.details);
        let is_known = !matches!(class, Class::Unknown | Class::Environment);
        is_known.then(|| self.found_at(p as f64, class, (p, r), details))
    }

    /// The first write of a parameter or buffer that only one program writes, with a value that both have, if it ends in another one.
    fn written_once(&self) -> Option<Found> {
        let first_writes = |side: &'s Side<'a>| {
            let mut first = HashMap::new();
            for node in 0..side.len() {
                if let Some(name) = &side.operation(node).site.updated {
                    first.entry(name).or_insert(node);
                }
            }
            first
        };
        let (in_a, in_b) = (first_writes(self.a), first_writes(self.b));
        let (end_a, end_b) = (ends(self.a), ends(self.b));
        let mut only: Vec<(usize, Which)> = Vec::new();
        for (a, b) in self.names.all() {
            let is_same = end_a.get(a.as_str()) == end_b.get(b.as_str());
            if is_same || super::is_batch_counter(a.as_str()) {
                continue;
            }
            match (in_a.get(a), in_b.get(b)) {
                (Some(node), None) => only.push((*node, Which::A)),
                (None, Some(node)) => only.push((*node, Which::B)),
                _ => {}
            }
        }
        let (node, which) = only.into_iter().min_by_key(|(node, _)| *node)?;
        let (side, _) = self.sides(which);
        let name = step_name(side, &[node]);
        let (a, b) = which.in_order(Some(place_of(side, node)), None);
        let class = which.only(name);
        let call = call_text(&self.expander(which), node);
        let updated = side.operation(node).site.updated.as_ref();
        let detail = format!(
            "only in {}: {call} writes {}",
            side.label,
            updated.map_or("", SharedStr::as_str)
        );
        Some(Found {
            position: node as f64,
            from: (None, None),
            pair: (None, None),
            departure: departure(class, a, b, vec![detail]),
        })
    }

    /// Programs without a backward pass, whose last results differ.
    fn ends(&self) -> Option<Found> {
        let last = |side: &'s Side<'a>| {
            let mut ends = side.nodes().rev().filter(|(index, node)| {
                // Whole numbers, too, such as those of argmax.
                !node.outputs.is_empty()
                    && node
                        .outputs
                        .iter()
                        .all(|(key, _)| side.consumers(*key, *index).len() == 0)
            });
            ends.next().map(|(index, _)| index)
        };
        let (a, b) = (last(self.a)?, last(self.b)?);
        let trains = |side: &Side<'a>| {
            (0..side.len()).any(|node| side.operation(node).phase == Phase::Backward)
        };
        if (!self.a.node(a).bad && !self.b.node(b).bad) || trains(self.a) || trains(self.b) {
            return None;
        }
        let (which, index, other) = if self.a.node(a).bad {
            (Which::A, a, b)
        } else {
            (Which::B, b, a)
        };
        let (side, _) = self.sides(which);
        let mut first = index;
        while let Some(producer) = side
            .node(first)
            .inputs
            .iter()
            .filter_map(|input| side.producer(input.key, first))
            .find(|producer| side.node(*producer).bad)
        {
            first = producer;
        }
        let name = step_name(side, &[first]);
        let class = which.only(name);
        let (p, r) = which.in_order(first, other);
        let keys = |side: &Side<'a>, node: usize| {
            let inputs = side.node(node).inputs;
            inputs.iter().map(|input| input.key).collect::<Vec<_>>()
        };
        let is_exchanged = self.a.canon(p) != self.b.canon(r) && keys(self.a, p) == keys(self.b, r);
        if is_exchanged {
            let explanation = self.explain(p, r);
            return Some(Found {
                position: p as f64,
                from: (None, None),
                pair: (Some(p), Some(r)),
                departure: departure(
                    explanation.class,
                    Some(place_of(self.a, p)),
                    Some(place_of(self.b, r)),
                    explanation.details,
                ),
            });
        }
        let detail = format!(
            "only in {}: {}",
            side.label,
            call_text(&self.expander(which), first)
        );
        Some(Found {
            position: p as f64,
            from: (None, None),
            pair: (None, None),
            departure: departure(
                class,
                Some(place_of(self.a, p)),
                Some(place_of(self.b, r)),
                vec![detail],
            ),
        })
    }
}

/// What parameters and buffers have at the end.
fn ends<'a>(side: &Side<'a>) -> HashMap<&'a str, Option<ValueHash>> {
    let end = side.trace.end.iter();
    let outcome = end.flat_map(|end| end.outcome());
    outcome.map(|(name, tensor)| (name, tensor.hash)).collect()
}

/// What a parameter has at the start.
type Contents<'t> = (&'t SharedStr, &'t [i64], ValueHash);

/// A parameter's name and storage.
type Stored<'t> = (&'t SharedStr, Option<u64>);

/// A side, an operation, its module, its line and its phase.
type Line = (bool, String, Option<SharedStr>, Option<SharedStr>, Phase);

/// Where operations of one line are called: in a pass, a module and a line.
#[derive(PartialEq, Eq, Hash)]
struct Spot<'a>(Pass, Option<&'a SharedStr>, Option<&'a SharedStr>);

impl<'a> Spot<'a> {
    fn of(side: &Side<'a>, node: usize) -> Spot<'a> {
        let site = side.operation(node).site;
        Spot(side.pass(node), site.module.as_ref(), site.at.as_ref())
    }
}

/// What was reported.
#[derive(Default)]
struct Reported {
    /// Operation, module, line and step of causes.
    steps: HashMap<Line, u32>,
    /// The same of steps that one side has.
    extra: HashMap<Line, u32>,
    /// What comes from a cause, in B and in A.
    closures: [Bits; 2],
    parts: HashSet<(Key, Key)>,
    /// Steps that have no twin.
    alone: HashSet<(Which, usize)>,
}

impl Reported {
    /// Whether a cause is that of an earlier step again. Remembers it.
    fn is_repeated(&mut self, node: &Node<'_>, which: Which) -> bool {
        is_repeated(&mut self.steps, node, which)
    }

    /// Whether a step that one side has was reported in an earlier step. Remembers it.
    fn is_repeated_step(&mut self, node: &Node<'_>, which: Which) -> bool {
        is_repeated(&mut self.extra, node, which)
    }

    fn add_closure(&mut self, which: Which, nodes: Bits) {
        self.closures[usize::from(which == Which::A)].add(&nodes);
    }

    /// Whether all that differs was reported: a consequence.
    fn has(&self, explanation: &Explanation) -> bool {
        let is_step = explanation
            .step
            .is_some_and(|(step, which)| self.closures[usize::from(which == Which::A)].has(step));
        let only_parts =
            !explanation.parts.is_empty() && explanation.parts.len() == explanation.details.len();
        is_step || (only_parts && explanation.parts.iter().all(|part| self.has_part(*part)))
    }

    /// Whether two values were reported, in whichever order: each side may have one for the other.
    fn has_part(&self, (a, b): (Key, Key)) -> bool {
        self.parts.contains(&(a, b)) || self.parts.contains(&(b, a))
    }

    /// Whether two operations only seem to be the same, since each takes one of two values that are exchanged.
    fn is_exchanged(&self, x: &Node<'_>, y: &Node<'_>) -> bool {
        let takes = |node: &Node<'_>, key: Key| node.inputs.iter().any(|input| input.key == key);
        let either = |node: &Node<'_>, (a, b): (Key, Key)| takes(node, a) || takes(node, b);
        x.inputs.len() != y.inputs.len()
            && self
                .parts
                .iter()
                .any(|part| either(x, *part) && either(y, *part))
    }
}

/// Whether the line of an operation was met in an earlier step. Remembers it.
fn is_repeated(steps: &mut HashMap<Line, u32>, node: &Node<'_>, which: Which) -> bool {
    let operation = node.operation;
    let key = (
        which == Which::A,
        node.canon.to_owned(),
        operation.module.clone(),
        operation.at.clone(),
        operation.phase,
    );
    let first = *steps.entry(key).or_insert(operation.step);
    first < operation.step
}

/// The steps of a departure on both sides.
fn steps_of(departure: &Departure) -> [Option<u32>; 2] {
    [&departure.a, &departure.b].map(|place| place.as_ref().map(|place| place.step))
}

/// The lines of optimizers that are written in the program, each with its first line: those between which the optimizer goes to and fro, for
/// each parameter. Optimizers of torch have one.
fn optimizer_lines<'a>(side: &Side<'a>) -> HashMap<&'a str, &'a str> {
    // The first and last node of each line in a run of operations of optimizers.
    let mut run: Vec<(&str, usize, usize)> = Vec::new();
    let mut lines: HashMap<&str, &str> = HashMap::new();
    for node in 0..=side.len() {
        let of_optimizer = (node < side.len())
            .then(|| side.operation(node).site)
            .filter(|site| site.phase == Phase::Optimizer);
        if let Some(site) = of_optimizer {
            let Some(at) = &site.at else { continue };
            match run.iter_mut().find(|(line, ..)| *line == at.as_str()) {
                Some((.., last)) => *last = node,
                None => run.push((at.as_str(), node, node)),
            }
            continue;
        }
        // By their first nodes. One that begins before the others end is of the same optimizer.
        let mut own: Option<(&str, usize)> = None;
        for (line, first, last) in run.drain(..) {
            own = match own {
                Some((of, end)) if first < end => Some((of, end.max(last))),
                _ => Some((line, last)),
            };
            if let Some((of, _)) = own {
                lines.entry(line).or_insert(of);
            }
        }
    }
    lines
}

/// The node of a difference that only one side has.
fn one_sided(origins: Origins) -> Option<(usize, Which)> {
    match origins {
        (Some(node), None) => Some((node, Which::A)),
        (None, Some(node)) => Some((node, Which::B)),
        _ => None,
    }
}

/// Whether a node comes from an earlier one.
fn leads(side: &Side<'_>, start: usize, node: usize) -> bool {
    let mut reached = Bits::new(side.len());
    side.follow_while(start, |next| next <= node, &mut reached);
    reached.has(node)
}

/// Joins departures of one kind at the same lines.
fn merge(
    found: Vec<Found>,
    optimizers: &[HashMap<&str, &str>; 2],
) -> Vec<(Departure, Origins, Vec<Origins>)> {
    let mut merged: Vec<(Departure, Origins, Vec<Origins>)> = Vec::new();
    for Found {
        departure,
        from,
        pair,
        ..
    } in found
    {
        let lines = |departure: &Departure| {
            [&departure.a, &departure.b]
                .map(|place| place.as_ref().map(|place| (place.at.clone(), place.phase)))
        };
        let modules = |departure: &Departure| {
            [&departure.a, &departure.b].map(|place| {
                place
                    .as_ref()
                    .map(|place| (place.module.clone(), place.call.clone()))
            })
        };
        let calls = |departure: &Departure| {
            [&departure.a, &departure.b].map(|place| place.as_ref().map(|place| place.call.clone()))
        };
        let sites = |departure: &Departure| {
            [&departure.a, &departure.b].map(|place| {
                place.as_ref().map(|place| {
                    (
                        place.module.clone(),
                        place.at.clone(),
                        place.phase,
                        place.step,
                    )
                })
            })
        };
        let are_backward = |departure: &Departure| {
            let mut places = [&departure.a, &departure.b].into_iter().flatten();
            places.all(|place| place.phase == "backward")
        };
        // At one line and in one pass, in whatever modules.
        let same_lines =
            |a: &Departure, b: &Departure| lines(a) == lines(b) && steps_of(a) == steps_of(b);
        let dtypes = |departure: &Departure| {
            let first = departure.details.first()?;
            first.split_once(": ").map(|(_, dtypes)| dtypes.to_owned())
        };
        let same_kind = |a: &Departure, b: &Departure| match a.class {
            Class::Dtype if b.class == Class::Dtype && dtypes(a) == dtypes(b) => true,
            Class::Input(_) if a.class == b.class && same_lines(a, b) => true,
            Class::Weights | Class::Environment | Class::Mode => a.class == b.class,
            // A batch: what goes in, and what is expected.
            Class::Data => a.class == b.class && steps_of(a) == steps_of(b),
            // Of one line that only one program has, or of one backward pass.
            Class::OnlyInA(_) | Class::OnlyInB(_)
                if a.class.name() == b.class.name()
                    && a.a.is_none() == b.a.is_none()
                    && a.b.is_none() == b.b.is_none()
                    && (a.a.is_none() || a.b.is_none())
                    && (sites(a) == sites(b) || are_backward(a) && lines(a) == lines(b)) =>
            {
                true
            }
            // Of one flag or number of several modules.
            Class::Argument(_)
                if a.class == b.class && steps_of(a) == steps_of(b) && calls(a) == calls(b) =>
            {
                true
            }
            // Of one line in a later step, whatever takes the result there.
            Class::Argument(_)
                if a.class == b.class
                    && lines(a) == lines(b)
                    && steps_of(a) != steps_of(b)
                    && a.details.first() == b.details.first() =>
            {
                true
            }
            // Where both have a place, both are the same lines.
            Class::Optimizer(_) | Class::GradientNotZeroed | Class::Frozen => {
                // Of the lines of one optimizer, the first.
                let lines = |departure: &Departure| {
                    let [in_a, in_b] = lines(departure);
                    [(in_a, &optimizers[0]), (in_b, &optimizers[1])].map(|(place, first)| {
                        place.map(|(at, phase)| {
                            let of = at.as_deref().and_then(|at| first.get(at));
                            (of.map_or(at.clone(), |of| Some((*of).to_owned())), phase)
                        })
                    })
                };
                let is_same = |(x, y): (Option<_>, Option<_>)| x.is_none() || y.is_none() || x == y;
                a.class.name() == b.class.name() && lines(a).into_iter().zip(lines(b)).all(is_same)
            }
            _ => {
                let [(a_in_a, a_in_b), (b_in_a, b_in_b)] =
                    [sites(a), sites(b)].map(|[in_a, in_b]| (in_a, in_b));
                // A step that one side has is at one line, whatever comes of it.
                let same_sites = match a.class {
                    Class::OnlyInA(_) => a_in_a == b_in_a,
                    Class::OnlyInB(_) => a_in_b == b_in_b,
                    _ => a_in_a == b_in_a && a_in_b == b_in_b,
                };
                // In modules beside each other, of one class.
                let same_calls = same_lines(a, b) && calls(a) == calls(b);
                a.class == b.class && (modules(a) == modules(b) || same_sites || same_calls)
            }
        };
        match merged
            .iter_mut()
            .find(|(known, ..)| same_kind(known, &departure))
        {
            Some((known, _, pairs)) => {
                known.similar += 1;
                if departure.class == Class::Data {
                    known.details.extend(departure.details);
                }
                known.weights.extend(departure.weights);
                pairs.push(pair);
            }
            None => merged.push((departure, from, vec![pair])),
        }
    }
    merged
}
