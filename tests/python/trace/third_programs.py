"""A third set of training programs and mistakes that were chosen without knowledge of the rules of the comparison. `accept` has other
classes that are as good."""

import copy
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from programs import has
from unseen_programs import case


# ---------------------------------------------------------------- clip: two towers, a learned temperature, a symmetric loss


class Images(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.proj = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.LayerNorm(8), nn.Linear(8, 6, bias=False)

    def forward(self, x):
        h = self.conv(x)
        if has("gelu"):
            h = F.gelu(h)
        else:
            h = h * torch.sigmoid((1.7 if has("quick factor") else 1.702) * h)
        h = h.amax((2, 3)) if has("largest of pixels") else h.mean((2, 3))
        return self.proj(self.norm(h))


class Texts(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb, self.pos = nn.Embedding(15, 10), nn.Parameter(torch.randn(7, 10) * 0.1)
        self.mix, self.norm = nn.Linear(10, 10), nn.LayerNorm(10, eps=1e-6 if has("text eps") else 1e-5)
        self.proj = nn.Linear(10, 6, bias=False)

    def forward(self, x):
        h = self.emb(x)
        if not has("no positions"):
            h = h + self.pos
        h = h + torch.tanh(self.mix(h.cumsum(1)))
        h = self.norm(h)
        # The end of a text has the highest number.
        if has("last token"):
            h = h[:, -1]
        else:
            h = h[torch.arange(h.size(0)), x.argmin(-1) if has("lowest token") else x.argmax(-1)]
        return self.proj(h)


class Clip(nn.Module):
    def __init__(self):
        super().__init__()
        self.image, self.text = Images(), Texts()
        self.scale = nn.Parameter(torch.tensor(math.log(1 / (0.1 if has("temperature") else 0.07))))

    def forward(self, images, texts):
        def unit(x):
            if has("by hand"):
                return x / x.norm(dim=1, keepdim=True).clamp_min(1e-12)
            return F.normalize(x, dim=0 if has("unit columns") else 1)

        one, two = unit(self.image(images)), self.text(texts)
        if not has("texts not normalized"):
            two = unit(two)
        scale = self.scale if has("logarithm as scale") else self.scale.exp()
        return scale * (one @ two.t())


def clip(steps=3):
    torch.manual_seed(0)
    model = Clip()
    images, texts = torch.randn(15, 3, 6, 6), torch.randint(1, 13, (15, 7))
    texts[torch.arange(15), torch.randint(2, 7, (15,))] = 14
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.2},
                                   {"params": others, "weight_decay": 0.2 if has("decay of all") else 0.0}],
                                  lr=1e-2, betas=(0.9, 0.999 if has("beta2") else 0.98), eps=1e-6)
    warm = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step if has("warm-up from zero") else step + 1) / 3))
    torch.manual_seed(7)
    yield model
    for step in range(steps):
        rows = slice(5 * step, 5 * step + 5)
        logits = model(images[rows], texts[rows])
        labels = torch.arange(5)
        loss = F.cross_entropy(logits, labels)
        if not has("one direction"):
            other = F.cross_entropy(logits if has("not transposed") else logits.t(), labels)
            loss = loss + other if has("sum of directions") else (loss + other) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        warm.step()
        if not has("not clamped"):
            with torch.no_grad():
                model.scale.clamp_(0, math.log(14.2))


# ---------------------------------------------------------------- flow: coupling layers with log-determinants, two parts of a batch


class Coupling(nn.Module):
    def __init__(self, i):
        super().__init__()
        self.register_buffer("mask", (torch.arange(4) % 2 == (0 if has("same masks") else i % 2)).float())
        self.net = nn.Sequential(nn.Linear(4, 12), nn.LeakyReLU(0.2), nn.Linear(12, 8))
        self.factor = nn.Parameter(torch.full((4,), 0.8))

    def forward(self, x):
        kept = x * self.mask
        s, t = self.net(kept).chunk(2, 1)
        if has("halves exchanged"):
            s, t = t, s
        if not has("not squashed"):
            s = torch.tanh(s)
        if not has("no factor"):
            s = s * self.factor
        if not has("scale not masked"):
            s = s * (1 - self.mask)
        t = t * (1 - self.mask)
        if has("shifted first"):
            x = (x + t) * torch.exp(s)
        elif has("divided"):
            x = x * torch.exp(-s) + t
        elif has("commuted"):
            x = t + torch.exp(s) * x
        else:
            x = x * torch.exp(s) + t
        return x, s.sum() if has("determinant of batch") else s.sum(1)


class Act(nn.Module):
    """Scales and shifts, so that the first batch has mean 0 and deviation 1."""

    def __init__(self):
        super().__init__()
        self.logs, self.shift, self.ready = nn.Parameter(torch.zeros(4)), nn.Parameter(torch.zeros(4)), False

    def forward(self, x):
        if not self.ready and not has("not initialized"):
            with torch.no_grad():
                self.shift.copy_(-x.mean(0))
                self.logs.copy_(-torch.log(x.std(0, unbiased=not has("biased deviation")) + 1e-6))
            self.ready = True
        return (x + self.shift) * torch.exp(self.logs), self.logs.sum()


class Flow(nn.Module):
    def __init__(self):
        super().__init__()
        self.acts, self.layers = nn.ModuleList(Act() for _ in range(3)), nn.ModuleList(Coupling(i) for i in range(3))

    def forward(self, x):
        total = torch.zeros(x.size(0))
        for act, layer in zip(self.acts, self.layers):
            x, d = act(x)
            if not has("no determinant of act"):
                total = total + d
            x, d = layer(x)
            total = total - d if has("determinant sign") else total + d
            if not has("not flipped"):
                x = x.flip(1)
        return x, total


