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
        x = F.relu(self.fc1(x))
        if not has("no dropout"):
            x = self.drop(x)
        x = self.fc2(x)
        if has("gelu"):
            x = F.gelu(x)
        elif not has("no relu"):
            x = F.relu(x)
        if has("second dropout"):
            x = self.drop2(x)
        return self.fc3(x)


def split(model, lr, momentum, decay):
    """Other options for the last layer, as groups of parameters have them."""
    rest = [p for n, p in model.named_parameters() if not n.startswith("fc3")]
    return [{"params": rest}, {"params": list(model.fc3.parameters()), "lr": 2 * lr}]


def mlp(steps=2):
    torch.manual_seed(0)
    model = Mlp()
    batches = [(torch.randn(8, 20), torch.randint(0, 10, (8,))) for _ in range(2)]
    if has("data order"):
        batches.reverse()
    if has("data"):
        batches[0][0][3, 4] += 1e-6
    if has("weights"):
        with torch.no_grad():
            model.fc2.bias[0] += 1e-7
    if has("frozen"):
        model.fc1.bias.requires_grad_(False)
    if has("eval"):
        model.eval()
    parameters = list(model.parameters())
    if has("left out"):
        parameters = parameters[1:]
    lr, momentum, decay = 0.11 if has("lr") else 0.1, 0.8 if has("momentum") else 0.9, 0.0 if has("no decay") else 1e-4
    groups = split(model, lr, momentum, decay) if has("groups") else parameters
    optimizer = torch.optim.SGD(groups, lr=lr, momentum=momentum, weight_decay=decay, nesterov=has("nesterov"))
    torch.manual_seed(8 if has("seed") else 7)
    yield model
    for step, (x, y) in zip(range(steps), batches):
        if step == 1 and has("extra draw"):
            torch.rand(1)
        if step == 1 and has("schedule"):
            optimizer.param_groups[0]["lr"] = 0.05
        if not has("no zero_grad"):
            optimizer.zero_grad()
        out = model(x)
        if has("double"):
            out = out.double()
        loss = F.cross_entropy(out, y, reduction="sum" if has("sum") else "mean", label_smoothing=0.1 if has("smoothing") else 0.0)
        if has("scaled loss"):
            loss = loss / 2
        loss.backward()
        if has("clip"):
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x):
        pool = F.avg_pool2d if has("avg pool") else F.max_pool2d
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.relu(pool(self.conv2(x), 2)) if has("relu after pool") else pool(F.relu(self.conv2(x)), 2)
        if has("channels last"):
            x = x.permute(0, 2, 3, 1)
        x = x.flatten(1)
        x = F.relu(self.fc2(F.relu(self.fc1(x))))
        return F.linear(x, self.fc3.weight) if has("no bias") else self.fc3(x)


def lenet(steps=2):
    torch.manual_seed(0)
    model = LeNet()
    x, y = torch.randn(4, 1, 28, 28), torch.randint(0, 10, (4,))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7 if has("adam eps") else 1e-8,
                                 betas=(0.9, 0.99) if has("beta2") else (0.9, 0.999), amsgrad=has("amsgrad"))
    yield model
    for _ in range(steps):
        optimizer.zero_grad()
        out = F.log_softmax(model(x), dim=0 if has("dim") else 1)
        F.nll_loss(out, y).backward()
        optimizer.step()


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, stride=2, bias=False)
        self.bn1 = nn.BatchNorm2d(8, eps=1e-3 if has("eps") else 1.0001e-5 if has("eps near") else 1e-5)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, padding=2, dilation=2), nn.BatchNorm2d(8, momentum=0.01 if has("momentum") else 0.1)
        self.conv3 = nn.Conv2d(8, 16, 3, padding=0 if has("padding") else 1, stride=1 if has("stride") else 2)
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        x = F.pad(x, (1, 0, 2, 0) if has("pad order") else (0, 1, 2, 0))
        x = self.bn1(F.relu(self.conv1(x))) if has("relu before bn") else F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(x))
        x = F.relu(y) if has("no residual") else F.relu(x + y)
        x = F.relu(self.conv3(x))
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
        return self.fc(self.lstm(x)[0])


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
        loss = F.cross_entropy(out.reshape(-1, 7), (y.clamp(min=0) if has("no ignore") else y).reshape(-1))
        loss.backward()
        optimizer.step()


class Attention(nn.Module):
    def __init__(self, c, heads, block):
        super().__init__()
        self.key, self.query, self.value, self.proj = (nn.Linear(c, c) for _ in range(4))
        self.heads, self.drop = heads, nn.Dropout(0.1)
        self.register_buffer("mask", torch.tril(torch.ones(block, block)).view(1, 1, block, block), persistent=False)

    def forward(self, x):
        b, t, c = x.size()
        k, q, v = (f(x).view(b, t, self.heads, c // self.heads).transpose(1, 2) for f in (self.key, self.query, self.value))
        if has("exchanged qk"):
            k, q = q, k
        scores = q @ k.transpose(-2, -1)
        if not has("no scale"):
            scores = scores * (1.0 / math.sqrt(k.size(-1)))
        if not has("no mask"):
            scores = scores.masked_fill(self.mask[:, :, :t, :t] == 0, float("-inf"))
        weights = self.drop(F.softmax(scores, dim=-2 if has("softmax dim") else -1))
        return self.proj((weights @ v).transpose(1, 2).contiguous().view(b, t, c))


class Block(nn.Module):
    def __init__(self, index, c, heads, block):
        super().__init__()
        other = has("one eps") and index == 1
        self.ln1, self.ln2 = nn.LayerNorm(c), nn.LayerNorm(c, eps=1e-6 if other else 1e-5)
        self.attn = Attention(c, heads, block)
        self.lin1, self.lin2 = nn.Linear(c, 4 * c), nn.Linear(4 * c, c)
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        x = x + self.attn(x if has("no ln") else self.ln1(x))
        h = self.drop(self.lin2(F.gelu(self.lin1(self.ln2(x)), approximate="tanh" if has("tanh") else "none")))
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
        h = self.tok_emb(x) + self.pos_emb[:, 1:x.size(1) + 1, :] if has("shifted") else self.tok_emb(x) + self.pos_emb[:, :x.size(1), :]
        return self.head(self.ln_f(self.blocks(h)))


def gpt(steps=2):
    torch.manual_seed(0)
    model = Gpt()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "ln" in name:
                p.add_(torch.randn_like(p) * 0.1)
    x, y = torch.randint(0, 65, (4, 12)), torch.randint(0, 65, (4, 12))
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
    opt_g, opt_d = torch.optim.Adam(g.parameters(), lr=2e-4, betas=(b1, 0.999)), torch.optim.Adam(d.parameters(), lr=2e-4, betas=(0.5, 0.999))
    torch.manual_seed(7)
    yield {"g": g, "d": d}
    for _ in range(steps):
        noise = torch.rand(6, 8) if has("uniform noise") else torch.randn(6, 8)
        fake = g(noise)
        opt_d.zero_grad()
        good = torch.full((6, 1), 0.9) if has("label") else torch.ones(6, 1)
        loss = F.binary_cross_entropy_with_logits(d(real), good) \
            + F.binary_cross_entropy_with_logits(d(fake.detach()), torch.zeros(6, 1))
        loss.backward()
        opt_d.step()
        opt_g.zero_grad()
        F.binary_cross_entropy_with_logits(d(fake), torch.ones(6, 1)).backward()
        opt_g.step()


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


PROGRAMS = {f.__name__: f for f in (mlp, lenet, cnn, lstm, gpt, gan, tiny)}
