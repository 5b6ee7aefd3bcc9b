"""A fourth set of training programs and mistakes that were chosen without knowledge of the rules of the comparison. `accept` has other
classes that are as good."""

import copy
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from programs import has
from unseen_programs import case


# ---------------------------------------------------------------- bert: masked words and the next sentence, a tied decoder


class Words(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.word, self.position, self.segment = nn.Embedding(17, d), nn.Embedding(10, d), nn.Embedding(2, d)
        self.norm, self.drop = nn.LayerNorm(d, eps=1e-5 if has("layer eps") else 1e-12), nn.Dropout(0.1)

    def forward(self, x, segments):
        t = x.size(1)
        at = torch.arange(2, t + 2) if has("positions from two") else torch.arange(t)
        h = self.word(x) + self.position(at)
        if not has("no segments"):
            h = h + self.segment(segments)
        return self.norm(self.drop(h)) if has("dropout before norm") else self.drop(self.norm(h))


class BertLayer(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.query, self.key, self.value, self.dense = (nn.Linear(d, d) for _ in range(4))
        self.up, self.down = nn.Linear(d, 2 * d), nn.Linear(2 * d, d)
        self.norm1, self.norm2 = nn.LayerNorm(d, eps=1e-12), nn.LayerNorm(d, eps=1e-12)
        self.heads, self.drop = heads, nn.Dropout(0.1)

    def forward(self, x, mask):
        b, t, d = x.shape
        q, k, v = (f(x).view(b, t, self.heads, -1).transpose(1, 2) for f in (self.query, self.key, self.value))
        scores, root = q @ k.transpose(2, 3), math.sqrt(d if has("root of width") else d // self.heads)
        scores = (scores + mask) / root if has("masked before") else scores / root + mask
        h = self.drop(scores.softmax(-1)) @ v
        h = self.dense(h.transpose(1, 2).reshape(b, t, d))
        if not has("one dropout less"):
            h = self.drop(h)
        x = self.norm1(x + h)
        h = self.up(x)
        return self.norm2(x + self.drop(self.down(F.relu(h) if has("relu") else F.gelu(h))))


class Bert(nn.Module):
    def __init__(self, d=12):
        super().__init__()
        self.words, self.layers = Words(d), nn.ModuleList(BertLayer(d, 3) for _ in range(2))
        self.pool, self.next = nn.Linear(d, d), nn.Linear(d, 2)
        self.turn, self.norm, self.bias = nn.Linear(d, d), nn.LayerNorm(d, eps=1e-12), nn.Parameter(torch.zeros(17))
        for m in self.modules():
            if isinstance(m, nn.Embedding) or (isinstance(m, nn.Linear) and not has("linear by default")):
                nn.init.normal_(m.weight, std=0.2)
            if isinstance(m, nn.Linear) and not has("linear by default"):
                nn.init.zeros_(m.bias)
        self.decoder = nn.Linear(d, 17, bias=False)
        if has("decoder not tied"):
            with torch.no_grad():
                self.decoder.weight.copy_(self.words.word.weight)
        else:
            self.decoder.weight = self.words.word.weight

    def forward(self, x, segments):
        present = (x != 0)[:, None, None, :].float()
        mask = (present if has("mask inverted") else 1.0 - present) * -10000.0
        h = self.words(x, segments)
        for layer in self.layers:
            h = layer(h, mask)
        pooled = self.pool(h.mean(1) if has("mean pooled") else h[:, 0])
        if not has("pooled linear"):
            pooled = torch.tanh(pooled)
        h = F.gelu(self.turn(h))
        if not has("head not normalized"):
            h = self.norm(h)
        h = self.decoder(h)
        return h if has("no bias of words") else h + self.bias, self.next(pooled)


def bert(steps=3):
    torch.manual_seed(0)
    model = Bert()
    torch.manual_seed(1)
    text, follows = torch.randint(4, 17, (4 * steps, 8)), torch.randint(0, 2, (4 * steps,))
    text[:, 0], text[:, 4] = 1, 2
    for i in range(4 * steps):
        text[i, (8, 7, 6, 8)[i % 4]:] = 0
    segments = (torch.arange(8) > 4).long().expand(4, 8)
    free = [p for n, p in model.named_parameters() if "norm" in n or n.endswith("bias")]
    decayed = [p for n, p in model.named_parameters() if not ("norm" in n or n.endswith("bias"))]
    if has("norms decayed"):
        free, decayed = [p for n, p in model.named_parameters() if n.endswith("bias")], \
            [p for n, p in model.named_parameters() if not n.endswith("bias")]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.1}, {"params": free, "weight_decay": 0.0}], lr=1e-2)
    linear = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / 2, 1 - step / 6))
    torch.manual_seed(7)
    yield model
    for step in range(steps):
        ids = text[4 * step:4 * step + 4]
        chosen = torch.rand(4, 8) < 0.4
        if not has("signs chosen"):
            chosen = chosen & (ids > 3)
        labels = ids.masked_fill(ids == 0, -100) if has("all words counted") else ids.masked_fill(~chosen, -100)
        if has("random words first"):
            words = torch.randint(4, 17, (4, 8))
            masked = (torch.rand(4, 8) < 0.8) & chosen
            other = (torch.rand(4, 8) < 0.5) & chosen & ~masked
        else:
            masked = (torch.rand(4, 8) < 0.8) & chosen
            other = (torch.rand(4, 8) < 0.5) & chosen
            if not has("masked words replaced"):
                other = other & ~masked
            words = torch.randint(4, 17, (4, 8))
        x = torch.where(other, words, ids.masked_fill(masked, 3))
        scores, order = model(x, segments)
        loss = F.cross_entropy(scores.flatten(0, 1), labels.flatten())
        if not has("next not trained"):
            loss = loss + F.cross_entropy(order, follows[4 * step:4 * step + 4])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5 if has("clipped more") else 1.0)
        optimizer.step()
        if not has("rate kept"):
            linear.step()


# ---------------------------------------------------------------- translation: torch's transformer, smoothed targets, Noam's rates


class Positions(nn.Module):
    def __init__(self, d, length=10):
        super().__init__()
        base = 1000.0 if has("base") else 10000.0
        angle = torch.arange(length)[:, None] * torch.exp(torch.arange(0, d, 2) * (-math.log(base) / d))
        table = torch.zeros(length, d)
        one, two = (1, 0) if has("sines second") else (0, 1)
        table[:, one::2], table[:, two::2] = angle.sin(), angle.cos()
        self.register_buffer("table", table)
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        if not has("no positions"):
            x = x + self.table[:x.size(1)]
        return x if has("positions without dropout") else self.drop(x)


