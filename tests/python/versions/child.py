"""Runs in the PyTorch of one version: records every model and draw, and says what that version constructs.

    python child.py FOLDER       plans and FOLDER/expected.json
    python child.py --learn      the digests of its functions and draws, as JSON
"""

import hashlib
import json
import os
import sys
import warnings

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
sys.path[:0] = [ROOT, os.path.join(ROOT, "python")]
SEED = 2**32 + 77  # at which models are constructed; plans are recorded at another


def main(folder):
    import torch
    import record
    from tests.python.versions.draws import Drawn, draws
    from tests.python.versions.models import MODELS

    warnings.simplefilter("ignore")

    def digest(tensor):
        tensor = tensor.detach().contiguous()
        flat = torch.zeros(tensor.numel(), dtype=tensor.dtype).copy_(tensor.reshape(-1))
        return hashlib.sha256(record.memory(flat)).hexdigest()[:16]

    def tried(construct):
        """("recorded", (text, data)), ("refused", line) or ("raised", kind): PyTorch's own error, with or without recording."""
        torch.manual_seed(4711)
        try:
            return "recorded", record.plan_and_data(construct, "model", "x.plan.safetensors")
        except record.Refused as error:
            return "refused", str(error)
        except Exception as error:
            torch.manual_seed(4711)
            try:
                construct()
            except type(error):
                return "raised", type(error).__name__
            return "failed", f"{type(error).__name__}: {error}"

    expected = {"version": torch.__version__, "plans": [], "outcomes": []}

    def prove(name, construct, outcome=None):
        outcome = outcome or tried(construct)
        expected["outcomes"].append([name, outcome[0], outcome[1] if outcome[0] != "recorded" else ""])
        if outcome[0] != "recorded":
            return
        text, data = outcome[1]
        number = len(expected["plans"])
        path = os.path.join(folder, f"{number}.plan.json")
        with open(path, "w") as file:
            file.write(text.replace('"x.plan.safetensors"', f'"{number}.plan.safetensors"'))
        if data:
            with open(record.data_path(path), "wb") as file:
                file.writelines(data)
        torch.manual_seed(SEED)
        model = construct()
        tensors = {}
        for rows in (model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False)):
            tensors.update((n, digest(t)) for n, t in rows)
        expected["plans"].append({"name": name, "tensors": tensors, "state": digest(torch.get_rng_state())})

    for name, construct in MODELS.items():
        prove(f"model {name}", construct)
    for function, dtype, cases in draws():
        good = []
        whole = tried(lambda: Drawn(function, dtype, cases))[0] == "recorded"
        for case in cases:
            # One by one only if one of them is refused.
            outcome = ("recorded", "") if whole else tried(lambda: Drawn(function, dtype, [case]))
            if outcome[0] == "recorded":
                good.append(case)
            path, shape, arguments = case
            expected["outcomes"].append([f"draw {function} {dtype} {path} {shape[0]}x{shape[1]} {arguments}", outcome[0], outcome[1] if outcome[0] != "recorded" else ""])
        if good:
            prove(f"draws {function} {dtype}", lambda: Drawn(function, dtype, good))
    with open(os.path.join(folder, "expected.json"), "w") as file:
        json.dump(expected, file)


def learn():
    import versions

    text, folder = versions.installed()
    digests = versions.sources(folder)
    print(json.dumps({"version": text, "digests": digests, "answers": versions.self_test()}))


if __name__ == "__main__":
    learn() if sys.argv[1] == "--learn" else main(sys.argv[1])
