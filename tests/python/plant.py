"""Writes the test set of `tch-init explain`: PyTorch's tensors, and tensors changed by a known cause.

    python tests/python/plant.py OUT_DIR        (torch 2.13, numpy, safetensors; one minute)

OUT_DIR must not exist or be empty. It gets one folder per case, and `cases.json`. Every run on one
machine writes the same bytes (those of `orthogonal_` depend on the CPU). Each case is checked: the
tensors differ, and undoing the cause gives PyTorch's bits.

`cases.json` is {"format": 1, "torch", "hypotheses": [id], "cases": [case]}; a case:

    name, planted   what was done to `yours`, in words
    near_miss_of    null, or the hypothesis that is nearly but not quite the cause
    stretch         true if the tool does not promise to find the cause
    yours           safetensors file, relative to cases.json
    reference       {file: what PyTorch made after manual_seed(seed);
                     layers: file with `print(model)`, absent where init functions ran afterwards;
                     seed; dtype: f32|f64|bf16|f16 of the model; words: 32-bit words drawn in all;
                     draws: [draw], all draws of PyTorch's program in order, then constants}
    expected        [{tensor, by, hypotheses, absent, details}], all tensors, each way of judging

A draw: tensor (null if it filled none), init (uniform_, normal_, trunc_normal_, orthogonal_, randn,
native_dropout, ...; fill and zero_rows, with 0 words, are what PyTorch sets without drawing), args,
shape, dtype, words, and if it is a draw: start (element of the tensor's memory where it began),
contiguous, offset (words taken since manual_seed), cached (a normal was cached before),
overwritten (something later covers it).

`by` is what the tool is given: "file" (both files, nothing else), "layers" (yours, the printed
model, seed, dtype), "draws" (both files, the draws, the seed). `hypotheses` must all be reported for
the tensor, those of `absent` must not be; other ids are ignored. An empty `hypotheses` requires nothing.

`details` has one object for each hypothesis whose evidence is checked; null and missing keys are
ignored. Measured numbers (constant, value, min, max) compare to 1e-5
relative in f32 and f64 and 1e-2 in bf16 and f16; integers, names and lists exactly:

    scaled          constant: yours = constant * what PyTorch draws; named: one of its names
    permuted        permutation, yours_shape: yours = reference.permute(permutation), or with drawn_as:
                    yours = reference.reshape(drawn_as).permute(permutation); stretch: axis and blocks
                    (yours = the reference's equal blocks along the axis in this order), flipped (axes)
    exchanged       with: the tensor of the reference that has these values
    other-offset    offset, reference_offset, shift = offset - reference_offset, in 32-bit words;
                    drawn_before: what yours drew before, in order (null: words of no tensor of the file)
    other-seed      seed
    other-path      yours, reference: "block" or "serial"
    rounded         through: dtype; side "reference": it was PyTorch's side that was rounded; mode
                    "toward-zero" (stretch)
    randn-times-std mean, std
    other-capability    capability
    lapack          threads, reference_threads
    trunc-normal-before-2.12    mean, std, a, b
    last-16         range: [first, end) in elements
    modified        kind: clamped (min and/or max) | added (constant, range if not all) | filled (value;
                    all elements) | zeroed-rows (rows; side "reference": PyTorch zeroed, yours did not) |
                    partly-overwritten (range that holds all differing elements, value, count)
"""

import json
import sys
from collections import Counter
from pathlib import Path

import torch
from safetensors.torch import save_file


def build(key, seed, file):
    from planting import Drawn
    from programs import ELSEWHERE
    save_file(Drawn(ELSEWHERE[key], seed).tensors, file)


def main(out):
    import causes_changes
    import causes_none
    import causes_stream
    import causes_values
    from planting import ALL, Case
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        sys.exit(f"{out} is not empty: give a new folder")
    for causes in (causes_none, causes_values, causes_changes, causes_stream):
        causes.plant()
    cases = [case.write(out) for case in Case.made]
    report = {"format": 1, "torch": torch.__version__.split("+")[0], "hypotheses": ALL, "cases": cases}
    (out / "cases.json").write_text(json.dumps(report, indent=1) + "\n")

    demanded, refused = Counter(), Counter()
    for case in cases:
        strongest = {e["tensor"]: e["hypotheses"] for e in case["expected"]}
        found = sorted({h for hs in strongest.values() for h in hs} - {"equal"}) or ["-"]
        if all(hs == ["equal"] for hs in strongest.values()):
            found = ["equal"]
        demanded.update(found)
        refused.update([case["near_miss_of"]] if case["near_miss_of"] else [])
        print(f"{case['name']:34} {case['reference']['dtype']:5} {len(strongest):3} tensors  "
              f"{'layers' if 'layers' in case['reference'] else '      '}  {', '.join(found)}"
              + (f"  (near miss of {case['near_miss_of']})" if case["near_miss_of"] else ""))
    print(f"\n{len(cases)} cases, {sum(c['stretch'] for c in cases)} of them stretch")
    for hypothesis in ALL:
        print(f"{hypothesis:26} planted in {demanded[hypothesis]:3}, near misses {refused[hypothesis]:2}")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.dont_write_bytecode = True
    if not torch.__version__.startswith("2.13."):
        sys.exit(f"PyTorch 2.13 is needed, this is {torch.__version__}")
    torch.set_num_threads(1)
    if len(sys.argv) == 5 and sys.argv[1] == "--build":
        build(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    elif len(sys.argv) == 2:
        main(Path(sys.argv[1]))
    else:
        sys.exit("usage: plant.py OUT_DIR")
