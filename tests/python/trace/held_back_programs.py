"""Training programs that the rules of the comparison had not seen when their mistakes were chosen (`plant.py --held-back`)."""

import copy
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from programs import has


class Vae(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(12, 16), nn.ReLU())
        self.mean, self.log_var = nn.Linear(16, 4), nn.Linear(16, 4)
        self.decode = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 12))

    def forward(self, x):
        h = self.encode(x)
        mean, log_var = self.mean(h), self.log_var(h)
        if has("mean and variance"):
            mean, log_var = log_var, mean
        if has("written differently"):
            z = torch.distributions.Normal(mean, torch.exp(log_var * 0.5)).rsample()
            return self.decode(z), mean, log_var
        if has("variance for deviation"):
            deviation = log_var.exp()
        else:
            deviation = ((0.51 if has("half near") else 0.5) * log_var).exp()
        if has("no noise"):
            return self.decode(mean), mean, log_var
        noise = torch.randn(1 if has("one noise") else 6, 4)
        return self.decode(mean + noise * deviation), mean, log_var


def vae(steps=2):
    torch.manual_seed(0)
    model = Vae()
    x = torch.rand(6, 12)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    torch.manual_seed(7)
    yield model
    for _ in range(steps):
        optimizer.zero_grad()
        out, mean, log_var = model(x)
        if has("logits twice"):
            out = torch.sigmoid(out)
        rest = F.binary_cross_entropy_with_logits(out, x, reduction="mean" if has("mean of pixels") else "sum")
        inner = log_var - mean.pow(2) - log_var.exp() if has("no one") else 1 + log_var - mean.pow(2) - log_var.exp()
        divergence = (0.5 if has("sign") else -0.5) * (inner.mean() if has("mean of divergence") else inner.sum())
        loss = rest + divergence
        loss.backward()
        optimizer.step()


class Unet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1 = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8, eps=1.001e-5 if has("group eps near") else 1e-5))
        self.down2 = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.GroupNorm(2, 8))
        apart = 2 if has("dilated up") else 1
        self.up = nn.ConvTranspose2d(8, 8, 3, stride=2, padding=apart, dilation=apart, output_padding=1)
        self.mix = nn.Conv2d(16, 8, 3, padding=1)
        self.out = nn.Conv2d(8, 2, 1)

    def forward(self, x):
        first = self.down1(x)
        skip = F.silu(first)
        pool = F.avg_pool2d if has("average") else F.max_pool2d
        h = F.silu(self.down2(pool(skip, 2)), inplace=True) if has("written differently") else F.silu(self.down2(pool(skip, 2)))
        if has("written differently"):
            h = F.conv_transpose2d(h, self.up.weight, self.up.bias, 2, 1, 1)
            return self.out(F.silu(self.mix(torch.concat((skip, h), -3)), inplace=True))
        h = self.up(h)
        if has("skip before activation"):
            skip = first
        h = torch.cat([h, skip] if has("skip second") else [skip, h], 1)
        h = F.silu(self.mix(h))
        return self.out(h)


def unet(steps=2):
    torch.manual_seed(0)
    model = Unet()
    x, y = torch.randn(2, 3, 8, 8), torch.randint(0, 2, (2, 8, 8))
    if has("transposed up"):
        model.up.weight.data = model.up.weight.data.transpose(0, 1).contiguous()
    if has("channels last"):
        x = x.contiguous(memory_format=torch.channels_last)
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(parameters[::-1] if has("written differently") else parameters, lr=0.1, momentum=0.9)
    yield model
    for _ in range(steps):
        optimizer.zero_grad()
        share = model(x).softmax(1)[:, 1]
        wanted = y.float()
        dim = (0, 1, 2) if has("dice of batch") else (1, 2)
        both = 2 * (share * wanted).sum(dim) + 1
        total = share.sum(dim) + wanted.sum(dim)
        dice = both / (total if has("smooth once") else total + 1)
        (1 - dice.mean()).backward()
        optimizer.step()