class Translation(nn.Module):
    def __init__(self, d=8):
        super().__init__()
        self.source, self.target, self.positions = nn.Embedding(13, d), nn.Embedding(13, d), Positions(d)
        self.core = nn.Transformer(d, 2, 1, 2, 16, dropout=0.1, activation="gelu" if has("gelu") else "relu", batch_first=True,
                                   norm_first=has("norm first"))
        self.out = nn.Linear(d, 13)
        for p in self.parameters():
            if p.dim() > 1:
                (nn.init.xavier_normal_ if has("normal weights") else nn.init.xavier_uniform_)(p)
        if has("output tied"):
            self.out.weight = self.target.weight

    def forward(self, x, y):
        root = math.sqrt(8)
        later = torch.ones(y.size(1), y.size(1), dtype=torch.bool).triu(1)
        empty_x, empty_y = x == 0, y == 0
        if has("masks of numbers"):
            later, empty_x, empty_y = (torch.zeros(m.shape).masked_fill(m, -math.inf) for m in (later, empty_x, empty_y))
        x = self.source(x)
        if not has("source not scaled"):
            x = x * root
        y = (self.source if has("one embedding") else self.target)(y) * root
        memory = None if has("memory not masked") else empty_x
        h = self.core(self.positions(x), self.positions(y), tgt_mask=None if has("later seen") else later, src_key_padding_mask=empty_x,
                      tgt_key_padding_mask=empty_y, memory_key_padding_mask=memory)
        h = self.out(h)
        return h.softmax(-1) if has("no logarithm") else h.log_softmax(-1)


def translation(steps=3):
    torch.manual_seed(0)
    model = Translation()
    torch.manual_seed(1)
    sources, targets = torch.randint(3, 13, (3 * steps, 6)), torch.randint(3, 13, (3 * steps, 7))
    targets[:, 0] = 1
    for i in range(3 * steps):
        sources[i, (6, 4, 5)[i % 3]:] = 0
        end = (5, 7, 6)[i % 3]
        targets[i, end - 1] = 2
        targets[i, end:] = 0
    optimizer = torch.optim.Adam(model.parameters(), lr=1.0, betas=(0.9, 0.999 if has("beta2") else 0.98), eps=1e-8 if has("eps") else 1e-9)

    def noam(step):
        step += 1
        warm = 4 if has("longer warm-up") else 2
        return 0.1 * 8 ** -0.5 * min(step ** -0.5, step * warm ** -1.5)

    if has("rates by hand"):
        optimizer.param_groups[0]["lr"] = noam(0)
    else:
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, noam)
    torch.manual_seed(7)
    yield model
    for step in range(steps):
        x, y = sources[3 * step:3 * step + 3], targets[3 * step:3 * step + 3]
        inputs, goal = y[:, 1:] if has("targets as input") else y[:, :-1], y[:, 1:]
        out = model(x, inputs)
        # Neither the right word nor the padding.
        soft = torch.full_like(out, 0.1 / (12 if has("shared by twelve") else 11)).scatter(2, goal[:, :, None], 0.9)
        if not has("padding as word"):
            soft[:, :, 0] = 0.0
        if not has("padding counted"):
            soft = soft.masked_fill((goal == 0)[:, :, None], 0.0)
        loss = F.kl_div(out, soft, reduction="sum")
        if not has("not divided"):
            loss = loss / (goal.numel() if has("divided by all") else (goal != 0).sum())
        optimizer.zero_grad()
        loss.backward()
        if has("rates by hand"):
            optimizer.step()
            optimizer.param_groups[0]["lr"] = noam(step + 1)
        elif has("rate before"):
            scheduler.step()
            optimizer.step()
        else:
            optimizer.step()
            scheduler.step()


# ---------------------------------------------------------------- critics: soft actor-critic, two critics, a learned temperature


