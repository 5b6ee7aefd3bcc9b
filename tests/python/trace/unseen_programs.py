"""Training programs and mistakes that were chosen without knowledge of the rules of the comparison, and of which not all are named as
expected (`plant.py --unseen`). `accept` has other classes that are as good."""

import copy
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from programs import has


# ---------------------------------------------------------------- chars: a GRU language model, truncated BPTT


class Cell(nn.Module):
    """A GRU cell by hand."""

    def __init__(self, n_in, n):
        super().__init__()
        self.ih, self.hh = nn.Linear(n_in, 3 * n), nn.Linear(n, 3 * n)
        self.n = n

    def forward(self, x, h):
        a, b = self.ih(x), self.hh(h)
        if has("slices"):
            n = self.n
            ar, az, an = a[:, :n], a[:, n:2 * n], a[:, 2 * n:]
            br, bz, bn = b[:, :n], b[:, n:2 * n], b[:, 2 * n:]
        else:
            (ar, az, an), (br, bz, bn) = a.chunk(3, 1), b.chunk(3, 1)
        if has("gates order"):
            ar, az, br, bz = az, ar, bz, br
        r, z = torch.sigmoid(ar + br), torch.sigmoid(az + bz)
        if has("reset before"):
            w = self.hh.weight[2 * self.n:]
            cand = torch.tanh(an + F.linear(r * h, w, self.hh.bias[2 * self.n:]))
        else:
            cand = torch.tanh(an + r * bn)
        if has("z exchanged"):
            return z * cand + (1 - z) * h
        return (1 - z) * cand + z * h


class CharGru(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(30, 16)
        self.gru = nn.GRU(16, 24)
        self.cell = Cell(24, 24)
        self.drop = nn.Dropout(0.1)
        self.head = nn.Linear(24, 30)

    def forward(self, x, state):
        h, g = state
        e = self.emb(x if has("batch as time") else x.t())
        out, h = self.gru(e, h)
        outs = []
        for row in out.unbind(0) if has("slices") else out:
            g = self.cell(row, g)
            outs.append(g)
        out = torch.stack(outs)
        if has("one mask"):
            out = out * self.drop(torch.ones(1, out.size(1), out.size(2)))
        else:
            out = self.drop(out)
        return self.head(out).permute(1, 2, 0), (h, g)


def chars(steps=3):
    torch.manual_seed(0)
    model = CharGru()
    text = torch.randint(0, 30, (8, 40))
    optimizer = torch.optim.RMSprop(model.parameters(), lr=2e-3, alpha=0.9 if has("alpha") else 0.99, centered=has("centered"),
                                    momentum=0.9 if has("rms momentum") else 0)
    torch.manual_seed(7)
    yield model
    state = (torch.zeros(1, 8, 24), torch.zeros(8, 24))
    for step in range(steps):
        at = step * (7 if has("overlap") else 8)
        x, y = text[:, at:at + 8], text[:, at + 1:at + 9]
        if has("targets not shifted"):
            y = x
        if has("state reset"):
            state = (torch.zeros(1, 8, 24), torch.zeros(8, 24))
        if has("one state kept"):
            state = (state[0], torch.zeros(8, 24))
        state = tuple(s.detach() for s in state)
        out, state = model(x, state)
        loss = F.cross_entropy(out[:, :, -1], y[:, -1]) if has("last only") else F.cross_entropy(out, y)
        if has("zeroed late"):
            loss.backward()
        else:
            optimizer.zero_grad()
            loss.backward()
        if has("clip each"):
            for p in model.parameters():
                nn.utils.clip_grad_norm_([p], 0.05)
        else:
            nn.utils.clip_grad_norm_(model.parameters(), 0.05)
        optimizer.step()
        if has("zeroed late"):
            optimizer.zero_grad()


# ---------------------------------------------------------------- dqn: double Q-learning with a target network


def dqn(steps=3):
    torch.manual_seed(0)
    q = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 4))
    target = copy.deepcopy(q)
    s, s2, a, r = torch.randn(32, 6), torch.randn(32, 6), torch.randint(0, 4, (32,)), torch.randn(32)
    done = (torch.rand(32) < 0.3).float()
    optimizer = torch.optim.Adam(q.parameters(), lr=1e-2)
    tau = 0.1
    torch.manual_seed(7)
    yield {"q": q, "target": target}
    for _ in range(steps):
        i = torch.randperm(32)[:8] if has("without replacement") else torch.randint(0, 32, (8,))
        si, ai, ri, s2i, di = (v[i] for v in (s, a, r, s2, done))
        if has("state for next"):
            s2i = si
        if has("squeeze forgotten"):
            qs = q(si).gather(1, ai[:, None])
        elif has("all columns"):
            qs = q(si)[:, ai]
        elif has("indexed"):
            qs = q(si)[torch.arange(8), ai]
        else:
            qs = q(si).gather(1, ai[:, None]).squeeze(1)

        def goal():
            if has("not double"):
                best = target(s2i).max(1).values
            elif has("target by q"):
                best = q(s2i).max(1).values
            else:
                best = target(s2i).gather(1, q(s2i).argmax(1)[:, None]).squeeze(1)
            gamma = 0.9 if has("gamma") else 0.99
            if has("indexed"):
                return torch.where(di.bool(), ri, ri + gamma * best)
            return ri + gamma * best if has("done ignored") else ri + gamma * best * (1 - di)

        if has("target with gradient"):
            y = goal()
        else:
            with torch.no_grad():
                y = goal()
        if has("mse"):
            loss = F.mse_loss(qs, y)
        else:
            loss = F.smooth_l1_loss(qs, y, beta=0.5 if has("beta") else 1.0)
        optimizer.zero_grad()
        loss.backward()
        if has("updated before"):
            with torch.no_grad():
                for p, t in zip(q.parameters(), target.parameters()):
                    t.mul_(1 - tau).add_(p, alpha=tau)
        optimizer.step()
        with torch.no_grad():
            for p, t in zip(q.parameters(), target.parameters()):
                if has("updated before"):
                    pass
                elif has("tau exchanged"):
                    t.mul_(tau).add_(p, alpha=1 - tau)
                elif has("hard update"):
                    t.copy_(p)
                elif has("indexed"):
                    t.copy_(torch.add(t * (1 - tau), p, alpha=tau))
                elif has("products added"):
                    t.copy_((1 - tau) * t + tau * p)
                else:
                    t.mul_(1 - tau).add_(p, alpha=tau)


