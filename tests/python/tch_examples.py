"""The Python twins of tch's examples and of the models of tch::vision, for tests/live/tch_examples.rs.

A twin is what a porter writes: the same layers of torch.nn, in the order in which the Rust program makes them. `Store`
only names their variables as tch's VarStore does, so that both sides can be held against each other by name: tch makes
the bias of a linear layer or convolution before its weight, and appends `__N` to a name that was taken, with N the
number of variables so far. tch has no num_batches_tracked.
"""

import math
import zlib

import reference
import torch
from torch import nn


class Store:
    def __init__(self):
        self.variables = {}

    def add(self, path, layer):
        names = [name for name, _ in layer.named_parameters()]
        if isinstance(layer, (nn.Linear, nn.modules.conv._ConvNd)):
            names.reverse()
        for name, tensor in [(n, getattr(layer, n)) for n in names] + list(layer.named_buffers()):
            if name == "num_batches_tracked":
                continue
            full = f"{path}.{name}" if path else name
            if full in self.variables:
                full = f"{full}__{len(self.variables)}"
            self.variables[full] = tensor
        return layer

    def checksums(self):
        crc = {}
        for name, tensor in self.variables.items():
            tensor = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
            crc[name] = zlib.crc32(memoryview(tensor.numpy()))
        return crc


def result(store):
    return None, [reference.chunk(torch.get_rng_state())], store.checksums()


def run_calls(case):
    """The constructors that the Rust program called, in its order."""
    torch.manual_seed(case["seed"])
    torch.set_default_dtype(reference.DTYPES[case["dtype"]])
    store, model = Store(), []
    for kind, path, args, kwargs in case["calls"]:
        model.append(store.add(path, getattr(nn, kind)(*args, **kwargs)))
    torch.set_default_dtype(torch.float32)
    visitor = case["visitor"]
    if visitor is not None:
        for layer in model:
            layer.apply(VISITORS[visitor])
    return result(store)


def min_gpt(m):
    """`GPT._init_weights` of minGPT, which tch's min-gpt follows, with the parts that the example has."""
    if isinstance(m, nn.Linear):
        nn.init.normal_(m.weight, mean=0.0, std=0.02)
        if m.bias is not None:
            nn.init.zeros_(m.bias)
    elif isinstance(m, nn.Embedding):
        nn.init.normal_(m.weight, mean=0.0, std=0.02)
    elif isinstance(m, nn.LayerNorm):
        nn.init.zeros_(m.bias)
        nn.init.ones_(m.weight)


def dcgan(m):
    """`weights_init` of pytorch/examples, dcgan/main.py."""
    if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(m.weight, 0.0, 0.02)
    elif isinstance(m, nn.BatchNorm2d):
        nn.init.normal_(m.weight, 1.0, 0.02)
        nn.init.zeros_(m.bias)


VISITORS = {"min_gpt": min_gpt, "dcgan": dcgan, "weight_init2": reference.weight_init2}


