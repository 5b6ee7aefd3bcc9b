"""The models of tests/live/recipes.rs, with torch alone: named and made as the libraries' are."""

import torch
from torch import nn
from torch.nn import init


class Layers(nn.Module):
    """One of each kind that tch makes, with and without bias, one of them around another."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 5)
        self.no_bias = nn.Linear(33, 17, bias=False)
        self.conv1 = nn.Conv1d(4, 6, 3)
        self.conv2 = nn.Conv2d(3, 8, (1, 5), bias=False)
        self.conv3 = nn.Conv3d(2, 4, 2, groups=2)
        self.up1 = nn.ConvTranspose1d(6, 4, 2)
        self.up2 = nn.ConvTranspose2d(8, 3, 3, bias=False)
        self.up3 = nn.ConvTranspose3d(4, 2, 2)
        self.block = nn.Linear(4, 4)
        self.block.inner = nn.Linear(3, 2)
        self.norm1 = nn.BatchNorm1d(20)
        self.norm2 = nn.BatchNorm2d(5)
        self.norm3 = nn.BatchNorm3d(3, affine=False)


class Residual(nn.Module):
    """A basic block, or with `expansion` 4 a bottleneck."""

    def __init__(self, inputs, width, expansion, stride, downsample):
        super().__init__()
        kernels = [3, 3] if expansion == 1 else [1, 3, 1]
        outputs = [width] * (len(kernels) - 1) + [width * expansion]
        for i, (kernel, out) in enumerate(zip(kernels, outputs), 1):
            at_stride = stride if i == len(kernels) // 2 + expansion // 4 else 1
            padding = kernel // 2
            setattr(self, f"conv{i}", nn.Conv2d(inputs, out, kernel, at_stride, padding, bias=False))
            setattr(self, f"bn{i}", nn.BatchNorm2d(out))
            inputs = out
        if downsample is not None:
            self.downsample = downsample


class ResNet(nn.Module):
    """torchvision's, which makes the shortcut of a block before the block."""

    def __init__(self, expansion, blocks, width, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        inputs = width
        for stage, count in enumerate(blocks):
            layer = []
            outputs = width * 2**stage * expansion
            for i in range(count):
                stride = 2 if stage > 0 and i == 0 else 1
                downsample = None
                if stride != 1 or inputs != outputs:
                    downsample = nn.Sequential(
                        nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
                    )
                layer.append(Residual(inputs, width * 2**stage, expansion, stride, downsample))
                inputs = outputs
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layer))
        self.fc = nn.Linear(inputs, classes)


class Conv1D(nn.Module):
    """transformers' linear layer with a weight of [inputs, outputs]."""

    def __init__(self, outputs, inputs):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        init.normal_(self.weight, std=0.02)


class Attention(nn.Module):
    def __init__(self, width, cross=False):
        super().__init__()
        self.c_attn = Conv1D((2 if cross else 3) * width, width)
        if cross:
            self.q_attn = Conv1D(width, width)
        self.c_proj = Conv1D(width, width)