# ---------------------------------------------------------------- ppo: clipped policy gradient with GAE


class ActorCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(5, 16)
        self.pi, self.v = nn.Linear(16, 3), nn.Linear(16, 1)

    def forward(self, x):
        h = torch.tanh(self.body(x))
        return F.log_softmax(self.pi(h), -1), self.v(h).squeeze(-1)


def ppo(steps=2):
    torch.manual_seed(0)
    model = ActorCritic()
    obs, act = torch.randn(13, 5), torch.randint(0, 3, (12,))
    rew, done = torch.randn(12), torch.tensor([0.0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05, eps=1e-8 if has("adam eps") else 1e-5)
    yield model
    for _ in range(steps):
        with torch.no_grad():
            logp, v = model(obs)
            old = logp[:-1].gather(1, act[:, None]).squeeze(1)
            lam = 0.99 if has("lambda") else 0.95
            gae, out = torch.zeros(()), []
            for t in reversed(range(12)):
                alive = 1 - done[t]
                after = v[t + 1]
                if has("no bootstrap") and t == 11:
                    after = torch.zeros(())
                delta = rew[t] + 0.99 * after * alive - v[t]
                gae = delta + 0.99 * lam * gae if has("across episodes") else delta + 0.99 * lam * alive * gae
                out.append(gae)
            if not has("not reversed"):
                out.reverse()
            adv = torch.stack(out)
            returns = adv + v[:-1]
            if not has("not normalized"):
                adv = (adv - adv.mean()) / (adv.std(unbiased=not has("biased std")) + 1e-8)
        for _ in range(2):
            logp, v = model(obs[:-1])
            if has("negative likelihood"):
                chosen = -F.nll_loss(logp, act, reduction="none")
            else:
                chosen = logp.gather(1, act[:, None]).squeeze(1)
            ratio = torch.exp(old - chosen) if has("ratio inverted") else torch.exp(chosen - old)
            width = 0.1 if has("clip range") else 0.2
            one, two = ratio * adv, ratio.clamp(1 - width, 1 + width) * adv
            policy = -(torch.max(one, two) if has("max") else torch.min(one, two)).mean()
            value = F.mse_loss(v, returns)
            if has("entropy of batch"):
                entropy = -(logp.exp() * logp).sum()
            elif has("negative likelihood"):
                entropy = -torch.mean(torch.sum(logp * torch.exp(logp), dim=1))
            else:
                entropy = -(logp.exp() * logp).sum(-1).mean()
            loss = policy + 0.5 * value + 0.01 * entropy if has("entropy sign") else policy + 0.5 * value - 0.01 * entropy
            optimizer.zero_grad()
            loss.backward()
            if not has("not clipped"):
                nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()


# ---------------------------------------------------------------- graph: a convolution by matmul and attention over edges


class Gcn(nn.Module):
    def __init__(self, n_in, n):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_in, n) / n_in ** 0.5)
        self.bias = nn.Parameter(torch.zeros(n))

    def forward(self, x, adj):
        a = adj if has("no self loops") else adj + torch.eye(adj.size(0))
        degree = (adj if has("degree before loops") else a).sum(1)
        if has("rows"):
            a = a / degree[:, None]
        elif has("by diagonal"):
            d = torch.diag(degree.pow(-0.5))
            a = d @ a @ d
        else:
            d = degree.pow(-0.5)
            a = d[:, None] * a * d[None, :]
        if has("relu before aggregation"):
            return a @ F.relu(x @ self.weight) + self.bias
        h = a @ (x @ self.weight)
        if not has("no bias"):
            h = h + self.bias
        return F.relu(h)


class Gat(nn.Module):
    def __init__(self, n_in, n):
        super().__init__()
        self.lin = nn.Linear(n_in, n, bias=False)
        self.dst, self.src = nn.Parameter(torch.randn(n) * 0.3), nn.Parameter(torch.randn(n) * 0.3)

    def forward(self, x, edges):
        src, dst = edges
        if has("direction"):
            src, dst = dst, src
        h = self.lin(x)
        e = (h @ self.src)[src] + (h @ self.dst)[dst]
        e = F.leaky_relu(e, 0.01 if has("slope") else 0.2)
        if has("softmax of all"):
            w = e.softmax(0)
        else:
            e = e.exp() if has("no shift") else (e - e.max().detach()).exp()
            total = torch.zeros(x.size(0)).index_add(0, dst, e)
            w = e / total[src if has("total of source") else dst]
        return torch.zeros_like(h).index_add(0, dst, w[:, None] * h[src])