class Vision:
    """The models of tch::vision, layer by layer."""

    def __init__(self):
        self.store = Store()

    def conv(self, path, i, o, k, bias=True, groups=1):
        self.store.add(path, nn.Conv2d(i, o, k, bias=bias, groups=groups))

    def norm(self, path, features):
        self.store.add(path, nn.BatchNorm2d(features))

    def linear(self, path, i, o):
        self.store.add(path, nn.Linear(i, o))

    def conv_norm(self, conv, norm, i, o, k, groups=1):
        self.conv(conv, i, o, k, False, groups)
        self.norm(norm, o)

    def alexnet(self, classes):
        for at, i, o, k in ((0, 3, 64, 11), (3, 64, 192, 5), (6, 192, 384, 3), (8, 384, 256, 3), (10, 256, 256, 3)):
            self.conv(f"features.{at}", i, o, k)
        for at, i, o in ((1, 256 * 36, 4096), (4, 4096, 4096), (6, 4096, classes)):
            self.linear(f"classifier.{at}", i, o)

    def vgg(self, classes, blocks, norms):
        at, channels = 0, 3
        for block in blocks:
            for out in block:
                self.conv(f"features.{at}", channels, out, 3)
                at += 1
                if norms:
                    self.norm(f"features.{at}", out)
                    at += 1
                at, channels = at + 1, out
            at += 1
        for at, i, o in ((0, 512 * 49, 4096), (3, 4096, 4096), (6, 4096, classes)):
            self.linear(f"classifier.{at}", i, o)

    def fire(self, path, i, squeeze, expand):
        self.conv(f"{path}.squeeze", i, squeeze, 1)
        self.conv(f"{path}.expand1x1", squeeze, expand, 1)
        self.conv(f"{path}.expand3x3", squeeze, expand, 3)

    def squeezenet(self, classes, first, places):
        self.conv("features.0", 3, *first)
        sizes = [(first[0], 16, 64), (128, 16, 64), (128, 32, 128), (256, 32, 128), (256, 48, 192), (384, 48, 192),
                 (384, 64, 256), (512, 64, 256)]
        for at, size in zip(places, sizes):
            self.fire(f"features.{at}", *size)
        self.conv("classifier.1", 512, classes, 1)

    def resnet(self, classes, counts, bottleneck):
        self.conv_norm("conv1", "bn1", 3, 64, 7)
        channels = 64
        for stage, count in enumerate(counts):
            width = 64 << stage
            out = 4 * width if bottleneck else width
            kernels = ((channels, width, 1), (width, width, 3), (width, out, 1)) if bottleneck else \
                ((channels, width, 3), (width, width, 3))
            for block in range(count):
                path = f"layer{stage + 1}.{block}"
                for at, (i, o, k) in enumerate(kernels, 1):
                    if block > 0 and at == 1:
                        i = out
                    self.conv_norm(f"{path}.conv{at}", f"{path}.bn{at}", i, o, k)
                if block == 0 and (stage > 0 or channels != out):
                    self.conv_norm(f"{path}.downsample.0", f"{path}.downsample.1", channels, out, 1)
            channels = out
        if classes is not None:
            self.linear("fc", channels, classes)

    def densenet(self, classes, first, growth, counts):
        self.conv_norm("features.conv0", "features.norm0", 3, first, 7)
        features = first
        for block, count in enumerate(counts, 1):
            for at in range(1, count + 1):
                path = f"features.denseblock{block}.denselayer{at}"
                self.norm(f"{path}.norm1", features)
                self.conv(f"{path}.conv1", features, 4 * growth, 1, False)
                self.norm(f"{path}.norm2", 4 * growth)
                self.conv(f"{path}.conv2", 4 * growth, growth, 3, False)
                features += growth
            if block < len(counts):
                self.norm(f"features.transition{block}.norm", features)
                self.conv(f"features.transition{block}.conv", features, features // 2, 1, False)
                features //= 2
        self.norm("features.norm5", features)
        self.linear("classifier", features, classes)

    def mobilenet(self, classes):
        at, channels = 1, 32
        self.conv_norm("features.0.0", "features.0.1", 3, 32, 3)
        for ratio, out, count in ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1)):
            for _ in range(count):
                path, hidden, part = f"features.{at}.conv", ratio * channels, 0
                if ratio != 1:
                    self.conv_norm(f"{path}.0.0", f"{path}.0.1", channels, hidden, 1)
                    part = 1
                self.conv_norm(f"{path}.{part}.0", f"{path}.{part}.1", hidden, hidden, 3, hidden)
                self.conv_norm(f"{path}.{part + 1}", f"{path}.{part + 2}", hidden, out, 1)
                at, channels = at + 1, out
        self.conv_norm(f"features.{at}.0", f"features.{at}.1", channels, 1280, 1)
        self.linear("classifier.1", 1280, classes)

    def efficientnet(self, classes, width, depth):
        def channels_of(value):
            new = max(8, int(value * width + 4) // 8 * 8)
            return new + 8 if new < 0.9 * value * width else new

        def cna(path, i, o, k, groups=1):
            self.conv_norm(f"{path}.0", f"{path}.1", i, o, k, groups)

        stages = [(1, 3, 32, 16, 1), (6, 3, 16, 24, 2), (6, 5, 24, 40, 2), (6, 3, 40, 80, 3), (6, 5, 80, 112, 3),
                  (6, 5, 112, 192, 4), (6, 3, 192, 320, 1)]
        cna("features.0", 3, channels_of(32), 3)
        for stage, (ratio, k, i, o, count) in enumerate(stages, 1):
            i, o = channels_of(i), channels_of(o)
            for at in range(math.ceil(count * depth)):
                path, expanded, part = f"features.{stage}.{at}.block", max(8, int(i * ratio + 4) // 8 * 8), 0
                if expanded != i:
                    cna(f"{path}.0", i, expanded, 1)
                    part = 1
                cna(f"{path}.{part}", expanded, expanded, k, expanded)
                squeezed = max(1, i // 4)
                self.conv(f"{path}.{part + 1}.fc1", expanded, squeezed, 1)
                self.conv(f"{path}.{part + 1}.fc2", squeezed, expanded, 1)
                cna(f"{path}.{part + 2}", expanded, o, 1)
                i = o
        cna("features.8", i, 4 * i, 1)
        self.linear("classifier.1", 4 * i, classes)

    def convmixer(self, classes, width, patch):
        self.conv("0", 3, width, patch)
        self.norm("2", width)
        for at in range(3, 23):
            self.conv(f"{at}.0.fn.0", width, width, 9, groups=width)
            self.norm(f"{at}.0.fn.2", width)
            self.conv(f"{at}.1", width, width, 1)
            self.norm(f"{at}.3", width)
        self.linear("25", width, classes)

    def inception(self, classes):
        def convs(path, *parts):
            for name, i, o, k in parts:
                self.conv_norm(f"{path}{name}.conv", f"{path}{name}.bn", i, o, k)

        convs("", ("Conv2d_1a_3x3", 3, 32, 3), ("Conv2d_2a_3x3", 32, 32, 3), ("Conv2d_2b_3x3", 32, 64, 3),
              ("Conv2d_3b_1x1", 64, 80, 1), ("Conv2d_4a_3x3", 80, 192, 3))
        double = (("branch3x3dbl_2", 64, 96, 3), ("branch3x3dbl_3", 96, 96, 3))
        for path, i, pool in (("Mixed_5b.", 192, 32), ("Mixed_5c.", 256, 64), ("Mixed_5d.", 288, 64)):
            convs(path, ("branch1x1", i, 64, 1), ("branch5x5_1", i, 48, 1), ("branch5x5_2", 48, 64, 5),
                  ("branch3x3dbl_1", i, 64, 1), *double, ("branch_pool", i, pool, 1))
        convs("Mixed_6a.", ("branch3x3", 288, 384, 3), ("branch3x3dbl_1", 288, 64, 1), *double)
        for path, c in (("Mixed_6b.", 128), ("Mixed_6c.", 160), ("Mixed_6d.", 160), ("Mixed_6e.", 192)):
            convs(path, ("branch1x1", 768, 192, 1), ("branch7x7_1", 768, c, 1), ("branch7x7_2", c, c, (1, 7)),
                  ("branch7x7_3", c, 192, (7, 1)), ("branch7x7dbl_1", 768, c, 1), ("branch7x7dbl_2", c, c, (7, 1)),
                  ("branch7x7dbl_3", c, c, (1, 7)), ("branch7x7dbl_4", c, c, (7, 1)),
                  ("branch7x7dbl_5", c, 192, (1, 7)), ("branch_pool", 768, 192, 1))
        convs("Mixed_7a.", ("branch3x3_1", 768, 192, 1), ("branch3x3_2", 192, 320, 3), ("branch7x7x3_1", 768, 192, 1),
              ("branch7x7x3_2", 192, 192, (1, 7)), ("branch7x7x3_3", 192, 192, (7, 1)), ("branch7x7x3_4", 192, 192, 3))
        for path, i in (("Mixed_7b.", 1280), ("Mixed_7c.", 2048)):
            convs(path, ("branch1x1", i, 320, 1), ("branch3x3_1", i, 384, 1), ("branch3x3_2a", 384, 384, (1, 3)),
                  ("branch3x3_2b", 384, 384, (3, 1)), ("branch3x3dbl_1", i, 448, 1), ("branch3x3dbl_2", 448, 384, 3),
                  ("branch3x3dbl_3a", 384, 384, (1, 3)), ("branch3x3dbl_3b", 384, 384, (3, 1)),
                  ("branch_pool", i, 192, 1))
        self.linear("fc", 2048, classes)

    def dinov2(self, depth, width):
        self.conv("patch_embed.proj", 3, width, 14)
        self.linear("head", 2 * width, 1000)
        self.store.add("norm", nn.LayerNorm(width))
        for block in range(depth):
            path = f"blocks.{block}"
            self.store.add(f"{path}.norm1", nn.LayerNorm(width))
            self.linear(f"{path}.attn.qkv", width, 3 * width)
            self.linear(f"{path}.attn.proj", width, width)
            self.store.add(f"{path}.norm2", nn.LayerNorm(width))
            self.linear(f"{path}.mlp.fc1", width, 4 * width)
            self.linear(f"{path}.mlp.fc2", 4 * width, width)


VGG_11 = [[64], [128], [256] * 2, [512] * 2, [512] * 2]
VGG_16 = [[64] * 2, [128] * 2, [256] * 3, [512] * 3, [512] * 3]
VGG_19 = [[64] * 2, [128] * 2, [256] * 4, [512] * 4, [512] * 4]
VISION = {
    "alexnet": lambda v, n: v.alexnet(n),
    "vgg11": lambda v, n: v.vgg(n, VGG_11, False),
    "vgg13": lambda v, n: v.vgg(n, [[64] * 2, [128] * 2, [256] * 2, [512] * 2, [512] * 2], False),
    "vgg16": lambda v, n: v.vgg(n, VGG_16, False),
    "vgg19": lambda v, n: v.vgg(n, VGG_19, False),
    "vgg11_bn": lambda v, n: v.vgg(n, VGG_11, True),
    "squeezenet1_0": lambda v, n: v.squeezenet(n, (96, 7), (3, 4, 5, 7, 8, 9, 10, 12)),
    "squeezenet1_1": lambda v, n: v.squeezenet(n, (64, 3), (3, 4, 6, 7, 9, 10, 11, 12)),
    "resnet18": lambda v, n: v.resnet(n, (2, 2, 2, 2), False),
    "resnet18_no_final_layer": lambda v, _: v.resnet(None, (2, 2, 2, 2), False),
    "resnet34": lambda v, n: v.resnet(n, (3, 4, 6, 3), False),
    "resnet50": lambda v, n: v.resnet(n, (3, 4, 6, 3), True),
    "densenet121": lambda v, n: v.densenet(n, 64, 32, (6, 12, 24, 16)),
    "densenet161": lambda v, n: v.densenet(n, 96, 48, (6, 12, 36, 24)),
    "mobilenet_v2": lambda v, n: v.mobilenet(n),
    **{
        f"efficientnet_b{i}": lambda v, n, sizes=sizes: v.efficientnet(n, *sizes)
        for i, sizes in enumerate([(1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8), (1.6, 2.2), (1.8, 2.6), (2.0, 3.1)])
    },
    "convmixer1024_20": lambda v, n: v.convmixer(n, 1024, 14),
    "convmixer1536_20": lambda v, n: v.convmixer(n, 1536, 7),
    "inception_v3": lambda v, n: v.inception(n),
    "dinov2_vits14": lambda v, _: v.dinov2(12, 384),
}


def run_vision(case):
    torch.manual_seed(case["seed"])
    vision = Vision()
    VISION[case["name"]](vision, case["classes"])
    return result(vision.store)


if __name__ == "__main__":
    reference.RUN.update({"calls": run_calls, "vision": run_vision})
    reference.main()
