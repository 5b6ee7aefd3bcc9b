"""Training programs in which one mistake at a time is planted."""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

PLANTED = set()


def has(mistake):
    return mistake in PLANTED


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(20, 32), nn.Linear(32, 32), nn.Linear(32, 10)
        self.drop = nn.Dropout(0.25 if has("p") else 0.2)
        self.drop2 = nn.Dropout(0.2)

    def forward(self, x):
        if has("shifted input"):
            x = x - 0.1
        x = self.fc1(x)
        if has("detach"):
            x = x.detach()
        # As good, since a mask does not change signs.
        x = F.relu(self.drop(x)) if has("relu after dropout") else F.relu(x)
        if not has("no dropout") and not has("relu after dropout"):
            x = self.drop(x)
        x = self.fc2(x)
        if has("gelu"):
            x = F.gelu(x)
        elif has("leaky"):
            x = F.leaky_relu(x)
        elif has("relu6"):
            x = F.relu6(x)
        elif not has("no relu"):
            x = F.relu(x)
        if has("second dropout"):
            x = self.drop2(x)
        x = self.fc3(x)
        if has("softmax before loss"):
            x = F.softmax(x, dim=1)
        return x / 0.5 if has("temperature") else x


def split(model, lr, momentum, decay):
    """Other options for the last layer, as groups of parameters have them."""
    rest = [p for n, p in model.named_parameters() if not n.startswith("fc3")]
    return [{"params": rest}, {"params": list(model.fc3.parameters()), "lr": 2 * lr}]


def mlp(steps=2):
    torch.manual_seed(0)
    model = Mlp()
    batches = [(torch.randn(8, 20), torch.randint(0, 10, (8,))) for _ in range(2)]
    if has("batch again"):
        batches[1] = batches[0]
    if has("rows"):
        order = torch.tensor([3, 1, 0, 2, 7, 5, 6, 4])
        batches[0] = tuple(t[order].clone() for t in batches[0])
    if has("labels"):
        batches[1] = (batches[1][0], (batches[1][1] + 1) % 10)
    if has("data order"):
        batches.reverse()
    if has("data"):
        batches[0][0][3, 4] += 1e-6
    if has("weights"):
        with torch.no_grad():
            model.fc2.bias[0] += 1e-7
    if has("transposed"):
        with torch.no_grad():
            model.fc2.weight.copy_(model.fc2.weight.t().clone())
    if has("frozen"):
        model.fc1.bias.requires_grad_(False)
    if has("eval"):
        model.eval()
    parameters = list(model.parameters())
    if has("left out"):
        parameters = parameters[1:]
    lr, momentum, decay = 0.11 if has("lr") else 0.1, 0.8 if has("momentum") else 0.9, 0.0 if has("no decay") else 1e-4
    groups = split(model, lr, momentum, decay) if has("groups") else parameters
    if has("bias decay"):
        groups = [{"params": [p for p in parameters if p.dim() > 1]}, {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=lr, momentum=momentum, weight_decay=decay, nesterov=has("nesterov"),
                                dampening=0.1 if has("dampening") else 0.0, maximize=has("maximize"))
    torch.manual_seed(8 if has("seed") else 7)
    yield model
    for step, (x, y) in zip(range(steps), batches):
        if step == 1 and has("extra draw"):
            torch.rand(1)
        if step == 1 and has("schedule"):
            optimizer.param_groups[0]["lr"] = 0.05
        if step == 1 and has("buffers reset"):
            optimizer.state.clear()
        if step == 1 and has("eval batch"):
            model.eval()
        if not has("no zero_grad"):
            optimizer.zero_grad()
        out = model(x)
        if has("double"):
            out = out.double()
        loss = F.cross_entropy(out, y, reduction="sum" if has("sum") else "mean", label_smoothing=0.1 if has("smoothing") else 0.0)
        if has("scaled loss"):
            loss = loss / 2
        if step == 1 and has("second loss"):
            loss = loss * 2
        if has("penalty"):
            loss = loss + 1e-3 * model.fc1.weight.square().sum()
        loss.backward()
        if has("clip"):
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        if has("clip value"):
            nn.utils.clip_grad_value_(model.parameters(), 0.01)
        optimizer.step()
        if has("step twice"):
            optimizer.step()


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2, padding_mode="reflect" if has("reflect") else "zeros")
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x):
        pool = F.avg_pool2d if has("avg pool") else F.max_pool2d
        x = F.relu(self.conv1(x))
        x = F.max_pool2d(x, 3, 2, 1) if has("pool kernel") else F.max_pool2d(x, 2, ceil_mode=has("ceil"))
        x = F.relu(pool(self.conv2(x), 2)) if has("relu after pool") else pool(F.relu(self.conv2(x)), 2)
        if has("channels last"):
            x = x.permute(0, 2, 3, 1)
        if has("height and width"):
            x = x.transpose(2, 3)
        x = x.flatten(1)
        x = F.relu(self.fc2(F.relu(self.fc1(x))))
        return F.linear(x, self.fc3.weight) if has("no bias") else self.fc3(x)