class Graph(nn.Module):
    def __init__(self):
        super().__init__()
        self.gcn, self.gat, self.out = Gcn(7, 12), Gat(12, 12), nn.Linear(12, 3)

    def forward(self, x, adj, edges):
        x = self.gcn(x, adj)
        x = F.dropout(x, 0.3, training=True if has("dropout always") else self.training)
        x = self.gat(x, edges)
        if has("elu"):
            x = F.relu(x)
        else:
            x = F.elu(x)
        return self.out(x)


def graph(steps=2):
    torch.manual_seed(0)
    model = Graph()
    n = 10
    adj = (torch.rand(n, n) < 0.3).float().triu(1)
    adj = adj + adj.t()
    adj[0, 1:4] = adj[1:4, 0] = 1.0
    adj[torch.arange(n - 1), torch.arange(1, n)] = adj[torch.arange(1, n), torch.arange(n - 1)] = 1.0
    upper = (adj * (torch.rand(n, n) < 0.7)).nonzero().t()
    edges = torch.cat([upper, torch.arange(n).repeat(2, 1)], 1)
    x, y = torch.randn(n, 7), torch.randint(0, 3, (n,))
    train = torch.tensor([1, 1, 0, 1, 1, 0, 1, 0, 1, 1]).bool()
    first, rest = list(model.gcn.parameters()), list(model.gat.parameters()) + list(model.out.parameters())
    if has("decay of all"):
        optimizer = torch.optim.Adam(first + rest, lr=0.01, weight_decay=5e-4)
    else:
        optimizer = torch.optim.Adam([{"params": first, "weight_decay": 5e-4}, {"params": rest}], lr=0.01)
    torch.manual_seed(7)
    yield model
    for _ in range(steps):
        model.train()
        optimizer.zero_grad()
        out = model(x, adj, edges)
        if has("all nodes"):
            loss = F.cross_entropy(out, y)
        elif has("mask as weight"):
            loss = (F.cross_entropy(out, y, reduction="none") * train.float()).mean()
        else:
            loss = F.cross_entropy(out[train], y[train])
        loss.backward()
        optimizer.step()
        model.eval()
        with torch.no_grad():
            (model(x, adj, edges).argmax(1) == y).float().mean().item()


# ---------------------------------------------------------------- diffusion: predicts the noise


class Denoiser(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1, self.c2, self.c3 = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 1, 3, padding=1)
        self.norm1, self.norm2 = nn.GroupNorm(2, 8), nn.GroupNorm(2, 8)
        self.time = nn.Sequential(nn.Linear(8, 16), nn.SiLU(), nn.Linear(16, 8))

    def embed(self, t):
        half = 4
        freqs = torch.exp(-math.log(10000) * torch.arange(half).float() / (half if has("frequencies") else half - 1))
        angles = t.float()[:, None] * freqs[None]
        if has("cos first"):
            return torch.cat([angles.cos(), angles.sin()], 1)
        if has("interleaved"):
            return torch.stack([angles.sin(), angles.cos()], 2).flatten(1)
        return torch.cat([angles.sin(), angles.cos()], 1)

    def forward(self, x, t):
        h = self.c1(x)
        e = self.time(self.embed(t))
        e = e.view(e.size(0), -1, 1, 1) if has("views") else e[:, :, None, None]
        if has("time after norm"):
            h = F.silu(self.norm1(h)) + e
        elif has("silu before norm"):
            h = self.norm1(F.silu(h + e))
        elif has("no time"):
            h = F.silu(self.norm1(h))
        else:
            h = F.silu(self.norm1(h + e))
        y = F.interpolate(F.avg_pool2d(h, 2), scale_factor=2, mode="nearest")
        y = self.norm2(self.c2(y))
        h = F.silu(h + y) if not has("residual after") else h + F.silu(y)
        return self.c3(h)


def diffusion(steps=3):
    torch.manual_seed(0)
    model = Denoiser()
    average = copy.deepcopy(model)
    x = torch.randn(4, 1, 8, 8)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    torch.manual_seed(7)
    yield {"model": model, "average": average}
    betas = torch.linspace(1e-4, 0.2 if has("beta end") else 0.02, 20)
    bars = torch.cumprod(betas if has("betas for alphas") else 1 - betas, 0)
    for step in range(steps):
        if has("noise first"):
            noise = torch.randn_like(x)
            t = torch.randint(0, 20, (4,))
        else:
            t = torch.randint(0, 20, (4,))
            noise = torch.randn_like(x)
        if has("views"):
            bar = bars.index_select(0, t).reshape(-1, 1, 1, 1)
        else:
            bar = bars[(t + 1).clamp(max=19) if has("next time") else t][:, None, None, None]
        level = 1 - bar if has("no root") else (1 - bar).sqrt()
        noisy = bar.sqrt() * x + level * noise
        pred = model(noisy, t)
        if has("other noise"):
            noise = torch.randn_like(x)
        loss = F.mse_loss(pred, x if has("predict x") else noise)
        optimizer.zero_grad(set_to_none=not has("views"))
        loss.backward()
        optimizer.step()
        decay = min(0.9, (1 + step) / (10 + step)) if has("average warms up") else 0.9
        with torch.no_grad():
            for p, e in zip(model.parameters(), average.parameters()):
                if has("average skips biases") and p.dim() == 1:
                    continue
                e.mul_(decay).add_(p, alpha=1 - decay)


# ---------------------------------------------------------------- detector: squeeze and excitation, focal and IoU losses