class Actor(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.mean, self.spread = nn.Linear(3, 16), nn.Linear(16, 2), nn.Linear(16, 2)

    def forward(self, x):
        h = F.relu(self.fc1(x))
        mean, log_std = self.mean(h), self.spread(h)
        if not has("spread not squashed"):
            log_std = torch.tanh(log_std)
        log_std = 0.5 * log_std - 1
        std = F.softplus(log_std) if has("deviation by softplus") else log_std.exp()
        noise = torch.rand_like(mean) if has("uniform noise") else torch.randn_like(mean)
        z = mean + std * noise
        action = z.clamp(-0.99, 0.99) if has("action clamped") else torch.tanh(z)
        logp = -0.5 * ((z - mean) / std) ** 2 - std.log() - 0.5 * math.log(2 * math.pi)
        if not has("no correction"):
            logp = logp - torch.log(1 - action ** 2 + (1e-3 if has("correction eps") else 1e-6))
        return action, logp.mean(1, keepdim=True) if has("mean of actions") else logp.sum(1, keepdim=True)


class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Sequential(nn.Linear(5, 12), nn.ReLU(), nn.Linear(12, 1))
        self.two = nn.Sequential(nn.Linear(5, 12), nn.ReLU(), nn.Linear(12, 1))

    def forward(self, x, a):
        x = torch.cat([a, x] if has("action first") else [x, a], 1)
        return self.one(x), self.two(x)


class Temperature(nn.Module):
    def __init__(self):
        super().__init__()
        self.log = nn.Parameter(torch.tensor(-1.0))


def critics(steps=4):
    torch.manual_seed(0)
    actor, critic, heat = Actor(), Critic(), Temperature()
    target = Critic() if has("target of its own") else copy.deepcopy(critic)
    target.requires_grad_(False)
    torch.manual_seed(1)
    n = 40
    states, actions, rewards, nexts = torch.randn(n, 3), torch.rand(n, 2) * 2 - 1, torch.randn(n, 1), torch.randn(n, 3)
    ends = (torch.rand(n, 1) < 0.3).float()
    actor_opt, critic_opt, heat_opt = (torch.optim.Adam(m.parameters(), lr=lr) for m, lr in (
        (actor, 1e-3 if has("rate of critic") else 3e-3), (critic, 1e-2), (heat, 1e-2)))
    torch.manual_seed(7)
    yield {"actor": actor, "critic": critic, "target": target, "heat": heat}

    def follow():
        with torch.no_grad():
            for t, p in zip(target.parameters(), critic.parameters()):
                t.mul_(0.05 if has("shares exchanged") else 0.95).add_(p, alpha=0.95 if has("shares exchanged") else 0.05)

    for step in range(steps):
        i = torch.randperm(n)[:8] if has("without repeats") else torch.randint(0, n, (8,))
        s, a, r, s2, end = states[i], actions[i], rewards[i], nexts[i], ends[i]
        if has("followed before"):
            follow()
        alpha = heat.log.exp().detach()
        with torch.set_grad_enabled(has("goal with gradient")):
            a2, logp = actor(s2)
            one, two = (critic if has("goal by critic") else target)(s2, a2)
            best = torch.maximum(one, two) if has("larger critic") else torch.minimum(one, two)
            if has("entropy subtracted"):
                best = best + alpha * logp
            elif not has("goal without entropy"):
                best = best - alpha * logp
            if has("end ignored"):
                goal = r + 0.95 * best
            else:
                goal = r + (0.99 if has("discount") else 0.95) * (1 - end) * best
        one, two = critic(s, a)
        two = one if has("first critic twice") else two
        if has("squares by hand"):
            loss = (one - goal).pow(2).mean() + (two - goal).pow(2).mean()
        else:
            loss = F.mse_loss(one, goal) + F.mse_loss(two, goal)
        if not has("critic not zeroed"):
            critic_opt.zero_grad()
        loss.backward()
        critic_opt.step()
        a2, logp = actor(s)
        one, two = critic(s, a if has("old action") else a2)
        best = one if has("first critic only") else torch.minimum(one, two)
        (alpha * logp - best).mean().backward()
        actor_opt.step()
        actor_opt.zero_grad()
        goal_entropy = -1.0 if has("entropy of one") else -2.0
        heat_loss = heat.log * (logp + goal_entropy).detach()
        heat_loss = heat_loss.mean() if has("sign of temperature") else -heat_loss.mean()
        heat_opt.zero_grad()
        heat_loss.backward()
        heat_opt.step()
        if not has("followed before"):
            follow()


# ---------------------------------------------------------------- upscale: residual blocks, pixels shuffled, total variation


class Residual(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv1, self.act = nn.Conv2d(c, c, 3, padding=1), nn.PReLU(c, 0.1 if has("slope") else 0.25)
        self.conv2 = nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x):
        h = self.conv2(self.act(self.conv1(x)))
        if not has("blocks not scaled"):
            h = h * 0.1
        return F.relu(x + h) if has("rectified sum") else x + h


class Upscale(nn.Module):
    def __init__(self, c=6):
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.45, 0.44, 0.40] if has("rounded mean") else [0.4488, 0.4371, 0.4040]).view(1, 3, 1, 1))
        self.head = nn.Conv2d(3, c, 3, padding=1, padding_mode="zeros" if has("zeros outside") else "replicate")
        self.body, self.last = nn.Sequential(Residual(c), Residual(c)), nn.Conv2d(c, c, 3, padding=1)
        self.up, self.tail = nn.Conv2d(c, 4 * c, 3, padding=1), nn.Conv2d(c, 3, 3, padding=1)

    def forward(self, x):
        if not has("mean not subtracted"):
            x = x - self.mean
        x = self.head(x)
        h = self.last(self.body(x))
        h = self.up(h if has("no long skip") else x + h)
        b, c, m, n = h.shape
        if has("depth to space"):
            h = h.view(b, 2, 2, c // 4, m, n).permute(0, 3, 4, 1, 5, 2).reshape(b, c // 4, 2 * m, 2 * n)
        elif has("shuffled by hand"):
            h = h.view(b, c // 4, 2, 2, m, n).permute(0, 1, 4, 2, 5, 3).reshape(b, c // 4, 2 * m, 2 * n)
        else:
            h = F.pixel_shuffle(h, 2)
        h = self.tail(h)
        return h if has("mean not added") else h + self.mean


def upscale(steps=4):
    torch.manual_seed(0)
    model = Upscale()
    torch.manual_seed(1)
    images = F.interpolate(torch.rand(2 * steps, 3, 4, 4), size=(12, 12), mode="bilinear") + 0.05 * torch.randn(2 * steps, 3, 12, 12)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, betas=(0.9, 0.999 if has("beta2") else 0.99))
    rates = torch.optim.lr_scheduler.MultiStepLR(optimizer, [1, 3] if has("first rate short") else [2, 3], gamma=0.5)
    torch.manual_seed(7)
    yield model
    for step in range(steps):
        large = images[2 * step:2 * step + 2]
        if has("small before flip"):
            small = F.interpolate(large, scale_factor=0.5, mode="bicubic", align_corners=False)
        if torch.rand(1).item() < 0.8:
            large = large.flip(2 if has("flipped in height") else 3)
        if has("bilinear"):
            small = F.interpolate(large, scale_factor=0.5, mode="bilinear", align_corners=False)
        elif not has("small before flip"):
            small = F.interpolate(large, scale_factor=0.5, mode="bicubic", align_corners=has("corners"))
        if not has("not clamped"):
            small = small.clamp(0, 1)
        out = model(small)
        if has("output squashed"):
            out = torch.sigmoid(out)
        loss = F.mse_loss(out, large) if has("squares") else F.l1_loss(out, large)
        pixels = large if has("variation of goal") else out
        rows, columns = pixels[:, :, 1:] - pixels[:, :, :-1], pixels[:, :, :, 1:] - pixels[:, :, :, :-1]
        variation = rows.pow(2).mean() if has("squared rows") else rows.abs().mean()
        if not has("rows only"):
            variation = variation + columns.abs().mean()
        loss = loss + (0.1 if has("variation") else 0.01) * variation
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rates.step()


# ---------------------------------------------------------------- rays: encoded positions, two passes of volume rendering


def encoded(x, n):
    k = torch.arange(n)
    frequencies = 2.0 * k + 1 if has("linear frequencies") else 2.0 ** k
    if has("frequencies with pi"):
        frequencies = frequencies * math.pi
    angles = (x[..., None] * frequencies).flatten(-2)
    if has("cosines first"):
        return torch.cat([x, angles.cos(), angles.sin()], -1)
    return torch.cat([x, angles.sin(), angles.cos()], -1)


class Radiance(nn.Module):
    def __init__(self, d=12):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(21, d), nn.Linear(d + 21, d), nn.Linear(d, d)
        self.density, self.color1, self.color2 = nn.Linear(d, 1), nn.Linear(d + 9, d), nn.Linear(d, 3)

    def forward(self, points, directions):
        x, d = encoded(points, 3), encoded(directions, 1)
        h = F.relu(self.fc1(x))
        h = F.relu(self.fc2(torch.cat([x, h] if has("hidden last") else [h, x], -1)))
        density = self.density(h)[..., 0]
        h = self.fc3(h)
        if has("features rectified"):
            h = F.relu(h)
        h = F.relu(self.color1(torch.cat([h, d], -1)))
        h = self.color2(h)
        return density, h if has("color linear") else torch.sigmoid(h)


def rays(steps=3):
    torch.manual_seed(0)
    coarse, fine = Radiance(), Radiance()
    torch.manual_seed(1)
    n = 5 * steps
    origins, directions, colors = torch.randn(n, 3) * 0.1, torch.randn(n, 3), torch.rand(n, 3)
    parameters = list(coarse.parameters()) + ([] if has("fine not trained") else list(fine.parameters()))
    optimizer = torch.optim.Adam(parameters, lr=5e-3)
    decay = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.8)
    torch.manual_seed(7)
    yield {"coarse": coarse, "fine": fine}

    def rendered(net, o, d, z):
        view = d if has("views not unit") else d / d.norm(dim=-1, keepdim=True)
        points = o[:, None] + d[:, None] * z[..., None]
        density, color = net(points, view[:, None].expand(points.shape))
        gaps = torch.cat([z[:, 1:] - z[:, :-1], torch.full((z.size(0), 1), 1.0 if has("last gap") else 1e10)], 1)
        if not has("length of ray ignored"):
            gaps = gaps * d.norm(dim=-1, keepdim=True)
        if not has("no noise of density"):
            density = density + torch.randn_like(density) * 0.1
        density = F.softplus(density) if has("softplus") else F.relu(density)
        alpha = 1 - torch.exp(-density * gaps)
        clear = 1 - alpha + (1e-7 if has("clear eps") else 1e-10)
        if has("own opacity counted"):
            through = clear.cumprod(1)
        elif has("product then cut"):
            through = torch.cat([torch.ones(z.size(0), 1), clear], 1).cumprod(1)[:, :-1]
        else:
            through = torch.cat([torch.ones(z.size(0), 1), clear[:, :-1]], 1).cumprod(1)
        weights = alpha if has("not covered") else alpha * through
        rgb = (weights[..., None] * color).sum(1)
        if not has("black background"):
            rgb = rgb + (1 - weights.sum(1, keepdim=True))
        return rgb, weights

    for step in range(steps):
        rows = slice(5 * step, 5 * step + 5)
        o, d, goal = origins[rows], directions[rows], colors[rows]
        t = torch.linspace(0, 1, 7)
        z = 1 / (1 / 2.0 * (1 - t) + 1 / 6.0 * t) if has("inverse depths") else 2.0 * (1 - t) + 6.0 * t
        low, high = z[:-1], z[1:]
        jitter = torch.rand(1, 6) if has("one jitter") else torch.rand(5, 6)
        z = (0.5 * (low + high) if has("middle of bins") else low + (high - low) * jitter).expand(5, 6)
        first, weights = rendered(coarse, o, d, z)
        # More samples where the first pass saw something.
        bins = 0.5 * (z[:, 1:] + z[:, :-1])
        w = weights[:, 1:-1] + (1e-3 if has("weight eps") else 1e-5)
        if not has("samples with gradient"):
            w = w.detach()
        cdf = torch.cat([torch.zeros(5, 1), (w / w.sum(1, keepdim=True)).cumsum(1)], 1)
        u = torch.rand(5, 4)
        at = torch.searchsorted(cdf, u, right=True).clamp(1, 4)
        c0, c1, b0, b1 = cdf.gather(1, at - 1), cdf.gather(1, at), bins.gather(1, at - 1), bins.gather(1, at)
        more = b0 + (u - c0) / (c1 - c0).clamp(min=1e-5) * (b1 - b0)
        both = torch.cat([z, more], 1)
        if not has("not sorted"):
            both = both.sort(1).values
        second, _ = rendered(coarse if has("coarse again") else fine, o, d, both)
        loss = F.mse_loss(second, goal)
        if not has("fine only"):
            loss = loss + F.mse_loss(first, goal)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if not has("rate kept"):
            decay.step()