def lenet(steps=2):
    torch.manual_seed(0)
    model = LeNet()
    x, y = torch.randn(4, 1, 28, 28), torch.randint(0, 10, (4,))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7 if has("adam eps") else 1e-8,
                                 betas=(0.9, 0.99) if has("beta2") else (0.9, 0.999), amsgrad=has("amsgrad"))
    if has("adamw"):
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    if has("rmsprop"):
        optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    yield model
    for step in range(steps):
        if step == 1 and has("late rate"):
            optimizer.param_groups[0]["lr"] = 1e-4
        optimizer.zero_grad()
        out = F.log_softmax(model(x), dim=0 if has("dim") else 1)
        F.nll_loss(out, y).backward()
        optimizer.step()


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, stride=2, bias=False)
        self.bn1 = nn.BatchNorm2d(8, eps=1e-3 if has("eps") else 1.0001e-5 if has("eps near") else 1e-5)
        apart = 1 if has("dilation") else 2
        self.conv2 = nn.Conv2d(8, 8, 3, padding=apart, dilation=apart)
        self.bn2 = nn.BatchNorm2d(8, eps=1.0001e-5 if has("eps near 2") else 1e-5, track_running_stats=not has("no statistics"),
                                  momentum=0.01 if has("momentum") else None if has("cumulative") else 0.1)
        self.conv3 = nn.Conv2d(8, 16, 3, padding=0 if has("padding") else 1, stride=1 if has("stride") else 2)
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        if has("flip"):
            x = x.flip(1)
        if has("pad mode"):
            x = F.pad(x, (0, 1, 2, 0), mode="reflect")
        else:
            x = F.pad(x, (1, 0, 2, 0) if has("pad order") else (0, 1, 2, 0), value=1.0 if has("pad value") else 0.0)
        x = self.bn1(F.relu(self.conv1(x))) if has("relu before bn") else F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(x))
        if has("half residual"):
            y = 0.5 * y
        x = F.relu(y) if has("no residual") else F.relu(x - y) if has("minus") else F.relu(x + y)
        x = F.relu(self.conv3(x))
        if has("last relu"):
            x = F.silu(x)
        x = x.flatten(2)
        return self.fc(x.sum(2) if has("sum pool") else x.mean(2))


def cnn(steps=2):
    torch.manual_seed(0)
    model = Cnn()
    x, y = torch.randn(4, 3, 17, 16), torch.randint(0, 10, (4,))
    if has("bn eval"):
        model.bn2.eval()
    lr = 0.05
    optimizer = torch.optim.SGD(model.parameters(), lr=0.06 if has("lr") else lr)
    yield model
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(50, 16, padding_idx=0 if has("padding_idx") else None, scale_grad_by_freq=has("freq"))
        self.lstm = nn.LSTM(16, 24, num_layers=2, bidirectional=True, batch_first=True, dropout=0.3 if has("lstm p") else 0.25)
        self.fc = nn.Linear(48, 7)

    def forward(self, x):
        x = self.emb(x)
        if has("scaled"):
            x = x * 4.0
        if has("reversed"):
            x = x.flip(1)
        state = (torch.ones(4, x.size(0), 24), torch.zeros(4, x.size(0), 24)) if has("first state") else None
        return self.fc(self.lstm(x, state)[0])


