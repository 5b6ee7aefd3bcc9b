"""Whole models, the Python twins of tests/live/models.rs."""

import torch
from torch import nn
from torch.nn import functional as F


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(400, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.view(-1, 400)))
        return self.fc3(F.relu(self.fc2(x)))

    def data(self):
        return torch.randn(8, 1, 28, 28), torch.randint(0, 10, (8,))

    def loss(self, x, y):
        return F.cross_entropy(self(x), y)


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """The stem and two stages of a ResNet-18, narrow."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(Block(16, 16, 1), Block(16, 16, 1))
        self.layer2 = nn.Sequential(Block(16, 32, 2), Block(32, 32, 1))
        self.fc = nn.Linear(32, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        x = self.layer2(self.layer1(x))
        return self.fc(x.mean([2, 3]))

    def data(self):
        return torch.randn(4, 3, 32, 32), torch.randint(0, 10, (4,))

    def loss(self, x, y):
        return F.cross_entropy(self(x), y)


class Generator(nn.Module):
    """A DCGAN generator for images of 16 by 16."""

    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(16, 32, 4, 1, 0, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
            nn.ConvTranspose2d(32, 16, 4, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
            nn.ConvTranspose2d(16, 1, 4, 2, 1, bias=False), nn.Tanh(),
        )

    def data(self):
        return torch.randn(4, 16, 1, 1), torch.rand(4, 1, 16, 16)

    def loss(self, x, y):
        return F.mse_loss(self.main(x), y)


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.c_attn = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = self.c_attn(x).view(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1)) * (c // self.heads) ** -0.5
        later = torch.ones(t, t, dtype=torch.bool).triu(1)
        weights = weights.masked_fill(later, float("-inf")).softmax(-1)
        return self.c_proj((weights @ v).transpose(1, 2).reshape(b, t, c))


class GptBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.ln_2 = nn.LayerNorm(width)
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.c_proj(F.gelu(self.c_fc(self.ln_2(x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(50, 32)
        self.wpe = nn.Embedding(16, 32)
        self.h = nn.ModuleList([GptBlock(32, 4) for _ in range(2)])
        self.ln_f = nn.LayerNorm(32)
        self.lm_head = nn.Linear(32, 50, bias=False)

    def data(self):
        tokens = torch.randint(0, 50, (3, 17))
        return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()

    def loss(self, x, y):
        h = self.wte(x) + self.wpe(torch.arange(x.shape[1]))
        for block in self.h:
            h = block(h)
        return F.cross_entropy(self.lm_head(self.ln_f(h)).view(-1, 50), y.view(-1))


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.lstm = nn.LSTM(8, 16, num_layers=2, bidirectional=True, batch_first=True)
        self.tags = nn.Linear(32, 5)

    def data(self):
        return torch.randint(0, 20, (4, 9)), torch.randint(0, 5, (4, 9))

    def loss(self, x, y):
        h, _ = self.lstm(self.embedding(x))
        return F.cross_entropy(self.tags(h).view(-1, 5), y.view(-1))


class Images(nn.Module):
    """The small network for images of tch's examples, in the order in which that makes it."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 5)
        self.conv2 = nn.Conv2d(32, 64, 5)
        self.fc1 = nn.Linear(1024, 128)
        self.fc2 = nn.Linear(128, 10)

    def data(self):
        # Ten fixed patterns in noise, so that there is something to learn.
        patterns = torch.randn(10, 1, 28, 28)
        labels = torch.randint(0, 10, (32,))
        return patterns[labels] + torch.randn(32, 1, 28, 28), labels

    def loss(self, x, y):
        x = F.max_pool2d(self.conv1(x), 2)
        x = F.max_pool2d(self.conv2(x), 2)
        x = F.relu(self.fc1(x.view(-1, 1024)))
        return F.cross_entropy(self.fc2(x), y)


MODELS = {m.__name__: m for m in (LeNet, ResNet, Generator, Gpt, Tagger, Images)}


def train(name, seed, steps, rate):
    """The tensors after construction, the final generator state, and the losses of the steps."""
    torch.manual_seed(seed)
    model = MODELS[name]()
    tensors = [t.detach().clone() for t in model.state_dict().values()]
    state = torch.get_rng_state()
    x, y = model.data()
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    losses = []
    for _ in range(steps):
        loss = model.loss(x, y)
        losses.append(loss.detach())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return list(model.state_dict()), tensors, state, torch.stack(losses)
