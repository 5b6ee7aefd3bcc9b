"""Forward passes of torchvision's models with the weights that the models of tch::vision then get: `vision_forward.py FOLDER MODEL...`.

For each model FOLDER has `MODEL.safetensors` with the weights and buffers, and `MODEL.out.safetensors` with the input `x`, the result
`torchvision`, and `like tch`: the result with the changes of CHANGES, which are what tch does otherwise. With `--traces`, also the traces of
both, `MODEL.torchvision.trace` and `MODEL.tch.trace`."""

import contextlib
import importlib.util
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(HERE, "..", "..", ".models"))
import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision
from safetensors.torch import save_file

torch.set_num_threads(1)
SPEC = importlib.util.spec_from_file_location("tch_trace", os.path.join(HERE, "..", "..", "python", "trace.py"))
tch_trace = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tch_trace)


def sums(model):
    """tch's `avg_pool2d_default` has a divisor of 1, as has the pooling before the classifier."""
    def forward(x):
        x = F.relu(model.features(x))
        return model.classifier(F.avg_pool2d(x, 7, 1, divisor_override=1).flatten(1))

    for module in model.modules():
        if isinstance(module, nn.AvgPool2d):
            module.divisor_override = 1
    model.forward = forward


def two_means(model):
    """tch takes the mean of the rows, then of the columns."""
    model.forward = lambda x: model.classifier(model.features(x).mean(2).mean(2))


class Swish(nn.Module):
    def forward(self, x):
        return x * x.sigmoid()


def same_padding(conv):
    def forward(x):
        pads = []
        for size, kernel, stride in reversed(list(zip(x.shape[2:], conv.kernel_size, conv.stride))):
            pad = max(((size + stride - 1) // stride - 1) * stride + kernel - size, 0)
            pads += [pad // 2, pad - pad // 2]
        return F.conv2d(F.pad(x, pads) if any(pads) else x, conv.weight, conv.bias, conv.stride, 0, 1, conv.groups)

    conv.forward = forward


def tensorflow(model):
    """eps of TensorFlow, padding of TensorFlow, `x * x.sigmoid()`."""
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3
        elif isinstance(module, nn.Conv2d):
            same_padding(module)
        elif isinstance(module, nn.SiLU):
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, Swish())


def exchanged(model):
    """tch's second convolution has padding 1 and stride 2: the two are exchanged."""
    model.features[3].padding, model.features[3].stride = (1, 1), (2, 2)


CHANGES = {"alexnet": exchanged, "densenet121": sums, "mobilenet_v2": two_means, **{f"efficientnet_b{i}": tensorflow for i in range(5)}}


def make(name):
    options = {"num_classes": 10}
    if name.startswith("convmixer"):
        import timm

        return timm.create_model(name, **options)
    if name == "inception_v3":
        options |= {"aux_logits": False, "init_weights": False, "transform_input": False}
    return getattr(torchvision.models, name)(**options)


def flat_name(name):
    """The original ConvMixer is one sequence: so is tch's."""
    parts = name.split(".")
    if parts[0] == "stem":
        return ".".join(parts[1:])
    if parts[0] == "blocks":
        return ".".join([str(3 + int(parts[1])), *parts[2:]])
    return ".".join(["25", *parts[1:]]) if parts[0] == "head" else name


def recorded(path, model, x):
    """The result, and a trace of it if there is a path."""
    with tch_trace.record(path, model=model) if path else contextlib.nullcontext():
        return model(x)


def main(folder, *names):
    traces = "--traces" in names
    for name in names:
        if name == "--traces":
            continue
        path = os.path.join(folder, f"{name}.{{}}.trace") if traces else ""
        torch.manual_seed(0)
        model = make(name).eval()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                # Statistics as of a trained model; otherwise eps and the buffers do nothing.
                for t, low, high in ((module.weight, 0.8, 1.2), (module.bias, -0.1, 0.1), (module.running_mean, -0.1, 0.1), (module.running_var, 0.5, 1.5)):
                    nn.init.uniform_(t, low, high)
        size = 299 if name == "inception_v3" else 224
        x = torch.randn(1, 3, size, size)
        renamed = flat_name if name.startswith("convmixer") else str
        weights = {renamed(key): t.contiguous() for key, t in model.state_dict().items() if not key.endswith("num_batches_tracked")}
        save_file(weights, os.path.join(folder, f"{name}.safetensors"))
        with torch.no_grad():
            results = {"x": x, "torchvision": recorded(path.format("torchvision"), model, x)}
            if name in CHANGES:
                CHANGES[name](model)
                results["like tch"] = recorded(path.format("tch"), model, x)
        save_file({key: t.contiguous() for key, t in results.items()}, os.path.join(folder, f"{name}.out.safetensors"))


if __name__ == "__main__":
    main(*sys.argv[1:])
