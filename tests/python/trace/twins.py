"""Programs that compute the same bits and are written differently: nothing may be said of them. `twins.py FOLDER`."""

import json
import math
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import torch
import torch.nn as nn
import torch.nn.functional as F

import plant
import programs


class OtherMlp(nn.Module):
    """Other names, another order, other functions."""

    def __init__(self):
        super().__init__()
        self.out, self.hidden, self.first = nn.Linear(32, 10), nn.Linear(32, 32), nn.Linear(20, 32)

    def forward(self, x):
        x = F.dropout(torch.relu(torch.addmm(self.first.bias, x, self.first.weight.t())), 0.2, self.training)
        return self.out(self.hidden(x.contiguous()).relu_())


def other_mlp(style, steps=2):
    torch.manual_seed(0)
    original = programs.Mlp()
    batches = [(torch.randn(8, 20), torch.randint(0, 10, (8,))) for _ in range(2)]
    model = OtherMlp()
    for mine, theirs in ((model.first, original.fc1), (model.hidden, original.fc2), (model.out, original.fc3)):
        mine.load_state_dict(theirs.state_dict())
    parameters = list(model.parameters())
    torch.manual_seed(7)
    yield model
    momentum = [None] * len(parameters)
    foreach = True if style == "foreach" else None
    optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=1e-4, foreach=foreach)
    for x, y in batches[:steps]:
        loss = F.nll_loss(model(x).log_softmax(-1), y)
        optimizer.zero_grad(set_to_none=style != "zeros")
        loss.backward()
        if style == "by hand":
            with torch.no_grad():
                for i, p in enumerate(parameters):
                    d = p.grad.add(p, alpha=1e-4)
                    momentum[i] = d.clone() if momentum[i] is None else momentum[i].mul_(0.9).add_(d)
                    p.add_(momentum[i], alpha=-0.1)
                    p.grad = None
        else:
            optimizer.step()
        if style == "metrics":
            with torch.no_grad():
                model.eval()
                print((model(x).argmax(1) == y).float().mean().item(), loss.item(), sum(p.norm() for p in parameters).item(),
                      file=sys.stderr)
                model.train()


class OtherLeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 6, 5, padding="same"), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5),
                                      nn.ReLU(), nn.MaxPool2d((2, 2), stride=(2, 2)), nn.Flatten())
        self.classifier = nn.Sequential(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10))

    def forward(self, x):
        return self.classifier(self.features(x))


def other_lenet(style, steps=2):
    torch.manual_seed(0)
    original = programs.LeNet()
    x, y = torch.randn(4, 1, 28, 28), torch.randint(0, 10, (4,))
    model = OtherLeNet()
    for mine, theirs in zip(model.parameters(), original.parameters()):
        mine.data.copy_(theirs.data)
    optimizer = torch.optim.Adam(reversed(list(model.parameters())), lr=1e-3, foreach=True if style == "foreach" else None)
    yield model
    for _ in range(steps):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


