//! Explains why a tensor was drawn at another position: what was drawn before it.

use super::finding::Displacement;

/// The words of a stream that a tensor took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// The first word.
    pub word: u64,
    /// The number of words; `None` if it depends on the values.
    pub words: Option<u64>,
}

/// The words of a tensor in your stream and in PyTorch's; `None` if it draws nothing or if its
/// position is unknown.
pub(super) struct StreamOrder<'a> {
    pub name: &'a str,
    pub yours: Option<Span>,
    pub reference: Option<Span>,
}

/// The tensors that draw a different number of words before tensor number `index` in the two
/// streams, and the words of its shift that they do not explain.
///
/// `None` if one of the tensor's positions is unknown, or if a tensor before it drew an unknown
/// number of words.
pub(super) fn displaced(all: &[StreamOrder<'_>], index: usize) -> Option<(Vec<Displacement>, i64)> {
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
        let in_yours = before(other.yours, yours.word)?;
        let in_reference = before(other.reference, reference.word)?;
        if in_yours != in_reference {
            unexplained -= signed(in_yours)? - signed(in_reference)?;
            because.push(Displacement {
                tensor: other.name.to_owned(),
                yours: in_yours,
                reference: in_reference,
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
    use super::{Displacement, Span, StreamOrder, displaced};

    fn span(word: u64, words: u64) -> Option<Span> {
        let words = Some(words);
        Some(Span { word, words })
    }

    #[test]
    fn a_bias_drawn_before_its_weight_shifts_both() {
        let all = [
            StreamOrder {
                name: "weight",
                yours: span(3, 12),
                reference: span(0, 12),
            },
            StreamOrder {
                name: "bias",
                yours: span(0, 3),
                reference: span(12, 3),
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
    fn an_additional_draw_is_unexplained() {
        let all = [
            StreamOrder {
                name: "a",
                yours: span(0, 5),
                reference: span(0, 5),
            },
            StreamOrder {
                name: "b",
                yours: span(12, 5),
                reference: span(5, 5),
            },
        ];
        assert_eq!(displaced(&all, 1), Some((Vec::new(), 7)));
    }
}