def flow(steps=3):
    torch.manual_seed(0)
    model = Flow()
    data = torch.randn(12 * steps, 4) * torch.tensor([1.0, 2.0, 0.5, 1.5]) + 1
    data[:, 1] += data[:, 0] ** 2
    kind = torch.optim.Adam if has("adam") else torch.optim.Adamax
    optimizer = kind(model.parameters(), lr=1e-2)
    gamma = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    torch.manual_seed(7)
    yield model
    for step in range(steps):
        optimizer.zero_grad()
        for part in range(2):
            at = 12 * step + 6 * part
            x = data[at:at + 6]
            x = x + (torch.randn_like(x) if has("normal noise") else torch.rand_like(x)) * 0.05
            z, total = model(x)
            squares = z.pow(2).sum(1) if has("not halved") else 0.5 * z.pow(2).sum(1)
            prior = -squares if has("no constant") else -squares - 2 * math.log(2 * math.pi)
            loss = -(prior + total).mean()
            if not has("per vector"):
                loss = loss / (4 * math.log(2))
            if not has("parts not averaged"):
                loss = loss / 2
            loss.backward()
        optimizer.step()
        if not has("rate kept"):
            gamma.step()


# ---------------------------------------------------------------- scan: a selective state space model


class Rms(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + (1e-6 if has("rms eps") else 1e-5)) * self.weight


class Mamba(nn.Module):
    def __init__(self, d=8, inner=12, n=4, rank=2):
        super().__init__()
        self.norm, self.into, self.out = Rms(d), nn.Linear(d, 2 * inner, bias=False), nn.Linear(inner, d, bias=False)
        self.conv = nn.Conv1d(inner, inner, 3, groups=inner, padding=2)
        self.x_proj, self.dt_proj = nn.Linear(inner, rank + 2 * n, bias=False), nn.Linear(rank, inner)
        self.sizes = [rank, n, n]
        first = torch.ones(n) if has("all ones") else torch.arange(1, n + 1).float()
        self.a_log, self.d = nn.Parameter(first.log().repeat(inner, 1)), nn.Parameter(torch.ones(inner))
        dt = torch.exp(torch.linspace(math.log(0.01), math.log(0.3), inner))
        with torch.no_grad():
            self.dt_proj.bias.copy_(dt.log() if has("bias of logarithm") else dt + torch.log(-torch.expm1(-dt)))

    def mixed(self, x):
        b, length, _ = x.shape
        x, z = self.into(x).chunk(2, -1)
        if has("gate exchanged"):
            x, z = z, x
        x = self.conv(x.transpose(1, 2))
        x = (x[:, :, 2:] if has("convolution looks ahead") else x[:, :, :length]).transpose(1, 2)
        if not has("convolution linear"):
            x = F.silu(x)
        dt, bs, cs = self.x_proj(x).split(self.sizes, -1)
        if has("reads for writes"):
            bs, cs = cs, bs
        dt = self.dt_proj(dt)
        dt = torch.exp(dt) if has("exponential step") else F.softplus(dt)
        a = self.a_log if has("no exponential") else self.a_log.exp()
        if not has("grows"):
            a = -a
        h, ys = torch.zeros(b, x.size(2), a.size(1)), []
        kept = torch.zeros(b, length, x.size(2))
        for t in range(length):
            before = h
            write = bs[:, t, None, :] if has("writes not scaled") else dt[:, t, :, None] * bs[:, t, None, :]
            h = torch.exp(dt[:, t, :, None] * a) * h + write * x[:, t, :, None]
            y = ((before if has("state before") else h) * cs[:, t, None, :]).sum(-1)
            if has("in place"):
                kept[:, t] = y
            else:
                ys.append(y)
        y = kept if has("in place") else torch.stack(ys, 1)
        if not has("no skip"):
            y = y + self.d * x
        return self.out(y * (z if has("gate linear") else F.silu(z)))

    def forward(self, x):
        if has("residual of norm"):
            x = self.norm(x)
            return x + self.mixed(x)
        return x + self.mixed(self.norm(x))


