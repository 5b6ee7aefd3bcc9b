//! Why a tensor stands at another place of the stream: what was drawn before it.

use super::finding::Displacement;

/// Where a tensor lies in a stream: its first word, and how many it draws if that is fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub word: u64,
    pub words: Option<u64>,
}

/// A tensor in your stream and in PyTorch's; `None` where it draws nothing, or nobody knows.
pub(super) struct Ordered<'a> {
    pub name: &'a str,
    pub yours: Option<Span>,
    pub reference: Option<Span>,
}

/// What stands before tensor number `index` in one stream and not in the other, and the words of
/// the distance that this leaves unexplained. `None` if the tensor lacks one of its places.
pub(super) fn displaced(all: &[Ordered<'_>], index: usize) -> Option<(Vec<Displacement>, i64)> {
    let (yours, reference) = (all[index].yours?, all[index].reference?);
    let mut unexplained = signed(yours.word)? - signed(reference.word)?;
    let mut because = Vec::new();
    for (number, other) in all.iter().enumerate() {
        if number == index {
            continue;
        }
        let before = |span: Option<Span>, limit: u64| {
            span.filter(|span| span.word < limit)
                .map_or(Some(0), |span| span.words)
        };
        // A draw of a length that depends on its values: nothing can be said.
        let here = before(other.yours, yours.word)?;
        let there = before(other.reference, reference.word)?;
        if here != there {
            unexplained -= signed(here)? - signed(there)?;
            because.push(Displacement {
                tensor: other.name.to_owned(),
                yours: here,
                reference: there,
            });
        }
    }
    Some((because, unexplained))
}

fn signed(words: u64) -> Option<i64> {
    i64::try_from(words).ok()
}

#[cfg(test)]
mod tests {
    use super::{Displacement, Ordered, Span, displaced};

    fn at(word: u64, words: u64) -> Option<Span> {
        let words = Some(words);
        Some(Span { word, words })
    }

    #[test]
    fn a_bias_before_its_weight() {
        let all = [
            Ordered {
                name: "weight",
                yours: at(3, 12),
                reference: at(0, 12),
            },
            Ordered {
                name: "bias",
                yours: at(0, 3),
                reference: at(12, 3),
            },
        ];
        let moved = |tensor: &str, yours, reference| Displacement {
            tensor: tensor.to_owned(),
            yours,
            reference,
        };
        assert_eq!(displaced(&all, 0), Some((vec![moved("bias", 3, 0)], 0)));
        assert_eq!(displaced(&all, 1), Some((vec![moved("weight", 0, 12)], 0)));
    }

    #[test]
    fn a_draw_too_much_is_left_unexplained() {
        let all = [
            Ordered {
                name: "a",
                yours: at(0, 5),
                reference: at(0, 5),
            },
            Ordered {
                name: "b",
                yours: at(12, 5),
                reference: at(5, 5),
            },
        ];
        assert_eq!(displaced(&all, 1), Some((Vec::new(), 7)));
    }
}
