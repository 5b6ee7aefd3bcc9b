"""What torch.testing.assert_close says of pairs of tensors, and torch.isclose of their elements.

Reads cases.json, writes results.json and results.bin as reference.py does: the chunk of a case is
isclose's mask, and its rest the exception of assert_close, type and message, or nulls.
"""

import json
import sys
import warnings

import torch
from torch.testing import assert_close

warnings.simplefilter("ignore")


def tensor(side):
    dtype = getattr(torch, side["dtype"])
    data = bytearray.fromhex(side["hex"])
    if not data:
        return torch.empty(side["shape"], dtype=dtype)
    return torch.frombuffer(data, dtype=torch.uint8).view(dtype).reshape(side["shape"])


def run(case):
    actual, expected = tensor(case["actual"]), tensor(case["expected"])
    raised = [None, None]
    try:
        assert_close(actual, expected, **case["options"])
    except Exception as error:  # noqa: BLE001
        raised = [type(error).__name__, str(error)]
    mask = b""
    rtol, atol = case["tolerances"]
    if actual.shape == expected.shape and actual.dtype == expected.dtype:
        float8 = actual.dtype.is_floating_point and actual.dtype.itemsize == 1
        if not float8 or rtol == atol == 0:
            matches = torch.isclose(
                actual, expected, rtol, atol, case["options"].get("equal_nan", False)
            )
            mask = bytes(matches.flatten().to(torch.uint8).tolist())
    return raised, mask


def main():
    request, results, chunks = sys.argv[1:]
    with open(request, encoding="utf-8") as file:
        request = json.load(file)
    torch.set_num_threads(request["threads"])
    answers = [run(case) for case in request["cases"]]
    with open(results, "w", encoding="utf-8") as file:
        json.dump(
            [
                {"error": None, "lengths": [len(mask)], "rest": raised}
                for raised, mask in answers
            ],
            file,
        )
    with open(chunks, "wb") as file:
        file.write(b"".join(mask for _, mask in answers))


main()
