"""Models as books, tutorials and small repositories write them, in their ways of initialization: `BOOKS`."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


# ---------------------------------------------------------------- GPTs


class CausalSelfAttention(nn.Module):
    def __init__(self, width, heads, block):
        super().__init__()
        self.c_attn = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)
        self.attn_dropout = nn.Dropout(0.1)
        self.register_buffer("bias", torch.tril(torch.ones(block, block)).view(1, 1, block, block))


class Block(nn.Module):
    def __init__(self, width, heads, block):
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = CausalSelfAttention(width, heads, block)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.ModuleDict(dict(c_fc=nn.Linear(width, 4 * width), act=nn.GELU(), c_proj=nn.Linear(4 * width, width)))


class NanoGPT(nn.Module):
    """karpathy/nanoGPT."""

    def __init__(self, vocabulary=5000, block=1024, width=192, heads=6, layers=4):
        super().__init__()
        self.transformer = nn.ModuleDict(dict(
            wte=nn.Embedding(vocabulary, width), wpe=nn.Embedding(block, width), drop=nn.Dropout(0.1),
            h=nn.ModuleList([Block(width, heads, block) for _ in range(layers)]), ln_f=nn.LayerNorm(width)))
        self.lm_head = nn.Linear(width, vocabulary, bias=False)
        self.transformer.wte.weight = self.lm_head.weight
        self.apply(self._init_weights)
        for name, p in self.named_parameters():
            if name.endswith("c_proj.weight"):
                nn.init.normal_(p, mean=0.0, std=0.02 / math.sqrt(2 * layers))

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, mean=0.0, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, mean=0.0, std=0.02)


class NewGELU(nn.Module):
    pass


class MinGPT(NanoGPT):
    """karpathy/minGPT: LayerNorms are set too."""

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            module.weight.data.normal_(mean=0.0, std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.LayerNorm):
            module.bias.data.zero_()
            module.weight.data.fill_(1.0)


class Head(nn.Module):
    """A head of the lecture on GPT, "Let's build GPT"."""

    def __init__(self, width, size, block):
        super().__init__()
        self.key = nn.Linear(width, size, bias=False)
        self.query = nn.Linear(width, size, bias=False)
        self.value = nn.Linear(width, size, bias=False)
        self.register_buffer("tril", torch.tril(torch.ones(block, block)))


def lecture_gpt():
    return nn.ModuleDict(dict(
        token_embedding_table=nn.Embedding(65, 64), position_embedding_table=nn.Embedding(256, 64),
        heads=nn.ModuleList(Head(64, 16, 256) for _ in range(4)), lm_head=nn.Linear(64, 65)))


class BookGPT(nn.Module):
    """Raschka's: the mask is an upper triangle."""

    def __init__(self, width=96, context=1024):
        super().__init__()
        self.tok_emb, self.pos_emb = nn.Embedding(1000, width), nn.Embedding(context, width)
        self.attention = nn.ModuleList([nn.Linear(width, width, bias=False) for _ in range(3)])
        self.register_buffer("mask", torch.triu(torch.ones(context, context), diagonal=1))
        self.scale, self.shift = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.out_head = nn.Linear(width, 1000, bias=False)


class RMSNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))