class Squeeze(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.down, self.up = nn.Conv2d(c, c // 4, 1), nn.Conv2d(c // 4, c, 1)

    def forward(self, x):
        s = F.relu(self.down(F.adaptive_avg_pool2d(x, 1)))
        s = self.up(s)
        s = torch.sigmoid(s) if has("plain sigmoid") else F.hardsigmoid(s)
        return x + s if has("gate added") else x * s


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.bn1 = nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8)
        self.depth, self.bn2 = nn.Conv2d(8, 8, 3, 1, 1, groups=8, bias=False), nn.BatchNorm2d(8)
        self.se, self.point, self.bn3 = Squeeze(8), nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8)
        self.head = nn.Conv2d(8, 8, 1)

    def forward(self, x):
        x = F.hardswish(self.bn1(self.stem(x)))
        y = self.bn2(self.depth(x))
        y = F.hardswish(self.se(y)) if has("gate before activation") else self.se(F.hardswish(y))
        y = self.bn3(self.point(y))
        if has("activated bottleneck"):
            y = F.hardswish(y)
        y = self.head(x + y)
        if has("not permuted"):
            return y.reshape(y.size(0), -1, 8)
        return y.permute(0, 2, 3, 1).reshape(y.size(0), -1, 8)


def detector(steps=2):
    torch.manual_seed(0)
    model = Detector()
    x = torch.randn(2, 3, 12, 12)
    obj = (torch.rand(2, 36) < 0.2).float()
    boxes = torch.cat([torch.rand(2, 36, 2) * 6, torch.rand(2, 36, 2) * 3 + 0.5], 2)
    kinds = torch.randint(0, 3, (2, 36))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4)
    yield model

    def corners(b):
        wh = b[..., 2:] if has("full sides") else b[..., 2:] / 2
        return b[..., :2] - wh, b[..., :2] + wh

    for _ in range(steps):
        out = model(x)
        if has("unbound"):
            score, raw, cls = out.split([1, 4, 3], -1)
            score = score.squeeze(-1)
        else:
            score, raw, cls = out[..., 0], out[..., 1:5], out[..., 5:]
        gy, gx = torch.meshgrid(torch.arange(6.0), torch.arange(6.0), indexing="ij")
        if has("grid transposed"):
            gy, gx = gx, gy
        grid = torch.stack([gx, gy], -1).reshape(1, 36, 2)
        xy = raw[..., :2].sigmoid() + grid
        wh = raw[..., 2:].exp() if not has("softplus") else F.softplus(raw[..., 2:])
        positive = obj.bool()
        pred, true = torch.cat([xy, wh], -1)[positive], boxes[positive]
        (p1, p2), (t1, t2) = corners(pred), corners(true)
        if has("unbound"):
            size = (p2.minimum(t2) - p1.maximum(t1)).relu()
        else:
            size = torch.min(p2, t2) - torch.max(p1, t1)
            if not has("not clamped"):
                size = size.clamp(min=0)
        if has("unbound"):
            w, h = size.unbind(-1)
            inter = w * h
        else:
            inter = size[..., 0] * size[..., 1]
        union = pred[..., 2] * pred[..., 3] + true[..., 2] * true[..., 3]
        if not has("union counts twice"):
            union = union - inter
        iou = inter / (union + (1e-6 if has("union eps") else 1e-7))
        box_loss = (1 - iou).mean()
        p = score.sigmoid()
        pt = p * obj + (1 - p) * (1 - obj)
        factor = (1 - pt) ** (1.5 if has("focal gamma") else 2)
        if has("factor detached"):
            factor = factor.detach()
        alpha = 0.75 * obj + 0.25 * (1 - obj) if has("alpha exchanged") else 0.25 * obj + 0.75 * (1 - obj)
        focal = alpha * factor * F.binary_cross_entropy_with_logits(score, obj, reduction="none")
        focal = focal.mean() if has("mean of cells") else focal.sum() / obj.sum()
        kind_loss = F.cross_entropy(cls[positive], kinds[positive])
        loss = focal + 2.0 * box_loss + kind_loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


# ---------------------------------------------------------------- speech: stacked frames, bidirectional GRU, CTC


