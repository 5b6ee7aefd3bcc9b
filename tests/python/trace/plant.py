"""Writes traces of the programs, without and with each planted mistake, and what is expected of each: `plant.py FOLDER [PROGRAM]...`.

`plant.py crates/op-trace/tests/data tiny` wrote the traces of the unit tests."""

import importlib.util
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import torch

import fourth_programs
import further_programs
import held_back_programs
import programs
import second_programs
import third_programs
import unseen_programs

PROGRAMS = {**programs.PROGRAMS, **further_programs.PROGRAMS, **held_back_programs.PROGRAMS, **unseen_programs.PROGRAMS,
            **second_programs.PROGRAMS, **third_programs.PROGRAMS, **fourth_programs.PROGRAMS}


def recorder():
    file = os.path.join(HERE, "..", "..", "..", "python", "trace.py")
    spec = importlib.util.spec_from_file_location("tch_trace", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules["tch_trace"] = module
    spec.loader.exec_module(module)
    return module


# Program, mistakes, and for each expected departure: class, subject, module, step, phase (None: any).
CASES = [
    ("mlp", ["p"], [("argument", "p", "drop", 1, "forward")]),
    ("mlp", ["no dropout"], [("step", "dropout", "drop", 1, "forward")]),
    ("mlp", ["eval"], [("mode", None, "drop", 1, "forward")]),
    ("mlp", ["second dropout"], [("step", "dropout", "drop2", 1, "forward")]),
    ("mlp", ["gelu"], [("operation", "relu", None, 1, "forward")]),
    ("mlp", ["no relu"], [("step", "relu", None, 1, "forward")]),
    ("mlp", ["lr"], [("optimizer", "alpha", None, 1, "optimizer")]),
    ("mlp", ["momentum"], [("optimizer", None, None, 2, "optimizer")]),
    ("mlp", ["no decay"], [("optimizer", None, None, 1, "optimizer")]),
    ("mlp", ["nesterov"], [("optimizer", None, None, 1, "optimizer")]),
    ("mlp", ["groups"], [("optimizer", "alpha", None, 1, "optimizer")]),
    ("mlp", ["schedule"], [("optimizer", "alpha", None, 2, "optimizer")]),
    ("mlp", ["no zero_grad"], [("gradient-not-zeroed", None, None, 2, "backward")]),
    ("mlp", ["sum"], [("argument", "reduction", None, 1, "forward")]),
    ("mlp", ["smoothing"], [("step", None, None, 1, "forward")]),
    ("mlp", ["scaled loss"], [("step", "div", None, 1, None)]),
    ("mlp", ["seed"], [("seed", None, "drop", 1, "forward")]),
    ("mlp", ["extra draw"], [("stream", None, None, 2, "forward")]),
    ("mlp", ["data"], [("data", None, "fc1", 1, "forward")]),
    ("mlp", ["data order"], [("data-order", None, None, 1, "forward")]),
    ("mlp", ["weights"], [("weights", None, "fc2", 1, "forward")]),
    ("mlp", ["frozen"], [("frozen", None, None, None, None)]),
    ("mlp", ["left out"], [("frozen", None, None, 1, "optimizer")]),
    ("mlp", ["double"], [("dtype", None, None, 1, "forward")]),
    ("mlp", ["clip"], [("step", None, None, 1, None)]),
    ("lenet", ["avg pool"], [("operation", "max_pool2d_with_indices", None, 1, "forward")]),
    ("lenet", ["channels last"], [("step", "permute", None, 1, "forward")]),
    ("lenet", ["no bias"], [("operation", "addmm", "fc3", 1, "forward")]),
    ("lenet", ["dim"], [("argument", "dim", None, 1, "forward")]),
    ("lenet", ["adam eps"], [("optimizer", None, None, 1, "optimizer")]),
    ("lenet", ["beta2"], [("optimizer", None, None, 1, "optimizer")]),
    ("lenet", ["amsgrad"], [("optimizer", "maximum", None, 2, "optimizer")]),
    ("cnn", ["eps"], [("argument", "eps", "bn1", 1, "forward")]),
    # Step 1 gives the same bits.
    ("cnn", ["eps near"], [("argument", "eps", "bn1", 2, "forward")]),
    ("cnn", ["momentum"], [("argument", "momentum", "bn2", 1, "forward")]),
    ("cnn", ["padding"], [("argument", "padding", "conv3", 1, "forward")]),
    ("cnn", ["stride"], [("argument", "stride", "conv3", 1, "forward")]),
    ("cnn", ["pad order"], [("argument", "pad", None, 1, "forward")]),
    ("cnn", ["relu before bn"], [("order", None, None, 1, "forward")]),
    ("cnn", ["no residual"], [("step", "add", None, 1, "forward")]),
    ("cnn", ["sum pool"], [("operation", "mean", None, 1, "forward")]),
    ("cnn", ["bn eval"], [("mode", None, "bn2", 1, "forward")]),
    ("lstm", ["padding_idx"], [("argument", "padding_idx", "emb", 1, "backward")]),
    ("lstm", ["freq"], [("argument", "scale_grad_by_freq", "emb", 1, "backward")]),
    ("lstm", ["lstm p"], [("argument", "p", "lstm", 1, "forward")]),
    ("lstm", ["scaled"], [("step", "mul", None, 1, "forward")]),
    ("lstm", ["no ignore"], [("step", "clamp", None, 1, "forward")]),
    ("gpt", ["one eps"], [("argument", "eps", "blocks.1.ln2", 1, "forward")]),
    ("gpt", ["tanh"], [("argument", "approximate", "blocks.0", 1, "forward")]),
    ("gpt", ["no scale"], [("step", "mul", "blocks.0.attn", 1, "forward")]),
    ("gpt", ["no mask"], [("step", "masked_fill", "blocks.0.attn", 1, "forward")]),
    ("gpt", ["softmax dim"], [("argument", "dim", "blocks.0.attn", 1, "forward")]),
    ("gpt", ["no residual"], [("step", "add", "blocks.0", 1, "forward")]),
    ("gpt", ["no ln"], [("step", "native_layer_norm", "blocks.0.ln1", 1, "forward")]),
    ("gpt", ["exchanged qk"], [("input", None, "blocks.0.attn", 1, "forward")]),
    ("gpt", ["shifted"], [("argument", "start", None, 1, "forward")]),
    ("gpt", ["no decay"], [("optimizer", None, None, 1, "optimizer")]),
    ("gan", ["slope"], [("argument", "negative_slope", "d.1", 1, "forward")]),
    ("gan", ["sigmoid"], [("operation", "tanh", "g.3", 1, "forward")]),
    ("gan", ["beta1"], [("optimizer", None, None, 1, "optimizer")]),
    ("gan", ["label"], [("input", "target", None, 1, "forward")]),
    ("gan", ["uniform noise"], [("operation", "randn", None, 1, "forward")]),
    ("cnn", ["momentum", "lr"], [("argument", "momentum", "bn2", 1, "forward"), ("optimizer", "alpha", None, 1, "optimizer")]),
    ("tiny", ["p"], [("argument", "p", "1", 1, "forward")]),
    ("tiny", ["lr"], [("optimizer", "alpha", None, 1, "optimizer")]),
    ("mlp", ["sum", "weights"], [("weights", None, "fc2", 1, "forward")]),
]

# Invented before the rules were looked at again.
INVENTED = [
    ("mlp", ["shifted input"], [("step", "sub", None, 1, "forward")]),
    ("mlp", ["detach"], [("frozen", None, None, 1, None)]),
    ("mlp", ["leaky"], [("operation", "relu", None, 1, "forward")]),
    ("mlp", ["softmax before loss"], [("step", "_softmax", None, 1, "forward")]),
    ("mlp", ["temperature"], [("step", "div", None, 1, "forward")]),
    ("mlp", ["batch again"], [("data", None, "fc1", 2, "forward")]),
    ("mlp", ["rows"], [("data-order", None, None, 1, "forward")]),
    ("mlp", ["labels"], [("data", None, None, 2, "forward")]),
    ("mlp", ["transposed"], [("weights", None, "fc2", 1, "forward")]),
    ("mlp", ["bias decay"], [("optimizer", None, None, 1, "optimizer")]),
    ("mlp", ["dampening"], [("optimizer", None, None, 2, "optimizer")]),
    ("mlp", ["maximize"], [("optimizer", None, None, 1, "optimizer")]),
    ("mlp", ["buffers reset"], [("optimizer", None, None, 2, "optimizer")]),
    ("mlp", ["eval batch"], [("mode", None, "drop", 2, "forward")]),
    ("mlp", ["second loss"], [("step", "mul", None, 2, None)]),
    ("mlp", ["penalty"], [("step", None, None, 1, None)]),
    ("mlp", ["clip value"], [("step", None, None, 1, None)]),
    ("mlp", ["step twice"], [("optimizer", None, None, None, "optimizer")]),
    ("lenet", ["pool kernel"], [("argument", "kernel_size", None, 1, "forward")]),
    ("lenet", ["height and width"], [("step", "transpose", None, 1, "forward")]),
    ("lenet", ["reflect"], [("step", "reflection_pad2d", "conv1", 1, "forward")]),
    ("lenet", ["adamw"], [("optimizer", None, None, 1, "optimizer")]),
    ("lenet", ["rmsprop"], [("optimizer", None, None, 1, "optimizer")]),
    ("lenet", ["late rate"], [("optimizer", None, None, 2, "optimizer")]),
    ("cnn", ["dilation"], [("argument", None, "conv2", 1, "forward")]),
    ("cnn", ["eps near 2"], [("argument", "eps", "bn2", None, None)]),
    ("cnn", ["no statistics"], [("argument", "running_mean", "bn2", 1, "forward")]),
    ("cnn", ["cumulative"], [("argument", "momentum", "bn2", 1, "forward")]),
    ("cnn", ["flip"], [("step", "flip", None, 1, "forward")]),
    ("cnn", ["pad mode"], [("operation", "constant_pad_nd", None, 1, "forward")]),
    ("cnn", ["pad value"], [("argument", "value", None, 1, "forward")]),
    ("cnn", ["half residual"], [("step", "mul", None, 1, "forward")]),
    ("cnn", ["minus"], [("operation", "add", None, 1, "forward")]),
    ("cnn", ["last relu"], [("step", "silu", None, 1, "forward")]),
    ("lstm", ["reversed"], [("step", "flip", None, 1, "forward")]),
    ("lstm", ["first state"], [("operation", "zeros", "lstm", 1, "forward")]),
    ("lstm", ["rolled"], [("step", "roll", None, 1, "forward")]),
    ("lstm", ["class weights"], [("argument", "weight", None, 1, "forward")]),
    ("lstm", ["lstm smoothing"], [("step", None, None, 1, "forward")]),
    ("gpt", ["heads"], [("argument", None, "blocks.0.attn", 1, "forward")]),
    ("gpt", ["mask off by one"], [("weights", None, "blocks.0.attn", 1, "forward")]),
    ("gpt", ["scale of all"], [("argument", "other", "blocks.0.attn", 1, "forward")]),
    ("gpt", ["half scores"], [("dtype", None, "blocks.0.attn", 1, "forward")]),
    ("gpt", ["heads not moved"], [("step", "transpose", "blocks.0.attn", 1, "forward")]),
    ("gpt", ["one p"], [("argument", "p", "blocks.1.drop", 1, "forward")]),
    ("gpt", ["no norm bias"], [("argument", "bias", "blocks.0.ln1", 1, "forward")]),
    ("gpt", ["norm after"], [("order", None, "blocks.0", 1, "forward")]),
    ("gpt", ["same norm"], [("input", None, "blocks.0", 1, "forward")]),
    ("gpt", ["one tanh"], [("argument", "approximate", "blocks.1", 1, "forward")]),
    ("gpt", ["scaled tokens"], [("step", "mul", None, 1, "forward")]),
    ("gpt", ["no positions"], [("step", "add", None, 1, "forward")]),
    ("gpt", ["no last norm"], [("step", "native_layer_norm", None, 1, "forward")]),
    ("gpt", ["tied"], [("input", None, "head", 1, "forward")]),
    ("gpt", ["shifted labels"], [("data", None, None, 1, "forward")]),
    ("gan", ["d rate"], [("optimizer", None, None, 1, "optimizer")]),
    ("gan", ["half loss"], [("step", "mul", None, 1, None)]),
    ("gan", ["g keeps gradients"], [("gradient-not-zeroed", None, None, 2, "backward")]),
    ("gan", ["g label"], [("input", "target", None, 1, "forward")]),
    ("encoder", ["norm first"], [("order", None, "layers.layers.0", 1, "forward")]),
    ("encoder", ["activation"], [("operation", "relu", "layers.layers.0", 1, "forward")]),
    ("encoder", ["encoder eps"], [("argument", "eps", "layers.layers.0", 1, "forward")]),
    ("encoder", ["groups of norm"], [("argument", "group", "norm", 1, "forward")]),
    ("encoder", ["one of three"], [("argument", "eps", "layers.layers.1.norm2", None, "forward")]),
    ("encoder", ["one p of three"], [("argument", "p", "layers.layers.2", 1, "forward")]),
    ("encoder", ["mask of padding"], [("data", None, "layers", 1, "forward")]),
    ("encoder", ["one eval"], [("mode", None, "layers.layers.1", 2, "forward")]),
    ("encoder", ["rate of step"], [("optimizer", None, None, 1, "optimizer")]),
    ("encoder", ["no padding"], [("step", None, "layers", 1, "forward")]),
    ("encoder", ["count"], [("argument", "count_include_pad", None, 1, "forward")]),
    ("encoder", ["amax"], [("operation", "mean", None, 1, "forward")]),
    ("encoder", ["reduction"], [("operation", "sum", None, 1, "forward")]),
]

# Invented after the rules, in programs that these had not seen.
FURTHER = [
    ("deep", ["eps of one in twelve"], [("argument", "eps", "layers.7.norm1", None, None)]),
    ("decoder", ["late eps"], [("argument", "eps", "layers.2.norm2", 1, "forward")]),
    ("decoder", ["values and keys"], [("input", None, "layers.1", 1, "forward")]),
    ("decoder", ["reshaped keys"], [("step", None, "layers.0", 1, "forward")]),
    ("decoder", ["root of width"], [("argument", "other", "layers.0", 1, "forward")]),
    ("decoder", ["upper mask"], [("operation", "tril", "layers.0", 1, "forward")]),
    ("decoder", ["mask by one"], [("argument", "diagonal", "layers.0", 1, "forward")]),
    ("decoder", ["softmax of columns"], [("argument", "dim", "layers.2", 1, "forward")]),
    ("decoder", ["mix not transposed"], [("step", "t", "layers.1", 1, "forward")]),
    ("decoder", ["detached"], [("frozen", None, None, 1, None)]),
    ("decoder", ["one dropout"], [("step", "dropout", "layers.2", 1, "forward")]),
    ("decoder", ["other buffer"], [("input", None, None, 1, "forward")]),
    ("decoder", ["first of two dropouts"], [("step", "dropout", None, 1, "forward")]),
    ("decoder", ["second of two dropouts"], [("step", "dropout", None, 1, "forward")]),
    ("decoder", ["not tied"], [("tied", None, None, None, None)]),
    ("decoder", ["batches exchanged"], [("data-order", None, None, 2, "forward")]),
    ("decoder", ["betas exchanged"], [("optimizer", None, None, 1, "optimizer")]),
    ("decoder", ["warm-up late"], [("optimizer", None, None, 1, "optimizer")]),
    ("decoder", ["schedule of epochs"], [("optimizer", None, None, 2, "optimizer")]),
    ("decoder", ["schedule late"], [("optimizer", None, None, 2, "optimizer")]),
    ("decoder", ["one more step"], []),
    ("decoder", ["one step less"], []),
    ("decoder", ["gradients stay"], [("gradient-not-zeroed", None, None, 2, "backward")]),
    ("decoder", ["zeroed in each part"], [("gradient-not-zeroed", None, None, 1, "backward")]),
    ("decoder", ["shifted targets"], [("step", "slice", None, 1, "forward")]),
    ("decoder", ["smoothing near"], [("argument", None, None, 1, "forward")]),
    ("decoder", ["parts not averaged"], [("step", "div", None, 1, None)]),
    ("decoder", ["not clipped"], [("step", None, None, 1, None)]),
    ("decoder", ["clip near"], [("argument", None, None, 1, None)]),
    ("decoder", ["clip by sum"], [("argument", "ord", None, 1, None)]),
    ("decoder", ["late eps", "one more step"], [("argument", "eps", "layers.2.norm2", 1, "forward")]),
    ("decoder", ["schedule late", "one more step"], [("optimizer", None, None, 2, "optimizer")]),
    ("vision", ["stride order"], [("argument", "stride", "stem", 1, "forward")]),
    ("vision", ["padding order"], [("argument", "padding", "stem", 1, "forward")]),
    ("vision", ["instance eps"], [("argument", "eps", "norm", 1, "forward")]),
    ("vision", ["nearest"], [("operation", "upsample_bilinear2d", None, 1, "forward")]),
    ("vision", ["corners"], [("argument", "align_corners", None, 1, "forward")]),
    ("vision", ["cat order"], [("input", None, None, 1, "forward")]),
    ("vision", ["space to depth"], [("step", "transpose", None, 1, "forward")]),
    ("vision", ["mean of channels"], [("argument", "dim", None, 1, "forward")]),
    ("vision", ["normalize batch"], [("argument", "dim", None, 1, "forward")]),
    ("vision", ["biased"], [("argument", "correction", None, 1, "forward")]),
    ("vision", ["added near"], [("argument", "other", None, 1, "forward")]),
    ("vision", ["clamped"], [("argument", "min", None, 1, "forward")]),
    ("vision", ["nesterov"], [("optimizer", None, None, 1, "optimizer")]),
    ("vision", ["dampening"], [("optimizer", None, None, 2, "optimizer")]),
    ("vision", ["absolute"], [("operation", "smooth_l1_loss", None, 1, "forward")]),
    ("vision", ["beta"], [("argument", "beta", None, 1, "forward")]),
    ("vision", ["penalty"], [("argument", "other", None, 1, "forward")]),
    ("vision", ["stem not trained"], [("step", "fill", None, 2, None)]),
    ("vision", ["half gradient"], [("step", "mul", None, 1, None)]),
    ("vision", ["average"], [("argument", "alpha", None, None, None)]),
    ("vision", ["average used"], [("step", "copy", None, 2, None)]),
    ("vision", ["instance eps", "beta"], [("argument", "eps", "norm", 1, "forward")]),
    # The other normalization has the same values, so that nothing differs in the end.
    ("vision", ["other norm"], []),
    ("vision", ["stopped"], [("step", "add", None, 1, "forward")]),
    ("predict", ["smallest"], [("operation", "argmax", None, 1, "forward")]),
    ("predict", ["top"], [("operation", "argmax", None, 1, "forward")]),
    ("pick", ["smallest"], [("operation", "argmax", None, 1, "forward")]),
    ("pick", ["argmax of columns"], [("argument", "dim", None, 1, "forward")]),
    ("predict", ["argmax of columns"], [("argument", "dim", None, 1, "forward")]),
]

# Chosen, with what is expected, before the comparison had ever seen these programs. Programs "written differently" compute the same.
HELD_BACK = [
    ("vae", ["variance for deviation"], [("step", "mul", None, 1, "forward")]),
    ("vae", ["half near"], [("argument", "other", None, 1, "forward")]),
    ("vae", ["mean and variance"], [("input", None, None, 1, "forward")]),
    ("vae", ["no noise"], [("step", "add", None, 1, "forward")]),
    ("vae", ["one noise"], [("argument", "size", None, 1, "forward")]),
    ("vae", ["logits twice"], [("step", "sigmoid", None, 1, "forward")]),
    ("vae", ["mean of pixels"], [("argument", "reduction", None, 1, "forward")]),
    # The loss has another value and the same gradients.
    ("vae", ["no one"], [("step", "add", None, 1, "forward")]),
    ("vae", ["sign"], [("argument", "other", None, 1, "forward")]),
    ("vae", ["mean of divergence"], [("operation", "sum", None, 1, "forward")]),
    # The first hides the second.
    ("vae", ["half near", "mean of pixels"], [("argument", "other", None, 1, "forward")]),
    ("vae", ["written differently"], []),
    # Step 1 gives the same bits.
    ("unet", ["group eps near"], [("argument", "eps", "down1.1", 2, "forward")]),
    ("unet", ["dilated up"], [("argument", None, "up", 1, "forward")]),
    ("unet", ["transposed up"], [("weights", None, "up", 1, "forward")]),
    ("unet", ["average"], [("operation", "max_pool2d_with_indices", None, 1, "forward")]),
    ("unet", ["skip before activation"], [("step", "silu", None, 1, "forward")]),
    ("unet", ["skip second"], [("input", None, None, 1, "forward")]),
    ("unet", ["dice of batch"], [("argument", "dim", None, 1, "forward")]),
    ("unet", ["smooth once"], [("step", "add", None, 1, "forward")]),
    # Another kernel of the normalization, so other bits: what is said of it is not fixed here, but where.
    ("unet", ["channels last"], [(None, None, "down1.1", 1, "forward")]),
    ("unet", ["written differently"], []),
    ("translator", ["not packed"], [("step", None, "encoder", 1, "forward")]),
    ("translator", ["lengths by one"], [("data", None, None, 1, "forward")]),
    ("translator", ["order not restored"], [("step", "index_select", None, 1, "forward")]),
    ("translator", ["directions exchanged"], [("argument", "index", None, 1, "forward")]),
    ("translator", ["no tanh"], [("step", "tanh", None, 1, "forward")]),
    ("translator", ["first token"], [("argument", "fill_value", None, 1, "forward")]),
    ("translator", ["state not passed"], [("input", None, "cell", 1, "forward")]),
    ("translator", ["no teacher"], [("input", None, "target", 1, "forward")]),
    ("translator", ["teacher late"], [("argument", "index", None, 1, "forward")]),
    ("translator", ["cut"], [("step", None, None, 1, "backward")]),
    ("translator", ["padding counts"], [("argument", "ignore_index", None, 1, "forward")]),
    ("translator", ["alpha"], [("optimizer", None, None, 1, "optimizer")]),
    ("translator", ["written differently"], []),
    ("vit", ["heads of one"], [("argument", None, "blocks.1", 1, "forward")]),
    ("vit", ["heads before parts"], [("argument", None, "blocks.0", 1, "forward")]),
    ("vit", ["path not scaled"], [("step", "div", "blocks.0", 1, "forward")]),
    ("vit", ["one path"], [("step", None, "blocks.1", 1, "forward")]),
    ("vit", ["post norm"], [("order", None, "blocks.1", 1, "forward")]),
    ("vit", ["quick gelu"], [("operation", "gelu", "blocks.0", 1, "forward")]),
    ("vit", ["patches reshaped"], [("step", "transpose", None, 1, "forward")]),
    ("vit", ["token without position"], [("order", None, None, 1, "forward")]),
    ("vit", ["token last"], [("input", None, None, 1, "forward")]),
    ("vit", ["mean of tokens"], [("operation", "select", None, 1, "forward")]),
    ("vit", ["biases decay"], [("optimizer", None, None, 1, "optimizer")]),
    ("vit", ["warm-up by one"], [("optimizer", None, None, 1, "optimizer")]),
    ("vit", ["flipped"], [("operation", "index", None, 1, "forward")]),
    ("vit", ["labels not mixed"], [("step", None, None, 1, "forward")]),
    ("vit", ["one path", "biases decay"], [("step", None, "blocks.1", 1, "forward")]),
    ("vit", ["norm of token"], []),
    ("vit", ["written differently"], []),
    ("contrast", ["one not normalized"], [("step", None, None, 1, "forward")]),
    ("contrast", ["times temperature"], [("operation", "div", None, 1, "forward")]),
    ("contrast", ["temperature near"], [("argument", "other", None, 1, "forward")]),
    ("contrast", ["labels of zero"], [("operation", "arange", None, 1, "forward")]),
    ("contrast", ["one direction"], [("step", None, None, 1, "forward")]),
    ("contrast", ["target by views"], [("input", None, None, 1, "forward")]),
    ("contrast", ["stop forgotten"], [("step", None, None, 1, "backward")]),
    ("contrast", ["positive and negative"], [("input", None, None, 1, "forward")]),
    ("contrast", ["margin"], [("argument", None, None, 1, "forward")]),
    ("contrast", ["distance"], [("argument", None, None, 1, "forward")]),
    ("contrast", ["swap"], [("step", None, None, 1, "forward")]),
    # What comes after the optimizer belongs to the next step.
    ("contrast", ["slow target"], [("argument", "weight", None, 1, None)]),
    ("contrast", ["target before step"], [(None, None, None, 1, None)]),
    ("contrast", ["written differently"], []),
    ("llama", ["one rms eps"], [("argument", "other", "layers.1.norm1", 1, "forward")]),
    ("llama", ["mean subtracted"], [("step", "sub", "layers.0.norm1", 1, "forward")]),
    ("llama", ["sum of squares"], [("operation", "mean", "layers.0.norm1", 1, "forward")]),
    ("llama", ["interleaved"], [(None, None, "layers.0", 1, "forward")]),
    ("llama", ["other sign"], [("step", "neg", "layers.0", 1, "forward")]),
    ("llama", ["keys not rotated"], [("step", None, "layers.0", 1, "forward")]),
    ("llama", ["keys repeated"], [("operation", None, "layers.0", 1, "forward")]),
    ("llama", ["formula"], [("operation", None, "layers.0", 1, "forward")]),
    ("llama", ["not causal"], [("argument", "is_causal", "layers.0", 1, "forward")]),
    ("llama", ["other scale"], [("argument", "scale", "layers.0", 1, "forward")]),
    ("llama", ["heads not gathered"], [("step", "transpose", "layers.0", 1, "forward")]),
    ("llama", ["residual of norm"], [("input", None, "layers.1", 1, "forward")]),
    ("llama", ["gelu gate"], [("operation", "silu", "layers.0", 1, "forward")]),
    ("llama", ["gate and up"], [("input", None, "layers.0", 1, "forward")]),
    ("llama", ["base"], [("argument", "self", None, 1, "forward")]),
    ("llama", ["positions from one"], [("argument", None, None, 1, "forward")]),
    ("llama", ["cos and sin"], [("input", None, "layers.0", 1, "forward")]),
    ("llama", ["autocast"], [("dtype", None, None, 1, "forward")]),
    ("llama", ["labels not shifted"], [("argument", None, None, 1, "forward")]),
    ("llama", ["written differently"], []),
    ("experts", ["jitter"], [("step", "add", None, 1, "forward")]),
    ("experts", ["softmax after"], [("order", None, None, 1, "forward")]),
    ("experts", ["softmax of tokens"], [("argument", "dim", None, 1, "forward")]),
    ("experts", ["one expert"], [("argument", "k", None, 1, "forward")]),
    ("experts", ["shares not normalized"], [("step", "div", None, 1, "forward")]),
    ("experts", ["not weighted"], [("step", "mul", None, 1, "forward")]),
    ("experts", ["next expert"], [("input", None, "experts", 1, "forward")]),
    ("experts", ["overwritten"], [("operation", None, None, 1, "forward")]),
    ("experts", ["balance"], [("argument", "other", None, 1, "forward")]),
    ("experts", ["not balanced"], [("step", "add", None, 1, "forward")]),
    ("experts", ["written differently"], []),
    ("recommender", ["sum of bag"], [("argument", "mode", "bag", 1, "forward")]),
    ("recommender", ["bounded"], [("step", None, "items", 1, "forward")]),
    ("recommender", ["cosine"], [("operation", None, None, 1, "forward")]),
    ("recommender", ["no bias"], [("step", "add", None, 1, "forward")]),
    ("recommender", ["offsets by one"], [("data", None, "bag", 1, "forward")]),
    ("recommender", ["adagrad"], [("optimizer", None, None, 1, "optimizer")]),
    ("recommender", ["bad is good"], [("input", None, None, 2, "forward")]),
    ("recommender", ["pairs exchanged"], [("input", None, None, 1, "forward")]),
    ("recommender", ["written differently"], []),
    ("masked", ["padding inverted"], [("step", "bitwise_not", None, 1, "forward")]),
    ("masked", ["no padding mask"], [("step", None, "attn", 1, "forward")]),
    ("masked", ["no later mask"], [("step", None, "attn", 1, "forward")]),
    ("masked", ["padding as mask"], [(None, None, "attn", 1, "forward")]),
    ("masked", ["batch second"], [("step", "transpose", "attn", 1, "forward")]),
    ("masked", ["zero attention"], [("step", None, "attn", 1, "forward")]),
    ("masked", ["weights needed"], [("operation", None, "attn", 1, "forward")]),
    ("masked", ["written differently"], []),
    ("trainer", ["no weight norm"], [("step", None, "first", 1, "forward")]),
    ("trainer", ["no spectral norm"], [("step", None, "second", 1, "forward")]),
    ("trainer", ["iterations"], [("step", None, "second", 1, "forward")]),
    ("trainer", ["magnitude of one"], [("weights", None, "first", 1, "forward")]),
    ("trainer", ["alpha of elu"], [("argument", "alpha", None, 1, "forward")]),
    ("trainer", ["copy trained"], [("frozen", None, None, 1, None)]),
    ("trainer", ["period near"], [("optimizer", None, None, 2, "optimizer")]),
    ("trainer", ["eval later"], [("mode", None, None, 2, "forward")]),
    ("trainer", ["fourth power"], [("step", None, None, 2, None)]),
    ("trainer", ["clipped before"], [("order", None, None, 1, None)]),
    ("trainer", ["not unscaled"], [("step", "mul", None, 1, None)]),
    ("trainer", ["zeroed before step"], [("frozen", None, None, 1, None)]),
    ("trainer", ["schedule forgotten"], [("optimizer", None, None, 2, "optimizer")]),
    ("trainer", ["average exchanged"], [("argument", "weight", None, 1, None)]),
    ("trainer", ["buffers not averaged"], [("step", "copy", None, 1, None)]),
    ("trainer", ["alpha of elu", "period near"], [("argument", "alpha", None, 1, "forward")]),
    ("trainer", ["written differently"], []),
]

# They change no bit of what the program ends with.
HARMLESS = [
    ("mlp", ["relu after dropout"]), ("mlp", ["relu6"]), ("lenet", ["ceil"]), ("gpt", ["large mask"]), ("encoder", ["pool 1"]),
]

# Two mistakes at once, of which the second is behind the first, and the classes that healing names.
TWO = [
    ("gpt", ["one eps", "tanh"], ["argument approximate", "argument eps"]),
    ("gpt", ["one eps", "no decay"], ["argument eps", "the optimizer: mul"]),
    ("gpt", ["softmax dim", "one eps"], ["argument dim", "argument eps"]),
    ("cnn", ["momentum", "lr"], ["argument momentum", "the optimizer: alpha"]),
    ("cnn", ["eps", "lr"], ["argument eps", "the optimizer: alpha"]),
    ("cnn", ["pad order", "eps"], ["argument eps", "argument pad"]),
    ("lenet", ["dim", "adam eps"], ["argument dim", "the optimizer: other"]),
    ("gan", ["slope", "beta1"], ["argument negative_slope", "the optimizer: weight"]),
    ("mlp", ["sum", "lr"], ["argument reduction", "the optimizer: alpha"]),
    ("vision", ["instance eps", "beta"], ["argument beta", "argument eps"]),
]


def trace(tch_trace, folder, program, mistakes):
    programs.PLANTED.clear()
    programs.PLANTED.update(mistakes)
    path = os.path.join(folder, "-".join([program, *mistakes]).replace(" ", "_") + ".trace")
    run = PROGRAMS[program]()
    model = next(run)
    with tch_trace.record(path, model=model):
        for _ in run:
            pass
    return os.path.basename(path)


def main(folder, only=None):
    torch.set_num_threads(1)
    tch_trace = recorder()
    if only == ["--originals"]:
        for program in programs.PROGRAMS:
            trace(tch_trace, folder, program, [])
        return
    if only == ["--two"]:
        cases = []
        for program, mistakes, expected in TWO:
            original = f"{program}.trace"
            if not os.path.exists(os.path.join(folder, original)):
                trace(tch_trace, folder, program, [])
            cases.append({"a": original, "b": trace(tch_trace, folder, program, mistakes), "expected": expected})
        with open(os.path.join(folder, "cases.json"), "w") as file:
            json.dump(cases, file, indent=1)
        return
    def equal(pairs):
        return [(program, mistakes, []) for program, mistakes in pairs]

    sets = {
        "--invented": INVENTED + equal(HARMLESS), "--further": FURTHER, "--held-back": HELD_BACK,
        **{name: of.CASES + equal(of.EQUAL) for name, of in (
            ("--unseen", unseen_programs), ("--second", second_programs), ("--third", third_programs),
            ("--fourth", fourth_programs))},
    }
    cases, chosen = [], CASES
    if only and only[0] in sets:
        chosen, only = sets[only[0]], None
    for program, mistakes, expected, *accept in chosen:
        if only and program not in only:
            continue
        original = f"{program}.trace"
        if not os.path.exists(os.path.join(folder, original)):
            trace(tch_trace, folder, program, [])
        words = ["class", "subject", "module", "step", "phase"]
        cases.append({
            "a": original, "b": trace(tch_trace, folder, program, mistakes), "mistakes": mistakes,
            "expected": [dict(zip(words, e)) for e in expected], "accept": accept[0] if accept else [],
        })
    with open(os.path.join(folder, "cases.json"), "w") as file:
        json.dump(cases, file, indent=1)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