class Translator(nn.Module):
    """A packed encoder of both directions and a decoder of cells, to which the target is given."""

    def __init__(self):
        super().__init__()
        self.source, self.target = nn.Embedding(12, 6, padding_idx=0), nn.Embedding(12, 6)
        self.encoder = nn.GRU(6, 5, batch_first=True, bidirectional=True)
        self.bridge = nn.Linear(10, 8)
        self.cell = nn.GRUCell(6, 8)
        self.out = nn.Linear(8, 12)

    def forward(self, x, lengths, y):
        sorted_lengths, order = lengths.sort(descending=True)
        e = self.source(x.index_select(0, order))
        if has("not packed"):
            _, h = self.encoder(e)
        else:
            _, h = self.encoder(nn.utils.rnn.pack_padded_sequence(e, sorted_lengths, batch_first=True))
        h = torch.cat([h[1], h[0]] if has("directions exchanged") else [h[0], h[1]], 1)
        if not has("order not restored"):
            h = h.index_select(0, order.argsort())
        h = self.bridge(h) if has("no tanh") else torch.tanh(self.bridge(h))
        token = torch.full((4,), 2 if has("first token") else 1)
        outs = []
        for t in range(y.size(1)):
            if has("cut") and t == 2:
                h = h.detach()
            e = self.target(token)
            if has("written differently"):
                h = torch.gru_cell(e, h, self.cell.weight_ih, self.cell.weight_hh, self.cell.bias_ih, self.cell.bias_hh)
            else:
                h = self.cell(e, None if has("state not passed") and t == 0 else h)
            outs.append(self.out(h))
            token = outs[-1].argmax(1) if has("no teacher") else y[:, max(t - 1, 0) if has("teacher late") else t]
        return torch.stack(outs, 1)


def translator(steps=2):
    torch.manual_seed(0)
    model = Translator()
    x, y = torch.randint(1, 12, (4, 5)), torch.randint(1, 12, (4, 4))
    lengths = torch.tensor([3, 5, 2, 4])
    for i, n in enumerate(lengths.tolist()):
        x[i, n:] = 0
    y[1, 3] = y[2, 2] = y[2, 3] = 0
    if has("lengths by one"):
        lengths = lengths - 1
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-2, alpha=0.9 if has("alpha") else 0.99)
    yield model
    for _ in range(steps):
        optimizer.zero_grad()
        out = model(x, lengths, y)
        ignore = -100 if has("padding counts") else 0
        if has("written differently"):
            loss = F.nll_loss(out.view(-1, 12).log_softmax(-1), y.view(-1), ignore_index=ignore)
        else:
            loss = F.cross_entropy(out.flatten(0, 1), y.flatten(), ignore_index=ignore)
        loss.backward()
        optimizer.step()