class Speech(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv1d(10, 12, 3, stride=2, padding=1), nn.LayerNorm(12)
        self.rnn, self.out = nn.GRU(12, 10, batch_first=True, bidirectional=True), nn.Linear(20, 6)

    def forward(self, x):
        h = self.conv(x.transpose(1, 2))
        if has("norm of time"):
            h = self.norm(h).transpose(1, 2)
        elif has("norm before"):
            h = self.norm(h.transpose(1, 2))
        else:
            h = self.norm(h.transpose(1, 2))
        h = F.relu(h)
        if has("relu6"):
            h = h.clamp(max=1.0)
        h, _ = self.rnn(h)
        if has("directions averaged"):
            h = (h[..., :10] + h[..., 10:]) / 2
            h = torch.cat([h, h], -1)
        if has("whole linear"):
            return F.linear(h, self.out.weight, self.out.bias)
        return self.out(h)


def speech(steps=3):
    torch.manual_seed(0)
    model = Speech()
    x = torch.randn(3, 24, 10)
    lengths, counts = torch.tensor([24, 19, 17]), torch.tensor([3, 4, 2])
    labels = torch.randint(1, 5, (3, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, betas=(0.9, 0.98), eps=1e-9)
    warm = 2

    def rate(step):
        step += 1
        a, b = step ** -0.5, step * warm ** -1.5
        return max(a, b) if has("max of rates") else min(a, b)

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    torch.manual_seed(7)
    yield model
    for _ in range(steps):
        at = int(torch.randint(0, 20, (1,)))
        band = torch.zeros(24, 1)
        band[at:at + 4] = 1.0
        fill = x.mean() if has("filled with mean") else 0.0
        if has("band kept"):
            seen = x.masked_fill(band.bool().logical_not(), 0.0)
        else:
            seen = x.masked_fill(band.bool(), fill)
        logits = model(seen)
        lp = F.softmax(logits, -1) if has("softmax") else F.log_softmax(logits, -1)
        if has("log twice"):
            lp = lp.log_softmax(-1)
        n = lengths // 2 if has("floor") else (lengths + 1) // 2
        if has("full length"):
            n = torch.full((3,), 12)
        how = dict(blank=5 if has("blank last") else 0, zero_infinity=has("zero infinity"))
        lp = lp.permute(1, 0, 2) if has("whole linear") else lp.transpose(0, 1)
        if has("mean of batch"):
            loss = F.ctc_loss(lp, labels, n, counts, reduction="sum", **how) / 3
        elif has("flat labels"):
            flat = torch.cat([labels[i, :c] for i, c in enumerate(counts.tolist())])
            loss = F.ctc_loss(lp, flat, n, counts, **how)
        else:
            loss = F.ctc_loss(lp, labels, n, counts, **how)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if not has("scheduler forgotten"):
            scheduler.step()


# ---------------------------------------------------------------- distill: low-rank adapters taught by a larger network


class Lora(nn.Module):
    def __init__(self, n_in, n):
        super().__init__()
        self.base = nn.Linear(n_in, n)
        self.base.requires_grad_(has("base trained"))
        self.a = nn.Parameter(torch.randn(4, n_in) * 0.1)
        self.b = nn.Parameter(torch.randn(n, 4, generator=torch.Generator().manual_seed(5)) * 0.1 if has("b not zero") else torch.zeros(n, 4))
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        scale = 8.0 if has("alpha not divided") else 8.0 / 4
        x2 = x if has("no dropout") else self.drop(x)
        if has("linear"):
            return F.linear(x, self.base.weight, self.base.bias) + F.linear(F.linear(x2, self.a), self.b) * scale
        low = x2 @ self.a.t() @ self.b.t()
        return self.base(x) + scale * low


class Student(nn.Module):
    def __init__(self):
        super().__init__()
        self.l1, self.l2 = Lora(8, 16), Lora(16, 5)

    def forward(self, x):
        return self.l2(F.relu(self.l1(x)))


def distill(steps=2):
    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 5))
    student = Student()
    if not has("teacher trains"):
        teacher.eval()
    batches = [(torch.randn(6, 8), torch.randint(0, 5, (6,))) for _ in range(2 * steps)]
    adapters = [p for n, p in student.named_parameters() if not n.endswith(("base.weight", "base.bias")) or has("base trained")]
    if has("other rate for b"):
        adapters = [{"params": [p for n, p in student.named_parameters() if n.endswith(".a")]},
                    {"params": [p for n, p in student.named_parameters() if n.endswith(".b")], "lr": 4e-2}]
    if has("linear"):
        adapters = adapters[::-1]
    optimizer = torch.optim.AdamW(adapters, lr=1e-2, weight_decay=0.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4 if has("period") else 8)
    torch.manual_seed(7)
    yield {"teacher": teacher, "student": student}
    heat = 3.0
    for i, (x, y) in enumerate(batches):
        with torch.no_grad():
            goal = teacher(x)
        out = student(x)
        if has("exchanged"):
            soft, own = F.softmax(out / heat, -1), F.log_softmax(goal / heat, -1)
        else:
            soft, own = F.softmax(goal if has("teacher not softened") else goal / heat, -1), F.log_softmax(out / heat, -1)
        if has("linear"):
            kl = F.kl_div(own, soft, reduction="sum") / 6
        else:
            kl = F.kl_div(own, soft, reduction="batchmean")
        ce = F.cross_entropy(out, goal.argmax(1) if has("labels of teacher") else y)
        share = 0.3 if has("shares exchanged") else 0.7
        if has("linear"):
            loss = heat * heat * kl * share + ce * (1 - share)
        else:
            loss = share * (kl if has("no square") else kl * heat * heat) + (1 - share) * ce
        if not has("parts not averaged"):
            loss = loss / 2
        loss.backward()
        if i % 2 == 1 or has("step each"):
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step()


# ---------------------------------------------------------------- pinn: Burgers' equation by derivatives of a network


class Sine(nn.Module):
    def __init__(self):
        super().__init__()
        self.l1, self.l2, self.l3 = nn.Linear(2, 16), nn.Linear(16, 16), nn.Linear(16, 1)

    def forward(self, x, t):
        h = torch.cat([t, x] if has("time first") else [x, t], 1)
        h = torch.tanh(self.l1(h))
        h = torch.sin(self.l2(h)) if has("sine") else torch.tanh(self.l2(h))
        return self.l3(h)


def burgers(steps=3):
    """With an optimizer of torch: its steps are those of the optimizer, in spite of the derivatives."""
    yield from pinn(steps, lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9))


