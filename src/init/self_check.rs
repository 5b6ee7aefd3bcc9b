//! The self-check: whether the linked libtorch makes the same draws as `torch-rng`. Another version
//! may not.

use super::libtorch;
use super::rejection::{self, kind_of};
use crate::distribution::{Element, Engine};
use crate::generator::Generator;
use crate::libtorch_info::linked_semantics;
use crate::rng::{Backend, Draw, Dtype, Mt19937, Target};
use std::sync::OnceLock;
use tch::{Device, Tensor};

/// The code paths of a draw, each of which is checked.
const PATHS: usize = 3;

/// The verdicts, by dtype, draw and path.
static VERDICTS: [[[OnceLock<bool>; PATHS]; Draw::NAMES.len()]; Dtype::ALL.len()] =
    [const { [const { [const { OnceLock::new() }; PATHS] }; Draw::NAMES.len()] }; Dtype::ALL.len()];

/// Whether libtorch makes this draw of `numel` elements as `torch-rng` does. Checked once per process
/// for each dtype, kind of draw and path, and logged if not.
pub(super) fn passes<T: Element + Default>(draw: Draw, numel: usize, backend: Backend) -> bool {
    let name = Draw::NAMES.iter().position(|name| *name == draw.name());
    let dtype = Dtype::ALL.iter().position(|dtype| *dtype == T::DTYPE);
    let Some((dtype, name)) = dtype.zip(name) else {
        return false;
    };
    let verdict = &VERDICTS[dtype][name][path(draw, numel)];
    verdict.get().copied().unwrap_or_else(|| {
        let trial = Trial::of(draw, numel);
        verdict_of::<T>(verdict, &trial, &trial, backend)
    })
}

fn verdict_of<T: Element + Default>(
    verdict: &OnceLock<bool>,
    ours: &Trial,
    reference: &Trial,
    backend: Backend,
) -> bool {
    let mut is_new = false;
    let equal = *verdict.get_or_init(|| {
        is_new = true;
        draws_equal::<T>(ours, reference, backend).unwrap_or(false)
    });
    // After the lock of the verdict is released, since a logger may draw.
    if is_new && !equal {
        log::warn!(
            "libtorch draws {} of {} differently from backend {backend}: such draws are left to it \
             and are slower",
            ours.draw.name(),
            T::DTYPE,
        );
    }
    equal
}

/// The path that a draw of `numel` elements takes.
fn path(draw: Draw, numel: usize) -> usize {
    match draw {
        Draw::TruncNormal(truncated) if !truncated.uses_redraws() => REJECTION,
        _ if numel < 16 => SERIAL,
        _ => BLOCKS,
    }
}

const BLOCKS: usize = 0;
/// Fewer elements than a block of normal values.
const SERIAL: usize = 1;
const REJECTION: usize = 2;

/// What is drawn to check a path.
#[derive(Debug, Clone, Copy)]
struct Trial {
    draw: Draw,
    shape: [i64; 2],
}

impl Trial {
    /// The trial for the path that a draw of `numel` elements takes.
    fn of(draw: Draw, numel: usize) -> Trial {
        let path = path(draw, numel);
        // Valid arguments of every draw; between the bounds of the second list, `trunc_normal_`
        // rejects.
        let arguments = match path {
            REJECTION => [0.3, 0.9, 1.5, 4.0],
            _ => [0.3, 0.9, -0.25, 1.5],
        };
        let args = draw.args();
        Trial {
            draw: Draw::new(draw.name(), &arguments[..args.len()]).unwrap_or(draw),
            // Some blocks and a part of one, or an odd number of elements below one block.
            shape: if path == SERIAL { [3, 5] } else { [79, 19] },
        }
    }
}

/// Makes both draws from the same state and compares values and states.
fn draws_equal<T: Element + Default>(
    ours: &Trial,
    reference: &Trial,
    backend: Backend,
) -> Option<bool> {
    let mut generator = Generator::new(Device::Cpu).ok()?;
    generator.manual_seed(20).ok()?;
    let options = (kind_of::<T>().ok()?, Device::Cpu);
    let mut tensor = Tensor::f_ones(reference.shape, options).ok()?;
    let generator_of_trial = Some(&generator);
    let (draw, linked) = (reference.draw, linked_semantics());
    libtorch::draw("self-check", &mut tensor, draw, generator_of_trial, linked).ok()?;
    let numel = tensor.numel();
    let mut expected = vec![0u8; numel * size_of::<T>()];
    tensor.f_copy_data_u8(&mut expected, numel).ok()?;

    let mut stream = Mt19937::new(20);
    let shape = ours.shape.map(i64::unsigned_abs);
    let target = Target::new(T::DTYPE, &shape).with_semantics(linked);
    let mut values = vec![T::default(); target.numel() as usize];
    let engine = Engine::new(backend).ok()?;
    rejection::fill(ours.draw, &engine, &mut stream, target, &mut values).ok()?;
    // SAFETY: the elements have no padding, and the slice is borrowed as long.
    let values = unsafe {
        std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(&values[..]))
    };
    Some(values == expected && stream.to_state().to_bytes() == generator.get_state().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Normal, Sparse, TruncNormal, Uniform};
    use half::{bf16, f16};

    /// Every trial of every dtype passes, and would not against another draw of libtorch's.
    fn trials_detect_other_draws<T: Element + Default>() {
        let backend = Backend::selected();
        let (mean, std) = (0.0, 1.0);
        let others = [
            Draw::from(Uniform { from: 0.0, to: 1.0 }),
            Normal { mean, std }.into(),
            TruncNormal {
                mean,
                std,
                a: -1.0,
                b: 1.0,
            }
            .into(),
            TruncNormal {
                mean,
                std,
                a: 2.0,
                b: 3.0,
            }
            .into(),
            Sparse {
                sparsity: 0.5,
                std: 0.9,
            }
            .into(),
        ];
        let numels = [1501, 15];
        for (draw, numel) in others
            .into_iter()
            .flat_map(|draw| numels.map(|numel| (draw, numel)))
        {
            let trial = Trial::of(draw, numel);
            let other = Trial { draw, ..trial };
            let verdict = OnceLock::new();
            assert!(
                verdict_of::<T>(&verdict, &trial, &trial, backend),
                "{trial:?}"
            );
            // The first verdict stays.
            assert!(verdict_of::<T>(&verdict, &other, &trial, backend));
            let verdict = OnceLock::new();
            assert!(
                !verdict_of::<T>(&verdict, &other, &trial, backend),
                "{other:?}"
            );
            assert!(!verdict_of::<T>(&verdict, &trial, &trial, backend));
        }
    }

    #[test]
    fn another_libtorch_is_noticed() {
        trials_detect_other_draws::<f32>();
        trials_detect_other_draws::<f64>();
        trials_detect_other_draws::<bf16>();
        trials_detect_other_draws::<f16>();
    }
}