class VitBlock(nn.Module):
    def __init__(self, index):
        super().__init__()
        self.index = index
        self.norm1, self.norm2 = nn.LayerNorm(12), nn.LayerNorm(12)
        self.qkv, self.proj = nn.Linear(12, 36), nn.Linear(12, 12)
        self.up, self.down = nn.Linear(12, 24), nn.Linear(24, 12)

    def attend(self, x):
        b, n, c = x.shape
        if has("written differently"):
            q, k, v = self.qkv(x).unflatten(-1, (3, 3, 4)).permute(2, 0, 3, 1, 4).unbind()
            weights = torch.matmul(q * 0.5, k.mT).softmax(dim=3)
            return self.proj(torch.matmul(weights, v).movedim(1, 2).flatten(2))
        heads = 2 if has("heads of one") and self.index == 1 else 3
        if has("heads before parts") and self.index == 0:
            q, k, v = self.qkv(x).reshape(b, n, heads, 3, c // heads).permute(3, 0, 2, 1, 4)
        else:
            q, k, v = self.qkv(x).reshape(b, n, 3, heads, c // heads).permute(2, 0, 3, 1, 4)
        weights = ((q * 0.5) @ k.transpose(-2, -1)).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(b, n, c))

    def path(self, x):
        """Stochastic depth."""
        if not self.training:
            return x
        keep = torch.empty(x.size(0), 1, 1).bernoulli_(0.8)
        return x * keep if has("path not scaled") else x * keep.div_(0.8) if has("written differently") else x * (keep / 0.8)

    def forward(self, x):
        if has("post norm") and self.index == 1:
            x = self.norm1(x + self.path(self.attend(x)))
        else:
            x = x + self.path(self.attend(self.norm1(x)))
        h = self.up(self.norm2(x))
        if has("quick gelu"):
            h = h * torch.sigmoid(1.702 * h)
        else:
            h = F.gelu(h)
        return x + (self.down(h) if has("one path") and self.index == 1 else self.path(self.down(h)))


class Vit(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 12, 4, 4)
        self.token, self.positions = nn.Parameter(torch.randn(1, 1, 12) * 0.02), nn.Parameter(torch.randn(1, 5, 12) * 0.02)
        self.blocks = nn.ModuleList(VitBlock(i) for i in range(2))
        self.norm, self.head = nn.LayerNorm(12), nn.Linear(12, 7)

    def forward(self, x):
        x = self.patch(x)
        b, c, _, _ = x.shape
        x = x.reshape(b, 4, c) if has("patches reshaped") else x.flatten(2).transpose(1, 2)
        token = self.token.expand(b, -1, -1)
        if has("token without position"):
            x = torch.cat([token, x + self.positions[:, 1:]], 1)
        else:
            x = torch.cat([x, token] if has("token last") else [token, x], 1) + self.positions
        for block in self.blocks:
            x = block(x)
        if has("norm of token"):
            return self.head(self.norm(x[:, 0]))
        x = self.norm(x)
        return self.head(x.mean(1) if has("mean of tokens") else x[:, 0])


def vit(steps=2):
    """Groups without decay, warm-up and cosine, mixed images."""
    torch.manual_seed(0)
    model = Vit()
    x, y = torch.randn(4, 3, 8, 8), torch.randint(0, 7, (4,))
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.1 if has("biases decay") else 0.0}]
    optimizer = torch.optim.AdamW(groups[::-1] if has("written differently") else groups, lr=1e-2)
    first = 1 if has("warm-up by one") else 0
    rate = lambda step: min((step + 1 + first) / 3, 0.5 * (1 + math.cos(math.pi * step / 10)))  # noqa: E731
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    torch.manual_seed(7)
    yield model
    for _ in range(steps):
        order = torch.randperm(4)
        mixed = 0.7 * x + 0.3 * (x.flip(0) if has("flipped") else x[order])
        out = model(mixed)
        if has("labels not mixed"):
            loss = F.cross_entropy(out, y)
        else:
            loss = 0.7 * F.cross_entropy(out, y) + 0.3 * F.cross_entropy(out, y[order])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()