def precompute_freqs_cis(width, length, theta=10000.0):
    freqs = 1.0 / (theta ** (torch.arange(0, width, 2)[: (width // 2)].float() / width))
    freqs = torch.outer(torch.arange(length, device=freqs.device), freqs).float()
    return torch.cos(freqs), torch.sin(freqs)


class Llama2c(nn.Module):
    """karpathy/llama2.c."""

    def __init__(self, width=128, layers=3, heads=4, vocabulary=2000, length=2048):
        super().__init__()
        self.tok_embeddings = nn.Embedding(vocabulary, width)
        self.layers = nn.ModuleList()
        for _ in range(layers):
            self.layers.append(nn.ModuleDict(dict(
                wq=nn.Linear(width, width, bias=False), wk=nn.Linear(width, width, bias=False),
                wv=nn.Linear(width, width, bias=False), wo=nn.Linear(width, width, bias=False),
                w1=nn.Linear(width, 344, bias=False), w2=nn.Linear(344, width, bias=False), w3=nn.Linear(width, 344, bias=False),
                attention_norm=RMSNorm(width), ffn_norm=RMSNorm(width))))
        mask = torch.full((1, 1, 256, 256), float("-inf"))
        self.register_buffer("mask", torch.triu(mask, diagonal=1))
        self.norm, self.output = RMSNorm(width), nn.Linear(width, vocabulary, bias=False)
        self.tok_embeddings.weight = self.output.weight
        cos, sin = precompute_freqs_cis(width // heads, length)
        self.register_buffer("freqs_cos", cos, persistent=False)
        self.register_buffer("freqs_sin", sin, persistent=False)
        self.apply(lambda m: torch.nn.init.normal_(m.weight, mean=0.0, std=0.02) if isinstance(m, (nn.Linear, nn.Embedding)) else None)
        for name, p in self.named_parameters():
            if name.endswith("w3.weight") or name.endswith("wo.weight"):
                torch.nn.init.normal_(p, mean=0.0, std=0.02 / math.sqrt(2 * layers))


class Llama(Llama2c):
    """Meta's reference: complex rotations."""

    def __init__(self):
        super().__init__()
        freqs = 1.0 / (10000.0 ** (torch.arange(0, 32, 2)[:16].float() / 32))
        freqs = torch.outer(torch.arange(4096), freqs)
        self.register_buffer("freqs_cis", torch.polar(torch.ones_like(freqs), freqs), persistent=False)


class RelativeAttention(nn.Module):
    """T5's and ALiBi's biases as buffers."""

    def __init__(self, heads=8, length=512):
        super().__init__()
        slopes = torch.tensor([2 ** (-8 * (i + 1) / heads) for i in range(heads)])
        distance = torch.arange(length)[None, :] - torch.arange(length)[:, None]
        self.register_buffer("alibi", (slopes[:, None, None] * distance.abs().neg()[None]).masked_fill(distance > 0, float("-inf")))
        self.register_buffer("bucket", torch.clamp(distance + 128, 0, 255))
        self.table = nn.Parameter(torch.zeros(256, heads))
        nn.init.trunc_normal_(self.table, std=0.02)


# ---------------------------------------------------------------- transformers of tutorials


class PositionalEncoding(nn.Module):
    def __init__(self, width, length=5000):
        super().__init__()
        position = torch.arange(length).unsqueeze(1)
        div_term = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
        pe = torch.zeros(length, 1, width)
        pe[:, 0, 0::2] = torch.sin(position * div_term)
        pe[:, 0, 1::2] = torch.cos(position * div_term)
        self.register_buffer("pe", pe)


class TransformerTutorial(nn.Module):
    def __init__(self):
        super().__init__()
        self.pos_encoder = PositionalEncoding(64)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 2, 64, 0.2), 2)
        self.embedding, self.linear = nn.Embedding(1000, 64), nn.Linear(64, 1000)
        self.embedding.weight.data.uniform_(-0.1, 0.1)
        self.linear.bias.data.zero_()
        self.linear.weight.data.uniform_(-0.1, 0.1)


class AnnotatedTransformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.transformer = nn.Transformer(64, 4, 2, 2, 128)
        self.source, self.target = nn.Embedding(500, 64), nn.Embedding(500, 64)
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.xavier_uniform_(p)


class NumpyPositions(nn.Module):
    """d2l's and many others': sinusoids in numpy."""

    def __init__(self, length=1000, width=128):
        super().__init__()
        table = np.array([[p / np.power(10000, 2 * (j // 2) / width) for j in range(width)] for p in range(length)])
        table[:, 0::2], table[:, 1::2] = np.sin(table[:, 0::2]), np.cos(table[:, 1::2])
        self.positions = nn.Embedding.from_pretrained(torch.FloatTensor(table), freeze=True)
        self.register_buffer("table", torch.from_numpy(table))
        self.linear = nn.Linear(width, 4)


def positions_2d(width, size):
    """MAE's."""
    grid = np.stack(np.meshgrid(np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32)), axis=0).reshape(2, -1)
    omega = 1.0 / 10000 ** (np.arange(width // 4, dtype=np.float64) / (width / 4.0))
    halves = [np.einsum("m,d->md", axis, omega) for axis in grid]
    return np.concatenate([part for half in halves for part in (np.sin(half), np.cos(half))], axis=1)


class ViT(nn.Module):
    """lucidrains' and MAE's, together."""

    def __init__(self, width=192, size=14, layers=3):
        super().__init__()
        self.patch = nn.Conv2d(3, width, 16, 16)
        self.cls_token = nn.Parameter(torch.randn(1, 1, width))
        self.pos_embedding = nn.Parameter(torch.randn(1, size * size + 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, size * size + 1, width), requires_grad=False)
        table = np.concatenate([np.zeros([1, width]), positions_2d(width, size)], axis=0)
        self.pos_embed.data.copy_(torch.from_numpy(table).float().unsqueeze(0))
        w = self.patch.weight.data
        nn.init.xavier_uniform_(w.view([w.shape[0], -1]))
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(width, 3, 4 * width, batch_first=True) for _ in range(layers))
        self.head = nn.Linear(width, 10)
        for m in self.modules():
            if isinstance(m, nn.Linear):
                nn.init.trunc_normal_(m.weight, std=0.02)
                if m.bias is not None:
                    nn.init.constant_(m.bias, 0)


class SwinWindow(nn.Module):
    """Swin's relative positions and mask of shifted windows."""

    def __init__(self, window=7, heads=3, height=56):
        super().__init__()
        self.table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        coords = torch.stack(torch.meshgrid([torch.arange(window), torch.arange(window)], indexing="ij"))
        flat = torch.flatten(coords, 1)
        relative = (flat[:, :, None] - flat[:, None, :]).permute(1, 2, 0).contiguous()
        relative[:, :, 0] += window - 1
        relative[:, :, 1] += window - 1
        relative[:, :, 0] *= 2 * window - 1
        self.register_buffer("relative_position_index", relative.sum(-1))
        mask, count = torch.zeros((1, height, height, 1)), 0
        for h in (slice(0, -window), slice(-window, -3), slice(-3, None)):
            for w in (slice(0, -window), slice(-window, -3), slice(-3, None)):
                mask[:, h, w, :] = count
                count += 1
        windows = mask.view(1, height // window, window, height // window, window, 1).permute(0, 1, 3, 2, 4, 5).reshape(-1, window * window)
        attention = windows.unsqueeze(1) - windows.unsqueeze(2)
        self.register_buffer("attn_mask", attention.masked_fill(attention != 0, -100.0).masked_fill(attention == 0, 0.0))
        nn.init.trunc_normal_(self.table, std=0.02)


# ---------------------------------------------------------------- state spaces, mixtures, adapters


class Mamba(nn.Module):
    """state-spaces/mamba, and mamba-minimal."""

    def __init__(self, width=64, state=16, expand=2, dt_min=0.001, dt_max=0.1):
        super().__init__()
        inner, rank = expand * width, math.ceil(width / 16)
        self.in_proj = nn.Linear(width, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, 4, groups=inner, padding=3)
        self.x_proj = nn.Linear(inner, rank + 2 * state, bias=False)
        self.dt_proj = nn.Linear(rank, inner, bias=True)
        nn.init.uniform_(self.dt_proj.weight, -(rank**-0.5), rank**-0.5)
        dt = torch.exp(torch.rand(inner) * (math.log(dt_max) - math.log(dt_min)) + math.log(dt_min)).clamp(min=1e-4)
        inv_dt = dt + torch.log(-torch.expm1(-dt))
        with torch.no_grad():
            self.dt_proj.bias.copy_(inv_dt)
        A = torch.arange(1, state + 1, dtype=torch.float32).repeat(inner, 1)
        self.A_log = nn.Parameter(torch.log(A))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, width, bias=False)


class S4D(nn.Module):
    """S4D's diagonal kernel, with complex numbers."""

    def __init__(self, width=32, state=64):
        super().__init__()
        log_dt = torch.rand(width) * (math.log(0.1) - math.log(0.001)) + math.log(0.001)
        self.C = nn.Parameter(torch.view_as_real(torch.randn(width, state // 2, dtype=torch.cfloat)))
        self.log_dt = nn.Parameter(log_dt)
        self.log_A_real = nn.Parameter(torch.log(0.5 * torch.ones(width, state // 2)))
        self.A_imag = nn.Parameter(math.pi * torch.arange(state // 2).repeat(width, 1))
        self.D = nn.Parameter(torch.randn(width))


class HiPPO(nn.Module):
    """S4's matrix, from numpy."""

    def __init__(self, n=200):
        super().__init__()
        q = np.arange(n, dtype=np.float64)
        r = 2 * q + 1
        m = -(np.where(q[:, None] >= q[None, :], r[:, None], 0) - np.diag(q))
        t = np.sqrt(np.diag(2 * q + 1))
        self.register_buffer("A", torch.tensor(t @ m @ np.linalg.inv(t), dtype=torch.float32))
        self.B = nn.Parameter(torch.randn(n, 4) * 0.1)


class LoRA(nn.Module):
    def __init__(self, base=None, rank=8):
        super().__init__()
        self.base = base or nn.Linear(256, 256)
        self.base.requires_grad_(False)
        self.lora_A = nn.Parameter(torch.empty(rank, 256))
        self.lora_B = nn.Parameter(torch.zeros(256, rank))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))


class Mixture(nn.Module):
    def __init__(self, experts=8, width=64):
        super().__init__()
        self.gate = nn.Linear(width, experts, bias=False)
        self.w1 = nn.Parameter(torch.randn(experts, width, 4 * width) / math.sqrt(width))
        self.w2 = nn.Parameter(torch.empty(experts, 4 * width, width).normal_(0, 0.02))
        self.register_buffer("load", torch.zeros(experts))


# ---------------------------------------------------------------- images


def dcgan_weights(m):
    if m.__class__.__name__.find("Conv") != -1:
        nn.init.normal_(m.weight.data, 0.0, 0.02)
    elif m.__class__.__name__.find("BatchNorm") != -1:
        nn.init.normal_(m.weight.data, 1.0, 0.02)
        nn.init.constant_(m.bias.data, 0)


def dcgan():
    model = nn.Sequential(nn.ConvTranspose2d(100, 64, 4, 1, 0, bias=False), nn.BatchNorm2d(64), nn.ReLU(True),
                          nn.ConvTranspose2d(64, 3, 4, 2, 1, bias=False), nn.Tanh())
    model.apply(dcgan_weights)
    return model


class AtariDQN(nn.Module):
    """A size by a dummy forward, as most repositories of reinforcement learning have it."""

    def __init__(self, shape=(4, 84, 84), actions=6):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(shape[0], 32, 8, 4), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU(), nn.Conv2d(64, 64, 3, 1), nn.ReLU())
        size = int(np.prod(self.conv(torch.zeros(1, *shape)).size()))
        self.fc = nn.Sequential(nn.Linear(size, 512), nn.ReLU(), nn.Linear(512, actions))


class ActorCritic(nn.Module):
    """CleanRL's PPO."""

    @staticmethod
    def layer(layer, std=np.sqrt(2), bias=0.0):
        torch.nn.init.orthogonal_(layer.weight, std)
        torch.nn.init.constant_(layer.bias, bias)
        return layer

    def __init__(self):
        super().__init__()
        make = self.layer
        self.critic = nn.Sequential(make(nn.Linear(8, 64)), nn.Tanh(), make(nn.Linear(64, 64)), nn.Tanh(), make(nn.Linear(64, 1), std=1.0))
        self.actor_mean = nn.Sequential(make(nn.Linear(8, 64)), nn.Tanh(), make(nn.Linear(64, 2), std=0.01))
        self.actor_logstd = nn.Parameter(torch.zeros(1, 2))


class NoisyLinear(nn.Module):
    """Rainbow's: noise in buffers, drawn by the constructor."""

    def __init__(self, inputs=64, outputs=32, std=0.5):
        super().__init__()
        self.weight_mu = nn.Parameter(torch.empty(outputs, inputs))
        self.weight_sigma = nn.Parameter(torch.empty(outputs, inputs))
        self.register_buffer("weight_epsilon", torch.empty(outputs, inputs))
        bound = 1 / math.sqrt(inputs)
        self.weight_mu.data.uniform_(-bound, bound)
        self.weight_sigma.data.fill_(std / math.sqrt(inputs))
        scaled = lambda n: (lambda x: x.sign().mul_(x.abs().sqrt_()))(torch.randn(n))  # noqa: E731
        inputs, outputs = scaled(inputs), scaled(outputs)
        self.weight_epsilon.copy_(outputs.ger(inputs))


class UNet(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        double = lambda a, b: nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(), nn.Conv2d(b, b, 3, padding=1))  # noqa: E731
        self.down = nn.ModuleList([double(3, width), double(width, 2 * width)])
        self.up = nn.ConvTranspose2d(2 * width, width, 2, 2)
        self.out = nn.Conv2d(width, 2, 1)
        for m in self.modules():
            if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(m.bias)


class Diffusion(nn.Module):
    """DDPM's schedule as buffers, computed in float64 and cast."""

    def __init__(self, steps=1000):
        super().__init__()
        betas = torch.linspace(0.0001, 0.02, steps, dtype=torch.float64)
        alphas = torch.cumprod(1.0 - betas, dim=0)
        previous = F.pad(alphas[:-1], (1, 0), value=1.0)
        for name, value in {"betas": betas, "alphas_cumprod": alphas, "sqrt_alphas_cumprod": torch.sqrt(alphas),
                            "log_one_minus": torch.log(1.0 - alphas), "variance": betas * (1.0 - previous) / (1.0 - alphas)}.items():
            self.register_buffer(name, value.to(torch.float32))
        t = torch.linspace(0, steps, steps + 1, dtype=torch.float64) / steps
        cosine = torch.cos((t + 0.008) / 1.008 * math.pi * 0.5) ** 2
        self.register_buffer("cosine", torch.clip(1 - cosine[1:] / cosine[:-1], 0, 0.999))
        self.time = nn.Sequential(nn.Linear(32, 64), nn.SiLU(), nn.Linear(64, 64))
        self.fourier = nn.Parameter(torch.randn(16) * 16, requires_grad=False)


class NeRF(nn.Module):
    """NeRF's frequencies and SIREN's layers."""

    def __init__(self):
        super().__init__()
        self.register_buffer("bands", 2.0 ** torch.linspace(0.0, 9.0, 10))
        self.layers = nn.ModuleList([nn.Linear(60, 128), nn.Linear(128, 128), nn.Linear(128, 4)])
        with torch.no_grad():
            self.layers[0].weight.uniform_(-1 / 60, 1 / 60)
            self.layers[1].weight.uniform_(-np.sqrt(6 / 128) / 30, np.sqrt(6 / 128) / 30)


class Anchors(nn.Module):
    """SSD's boxes: lists of Python's numbers."""

    def __init__(self):
        super().__init__()
        boxes = [[(j + 0.5) / 38, (i + 0.5) / 38, 0.1 * s, 0.1 / s] for i in range(38) for j in range(38) for s in (1.0, 1.5, 2.0, 0.5)]
        self.register_buffer("boxes", torch.tensor(boxes).clamp_(max=1, min=0))
        self.conv = nn.Conv2d(16, 24, 3, padding=1)


class Blur(nn.Module):
    """Filters: Gaussian, Gabor, Haar, Sobel."""

    def __init__(self):
        super().__init__()
        x = torch.arange(-10, 11).float()
        kernel = torch.exp(-(x**2) / 18)
        kernel = kernel[:, None] * kernel[None]
        self.register_buffer("gaussian", (kernel / kernel.sum()).repeat(3, 1, 1, 1))
        self.register_buffer("haar", torch.kron(torch.eye(8), torch.tensor([[1.0, 1.0], [1.0, -1.0]])) / math.sqrt(2))
        self.conv = nn.Conv2d(1, 2, 3, bias=False)
        self.conv.weight.data = torch.tensor([[[1.0, 0, -1], [2, 0, -2], [1, 0, -1]], [[1, 2, 1], [0, 0, 0], [-1, -2, -1]]]).unsqueeze(1)


# ---------------------------------------------------------------- sound, sequences, graphs


class Mel(nn.Module):
    """A spectrogram's window, DFT and mel filters."""

    def __init__(self, n_fft=400, mels=80, rate=16000):
        super().__init__()
        self.register_buffer("window", torch.hann_window(n_fft))
        t = torch.arange(n_fft)
        angle = 2 * math.pi * t[:, None] * t[None, : n_fft // 2 + 1] / n_fft
        self.register_buffer("dft", torch.polar(torch.ones_like(angle), -angle), persistent=False)
        to_mel = lambda f: 2595 * np.log10(1 + f / 700)  # noqa: E731
        points = 700 * (10 ** (np.linspace(to_mel(0), to_mel(rate / 2), mels + 2) / 2595) - 1)
        frequencies = np.linspace(0, rate / 2, n_fft // 2 + 1)
        slopes = points[None] - frequencies[:, None]
        down, up = -slopes[:, :-2] / np.diff(points)[:-1], slopes[:, 2:] / np.diff(points)[1:]
        self.register_buffer("filters", torch.from_numpy(np.maximum(0, np.minimum(down, up))).float())
        self.conv = nn.Conv1d(mels, 16, 3)


class CharRNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.rnn, self.decoder = nn.Embedding(100, 32), nn.GRU(32, 64, 2), nn.Linear(64, 100)
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)
        for name, p in self.rnn.named_parameters():
            if "weight_hh" in name:
                for part in p.data.chunk(3, 0):
                    nn.init.orthogonal_(part)
            elif "bias" in name:
                p.data.fill_(0)


class ForgetGate(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(16, 32)
        for names in self.lstm._all_weights:
            for name in filter(lambda n: "bias" in n, names):
                bias = getattr(self.lstm, name)
                n = bias.size(0)
                bias.data[n // 4 : n // 2].fill_(1.0)


class GAT(nn.Module):
    def __init__(self):
        super().__init__()
        self.W, self.a = nn.Parameter(torch.empty(50, 16)), nn.Parameter(torch.empty(32, 1))
        nn.init.xavier_uniform_(self.W.data, gain=1.414)
        nn.init.xavier_uniform_(self.a.data, gain=1.414)
        self.B = nn.Parameter(torch.FloatTensor(16))
        self.B.data.uniform_(-1 / math.sqrt(16), 1 / math.sqrt(16))


class VectorQuantizer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(512, 64)
        self.embedding.weight.data.uniform_(-1 / 512, 1 / 512)
        self.register_buffer("cluster_size", torch.zeros(512))
        self.ema = nn.Parameter(torch.Tensor(512, 64))
        self.ema.data.normal_()


class RandomFeatures(nn.Module):
    """Performer's: orthogonal blocks by a QR decomposition of draws."""

    def __init__(self, rows=40, width=16):
        super().__init__()
        blocks = [torch.linalg.qr(torch.randn(width, width))[0].t() for _ in range(math.ceil(rows / width))]
        lengths = torch.randn(rows, width).norm(dim=1)
        self.register_buffer("projection", torch.diag(lengths) @ torch.cat(blocks)[:rows])


class Ensemble(nn.Module):
    """Copies of one model, drawn anew, and a target network."""

    def __init__(self):
        super().__init__()
        import copy

        self.net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
        self.target = copy.deepcopy(self.net)
        self.target.load_state_dict(self.net.state_dict())
        self.target.requires_grad_(False)
        self.more = nn.ModuleList(copy.deepcopy(self.net) for _ in range(3))
        for layer in self.more[1].modules():
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()


class KAN(nn.Module):
    """efficient-kan's grid and noise."""

    def __init__(self, inputs=8, outputs=6, size=5, order=3):
        super().__init__()
        grid = (torch.arange(-order, size + order + 1) * (2 / size) - 1).expand(inputs, -1).contiguous()
        self.register_buffer("grid", grid)
        self.base_weight = nn.Parameter(torch.Tensor(outputs, inputs))
        self.spline_weight = nn.Parameter(torch.Tensor(outputs, inputs, size + order))
        nn.init.kaiming_uniform_(self.base_weight, a=math.sqrt(5))
        with torch.no_grad():
            noise = (torch.rand(outputs, inputs, size + order) - 1 / 2) * 0.1 / size
            self.spline_weight.data.copy_(noise)


def mnist():
    return nn.Sequential(nn.LazyConv2d(32, 3), nn.ReLU(), nn.LazyConv2d(64, 3), nn.MaxPool2d(2), nn.Flatten(), nn.LazyLinear(128), nn.LazyLinear(10))


def lazy_mnist():
    """d2l's: a forward of ones, and then its own initialization."""
    model = mnist()
    model(torch.ones(1, 1, 28, 28))
    model.apply(lambda m: nn.init.xavier_uniform_(m.weight) if isinstance(m, (nn.Linear, nn.Conv2d)) else None)
    return model


BOOKS = {
    "nanoGPT": NanoGPT, "minGPT": MinGPT, "Let's build GPT": lecture_gpt, "Build a Large Language Model": BookGPT,
    "llama2.c": Llama2c, "llama": Llama, "ALiBi and T5's buckets": RelativeAttention, "transformer tutorial": TransformerTutorial,
    "Annotated Transformer": AnnotatedTransformer, "sinusoids in numpy": NumpyPositions, "ViT and MAE": ViT, "Swin's windows": SwinWindow,
    "Mamba": Mamba, "S4D": S4D, "HiPPO": HiPPO, "LoRA": LoRA, "mixture of experts": Mixture, "DCGAN": dcgan, "DQN": AtariDQN,
    "PPO": ActorCritic, "NoisyNet": NoisyLinear, "U-Net": UNet, "diffusion": Diffusion, "NeRF and SIREN": NeRF, "SSD's anchors": Anchors,
    "filters": Blur, "spectrogram": Mel, "char-RNN": CharRNN, "forget gates": ForgetGate, "GAT": GAT, "VQ-VAE": VectorQuantizer,
    "Performer": RandomFeatures, "target networks": Ensemble, "KAN": KAN, "lazy d2l": lazy_mnist,
}