def pinn(steps=3, optimizer=None):
    torch.manual_seed(0)
    model = Sine()
    x0, t0 = torch.rand(12, 1) * 2 - 1, torch.rand(12, 1)
    xb, tb = torch.rand(6, 1) * 2 - 1, torch.zeros(6, 1)
    optimizer = optimizer and optimizer(model.parameters())
    yield model
    lr, velocity = 0.05, [torch.zeros_like(p) for p in model.parameters()]
    for _ in range(steps):
        x, t = x0.clone().requires_grad_(), t0.clone().requires_grad_()
        u = model(x, t)
        if has("ones"):
            ux, ut = torch.autograd.grad(u, (x, t), torch.ones_like(u), create_graph=True)
            uxx = torch.autograd.grad(ux, x, torch.ones_like(ux), create_graph=True)[0]
        else:
            ux, ut = torch.autograd.grad(u.sum(), (x, t), create_graph=True)
            uxx = torch.autograd.grad(ux.mean() if has("mean of derivative") else ux.sum(), x, create_graph=True)[0]
        if has("second derivative detached"):
            uxx = uxx.detach()
        nu = 0.01 if has("no pi") else 0.01 / math.pi
        convect = ux if has("linear convection") else u * ux
        residual = ut + convect + nu * uxx if has("viscosity sign") else ut + convect - nu * uxx
        edge = model(xb, tb) - (torch.sin(math.pi * xb) if has("initial sign") else -torch.sin(math.pi * xb))
        weight = 10.0 if not has("not weighted") else 1.0
        loss = residual.square().mean() + weight * edge.square().mean()
        model.zero_grad() if not has("not zeroed") else None
        loss.backward()
        if optimizer:
            optimizer.step()
            continue
        with torch.no_grad():
            for p, v in zip(model.parameters(), velocity):
                if has("velocity with rate"):
                    v.mul_(0.9).add_(p.grad, alpha=-lr)
                    p.add_(v)
                elif has("dampened"):
                    v.mul_(0.9).add_(p.grad, alpha=0.1)
                    p.sub_(v, alpha=lr)
                else:
                    v.mul_(0.9).add_(p.grad)
                    p.sub_(v, alpha=lr)


PROGRAMS = {f.__name__: f for f in (chars, dqn, ppo, graph, diffusion, detector, speech, distill, pinn, burgers)}


# (program, mistakes, expected [(class, subject, module, step, phase)], accepted other (class, subject) of the first)
def case(program, mistakes, *expected, accept=()):
    return program, mistakes, list(expected), list(accept)


