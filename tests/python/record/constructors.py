"""Small constructors, one for each thing that constructors do: recorded once, they are made again at other seeds."""

import math
import random
import warnings

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize, prune
from torch.utils._pytree import tree_flatten

warnings.simplefilter("ignore")


class Holder(nn.Module):
    """Tensors as buffers, and a layer that is drawn before and one that is drawn after them."""

    def __init__(self, make):
        super().__init__()
        self.first = nn.Linear(5, 7)
        made = make(self)
        made = made if isinstance(made, dict) else {"made": made}
        for name, tensor in made.items():
            tensors = tensor if isinstance(tensor, (tuple, list)) else [tensor]
            for i, tensor in enumerate(tensors):
                self.register_buffer(f"{name}{i}", tensor)
        self.last = nn.Linear(3, 2)


def buffers(make):
    return lambda: Holder(make)


def of_draw(f, *shape):
    """Of a drawn tensor."""
    return buffers(lambda m: f(torch.randn(*(shape or (6, 6)))))


def spd(x):
    return x @ x.mT + 5 * torch.eye(x.shape[-1])


def relative_index(n):
    grid = torch.stack(torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")).flatten(1)
    relative = (grid[:, :, None] - grid[:, None, :]).permute(1, 2, 0) + n - 1
    relative[..., 0] *= 2 * n - 1
    return relative.sum(-1)


def sinusoidal(length, dim):
    position = torch.arange(length).unsqueeze(1)
    scale = torch.exp(torch.arange(0, dim, 2) * (-math.log(10000.0) / dim))
    table = torch.zeros(length, 1, dim)
    table[:, 0, 0::2] = torch.sin(position * scale)
    table[:, 0, 1::2] = torch.cos(position * scale)
    return table


def freqs_cis(dim, end):
    freqs = 1.0 / (10000.0 ** (torch.arange(0, dim, 2)[: dim // 2].float() / dim))
    freqs = torch.outer(torch.arange(end), freqs).float()
    return torch.view_as_real(torch.polar(torch.ones_like(freqs), freqs))


def own(seed=42):
    return torch.Generator().manual_seed(seed)


def weighted(f):
    """Writes to the weight of the first layer."""

    def construct():
        model = nn.Sequential(nn.Linear(6, 6), nn.Linear(4, 3))
        with torch.no_grad():
            f(model[0].weight)
        model.append(nn.Linear(2, 2))
        return model

    return construct


def forked(seed):
    def make(m):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            inside = torch.randn(7)
        return inside, torch.randn(7)

    return buffers(make)


def restored(m):
    state = torch.get_rng_state()
    a = torch.randn(20)
    torch.set_rng_state(state)
    b = torch.randn(5)
    torch.set_rng_state(state)
    return a, b


def reseeded(m):
    a = torch.rand(3)
    torch.manual_seed(7)
    b = torch.rand(3)
    torch.manual_seed(7)
    return a, b, torch.rand(2)


def two_generators(m):
    one, two = own(1), own(2)
    a = torch.randn(3, generator=one)
    b = torch.randn(3, generator=two)
    c = torch.randn(33, generator=one)
    d = torch.rand(3)
    two.set_state(one.get_state())
    return a, b, c, d, torch.rand(4, generator=two), torch.rand(4, generator=one)


def from_default(m):
    generator = torch.Generator()
    generator.set_state(torch.get_rng_state())
    a = torch.rand(4, generator=generator)
    return a, torch.rand(4), torch.rand(4, generator=generator)


def into_default(m):
    generator = own(5)
    a = torch.rand(4, generator=generator)
    torch.set_rng_state(generator.get_state())
    return a, torch.rand(3)


def seeded_python(m):
    random.seed(3)
    np.random.seed(4)
    return torch.tensor([random.random() for _ in range(3)]), torch.from_numpy(np.random.rand(4)), torch.randn(3)


def masked(m):
    x = torch.randn(4, 5)
    x[x.abs() > 1] = 0
    return x


def truncated(m):
    x = torch.randn(20, 20)
    x.clamp_(-1, 1)
    return x.erf_().mul_(2).tanh_()


def gumbel(m):
    return -torch.empty(5, 4).exponential_().log()


def power_iteration(m):
    w, u = torch.randn(5, 4), F.normalize(torch.randn(5), dim=0)
    for _ in range(3):
        v = F.normalize(w.t() @ u, dim=0)
        u = F.normalize(w @ v, dim=0)
    return w / (u @ w @ v), u, v


def random_features(m):
    blocks = [torch.linalg.qr(torch.randn(8, 8))[0].t() for _ in range(2)]
    return torch.cat(blocks) * torch.randn(16, 8).norm(dim=1, keepdim=True)


class Scale(nn.Module):
    def forward(self, x):
        return x.tril() + x.tril(-1).mT


def parametrized():
    layer = nn.Linear(5, 5)
    parametrize.register_parametrization(layer, "weight", Scale(), unsafe=True)
    return nn.Sequential(layer, nn.Linear(2, 2))


def pixel_shuffle_init(w):
    out, rest = w.shape[0] // 4, w.shape[1:]
    kernel = torch.empty(out, *rest)
    nn.init.kaiming_uniform_(kernel)
    w.copy_(kernel.repeat_interleave(4, dim=0))


CONSTANTS = {
    "tril": buffers(lambda m: torch.tril(torch.ones(300, 300))),
    "tril_bool": buffers(lambda m: torch.ones((300, 300), dtype=torch.bool).tril().view(1, 1, 300, 300)),
    "tril_diagonal": buffers(lambda m: torch.tril(torch.ones(2, 200, 150), diagonal=-3)),
    "triu_inf": buffers(lambda m: torch.triu(torch.full((200, 200), float("-inf")), diagonal=1)),
    "triu_large": buffers(lambda m: torch.full((1100, 1100), 2.5).triu_(1)),
    "tril_int": buffers(lambda m: torch.tril(torch.ones(300, 300, dtype=torch.int64))),
    "linspace": buffers(lambda m: torch.linspace(-1, 1, 40_000)),
    "logspace": buffers(lambda m: torch.logspace(-3, 2, 20_000, base=2.0)),
    "hann_window": buffers(lambda m: torch.hann_window(40_000)),
    "hamming_window": buffers(lambda m: torch.hamming_window(20_000, periodic=False)),
    "kaiser_window": buffers(lambda m: torch.kaiser_window(20_000)),
    "blackman_window": buffers(lambda m: torch.blackman_window(20_000, dtype=torch.float64)),
    "bartlett_window": buffers(lambda m: torch.bartlett_window(20_000)),
    "outer": buffers(lambda m: torch.outer(torch.arange(200.0), torch.linspace(0, 1, 200))),
    "freqs_cis": buffers(lambda m: freqs_cis(64, 600)),
    "sinusoidal": buffers(lambda m: sinusoidal(300, 64)),
    "einsum": buffers(lambda m: torch.einsum("i,j->ij", torch.arange(300.0), torch.arange(0, 64.0) / 7)),
    "roll": buffers(lambda m: torch.roll(torch.arange(30_000.0).view(100, 300), shifts=(-3, 7), dims=(0, 1))),
    "roll_flat": buffers(lambda m: torch.roll(torch.arange(30_000).view(100, 300), 11)),
    "flip": buffers(lambda m: torch.flip(torch.arange(30_000.0).view(100, 300), [0, -1])),
    "rot90": buffers(lambda m: torch.rot90(torch.arange(30_000.0).view(100, 300))),
    "repeat_interleave": buffers(lambda m: torch.arange(300.0).view(10, 30).repeat_interleave(70, dim=1)),
    "repeat_interleave_tensor": buffers(lambda m: torch.arange(1000).repeat_interleave(torch.arange(1000) % 40)),
    "meshgrid": buffers(lambda m: torch.stack(torch.meshgrid(torch.arange(200), torch.arange(150), indexing="xy"))),
    "index_select": buffers(lambda m: torch.arange(3000.0).view(100, 30).index_select(0, torch.arange(1000) % 100)),
    "index": buffers(lambda m: torch.arange(3000.0).view(100, 30)[torch.arange(1000) % 100]),
    "index_two": buffers(lambda m: torch.arange(3000.0).view(100, 30)[torch.arange(200)[:, None] % 100, torch.arange(200) % 30]),
    "gather": buffers(lambda m: torch.arange(30_000.0).view(100, 300).gather(1, torch.arange(30_000).view(100, 300) % 300)),
    "relative_position": buffers(lambda m: relative_index(14)),
    "bitwise": buffers(lambda m: (torch.arange(300)[:, None] >= torch.arange(300)) ^ (torch.arange(300) % 3 == 0)),
    "logical": buffers(lambda m: torch.logical_and(torch.arange(300)[:, None] >= torch.arange(300), torch.arange(300) % 7 > 2)),
    "cumsum": buffers(lambda m: torch.cumsum(torch.full((30_000,), 0.1), 0)),
    "remainder": buffers(lambda m: torch.remainder(torch.arange(30_000), 97)),
    "matmul": buffers(lambda m: torch.arange(300.0).view(300, 1) @ torch.linspace(0, 1, 200).view(1, 200)),
    "bmm": buffers(lambda m: torch.bmm(torch.ones(3, 100, 40).tril(), torch.full((3, 40, 100), 0.3))),
    "sqrt": buffers(lambda m: torch.arange(20_000).sqrt()),
    "tan": buffers(lambda m: torch.linspace(0, 1, 20_000).tan()),
    "softmax": buffers(lambda m: torch.linspace(0, 3, 20_000).view(100, 200).softmax(-1)),
    "minimum": buffers(lambda m: torch.minimum(torch.arange(20_000.0), torch.arange(20_000.0).flip(0))),
    "scatter": buffers(lambda m: torch.zeros(200, 100).scatter(1, torch.arange(200)[:, None] % 100, 1.0)),
    "one_hot": buffers(lambda m: F.one_hot(torch.arange(300) % 50, 50).float()),
    "diag": buffers(lambda m: torch.diag(torch.arange(200.0))),
    "diag_embed": buffers(lambda m: torch.diag_embed(torch.arange(400.0).view(2, 200), offset=1)),
    "kron": buffers(lambda m: torch.kron(torch.eye(20), torch.arange(64.0).view(8, 8))),
    "fliplr_cat": buffers(lambda m: torch.cat([torch.arange(20_000.0), torch.arange(20_000.0).flip(0)])),
    "sort": buffers(lambda m: torch.sort(torch.sin(torch.arange(20_000.0)))),
    "large_chain": buffers(lambda m: torch.ones(1100, 1100).tril().mul_(0.5).flip(0).roll(3, 1)),
}

COMPUTED = {
    "draw_mm": of_draw(lambda x: x @ x),
    "draw_bmm": of_draw(lambda x: torch.bmm(x, x.mT), 3, 4, 5),
    "draw_addmm": of_draw(lambda x: torch.addmm(x, x, x, beta=0.5, alpha=2)),
    "draw_einsum": of_draw(lambda x: torch.einsum("ij,kj->ik", x, x)),
    "draw_outer": of_draw(lambda x: torch.outer(x[0], x[1])),
    "draw_tril": of_draw(lambda x: (x.tril(), x.triu(1))),
    "draw_tril_in_place": of_draw(lambda x: x.tril_()),
    "draw_softmax": of_draw(lambda x: x.softmax(0)),
    "draw_log_softmax": of_draw(lambda x: x.log_softmax(-1)),
    "draw_sort": of_draw(lambda x: x.sort(dim=0, descending=True)),
    "draw_argsort": of_draw(lambda x: x.argsort()),
    "draw_argsort_stable": of_draw(lambda x: x.argsort(stable=True)),
    "draw_topk": of_draw(lambda x: x.topk(3)),
    "draw_qr": of_draw(lambda x: torch.linalg.qr(x), 7, 4),
    "draw_qr_complete": of_draw(lambda x: torch.linalg.qr(x, mode="complete"), 7, 4),
    "draw_qr_old": of_draw(lambda x: torch.qr(x)[0]),
    "draw_svd": of_draw(lambda x: torch.linalg.svd(x, full_matrices=False), 7, 4),
    "draw_svd_full": of_draw(lambda x: torch.linalg.svd(x), 5, 8),
    "draw_svdvals": of_draw(lambda x: torch.linalg.svdvals(x)),
    "draw_eigh": of_draw(lambda x: torch.linalg.eigh(x + x.mT)),
    "draw_cholesky": of_draw(lambda x: torch.linalg.cholesky(spd(x))),
    "draw_inv": of_draw(lambda x: torch.linalg.inv(spd(x))),
    "draw_solve": of_draw(lambda x: torch.linalg.solve(spd(x), x)),
    "draw_pinv": of_draw(lambda x: torch.linalg.pinv(x), 6, 4),
    "draw_det": of_draw(lambda x: torch.linalg.det(x)),
    "draw_slogdet": of_draw(lambda x: torch.linalg.slogdet(x)),
    "draw_matrix_exp": of_draw(lambda x: torch.matrix_exp(x - x.mT)),
    "draw_matrix_power": of_draw(lambda x: torch.linalg.matrix_power(x, 3)),
    "draw_lu": of_draw(lambda x: torch.linalg.lu_factor(x)),
    "draw_normalize": of_draw(lambda x: F.normalize(x, dim=1)),
    "draw_tanh": of_draw(lambda x: (x.tanh(), x.sigmoid(), x.abs().sqrt(), x.abs().rsqrt(), x.tan(), x.square())),
    "draw_activations": of_draw(lambda x: (F.gelu(x), F.softplus(x), F.silu(x), F.relu(x), F.elu(x), F.leaky_relu(x, 0.1))),
    "draw_mean": of_draw(lambda x: (x.mean(), x.mean(1), x.var(0), x.std(), x.std(1, unbiased=False), x.amax(1), x.amin(), x.max(), x.min(0).values, x.prod(1))),
    "draw_standardize": of_draw(lambda x: (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True)),
    "draw_cumsum": of_draw(lambda x: (x.cumsum(0), x.abs().cumprod(1), x.logsumexp(0))),
    "draw_index": of_draw(lambda x: (x[torch.tensor([3, 0, 0])], x[:, torch.tensor([1, 2])], x.index_select(1, torch.tensor([5, 5])))),
    "draw_bool_index": of_draw(lambda x: x[torch.tensor([True, False, True, True, False, False])]),
    "draw_gather": of_draw(lambda x: x.gather(0, torch.tensor([[0, 1, 2, 3, 4, 5]]))),
    "draw_index_put": of_draw(lambda x: x.index_put_((torch.tensor([0, 2]),), torch.tensor(7.0))),
    "draw_setitem": of_draw(lambda x: [x.__setitem__((torch.tensor([1, 3]), slice(None)), torch.randn(2, 6)), x][1]),
    "draw_scatter": of_draw(lambda x: x.scatter(1, torch.tensor([[0], [1]]), 9.0)),
    "draw_masked": buffers(masked),
    "draw_where": of_draw(lambda x: torch.where(x > 0, x, x * 0.1)),
    "draw_flip": of_draw(lambda x: (x.flip(0), x.roll(2, 1), x.rot90())),
    "draw_repeat_interleave": of_draw(lambda x: x.repeat_interleave(3, 0)),
    "draw_maximum": of_draw(lambda x: (torch.maximum(x, x.mT), torch.minimum(x, torch.tensor(0.1)), x.remainder(0.5), x.fmod(0.3))),
    "draw_round": of_draw(lambda x: (x.round(), x.floor(), x.ceil(), x.trunc(), x.frac(), (x * 100).round(decimals=1))),
    "draw_lerp": of_draw(lambda x: (x.lerp(x.mT, 0.3), torch.addcmul(x, x, x, value=0.5), torch.addcdiv(x, x, x.exp()))),
    "draw_interpolate": of_draw(lambda x: F.interpolate(x, size=(7, 9), mode="bicubic", align_corners=False), 1, 3, 4, 4),
    "draw_interpolate_nearest": of_draw(lambda x: F.interpolate(x, scale_factor=2), 1, 3, 4, 4),
    "draw_pad": of_draw(lambda x: F.pad(x, (1, 2), mode="reflect"), 2, 3, 4),
    "draw_layer_norm": of_draw(lambda x: F.layer_norm(x, (6,))),
    "draw_erf": buffers(truncated),
    "draw_complex": of_draw(lambda x: torch.view_as_real(torch.polar(x.abs(), x))),
    "draw_view_as_complex": of_draw(lambda x: torch.view_as_real(torch.view_as_complex(x) * torch.view_as_complex(x)), 4, 2),
    "draw_angle": of_draw(lambda x: torch.atan2(x, x.mT)),
    "draw_double": of_draw(lambda x: (x.double() @ x.double()).float()),
    "draw_half": of_draw(lambda x: x.bfloat16().softmax(-1)),
    "draw_weight_in_place": weighted(lambda w: w.copy_(torch.linalg.qr(w)[0]).mul_(1.5)),
    "draw_out": weighted(lambda w: torch.mm(w.clone(), w.clone(), out=w)),
    "draw_diagonal": weighted(lambda w: w.diagonal().tanh_()),
    "draw_strided": weighted(lambda w: w[:, ::2].sigmoid_()),
    "power_iteration": buffers(power_iteration),
    "random_features": buffers(random_features),
    "icnr": weighted(lambda w: pixel_shuffle_init(w[:4])),
    "orthogonal": lambda: nn.Sequential(parametrizations.orthogonal(nn.Linear(5, 5)), nn.Linear(2, 2)),
    "orthogonal_tall": lambda: nn.Sequential(parametrizations.orthogonal(nn.Linear(4, 7)), nn.Linear(2, 2)),
    "orthogonal_wide": lambda: nn.Sequential(parametrizations.orthogonal(nn.Linear(7, 4)), nn.Linear(2, 2)),
    "orthogonal_cayley": lambda: parametrizations.orthogonal(nn.Linear(5, 5), orthogonal_map="cayley"),
    "orthogonal_householder": lambda: parametrizations.orthogonal(nn.Linear(5, 5), orthogonal_map="householder"),
    "spectral_norm": lambda: nn.Sequential(parametrizations.spectral_norm(nn.Linear(5, 4)), nn.Linear(2, 2)),
    "spectral_norm_conv": lambda: nn.Sequential(parametrizations.spectral_norm(nn.Conv2d(3, 4, 3), n_power_iterations=3), nn.Linear(2, 2)),
    "old_spectral_norm": lambda: nn.Sequential(torch.nn.utils.spectral_norm(nn.Linear(5, 4)), nn.Linear(2, 2)),
    "weight_norm": lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(5, 4)), nn.Linear(2, 2)),
    "old_weight_norm": lambda: nn.Sequential(torch.nn.utils.weight_norm(nn.Linear(5, 4), dim=None), nn.Linear(2, 2)),
    "parametrized": parametrized,
}

DRAWS = {
    "bernoulli_": buffers(lambda m: torch.empty(40).bernoulli_(0.3)),
    "bernoulli": buffers(lambda m: torch.bernoulli(torch.full((5, 7), 0.25))),
    "bernoulli_of_draw": buffers(lambda m: torch.bernoulli(torch.rand(5, 7))),
    "bernoulli_tensor_in_place": buffers(lambda m: torch.empty(5, 7).bernoulli_(torch.rand(5, 7))),
    "bernoulli_p": buffers(lambda m: torch.bernoulli(torch.zeros(5, 7), 0.5)),
    "bernoulli_bool": buffers(lambda m: torch.empty(31, dtype=torch.bool).bernoulli_()),
    "randint": buffers(lambda m: torch.randint(0, 10, (33,))),
    "randint_wide": buffers(lambda m: torch.randint(-(2**40), 2**40, (3, 11))),
    "randint_float": buffers(lambda m: torch.randint(5, (4, 4), dtype=torch.float32)),
    "randint_like": buffers(lambda m: torch.randint_like(torch.zeros(4, 5), 3, 9)),
    "random_": buffers(lambda m: (torch.empty(9).random_(), torch.empty(9, dtype=torch.int32).random_(5), torch.empty(9, dtype=torch.int64).random_(-4, 7))),
    "random_signs": buffers(lambda m: torch.randint(0, 2, (6, 4)) * 2.0 - 1),
    "exponential_": buffers(lambda m: torch.empty(33).exponential_(1.5)),
    "exponential_double": buffers(lambda m: torch.empty(9, dtype=torch.float64).exponential_()),
    "gumbel": buffers(gumbel),
    "geometric_": buffers(lambda m: torch.empty(33).geometric_(0.3)),
    "log_normal_": buffers(lambda m: torch.empty(33).log_normal_(0.5, 0.25)),
    "cauchy_": buffers(lambda m: torch.empty(33).cauchy_(1, 2)),
    "multinomial": buffers(lambda m: torch.multinomial(torch.tensor([0.1, 0.2, 0.7]), 20, replacement=True)),
    "multinomial_without": buffers(lambda m: torch.multinomial(torch.rand(4, 9), 3)),
    "poisson": buffers(lambda m: torch.poisson(torch.full((20,), 3.5))),
    "dropout": buffers(lambda m: F.dropout(torch.ones(6, 9), 0.4)),
    "dropout_of_weight": buffers(lambda m: F.dropout(m.first.weight.detach(), 0.5)),
    "randperm": buffers(lambda m: (torch.randperm(40), torch.randperm(7, dtype=torch.int32), torch.randperm(9, dtype=torch.float32))),
    "randperm_index": buffers(lambda m: torch.arange(20.0)[torch.randperm(20)]),
    "rand_double": buffers(lambda m: (torch.rand(5, dtype=torch.float64), torch.randn(40, dtype=torch.float16), torch.rand(5, dtype=torch.bfloat16))),
    "normal_tensor": buffers(lambda m: torch.normal(torch.arange(5.0), 0.5)),
    "normal_tensor_std": buffers(lambda m: torch.normal(0.0, torch.arange(1.0, 25.0))),
    "normal_both": buffers(lambda m: torch.normal(torch.arange(6.0).view(2, 3), torch.rand(2, 3))),
    "normal_sized": buffers(lambda m: torch.normal(0.0, 0.1, size=(40,))),
    "dead_draw": buffers(lambda m: [torch.empty(9).exponential_(), torch.rand(3)][1]),
    "strided_exponential": weighted(lambda w: w.t()[::2].exponential_()),
    "strided_bernoulli": weighted(lambda w: w[:, 1:4].bernoulli_(0.5)),
    "torch_distributions": buffers(lambda m: torch.distributions.Uniform(-1.0, 2.0).sample((6,))),
    "torch_normal": buffers(lambda m: torch.distributions.Normal(0.0, 2.0).sample((6,))),
    "torch_categorical": buffers(lambda m: torch.distributions.Categorical(torch.tensor([0.2, 0.8])).sample((6,))),
    "signed_permutation": weighted(lambda w: w.copy_(torch.eye(6)[torch.randperm(6)] * (torch.randint(0, 2, (6, 1)) * 2 - 1))),
    "sparse_mask": buffers(lambda m: m.first.weight.detach() * (torch.rand(7, 5) < 0.3)),
}

STREAMS = {
    "own_generator": buffers(lambda m: torch.randn(5, generator=own())),
    "own_generator_default_seed": buffers(lambda m: torch.randn(5, generator=torch.Generator())),
    "own_generator_large_seed": buffers(lambda m: torch.randn(5, generator=own(2**63 + 5))),
    "own_generator_init": weighted(lambda w: nn.init.kaiming_uniform_(w, generator=own(1))),
    "own_generator_trunc": weighted(lambda w: nn.init.trunc_normal_(w, std=0.5, generator=own(1))),
    "own_generator_orthogonal": weighted(lambda w: nn.init.orthogonal_(w, generator=own(1))),
    "own_generator_randperm": buffers(lambda m: torch.randperm(30, generator=own(0))),
    "own_generator_exponential": buffers(lambda m: torch.empty(20).exponential_(generator=own(9))),
    "own_generator_randint": buffers(lambda m: torch.randint(0, 9, (20,), generator=own(9))),
    "own_generator_cached_normal": buffers(lambda m: (lambda g: (torch.randn(5, generator=g), torch.randn(5, generator=g)))(own(3))),
    "two_generators": buffers(two_generators),
    "fork_rng": forked(11),
    "fork_rng_again": buffers(lambda m: {**forked(11)()._buffers, **{"x": torch.rand(2)}}),
    "restored": buffers(restored),
    "reseeded": buffers(reseeded),
    "manual_seed": buffers(lambda m: [torch.manual_seed(0), torch.randn(9)][1:]),
    "manual_seed_last": buffers(lambda m: [torch.rand(3), torch.manual_seed(5)][:1]),
    "manual_seed_negative": buffers(lambda m: [torch.manual_seed(-3), torch.randn(3)][1:]),
    "default_generator_manual_seed": buffers(lambda m: [torch.default_generator.manual_seed(3), torch.randn(3)][1:]),
    "from_default": buffers(from_default),
    "into_default": buffers(into_default),
    "seeded_python": buffers(seeded_python),
    "seeded_initial_seed": buffers(lambda m: [torch.manual_seed(8), torch.manual_seed(torch.initial_seed() + 1), torch.rand(3)][2:]),
    "unused_generator": buffers(lambda m: [own(3), torch.rand(3)][1:]),
}

def pruned(f):
    def construct():
        layer = nn.Linear(6, 5)
        f(layer)
        return nn.Sequential(layer, nn.Linear(2, 2))

    return construct


def in_double(f):
    def make(m):
        torch.set_default_dtype(torch.float64)
        try:
            return f()
        finally:
            torch.set_default_dtype(torch.float32)

    return buffers(make)


MORE = {
    "more_init_gens": weighted(lambda w: [nn.init.xavier_uniform_(w,generator=own(1)),nn.init.sparse_(w,0.3,generator=own(2))]),
    "more_fork_devices": buffers(lambda m: [torch.random.fork_rng(devices=[]).__enter__(), torch.rand(3)][1:]),
    "more_ortho_after_init": lambda: parametrizations.orthogonal((lambda l: (nn.init.orthogonal_(l.weight), l)[1])(nn.Linear(5,5))),
    "more_prune_random": pruned(lambda l: prune.random_unstructured(l,"weight",0.3)),
    "more_prune_l1": pruned(lambda l: prune.l1_unstructured(l,"weight",4)),
    "more_prune_rs": pruned(lambda l: prune.random_structured(l,"weight",0.4,dim=0)),
    "more_prune_ln": pruned(lambda l: prune.ln_structured(l,"weight",0.4,2,dim=1)),
    "more_prune_remove": pruned(lambda l: (prune.random_unstructured(l,"weight",0.3), prune.remove(l,"weight"))),
    "more_onehot": buffers(lambda m: F.one_hot(torch.randint(0,5,(9,)),5)),
    "more_gamma": buffers(lambda m: torch.distributions.Gamma(2.0,3.0).sample((5,))),
    "more_beta": buffers(lambda m: torch.distributions.Beta(2.0,3.0).sample((5,))),
    "more_dirichlet": buffers(lambda m: torch.distributions.Dirichlet(torch.ones(4)).sample((5,))),
    "more_laplace": buffers(lambda m: torch.distributions.Laplace(0.0,3.0).sample((5,))),
    "more_bern": buffers(lambda m: torch.distributions.Bernoulli(0.3).sample((5,))),
    "more_mvn": buffers(lambda m: torch.distributions.MultivariateNormal(torch.zeros(3), torch.eye(3)).sample((5,))),
    "more_gumbelsoft": of_draw(lambda x: F.gumbel_softmax(x)),
    "more_cauchyd": buffers(lambda m: torch.distributions.Cauchy(0.0,1.0).sample((5,))),
    "more_expd": buffers(lambda m: torch.distributions.Exponential(2.0).sample((5,))),
    "more_vonmises": buffers(lambda m: torch.distributions.HalfNormal(2.0).sample((5,))),
    "more_cross": of_draw(lambda x: torch.linalg.cross(x[:,:3],x[:,3:])),
    "more_diag": of_draw(lambda x: (torch.diag(x[0]), torch.diag(x), x.diagonal().clone(), torch.diagflat(x[1]))),
    "more_kron": of_draw(lambda x: torch.kron(x, torch.eye(2))),
    "more_tensordot": of_draw(lambda x: torch.tensordot(x,x,dims=1)),
    "more_multi_dot": of_draw(lambda x: torch.linalg.multi_dot([x,x,x])),
    "more_lu": of_draw(lambda x: torch.linalg.lu(x),7,4),
    "more_lu_unpack": of_draw(lambda x: torch.lu_unpack(*torch.linalg.lu_factor(x)),4,7),
    "more_median": of_draw(lambda x: (x.median(), x.median(0).values, x.nanmedian())),
    "more_quantile": of_draw(lambda x: (x.quantile(0.3), x.quantile(torch.tensor([0.1,0.9]),dim=0))),
    "more_clamp_t": of_draw(lambda x: x.clamp(min=torch.zeros(6))),
    "more_sumdt": of_draw(lambda x: x.sum(dtype=torch.float64)),
    "more_fill_diag": of_draw(lambda x: x.fill_diagonal_(3.0)),
    "more_index_ops": of_draw(lambda x: (x.index_fill(0,torch.tensor([1]),2.0), x.index_add(0,torch.tensor([1,2]),x[:2]), x.index_copy(0,torch.tensor([0,1]),x[2:4]), x.take(torch.tensor([3,7])), x.put(torch.tensor([1,2]),torch.tensor([5.,6.])))),
    "more_renorm": of_draw(lambda x: x.renorm(2,0,1.0)),
    "more_masked_fill_t": of_draw(lambda x: x.masked_fill(x>0, torch.tensor(0.3))),
    "more_cov": of_draw(lambda x: (torch.cov(x), torch.corrcoef(x))),
    "more_dd": in_double(lambda: (torch.linspace(0,1,40000), torch.arange(20000)/3, torch.randn(4), torch.empty(5).exponential_(), torch.rand(3,3)@torch.rand(3,3))),
    "more_unfold": of_draw(lambda x: x.unfold(0,2,1).clone()),
    "more_avgpool": of_draw(lambda x: F.avg_pool2d(x,2),1,3,4,4),
    "more_adaptive": of_draw(lambda x: F.adaptive_avg_pool2d(x,2),1,3,4,4),
    "more_gn": of_draw(lambda x: F.group_norm(x, 3)),
    "more_rms": of_draw(lambda x: F.rms_norm(x,(6,))),
    "more_sdpa": of_draw(lambda x: F.scaled_dot_product_attention(x,x,x),2,3,4),
    "more_linear": of_draw(lambda x: F.linear(x, x, x[0])),
    "more_emb": buffers(lambda m: F.embedding(torch.arange(6)%3, torch.randn(3,4))),
    "more_randemb": buffers(lambda m: F.embedding(torch.randint(0,3,(5,)), torch.randn(3,4))),
    "more_cosine": of_draw(lambda x: F.cosine_similarity(x,x.flip(0))),
    "more_pairwise": of_draw(lambda x: F.pairwise_distance(x,x.flip(0))),
    "more_cumtrapz": of_draw(lambda x: torch.cumulative_trapezoid(x)),
    "more_diff": of_draw(lambda x: x.diff()),
    "more_stackrepeat": of_draw(lambda x: x.repeat(2,2).tile(2)),
    "more_searchsorted": of_draw(lambda x: torch.searchsorted(torch.linspace(-1,1,9), x)),
    "more_bucketize": of_draw(lambda x: torch.bucketize(x, torch.linspace(-1,1,9))),
    "more_nanton": of_draw(lambda x: x.log().nan_to_num()),
    "more_isnan": of_draw(lambda x: (x.isnan(), x.isfinite(), x.isclose(x))),
    "more_copysign": of_draw(lambda x: (x.copysign(-1.0), x.hypot(x), x.heaviside(torch.tensor(0.5)), x.signbit())),
    "more_pixelshuffle": of_draw(lambda x: F.pixel_shuffle(x,2),1,4,3,3),
    "more_interp_bil": of_draw(lambda x: F.interpolate(x,size=(7,5),mode="bilinear",antialias=True),1,2,4,4),
    "more_interp_lin": of_draw(lambda x: F.interpolate(x,size=7,mode="linear"),1,2,4),
    "more_interp_area": of_draw(lambda x: F.interpolate(x,size=2,mode="area"),1,2,4),
    "more_complexdraw": buffers(lambda m: torch.view_as_real(torch.randn(4,4,dtype=torch.complex64)@torch.randn(4,4,dtype=torch.complex64))),
    "more_cplxparam": buffers(lambda m: torch.randn(4,4,dtype=torch.complex64).mH.contiguous()),
    "more_exp_complex": buffers(lambda m: torch.exp(1j*torch.randn(4,4))),
    "more_eig": of_draw(lambda x: torch.linalg.eig(x)),
    "more_eigvals": of_draw(lambda x: torch.linalg.eigvals(x)),
    "more_norms": of_draw(lambda x: (torch.linalg.norm(x,2), torch.linalg.norm(x,'nuc'), torch.linalg.norm(x), torch.linalg.matrix_norm(x,1), x.norm(dim=0), torch.linalg.cond(x))),
    "more_eigvalsh": of_draw(lambda x: torch.linalg.eigvalsh(x@x.mT)),
    "more_svdv_grad": buffers(lambda m: torch.linalg.svdvals(m.first.weight).detach()),
    "more_svd_lowrank": of_draw(lambda x: torch.svd_lowrank(x, q=2)),
    "more_expm_in": weighted(lambda w: w.copy_(torch.matrix_exp(w-w.t()))),
    "more_argmax_index": of_draw(lambda x: x[x.argmax(0), torch.arange(6)]),
    "more_scatter_rand": of_draw(lambda x: torch.zeros(6,6).scatter_(1, x.topk(2,1).indices, 1.0)),
    "more_sort_stable": of_draw(lambda x: x.sort(stable=True,dim=1)),
    "more_msort": of_draw(lambda x: x.msort()),
    "more_unsorted_topk": of_draw(lambda x: x.topk(2,0,largest=False,sorted=False)),
    "more_kth": of_draw(lambda x: x.kthvalue(2).values),
    "more_sub_rows": of_draw(lambda x: torch.stack([r/r.norm() for r in x])),
    "more_gramschmidt": of_draw(lambda x: (lambda q: torch.stack(q))([x[0], x[1]-(x[1]@x[0])*x[0]])),
    "more_randint_out": buffers(lambda m: torch.randint(0,4,(3,),out=torch.empty(3,dtype=torch.int64))),
    "more_bernoulli_out": buffers(lambda m: torch.bernoulli(torch.full((3,),0.5), out=torch.empty(3))),
    "more_normal_out": buffers(lambda m: torch.normal(torch.zeros(3), torch.ones(3), out=torch.empty(3))),
    "more_rand_perm_rows": weighted(lambda w: w.copy_(w[torch.randperm(6)])),
    "more_where1": of_draw(lambda x: torch.where(x>0, 1.0, 0.0)),
    "more_alpha_dropout": of_draw(lambda x: F.alpha_dropout(x,0.3,training=True)),
    "more_dropout2d": of_draw(lambda x: F.dropout2d(x,0.3),2,3,4),
    "more_fadropout": of_draw(lambda x: F.feature_alpha_dropout(x,0.3),2,3,4),
    "more_mha_fwd": buffers(lambda m: nn.MultiheadAttention(8,2)(torch.randn(3,1,8),torch.randn(3,1,8),torch.randn(3,1,8))[0].detach()),
    "more_tel_fwd": buffers(lambda m: nn.TransformerEncoderLayer(8,2,16)(torch.randn(3,1,8)).detach()),
    "more_gen_passed_around": (lambda: (lambda g: nn.Sequential(*[ (lambda l: (nn.init.normal_(l.weight,generator=g), l)[1])(nn.Linear(3,3)) for _ in range(3)]))(own(4))),
    "more_deepcopy_gen": buffers(lambda m: (lambda g: (torch.rand(2,generator=g), torch.rand(2,generator=g.clone_state()), torch.rand(2,generator=g)))(own(4))),
    "more_npseed_torch": buffers(lambda m: torch.from_numpy(np.random.RandomState(0).randn(5))),
    "more_random_obj": buffers(lambda m: torch.tensor(random.Random(3).sample(range(10),4))),
    "more_state_dict_seed": buffers(lambda m: [torch.set_rng_state(own(3).get_state()), torch.rand(3)][1:]),
    "more_gen_device": buffers(lambda m: torch.rand(3, generator=torch.Generator("cpu").manual_seed(2))),
}

def kept_forward(layer, *shape):
    """The output of a forward pass over a draw."""
    def make(m):
        made = layer()(torch.randn(*shape))
        return [x.detach() for x in tree_flatten(made)[0]]

    return buffers(make)


LIBRARIES = {
    "lib_lstsq": of_draw(lambda x: torch.linalg.lstsq(x, x[:, :2] + 1, driver="gelsd")),
    "lib_lstsq_tall": of_draw(lambda x: (torch.linalg.lstsq(x, torch.randn(9, 2), driver="gels").solution, *torch.linalg.lstsq(x, torch.randn(9, 2), driver="gelss")), 9, 4),
    "lib_lstsq_wide": of_draw(lambda x: torch.linalg.lstsq(x, torch.randn(4, 3), driver="gelsd"), 4, 9),
    "lib_lstsq_batch": of_draw(lambda x: torch.linalg.lstsq(x, torch.ones(2, 5, 1), driver="gels").solution, 2, 5, 3),
    "lib_block_diag": of_draw(lambda x: (torch.block_diag(x, x[:2], x[0], torch.ones(3), torch.tensor(2.0)), torch.block_diag(x[0]))),
    "lib_cdist": of_draw(lambda x: (torch.cdist(x, x[:3]), torch.cdist(x, x, p=1.0), torch.cdist(x[None], torch.randn(2, 4, 6), p=math.inf))),
    "lib_cdist_large": buffers(lambda m: torch.cdist(torch.randn(40, 5), torch.randn(30, 5))),
    "lib_pdist": of_draw(lambda x: F.pdist(x)),
    "lib_rrelu": of_draw(lambda x: (F.rrelu(x, training=True), nn.RReLU(0.2, 0.4)(x), F.rrelu(x), F.rrelu(x.clone(), training=True, inplace=True), torch.rand(3))),
    "lib_rrelu_double": of_draw(lambda x: F.rrelu(x.double().t(), training=True)),
    "lib_fft": of_draw(lambda x: (torch.fft.fft(x[0]), torch.fft.rfft(x[:1]), torch.fft.fft2(x.to(torch.complex64)[None]), torch.fft.ifft(torch.complex(x[0], x[1])))),
    "lib_fft_inverse": of_draw(lambda x: (torch.fft.irfft(torch.fft.rfft(x[0])), torch.fft.irfft(torch.complex(x[:1], x[1:2]), n=9), torch.fft.hfft(torch.complex(x[0], x[1])))),
    "lib_fft_double": of_draw(lambda x: torch.fft.irfft(torch.fft.rfft(x[0].double(), n=17), n=17)),
    "lib_stft": of_draw(lambda x: torch.view_as_real(torch.stft(x.flatten(), 36, window=torch.hann_window(36), return_complex=True, center=False)), 1, 36),
    "lib_lstm": kept_forward(lambda: nn.LSTM(6, 5), 4, 2, 6),
    "lib_lstm_layers": kept_forward(lambda: nn.LSTM(6, 5, 2, bidirectional=True, batch_first=True), 3, 4, 6),
    "lib_lstm_plain": kept_forward(lambda: nn.LSTM(6, 5, bias=False).eval().requires_grad_(False), 4, 2, 6),
    "lib_lstm_no_grad": torch.no_grad()(kept_forward(lambda: nn.LSTM(6, 5, 2), 4, 2, 6)),
    "lib_lstm_projected": kept_forward(lambda: nn.LSTM(6, 5, proj_size=3), 4, 2, 6),
    "lib_gru": kept_forward(lambda: nn.GRU(6, 5, 2, bidirectional=True), 4, 2, 6),
    "lib_rnn": kept_forward(lambda: nn.RNN(6, 5, nonlinearity="relu"), 4, 2, 6),
    "lib_cells": buffers(lambda m: (nn.LSTMCell(6, 5)(torch.randn(2, 6))[1].detach(), nn.GRUCell(6, 5)(torch.randn(2, 6)).detach())),
    "lib_cholesky_solve": of_draw(lambda x: torch.cholesky_solve(x, torch.linalg.cholesky(spd(x)))),
    "lib_masked_scatter": of_draw(lambda x: (x.masked_scatter(torch.eye(6, dtype=torch.bool), torch.randn(6)), torch.isin(x, x[0]), F.glu(x), x.addbmm(x[None], x[None]))),
    "lib_masked_select": of_draw(lambda x: (x.masked_select(torch.eye(6, dtype=torch.bool)), x[0].masked_select(torch.ones(2, 6).triu() > 0), torch.combinations(x[0]))),
    "lib_known": buffers(lambda m: (torch.fft.irfft(torch.ones(300, 101, dtype=torch.complex64)), torch.cdist(torch.arange(400.0).view(200, 2), torch.arange(400.0).view(200, 2)))),
}

CONSTRUCTORS = {**CONSTANTS, **COMPUTED, **DRAWS, **STREAMS, **MORE, **LIBRARIES}