def lstm(steps=2):
    torch.manual_seed(0)
    model = Tagger()
    with torch.no_grad():
        model.emb.weight[0] = torch.arange(16) / 16
    x, y = torch.randint(0, 50, (4, 9)), torch.randint(0, 7, (4, 9))
    x[:, 0] = 0
    y[0, 0] = -100
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    torch.manual_seed(7)
    yield model
    for _ in range(steps):
        optimizer.zero_grad()
        out = model(x)
        labels = y.clamp(min=0) if has("no ignore") else y.roll(1, 1) if has("rolled") else y
        loss = F.cross_entropy(out.reshape(-1, 7), labels.reshape(-1), ignore_index=3 if has("ignore index") else -100,
                               weight=torch.arange(1, 8).float() if has("class weights") else None,
                               label_smoothing=0.1 if has("lstm smoothing") else 0.0) if not has("ignore index") \
            else F.cross_entropy(out.reshape(-1, 7), labels.clamp(min=0).reshape(-1), ignore_index=3)
        loss.backward()
        optimizer.step()


class Attention(nn.Module):
    def __init__(self, c, heads, block):
        super().__init__()
        self.key, self.query, self.value, self.proj = (nn.Linear(c, c) for _ in range(4))
        self.heads, self.drop = 2 if has("heads") else heads, nn.Dropout(0.1)
        mask = torch.tril(torch.ones(block, block), diagonal=1 if has("mask off by one") else 0)
        self.register_buffer("mask", mask.view(1, 1, block, block), persistent=False)

    def forward(self, x):
        b, t, c = x.size()
        k, q, v = (f(x).view(b, t, self.heads, c // self.heads).transpose(1, 2) for f in (self.key, self.query, self.value))
        if has("exchanged qk"):
            k, q = q, k
        scores = q @ k.transpose(-2, -1)
        if not has("no scale"):
            scores = scores * (1.0 / math.sqrt(c if has("scale of all") else k.size(-1)))
        if has("half scores"):
            scores = scores.bfloat16().float()
        if not has("no mask"):
            scores = scores.masked_fill(self.mask[:, :, :t, :t] == 0, -1e9 if has("large mask") else float("-inf"))
        weights = self.drop(F.softmax(scores, dim=-2 if has("softmax dim") else -1))
        if has("heads not moved"):
            return self.proj((weights @ v).contiguous().view(b, t, c))
        return self.proj((weights @ v).transpose(1, 2).contiguous().view(b, t, c))


class Block(nn.Module):
    def __init__(self, index, c, heads, block):
        super().__init__()
        other = has("one eps") and index == 1
        self.ln1, self.ln2 = nn.LayerNorm(c), nn.LayerNorm(c, eps=1e-6 if other else 1e-5)
        self.attn = Attention(c, heads, block)
        self.lin1, self.lin2 = nn.Linear(c, 4 * c), nn.Linear(4 * c, c)
        self.drop, self.index = nn.Dropout(0.2 if has("one p") and index == 1 else 0.1), index

    def forward(self, x):
        if has("norm after"):
            x = self.ln1(x + self.attn(x))
            return self.ln2(x + self.drop(self.lin2(F.gelu(self.lin1(x)))))
        x = x + self.attn(x if has("no ln") else self.ln1(x))
        if has("same norm"):
            return x + self.drop(self.lin2(F.gelu(self.lin1(self.ln1(x)))))
        tanh = has("tanh") or (has("one tanh") and self.index == 1)
        h = self.drop(self.lin2(F.gelu(self.lin1(self.ln2(x)), approximate="tanh" if tanh else "none")))
        return h if has("no residual") else x + h


class Gpt(nn.Module):
    def __init__(self):
        super().__init__()
        c = 32
        self.tok_emb = nn.Embedding(65, c)
        self.pos_emb = nn.Parameter(torch.randn(1, 16, c) * 0.02)
        self.blocks = nn.Sequential(*[Block(i, c, 4, 16) for i in range(2)])
        self.ln_f = nn.LayerNorm(c)
        self.head = nn.Linear(c, 65)

    def forward(self, x):
        h = self.tok_emb(x)
        if has("scaled tokens"):
            h = h * math.sqrt(32)
        first = 1 if has("shifted") else 0
        if not has("no positions"):
            h = h + self.pos_emb[:, first:x.size(1) + first, :]
        h = self.blocks(h)
        return self.head(h if has("no last norm") else self.ln_f(h))


def gpt(steps=2):
    torch.manual_seed(0)
    model = Gpt()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "ln" in name:
                p.add_(torch.randn_like(p) * 0.1)
    x, y = torch.randint(0, 65, (4, 12)), torch.randint(0, 65, (4, 12))
    if has("no norm bias"):
        for block in model.blocks:
            block.ln1.bias = None
    if has("tied"):
        model.head.weight = model.tok_emb.weight
    if has("shifted labels"):
        y = y.roll(-1, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0 if has("no decay") else 0.01)
    torch.manual_seed(7)
    yield model
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(x).reshape(-1, 65), y.reshape(-1)).backward()
        optimizer.step()


def gan(steps=2):
    torch.manual_seed(0)
    slope = 0.1 if has("slope") else 0.2
    g = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 16), nn.Sigmoid() if has("sigmoid") else nn.Tanh())
    d = nn.Sequential(nn.Linear(16, 32), nn.LeakyReLU(slope), nn.Linear(32, 1))
    real = torch.randn(6, 16)
    b1 = 0.9 if has("beta1") else 0.5
    opt_g = torch.optim.Adam(g.parameters(), lr=2e-4, betas=(b1, 0.999))
    opt_d = torch.optim.Adam(d.parameters(), lr=1e-4 if has("d rate") else 2e-4, betas=(0.5, 0.999))
    torch.manual_seed(7)
    yield {"g": g, "d": d}
    for _ in range(steps):
        noise = torch.rand(6, 8) if has("uniform noise") else torch.randn(6, 8)
        fake = g(noise)
        opt_d.zero_grad()
        good = torch.full((6, 1), 0.9) if has("label") else torch.ones(6, 1)
        loss = F.binary_cross_entropy_with_logits(d(real), good) \
            + F.binary_cross_entropy_with_logits(d(fake.detach()), torch.zeros(6, 1))
        if has("half loss"):
            loss = loss * 0.5
        loss.backward()
        opt_d.step()
        if not has("g keeps gradients"):
            opt_g.zero_grad()
        scores = d(torch.tanh(g(noise))) if has("again") else d(fake)
        F.binary_cross_entropy_with_logits(scores, torch.zeros(6, 1) if has("g label") else torch.ones(6, 1)).backward()
        opt_g.step()


