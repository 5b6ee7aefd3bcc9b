"""Plans of models of torchvision, timm and transformers against PyTorch, bit for bit.

No part of `unittest discover`, as it needs these libraries: `python -m unittest tests.record.library_models`.
"""

import time
import unittest
import warnings

from .proof import prove


def torchvision_model(name):
    import torchvision

    return lambda: getattr(torchvision.models, name)()


def timm_model(name):
    import timm

    return lambda: timm.create_model(name)


def transformers_model(name, **config):
    import transformers

    model = getattr(transformers, name)
    return lambda: model(model.config_class(**config))


SMALL = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}

MODELS = {
    **{name: (torchvision_model, name, {}) for name in (
        "resnet18", "resnet50", "vgg11_bn", "mobilenet_v3_small", "densenet121", "vit_b_16", "swin_t")},
    **{name: (timm_model, name, {}) for name in ("vit_tiny_patch16_224", "convnext_atto", "efficientnet_b0")},
    "gpt2": (transformers_model, "GPT2LMHeadModel", {"n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 500}),
    "bert": (transformers_model, "BertModel", {**SMALL, "vocab_size": 500}),
    "llama": (transformers_model, "LlamaForCausalLM", {**SMALL, "vocab_size": 500}),
    "t5": (transformers_model, "T5ForConditionalGeneration", {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4, "vocab_size": 500}),
    "vit": (transformers_model, "ViTModel", {**SMALL, "image_size": 32, "patch_size": 8}),
    "whisper": (transformers_model, "WhisperForConditionalGeneration", {
        "d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
        "encoder_ffn_dim": 128, "decoder_ffn_dim": 128, "vocab_size": 600, "pad_token_id": 0, "bos_token_id": 1,
        "eos_token_id": 2, "decoder_start_token_id": 3, "max_source_positions": 60, "max_target_positions": 20}),
}


def case(name, kind, model, config):
    def test(self):
        construct = kind(model, **config)
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            text = prove(construct, name)
        if name == "resnet50":
            self.assertLess(len(text), 40_000)
        print(f"{name}: {len(text)} bytes, {time.perf_counter() - start:.1f} s", flush=True)

    return test


class LibraryModels(unittest.TestCase):
    """One test a model."""


for _name, (_kind, _model, _config) in MODELS.items():
    setattr(LibraryModels, f"test_{_name}", case(_name, _kind, _model, _config))

if __name__ == "__main__":
    unittest.main()
