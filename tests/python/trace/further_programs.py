"""More training programs in which mistakes are planted: what models have that `programs.py` lacks."""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from programs import has


class Layer(nn.Module):
    """Attention of as many tokens as a head has channels, so that its matrices are square, and a network after it."""

    def __init__(self, index, width):
        super().__init__()
        self.index = index
        self.norm1 = nn.LayerNorm(width, eps=1.01e-5 if has("eps of one in twelve") and index == 7 else 1e-5)
        self.norm2 = nn.LayerNorm(width, eps=2e-5 if has("late eps") and index == 2 else 1e-5)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)
        self.mix = nn.Parameter(torch.randn(width, width) / 8)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = (z.view(b, t, 2, c // 2).transpose(1, 2) for z in self.qkv(self.norm1(x)).chunk(3, dim=-1))
        if has("values and keys") and self.index == 1:
            k, v = v, k
        scores = q @ (k.transpose(1, 2).reshape(b, 2, c // 2, t) if has("reshaped keys") and self.index == 0 else k.transpose(-2, -1))
        scores = scores / (math.sqrt(c) if has("root of width") else math.sqrt(c // 2))
        if has("upper mask"):
            mask = torch.ones(t, t).triu().bool()
        elif has("mask by one"):
            mask = torch.ones(t, t).tril(1).bool()
        else:
            mask = torch.ones(t, t).tril().bool()
        scores = scores.masked_fill(~mask, -math.inf)
        weights = F.softmax(scores, dim=-2 if has("softmax of columns") and self.index == 2 and not has("upper mask") else -1)
        y = (weights @ v).transpose(1, 2).reshape(b, t, c)
        y = y @ (self.mix if has("mix not transposed") and self.index == 1 else self.mix.t())
        x = x + self.out(y)
        h = self.norm2(x)
        if has("detached") and self.index == 1:
            h = h.detach()
        if has("one dropout") and self.index == 2:
            h = F.dropout(h, 0.1)
        return x + self.mlp(h)


class Decoder(nn.Module):
    def __init__(self, layers):
        super().__init__()
        width, tokens = 16, 30
        self.embed = nn.Embedding(tokens, width)
        self.layers = nn.ModuleList(Layer(i, width) for i in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, tokens, bias=False)
        self.register_buffer("positions", torch.randn(8, width) / 4)
        self.register_buffer("offsets", torch.randn(8, width) / 4)

    def forward(self, x):
        h = self.embed(x)
        h = h + (self.offsets if has("other buffer") else self.positions)
        if not has("first of two dropouts"):
            h = F.dropout(h, 0.1, self.training)
        h = h + self.offsets
        if not has("second of two dropouts"):
            h = F.dropout(h, 0.2, self.training)
        for layer in self.layers:
            h = layer(h)
        return self.head(self.norm(h))


def decoder(steps=2):
    """Tied weights, accumulated gradients, a schedule with warm-up, clipping."""
    torch.manual_seed(0)
    model = Decoder(3)
    untied = model.embed.weight.detach().clone()
    model.head.weight = nn.Parameter(untied) if has("not tied") else model.embed.weight
    batches = [(torch.randint(0, 30, (2, 8)), torch.randint(0, 30, (2, 8))) for _ in range(6)]
    for _, y in batches:
        y[0, 5:] = -100
    if has("batches exchanged"):
        batches[2], batches[3] = batches[3], batches[2]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, betas=(0.999, 0.9) if has("betas exchanged") else (0.9, 0.999))
    first = 1 if has("warm-up from zero") else 2 if has("warm-up late") else 1
    rate = (lambda step: (step + 2) / 10) if has("warm-up late") else (lambda step: (step + first) / 10)
    if has("schedule of epochs"):
        rate = lambda step: 0.1  # noqa: E731
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    torch.manual_seed(7)
    yield model
    for step in range(steps + (1 if has("one more step") else -1 if has("one step less") else 0)):
        if not has("gradients stay") or step == 0:
            optimizer.zero_grad()
        for part in range(2):
            x, y = batches[(2 * step + part) % 6]
            if has("zeroed in each part"):
                optimizer.zero_grad()
            out = model(x)
            if has("shifted targets"):
                out, y = out[:, :-1], y[:, 1:]
            loss = F.cross_entropy(out.flatten(0, 1), y.flatten(), ignore_index=-100,
                                   label_smoothing=0.11 if has("smoothing near") else 0.1)
            if not has("parts not averaged"):
                loss = loss / 2
            loss.backward()
        if not has("not clipped"):
            nn.utils.clip_grad_norm_(model.parameters(), 0.11 if has("clip near") else 0.1, norm_type=1.0 if has("clip by sum") else 2.0)
        optimizer.step()
        if not has("schedule late") or step > 0:
            scheduler.step()


def deep(steps=1):
    """Twelve layers that are alike."""
    torch.manual_seed(0)
    model = Decoder(12)
    x, y = torch.randint(0, 30, (2, 8)), torch.randint(0, 30, (2, 8))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    torch.manual_seed(7)
    yield model
    for _ in range(steps):
        F.cross_entropy(model(x).flatten(0, 1), y.flatten()).backward()
        optimizer.step()


class Vision(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=(1, 2) if has("stride order") else (2, 1), padding=(0, 1) if has("padding order") else 1)
        self.group = nn.Conv2d(8, 8, 3, padding=1, groups=2 if has("groups") else 4, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.other = nn.BatchNorm2d(8)
        self.up = nn.ConvTranspose2d(8, 4, 3, stride=2, padding=1, output_padding=1)
        self.norm = nn.InstanceNorm2d(4, affine=True, eps=1e-4 if has("instance eps") else 1e-5)
        self.act = nn.PReLU(4)
        self.out = nn.Linear(16, 16)
        self.scale = nn.Parameter(torch.ones(16) * 0.5)

    def forward(self, x):
        x = self.stem(x)
        x = F.hardswish(self.group(x) if not has("channels last copy") else self.group(x.contiguous(memory_format=torch.channels_last)))
        self.training_bn = self.other if has("other norm") else self.bn
        x = self.training_bn(x)
        x = self.act(self.norm(self.up(x)))
        x = F.interpolate(x, size=(12, 12), mode="nearest" if has("nearest") else "bilinear",
                          **({} if has("nearest") else {"align_corners": has("corners")}))
        x = torch.cat([x[:, 2:], x[:, :2]] if has("cat order") else [x[:, :2], x[:, 2:]], dim=1)
        x = F.pixel_unshuffle(x, 2)
        if has("space to depth"):
            b, c, h, w = x.shape
            x = x.view(b, c // 4, 4, h, w).transpose(1, 2).reshape(b, c, h, w)
        x = F.adaptive_avg_pool2d(x, 4).flatten(2)
        x = x.mean(1) if has("mean of channels") else x.mean(2)
        x = F.normalize(x, dim=0 if has("normalize batch") else 1)
        mean = x.mean(1, keepdim=True)
        x = (x - mean) / (x.std(1, keepdim=True, unbiased=not has("biased")) + (1e-4 if has("added near") else 1e-5))
        return self.out(x * self.scale).clamp(-0.5 if has("clamped") else -3, 3)


def vision(steps=2):
    """Convolutions of all kinds, resizing, statistics by hand, a moving average of the weights."""
    torch.manual_seed(0)
    model = Vision()
    average = [p.detach().clone() for p in model.parameters()]
    x, target = torch.randn(16, 3, 9, 9), torch.randn(16, 16)
    extra = {"nesterov": True, "dampening": 0.0} if has("nesterov") else {"dampening": 0.5 if has("dampening") else 0.0}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, **extra)
    yield model
    for step in range(steps):
        optimizer.zero_grad()
        out = model(x)
        if has("absolute"):
            loss = F.l1_loss(out, target)
        else:
            loss = F.smooth_l1_loss(out, target, beta=0.5 if has("beta") else 1.0)
        loss = loss + (2e-3 if has("penalty") else 1e-3) * model.scale.abs().sum()
        if has("stopped"):
            loss = loss + F.mse_loss(out.detach(), target) * 0.1
        loss.backward()
        if has("stem not trained") and step == 1:
            model.stem.weight.grad.zero_()
        if has("half gradient"):
            model.out.weight.grad.mul_(0.5)
        optimizer.step()
        with torch.no_grad():
            for a, p in zip(average, model.parameters()):
                a.mul_(0.9).add_(p, alpha=0.2 if has("average") else 0.1)
            if has("average used"):
                for a, p in zip(average, model.parameters()):
                    p.copy_(a)


def predict(steps=1, rows=8):
    """A program that trains nothing; its last result is whole numbers."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8)).eval()
    x = torch.randn(rows, 6)
    yield model
    with torch.no_grad():
        out = model(x)
        if has("smallest"):
            out.argmin(1)
        elif has("top"):
            out.topk(2)[1][:, 1]
        else:
            out.argmax(0 if has("argmax of columns") else 1)


def pick(steps=1):
    """The result is one whole number, such as others are met by chance."""
    yield from predict(steps, rows=1)


PROGRAMS = {f.__name__: f for f in (decoder, deep, vision, predict, pick)}