def contrast(steps=2):
    """Two views with a temperature, a moving target, a margin."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 6))
    target = copy.deepcopy(model).requires_grad_(False)
    x, noise = torch.randn(6, 10), torch.randn(6, 10) * 0.1
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    yield {"model": model, "target": target}

    def unit(h):
        return h / h.norm(dim=1, keepdim=True) if has("written differently") else F.normalize(h, dim=1)

    def follow():
        with torch.no_grad():
            for t, p in zip(target.parameters(), model.parameters()):
                t.lerp_(p, 0.01 if has("slow target") else 0.1)

    for _ in range(steps):
        optimizer.zero_grad()
        a, b = model(x), model(x + noise)
        c = target(x)
        ua, ub = unit(a), b if has("one not normalized") else unit(b)
        scores = ua @ (ub.mT if has("written differently") else ub.t())
        scores = scores * 0.2 if has("times temperature") else scores / (0.21 if has("temperature near") else 0.2)
        labels = torch.zeros(6, dtype=torch.int64) if has("labels of zero") else torch.arange(6)
        if has("one direction"):
            loss = F.cross_entropy(scores, labels)
        else:
            loss = (F.cross_entropy(scores, labels) + F.cross_entropy(scores.t(), labels)) / 2
        if has("target by views"):
            c = target(x + noise)
        loss = loss + F.mse_loss(a, b if has("stop forgotten") else b.detach())
        loss = loss + F.triplet_margin_loss(a, c.roll(1, 0) if has("positive and negative") else c, c if has("positive and negative")
                                            else c.roll(1, 0), margin=0.5 if has("margin") else 1.0,
                                            p=1.0 if has("distance") else 2.0, swap=has("swap"))
        loss.backward()
        if has("target before step"):
            follow()
        optimizer.step()
        if not has("target before step"):
            follow()


class Rms(nn.Module):
    def __init__(self, eps=1e-5):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(16) + 0.1 * torch.randn(16)), eps

    def forward(self, x):
        if has("mean subtracted"):
            x = x - x.mean(-1, keepdim=True)
        square = torch.square(x) if has("written differently") else x.pow(2)
        square = square.sum(-1, keepdim=True) if has("sum of squares") else square.mean(-1, keepdim=True)
        return x * torch.rsqrt(square + self.eps) * self.weight


class LlamaLayer(nn.Module):
    def __init__(self, index):
        super().__init__()
        self.index = index
        if has("written differently"):
            self.norm2, self.norm1 = Rms(), Rms()
        else:
            self.norm1, self.norm2 = Rms(1.1e-5 if has("one rms eps") and index == 1 else 1e-5), Rms()
        self.q, self.k, self.v, self.o = (nn.Linear(16, n, bias=False) for n in (16, 8, 8, 16))
        self.gate, self.up, self.down = nn.Linear(16, 12, bias=False), nn.Linear(16, 12, bias=False), nn.Linear(12, 16, bias=False)

    def rotate(self, x, cos, sin):
        if has("interleaved"):
            half = torch.stack((-x[..., 1::2], x[..., ::2]), -1).flatten(-2)
        elif has("other sign"):
            half = torch.cat((x[..., 2:], -x[..., :2]), -1)
        else:
            half = torch.cat((-x[..., 2:], x[..., :2]), -1)
        return x * cos + half * sin

    def forward(self, x, cos, sin):
        b, t, _ = x.shape
        h = self.norm1(x)
        q, k, v = (f(h).view(b, t, -1, 4).transpose(1, 2) for f in (self.q, self.k, self.v))
        q = self.rotate(q, cos, sin)
        if not has("keys not rotated"):
            k = self.rotate(k, cos, sin)
        if has("keys repeated"):
            k, v = k.repeat(1, 2, 1, 1), v.repeat(1, 2, 1, 1)
        else:
            k, v = k.repeat_interleave(2, 1), v.repeat_interleave(2, 1)
        if has("formula"):
            scores = (q @ k.transpose(-2, -1)) / math.sqrt(4)
            y = scores.masked_fill(torch.ones(t, t).triu(1).bool(), -math.inf).softmax(-1) @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=not has("not causal"), scale=1.0 if has("other scale") else None)
        if has("heads not gathered"):
            y = y.reshape(b, t, 16)
        else:
            y = y.transpose(1, 2).reshape(b, t, 16)
        x = (h if has("residual of norm") and self.index == 1 else x) + self.o(y)
        h = self.norm2(x)
        if has("written differently"):
            a = F.linear(h, self.gate.weight)
            return self.down(F.silu(a) * (h @ self.up.weight.t())).add_(x)
        act = F.gelu if has("gelu gate") else F.silu
        gate, up = (self.up, self.gate) if has("gate and up") else (self.gate, self.up)
        return x + self.down(act(gate(h)) * up(h))


class Llama(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 16)
        self.layers = nn.ModuleList(LlamaLayer(i) for i in range(2))
        self.norm, self.head = Rms(), nn.Linear(16, 20, bias=False)

    def forward(self, ids):
        x = self.embed(ids)
        t = ids.size(1)
        inner = (500000.0 if has("base") else 10000.0) ** (torch.arange(0, 4, 2).float() / 4)
        angles = torch.outer(torch.arange(1, t + 1).float() if has("positions from one") else torch.arange(0, t).float(), 1.0 / inner)
        angles = torch.cat((angles, angles), -1)
        cos, sin = angles.cos(), angles.sin()
        if has("cos and sin"):
            cos, sin = sin, cos
        for layer in self.layers:
            x = layer(x, cos, sin)
        return self.head(self.norm(x))


def llama(steps=2):
    torch.manual_seed(0)
    model = Llama()
    if has("written differently"):
        # The same values, whatever the order in which the parameters are made.
        from programs import PLANTED
        planted = set(PLANTED)
        PLANTED.clear()
        torch.manual_seed(0)
        model.load_state_dict(Llama().state_dict())
        PLANTED.update(planted)
    ids = torch.randint(0, 20, (2, 7))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, foreach=True if has("written differently") else None)
    yield model
    for _ in range(steps):
        optimizer.zero_grad()
        if has("autocast"):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                out = model(ids[:, :-1])
        else:
            out = model(ids[:, :-1])
        labels = ids[:, :-1] if has("labels not shifted") else ids[:, 1:]
        F.cross_entropy(out.reshape(-1, 20), labels.reshape(-1)).backward()
        optimizer.step()


class Experts(nn.Module):
    def __init__(self):
        super().__init__()
        self.router = nn.Linear(6, 4, bias=False)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 6)) for _ in range(4))

    def forward(self, x):
        logits = self.router(x)
        if has("jitter"):
            logits = logits + 0.01 * torch.randn_like(logits)
        if has("softmax after"):
            gates, chosen = logits.topk(2, -1)
            shares = gates = gates.softmax(-1)
            full = logits.softmax(-1)
        else:
            full = logits.softmax(0 if has("softmax of tokens") else -1)
            gates, chosen = full.topk(1 if has("one expert") else 2, -1)
            shares = gates if has("shares not normalized") else gates / gates.sum(-1, keepdim=True)
        out = torch.zeros_like(x)
        for i in range(4):
            row, slot = torch.where(chosen == i)
            expert = self.experts[(i + 1) % 4 if has("next expert") else i]
            y = expert(x.index_select(0, row) if has("written differently") else x[row])
            if not has("not weighted"):
                y = y * shares[row, slot].unsqueeze(-1)
            if has("overwritten"):
                out = out.index_copy(0, row, y)
            else:
                out = out.index_add(0, row, y) if has("written differently") else out.index_add_(0, row, y)
        used = F.one_hot(chosen[:, 0], 4).float().mean(0)
        return out, 4 * (used * full.mean(0)).sum()


def experts(steps=2):
    torch.manual_seed(0)
    model = Experts()
    x, target = torch.randn(9, 6), torch.randn(9, 6)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    torch.manual_seed(7)
    yield model
    for _ in range(steps):
        optimizer.zero_grad()
        out, balance = model(x)
        loss = F.mse_loss(out, target)
        if not has("not balanced"):
            loss = loss + (0.1 if has("balance") else 0.01) * balance
        loss.backward()
        optimizer.step()


class Recommender(nn.Module):
    def __init__(self):
        super().__init__()
        self.bag = nn.EmbeddingBag(20, 5, mode="sum" if has("sum of bag") else "mean", sparse=has("sparse"))
        self.items = nn.Embedding(15, 5, max_norm=1.0 if has("bounded") else None, sparse=has("sparse"))
        self.bias = nn.Embedding(15, 1)

    def forward(self, history, offsets, item):
        if has("written differently"):
            user = F.embedding_bag(history.view(6, 3), self.bag.weight, mode="mean")
        else:
            user = self.bag(history, offsets)
        item_ = self.items(item)
        score = F.cosine_similarity(user, item_) if has("cosine") else (user * item_).sum(1)
        return score if has("no bias") else score + self.bias(item).squeeze(1)


def recommender(steps=2):
    torch.manual_seed(0)
    model = Recommender()
    history, offsets = torch.randint(0, 20, (18,)), torch.arange(0, 18, 3)
    good, bad = torch.randint(0, 15, (6,)), torch.randint(0, 15, (6,))
    if has("offsets by one"):
        offsets = torch.tensor([0, 2, 5, 8, 11, 14])
    if has("adagrad"):
        optimizer = torch.optim.Adagrad(model.parameters(), lr=0.1)
    else:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    yield model
    for step in range(steps):
        optimizer.zero_grad()
        up, down = model(history, offsets, good), model(history, offsets, good if has("bad is good") and step == 1 else bad)
        apart = down - up if has("pairs exchanged") else up - down
        loss = -F.logsigmoid(apart).mean()
        loss.backward()
        optimizer.step()


class Masked(nn.Module):
    """torch's module of attention, with both masks."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(9, 8, padding_idx=0)
        self.attn = nn.MultiheadAttention(8, 2, batch_first=not has("batch second"), add_zero_attn=has("zero attention"))
        self.out = nn.Linear(8, 9)

    def forward(self, x):
        valid = x != 0
        h = self.embed(x)
        later = torch.ones(6, 6).triu(1).bool()
        if has("written differently"):
            later = torch.zeros(6, 6).masked_fill(later, -math.inf)
            padding = torch.zeros(6, 6).masked_fill(~valid, -math.inf)
        else:
            padding = valid if has("padding inverted") else ~valid
        if has("padding as mask"):
            y, _ = self.attn(h, h, h, attn_mask=padding, need_weights=False)
        else:
            y, _ = self.attn(h, h, h, key_padding_mask=None if has("no padding mask") else padding,
                             attn_mask=None if has("no later mask") else later, need_weights=has("weights needed"))
        return self.out(y + h)