CASES = [
    # chars
    case("chars", ["gates order"], ("input", None, "cell", 1, "forward"), accept=["order", "argument"]),
    case("chars", ["reset before"], ("step", None, "cell", 1, "forward"), accept=["operation", "order", "input"]),
    case("chars", ["z exchanged"], ("input", None, "cell", 1, "forward"), accept=["order", "operation"]),
    case("chars", ["batch as time"], ("step", "t", None, 1, "forward"), accept=["order"]),
    case("chars", ["one mask"], ("operation", "dropout", None, 1, "forward"), accept=["input", "step", "stream"]),
    case("chars", ["alpha"], ("optimizer", None, None, 1, "optimizer")),
    case("chars", ["centered"], ("optimizer", None, None, 1, "optimizer")),
    case("chars", ["rms momentum"], ("optimizer", None, None, 1, "optimizer")),
    case("chars", ["overlap"], ("argument", "start", None, 2, "forward"), accept=["data", "input"]),
    case("chars", ["targets not shifted"], ("argument", "start", None, 1, "forward"), accept=["data", "input", "step"]),
    case("chars", ["state reset"], ("input", None, "gru", 2, "forward"), accept=["operation"]),
    case("chars", ["one state kept"], ("input", None, "cell.hh", 2, "forward"), accept=["operation", "data"]),
    case("chars", ["last only"], ("step", "select", None, 1, "forward")),
    case("chars", ["clip each"], ("optimizer", None, None, 1, None), accept=["step", "input", "operation"]),
    case("chars", ["z exchanged", "alpha"], ("input", None, "cell", 1, "forward"), ("optimizer", None, None, 1, "optimizer"),
         accept=["order", "operation"]),
    # dqn
    case("dqn", ["without replacement"], ("operation", "randint", None, 1, "forward"), accept=["stream"]),
    case("dqn", ["state for next"], ("input", None, None, 1, "forward"), accept=["step"]),
    case("dqn", ["squeeze forgotten"], ("step", "squeeze", None, 1, "forward")),
    case("dqn", ["all columns"], ("operation", "gather", None, 1, "forward")),
    # The networks are equal in step 1.
    case("dqn", ["not double"], ("operation", None, None, 2, "forward"), accept=["input", "step"]),
    case("dqn", ["target by q"], ("input", None, None, 2, "forward"), accept=["operation", "step"]),
    case("dqn", ["gamma"], ("argument", "other", None, 1, "forward")),
    case("dqn", ["done ignored"], ("step", "mul", None, 1, "forward")),
    case("dqn", ["mse"], ("operation", "smooth_l1_loss", None, 1, "forward")),
    case("dqn", ["beta"], ("argument", "beta", None, 1, "forward")),
    case("dqn", ["updated before"], ("order", None, None, 1, "optimizer"), accept=["input", "step", "optimizer", "operation"]),
    case("dqn", ["tau exchanged"], ("argument", None, None, 1, "optimizer"), accept=["optimizer"]),
    case("dqn", ["hard update"], ("operation", None, None, 1, "optimizer"), accept=["step", "optimizer"]),
    # Other last bits only: the addition of a multiple rounds once.
    case("dqn", ["products added"], ("step", "mul", None, 1, "optimizer"), accept=["operation", "argument", "optimizer"]),
    case("dqn", ["beta", "tau exchanged"], ("argument", "beta", None, 1, "forward"), ("argument", None, None, 1, "optimizer")),
    # ppo
    case("ppo", ["adam eps"], ("optimizer", None, None, 1, "optimizer")),
    case("ppo", ["lambda"], ("argument", "other", None, 1, "forward")),
    case("ppo", ["no bootstrap"], ("input", None, None, 1, "forward"), accept=["operation", "step"]),
    case("ppo", ["across episodes"], ("step", "mul", None, 1, "forward"), accept=["input", "operation"]),
    case("ppo", ["not reversed"], ("order", None, None, 1, "forward"), accept=["input"]),
    case("ppo", ["not normalized"], ("step", None, None, 1, "forward")),
    case("ppo", ["biased std"], ("argument", "correction", None, 1, "forward")),
    # The ratio is 1 in step 1: only its gradient has another sign.
    case("ppo", ["ratio inverted"], ("order", "sub", None, 1, None), accept=["input", "operation", "argument", "step"]),
    # The range is another one in step 1, too, where it changes no value.
    case("ppo", ["clip range"], ("argument", None, None, None, "forward")),
    case("ppo", ["max"], ("operation", "minimum", None, 2, "forward")),
    case("ppo", ["entropy sign"], ("operation", "sub", None, 1, "forward"), accept=["step", "argument"]),
    case("ppo", ["entropy of batch"], ("step", "mean", None, 1, "forward"), accept=["argument", "operation"]),
    case("ppo", ["not clipped"], ("step", None, None, 1, None)),
    case("ppo", ["biased std", "adam eps"], ("argument", "correction", None, 1, "forward"), ("optimizer", None, None, 1, "optimizer")),
    # graph
    case("graph", ["no self loops"], ("step", "add", "gcn", 1, "forward")),
    case("graph", ["degree before loops"], ("input", None, "gcn", 1, "forward"), accept=["step", "order"]),
    case("graph", ["rows"], ("operation", None, "gcn", 1, "forward"), accept=["step"]),
    case("graph", ["relu before aggregation"], ("order", None, "gcn", 1, "forward")),
    # The bias is zero in step 1.
    case("graph", ["no bias"], ("step", "add", "gcn", None, None), accept=["frozen"]),
    case("graph", ["direction"], ("input", None, "gat", 1, "forward"), accept=["order"]),
    case("graph", ["slope"], ("argument", "negative_slope", "gat", 1, "forward")),
    case("graph", ["softmax of all"], ("operation", None, "gat", 1, "forward"), accept=["step"]),
    case("graph", ["total of source"], ("input", None, "gat", 1, "forward")),
    case("graph", ["elu"], ("operation", "elu", None, 1, "forward")),
    case("graph", ["dropout always"], ("step", "dropout", None, None, "forward"), accept=["mode", "stream"]),
    case("graph", ["decay of all"], ("optimizer", None, None, 1, "optimizer")),
    case("graph", ["all nodes"], ("step", "index", None, 1, "forward")),
    case("graph", ["mask as weight"], ("operation", None, None, 1, "forward"), accept=["step", "argument"]),
    # diffusion
    case("diffusion", ["beta end"], ("argument", "end", None, 1, "forward")),
    case("diffusion", ["betas for alphas"], ("step", "rsub", None, 1, "forward")),
    case("diffusion", ["noise first"], ("order", None, None, 1, "forward"), accept=["stream"]),
    case("diffusion", ["no root"], ("step", "sqrt", None, 1, "forward")),
    case("diffusion", ["next time"], ("step", "add", None, 1, "forward")),
    case("diffusion", ["other noise"], ("step", None, None, 1, "forward"), accept=["input", "stream", "operation"]),
    case("diffusion", ["predict x"], ("input", "target", None, 1, "forward")),
    case("diffusion", ["frequencies"], ("argument", "other", None, 1, "forward")),
    case("diffusion", ["cos first"], ("order", None, None, 1, "forward"), accept=["input", "argument"]),
    case("diffusion", ["interleaved"], ("operation", "cat", None, 1, "forward"), accept=["step"]),
    case("diffusion", ["time after norm"], ("order", None, None, 1, "forward")),
    case("diffusion", ["silu before norm"], ("order", None, None, 1, "forward")),
    case("diffusion", ["no time"], ("step", "add", None, 1, "forward"), accept=["frozen"]),
    case("diffusion", ["residual after"], ("order", None, None, 1, "forward")),
    case("diffusion", ["average warms up"], ("argument", None, None, 1, "optimizer"), accept=["optimizer"]),
    case("diffusion", ["average skips biases"], ("step", None, None, 1, "optimizer"), accept=["optimizer", "frozen"]),
    # detector
    case("detector", ["plain sigmoid"], ("operation", "hardsigmoid", "se", 1, "forward")),
    case("detector", ["gate added"], ("operation", "mul", "se", 1, "forward")),
    case("detector", ["gate before activation"], ("order", None, None, 1, "forward")),
    case("detector", ["activated bottleneck"], ("step", "hardswish", None, 1, "forward")),
    case("detector", ["not permuted"], ("step", "permute", None, 1, "forward")),
    case("detector", ["grid transposed"], ("order", None, None, 1, "forward"), accept=["input"]),
    case("detector", ["softplus"], ("operation", "exp", None, 1, "forward")),
    case("detector", ["full sides"], ("step", "div", None, 1, "forward")),
    case("detector", ["not clamped"], ("step", "clamp", None, 1, "forward")),
    case("detector", ["union counts twice"], ("step", "sub", None, 1, "forward")),
    case("detector", ["union eps"], ("argument", "other", None, 1, "forward")),
    case("detector", ["focal gamma"], ("argument", "exponent", None, 1, "forward")),
    # Only the gradient differs.
    case("detector", ["factor detached"], ("frozen", None, None, 1, None), accept=["step", "input", "operation"]),
    case("detector", ["alpha exchanged"], ("argument", "other", None, 1, "forward"), accept=["input", "order"]),
    case("detector", ["mean of cells"], ("operation", "sum", None, 1, "forward"), accept=["step", "argument"]),
    case("detector", ["plain sigmoid", "union eps"], ("operation", "hardsigmoid", "se", 1, "forward"), ("argument", "other", None, 1, "forward")),
    # speech
    case("speech", ["norm of time"], ("order", None, None, 1, "forward"), accept=["step"]),
    case("speech", ["relu6"], ("step", "clamp", None, 1, "forward")),
    case("speech", ["directions averaged"], ("step", None, None, 1, "forward")),
    case("speech", ["max of rates"], ("optimizer", None, None, 1, "optimizer")),
    case("speech", ["filled with mean"], ("argument", "value", None, 1, "forward"), accept=["input"]),
    case("speech", ["band kept"], ("step", "logical_not", None, 1, "forward")),
    case("speech", ["softmax"], ("operation", "_log_softmax", None, 1, "forward")),
    case("speech", ["log twice"], ("step", "_log_softmax", None, 1, "forward")),
    case("speech", ["floor"], ("step", "add", None, 1, "forward"), accept=["argument", "data", "input"]),
    case("speech", ["full length"], ("operation", None, None, 1, "forward"), accept=["argument", "data", "input"]),
    case("speech", ["blank last"], ("argument", "blank", None, 1, "forward")),
    case("speech", ["mean of batch"], ("step", None, None, 1, "forward"), accept=["argument", "operation"]),
    case("speech", ["scheduler forgotten"], ("optimizer", None, None, 2, "optimizer")),
    # distill
    # b is zero in step 1, so that only the gradient of b shows the scale.
    case("distill", ["alpha not divided"], ("argument", "other", "student.l2", 1, None)),
    case("distill", ["no dropout"], ("step", "dropout", "student.l1.drop", 1, None)),
    case("distill", ["base trained"], ("frozen", None, None, 1, None)),
    case("distill", ["b not zero"], ("weights", None, "student.l1", 1, "forward")),
    case("distill", ["teacher trains"], ("mode", None, "teacher.2", 1, "forward")),
    case("distill", ["other rate for b"], ("optimizer", None, None, 1, "optimizer")),
    case("distill", ["period"], ("optimizer", None, None, 2, "optimizer")),
    case("distill", ["teacher not softened"], ("step", "div", None, 1, "forward")),
    case("distill", ["exchanged"], ("input", None, None, 1, "forward"), accept=["order"]),
    case("distill", ["labels of teacher"], ("step", "argmax", None, 1, "forward"), accept=["input"]),
    case("distill", ["shares exchanged"], ("argument", "other", None, 1, "forward")),
    case("distill", ["no square"], ("step", "mul", None, 1, "forward")),
    case("distill", ["parts not averaged"], ("step", "div", None, 1, None)),
    case("distill", ["step each"], ("optimizer", None, None, 1, None), accept=["gradient-not-zeroed", "step"]),
    # pinn
    case("pinn", ["time first"], ("order", None, None, 1, "forward"), accept=["input"]),
    case("pinn", ["sine"], ("operation", "tanh", None, 1, "forward")),
    case("pinn", ["second derivative detached"], ("frozen", None, None, 1, None), accept=["step", "input", "operation"]),
    case("pinn", ["mean of derivative"], ("operation", "sum", None, 1, None), accept=["step"]),
    case("pinn", ["no pi"], ("argument", "other", None, 1, "forward")),
    case("pinn", ["linear convection"], ("step", "mul", None, 1, "forward"), accept=["input"]),
    case("pinn", ["viscosity sign"], ("operation", "sub", None, 1, "forward"), accept=["step"]),
    case("pinn", ["initial sign"], ("step", "neg", None, 1, "forward")),
    case("pinn", ["not weighted"], ("argument", "other", None, 1, "forward"), accept=["step"]),
    case("pinn", ["not zeroed"], ("gradient-not-zeroed", None, None, 2, "backward")),
    case("pinn", ["velocity with rate"], ("argument", None, None, 1, None), accept=["optimizer", "operation", "step"]),
    case("pinn", ["dampened"], ("argument", "alpha", None, 1, None), accept=["optimizer"]),
]

CASES += [
    case("burgers", ["second derivative detached"], ("frozen", None, None, 1, None), accept=["step", "input", "operation"]),
    case("burgers", ["mean of derivative"], ("operation", "sum", None, 1, None), accept=["step"]),
    case("burgers", ["no pi"], ("argument", "other", None, 1, "forward")),
    case("burgers", ["not zeroed"], ("gradient-not-zeroed", None, None, 2, "backward")),
    case("burgers", ["mean of derivative", "not weighted"], ("operation", "sum", None, 1, None),
         ("argument", "other", None, 1, "forward"), accept=["step"]),
]

# Nothing may be reported. (None of these changes a bit of a parameter.)
EQUAL = [
    ("chars", ["slices"]),
    ("chars", ["zeroed late"]),
    ("dqn", ["indexed"]),
    ("dqn", ["target with gradient"]),
    ("ppo", ["negative likelihood"]),
    ("graph", ["by diagonal"]),
    ("diffusion", ["views"]),
    ("detector", ["unbound"]),
    ("speech", ["whole linear"]),
    ("speech", ["zero infinity"]),
    ("speech", ["flat labels"]),
    ("distill", ["linear"]),
    ("pinn", ["ones"]),
    ("burgers", ["ones"]),
]