class Language(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb, self.layers, self.norm = nn.Embedding(11, 8), nn.ModuleList(Mamba() for _ in range(2)), Rms(8)
        self.head = nn.Linear(8, 11, bias=False)
        if has("head not tied"):
            with torch.no_grad():
                self.head.weight.copy_(self.emb.weight)
        else:
            self.head.weight = self.emb.weight

    def forward(self, x):
        x = self.emb(x)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


def scan(steps=3):
    torch.manual_seed(0)
    model = Language()
    text = torch.randint(0, 11, (steps, 2, 7))
    free = [p for n, p in model.named_parameters() if p.dim() < 2 or n.endswith("a_log")]
    decayed = [p for n, p in model.named_parameters() if not (p.dim() < 2 or n.endswith("a_log"))]
    if has("rates decayed"):
        free, decayed = [p for p in model.parameters() if p.dim() < 2], [p for p in model.parameters() if p.dim() >= 2]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.1}, {"params": free, "weight_decay": 0.0}], lr=1e-2)
    torch.manual_seed(7)
    yield model
    for step in range(steps):
        x = text[step]
        loss = F.cross_entropy(model(x[:, :-1]).flatten(0, 1), x[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5, norm_type=1.0 if has("clipped by sum") else 2.0)
        optimizer.step()


# ---------------------------------------------------------------- quantized: codes that follow the encoder, straight-through gradient


class Quantizer(nn.Module):
    def __init__(self, k=7, d=4):
        super().__init__()
        own = torch.Generator().manual_seed(3)
        codes = torch.rand(k, d, generator=own) - 0.5 if has("uniform codes") else torch.randn(k, d, generator=own) * 0.3
        self.register_buffer("codes", codes)
        self.register_buffer("counts", torch.ones(k))
        self.register_buffer("sums", codes.clone())

    def follow(self, z, one_hot):
        decay = 0.99 if has("decay") else 0.9
        n, s = one_hot.sum(0), one_hot.t() @ z
        if has("means followed"):
            s = s / n.clamp(min=1)[:, None]
        if has("decay exchanged"):
            decay = 1 - decay
        self.counts.mul_(decay).add_(n, alpha=1 - decay)
        self.sums.mul_(decay).add_(s, alpha=1 - decay)
        total = self.counts.sum()
        eps = 1e-3 if has("small counts") else 1e-2
        size = self.counts + eps if has("counts not rescaled") else (self.counts + eps) / (total + 7 * eps) * total
        self.codes.copy_(self.sums / size[:, None])

    def forward(self, z):
        zz, ee = z.pow(2).sum(1, keepdim=True), self.codes.pow(2).sum(1)
        product = z @ self.codes.t()
        if has("length ignored"):
            d = zz - 2 * product
        elif has("product added"):
            d = zz + 2 * product + ee
        else:
            d = zz - 2 * product + ee
        at = d.argmax(1) if has("farthest") else d.argmin(1)
        one_hot = F.one_hot(at, 7).float()
        if has("followed before") and self.training:
            with torch.no_grad():
                self.follow(z, one_hot)
        # The copy is of codes that change in place.
        q = one_hot @ self.codes.clone() if has("codes by product") else self.codes[at]
        if self.training and not has("followed before"):
            with torch.no_grad():
                self.follow(z, one_hot)
        if has("encoder for codes"):
            commitment = F.mse_loss(z.detach(), q)
        else:
            commitment = F.mse_loss(z, q.detach())
        if has("not straight-through"):
            return q, commitment
        return z + (q - z if has("codes not detached") else (q - z).detach()), commitment


class Quantized(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc1, self.enc2 = nn.Conv2d(1, 6, 3, stride=2, padding=1), nn.Conv2d(6, 4, 1)
        self.vq, self.dec = Quantizer(), nn.ConvTranspose2d(4, 1, 4, stride=2, padding=1)

    def forward(self, x):
        h = self.enc2(F.elu(self.enc1(x)))
        b, c, m, n = h.shape
        if has("channels not last"):
            q, commitment = self.vq(h.reshape(-1, c))
            return self.dec(q.reshape(b, c, m, n)), commitment
        q, commitment = self.vq(h.permute(0, 2, 3, 1).reshape(-1, c))
        return self.dec(q.reshape(b, m, n, c).permute(0, 3, 1, 2)), commitment


def quantized(steps=3):
    torch.manual_seed(0)
    model = Quantized()
    x, seen = torch.randn(3 * steps, 1, 6, 8), torch.randn(3, 1, 6, 8)
    kind = torch.optim.Adam if has("adam") else torch.optim.NAdam
    optimizer = kind(model.parameters(), lr=2e-2)
    torch.manual_seed(7)
    yield model
    for step in range(steps):
        xb = x[3 * step:3 * step + 3]
        model.train()
        out, commitment = model(xb)
        loss = F.mse_loss(out, xb, reduction="sum" if has("sum of pixels") else "mean")
        loss = loss + (1.0 if has("commitment") else 0.25) * commitment
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if not has("validated in train"):
            model.eval()
        with torch.no_grad():
            model(seen)


# ---------------------------------------------------------------- ode: Runge-Kutta steps of a learned field, Lookahead


class Field(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 16), nn.Linear(16, 3)

    def forward(self, t, x):
        h = self.fc1(torch.cat([x, t.expand(x.size(0), 1)], 1))
        return self.fc2(F.relu(h) if has("relu") else torch.tanh(h))


def ode(steps=4):
    torch.manual_seed(0)
    model = Field()
    slow = copy.deepcopy(model)
    times = torch.tensor([0.0, 0.1, 0.25, 0.45, 0.5])
    start = torch.randn(4 * steps, 3)
    spin = torch.tensor([[0.0, 2.0, 0.0], [-2.0, 0.0, 0.5], [0.0, 0.0, -1.0]])
    path = torch.stack([start @ torch.matrix_exp(t * spin) for t in times])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.8 if has("momentum") else 0.9)
    torch.manual_seed(7)
    yield {"model": model, "slow": slow}

    def advanced(t, h, x):
        k1 = model(t, x)
        if has("euler"):
            return x + h * k1
        half = h / 2 if has("halved otherwise") else 0.5 * h
        middle = t if has("time of start") else t + half
        k2 = model(middle, x + half * k1)
        k3 = model(middle, x + half * (k1 if has("first slope again") else k2))
        k4 = model(t + h, x + (half if has("half last step") else h) * k3)
        if has("equal weights"):
            return x + h / 4 * (k1 + k2 + k3 + k4)
        if has("halved otherwise"):
            k = k1 + (k2 + k2) + (k3 + k3) + k4
        else:
            k = k1 + 2 * k2 + 2 * k3 + k4
        if has("no sixth"):
            return x + h * k
        return x - h / 6 * k if has("backwards") else x + h / 6 * k

    for step in range(steps):
        goal = path[:, 4 * step:4 * step + 4]
        x = goal[0] + torch.randn(4, 3) * (0.1 if has("noise") else 0.01)
        xs = []
        for i in range(4):
            h = times[1] - times[0] if has("first step length") else times[i + 1] - times[i]
            x = advanced(times[0] if has("time stands") else times[i], h, x)
            if has("detached between"):
                x = x.detach() if i < 3 else x
            xs.append(x)
        if has("last only"):
            loss = F.huber_loss(xs[-1], goal[-1], delta=0.2)
        else:
            loss = F.huber_loss(torch.stack(xs), goal[:-1] if has("goals by one") else goal[1:], delta=1.0 if has("delta") else 0.2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % (3 if has("period") else 2) == 0:
            with torch.no_grad():
                for p, s in zip(model.parameters(), slow.parameters()):
                    if has("share"):
                        s.add_(p - s, alpha=0.8)
                    elif has("difference otherwise"):
                        s.sub_(s - p, alpha=0.5)
                    elif has("difference reversed"):
                        s.add_(s - p, alpha=0.5)
                    else:
                        s.add_(p - s, alpha=0.5)
                    if not has("fast goes on"):
                        p.copy_(s)


# ---------------------------------------------------------------- tagger: a conditional random field over a convolution


class Crf(nn.Module):
    def __init__(self, n=4):
        super().__init__()
        self.start, self.end = nn.Parameter(torch.randn(n) * 0.1), nn.Parameter(torch.randn(n) * 0.1)
        self.trans = nn.Parameter(torch.rand(n, n) if has("uniform transitions") else torch.randn(n, n) * 0.3)
        forbidden = torch.zeros(n, n, dtype=torch.bool)
        forbidden[0, 2] = forbidden[1, 3] = True
        self.register_buffer("forbidden", forbidden)

    def forward(self, e, tags, valid):
        trans = self.trans if has("all allowed") else self.trans.masked_fill(self.forbidden, -50.0)
        b, length, n = e.shape
        a = e[:, 0] if has("no start") else self.start + e[:, 0]
        for t in range(0 if has("first twice") else 1, length):
            scores = a[:, :, None] + trans + e[:, t, None, :]
            if has("best path"):
                new = scores.amax(1)
            else:
                new = scores.logsumexp(2 if has("sum over next") else 1)
            m = valid[:, t, None]
            if has("through padding"):
                a = new
            elif has("padding inverted"):
                a = torch.where(m, a, new)
            elif has("mask as factor"):
                m = m.float()
                a = m * new + (1 - m) * a
            else:
                a = torch.where(m, new, a)
        z = (a + self.end).logsumexp(1)
        rows = torch.arange(b)
        emitted = e[rows[:, None], torch.arange(length), tags] if has("indexed") else e.gather(2, tags[:, :, None]).squeeze(2)
        moved = trans[tags[:, 1:], tags[:, :-1]] if has("from next") else trans[tags[:, :-1], tags[:, 1:]]
        last = tags[:, -1] if has("end of padding") else tags[rows, valid.sum(1) - 1]
        gold = self.start[tags[:, 0]] + (emitted if has("padding emitted") else emitted * valid).sum(1)
        gold = gold + (moved * valid[:, 1:]).sum(1) + self.end[last]
        return z, gold


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(13, 6, padding_idx=None if has("padding trained") else 0)
        with torch.no_grad():
            self.emb.weight[0] = 0
        self.conv, self.out, self.crf = nn.Conv1d(6, 8, 3, padding=1), nn.Linear(8, 4), Crf()

    def forward(self, x, tags, valid):
        h = self.emb(x).transpose(1, 2)
        if has("words reversed"):
            h = h.flip(2)
        h = torch.tanh(self.conv(h)).transpose(1, 2)
        return self.crf(self.out(h), tags, valid)


def tagger(steps=3):
    torch.manual_seed(0)
    model = Tagger()
    torch.manual_seed(1)
    words, tags = torch.randint(2, 13, (4 * steps, 6)), torch.randint(0, 4, (4 * steps, 6))
    for i in range(4 * steps):
        words[i, (6, 4, 3, 5)[i % 4]:] = 0
    for row in tags:
        for t in range(1, 6):
            # 2 may not follow 0, nor 3 follow 1.
            row[t] -= int((row[t - 1].item(), row[t].item()) in ((0, 2), (1, 3)))
    tags = tags.masked_fill(words == 0, 0)
    crf = list(model.crf.parameters())
    rest = [p for n, p in model.named_parameters() if not n.startswith("crf")]
    optimizer = torch.optim.Adagrad(
        [{"params": rest}, {"params": crf, "lr": 0.1 if has("one rate") else 0.3}], lr=0.1, lr_decay=0.0 if has("no decay") else 0.1,
        initial_accumulator_value=0.0 if has("accumulator") else 0.1)
    torch.manual_seed(7)
    yield model
    for step in range(steps):
        x, y = words[4 * step:4 * step + 4], tags[4 * step:4 * step + 4]
        valid = x != 0
        unknown = (torch.rand(4, 6) < (0.4 if has("more unknown") else 0.2)) & valid
        z, gold = model(torch.where(unknown, 1, x), y, valid)
        likelihood = z - gold if has("sign") else gold - z
        loss = -(likelihood.mean() if has("mean of sentences") else likelihood.sum() / valid.sum())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


# ---------------------------------------------------------------- sparse: an autoencoder of which k features stay


class Sparse(nn.Module):
    def __init__(self, d=8, n=24):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(d))
        dec = torch.randn(n, d)
        if not has("rows not normalized"):
            dec = dec / dec.norm(dim=1, keepdim=True)
        self.enc_bias, self.dec = nn.Parameter(torch.full((n,), -1.0)), nn.Parameter(dec)
        self.enc = nn.Parameter(torch.randn(d, n) * 0.3 if has("encoder of its own") else dec.t().contiguous())
        self.register_buffer("quiet", torch.zeros(n, dtype=torch.long))

    def forward(self, x):
        inner = x if has("bias not subtracted") else x - self.bias
        pre = inner @ self.enc + self.enc_bias
        if has("largest magnitudes"):
            at = pre.abs().topk(4, dim=1).indices
            values = pre.gather(1, at)
        else:
            values, at = pre.topk(6 if has("k") else 4, dim=1)
        if not has("not rectified"):
            values = F.relu(values)
        if has("by mask"):
            z = F.relu(pre) * torch.zeros_like(pre, dtype=torch.bool).scatter(1, at, True)
        else:
            z = torch.zeros_like(pre).scatter(1, at, values)
        out = z @ self.dec
        return pre, z, out if has("bias not added") else out + self.bias


def sparse(steps=4):
    torch.manual_seed(0)
    model = Sparse()
    torch.manual_seed(1)
    data = torch.relu(torch.randn(6 * steps, 10) - 0.5) @ torch.randn(10, 8) + 0.5
    with torch.no_grad():
        model.bias.copy_(data.mean(0) if has("mean as bias") else data.median(0).values)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2, eps=1e-8 if has("adam eps") else 6.25e-6)
    torch.manual_seed(7)
    yield model
    for step in range(steps):
        x = data[6 * step:6 * step + 6]
        pre, z, out = model(x)
        spread = (x - x.mean() if has("mean of all") else x - x.mean(0)).pow(2).mean()
        loss = (out - x).pow(2).mean()
        if not has("not normalized"):
            loss = loss / spread
        with torch.no_grad():
            fired = (z > 0).all(0) if has("fired in all rows") else (z > 0).any(0)
            if has("counter not reset"):
                model.quiet.add_(1)
            else:
                model.quiet.copy_(torch.where(fired, 0, model.quiet + 1))
        dead = model.quiet > (1 if has("later dead") else 0)
        if has("living revived"):
            dead = ~dead
        if not has("none revived"):
            residual = x - out if has("residual with gradient") else (x - out).detach()
            again = pre.masked_fill(~dead, -1e9).topk(3, dim=1)
            back = torch.zeros_like(pre).scatter(1, again.indices, F.relu(again.values)) @ model.dec
            loss = loss + (1 / 8 if has("share of revived") else 1 / 32) * (back - residual).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        if not has("gradient not projected"):
            with torch.no_grad():
                g, w = model.dec.grad, model.dec
                g.sub_((g * w).sum(1, keepdim=True) * w)
        optimizer.step()
        if not has("not unit"):
            with torch.no_grad():
                model.dec.div_(model.dec.norm(dim=0 if has("unit columns") else 1, keepdim=True))


