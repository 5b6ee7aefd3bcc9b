"""Programs that tests/live/trace_ports.rs has in Rust: some steps of training each, recorded.

    ports.py FOLDER THREADS STEPS NAME...

FOLDER/NAME.safetensors has the weights, under the names of the modules here, and the data as `data.x` and so on.
"""

import json
import math
import struct
import sys
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "python"))
import trace as tch_trace  # noqa: E402

DTYPES = {"F32": torch.float32, "I64": torch.int64}


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(20, 32), nn.Linear(32, 32), nn.Linear(32, 10)

    def forward(self, x):
        x = F.dropout(F.relu(self.fc1(x)), 0.2, self.training)
        x = F.dropout(torch.tanh(self.fc2(x)), 0.5, self.training)
        return self.fc3(x)


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2 = nn.Linear(400, 120), nn.Linear(120, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


class Block(nn.Module):
    def __init__(self, c_in, c_out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        if stride != 1 or c_in != c_out:
            self.downsample = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu((self.downsample(x) if hasattr(self, "downsample") else x) + y)


class ResNet18(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        widths = [64, 64, 128, 256, 512]
        for i in range(4):
            blocks = nn.Sequential(Block(widths[i], widths[i + 1], 1 if i == 0 else 2), Block(widths[i + 1], widths[i + 1], 1))
            setattr(self, f"layer{i + 1}", blocks)
        self.fc = nn.Linear(512, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        self.lstm = nn.LSTM(16, 24, num_layers=2, bidirectional=True, batch_first=True)
        self.out = nn.Linear(48, 7)

    def forward(self, x):
        return self.out(self.lstm(self.embed(x))[0]).flatten(0, 1)


class GptBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = (z.view(b, t, self.heads, c // self.heads).transpose(1, 2) for z in self.qkv(self.ln1(x)).split(c, dim=2))
        att = q @ k.transpose(-2, -1) * (1.0 / math.sqrt(c // self.heads))
        att = att.masked_fill(torch.ones(t, t).tril() == 0, float("-inf"))
        att = F.dropout(F.softmax(att, dim=-1), 0.1, self.training)
        x = x + self.proj((att @ v).transpose(1, 2).contiguous().view(b, t, c))
        return x + F.dropout(self.down(F.gelu(self.up(self.ln2(x)), approximate="tanh")), 0.1, self.training)


class Gpt(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(40, 32), nn.Embedding(12, 32)
        self.blocks = nn.ModuleList(GptBlock(32, 4) for _ in range(2))
        self.ln_f, self.head = nn.LayerNorm(32), nn.Linear(32, 40, bias=False)

    def forward(self, x):
        x = self.wte(x) + self.wpe(torch.arange(x.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln_f(x)).flatten(0, 1)


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.tr1, self.bn1 = nn.ConvTranspose2d(8, 16, 4, 1, 0, bias=False), nn.BatchNorm2d(16)
        self.tr2 = nn.ConvTranspose2d(16, 1, 4, 2, 1, bias=False)

    def forward(self, z):
        return torch.tanh(self.tr2(F.relu(self.bn1(self.tr1(z)))))


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 16, 4, 2, 1, bias=False), nn.Conv2d(16, 1, 4, 1, 0, bias=False)

    def forward(self, x):
        return self.conv2(F.leaky_relu(self.conv1(x))).view(-1)


def load(model, tensors, prefix=""):
    state = {name[len(prefix):]: t for name, t in tensors.items() if name.startswith(prefix) and not name.startswith("data.")}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and all(name.endswith("num_batches_tracked") for name in missing), (missing, unexpected)


def train(name, tensors, path, steps):
    x, y = tensors["data.x"], tensors["data.y"]
    name, _, kind = name.partition("-")
    model = {"mlp": Mlp, "lenet": LeNet, "resnet18": ResNet18, "tagger": Tagger, "gpt": Gpt}[name]()
    load(model, tensors)
    if kind == "adam":
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    else:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    torch.manual_seed(7)
    with tch_trace.record(path, model=model):
        for _ in range(steps):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            if kind == "clip":
                nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()


def dcgan(tensors, path, steps):
    generator, discriminator = Generator(), Discriminator()
    load(generator, tensors, "generator.")
    load(discriminator, tensors, "discriminator.")
    optimizer_g = torch.optim.SGD(generator.parameters(), lr=0.02)
    optimizer_d = torch.optim.SGD(discriminator.parameters(), lr=0.02, momentum=0.5)
    real = tensors["data.x"]
    n = real.shape[0]
    torch.manual_seed(7)
    with tch_trace.record(path, model={"generator": generator, "discriminator": discriminator}):
        for _ in range(steps):
            fake = generator(torch.randn(n, 8, 1, 1))
            loss = F.binary_cross_entropy_with_logits(discriminator(real), torch.ones(n))
            loss = loss + F.binary_cross_entropy_with_logits(discriminator(fake.detach()), torch.zeros(n))
            optimizer_d.zero_grad()
            loss.backward()
            optimizer_d.step()
            loss = F.binary_cross_entropy_with_logits(discriminator(fake), torch.ones(n))
            optimizer_g.zero_grad()
            loss.backward()
            optimizer_g.step()


def read(path):
    data = Path(path).read_bytes()
    length = struct.unpack_from("<Q", data)[0]
    tensors = {}
    for name, entry in json.loads(data[8:8 + length]).items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            flat = torch.frombuffer(bytearray(data[8 + length + start:8 + length + end]), dtype=DTYPES[entry["dtype"]])
            tensors[name] = flat.reshape(entry["shape"])
    return tensors


def main(folder, threads, steps, *names):
    torch.set_num_threads(int(threads))
    steps = int(steps)
    for name in names:
        tensors = read(f"{folder}/{name}.safetensors")
        path = f"{folder}/{name}.python.trace"
        dcgan(tensors, path, steps) if name == "dcgan" else train(name, tensors, path, steps)


if __name__ == "__main__":
    main(*sys.argv[1:])
