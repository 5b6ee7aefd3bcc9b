"""What PyTorch's dispatcher does not show, or shows in another form: recorded with PyTorch's bits, or refused by name."""

import copy
import logging
import math
import random
import threading
import unittest
import zlib

import numpy as np
import torch
from torch import initial_seed, nn

from .constructors import buffers
from .proof import prove, record, refusal


def in_inference(f):
    def make(m):
        with torch.inference_mode():
            return f(torch.randn(4, 5))

    return buffers(make)


def in_thread(f):
    thread = threading.Thread(target=f)
    thread.start()
    thread.join()


def state_again(change):
    """Draws twice from a state that is kept in another form."""

    def make(m):
        state = change(torch.get_rng_state())
        first = torch.randn(3)
        torch.set_rng_state(state)
        return first, torch.randn(3)

    return buffers(make)


def written_array(m):
    tensor = torch.zeros(5, 5)
    array = tensor.numpy()
    array[1:] = 2
    before = tensor + 1
    array[0, 0] = 3
    return tensor, before, tensor * torch.randn(5)


def mask_like(m):
    mask = torch.ones_like(torch.randn(6, 6))
    mask[2:] = 0
    return torch.randn(int(mask.sum()), 2), mask


def resized_out(m):
    joined, sine, q, r = (torch.empty(0) for _ in range(4))
    torch.cat([torch.randn(2), torch.ones(2)], out=joined)
    torch.sin(torch.arange(4.0), out=sine)
    torch.linalg.qr(torch.randn(3, 3), out=(q, r))
    return joined, sine, q, r


def lists_of_tensors():
    a, b = nn.Linear(6, 5), nn.Linear(6, 5)
    p, q = ([x.data for x in layer.parameters()] for layer in (a, b))
    torch._foreach_mul_(q, 0.9)
    torch._foreach_add_(q, p, alpha=0.1)
    torch._foreach_lerp_(p, q, 0.3)
    torch._foreach_addcmul_(p, p, q, value=0.5)
    torch._foreach_copy_([p[1]], torch._foreach_neg([q[1]]))
    torch._foreach_zero_([q[1]])
    return nn.ModuleList([a, b])


def attention(m):
    x = torch.randn(1, 2, 4, 8)
    y = nn.functional.scaled_dot_product_attention(x, x, x)
    return torch.randn(y.shape[-1])


def per_element(m):
    x = torch.arange(5.0)
    x.apply_(lambda v: v * 2)
    x.map_(torch.ones(5), lambda a, b: a + b)
    return x, x * torch.randn(5)


def large_constants(m):
    small = torch.arange(1000.0)
    big = small.repeat(2000)
    small.zero_()
    twice = big * 2
    big.add_(1)
    weight = nn.Linear(1500, 1000).weight.data
    weight.zero_()
    weight[3] = 5
    copied = copy.deepcopy(big)
    big.mul_(0.5)
    mask = torch.full((1200, 1200), -math.inf).triu(1)
    nn.init.dirac_(kernel := torch.empty(1100, 1100, 1))
    read = [big.max().item(), float(twice[-1]), weight.sum().item(), copied.numpy()[-1], len(copied.unique()), twice[twice > 1990].numel(),
            sum((mask == 0).sum(1).tolist()), torch.special.zeta(torch.full((1100, 1000), 2.0), torch.tensor(1.0)).amax().item(),
            float(torch.equal(kernel[:, :, 0], torch.eye(1100)))]
    return torch.tensor(read), torch.randn(4), mask[:2, :2].clone()


def constants_after_many(m):
    layers = [torch.zeros(1000, 1000) for _ in range(70)]
    rates = [x.item() for x in torch.linspace(0, 1, 5)]
    return torch.tensor([*rates, layers[-1].sum().item()]), torch.randn(2)