# ---------------------------------------------------------------- sharp: mixed samples, soft labels, sharpness-aware steps, average


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(2, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.conv2, self.bn2 = nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.fc = nn.Linear(6, 4)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(x + self.bn2(self.conv2(x)))
        return self.fc(x.flatten(2).mean(2))


def sharp(steps=3):
    torch.manual_seed(0)
    model = Net()
    average = copy.deepcopy(model)
    images, labels = torch.randn(6 * steps, 2, 6, 6), torch.randint(0, 4, (6 * steps,))
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.SGD([{"params": decayed, "weight_decay": 5e-3},
                                 {"params": others, "weight_decay": 5e-3 if has("decay of all") else 0.0}],
                                lr=0.1, momentum=0.9, dampening=0.5 if has("dampening") else 0.0)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps + 1 if has("longer period") else steps)
    torch.manual_seed(7)
    yield {"model": model, "average": average}

    def smooth(y):
        eps = 0.1
        off = eps / 3 if has("eps over others") else eps / 4
        return F.one_hot(y, 4).float() * (1 - eps) + off

    def mix(x, y):
        lam = torch.rand(6, 1) if has("share of each") else torch.rand(1, 1)
        i = torch.arange(5, -1, -1) if has("reversed") else torch.randperm(6)
        soft = smooth(y)
        mixed = lam[:, :, None, None] * x + (1 - lam[:, :, None, None]) * x[i]
        other = soft if has("labels not permuted") else soft[i]
        if has("shares exchanged"):
            return mixed, (1 - lam) * soft + lam * other
        return mixed, lam * soft + (1 - lam) * other

    def loss_of(x, soft):
        return -(soft * F.log_softmax(model(x), 1)).sum(1).mean()

    averaged = 0
    for step in range(steps):
        x, y = images[6 * step:6 * step + 6], labels[6 * step:6 * step + 6]
        mixed, soft = mix(x, y)
        optimizer.zero_grad()
        loss_of(mixed, soft).backward()
        params = list(model.parameters())
        if not has("plain step"):
            with torch.no_grad():
                norm = torch.stack([p.grad.norm() for p in params]).norm()
                old = [p.clone() for p in params]
                for p in params:
                    if has("norm of each"):
                        norm = p.grad.norm()
                    rho = 0.1 if has("rho") else 0.05
                    move = p.grad * (rho / (norm + 1e-12))
                    if has("moved down"):
                        move = -move
                    if has("moved in a copy"):
                        p.copy_(p + move)
                    else:
                        p.add_(move)
            if not has("gradients added"):
                optimizer.zero_grad()
            if has("mixed again"):
                mixed, soft = mix(x, y)
            if not has("statistics twice"):
                model.bn1.momentum = model.bn2.momentum = 0.0
            loss_of(mixed, soft).backward()
            model.bn1.momentum = model.bn2.momentum = 0.1
            if not has("not moved back"):
                with torch.no_grad():
                    for p, o in zip(params, old):
                        p.copy_(o)
        optimizer.step()
        cosine.step()
        if step >= (0 if has("average from first") else 1):
            averaged += 1
            with torch.no_grad():
                for a, p in zip(average.parameters(), params):
                    a.add_((p - a) / (averaged + 1 if has("one more averaged") else averaged))


