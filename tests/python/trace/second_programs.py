"""A second set of training programs and mistakes that were chosen without knowledge of the rules of the comparison. `accept` has other
classes that are as good."""

import copy
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from programs import has
from unseen_programs import case


# ---------------------------------------------------------------- patches: patches, class token, pre-norm blocks, stochastic depth


class VitBlock(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(d, eps=1e-5 if has("norm eps") else 1e-6), nn.LayerNorm(d, eps=1e-6)
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.fc1, self.fc2 = nn.Linear(d, 2 * d), nn.Linear(2 * d, d)

    def attend(self, x):
        b, n, d = x.shape
        h = self.heads
        if has("heads first"):
            q, k, v = self.qkv(x).reshape(b, n, h, 3, d // h).permute(3, 0, 2, 1, 4).unbind(0)
        elif has("chunks"):
            q, k, v = (t.reshape(b, n, h, d // h).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        else:
            q, k, v = self.qkv(x).reshape(b, n, 3, h, d // h).permute(2, 0, 3, 1, 4).unbind(0)
        if has("keys for values"):
            v = k
        out = F.scaled_dot_product_attention(q, k, v, is_causal=has("causal"), scale=d ** -0.5 if has("scale of width") else None)
        if has("heads not moved back"):
            return self.proj(out.reshape(b, n, d))
        return self.proj(out.transpose(1, 2).reshape(b, n, d))

    def keep(self, y):
        """Leaves out the branch for some samples."""
        if not self.training:
            return y
        mask = (torch.rand(y.size(0), y.size(1) if has("depth per token") else 1, 1) < 0.75).float()
        return y * mask if has("depth not scaled") else y * mask / 0.75

    def mlp(self, x):
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh" if has("gelu tanh") else "none"))

    def forward(self, x):
        if has("post norm"):
            x = self.norm1(x + self.keep(self.attend(x)))
            return self.norm2(x + self.keep(self.mlp(x)))
        x = x + self.keep(self.attend(self.norm1(x)))
        return x + self.keep(self.mlp(self.norm2(x)))


class Vit(nn.Module):
    def __init__(self, d=12):
        super().__init__()
        self.patch = nn.Conv2d(3, d, 4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, d) * 0.02)
        self.pos = nn.Parameter(torch.randn(1, 7, d) * (1.0 if has("positions large") else 0.02))
        self.blocks = nn.ModuleList(VitBlock(d, 3) for _ in range(2))
        self.norm, self.head = nn.LayerNorm(d, eps=1e-6), nn.Linear(d, 5)

    def forward(self, x):
        x = self.patch(x)
        if has("columns first"):
            x = x.transpose(2, 3)
        x = x.flatten(2).transpose(1, 2)
        token = self.token.repeat(x.size(0), 1, 1) if has("chunks") else self.token.expand(x.size(0), -1, -1)
        if has("token without position"):
            x = torch.cat([token, x + self.pos[:, 1:]], 1)
        elif has("token last"):
            x = torch.cat([x, token], 1) + self.pos
        else:
            x = torch.cat([token, x], 1) + self.pos
        for block in self.blocks:
            x = block(x)
        if not has("no last norm"):
            x = self.norm(x)
        return self.head(x.mean(1) if has("mean of tokens") else x[:, 0])


def patches(steps=2):
    torch.manual_seed(0)
    model = Vit()
    x, y = torch.randn(2 * steps, 3, 8, 12), torch.randint(0, 5, (2 * steps,))
    decayed = [p for n, p in model.named_parameters() if p.dim() > 1 and n not in ("token", "pos")]
    others = [p for n, p in model.named_parameters() if p.dim() == 1 or n in ("token", "pos")]
    kind = torch.optim.Adam if has("coupled decay") else torch.optim.AdamW
    optimizer = kind([{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.1 if has("decay of all") else 0.0}],
                     lr=1e-2)
    torch.manual_seed(7)
    yield model
    for step in range(steps):
        xb, yb = x[2 * step:2 * step + 2], y[2 * step:2 * step + 2]
        loss = F.cross_entropy(model(xb), yb, label_smoothing=0.0 if has("no smoothing") else 0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


# ---------------------------------------------------------------- segmenter: skip connection, transposed convolution, dice and cross entropy


class ConvNorm(nn.Module):
    def __init__(self, n_in, n):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(n_in, n, 3, padding=1, bias=False), nn.BatchNorm2d(n)

    def forward(self, x):
        return self.bn(self.conv(x))


def rectified(x):
    return torch.where(x > 0, x, torch.zeros_like(x)) if has("relu by where") else F.relu(x)


class Unet(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc1, self.enc2 = ConvNorm(2, 4), ConvNorm(4, 8)
        self.up, self.dec = nn.ConvTranspose2d(8, 4, 2, stride=2), ConvNorm(8, 4)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        before = self.enc1(x)
        skip = rectified(before)
        low = F.avg_pool2d(skip, 2) if has("average pool") else F.max_pool2d(skip, 2)
        h = rectified(self.enc2(low))
        if has("kernel flipped"):
            h = F.conv_transpose2d(h, self.up.weight.flip(2, 3), self.up.bias, stride=2)
        else:
            h = self.up(h)
        if has("skip before relu"):
            skip = before
        h = torch.cat([h, skip] if has("skip last") else [skip, h], 1)
        return self.head(rectified(self.dec(h)))


def segmenter(steps=3):
    torch.manual_seed(0)
    model = Unet()
    x, y = torch.randn(2, 2, 10, 12), (torch.rand(2, 2, 10, 12) < 0.3).float()
    seen = torch.randn(2, 2, 10, 12)
    share = torch.tensor([2.0, 3.0]).reshape(2, 1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=not has("not nesterov"))
    # The first numbers of this stream flip in the third step only.
    torch.manual_seed(7)
    yield model

    def dice_loss(out, y):
        p = out if has("dice of logits") else out.sigmoid()
        if has("dice of batch"):
            both, all_ = (p * y).sum(), p.sum() + y.sum()
        else:
            both, all_ = (p * y).sum((1, 2, 3)), p.sum((1, 2, 3)) + y.sum((1, 2, 3))
        smooth = 1e-5 if has("dice smooth") else 1.0
        top = both + smooth if has("dice not doubled") else 2 * both + smooth
        dice = top / (all_ + smooth)
        return dice.mean() if has("dice grows") else (1 - dice).mean()

    for step in range(steps):
        if step == 0 or not has("stays in eval"):
            model.train()
        xb, yb = x, y
        if torch.rand(2)[0].item() < 0.5:
            xb = xb.flip(2 if has("flip of rows") else 3)
            if not has("mask not flipped"):
                yb = yb.flip(2 if has("flip of rows") else 3)
        out = model(xb)
        if has("dice first"):
            dice = dice_loss(out, yb)
        how = dict(reduction="sum" if has("sum of pixels") else "mean", pos_weight=None if has("positives not weighted") else share)
        bce = F.binary_cross_entropy_with_logits(out, yb, **how)
        if not has("dice first"):
            dice = dice_loss(out, yb)
        loss = 0.5 * bce + dice
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if not has("validated in train"):
            model.eval()
        with torch.no_grad():
            model(seen)


# ---------------------------------------------------------------- latent: reparametrization, divergence with a growing weight


class Vae(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc1, self.enc2 = nn.Linear(12, 16), nn.Linear(16, 8)
        self.dec1, self.dec2 = nn.Linear(4, 16), nn.Linear(16, 12)
        init = nn.init.kaiming_normal_ if has("kaiming") else nn.init.xavier_normal_
        for layer in (self.dec1, self.dec2):
            init(layer.weight, generator=torch.Generator().manual_seed(3))

    def forward(self, x):
        h = self.enc2(torch.tanh(self.enc1(x)))
        if has("halves exchanged"):
            logvar, mu = h.chunk(2, 1)
        elif has("commuted"):
            mu, logvar = h[:, :4], h[:, 4:]
        else:
            mu, logvar = h.chunk(2, 1)
        if has("variance as deviation"):
            std = torch.exp(logvar)
        elif has("softplus"):
            std = F.softplus(logvar)
        elif has("commuted"):
            std = torch.exp(logvar / 2)
        else:
            std = torch.exp(0.5 * logvar)
        if has("one noise"):
            noise = torch.randn(1, 4)
        else:
            noise = torch.rand(mu.size(0), 4) if has("uniform noise") else torch.randn(mu.size(0), 4)
        z = (mu.detach() if has("mean detached") else mu) + noise * std
        if has("commuted"):
            z = std * noise + mu
        return self.dec2(F.relu(self.dec1(z))), mu, logvar


def latent(steps=3):
    torch.manual_seed(0)
    model = Vae()
    x = torch.rand(6 * steps, 12)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, betas=(0.9, 0.99) if has("beta2") else (0.9, 0.999))
    torch.manual_seed(8 if has("seed") else 7)
    yield model
    for step in range(steps):
        xb = x[6 * step:6 * step + 6]
        out, mu, logvar = model(xb)
        if has("sigmoid twice"):
            out = out.sigmoid()
        if has("mean of pixels"):
            rec = F.binary_cross_entropy_with_logits(out, xb, reduction="mean")
        else:
            rec = F.binary_cross_entropy_with_logits(out, xb, reduction="sum") / 6
        inner = 1 + logvar - (mu if has("mean not squared") else mu.pow(2)) - (logvar if has("variance not exponential") else logvar.exp())
        factor = 0.5 if has("divergence sign") else -0.5
        kl = factor * (inner.mean() if has("mean of latents") else inner.sum(1).mean())
        beta = min(1.0, (step if has("beta late") else step + 1) / 4)
        loss = rec + beta * kl
        if step == 0 or not has("not zeroed"):
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()


# ---------------------------------------------------------------- seq2seq: LSTM cells, additive attention, teacher forcing, padding


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb, self.cell = nn.Embedding(12, 8), nn.LSTMCell(8, 10)
        if not has("forget bias"):
            with torch.no_grad():
                self.cell.bias_ih[10:20] = 1.0

    def forward(self, x, valid):
        h, c = torch.zeros(x.size(0), 10), torch.zeros(x.size(0), 10)
        e = self.emb(x.flip(1) if has("source reversed") else x)
        outs = []
        for t in range(x.size(1)):
            h2, c2 = self.cell(e[:, t], (h, c))
            m = valid[:, t, None]
            if has("state through padding"):
                h, c = h2, c2
            elif has("mask as factor"):
                m = m.float()
                h, c = m * h2 + (1 - m) * h, m * c2 + (1 - m) * c
            else:
                h, c = torch.where(m, h2, h), torch.where(m, c2, c)
            outs.append(h)
        return torch.stack(outs, 1), (h, c)


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb, self.cell = nn.Embedding(12, 8), nn.LSTMCell(18, 10)
        self.query, self.key, self.score = nn.Linear(10, 6), nn.Linear(10, 6, bias=False), nn.Linear(6, 2, bias=False)
        self.mix, self.out = nn.Linear(20, 8), nn.Linear(8, 12, bias=False)
        if has("head not tied"):
            with torch.no_grad():
                self.out.weight.copy_(self.emb.weight)
        else:
            self.out.weight = self.emb.weight

    def forward(self, token, state, enc, valid, before):
        a = self.query(state[0])[:, None] + self.key(enc)
        a = self.score(a if has("no tanh") else torch.tanh(a)).sum(-1)
        a = a.masked_fill(valid if has("mask inverted") else ~valid, -1e9)
        w = F.softmax(a, 0 if has("softmax of batch") else 1)
        context = (w[:, :, None] * enc).sum(1)
        x = torch.cat([self.emb(token), before if has("context before") else context], 1)
        h, c = self.cell(x, state)
        return self.out(torch.tanh(self.mix(torch.cat([h, context], 1)))), (h, c), context


def seq2seq(steps=2):
    torch.manual_seed(0)
    model = nn.ModuleDict({"encoder": Encoder(), "decoder": Decoder()})
    source, target = torch.randint(1, 12, (4, 6)), torch.randint(1, 12, (4, 6))
    for i, (n, m) in enumerate(((6, 4), (4, 6), (5, 5), (3, 3))):
        source[i, n:] = 0
        target[i, m:] = 0
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    torch.manual_seed(7)
    yield model
    for _ in range(steps):
        valid = source != 0
        enc, state = model["encoder"](source, valid)
        if has("state exchanged"):
            state = (state[1], state[0])
        context = torch.zeros(4, 10)
        token, loss = target[:, 0], 0.0
        for t in range(1, 6):
            out, state, context = model["decoder"](token, state, enc, valid, context)
            goal = target[:, t - 1] if has("targets not shifted") else target[:, t]
            if has("padding counted"):
                loss = loss + F.cross_entropy(out, goal, reduction="sum")
            elif has("mean of each"):
                loss = loss + F.cross_entropy(out, goal, ignore_index=0, reduction="mean")
            else:
                loss = loss + F.cross_entropy(out, goal, ignore_index=0, reduction="sum")
            if has("always forced"):
                forced = True
            else:
                coin = torch.rand(2)[0].item()
                forced = coin >= 0.5 if has("coin inverted") else coin < 0.5
            token = target[:, t] if forced else out.argmax(1)
        if not has("mean of each"):
            loss = loss / (target[:, 1:] != 0).sum()
        optimizer.zero_grad()
        loss.backward()
        if has("clipped by value"):
            nn.utils.clip_grad_value_(model.parameters(), 0.1)
        else:
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()


# ---------------------------------------------------------------- momentum: two views, a momentum encoder and a queue of keys


class Moco(nn.Module):
    def __init__(self):
        super().__init__()
        self.query = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 8))
        self.key = copy.deepcopy(self.query)
        queue = torch.randn(12, 8)
        self.register_buffer("queue", queue if has("queue not normalized") else F.normalize(queue, dim=1))

    def forward(self, one, two):
        q = self.query(one)
        if has("queries not normalized"):
            pass
        else:
            q = F.normalize(q, dim=0 if has("normalized over batch") else 1)
        if has("keys trained") or has("keys with gradient"):
            k = F.normalize(self.key(two), dim=1)
        else:
            with torch.no_grad():
                k = F.normalize(self.key(two), dim=1)
        if has("queued before"):
            with torch.no_grad():
                self.queue[8:12] = k
        positive = (q * k).sum(1, keepdim=True)
        negative = q @ self.queue.clone().t()
        logits = torch.cat([negative, positive] if has("positive last") else [positive, negative], 1)
        if has("temperature as factor"):
            logits = logits * 0.2
        else:
            logits = logits / (0.07 if has("temperature") else 0.2)
        return logits, q, k


def momentum(steps=3):
    torch.manual_seed(0)
    model = Moco()
    x = torch.randn(4 * steps, 6)
    trained = list(model.query.parameters()) + (list(model.key.parameters()) if has("keys trained") else [])
    optimizer = torch.optim.SGD(trained, lr=0.3, momentum=0.9, weight_decay=1e-3)
    torch.manual_seed(7)
    yield model
    at, m = 0, 0.9
    for step in range(steps):
        xb = x[4 * step:4 * step + 4]
        if has("views exchanged"):
            two = xb + 0.3 * torch.randn_like(xb)
            one = xb + 0.3 * torch.randn_like(xb)
        else:
            one = xb + 0.3 * torch.randn_like(xb)
            two = one if has("one view") else xb + 0.3 * torch.randn_like(xb)
        logits, q, k = model(one, two)
        labels = torch.arange(4) if has("labels of rows") else torch.zeros(4, dtype=torch.long)
        loss = F.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for p, e in zip(model.query.parameters(), model.key.parameters()):
                if has("momentum exchanged"):
                    e.mul_(1 - m).add_(p, alpha=m)
                elif has("in a copy"):
                    e.copy_(torch.add(e * m, p, alpha=1 - m))
                else:
                    e.mul_(m).add_(p, alpha=1 - m)
            if not has("queued before"):
                model.queue[at:at + 4] = (q if has("queries queued") else k).detach()
        if not has("queue stays"):
            at = (at + 4) % 12


# ---------------------------------------------------------------- skipgram: embeddings with sampled negatives


class SkipGram(nn.Module):
    def __init__(self, words=20, d=6):
        super().__init__()
        self.center = nn.Embedding(words, d, scale_grad_by_freq=has("by frequency"), max_norm=0.1 if has("max norm") else None)
        self.context = nn.Embedding(words, d)
        scale = 0.5 if has("wide init") else 0.5 / d
        with torch.no_grad():
            self.center.weight.uniform_(-scale, scale)
            self.context.weight.normal_(0, 0.3)
        if has("one table"):
            self.context = self.center

    def forward(self, c, o, n):
        center, context = self.center, self.context
        if has("tables exchanged"):
            center, context = context, center
        if has("einsum"):
            v, u, w = center(c), context.weight.index_select(0, o), context(n)
        else:
            v, u, w = center(c), context(o), context(n)
        positive = (v * u).sum(0 if has("sum over pairs") else 1)
        if has("einsum"):
            negative = torch.einsum("bkd,bd->bk", w, v)
        else:
            negative = torch.bmm(w, v[:, :, None]).squeeze(2)
        if not has("sign of negatives"):
            negative = -negative
        if has("log of sigmoid"):
            a, b = torch.log(torch.sigmoid(positive)), torch.log(torch.sigmoid(negative))
        else:
            a, b = F.logsigmoid(positive), F.logsigmoid(negative)
        return -(a.mean() + (b.mean(1) if has("mean of negatives") else b.sum(1)).mean())


def skipgram(steps=3):
    torch.manual_seed(0)
    model = SkipGram()
    torch.manual_seed(1)
    text = (torch.rand(60) ** 2 * 20).long()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / 5)
    torch.manual_seed(7)
    yield model
    counts = torch.bincount(text, minlength=20).float() + 1
    frequency = counts if has("no power") else counts ** (0.5 if has("power") else 0.75)
    frequency = frequency / frequency.sum()
    for _ in range(steps):
        def drawn():
            if has("negatives shared"):
                return torch.multinomial(frequency, 4, replacement=True).expand(10, 4)
            return torch.multinomial(frequency, 40, replacement=True).reshape(10, 4)

        if has("negatives first"):
            n = drawn()
            at = torch.randint(1, 59, (10,))
        else:
            at = torch.randint(0 if has("from zero") else 1, 59, (10,))
            n = drawn()
        c, o = text[at], text[at - 1] if has("word before") else text[at + 1]
        loss = model(c, o, n)
        optimizer.zero_grad()
        loss.backward()
        if has("rate before"):
            scheduler.step()
        optimizer.step()
        if not has("rate kept") and not has("rate before"):
            scheduler.step()


# ---------------------------------------------------------------- rotary: a decoder with rotary positions and grouped keys


class Rms(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x):
        if has("mean removed"):
            x = x - x.mean(-1, keepdim=True)
        square = x.pow(2).mean(-1, keepdim=True)
        if has("eps outside"):
            return x / (square.sqrt() + 1e-5) * self.weight
        return x * torch.rsqrt(square + 1e-5) * self.weight


def turned(x, cos, sin):
    if has("pairs"):
        return x * cos + torch.stack([-x[..., 1::2], x[..., 0::2]], -1).flatten(-2) * sin
    if has("split"):
        a, b = x.split(2, -1)
    else:
        a, b = x[..., :2], x[..., 2:]
    return x * cos + torch.cat([b, -a] if has("turned back") else [-b, a], -1) * sin


class RotaryLayer(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.norm1, self.norm2 = Rms(d), Rms(d)
        self.q, self.k, self.v = nn.Linear(d, 16, bias=False), nn.Linear(d, 8, bias=False), nn.Linear(d, 8, bias=False)
        self.o = nn.Linear(16, d, bias=False)
        self.gate, self.up, self.down = nn.Linear(d, 24, bias=False), nn.Linear(d, 24, bias=False), nn.Linear(24, d, bias=False)

    def forward(self, x, cos, sin):
        b, n, d = x.shape
        h = self.norm1(x)
        q = self.q(h).reshape(b, n, 4, 4).transpose(1, 2)
        k, v = self.k(h).reshape(b, n, 2, 4).transpose(1, 2), self.v(h).reshape(b, n, 2, 4).transpose(1, 2)
        q = turned(q, cos, sin)
        if not has("keys not turned"):
            k = turned(k, cos, sin)
        if has("values turned"):
            v = turned(v, cos, sin)
        if has("keys tiled"):
            k, v = k.repeat(1, 2, 1, 1), v.repeat(1, 2, 1, 1)
        else:
            k, v = (t[:, :, None].expand(b, 2, 2, n, 4).reshape(b, 4, n, 4) for t in (k, v))
        score = q @ k.transpose(2, 3) / math.sqrt(d if has("root of width") else 4)
        ahead = torch.ones(n, n).triu(2 if has("sees next") else 1)
        if has("split"):
            score = score + torch.zeros(n, n).masked_fill(ahead.bool(), float("-inf"))
        else:
            score = score.masked_fill(ahead.bool(), float("-inf"))
        x = x + self.o((F.softmax(score, -1) @ v).transpose(1, 2).reshape(b, n, 16))
        h = self.norm2(x)
        if has("gate exchanged"):
            return x + self.down(self.gate(h) * F.silu(self.up(h)))
        return x + self.down((F.gelu if has("gelu gate") else F.silu)(self.gate(h)) * self.up(h))


class Rotary(nn.Module):
    def __init__(self, d=12):
        super().__init__()
        self.emb = nn.Embedding(14, d)
        self.layers = nn.ModuleList(RotaryLayer(d) for _ in range(2))
        self.norm, self.head = Rms(d), nn.Linear(d, 14, bias=False)
        if has("head not tied"):
            with torch.no_grad():
                self.head.weight.copy_(self.emb.weight)
        else:
            self.head.weight = self.emb.weight

    def forward(self, x):
        base = 1000.0 if has("base") else 10000.0
        inverse = 1.0 / base ** (torch.arange(0, 4, 2).float() / 4)
        angles = torch.outer(torch.arange(x.size(1)).float(), inverse)
        angles = torch.stack([angles, angles], -1).flatten(-2) if has("pairs") else torch.cat([angles, angles], -1)
        h = self.emb(x)
        for layer in self.layers:
            h = layer(h, angles.cos(), angles.sin())
        return self.head(self.norm(h))


def rotary(steps=3):
    torch.manual_seed(0)
    model = Rotary()
    text = torch.randint(0, 14, (4 * steps, 7))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, betas=(0.9, 0.999) if has("betas") else (0.9, 0.95), weight_decay=0.1)

    def rate(step):
        if step < 1:
            return (step if has("warm-up from zero") else step + 1) / 1
        low = 0.0 if has("no lowest rate") else 0.1
        return low + (1 - low) * 0.5 * (1 + math.cos(math.pi * (step - 1) / 3))

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    yield model
    for step in range(steps):
        for part in range(2):
            at = 4 * step + 2 * part
            x, y = text[at:at + 2, :-1], text[at:at + 2, 1:]
            loss = F.cross_entropy(model(x).reshape(-1, 14), y.reshape(-1))
            if not has("parts not averaged"):
                loss = loss / 2
            if has("zeroed each"):
                optimizer.zero_grad()
            loss.backward()
            if has("clipped each"):
                nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        if not has("clipped each"):
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()


# ---------------------------------------------------------------- wgan: gradient penalty, two critic steps for one of the generator


def wgan(steps=2):
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(3, 16), nn.LeakyReLU(0.01 if has("slope") else 0.2), nn.Linear(16, 16),
                           nn.LeakyReLU(0.2), nn.Linear(16, 1, bias=False))
    generator = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
    data = torch.randn(10 * steps, 3) * torch.tensor([1.0, 0.5, 2.0]) + 1
    betas = (0.5, 0.9) if has("betas") else (0.0, 0.9)
    by_critic = torch.optim.Adam(critic.parameters(), lr=1e-2, betas=betas)
    by_generator = torch.optim.Adam(generator.parameters(), lr=1e-2, betas=(0.0, 0.9))
    torch.manual_seed(7)
    yield {"critic": critic, "generator": generator}
    for step in range(steps):
        for turn in range(1 if has("one critic step") else 2):
            at = 10 * step + (0 if has("batch again") else 5 * turn)
            real = data[at:at + 5]
            if turn == 0 or not has("noise kept"):
                z = torch.randn(5, 4)
            fake = generator(z) if has("fake with gradient") else generator(z).detach()
            share = torch.rand(1, 3) if has("one share") else torch.rand(5, 1)
            if has("mix exchanged"):
                mixed = share * fake + (1 - share) * real
            else:
                mixed = share * real + (1 - share) * fake
            mixed = mixed.detach().requires_grad_()
            score = critic(mixed)
            if has("ones"):
                slope, = torch.autograd.grad(score, mixed, torch.ones_like(score), create_graph=True)
            else:
                slope, = torch.autograd.grad(score.sum(), mixed, create_graph=not has("no graph"))
            length = slope.norm(2) if has("length of batch") else slope.norm(2, dim=1)
            over = length if has("length to zero") else length - 1
            if has("one sided"):
                over = F.relu(over)
            penalty = over.pow(2).mean()
            if has("critic sign"):
                distance = critic(real).mean() - critic(fake).mean()
            else:
                distance = critic(fake).mean() - critic(real).mean()
            loss = distance + (1.0 if has("penalty weight") else 10.0) * penalty
            if (step, turn) == (0, 0) or not has("critic not zeroed"):
                by_critic.zero_grad()
            loss.backward()
            by_critic.step()
        fooled = critic(generator(torch.randn(5, 4))).mean()
        loss = fooled if has("generator sign") else -fooled
        if step == 0 or not has("generator not zeroed"):
            by_generator.zero_grad()
        loss.backward()
        by_generator.step()


# ---------------------------------------------------------------- maml: learned rates of two inner updates


class Curve(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(1, 8), nn.Linear(8, 2)

    def forward(self, x):
        h = self.fc1(x)
        return self.fc2(F.relu(h) if has("relu") else torch.tanh(h))


class Meta(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = Curve()
        self.rates = nn.Parameter(torch.tensor([0.01, 0.005] if has("small rates") else [0.1, 0.05]))

    def fast(self, x, fast):
        if has("by hand"):
            h = torch.tanh(F.linear(x, fast["fc1.weight"], fast["fc1.bias"]))
            return F.linear(h, fast["fc2.weight"], fast["fc2.bias"])
        return torch.func.functional_call(self.net, fast, (x,))

    def adapted(self, x, y):
        first = fast = dict(self.net.named_parameters())
        rates = self.rates.detach() if has("rates detached") else self.rates
        for _ in range(1 if has("one inner update") else 2):
            error = self.fast(x, fast) - y
            loss = error.square().sum() if has("inner sum") else error.square().mean()
            grads = torch.autograd.grad(loss, list(fast.values()), create_graph=not has("first order"))
            after = {}
            for (name, p), g in zip(fast.items(), grads):
                if has("from the start"):
                    p = first[name]
                if has("biases not adapted") and name.endswith("bias"):
                    after[name] = p
                    continue
                rate = rates[0 if name.startswith("fc1") else 1]
                after[name] = p + rate * g if has("inner sign") else p - rate * g
            fast = after
        return fast


def maml(steps=2):
    torch.manual_seed(0)
    model = Meta()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    torch.manual_seed(7)
    yield model
    for step in range(steps):
        losses = []
        for _ in range(3):
            if has("phase first"):
                phase = torch.rand(2) * math.pi
                height = torch.rand(2) * 4.9 + 0.1
            else:
                height = torch.rand(2) * (5.0 if has("height") else 4.9) + 0.1
                phase = torch.rand(2) * math.pi
            xs = torch.rand(5, 1) * 10 - 5
            xq = xs if has("same points") else torch.rand(5, 1) * 10 - 5
            ys, yq = height * torch.sin(xs + phase), height * torch.sin(xq + phase)
            fast = model.adapted(xs, ys)
            if has("scored on support"):
                losses.append(F.mse_loss(model.fast(xs, fast), ys))
            else:
                losses.append(F.mse_loss(model.fast(xq, fast), yq))
        loss = torch.stack(losses).sum() if has("sum of tasks") else torch.stack(losses).mean()
        if step == 0 or not has("not zeroed"):
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()


# ---------------------------------------------------------------- wavenet: causal dilated convolutions, gates, skips, weight norm


class Gated(nn.Module):
    def __init__(self, dilation):
        super().__init__()
        norm = nn.utils.parametrizations.weight_norm
        self.dilation = 1 if has("not dilated") else dilation
        self.conv = norm(nn.Conv1d(6, 12, 2, dilation=self.dilation))
        self.res, self.skip = nn.Conv1d(6, 6, 1), nn.Conv1d(6, 6, 1)

    def forward(self, x):
        d = self.dilation
        if has("zeros in front"):
            padded = torch.cat([torch.zeros(x.size(0), 6, d), x], 2)
        else:
            padded = F.pad(x, (0, d) if has("padded at the end") else (d, 0))
        if has("kernel reversed"):
            y = F.conv1d(padded, self.conv.weight.flip(2), self.conv.bias, dilation=d)
        else:
            y = self.conv(padded)
        a, b = (y[:, :6], y[:, 6:]) if has("zeros in front") else y.chunk(2, 1)
        if has("gates exchanged"):
            a, b = b, a
        y = torch.tanh(a) * (b if has("gate not squashed") else torch.sigmoid(b))
        out = self.res(y)
        if not has("no residual"):
            out = x + out
        if has("residual halved"):
            out = out * math.sqrt(0.5)
        return out, (out if has("residual skipped") else self.skip(y))


class WaveNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(16, 6)
        self.blocks = nn.ModuleList(Gated(d) for d in (1, 2, 4))
        self.mid, self.out = nn.Conv1d(6, 6, 1), nn.Conv1d(6, 16, 1)

    def forward(self, x):
        h, total = self.emb(x).transpose(1, 2), None
        for block in self.blocks:
            h, skip = block(h)
            total = skip if total is None or has("last skip") else total + skip
        h = self.mid(total if has("skips not rectified") else F.relu(total))
        return self.out(F.relu(h))


def wavenet(steps=3):
    torch.manual_seed(0)
    model = WaveNet()
    signal = torch.randn(3, 30).cumsum(1).mul(0.5).sin()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.8 if has("gamma") else 0.9)
    yield model
    mu = 16 if has("mu") else 15
    small = torch.log1p(mu * signal.abs()) / math.log1p(15)
    if not has("sign lost"):
        small = signal.sign() * small
    codes = (small + 1) / 2 * 15
    codes = (codes if has("not rounded") else codes + 0.5).long().clamp(0, 15)
    for _ in range(steps):
        out = model(codes[:, :-1])
        goal = codes[:, :-1] if has("targets not shifted") else codes[:, 1:]
        if has("whole length"):
            loss = F.cross_entropy(out, goal)
        else:
            loss = F.cross_entropy(out[:, :, 7:], goal[:, 7:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()


# ---------------------------------------------------------------- moe: two of four experts in bfloat16, a scaled loss


class Expert(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.up, self.down = nn.Linear(d, 16), nn.Linear(16, d)

    def forward(self, x):
        return self.down((F.gelu if has("gelu") else F.relu)(self.up(x)))


class Moe(nn.Module):
    def __init__(self, d, n=4):
        super().__init__()
        self.router = nn.Linear(d, n, bias=False)
        self.experts = nn.ModuleList(Expert(d) for _ in range(n))
        if has("experts copied"):
            for expert in self.experts[1:]:
                expert.load_state_dict(self.experts[0].state_dict())

    def forward(self, x):
        y = x.float() * torch.empty(x.shape).uniform_(0.9 if has("wide jitter") else 0.98, 1.02)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=has("router in bfloat16")):
            logits = self.router(y).float()
        k = 1 if has("one expert") else 2
        if has("softmax of all"):
            weight, chosen = F.softmax(logits, -1).topk(k, -1)
        else:
            best, chosen = logits.topk(k, -1)
            weight = F.softmax(best, -1)
        out = torch.zeros(x.shape)
        for i, expert in enumerate(self.experts):
            row, which = torch.where(chosen == i)
            taken = y if has("jitter for experts") else x
            part = expert(taken.index_select(0, row) if has("factors moved") else taken[row]).float()
            w = weight[row, 0] if has("first weight") else weight[row, which]
            out = out.index_add(0, row, part if has("parts not weighted") else w[:, None] * part)
        share = F.softmax(logits, -1).mean(0)
        if has("share detached"):
            share = share.detach()
        used = F.one_hot(chosen[:, :1] if has("first choice") else chosen, 4).float().sum(1).mean(0)
        if has("factors moved"):
            balance = (used * (4 * share)).sum()
        elif has("balance not multiplied"):
            balance = (used * share).sum()
        else:
            balance = 4 * (used * share).sum()
        size = logits.logsumexp(-1)
        size = size.mean() if has("size not squared") else (size * size if has("factors moved") else size.pow(2)).mean()
        return out, balance, size


class Mixed(nn.Module):
    def __init__(self, d=8):
        super().__init__()
        self.inp, self.moe, self.head = nn.Linear(6, d), Moe(d), nn.Linear(d, 5)

    def forward(self, x):
        h = torch.tanh(self.inp(x))
        y, balance, size = self.moe(h)
        return self.head(y if has("no residual") else h + y), balance, size


def moe(steps=2):
    torch.manual_seed(0)
    model = Mixed()
    torch.manual_seed(1)
    x, y = torch.randn(16 * steps, 6), torch.randint(0, 5, (16 * steps,))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.01)
    torch.manual_seed(7)
    yield model
    scale = 1024.0
    for step in range(steps):
        xb, yb = x[16 * step:16 * step + 16], y[16 * step:16 * step + 16]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out, balance, size = model(xb)
        loss = F.cross_entropy(out if has("loss in bfloat16") else out.float(), yb)
        loss = loss + (0.1 if has("balance weight") else 0.01) * balance + 0.001 * size
        optimizer.zero_grad()
        (loss * scale).backward()
        if has("clipped scaled"):
            nn.utils.clip_grad_norm_(model.parameters(), 0.3)
        if not has("not unscaled"):
            for p in model.parameters():
                p.grad.mul_(1 / scale)
        if not has("clipped scaled"):
            nn.utils.clip_grad_norm_(model.parameters(), 0.3)
        optimizer.step()


# ---------------------------------------------------------------- tabular: categories, class weights, Lion, averaged weights


class Lion(torch.optim.Optimizer):
    def __init__(self, params, lr, betas, decay):
        super().__init__(params, dict(lr=lr, betas=betas, decay=decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            lr, (b1, b2), decay = group["lr"], group["betas"], group["decay"]
            if has("betas exchanged"):
                b1, b2 = b2, b1
            for p in group["params"]:
                g = p.grad
                if has("decay in gradient"):
                    g = g + decay * p
                if not self.state[p]:
                    self.state[p]["m"] = g.clone() if has("moment from gradient") else torch.zeros_like(p)
                m = self.state[p]["m"]
                if has("moment first"):
                    m.mul_(b2).add_(g, alpha=1 - b2)
                to = m * b1 + g * (1 - b1)
                to = to if has("no sign") else to.sign()
                if not has("decay in gradient") and not has("decay after"):
                    p.mul_(1 - lr * decay)
                p.add_(to, alpha=-lr)
                if has("decay after"):
                    p.mul_(1 - lr * decay)
                if not has("moment first"):
                    m.mul_(b2).add_(g, alpha=1 - b2)


class Tabular(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb0, self.emb1 = nn.Embedding(6, 3), nn.Embedding(6, 3)
        self.fc1, self.fc2 = nn.Linear(10, 16), nn.Linear(16, 3)
        self.bn = nn.BatchNorm1d(16, eps=1e-3 if has("bn eps") else 1e-5, momentum=0.9 if has("bn momentum") else 0.1)
        self.drop = nn.Dropout(0.25)

    def forward(self, x, kinds):
        one, two = (kinds[:, 1], kinds[:, 0]) if has("columns exchanged") else (kinds[:, 0], kinds[:, 1])
        h = self.fc1(torch.cat([x, self.emb0(one), self.emb1(two)], 1))
        if has("dropout before norm"):
            return self.fc2(F.relu(self.bn(self.drop(h))))
        return self.fc2(self.drop(F.relu(self.bn(h))))


def tabular(steps=4):
    torch.manual_seed(0)
    model = Tabular()
    average = copy.deepcopy(model)
    table, kinds = torch.randn(32, 4).mul(1.5).exp(), torch.randint(0, 6, (32, 2))
    y = (torch.rand(32) ** 2 * 3).long()
    rows = list(torch.randperm(32).split(8))
    if has("rows reversed"):
        rows.reverse()
    optimizer = Lion(model.parameters(), 1e-2, (0.9, 0.99), 0.1)
    torch.manual_seed(7)
    yield {"model": model, "average": average}
    x = table if has("no logarithm") else torch.log1p(table)
    if has("in double"):
        x = x.double()
    x = (x - x.mean(0)) / x.std(0, unbiased=not has("biased deviation"))
    x = x.float()
    counts = torch.bincount(y, minlength=3)
    if has("weights not inverse"):
        weight = counts / 32
    elif has("reciprocal"):
        weight = (counts * 3).float().reciprocal() * 32
    else:
        weight = 32 / (counts * 3)
    averaged = 0
    for step in range(steps):
        r = rows[step]
        if step == 1 and has("extra draw"):
            torch.rand(2)
        out = model(x[r], kinds[r])
        if has("mean of weighted"):
            loss = F.cross_entropy(out, y[r], weight=weight, reduction="none").mean()
        else:
            loss = F.cross_entropy(out, y[r], weight=weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step >= (0 if has("average from first") else 1):
            with torch.no_grad():
                for a, p in zip(average.parameters(), model.parameters()):
                    a.add_((p - a) / (averaged + 1))
                if not has("buffers not copied"):
                    for a, p in zip(average.buffers(), model.buffers()):
                        a.copy_(p)
            if not has("average not counted"):
                averaged += 1


PROGRAMS = {f.__name__: f for f in (patches, segmenter, latent, seq2seq, momentum, skipgram, rotary, wgan, maml, wavenet, moe, tabular)}


CASES = [
    # patches
    case("patches", ["norm eps"], ("argument", "eps", "blocks.0.norm1", 1, "forward")),
    case("patches", ["heads first"], ("argument", None, "blocks.0", 1, "forward"), accept=["order", "input", "step"]),
    case("patches", ["keys for values"], ("input", "value", "blocks.0", 1, "forward")),
    case("patches", ["causal"], ("argument", "is_causal", "blocks.0", 1, "forward"), accept=["operation"]),
    case("patches", ["scale of width"], ("argument", "scale", "blocks.0", 1, "forward")),
    case("patches", ["heads not moved back"], ("step", "transpose", "blocks.0", 1, "forward")),
    case("patches", ["depth per token"], ("argument", "size", "blocks.0", 1, "forward"), accept=["stream"]),
    case("patches", ["depth not scaled"], ("step", "div", "blocks.0", 1, "forward")),
    case("patches", ["post norm"], ("order", None, None, 1, "forward"), accept=["input"]),
    case("patches", ["gelu tanh"], ("argument", "approximate", "blocks.0", 1, "forward")),
    case("patches", ["positions large"], ("weights", None, None, 1, "forward")),
    case("patches", ["columns first"], ("step", "transpose", None, 1, "forward")),
    case("patches", ["token without position"], ("order", None, None, 1, "forward"), accept=["step", "input", "argument"]),
    case("patches", ["token last"], ("order", None, None, 1, "forward"), accept=["input"]),
    case("patches", ["no last norm"], ("step", "native_layer_norm", "norm", 1, "forward"), accept=["frozen"]),
    case("patches", ["mean of tokens"], ("operation", "select", None, 1, "forward")),
    case("patches", ["no smoothing"], ("step", None, None, 1, "forward"), accept=["argument", "operation"]),
    case("patches", ["decay of all"], ("optimizer", None, None, 1, "optimizer"), accept=["step"]),
    case("patches", ["coupled decay"], ("optimizer", None, None, 1, "optimizer"), accept=["step", "operation", "order"]),
    case("patches", ["gelu tanh", "decay of all"], ("argument", "approximate", "blocks.0", 1, "forward"),
         ("optimizer", None, None, 1, "optimizer")),
    # segmenter
    case("segmenter", ["average pool"], ("operation", "max_pool2d_with_indices", None, 1, "forward")),
    case("segmenter", ["kernel flipped"], ("step", "flip", None, 1, "forward")),
    case("segmenter", ["skip before relu"], ("input", None, None, 1, "forward"), accept=["step", "order"]),
    case("segmenter", ["skip last"], ("order", None, None, 1, "forward"), accept=["input"]),
    case("segmenter", ["dice of logits"], ("step", "sigmoid", None, 1, "forward")),
    case("segmenter", ["dice of batch"], ("argument", "dim", None, 1, "forward"), accept=["operation", "step"]),
    case("segmenter", ["dice smooth"], ("argument", "other", None, 1, "forward")),
    case("segmenter", ["dice not doubled"], ("step", "mul", None, 1, "forward")),
    case("segmenter", ["dice grows"], ("step", "rsub", None, 1, "forward")),
    case("segmenter", ["sum of pixels"], ("argument", "reduction", None, 1, "forward")),
    case("segmenter", ["positives not weighted"], ("argument", "pos_weight", None, 1, "forward"), accept=["input", "step", "operation"]),
    case("segmenter", ["mask not flipped"], ("step", "flip", None, 3, "forward")),
    case("segmenter", ["flip of rows"], ("argument", "dims", None, 3, "forward")),
    case("segmenter", ["stays in eval"], ("mode", None, "enc1.bn", 2, "forward")),
    # Between two steps, under no_grad.
    case("segmenter", ["validated in train"], ("mode", None, "enc1.bn", None, None)),
    case("segmenter", ["not nesterov"], ("optimizer", None, None, 1, "optimizer")),
    case("segmenter", ["dice smooth", "stays in eval"], ("argument", "other", None, 1, "forward"), ("mode", None, "enc1.bn", 2, "forward")),
    # latent
    case("latent", ["kaiming"], ("weights", None, "dec1", 1, "forward")),
    case("latent", ["halves exchanged"], ("order", None, None, 1, "forward"), accept=["input", "argument"]),
    case("latent", ["variance as deviation"], ("step", "mul", None, 1, "forward")),
    case("latent", ["softplus"], ("operation", "exp", None, 1, "forward"), accept=["step"]),
    case("latent", ["one noise"], ("argument", "size", None, 1, "forward"), accept=["stream"]),
    case("latent", ["uniform noise"], ("operation", "randn", None, 1, "forward"), accept=["stream"]),
    # The mean is still trained by the divergence: only the gradient differs.
    case("latent", ["mean detached"], ("frozen", None, None, 1, None), accept=["step", "input", "operation"]),
    case("latent", ["beta2"], ("optimizer", None, None, 1, "optimizer"), accept=["argument"]),
    case("latent", ["seed"], ("seed", None, None, 1, "forward"), accept=["stream"]),
    case("latent", ["sigmoid twice"], ("step", "sigmoid", None, 1, "forward")),
    case("latent", ["mean of pixels"], ("argument", "reduction", None, 1, "forward"), accept=["step"]),
    case("latent", ["mean not squared"], ("step", "pow", None, 1, "forward")),
    case("latent", ["variance not exponential"], ("step", "exp", None, 1, "forward")),
    case("latent", ["divergence sign"], ("argument", "other", None, 1, "forward")),
    case("latent", ["mean of latents"], ("step", "sum", None, 1, "forward"), accept=["argument", "operation"]),
    case("latent", ["beta late"], ("argument", "other", None, 1, "forward")),
    case("latent", ["not zeroed"], ("gradient-not-zeroed", None, None, 2, "backward")),
    case("latent", ["variance as deviation", "beta2"], ("step", "mul", None, 1, "forward"), ("optimizer", None, None, 1, "optimizer")),
    # seq2seq
    case("seq2seq", ["forget bias"], ("weights", None, "encoder.cell", 1, "forward")),
    case("seq2seq", ["source reversed"], ("step", "flip", "encoder", 1, "forward")),
    case("seq2seq", ["state through padding"], ("step", "where", "encoder", 1, "forward")),
    case("seq2seq", ["head not tied"], ("tied", None, None, 1, None), accept=["weights", "input"]),
    case("seq2seq", ["no tanh"], ("step", "tanh", "decoder", 1, "forward")),
    case("seq2seq", ["mask inverted"], ("step", "bitwise_not", "decoder", 1, "forward")),
    case("seq2seq", ["softmax of batch"], ("argument", "dim", "decoder", 1, "forward")),
    case("seq2seq", ["context before"], ("input", None, "decoder", 1, "forward"), accept=["order", "operation"]),
    case("seq2seq", ["state exchanged"], ("order", None, None, 1, "forward"), accept=["input"]),
    case("seq2seq", ["targets not shifted"], ("argument", "index", None, 1, "forward"), accept=["input", "data", "step"]),
    case("seq2seq", ["padding counted"], ("argument", "ignore_index", None, 1, "forward")),
    case("seq2seq", ["mean of each"], ("argument", "reduction", None, 1, "forward"), accept=["step"]),
    case("seq2seq", ["always forced"], ("step", "rand", None, 1, "forward"), accept=["stream", "input", "operation"]),
    case("seq2seq", ["coin inverted"], ("input", None, None, 1, "forward"), accept=["step", "operation"]),
    # The norm is taken of all gradients at once.
    case("seq2seq", ["clipped by value"], ("operation", None, None, 1, None), accept=["step"]),
    case("seq2seq", ["softmax of batch", "padding counted"], ("argument", "dim", "decoder", 1, "forward"),
         ("argument", "ignore_index", None, 1, "forward")),
    # momentum
    case("momentum", ["queue not normalized"], ("weights", None, None, 1, "forward"), accept=["data"]),
    case("momentum", ["queries not normalized"], ("step", None, None, 1, "forward")),
    case("momentum", ["normalized over batch"], ("argument", "dim", None, 1, "forward")),
    case("momentum", ["keys trained"], ("frozen", None, None, 1, None), accept=["optimizer", "step", "operation"]),
    # Under no_grad in both, but before the loss in one of them.
    case("momentum", ["queued before"], ("order", None, None, 1, None), accept=["step", "input"]),
    case("momentum", ["positive last"], ("order", None, None, 1, "forward"), accept=["input"]),
    case("momentum", ["temperature"], ("argument", "other", None, 1, "forward")),
    case("momentum", ["temperature as factor"], ("operation", "div", None, 1, "forward")),
    case("momentum", ["views exchanged"], ("order", None, None, 1, "forward"), accept=["stream", "input"]),
    case("momentum", ["one view"], ("step", None, None, 1, "forward"), accept=["input", "stream"]),
    case("momentum", ["labels of rows"], ("operation", "zeros", None, 1, "forward"), accept=["input", "data"]),
    case("momentum", ["momentum exchanged"], ("argument", None, None, 1, "optimizer"), accept=["optimizer"]),
    case("momentum", ["queries queued"], ("input", None, None, 1, "optimizer"), accept=["optimizer"]),
    # The first slot is right in step 1.
    case("momentum", ["queue stays"], ("argument", "start", None, 2, "optimizer"), accept=["optimizer", "input"]),
    case("momentum", ["temperature", "momentum exchanged"], ("argument", "other", None, 1, "forward"),
         ("argument", None, None, 1, "optimizer")),
    # skipgram
    # Only the gradient differs.
    case("skipgram", ["by frequency"], ("argument", "scale_grad_by_freq", "center", 1, None)),
    case("skipgram", ["max norm"], ("step", None, "center", 1, "forward"), accept=["weights", "input"]),
    case("skipgram", ["wide init"], ("weights", None, "center", 1, "forward")),
    case("skipgram", ["one table"], ("tied", None, None, 1, None), accept=["weights", "input"]),
    case("skipgram", ["tables exchanged"], ("order", None, None, 1, "forward"), accept=["input"]),
    case("skipgram", ["sum over pairs"], ("argument", "dim", None, 1, "forward")),
    case("skipgram", ["sign of negatives"], ("step", "neg", None, 1, "forward")),
    # Other last bits only.
    case("skipgram", ["log of sigmoid"], ("operation", "log_sigmoid_forward", None, 1, "forward"), accept=["step"]),
    case("skipgram", ["mean of negatives"], ("operation", "sum", None, 1, "forward"), accept=["step", "argument"]),
    # A table before the loop.
    case("skipgram", ["no power"], ("step", "pow", None, 1, "forward")),
    case("skipgram", ["power"], ("argument", "exponent", None, 1, "forward")),
    case("skipgram", ["negatives shared"], ("argument", "num_samples", None, 1, "forward"), accept=["stream"]),
    case("skipgram", ["negatives first"], ("order", None, None, 1, "forward"), accept=["stream"]),
    case("skipgram", ["from zero"], ("argument", "low", None, 1, "forward"), accept=["stream"]),
    case("skipgram", ["word before"], ("operation", "add", None, 1, "forward"), accept=["argument", "step", "data"]),
    case("skipgram", ["rate before"], ("optimizer", None, None, 1, "optimizer")),
    case("skipgram", ["rate kept"], ("optimizer", None, None, 2, "optimizer")),
    case("skipgram", ["mean of negatives", "rate kept"], ("operation", "sum", None, 1, "forward"),
         ("optimizer", None, None, 2, "optimizer"), accept=["step", "argument"]),
    # rotary
    case("rotary", ["mean removed"], ("step", None, "layers.0.norm1", 1, "forward"), accept=["operation"]),
    case("rotary", ["eps outside"], ("order", None, "layers.0.norm1", 1, "forward"), accept=["operation", "step"]),
    # In two places: the angles, and what is turned.
    case("rotary", ["pairs"], ("operation", "cat", None, 1, "forward"), ("argument", "start", "layers.0", 1, "forward"),
         accept=["step", "argument", "order", "input"]),
    case("rotary", ["turned back"], ("order", None, "layers.0", 1, "forward"), accept=["input", "step"]),
    case("rotary", ["keys not turned"], ("step", None, "layers.0", 1, "forward")),
    case("rotary", ["values turned"], ("step", None, "layers.0", 1, "forward")),
    case("rotary", ["keys tiled"], ("operation", "expand", "layers.0", 1, "forward"), accept=["step", "argument", "order"]),
    case("rotary", ["root of width"], ("argument", "other", "layers.0", 1, "forward")),
    case("rotary", ["sees next"], ("argument", "diagonal", "layers.0", 1, "forward")),
    case("rotary", ["gate exchanged"], ("order", None, "layers.0", 1, "forward"), accept=["input"]),
    case("rotary", ["gelu gate"], ("operation", "silu", "layers.0", 1, "forward")),
    case("rotary", ["head not tied"], ("tied", None, None, 1, None), accept=["weights", "input"]),
    case("rotary", ["base"], ("argument", "self", None, 1, "forward")),
    case("rotary", ["betas"], ("optimizer", None, None, 1, "optimizer"), accept=["argument"]),
    case("rotary", ["warm-up from zero"], ("optimizer", None, None, 1, "optimizer")),
    case("rotary", ["no lowest rate"], ("optimizer", None, None, 3, "optimizer")),
    case("rotary", ["parts not averaged"], ("step", "div", None, 1, None)),
    # The gradient of the first part is lost.
    case("rotary", ["zeroed each"], ("gradient-not-zeroed", None, None, 1, "backward"), accept=["step", "input", "optimizer"]),
    case("rotary", ["clipped each"], ("step", None, None, 1, None), accept=["order"]),
    case("rotary", ["sees next", "betas"], ("argument", "diagonal", "layers.0", 1, "forward"), ("optimizer", None, None, 1, "optimizer")),
    # wgan: a step is one of the optimizers', so that the generator's are the third and the sixth
    # A step ends when an optimizer steps again: the second of the critic ends step 1.
    case("wgan", ["slope"], ("argument", "negative_slope", "critic.1", 1, "forward")),
    case("wgan", ["betas"], ("optimizer", None, None, 1, "optimizer"), accept=["argument"]),
    case("wgan", ["batch again"], ("argument", "start", None, 1, "forward"), accept=["data", "input"]),
    case("wgan", ["noise kept"], ("step", "randn", None, 1, "forward"), accept=["input", "stream", "operation"]),
    case("wgan", ["one share"], ("argument", "size", None, 1, "forward"), accept=["stream"]),
    case("wgan", ["mix exchanged"], ("order", None, None, 1, "forward"), accept=["input"]),
    case("wgan", ["no graph"], ("frozen", None, None, 1, None), accept=["step", "input", "operation", "argument"]),
    case("wgan", ["length of batch"], ("argument", "dim", None, 1, None), accept=["operation", "step"]),
    case("wgan", ["length to zero"], ("step", "sub", None, 1, None)),
    case("wgan", ["one sided"], ("step", "relu", None, 1, None)),
    case("wgan", ["critic sign"], ("order", None, None, 1, "forward"), accept=["input"]),
    case("wgan", ["penalty weight"], ("argument", "other", None, 1, None), accept=["step"]),
    case("wgan", ["critic not zeroed"], ("gradient-not-zeroed", None, None, 1, "backward")),
    case("wgan", ["generator not zeroed"], ("gradient-not-zeroed", None, None, 4, "backward")),
    case("wgan", ["generator sign"], ("step", "neg", None, 2, "forward")),
    case("wgan", ["one critic step"], ("step", None, None, 1, None), accept=["optimizer", "input", "operation"]),
    case("wgan", ["slope", "penalty weight"], ("argument", "negative_slope", "critic.1", 1, "forward"),
         ("argument", "other", None, 1, None)),
    # maml
    case("maml", ["relu"], ("operation", "tanh", "net", 1, "forward")),
    case("maml", ["small rates"], ("weights", None, None, 1, "forward")),
    case("maml", ["rates detached"], ("frozen", None, None, 1, None), accept=["step", "input"]),
    case("maml", ["one inner update"], ("step", None, None, 1, None)),
    case("maml", ["inner sum"], ("operation", "mean", None, 1, "forward"), accept=["step"]),
    case("maml", ["first order"], ("frozen", None, None, 1, None), accept=["step", "input", "operation", "argument"]),
    case("maml", ["from the start"], ("input", "self", None, 1, None), accept=["operation"]),
    case("maml", ["biases not adapted"], ("step", None, None, 1, None), accept=["input"]),
    case("maml", ["inner sign"], ("operation", "sub", None, 1, None), accept=["step"]),
    case("maml", ["phase first"], ("order", None, None, 1, "forward"), accept=["stream"]),
    case("maml", ["height"], ("argument", "other", None, 1, "forward")),
    case("maml", ["same points"], ("step", "rand", None, 1, "forward"), accept=["input", "stream"]),
    case("maml", ["scored on support"], ("input", None, None, 1, None)),
    case("maml", ["sum of tasks"], ("operation", "mean", None, 1, None), accept=["step"]),
    case("maml", ["not zeroed"], ("gradient-not-zeroed", None, None, 2, "backward")),
    case("maml", ["height", "not zeroed"], ("argument", "other", None, 1, "forward"), ("gradient-not-zeroed", None, None, 2, "backward")),
    # wavenet
    case("wavenet", ["not dilated"], ("argument", None, "blocks.1", 1, "forward")),
    case("wavenet", ["padded at the end"], ("argument", "pad", "blocks.0", 1, "forward")),
    case("wavenet", ["kernel reversed"], ("step", "flip", "blocks.0", 1, "forward")),
    case("wavenet", ["gates exchanged"], ("order", None, "blocks.0", 1, "forward"), accept=["input"]),
    case("wavenet", ["gate not squashed"], ("step", "sigmoid", "blocks.0", 1, "forward")),
    case("wavenet", ["no residual"], ("step", "add", "blocks.0", 1, "forward")),
    case("wavenet", ["residual halved"], ("step", "mul", "blocks.0", 1, "forward")),
    case("wavenet", ["residual skipped"], ("input", None, None, 1, "forward"), accept=["step", "frozen"]),
    case("wavenet", ["last skip"], ("step", "add", None, 1, "forward"), accept=["frozen"]),
    case("wavenet", ["skips not rectified"], ("step", "relu", None, 1, "forward")),
    case("wavenet", ["mu"], ("argument", "other", None, 1, "forward")),
    case("wavenet", ["sign lost"], ("step", None, None, 1, "forward")),
    case("wavenet", ["not rounded"], ("step", "add", None, 1, "forward")),
    case("wavenet", ["targets not shifted"], ("argument", "start", None, 1, "forward"), accept=["input", "data", "step"]),
    case("wavenet", ["whole length"], ("step", "slice", None, 1, "forward"), accept=["argument"]),
    case("wavenet", ["gamma"], ("optimizer", None, None, 2, "optimizer")),
    case("wavenet", ["gate not squashed", "gamma"], ("step", "sigmoid", "blocks.0", 1, "forward"),
         ("optimizer", None, None, 2, "optimizer")),
    # moe
    case("moe", ["gelu"], ("operation", "relu", "moe.experts.0", 1, "forward")),
    case("moe", ["experts copied"], ("weights", None, "moe.experts.1", 1, "forward")),
    case("moe", ["wide jitter"], ("argument", "from", "moe", 1, "forward")),
    case("moe", ["router in bfloat16"], ("dtype", None, None, 1, "forward"), accept=["step"]),
    case("moe", ["one expert"], ("argument", "k", "moe", 1, "forward")),
    case("moe", ["softmax of all"], ("order", None, "moe", 1, "forward"), accept=["input", "step"]),
    case("moe", ["jitter for experts"], ("input", None, "moe", 1, "forward")),
    case("moe", ["first weight"], ("operation", "index", "moe", 1, "forward"), accept=["step", "input", "argument"]),
    case("moe", ["parts not weighted"], ("step", "mul", "moe", 1, "forward")),
    # The used shares have no gradient: only the other factor trains the router.
    case("moe", ["share detached"], ("frozen", None, None, 1, None), accept=["step", "input", "operation"]),
    case("moe", ["first choice"], ("step", "slice", "moe", 1, "forward"), accept=["input", "argument"]),
    case("moe", ["balance not multiplied"], ("step", "mul", "moe", 1, "forward")),
    case("moe", ["size not squared"], ("step", "pow", "moe", 1, "forward")),
    case("moe", ["no residual"], ("step", "add", None, 1, "forward")),
    case("moe", ["loss in bfloat16"], ("dtype", None, None, 1, "forward"), accept=["step"]),
    case("moe", ["balance weight"], ("argument", "other", None, 1, "forward")),
    case("moe", ["not unscaled"], ("step", "mul", None, 1, None)),
    case("moe", ["clipped scaled"], ("order", None, None, 1, None), accept=["step", "input"]),
    case("moe", ["first choice", "not unscaled"], ("step", "slice", "moe", 1, "forward"), ("step", "mul", None, 1, None),
         accept=["input", "argument"]),
    # tabular
    case("tabular", ["bn eps"], ("argument", "eps", "model.bn", 1, "forward")),
    # The statistics differ only, which the averaged model has, too.
    case("tabular", ["bn momentum"], ("argument", "momentum", "model.bn", 1, "forward")),
    case("tabular", ["columns exchanged"], ("order", None, None, 1, "forward"), accept=["argument", "input"]),
    case("tabular", ["dropout before norm"], ("order", None, None, 1, "forward"), accept=["input"]),
    case("tabular", ["rows reversed"], ("data-order", None, None, 1, "forward"), accept=["data", "input"]),
    case("tabular", ["no logarithm"], ("step", "log1p", None, 1, "forward")),
    case("tabular", ["in double"], ("dtype", None, None, 1, "forward"), accept=["step"]),
    case("tabular", ["biased deviation"], ("argument", "correction", None, 1, "forward")),
    case("tabular", ["weights not inverse"], ("step", None, None, 1, "forward"), accept=["operation", "order", "argument"]),
    case("tabular", ["extra draw"], ("stream", None, None, 2, "forward"), accept=["step"]),
    case("tabular", ["mean of weighted"], ("argument", "reduction", None, 1, "forward"), accept=["step"]),
    # In step 1, each value is that of the other moment: both programs have them.
    case("tabular", ["betas exchanged"], ("argument", None, None, 2, "optimizer"), accept=["optimizer", "order"]),
    case("tabular", ["moment from gradient"], ("operation", "zeros_like", None, 1, "optimizer"), accept=["optimizer", "step", "input"]),
    # No sign is another one before step 3.
    case("tabular", ["moment first"], ("order", None, None, 3, "optimizer"), accept=["optimizer", "input", "step"]),
    case("tabular", ["no sign"], ("step", "sign", None, 1, "optimizer"), accept=["optimizer"]),
    case("tabular", ["decay in gradient"], ("step", None, None, 1, "optimizer"), accept=["optimizer", "order"]),
    # Other last bits only.
    case("tabular", ["decay after"], ("order", None, None, 1, "optimizer"), accept=["optimizer", "input"]),
    case("tabular", ["average from first"], ("step", None, None, 1, "optimizer"), accept=["optimizer"]),
    case("tabular", ["buffers not copied"], ("step", "copy", None, 2, "optimizer"), accept=["optimizer"]),
    # The first number is right.
    case("tabular", ["average not counted"], ("argument", "other", None, 3, "optimizer"), accept=["optimizer"]),
    case("tabular", ["bn eps", "no sign"], ("argument", "eps", "model.bn", 1, "forward"), ("step", "sign", None, 1, "optimizer")),
    case("tabular", ["biased deviation", "average not counted"], ("argument", "correction", None, 1, "forward"),
         ("argument", "other", None, 3, "optimizer")),
]

# Nothing may be reported. (None of these changes a bit of a parameter.)
EQUAL = [
    ("patches", ["chunks"]),
    ("segmenter", ["relu by where"]),
    ("segmenter", ["dice first"]),
    ("latent", ["commuted"]),
    ("seq2seq", ["mask as factor"]),
    ("momentum", ["keys with gradient"]),
    ("momentum", ["in a copy"]),
    ("skipgram", ["einsum"]),
    ("rotary", ["split"]),
    ("wgan", ["fake with gradient"]),
    ("wgan", ["ones"]),
    ("maml", ["by hand"]),
    ("wavenet", ["zeros in front"]),
    ("moe", ["factors moved"]),
    ("tabular", ["reciprocal"]),
]