class OtherBlock(nn.Module):
    def __init__(self, c, heads, block):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(c), nn.LayerNorm(c)
        self.q, self.k, self.v, self.o = (nn.Linear(c, c) for _ in range(4))
        self.up, self.down = nn.Linear(c, 4 * c), nn.Linear(4 * c, c)
        self.heads = heads

    def forward(self, x):
        b, t, c = x.shape
        h = self.norm1(x)
        k = self.k(h).reshape(b, t, self.heads, -1).permute(0, 2, 1, 3)
        q = self.q(h).reshape(b, t, self.heads, -1).permute(0, 2, 1, 3)
        v = self.v(h).reshape(b, t, self.heads, -1).permute(0, 2, 1, 3)
        scores = torch.matmul(q, k.mT).mul(1.0 / math.sqrt(c // self.heads))
        mask = torch.ones(t, t).tril().logical_not()
        weights = F.dropout(scores.masked_fill(mask, -math.inf).softmax(3), 0.1, self.training)
        x = self.o(torch.matmul(weights, v).permute(0, 2, 1, 3).reshape(b, t, c)) + x
        return F.dropout(self.down(nn.functional.gelu(self.up(self.norm2(x)))), 0.1, self.training) + x


class OtherGpt(nn.Module):
    def __init__(self):
        super().__init__()
        self.positions = nn.Embedding(16, 32)
        self.tokens = nn.Embedding(65, 32)
        self.layers = nn.ModuleList([OtherBlock(32, 4, 16) for _ in range(2)])
        self.norm, self.logits = nn.LayerNorm(32), nn.Linear(32, 65)

    def forward(self, x):
        h = self.tokens(x) + self.positions.weight[:x.size(1)]
        for layer in self.layers:
            h = layer(h)
        return self.logits(self.norm(h))


def other_gpt(style, steps=2):
    run = programs.gpt()
    original = next(run)
    x, y = run.gi_frame.f_locals["x"], run.gi_frame.f_locals["y"]
    model = OtherGpt()
    state = original.state_dict()
    names = {"ln1": "norm1", "ln2": "norm2", "attn.query": "q", "attn.key": "k", "attn.value": "v", "attn.proj": "o", "lin1": "up",
             "lin2": "down", "blocks": "layers", "tok_emb": "tokens", "ln_f": "norm", "head": "logits"}
    renamed = {"positions.weight": state.pop("pos_emb")[0]}
    for name, value in state.items():
        for old, new in names.items():
            name = name.replace(old, new)
        renamed[name] = value
    model.load_state_dict(renamed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    torch.manual_seed(7)
    yield model
    for _ in range(steps):
        F.cross_entropy(model(x).view(-1, 65), y.view(-1)).backward()
        optimizer.step()
        optimizer.zero_grad()


def other_gan(style, steps=2):
    """The generator's loss before the discriminator's step is as good; labels by other functions."""
    run = programs.gan()
    models = next(run)
    names = run.gi_frame.f_locals
    g, d, real = names["g"], names["d"], names["real"]
    opt_d = torch.optim.Adam(d.parameters(), lr=2e-4, betas=(0.5, 0.999))
    opt_g = torch.optim.Adam(g.parameters(), lr=2e-4, betas=(0.5, 0.999))
    torch.manual_seed(7)
    yield models
    for _ in range(steps):
        fake = g(torch.empty(6, 8).normal_())
        scores = d(real)
        loss = F.binary_cross_entropy_with_logits(scores, torch.ones_like(scores)) \
            + F.binary_cross_entropy_with_logits(d(fake.detach()), torch.zeros_like(scores))
        opt_d.zero_grad()
        loss.backward()
        opt_d.step()
        opt_g.zero_grad()
        F.binary_cross_entropy_with_logits(d(fake), torch.full_like(scores, 1.0)).backward()
        opt_g.step()


def other_cnn(style, steps=2):
    run = programs.cnn()
    model = next(run)
    names = run.gi_frame.f_locals
    x, y, c = names["x"], names["y"], model

    def forward(x):
        x = torch.relu(c.bn1(c.conv1(F.pad(x, (0, 1, 2, 0), value=0.0))))
        x = (c.bn2(c.conv2(x)) + x).relu()
        x = c.conv3(x).relu()
        return F.linear(x.view(4, 16, -1).mean(dim=-1), c.fc.weight, c.fc.bias)

    optimizer = torch.optim.SGD([{"params": [p]} for p in reversed(list(model.parameters()))], lr=0.05)
    yield model
    for _ in range(steps):
        optimizer.zero_grad()
        F.nll_loss(F.log_softmax(forward(x), 1), y).backward()
        optimizer.step()


def other_lstm(style, steps=2):
    run = programs.lstm()
    model = next(run)
    names = run.gi_frame.f_locals
    x, y = names["x"], names["y"]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    torch.manual_seed(7)
    yield model
    for _ in range(steps):
        h = F.embedding(x, model.emb.weight)
        out, _ = model.lstm(h)
        F.cross_entropy(model.fc(out).flatten(0, 1), y.flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()


TWINS = [("mlp", other_mlp, "plain"), ("mlp", other_mlp, "foreach"), ("mlp", other_mlp, "zeros"), ("mlp", other_mlp, "by hand"),
         ("mlp", other_mlp, "metrics"), ("lenet", other_lenet, "plain"), ("lenet", other_lenet, "foreach"), ("cnn", other_cnn, "plain"),
         ("lstm", other_lstm, "plain"), ("gpt", other_gpt, "plain"), ("gan", other_gan, "plain")]


def main(folder):
    torch.set_num_threads(1)
    tch_trace = plant.recorder()
    cases = []
    for program, twin, style in TWINS:
        original = f"{program}.trace"
        if not os.path.exists(os.path.join(folder, original)):
            plant.trace(tch_trace, folder, program, [])
        programs.PLANTED.clear()
        run = twin(style)
        model = next(run)
        name = f"{program}-twin-{style}.trace".replace(" ", "_")
        with tch_trace.record(os.path.join(folder, name), model=model):
            for _ in run:
                pass
        cases.append({"a": original, "b": name})
    for threads in (1, 2):
        torch.set_num_threads(threads)
        programs.PLANTED.clear()
        run = programs.gpt()
        model = next(run)
        with tch_trace.record(os.path.join(folder, f"gpt-threads-{threads}.trace"), model=model):
            for _ in run:
                pass
    with open(os.path.join(folder, "twins.json"), "w") as file:
        json.dump(cases, file, indent=1)


if __name__ == "__main__":
    main(sys.argv[1])