class Mlp(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.c_fc = Conv1D(4 * width, width)
        self.c_proj = Conv1D(width, 4 * width)


class Gpt2Block(nn.Module):
    def __init__(self, width, cross):
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = Attention(width)
        self.ln_2 = nn.LayerNorm(width)
        if cross:
            self.crossattention = Attention(width, cross=True)
            self.ln_cross_attn = nn.LayerNorm(width)
        self.mlp = Mlp(width)


class Gpt2(nn.Module):
    def __init__(self, n_layer, width, vocab, positions, cross=False):
        super().__init__()
        self.wte = nn.Embedding(vocab, width)
        self.wpe = nn.Embedding(positions, width)
        self.h = nn.ModuleList([Gpt2Block(width, cross) for _ in range(n_layer)])
        self.ln_f = nn.LayerNorm(width)


def modules(**children):
    return nn.ModuleDict(children)


class BertEmbeddings(nn.Module):
    def __init__(self, width, vocab, positions, pad_token_id):
        super().__init__()
        self.word_embeddings = nn.Embedding(vocab, width, padding_idx=pad_token_id)
        self.position_embeddings = nn.Embedding(positions, width)
        self.token_type_embeddings = nn.Embedding(2, width)
        self.LayerNorm = nn.LayerNorm(width)


class Predictions(nn.Module):
    def __init__(self, width, vocab):
        super().__init__()
        self.transform = modules(dense=nn.Linear(width, width), LayerNorm=nn.LayerNorm(width))
        self.decoder = nn.Linear(width, vocab)
        self.bias = nn.Parameter(torch.zeros(vocab))


def bert_layer(width):
    def self_attention():
        return modules(**{name: nn.Linear(width, width) for name in ("query", "key", "value")})

    def output(inputs):
        return modules(dense=nn.Linear(inputs, width), LayerNorm=nn.LayerNorm(width))

    return modules(
        attention=nn.ModuleDict([["self", self_attention()], ["output", output(width)]]),
        intermediate=modules(dense=nn.Linear(width, 2 * width)),
        output=output(2 * width),
    )


class Bert(nn.Module):
    def __init__(self, layers, width, vocab, positions, pad_token_id):
        super().__init__()
        self.embeddings = BertEmbeddings(width, vocab, positions, pad_token_id)
        self.encoder = modules(layer=nn.ModuleList([bert_layer(width) for _ in range(layers)]))
        self.pooler = modules(dense=nn.Linear(width, width))


class BertWithHeads(nn.Module):
    def __init__(self, layers, width, vocab, positions, pad_token_id):
        super().__init__()
        self.bert = Bert(layers, width, vocab, positions, pad_token_id)
        self.cls = modules(
            predictions=Predictions(width, vocab), seq_relationship=nn.Linear(width, 2)
        )


class Vit(nn.Module):
    """torchvision's; `visit(path, module)` is called where its constructor fills a module anew."""

    def __init__(self, layers, width, mlp, classes, representation, stem, visit=lambda *_: None):
        super().__init__()
        if stem:
            self.conv_proj = nn.Sequential()
            stem_layer = nn.Sequential(nn.Conv2d(3, stem, 3, bias=False), nn.BatchNorm2d(stem))
            self.conv_proj.add_module("conv_bn_relu_0", stem_layer)
            self.conv_proj.add_module("conv_last", nn.Conv2d(stem, width, 1))
        else:
            self.conv_proj = nn.Conv2d(3, width, 4, 4)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.encoder = nn.Module()
        self.encoder.pos_embedding = nn.Parameter(torch.zeros(1, 5, width))
        visit("encoder", self.encoder)
        self.encoder.layers = nn.ModuleDict()
        for i in range(layers):
            block = modules(
                ln_1=nn.LayerNorm(width),
                self_attention=nn.MultiheadAttention(width, 2),
                ln_2=nn.LayerNorm(width),
            )
            block["mlp"] = nn.Sequential(
                nn.Linear(width, mlp), nn.GELU(), nn.Dropout(), nn.Linear(mlp, width), nn.Dropout()
            )
            for j in (0, 3):
                visit(f"encoder.layers.encoder_layer_{i}.mlp.{j}", block["mlp"][j])
            self.encoder.layers[f"encoder_layer_{i}"] = block
        self.encoder.ln = nn.LayerNorm(width)
        self.heads = nn.ModuleDict()
        if representation:
            self.heads["pre_logits"] = nn.Linear(width, representation)
        self.heads["head"] = nn.Linear(representation or width, classes)
        visit("conv_proj.conv_last" if stem else "conv_proj", self.conv_proj[-1] if stem else self.conv_proj)
        for name, head in self.heads.items():
            visit(f"heads.{name}", head)


class Lstms(nn.Module):
    def __init__(self):
        super().__init__()
        self.two = nn.LSTM(5, 6, num_layers=2, bidirectional=True)
        self.no_bias = nn.LSTM(3, 20, bias=False)
        self.cell = nn.LSTMCell(7, 3)
        self.gru = nn.GRU(3, 2)
        self.fc = nn.Linear(6, 2)


MODELS = {
    "layers": Layers,
    "resnet_basic": lambda: ResNet(1, [2, 2], 8, 4),
    "resnet_bottleneck": lambda: ResNet(4, [2, 1], 4, 4),
    "gpt2": lambda: Gpt2(2, 8, 11, 6),
    "gpt2_cross": lambda: Gpt2(3, 6, 5, 4, cross=True),
    "bert": lambda: Bert(2, 8, 11, 6, 0),
    "bert_heads": lambda: BertWithHeads(1, 6, 9, 5, 3),
    "vit": lambda: Vit(2, 8, 12, 4, None, None),
    "vit_stem": lambda: Vit(1, 6, 8, 3, 5, 4),
    "lstms": Lstms,
}