# ---------------------------------------------------------------- forecast: windows normalized, trend and residual blocks, quantiles


class Stack(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.drop = nn.Linear(12, 16), nn.Linear(16, 16), nn.Dropout(0.2 if has("p") else 0.1)
        self.back, self.ahead = nn.Linear(16, 12), nn.Linear(16, 12)

    def forward(self, x):
        h = F.relu(self.fc1(x))
        h = self.fc2(h)
        if not has("second layer linear"):
            h = F.relu(h)
        h = self.drop(h)
        return self.back(h), self.ahead(h)


class Forecast(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain, self.shift = nn.Parameter(torch.full((1,), 1.2)), nn.Parameter(torch.full((1,), 0.1))
        self.trend, self.blocks = nn.Linear(12, 12), nn.ModuleList(Stack() for _ in range(2))

    def forward(self, x):
        mean, var = x.mean(1, keepdim=True), x.var(1, unbiased=has("unbiased"), keepdim=True)
        std = torch.sqrt(var + (1e-3 if has("window eps") else 1e-5))
        if not has("mean not subtracted"):
            x = x - mean
        x = x / std * self.gain + self.shift
        padded = F.pad(x[:, None], (2, 2) if has("trend centered") else (4, 0), mode="reflect" if has("reflected") else "replicate")
        trend = F.avg_pool1d(padded, 5, 1)[:, 0]
        rest = x if has("trend not subtracted") else x - trend
        out = self.trend(rest if has("trend of rest") else trend)
        for block in self.blocks:
            back, ahead = block(rest)
            if has("rest added"):
                rest = rest + back
            elif not has("rest kept"):
                rest = rest - back
            out = out + ahead
        out = out.view(-1, 3, 4).transpose(1, 2) if has("quantiles first") else out.view(-1, 4, 3)
        out = out / self.gain - self.shift if has("divided first") else (out - self.shift) / self.gain
        if not has("deviation not restored"):
            out = out * std[..., None]
        return out if has("mean not restored") else out + mean[..., None]


def forecast(steps=4):
    torch.manual_seed(0)
    model = Forecast()
    torch.manual_seed(1)
    series = torch.randn(80).cumsum(0) * 0.3 + torch.sin(torch.arange(80) * 0.7)
    quantiles = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64 if has("double quantiles") else torch.float32)
    if has("quantiles reversed"):
        quantiles = quantiles.flip(0)
    kind = torch.optim.Adam if has("coupled decay") else torch.optim.AdamW
    optimizer = kind(model.parameters(), lr=1e-2, weight_decay=0.1)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1 if has("patience") else 0, threshold=0.5)
    torch.manual_seed(8 if has("other seed") else 7)
    yield model

    def pinball(out, goal):
        e = out - goal[..., None] if has("error reversed") else goal[..., None] - out
        if has("by where"):
            loss = torch.where(e >= 0, quantiles * e, (quantiles - 1) * e)
        elif has("smaller slope"):
            loss = torch.minimum(quantiles * e, (quantiles - 1) * e)
        else:
            loss = torch.maximum(quantiles * e, (quantiles - 1) * e)
        return loss.mean(2).mean() if has("mean of quantiles") else loss.sum(2).mean()

    for step in range(steps):
        model.train()
        starts = torch.randint(0, 40 if has("fewer windows") else 48, (6,))
        i = starts[:, None] + torch.arange(16)
        window = series[i]
        past, goal = window[:, :12], window[:, 11:15] if has("goal by one") else window[:, 12:]
        loss = pinball(model(past), goal)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if not has("validated in train"):
            model.eval()
        with torch.no_grad():
            seen = pinball(model(series[None, 64:76]), series[None, 76:])
        plateau.step(seen)