def encoder(steps=2):
    """torch's own layers: a mask of padding, group normalization, average pooling, a loss of distributions."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True, norm_first=has("norm first"),
                                       activation="gelu" if has("activation") else "relu", layer_norm_eps=1e-6 if has("encoder eps") else 1e-5)
    model = nn.ModuleDict({
        "layers": nn.TransformerEncoder(layer, 3, enable_nested_tensor=False),
        "conv": nn.Conv1d(16, 8, 3, padding=1, groups=1),
        "norm": nn.GroupNorm(4 if has("groups of norm") else 2, 8),
        "out": nn.Linear(8, 4),
    })
    if has("one of three"):
        model["layers"].layers[1].norm2.eps = 2e-5
    if has("one p of three"):
        model["layers"].layers[2].dropout1.p = 0.2
    x, target = torch.randn(3, 8, 16), torch.rand(3, 4).softmax(-1)
    lengths = torch.tensor([8, 5, 6]) + (1 if has("mask of padding") else 0)
    padding = torch.arange(8)[None, :] >= lengths[:, None]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    torch.manual_seed(7)
    yield model
    for step in range(steps):
        if has("one eval") and step == 1:
            model["layers"].layers[1].eval()
        if has("rate of step") and step == 0:
            scheduler.step()
        optimizer.zero_grad()
        h = model["layers"](x, src_key_padding_mask=None if has("no padding") else padding)
        h = model["norm"](model["conv"](h.transpose(1, 2)))
        h = F.avg_pool1d(h, 3, 2, 1, count_include_pad=not has("count")) if has("pool 1") or has("count") else F.avg_pool1d(h, 3, 2, 1)
        h = model["out"](h.amax(2) if has("amax") else h.mean(2))
        if has("reduction"):
            loss = F.kl_div(F.log_softmax(h, -1), target, reduction="mean")
        else:
            loss = F.kl_div(F.log_softmax(h, -1), target, reduction="batchmean")
        loss.backward()
        optimizer.step()
        if not has("rate of step"):
            scheduler.step()


def tiny(steps=1):
    """As small as can be: its traces are in crates/op-trace/tests/data."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.25 if has("p") else 0.5))
    x = torch.randn(2, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2 if has("lr") else 0.1)
    torch.manual_seed(7)
    yield model
    for _ in range(steps):
        optimizer.zero_grad()
        model(x).square().sum().backward()
        optimizer.step()


PROGRAMS = {f.__name__: f for f in (mlp, lenet, cnn, lstm, gpt, gan, encoder, tiny)}
