//! Several tensors that were drawn one after the other show a state that none of them shows alone.
//!
//! A file does not tell the order in which its tensors were drawn, so some usual ones are tried.

use super::draw_fit::{Unrecovered, generator, share_of_state};
use torch_rng::Mt19937;
use torch_rng::recovery::KnownBits;

/// A tensor in the order in which it may have been drawn.
pub(super) struct Segment {
    /// The number of the tensor.
    pub tensor: usize,
    /// What its values show, counted from its first word.
    pub known: Vec<KnownBits>,
    /// The words before its own that show nothing, of draws that were overwritten.
    pub before: u64,
    /// The number of its words.
    pub words: u64,
}

/// Tensors that give a generator together.
pub(super) struct Run {
    /// The generator.
    pub generator: Mt19937,
    /// The word that the generator draws next, counted from the first word of the first tensor.
    pub next: u64,
    /// The tensors, each with its first word.
    pub tensors: Vec<(usize, u64)>,
}

/// How many states of a set of tensors are looked for in vain: each costs seconds where the dtype has few digits.
const TRIES: usize = 8;

/// Finds the shortest runs of consecutive segments that give a generator. Counts the tries in vain.
pub(super) fn runs(segments: &[Segment], in_vain: &mut usize) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut start = 0;
    while start < segments.len() && *in_vain < TRIES {
        match shortest_run(&segments[start..], in_vain) {
            Some(run) => {
                start += run.tensors.len();
                runs.push(run);
            }
            None => start += 1,
        }
    }
    runs
}

/// The shortest run that begins with the first segment.
fn shortest_run(segments: &[Segment], in_vain: &mut usize) -> Option<Run> {
    let mut known: Vec<KnownBits> = Vec::new();
    let mut tensors = Vec::new();
    let (mut word, mut share, mut needed) = (0, 0.0, 1.0);
    for segment in segments {
        if !tensors.is_empty() {
            word += segment.before;
        }
        tensors.push((segment.tensor, word));
        let shown = segment.known.iter().map(|known| KnownBits {
            word: known.word + word,
            ..*known
        });
        known.extend(shown);
        share += share_of_state(&segment.known);
        word += segment.words;
        if share < needed {
            continue;
        }
        match generator(known.clone()) {
            Ok((generator, next)) => {
                return Some(Run {
                    generator,
                    next,
                    tensors,
                });
            }
            Err(Unrecovered::TooFew) => {
                *in_vain += 1;
                needed = 1.2 * share;
            }
            Err(Unrecovered::OtherData) => return None,
            Err(Unrecovered::WrongWords) => {
                *in_vain += 1;
                return None;
            }
        }
        if *in_vain >= TRIES {
            return None;
        }
    }
    None
}

/// The orders in which tensors of these names may have been drawn, each once: as PyTorch's layers draw, weight before bias; as the file has
/// them; as tch's layers draw, bias before weight.
pub(super) fn orders(names: &[&str]) -> Vec<Vec<usize>> {
    let sorted = |is_bias_first: bool| {
        let mut order: Vec<usize> = (0..names.len()).collect();
        order.sort_by_key(|index| construction_key(names[*index], is_bias_first));
        order
    };
    let mut orders = vec![sorted(false)];
    for order in [(0..names.len()).collect(), sorted(true)] {
        if !orders.contains(&order) {
            orders.push(order);
        }
    }
    orders
}

/// A part of a name: numbers by value, after it the rank among parts beside it, and the text.
type Part<'n> = (Option<u64>, u8, &'n str);

/// What orders names as their tensors are constructed: by the numbers of layers, and within a layer by kind.
fn construction_key(name: &str, is_bias_first: bool) -> (Vec<Part<'_>>, u64, bool, u8, bool, &str) {
    let (path, last) = name.rsplit_once('.').unwrap_or(("", name));
    let mut path: Vec<Part<'_>> = path.split('.').flat_map(parts).collect();
    // PyTorch's attention constructs out_proj, and draws its own after.
    if last.contains("_proj_") || last == "bias_k" || last == "bias_v" {
        path.push((None, u8::MAX, ""));
    }
    // As in weight_ih_l0 and bias_hh_l1_reverse.
    let (layer, is_reverse) = match last.rsplit_once("_l") {
        Some((_, layer)) => (
            layer.trim_end_matches("_reverse").parse().unwrap_or(0),
            layer.ends_with("_reverse"),
        ),
        None => (0, false),
    };
    let kind = match (last.contains("bias"), is_bias_first) {
        _ if last == "q_proj_weight" => 0,
        (true, true) => 0,
        (false, _) => 1,
        (true, false) => 2,
    };
    (path, layer, is_reverse, kind, last.contains("_hh"), last)
}

/// Splits a part of a path into its numbers and the text between them.
fn parts(text: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let is_digit = rest.chars().next()?.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != is_digit);
        let (part, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after;
        // The layers of PyTorch's Transformer construct their attention first.
        let rank = match part {
            "self_attn" => 0,
            "multihead_attn" => 1,
            _ => 2,
        };
        Some((is_digit.then(|| part.parse().ok()).flatten(), rank, part))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ordered_as_layers_are_constructed() {
        let names = [
            "fc10.bias",
            "fc10.weight",
            "fc2.bias",
            "fc2.weight",
            "lstm.bias_hh_l0",
            "lstm.bias_hh_l1",
            "lstm.bias_ih_l0",
            "lstm.bias_ih_l1",
            "lstm.weight_hh_l0",
            "lstm.weight_hh_l1",
            "lstm.weight_ih_l0",
            "lstm.weight_ih_l1",
        ];
        let orders = orders(&names);
        let named = |order: &[usize]| order.iter().map(|i| names[*i]).collect::<Vec<_>>();
        assert_eq!(
            named(&orders[0]),
            [
                "fc2.weight",
                "fc2.bias",
                "fc10.weight",
                "fc10.bias",
                "lstm.weight_ih_l0",
                "lstm.weight_hh_l0",
                "lstm.bias_ih_l0",
                "lstm.bias_hh_l0",
                "lstm.weight_ih_l1",
                "lstm.weight_hh_l1",
                "lstm.bias_ih_l1",
                "lstm.bias_hh_l1",
            ]
        );
        assert_eq!(orders[1], (0..names.len()).collect::<Vec<_>>());
        assert_eq!(named(&orders[2])[..2], ["fc2.bias", "fc2.weight"]);
        assert_eq!(super::orders(&["a.weight", "b.weight"]).len(), 1);
    }

    #[test]
    fn attention_draws_its_projections_after_the_output() {
        let names = [
            "0.linear1.weight",
            "0.multihead_attn.k_proj_weight",
            "0.multihead_attn.out_proj.weight",
            "0.multihead_attn.q_proj_weight",
            "0.multihead_attn.v_proj_weight",
            "0.self_attn.in_proj_weight",
            "0.self_attn.out_proj.bias",
            "0.self_attn.out_proj.weight",
            "1.linear1.weight",
        ];
        let order = orders(&names)[0].clone();
        let named: Vec<&str> = order.into_iter().map(|i| names[i]).collect();
        assert_eq!(
            named,
            [
                "0.self_attn.out_proj.weight",
                "0.self_attn.out_proj.bias",
                "0.self_attn.in_proj_weight",
                "0.multihead_attn.out_proj.weight",
                "0.multihead_attn.q_proj_weight",
                "0.multihead_attn.k_proj_weight",
                "0.multihead_attn.v_proj_weight",
                "0.linear1.weight",
                "1.linear1.weight",
            ]
        );
    }
}