PROGRAMS = {f.__name__: f for f in (clip, flow, scan, quantized, ode, tagger, sparse, sharp)}


CASES = [
    # clip
    case("clip", ["gelu"], ("operation", None, "image", 1, "forward"), accept=["step"]),
    case("clip", ["quick factor"], ("argument", "other", "image", 1, "forward")),
    case("clip", ["largest of pixels"], ("operation", "mean", "image", 1, "forward")),
    # The unit vectors hide it: the losses of two steps have the same bits.
    case("clip", ["text eps"], ("argument", "eps", "text.norm", 1, "forward")),
    case("clip", ["no positions"], ("step", "add", "text", 1, "forward"), accept=["frozen"]),
    case("clip", ["last token"], ("operation", "index", "text", 1, "forward"), accept=["argument", "input", "step"]),
    case("clip", ["lowest token"], ("operation", "argmax", "text", 1, "forward")),
    case("clip", ["temperature"], ("weights", None, None, 1, "forward")),
    case("clip", ["unit columns"], ("argument", "dim", None, 1, "forward")),
    case("clip", ["texts not normalized"], ("step", None, None, 1, "forward")),
    case("clip", ["logarithm as scale"], ("step", "exp", None, 1, "forward")),
    case("clip", ["decay of all"], ("optimizer", None, None, 1, "optimizer"), accept=["step"]),
    case("clip", ["beta2"], ("optimizer", None, None, 1, "optimizer"), accept=["argument"]),
    # The rate of the first step is zero.
    case("clip", ["warm-up from zero"], ("optimizer", None, None, 1, "optimizer")),
    case("clip", ["one direction"], ("step", None, None, 1, "forward"), accept=["operation"]),
    case("clip", ["not transposed"], ("step", "t", None, 1, "forward"), accept=["input"]),
    case("clip", ["sum of directions"], ("step", "div", None, 1, "forward")),
    case("clip", ["not clamped"], ("step", "clamp", None, 1, None), accept=["optimizer"]),
    case("clip", ["quick factor", "beta2"], ("argument", "other", "image", 1, "forward"), ("optimizer", None, None, 1, "optimizer")),
    # flow
    case("flow", ["same masks"], ("weights", None, "layers.1", 1, "forward"), accept=["data"]),
    case("flow", ["halves exchanged"], ("order", None, "layers.0", 1, "forward"), accept=["input"]),
    case("flow", ["not squashed"], ("step", "tanh", "layers.0", 1, "forward")),
    case("flow", ["no factor"], ("step", "mul", "layers.0", 1, "forward"), accept=["frozen"]),
    case("flow", ["scale not masked"], ("step", "mul", "layers.0", 1, "forward")),
    case("flow", ["shifted first"], ("order", None, "layers.0", 1, "forward")),
    case("flow", ["divided"], ("step", "neg", "layers.0", 1, "forward")),
    case("flow", ["determinant of batch"], ("argument", "dim", "layers.0", 1, "forward"), accept=["operation", "step"]),
    case("flow", ["not initialized"], ("step", None, "acts.0", 1, "forward"), accept=["input", "operation", "weights"]),
    case("flow", ["biased deviation"], ("argument", "correction", "acts.0", 1, "forward")),
    case("flow", ["no determinant of act"], ("step", "add", None, 1, "forward")),
    case("flow", ["determinant sign"], ("operation", "add", None, 1, "forward"), accept=["step", "argument"]),
    case("flow", ["not flipped"], ("step", "flip", None, 1, "forward")),
    case("flow", ["adam"], ("optimizer", None, None, 1, "optimizer"), accept=["operation", "step"]),
    case("flow", ["normal noise"], ("operation", "rand_like", None, 1, "forward"), accept=["stream"]),
    case("flow", ["not halved"], ("step", "mul", None, 1, "forward")),
    # No gradient differs.
    case("flow", ["no constant"], ("step", "sub", None, 1, "forward")),
    case("flow", ["per vector"], ("step", "div", None, 1, "forward")),
    case("flow", ["parts not averaged"], ("step", "div", None, 1, None)),
    case("flow", ["rate kept"], ("optimizer", None, None, 2, "optimizer")),
    case("flow", ["biased deviation", "rate kept"], ("argument", "correction", "acts.0", 1, "forward"),
         ("optimizer", None, None, 2, "optimizer")),
    # scan
    case("scan", ["rms eps"], ("argument", "other", "layers.0.norm", 1, "forward")),
    case("scan", ["all ones"], ("weights", None, "layers.0", 1, "forward")),
    case("scan", ["bias of logarithm"], ("weights", None, "layers.0.dt_proj", 1, "forward")),
    case("scan", ["gate exchanged"], ("order", None, "layers.0", 1, "forward"), accept=["input"]),
    case("scan", ["convolution looks ahead"], ("argument", None, "layers.0", 1, "forward"), accept=["input"]),
    case("scan", ["convolution linear"], ("step", "silu", "layers.0", 1, "forward")),
    case("scan", ["reads for writes"], ("order", None, "layers.0", 1, "forward"), accept=["input"]),
    case("scan", ["exponential step"], ("operation", "softplus", "layers.0", 1, "forward")),
    case("scan", ["no exponential"], ("step", "exp", "layers.0", 1, "forward")),
    case("scan", ["grows"], ("step", "neg", "layers.0", 1, "forward")),
    case("scan", ["writes not scaled"], ("step", "mul", "layers.0", 1, "forward")),
    # The state before the first word is zero.
    case("scan", ["state before"], ("input", None, "layers.0", 1, "forward"), accept=["order", "step", "operation"]),
    case("scan", ["no skip"], ("step", None, "layers.0", 1, "forward"), accept=["frozen"]),
    case("scan", ["gate linear"], ("step", "silu", "layers.0", 1, "forward")),
    case("scan", ["residual of norm"], ("input", None, "layers.0", 1, "forward"), accept=["step", "order"]),
    case("scan", ["head not tied"], ("tied", None, None, None, None), accept=["weights", "input"]),
    case("scan", ["rates decayed"], ("optimizer", None, None, 1, "optimizer"), accept=["step"]),
    case("scan", ["clipped by sum"], ("argument", "ord", None, 1, None)),
    case("scan", ["convolution linear", "rates decayed"], ("step", "silu", "layers.0", 1, "forward"),
         ("optimizer", None, None, 1, "optimizer")),
    # quantized
    case("quantized", ["uniform codes"], ("weights", None, "vq", 1, "forward"), accept=["data"]),
    case("quantized", ["decay"], ("argument", None, "vq", 1, "forward"), accept=["optimizer"]),
    case("quantized", ["means followed"], ("step", "div", "vq", 1, "forward")),
    case("quantized", ["decay exchanged"], ("argument", None, "vq", 1, "forward"), accept=["optimizer"]),
    case("quantized", ["small counts"], ("argument", "other", "vq", 1, "forward")),
    case("quantized", ["counts not rescaled"], ("step", None, "vq", 1, "forward")),
    case("quantized", ["length ignored"], ("step", "add", "vq", 1, "forward")),
    case("quantized", ["product added"], ("operation", "sub", "vq", 1, "forward"), accept=["argument", "step"]),
    case("quantized", ["farthest"], ("operation", "argmin", "vq", 1, "forward")),
    case("quantized", ["followed before"], ("order", None, "vq", 1, "forward"), accept=["input", "step"]),
    # The loss has the same bits; no gradient of the commitment comes to the encoder.
    case("quantized", ["encoder for codes"], ("frozen", None, None, 1, None), accept=["step", "input", "operation"]),
    # Other last bits forward; no gradient of the decoder comes to the encoder.
    case("quantized", ["not straight-through"], ("step", None, "vq", 1, "forward"), accept=["frozen", "input", "operation"]),
    # The same bits forward.
    case("quantized", ["codes not detached"], ("frozen", None, None, 1, None), accept=["step", "input", "operation"]),
    case("quantized", ["channels not last"], ("step", "permute", None, 1, "forward")),
    case("quantized", ["adam"], ("optimizer", None, None, 1, "optimizer"), accept=["operation", "step", "argument"]),
    case("quantized", ["sum of pixels"], ("argument", "reduction", None, 1, "forward")),
    case("quantized", ["commitment"], ("argument", "other", None, 1, "forward")),
    # Between two steps, under no_grad: only the training mode in Python says it.
    case("quantized", ["validated in train"], ("step", None, "vq", None, None), accept=["mode"]),
    case("quantized", ["farthest", "sum of pixels"], ("operation", "argmin", "vq", 1, "forward"),
         ("argument", "reduction", None, 1, "forward")),
    # ode
    case("ode", ["relu"], ("operation", "tanh", "model", 1, "forward")),
    case("ode", ["momentum"], ("optimizer", None, None, 2, "optimizer"), accept=["argument"]),
    case("ode", ["euler"], ("step", None, None, 1, "forward"), accept=["operation", "input"]),
    case("ode", ["time of start"], ("step", "add", None, 1, "forward"), accept=["input"]),
    case("ode", ["first slope again"], ("input", None, None, 1, "forward")),
    case("ode", ["half last step"], ("step", "mul", None, 1, "forward"), accept=["input", "argument"]),
    # Two differ: the factors of two slopes, and the divisor.
    case("ode", ["equal weights"], ("step", "mul", None, 1, "forward"), ("argument", "other", None, 1, "forward"),
         accept=["operation", "input"]),
    case("ode", ["no sixth"], ("step", "div", None, 1, "forward")),
    case("ode", ["backwards"], ("operation", "add", None, 1, "forward"), accept=["argument", "step"]),
    case("ode", ["noise"], ("argument", "other", None, 1, "forward")),
    case("ode", ["first step length"], ("argument", "index", None, 1, "forward"), accept=["input", "step", "data"]),
    case("ode", ["time stands"], ("argument", "index", None, 1, "forward"), accept=["input", "step", "data"]),
    # Only the gradient differs.
    case("ode", ["detached between"], ("frozen", None, None, 1, None), accept=["step", "input", "operation"]),
    case("ode", ["last only"], ("step", None, None, 1, "forward"), accept=["operation", "argument", "input"]),
    case("ode", ["goals by one"], ("argument", None, None, 1, "forward"), accept=["input", "data", "step"]),
    case("ode", ["delta"], ("argument", "delta", None, 1, "forward")),
    case("ode", ["period"], ("step", None, None, 2, None), accept=["optimizer"]),
    case("ode", ["share"], ("argument", "alpha", None, 2, None), accept=["optimizer"]),
    case("ode", ["difference reversed"], ("order", None, None, 2, None), accept=["optimizer", "input"]),
    case("ode", ["fast goes on"], ("step", "copy", None, 2, None), accept=["optimizer", "input"]),
    case("ode", ["delta", "share"], ("argument", "delta", None, 1, "forward"), ("argument", "alpha", None, 2, None)),
    # tagger
    case("tagger", ["uniform transitions"], ("weights", None, "crf", 1, "forward")),
    case("tagger", ["all allowed"], ("step", "masked_fill", "crf", 1, "forward")),
    case("tagger", ["no start"], ("step", "add", "crf", 1, "forward"), accept=["frozen"]),
    case("tagger", ["first twice"], ("step", None, "crf", 1, "forward"), accept=["input", "argument"]),
    case("tagger", ["best path"], ("operation", "logsumexp", "crf", 1, "forward")),
    case("tagger", ["sum over next"], ("argument", "dim", "crf", 1, "forward")),
    case("tagger", ["through padding"], ("step", "where", "crf", 1, "forward")),
    case("tagger", ["padding inverted"], ("order", None, "crf", 1, "forward"), accept=["input"]),
    case("tagger", ["from next"], ("order", None, "crf", 1, "forward"), accept=["input"]),
    case("tagger", ["end of padding"], ("operation", "index", "crf", 1, "forward"), accept=["input", "argument", "step"]),
    case("tagger", ["padding emitted"], ("step", "mul", "crf", 1, "forward")),
    # Only the gradient differs.
    case("tagger", ["padding trained"], ("argument", "padding_idx", "emb", 1, None)),
    case("tagger", ["words reversed"], ("step", "flip", None, 1, "forward")),
    case("tagger", ["one rate"], ("optimizer", None, None, 1, "optimizer"), accept=["argument"]),
    case("tagger", ["no decay"], ("optimizer", None, None, 2, "optimizer"), accept=["argument"]),
    # The state is made before the recording begins.
    case("tagger", ["accumulator"], ("optimizer", None, None, 1, "optimizer"), accept=["data", "input"]),
    case("tagger", ["more unknown"], ("argument", "other", None, 1, "forward")),
    case("tagger", ["sign"], ("order", None, None, 1, "forward"), accept=["input"]),
    case("tagger", ["mean of sentences"], ("operation", None, None, 1, "forward"), accept=["step", "argument"]),
    case("tagger", ["padding emitted", "one rate"], ("step", "mul", "crf", 1, "forward"), ("optimizer", None, None, 1, "optimizer")),
    # sparse
    case("sparse", ["rows not normalized"], ("weights", None, None, 1, "forward")),
    case("sparse", ["encoder of its own"], ("weights", None, None, 1, "forward")),
    case("sparse", ["mean as bias"], ("weights", None, None, 1, "forward")),
    case("sparse", ["bias not subtracted"], ("step", "sub", None, 1, "forward")),
    case("sparse", ["largest magnitudes"], ("step", "abs", None, 1, "forward"), accept=["operation", "input"]),
    case("sparse", ["k"], ("argument", "k", None, 1, "forward")),
    case("sparse", ["not rectified"], ("step", "relu", None, 1, "forward")),
    case("sparse", ["bias not added"], ("step", "add", None, 1, "forward")),
    case("sparse", ["adam eps"], ("optimizer", None, None, 1, "optimizer"), accept=["argument"]),
    case("sparse", ["mean of all"], ("argument", "dim", None, 1, "forward"), accept=["operation", "step"]),
    case("sparse", ["not normalized"], ("step", "div", None, 1, "forward")),
    case("sparse", ["fired in all rows"], ("operation", "any", None, 1, "forward")),
    case("sparse", ["counter not reset"], ("step", "where", None, 1, "forward"), accept=["operation", "input"]),
    case("sparse", ["later dead"], ("argument", "other", None, 1, "forward")),
    case("sparse", ["living revived"], ("step", "bitwise_not", None, 1, "forward"), accept=["input"]),
    case("sparse", ["none revived"], ("step", None, None, 1, "forward")),
    # The loss has the same bits.
    case("sparse", ["residual with gradient"], ("frozen", None, None, 1, None), accept=["step", "input", "operation"]),
    case("sparse", ["share of revived"], ("argument", "other", None, 1, "forward")),
    case("sparse", ["gradient not projected"], ("step", None, None, 1, None), accept=["optimizer"]),
    case("sparse", ["not unit"], ("step", None, None, 1, None), accept=["optimizer"]),
    case("sparse", ["unit columns"], ("argument", "dim", None, 1, None), accept=["optimizer"]),
    case("sparse", ["bias not added", "unit columns"], ("step", "add", None, 1, "forward"), ("argument", "dim", None, 1, None)),
    # sharp
    case("sharp", ["decay of all"], ("optimizer", None, None, 1, "optimizer"), accept=["step"]),
    case("sharp", ["dampening"], ("optimizer", None, None, 2, "optimizer"), accept=["argument"]),
    case("sharp", ["longer period"], ("optimizer", None, None, 2, "optimizer")),
    case("sharp", ["eps over others"], ("argument", "other", None, 1, "forward")),
    case("sharp", ["share of each"], ("argument", "size", None, 1, "forward"), accept=["stream"]),
    case("sharp", ["reversed"], ("operation", "randperm", None, 1, "forward"), accept=["stream", "input", "step"]),
    case("sharp", ["labels not permuted"], ("step", "index", None, 1, "forward"), accept=["input"]),
    case("sharp", ["shares exchanged"], ("order", None, None, 1, "forward"), accept=["input"]),
    case("sharp", ["plain step"], ("step", None, None, 1, None), accept=["optimizer", "input"]),
    case("sharp", ["norm of each"], ("step", None, None, 1, None), accept=["input", "operation"]),
    case("sharp", ["rho"], ("argument", "other", None, 1, None)),
    case("sharp", ["moved down"], ("step", "neg", None, 1, None)),
    case("sharp", ["gradients added"], ("gradient-not-zeroed", None, None, 1, "backward")),
    case("sharp", ["mixed again"], ("step", None, None, 1, None), accept=["stream", "input", "operation"]),
    # Only the statistics differ.
    case("sharp", ["statistics twice"], ("argument", "momentum", "model.bn1", 1, None)),
    case("sharp", ["not moved back"], ("step", "copy", None, 1, None), accept=["input", "optimizer"]),
    case("sharp", ["average from first"], ("step", None, None, 1, None), accept=["optimizer"]),
    case("sharp", ["one more averaged"], ("argument", "other", None, 2, None), accept=["optimizer"]),
    case("sharp", ["eps over others", "longer period"], ("argument", "other", None, 1, "forward"),
         ("optimizer", None, None, 2, "optimizer")),
]

# Nothing may be reported. (None of these changes a bit of a parameter.)
EQUAL = [
    ("clip", ["by hand"]),
    ("flow", ["commuted"]),
    ("scan", ["in place"]),
    ("quantized", ["codes by product"]),
    ("ode", ["halved otherwise"]),
    ("ode", ["difference otherwise"]),
    ("tagger", ["mask as factor"]),
    ("tagger", ["indexed"]),
    ("sparse", ["by mask"]),
    ("sharp", ["moved in a copy"]),
]