# ---------------------------------------------------------------- robust: wide blocks, attacked images, warm restarts, average


class Wide(nn.Module):
    def __init__(self, c, d, stride):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(c, momentum=0.01 if has("bn momentum") else 0.1), nn.Conv2d(c, d, 3, stride, 1, bias=False)
        self.bn2, self.conv2 = nn.BatchNorm2d(d), nn.Conv2d(d, d, 3, 1, 1, bias=False)
        self.drop, self.short = nn.Dropout(0.3), nn.Conv2d(c, d, 1, stride, bias=False) if c != d else None

    def forward(self, x):
        h = F.relu(self.bn1(x))
        short = x if self.short is None else self.short(x if has("short of input") else h)
        h = self.bn2(self.conv1(h))
        if has("rectified after dropout"):
            # As good, since a mask does not change signs.
            h = F.relu(self.drop(h))
        else:
            h = F.relu(h)
            if not has("no dropout"):
                h = self.drop(h)
        return short + self.conv2(h)


class Classes(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.block1, self.block2 = nn.Conv2d(1, 4, 3, padding=1, bias=False), Wide(4, 4, 1), Wide(4, 6, 2)
        self.bn, self.fc = nn.BatchNorm2d(6), nn.Linear(6, 3)

    def forward(self, x):
        x = self.block2(self.block1(self.stem(x)))
        return self.fc(F.relu(self.bn(x)).mean((2, 3)))


def robust(steps=4):
    torch.manual_seed(0)
    model = Classes()
    average = copy.deepcopy(model).eval()
    torch.manual_seed(1)
    images, labels = torch.rand(6 * steps, 1, 6, 6), torch.randint(0, 3, (6 * steps,))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=not has("no nesterov"))
    restarts = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 3 if has("longer cycle") else 2)
    torch.manual_seed(7)
    yield {"model": model, "average": average}

    def attacked(x, y):
        if not has("attack in train"):
            model.eval()
        eps = 0.1 if has("attack eps") else 0.05
        clean = model(x).softmax(1).detach()
        if has("no random start"):
            adv = x
        else:
            adv = x + (torch.randn_like(x) * eps if has("normal start") else (torch.rand_like(x) * 2 - 1) * eps)
        for _ in range(1 if has("one attack") else 2):
            adv = adv.detach().requires_grad_()
            scores = model(adv)
            loss = F.cross_entropy(scores, y) if has("attack by labels") \
                else F.kl_div(scores.log_softmax(1), clean, reduction="sum")
            if has("gradients of attack added") or has("attack by backward"):
                loss.backward()
                g = adv.grad
            else:
                g, = torch.autograd.grad(loss, [adv])
            with torch.no_grad():
                move = 0.03 * (g if has("no sign") else g.sign())
                adv = adv - move if has("descent") else adv + move
                if not has("not projected"):
                    adv = torch.minimum(torch.maximum(adv, x - eps), x + eps)
                if not has("pixels not clamped"):
                    adv = adv.clamp(0, 1)
        if not has("stays in eval"):
            model.train()
        return adv

    for step in range(steps):
        x, y = images[6 * step:6 * step + 6], labels[6 * step:6 * step + 6]
        if not has("attack by backward"):
            optimizer.zero_grad()
        adv = attacked(x, y)
        if has("attack by backward"):
            optimizer.zero_grad()
        if has("attacked first"):
            other = model(adv)
            scores = model(x)
        else:
            scores = model(x)
            other = model(adv)
        soft = scores.softmax(1)
        if has("clean detached"):
            soft = soft.detach()
        if has("divergence exchanged"):
            apart = F.kl_div(scores.log_softmax(1), other.softmax(1), reduction="batchmean")
        else:
            apart = F.kl_div(other.log_softmax(1), soft, reduction="mean" if has("mean of classes") else "batchmean")
        loss = F.cross_entropy(scores, y) + (6.0 if has("beta") else 2.0) * apart
        loss.backward()
        optimizer.step()
        restarts.step()
        with torch.no_grad():
            for a, p in zip(average.parameters(), model.parameters()):
                a.lerp_(p, 0.1 if has("average slower") else 0.2)
            if not has("statistics not copied"):
                for a, b in zip(average.buffers(), model.buffers()):
                    a.copy_(b)


PROGRAMS = {f.__name__: f for f in (bert, translation, critics, upscale, rays, forecast, robust)}