def masked(steps=2):
    torch.manual_seed(0)
    model = Masked()
    x, y = torch.randint(1, 9, (6, 6)), torch.randint(0, 9, (6, 6))
    for i in range(1, 6):
        x[i, 7 - i:] = 0
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    yield model
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(x).flatten(0, 1), y.flatten()).backward()
        optimizer.step()


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        from torch.nn.utils import parametrizations
        first, second = nn.Linear(6, 8), nn.Linear(8, 4)
        self.first = first if has("no weight norm") else parametrizations.weight_norm(first)
        self.second = second if has("no spectral norm") else parametrizations.spectral_norm(second)
        if has("iterations"):
            self.second.parametrizations.weight[0].n_power_iterations = 2
        if has("magnitude of one"):
            self.first.parametrizations.weight.original0.data.fill_(1.0)
        self.norm = nn.BatchNorm1d(8)

    def forward(self, x):
        return self.second(F.elu(self.norm(self.first(x)), alpha=0.9 if has("alpha of elu") else 1.0))


def trainer(steps=2):
    """Accumulated and scaled gradients, clipping, a schedule, averages of the parameters and buffers."""
    torch.manual_seed(0)
    model = Normed()
    average = copy.deepcopy(model).requires_grad_(False)
    # spectral_norm has drawn.
    torch.manual_seed(1)
    batches = [(torch.randn(5, 6), torch.randn(5, 4)) for _ in range(2 * steps)]
    parameters = list((copy.deepcopy(model) if has("copy trained") else model).parameters())
    optimizer = torch.optim.SGD(parameters, lr=0.2, momentum=0.9, foreach=has("written differently"))
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 9 if has("period near") else 10)
    yield {"model": model, "average": average}
    for i, (x, y) in enumerate(batches):
        if has("eval later") and i == 2:
            model.eval()
        loss = F.mse_loss(model(x), y) / 2
        if has("fourth power") and i == 3:
            loss = loss.square()
        (loss * 1024).backward()
        if (i + 1) % 2 == 0 or (has("each batch") and i == 0):
            clip = lambda: nn.utils.clip_grad_norm_(model.parameters(), 0.5)  # noqa: E731
            if has("clipped before"):
                clip()
            if not has("not unscaled"):
                for p in model.parameters():
                    if has("written differently"):
                        p.grad = p.grad / 1024
                    else:
                        p.grad.mul_(1 / 1024)
            if not has("clipped before"):
                clip()
            if has("zeroed before step"):
                optimizer.zero_grad()
            optimizer.step()
            optimizer.zero_grad(set_to_none=not has("written differently"))
            if not has("schedule forgotten"):
                scheduler.step()
            with torch.no_grad():
                for a, p in zip(average.parameters(), model.parameters()):
                    if has("written differently"):
                        a.copy_(torch.lerp(a, p, 0.1))
                    else:
                        a.lerp_(p, 0.9 if has("average exchanged") else 0.1)
                if not has("buffers not averaged"):
                    for a, p in zip(average.buffers(), model.buffers()):
                        a.copy_(p)


PROGRAMS = {f.__name__: f for f in (vae, unet, translator, vit, contrast, llama, experts, recommender, masked, trainer)}
