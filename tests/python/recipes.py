"""The recipes of src/recipe in Python, for tests/live/recipes.rs, with torch alone.

    python tests/python/recipes.py CASES RESULTS CHUNKS
    python tests/python/recipes.py --libraries

The second form needs torchvision 0.28.0 and transformers 5.23.0. It holds the models and recipes of
these files against theirs, after the same seed: every tensor of `state_dict` and the state of the
generator, byte for byte. The tests do not need it; it is how the recipes here were found to be
the libraries' own. (With CPU wheels of the libraries in a folder of their own, put on PYTHONPATH,
the torch that is tested stays the one that is installed.)
"""

import math
import sys

import reference
import torch
from recipe_models import MODELS, Attention, Bert, BertWithHeads, Conv1D, Gpt2, Mlp, Predictions, Residual, ResNet, Vit
from torch import nn
from torch.nn import init

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


# --- recipes: of a path and a module ------------------------------------------------------------


def pytorch_default(_, m):
    if hasattr(m, "reset_parameters"):
        m.reset_parameters()


def weights_and_zero_biases(weight_):
    def visit(_, m):
        if isinstance(m, (nn.Linear, *CONVS)):
            weight_(m.weight)
            if m.bias is not None:
                init.zeros_(m.bias)

    return visit


def dcgan(_, m):
    if isinstance(m, CONVS):
        init.normal_(m.weight, 0.0, 0.02)
    elif isinstance(m, BATCH_NORMS) and m.affine:
        init.normal_(m.weight, 1.0, 0.02)
        init.zeros_(m.bias)


def resnet(zero_init_residual):
    def visit(_, m):
        if isinstance(m, nn.Conv2d):
            init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(m, nn.BatchNorm2d):
            init.constant_(m.weight, 1)
            init.constant_(m.bias, 0)
        elif isinstance(m, Residual) and zero_init_residual:
            init.constant_((m.bn3 if hasattr(m, "bn3") else m.bn2).weight, 0)

    return visit


@torch.no_grad()
def transformers_default(m, std):
    if isinstance(m, (nn.Linear, Conv1D)):
        init.normal_(m.weight, std=std)
        if m.bias is not None:
            init.zeros_(m.bias)
    elif isinstance(m, nn.Embedding):
        init.normal_(m.weight, std=std)
        if m.padding_idx is not None:
            init.zeros_(m.weight[m.padding_idx])
    elif isinstance(m, (nn.LayerNorm, *BATCH_NORMS)):
        if m.weight is not None:
            init.ones_(m.weight)
            init.zeros_(m.bias)
        if isinstance(m, BATCH_NORMS):
            m.reset_running_stats()
    elif isinstance(m, nn.LSTM):
        for name, parameter in m.named_parameters():
            init.xavier_uniform_(parameter) if "weight" in name else init.zeros_(parameter)


def gpt2(n_layer, initializer_range):
    def visit(_, m):
        # A range of 0 is not a range to transformers, but for what is GPT-2's own.
        std = initializer_range if isinstance(m, Conv1D) else initializer_range or 0.02
        transformers_default(m, std)
        if isinstance(m, (Attention, Mlp)):
            init.normal_(m.c_proj.weight, std=initializer_range / math.sqrt(2 * n_layer))

    return visit


def bert(initializer_range, _pad_token_id):
    def visit(_, m):
        transformers_default(m, initializer_range or 0.02)
        if isinstance(m, Predictions):
            init.zeros_(m.bias)

    return visit


def vit(path, m):
    if path.startswith("conv_proj") and isinstance(m, nn.Conv2d):
        if path == "conv_proj":
            init.trunc_normal_(m.weight, std=math.sqrt(1 / (m.in_channels * math.prod(m.kernel_size))))
            init.zeros_(m.bias)
        elif path.endswith("conv_last"):
            init.normal_(m.weight, std=math.sqrt(2.0 / m.out_channels))
            init.zeros_(m.bias)
    elif ".mlp." in path and isinstance(m, nn.Linear):
        init.xavier_uniform_(m.weight)
        init.normal_(m.bias, std=1e-6)
    elif path == "heads.pre_logits":
        init.trunc_normal_(m.weight, std=math.sqrt(1 / m.in_features))
        init.zeros_(m.bias)
    elif path == "heads.head":
        init.zeros_(m.weight)
        init.zeros_(m.bias)
    elif path == "encoder":
        init.normal_(m.pos_embedding, std=0.02)
    elif path == "":
        init.zeros_(m.class_token)


@torch.no_grad()
def lstm(_, m):
    if isinstance(m, (nn.LSTM, nn.LSTMCell)):
        for name, parameter in m.named_parameters():
            if "weight_ih" in name:
                init.xavier_uniform_(parameter)
            elif "weight_hh" in name:
                init.orthogonal_(parameter)
            elif "bias" in name:
                init.zeros_(parameter)
                if "bias_ih" in name:
                    parameter.chunk(4)[1].fill_(1)


def kaiming(mode):
    return weights_and_zero_biases(
        lambda weight: init.kaiming_normal_(weight, mode=mode, nonlinearity="relu")
    )