class Unseen(unittest.TestCase):
    def test_large_constants(self):
        prove(buffers(large_constants))
        prove(buffers(constants_after_many), seeds=(5,))
        self.assertIn("random values", refusal(buffers(lambda m: torch.ones(1500, 1000).add_(torch.randn(1000)).sum().item() * torch.ones(1))))
        self.assertIn("1 GiB", refusal(buffers(lambda m: torch.ones(1 << 29).sum().item() * torch.ones(1))))

    def test_inference_mode(self):
        prove(in_inference(lambda x: (x.t().reshape(-1), x.t().contiguous(), x.t().flatten(), x.to(torch.float64), x.view(-1).clone())))
        prove(in_inference(lambda x: (x @ x.t(), torch.einsum("ij,kj->ik", x, x), x.square_(), nn.functional.dropout(x), x.std())))
        prove(buffers(lambda m: torch.inference_mode()(lambda: torch.ones(2000, 1000).cumsum(0).t().reshape(-1))()))

    def test_threads(self):
        def change(f):
            def make(m):
                x = torch.randn(5)
                in_thread(lambda: f(x))
                return x

            return buffers(make)

        self.assertIn("aten::mul_.Tensor in another thread", refusal(change(lambda x: x.mul_(2))))
        self.assertIn("in another thread", refusal(change(lambda x: torch.randn(3))))
        self.assertIn("in another thread", refusal(change(lambda x: nn.init.trunc_normal_(torch.empty(3)))))
        prove(change(lambda x: torch.arange(3.0).sin()))

    def test_reads_without_a_dispatch(self):
        two = lambda f: buffers(lambda m: f((lambda x: [x[0], x[1]])(torch.randn(3))))  # noqa: E731
        for f in (torch.tensor, torch.Tensor, torch.as_tensor, torch.zeros(1).new_tensor, lambda x: torch.tensor(np.array(x))):
            self.assertIn("depends on a draw", refusal(two(f)))
        self.assertIn("apply_", refusal(buffers(lambda m: torch.randn(3).apply_(lambda v: 2 * v))))
        self.assertIn("map_", refusal(buffers(lambda m: torch.zeros(3).map_(torch.randn(3), lambda a, b: a + b))))
        prove(buffers(per_element))

    def test_seeds(self):
        self.assertIn("torch.initial_seed", refusal(buffers(lambda m: torch.tensor(initial_seed() % 1000))))
        for f in (lambda: np.random.RandomState(), lambda: np.random.Generator(np.random.PCG64()), lambda: random.Random()):
            self.assertIn("without a seed", refusal(buffers(lambda m: torch.tensor(f().random()))))
        prove(buffers(lambda m: torch.tensor([random.Random(5).random(), np.random.RandomState(5).rand()])))

    def test_states(self):
        for change in (torch.clone, copy.deepcopy, lambda s: torch.stack([s])[0], lambda s: s.byte().cpu().contiguous()):
            prove(state_again(change))

    def test_values(self):
        for make in (written_array, mask_like, resized_out, attention):
            prove(buffers(make))
        prove(lists_of_tensors)

    def test_printed(self):
        """What is printed decides nothing."""

        def construct():
            model = nn.Linear(3, 2)
            w = model.weight
            print(w, w.data, repr(w[0]), [w], f"{w.std():.3f} {w.mean()} {w.abs().max():>9}", model.state_dict())
            logging.getLogger("record").warning("%s %r", w, w.data)
            print(torch.empty(3), torch.arange(3), torch.zeros(2000, 1000), torch.get_rng_state())
            model.register_buffer("text", torch.tensor([float(str(torch.arange(3.0))[8]), len(f"{torch.ones(2).sum():.2f}")]))
            return nn.Sequential(model, nn.Linear(2, 2))

        prove(construct)
        texts = lambda w: (str(w), f"{w.mean():.3f}", repr(w[1:]))  # noqa: E731
        for f in (lambda w: zlib.crc32(str(w).encode()), *(lambda w, i=i: sum(map(ord, texts(w)[i])) for i in range(3)), lambda w: len(str(w)), lambda w: len(f"{w.mean():.3f}")):
            self.assertIn("made0 depends on", refusal(buffers(lambda m: torch.tensor(f(m.first.weight) % 99991))))
        # Other values have another text, the same values the same one.
        prove(buffers(lambda m: torch.tensor([str(m.first.weight) == text for text in (str(m.first.weight), str(m.first.weight[0]), str(m.first.weight * 2))])))
        with self.assertRaisesRegex(ValueError, "not known while recording"):
            record.plan_of(buffers(lambda m: torch.tensor(float(f"{m.first.weight.mean():.3f}"))), "model")

    def test_layouts(self):
        self.assertIn("sparse_coo", refusal(buffers(lambda m: torch.eye(3).to_sparse())))
        self.assertIn("quantized", refusal(buffers(lambda m: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8))))


if __name__ == "__main__":
    unittest.main()