CASES = [
    # bert
    case("bert", ["layer eps"], ("argument", "eps", "words.norm", 1, "forward")),
    case("bert", ["positions from two"], ("argument", None, "words", 1, "forward"), accept=["operation", "input", "data"]),
    case("bert", ["no segments"], ("step", None, "words", 1, "forward"), accept=["frozen"]),
    case("bert", ["dropout before norm"], ("order", None, "words", 1, "forward"), accept=["input"]),
    case("bert", ["root of width"], ("argument", "other", "layers.0", 1, "forward")),
    case("bert", ["one dropout less"], ("step", "dropout", "layers.0", 1, "forward")),
    case("bert", ["relu"], ("operation", "gelu", "layers.0", 1, "forward")),
    case("bert", ["linear by default"], ("weights", None, None, 1, "forward")),
    case("bert", ["decoder not tied"], ("tied", None, None, None, None), accept=["weights", "input"]),
    case("bert", ["mask inverted"], ("step", None, None, 1, "forward"), accept=["input"]),
    case("bert", ["mean pooled"], ("operation", "select", None, 1, "forward"), accept=["step"]),
    case("bert", ["pooled linear"], ("step", "tanh", None, 1, "forward")),
    case("bert", ["head not normalized"], ("step", "native_layer_norm", "norm", 1, "forward"), accept=["frozen"]),
    case("bert", ["no bias of words"], ("step", "add", None, 1, "forward"), accept=["frozen"]),
    case("bert", ["norms decayed"], ("optimizer", None, None, 1, "optimizer"), accept=["step"]),
    case("bert", ["signs chosen"], ("step", None, None, 1, "forward"), accept=["input"]),
    case("bert", ["all words counted"], ("operation", "bitwise_not", None, 1, "forward"), accept=["input", "step"]),
    case("bert", ["random words first"], ("order", None, None, 1, "forward"), accept=["stream"]),
    case("bert", ["masked words replaced"], ("step", None, None, 1, "forward"), accept=["input"]),
    case("bert", ["next not trained"], ("step", None, None, 1, "forward"), accept=["frozen"]),
    case("bert", ["clipped more"], ("argument", "other", None, 1, None)),
    # The rate of the first step is the same.
    case("bert", ["rate kept"], ("optimizer", None, None, 2, "optimizer")),
    case("bert", ["relu", "rate kept"], ("operation", "gelu", "layers.0", 1, "forward"), ("optimizer", None, None, 2, "optimizer")),
    # translation
    # The table is made before the recording begins.
    case("translation", ["base"], ("weights", None, "positions", 1, "forward"), accept=["data", "input"]),
    case("translation", ["sines second"], ("weights", None, "positions", 1, "forward"), accept=["data", "input"]),
    case("translation", ["no positions"], ("step", "add", "positions", 1, "forward")),
    case("translation", ["positions without dropout"], ("step", "dropout", "positions", 1, "forward")),
    case("translation", ["gelu"], ("operation", "relu", "core.encoder.layers.0", 1, "forward")),
    case("translation", ["norm first"], ("order", None, "core.encoder.layers.0", 1, "forward"), accept=["input", "step"]),
    case("translation", ["normal weights"], ("weights", None, None, 1, "forward")),
    case("translation", ["output tied"], ("tied", None, None, None, None), accept=["weights", "input"]),
    case("translation", ["source not scaled"], ("step", "mul", None, 1, "forward")),
    case("translation", ["one embedding"], ("input", None, None, 1, "forward"), accept=["weights", "tied", "frozen"]),
    case("translation", ["memory not masked"], ("step", None, "core.decoder.layers.0", 1, "forward"),
         accept=["argument", "input", "operation"]),
    case("translation", ["later seen"], ("step", None, None, 1, "forward"), accept=["argument", "input", "operation"]),
    case("translation", ["no logarithm"], ("operation", "_log_softmax", None, 1, "forward")),
    case("translation", ["targets as input"], ("argument", None, None, 1, "forward"), accept=["input", "data"]),
    case("translation", ["shared by twelve"], ("argument", "fill_value", None, 1, "forward")),
    case("translation", ["padding as word"], ("step", None, None, 1, "forward")),
    case("translation", ["padding counted"], ("step", "masked_fill", None, 1, "forward")),
    case("translation", ["not divided"], ("step", "div", None, 1, "forward")),
    case("translation", ["divided by all"], ("step", None, None, 1, "forward"), accept=["argument", "input"]),
    case("translation", ["beta2"], ("optimizer", None, None, 1, "optimizer"), accept=["argument"]),
    case("translation", ["eps"], ("optimizer", None, None, 1, "optimizer"), accept=["argument"]),
    case("translation", ["longer warm-up"], ("optimizer", None, None, 1, "optimizer")),
    case("translation", ["rate before"], ("optimizer", None, None, 1, "optimizer")),
    case("translation", ["shared by twelve", "longer warm-up"], ("argument", "fill_value", None, 1, "forward"),
         ("optimizer", None, None, 1, "optimizer")),
    # critics
    case("critics", ["spread not squashed"], ("step", "tanh", "actor", 1, "forward")),
    case("critics", ["deviation by softplus"], ("operation", "exp", "actor", 1, "forward")),
    case("critics", ["uniform noise"], ("operation", "randn_like", "actor", 1, "forward"), accept=["stream"]),
    case("critics", ["action clamped"], ("operation", "tanh", "actor", 1, "forward")),
    case("critics", ["no correction"], ("step", None, "actor", 1, "forward")),
    case("critics", ["correction eps"], ("argument", "other", "actor", 1, "forward")),
    case("critics", ["mean of actions"], ("operation", "sum", "actor", 1, "forward")),
    case("critics", ["action first"], ("order", None, "target", 1, "forward"), accept=["input", "argument"]),
    case("critics", ["target of its own"], ("weights", None, "target", 1, "forward")),
    case("critics", ["rate of critic"], ("optimizer", None, None, 1, "optimizer"), accept=["argument"]),
    case("critics", ["shares exchanged"], ("argument", None, None, 1, None), accept=["optimizer"]),
    case("critics", ["without repeats"], ("operation", "randint", None, 1, "forward"), accept=["stream", "step"]),
    case("critics", ["followed before"], ("order", None, None, 1, None), accept=["step", "input", "optimizer"]),
    # The gradient of the actor gets more.
    case("critics", ["goal with gradient"], ("frozen", None, None, 1, None), accept=["step", "input", "gradient-not-zeroed"]),
    # The target has the values of the critic in the first step.
    case("critics", ["goal by critic"], ("input", None, None, None, "forward"), accept=["weights", "tied", "frozen"]),
    case("critics", ["larger critic"], ("operation", "minimum", None, 1, "forward")),
    case("critics", ["entropy subtracted"], ("operation", "sub", None, 1, "forward"), accept=["argument", "step"]),
    case("critics", ["goal without entropy"], ("step", None, None, 1, "forward")),
    case("critics", ["end ignored"], ("step", None, None, 1, "forward"), accept=["input"]),
    case("critics", ["discount"], ("argument", "other", None, 1, "forward")),
    case("critics", ["first critic twice"], ("input", None, None, 1, "forward"), accept=["frozen"]),
    # The critic has a gradient of the loss of the actor, too.
    case("critics", ["critic not zeroed"], ("gradient-not-zeroed", None, None, None, "backward")),
    case("critics", ["old action"], ("input", None, "critic", 1, None), accept=["frozen"]),
    case("critics", ["first critic only"], ("step", "minimum", None, 1, None), accept=["input", "frozen"]),
    case("critics", ["entropy of one"], ("argument", "other", None, 1, None)),
    case("critics", ["sign of temperature"], ("step", "neg", None, 1, None)),
    case("critics", ["discount", "sign of temperature"], ("argument", "other", None, 1, "forward"), ("step", "neg", None, 1, None)),
    # upscale
    case("upscale", ["slope"], ("weights", None, "body.0.act", 1, "forward")),
    case("upscale", ["blocks not scaled"], ("step", "mul", "body.0", 1, "forward")),
    case("upscale", ["rectified sum"], ("step", "relu", "body.0", 1, "forward")),
    case("upscale", ["rounded mean"], ("weights", None, None, 1, "forward"), accept=["data", "input"]),
    case("upscale", ["zeros outside"], ("step", None, "head", 1, "forward"), accept=["operation", "argument"]),
    case("upscale", ["mean not subtracted"], ("step", "sub", None, 1, "forward")),
    case("upscale", ["no long skip"], ("step", "add", None, 1, "forward"), accept=["input"]),
    case("upscale", ["depth to space"], ("operation", "pixel_shuffle", None, 1, "forward"), accept=["step", "order", "argument"]),
    case("upscale", ["mean not added"], ("step", "add", None, 1, "forward")),
    case("upscale", ["beta2"], ("optimizer", None, None, 1, "optimizer"), accept=["argument"]),
    case("upscale", ["first rate short"], ("optimizer", None, None, 2, "optimizer")),
    case("upscale", ["small before flip"], ("order", None, None, 1, "forward"), accept=["input"]),
    case("upscale", ["flipped in height"], ("argument", "dims", None, 1, "forward")),
    case("upscale", ["bilinear"], ("operation", "upsample_bicubic2d", None, 1, "forward")),
    case("upscale", ["corners"], ("argument", "align_corners", None, 1, "forward")),
    case("upscale", ["not clamped"], ("step", "clamp", None, 1, "forward")),
    case("upscale", ["output squashed"], ("step", "sigmoid", None, 1, "forward")),
    case("upscale", ["squares"], ("operation", None, None, 1, "forward"), accept=["step"]),
    case("upscale", ["variation of goal"], ("input", None, None, 1, "forward"), accept=["frozen"]),
    case("upscale", ["squared rows"], ("operation", "abs", None, 1, "forward")),
    case("upscale", ["rows only"], ("step", None, None, 1, "forward")),
    case("upscale", ["variation"], ("argument", "other", None, 1, "forward")),
    case("upscale", ["corners", "squared rows"], ("argument", "align_corners", None, 1, "forward"),
         ("operation", "abs", None, 1, "forward")),
    # rays
    case("rays", ["linear frequencies"], ("operation", "pow", "coarse", 1, "forward"), accept=["step"]),
    case("rays", ["frequencies with pi"], ("step", "mul", "coarse", 1, "forward")),
    case("rays", ["cosines first"], ("order", None, "coarse", 1, "forward"), accept=["input"]),
    case("rays", ["hidden last"], ("order", None, "coarse", 1, "forward"), accept=["input", "argument"]),
    case("rays", ["features rectified"], ("step", "relu", "coarse", 1, "forward")),
    case("rays", ["color linear"], ("step", "sigmoid", "coarse", 1, "forward")),
    case("rays", ["fine not trained"], ("optimizer", None, None, 1, "optimizer"), accept=["frozen", "step"]),
    case("rays", ["views not unit"], ("step", None, None, 1, "forward"), accept=["input"]),
    case("rays", ["last gap"], ("argument", "fill_value", None, 1, "forward")),
    case("rays", ["length of ray ignored"], ("step", None, None, 1, "forward")),
    case("rays", ["no noise of density"], ("step", None, None, 1, "forward"), accept=["stream"]),
    case("rays", ["softplus"], ("operation", "relu", None, 1, "forward")),
    case("rays", ["clear eps"], ("argument", "other", None, 1, "forward")),
    case("rays", ["own opacity counted"], ("step", None, None, 1, "forward"), accept=["input", "argument"]),
    case("rays", ["not covered"], ("step", None, None, 1, "forward"), accept=["input"]),
    case("rays", ["black background"], ("step", None, None, 1, "forward")),
    # The factors differ, too.
    case("rays", ["inverse depths"], ("step", None, None, 1, "forward"), accept=["argument", "operation"]),
    case("rays", ["one jitter"], ("argument", "size", None, 1, "forward"), accept=["stream"]),
    case("rays", ["middle of bins"], ("step", None, None, 1, "forward"), accept=["operation", "input"]),
    case("rays", ["weight eps"], ("argument", "other", None, 1, "forward")),
    # The loss has the same bits.
    case("rays", ["samples with gradient"], ("frozen", None, None, 1, None), accept=["step", "input", "operation"]),
    case("rays", ["not sorted"], ("step", "sort", None, 1, "forward")),
    case("rays", ["coarse again"], ("input", None, None, 1, "forward"), accept=["weights", "tied", "frozen"]),
    case("rays", ["fine only"], ("step", None, None, 1, "forward")),
    case("rays", ["rate kept"], ("optimizer", None, None, 2, "optimizer")),
    case("rays", ["softplus", "rate kept"], ("operation", "relu", None, 1, "forward"), ("optimizer", None, None, 2, "optimizer")),
    # forecast
    case("forecast", ["p"], ("argument", "p", "blocks.0.drop", 1, "forward")),
    case("forecast", ["second layer linear"], ("step", "relu", "blocks.0", 1, "forward")),
    case("forecast", ["unbiased"], ("argument", "correction", None, 1, "forward")),
    case("forecast", ["window eps"], ("argument", "other", None, 1, "forward")),
    case("forecast", ["mean not subtracted"], ("step", "sub", None, 1, "forward")),
    case("forecast", ["trend centered"], ("argument", "padding", None, 1, "forward")),
    case("forecast", ["reflected"], ("operation", "replication_pad1d", None, 1, "forward")),
    case("forecast", ["trend not subtracted"], ("step", "sub", None, 1, "forward"), accept=["input"]),
    case("forecast", ["trend of rest"], ("input", None, "trend", 1, "forward")),
    case("forecast", ["rest added"], ("operation", "sub", None, 1, "forward"), accept=["argument", "step"]),
    case("forecast", ["rest kept"], ("step", "sub", None, 1, "forward"), accept=["input", "frozen"]),
    case("forecast", ["quantiles first"], ("step", "transpose", None, 1, "forward"), accept=["argument", "order"]),
    case("forecast", ["divided first"], ("order", None, None, 1, "forward"), accept=["input"]),
    case("forecast", ["deviation not restored"], ("step", "mul", None, 1, "forward")),
    case("forecast", ["mean not restored"], ("step", "add", None, 1, "forward")),
    case("forecast", ["double quantiles"], ("dtype", None, None, 1, "forward"), accept=["data", "step"]),
    # They are reversed before the recording begins.
    case("forecast", ["quantiles reversed"], ("data", None, None, 1, "forward"), accept=["input", "data-order"]),
    case("forecast", ["coupled decay"], ("optimizer", None, None, 1, "optimizer"), accept=["operation", "step", "argument"]),
    case("forecast", ["patience"], ("optimizer", None, None, 3, "optimizer")),
    case("forecast", ["other seed"], ("seed", None, None, 1, "forward"), accept=["stream"]),
    case("forecast", ["error reversed"], ("order", None, None, 1, "forward"), accept=["input"]),
    case("forecast", ["smaller slope"], ("operation", "maximum", None, 1, "forward")),
    case("forecast", ["mean of quantiles"], ("operation", "sum", None, 1, "forward")),
    case("forecast", ["fewer windows"], ("argument", "high", None, 1, "forward"), accept=["stream"]),
    case("forecast", ["goal by one"], ("argument", None, None, 1, "forward"), accept=["input", "data"]),
    case("forecast", ["validated in train"], ("mode", None, "blocks.0.drop", None, None), accept=["stream", "step"]),
    case("forecast", ["window eps", "coupled decay"], ("argument", "other", None, 1, "forward"),
         ("optimizer", None, None, 1, "optimizer")),
    # robust
    case("robust", ["bn momentum"], ("argument", "momentum", "model.block1.bn1", 1, "forward")),
    case("robust", ["short of input"], ("input", None, "model.block2", 1, "forward")),
    # The attack has no dropout.
    case("robust", ["no dropout"], ("step", "dropout", "model.block1", 1, None)),
    case("robust", ["no nesterov"], ("optimizer", None, None, 1, "optimizer"), accept=["step", "argument"]),
    case("robust", ["longer cycle"], ("optimizer", None, None, 2, "optimizer")),
    case("robust", ["attack in train"], ("mode", None, "model.block1.bn1", 1, "forward"), accept=["stream"]),
    # It is the width of the random start and the bound of the attack.
    case("robust", ["attack eps"], ("argument", "other", None, 1, "forward"), ("argument", "other", None, 1, "forward")),
    case("robust", ["no random start"], ("step", None, None, 1, "forward"), accept=["input", "stream"]),
    case("robust", ["normal start"], ("operation", "rand_like", None, 1, "forward"), accept=["stream", "step"]),
    case("robust", ["one attack"], ("step", None, None, 1, None)),
    case("robust", ["attack by labels"], ("operation", None, None, 1, "forward"), accept=["step", "input"]),
    case("robust", ["gradients of attack added"], ("gradient-not-zeroed", None, None, 1, None), accept=["step", "frozen"]),
    case("robust", ["no sign"], ("step", "sign", None, 1, None)),
    case("robust", ["descent"], ("operation", "add", None, 1, None), accept=["argument", "step"]),
    case("robust", ["not projected"], ("step", None, None, 1, None)),
    case("robust", ["pixels not clamped"], ("step", "clamp", None, 1, None)),
    case("robust", ["stays in eval"], ("mode", None, "model.block1.bn1", 1, None), accept=["stream"]),
    case("robust", ["attacked first"], ("order", None, None, 1, None), accept=["input", "stream"]),
    # The loss has the same bits.
    case("robust", ["clean detached"], ("frozen", None, None, 1, None), accept=["step", "input", "operation"]),
    case("robust", ["divergence exchanged"], ("order", None, None, 1, None), accept=["input"]),
    case("robust", ["mean of classes"], ("argument", "reduction", None, 1, None), accept=["step", "operation"]),
    case("robust", ["beta"], ("argument", "other", None, 1, None)),
    case("robust", ["average slower"], ("argument", "weight", None, 1, None), accept=["optimizer"]),
    # Only the statistics of the average differ.
    case("robust", ["statistics not copied"], ("step", "copy", None, 1, None)),
    case("robust", ["attack eps", "longer cycle"], ("argument", "other", None, 1, "forward"), ("argument", "other", None, 1, "forward"),
         ("optimizer", None, None, 2, "optimizer")),
]

# Nothing may be reported. (None of these changes a bit of a parameter.)
EQUAL = [
    ("bert", ["masked before"]),
    ("translation", ["masks of numbers"]),
    ("translation", ["rates by hand"]),
    ("critics", ["squares by hand"]),
    ("upscale", ["shuffled by hand"]),
    ("rays", ["product then cut"]),
    ("forecast", ["by where"]),
    ("robust", ["attack by backward"]),
    ("robust", ["rectified after dropout"]),
]