RECIPES = {
    "pytorch_default": lambda: pytorch_default,
    "xavier_uniform": lambda: weights_and_zero_biases(init.xavier_uniform_),
    "xavier_normal": lambda: weights_and_zero_biases(init.xavier_normal_),
    "kaiming_fan_in": lambda: kaiming("fan_in"),
    "kaiming_fan_out": lambda: kaiming("fan_out"),
    "orthogonal": lambda: weights_and_zero_biases(init.orthogonal_),
    "dcgan": lambda: dcgan,
    "resnet": resnet,
    "gpt2": gpt2,
    "bert": bert,
    "vit": lambda: vit,
    "lstm": lambda: lstm,
}


def visit_all(visit, module, path=""):
    """`Module.apply` with paths."""
    for name, child in module.named_children():
        visit_all(visit, child, f"{path}.{name}".lstrip("."))
    visit(path, module)


def run_recipe(case):
    torch.manual_seed(case["seed"])
    torch.set_default_dtype(reference.DTYPES[case["dtype"]])
    model = MODELS[case["model"]]()
    torch.set_default_dtype(torch.float32)
    if case["from_constants"]:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(0.25)
        torch.manual_seed(case["seed"] + 1)
    visit_all(RECIPES[case["recipe"]](*case["arguments"]), model)
    chunks = [reference.chunk(t) for t in model.state_dict().values()]
    chunks.append(reference.chunk(torch.get_rng_state()))
    return None, chunks, list(model.state_dict())


# --- the libraries ------------------------------------------------------------------------------


def same(what, ours, theirs):
    """Makes both after the same seeds and compares all that there is."""
    for seed in (0, 7, 2**40 + 3):
        made = []
        for make in (ours, theirs):
            torch.manual_seed(seed)
            model = make()
            made.append((list(model.state_dict().values()), torch.get_rng_state()))
        (a, state_a), (b, state_b) = made
        assert len(a) == len(b), what
        assert [reference.chunk(t) for t in a] == [reference.chunk(t) for t in b], what
        assert torch.equal(state_a, state_b), what
    print(f"same: {what} ({len(a)} tensors and the state, 3 seeds)")


def compare_with_libraries():
    import torchvision
    import transformers
    from torchvision.models.vision_transformer import ConvStemConfig, VisionTransformer

    assert torch.__version__.split("+")[0] == "2.13.0", torch.__version__
    assert torchvision.__version__.split("+")[0] == "0.28.0", torchvision.__version__
    assert transformers.__version__ == "5.23.0", transformers.__version__

    def visited(model, visit):
        visit_all(visit, model)
        return model

    for name, expansion, blocks in (("resnet18", 1, [2, 2, 2, 2]), ("resnet50", 4, [3, 4, 6, 3])):
        for zero in (False, True):
            same(
                f"torchvision {name}, zero_init_residual={zero}",
                lambda: visited(ResNet(expansion, blocks, 64, 1000), resnet(zero)),
                lambda: getattr(torchvision.models, name)(zero_init_residual=zero),
            )

    # Visited within the constructor, as torchvision does: layer by layer the same fills. The order
    # of a visit of the whole model differs.
    for representation, stem in ((None, None), (5, None), (None, 4), (5, 4)):
        stems = [ConvStemConfig(stem, 3, 1)] if stem else None
        same(
            f"torchvision VisionTransformer, pre_logits {representation}, stem {stem}",
            lambda: Vit(2, 8, 12, 4, representation, stem, vit),
            lambda: VisionTransformer(
                8, 4, 2, 2, 8, 12, num_classes=4, representation_size=representation,
                conv_stem_configs=stems,
            ),
        )

    def anew(model):
        """What `initialize_weights` does to all of a model, whatever its constructor did."""
        for module in model.modules():
            module._is_hf_initialized = False
        model.initialize_weights()
        return model

    for n_layer, width, initializer_range, cross in (
        (2, 8, 0.02, False), (5, 6, 0.3, True), (1, 4, 0.0, False),
    ):
        config = transformers.GPT2Config(
            vocab_size=11, n_positions=6, n_embd=width, n_layer=n_layer, n_head=2,
            initializer_range=initializer_range, add_cross_attention=cross,
        )
        same(
            f"transformers GPT2Model, {n_layer} layers, {initializer_range}, cross {cross}",
            lambda: visited(Gpt2(n_layer, width, 11, 6, cross), gpt2(n_layer, initializer_range)),
            lambda: transformers.GPT2Model(config),
        )

    for layers, initializer_range, pad in ((2, 0.02, 0), (1, 0.3, 3), (1, 0.0, None)):
        config = transformers.BertConfig(
            vocab_size=11, max_position_embeddings=6, hidden_size=8, num_hidden_layers=layers,
            num_attention_heads=2, intermediate_size=16, initializer_range=initializer_range,
            pad_token_id=pad, tie_word_embeddings=False,
        )
        same(
            f"transformers BertModel, {layers} layers, {initializer_range}, padding {pad}",
            lambda: visited(Bert(layers, 8, 11, 6, pad), bert(initializer_range, pad)),
            lambda: transformers.BertModel(config),
        )
        ours = BertWithHeads(layers, 8, 11, 6, pad)
        theirs = transformers.BertForPreTraining(config)
        same(
            f"transformers BertForPreTraining anew, {layers} layers, {initializer_range}",
            lambda: visited(ours, bert(initializer_range, pad)),
            lambda: anew(theirs),
        )


if __name__ == "__main__":
    if sys.argv[1:] == ["--libraries"]:
        compare_with_libraries()
    else:
        reference.RUN["recipe"] = run_recipe
        reference.main()
