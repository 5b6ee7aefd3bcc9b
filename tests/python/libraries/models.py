"""The models, and what `tch-init record` is given for each."""

SMALL = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128, "vocab_size": 500}
ENDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}

TORCHVISION = "resnet18 resnet50 vgg11_bn mobilenet_v3_small densenet121 vit_b_16 swin_t"
TIMM = "vit_tiny_patch16_224 convnext_atto efficientnet_b0"

# The config.json of each, small.
TRANSFORMERS = {
    "GPT2LMHeadModel": {"n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 500, **ENDS},
    "BertModel": SMALL,
    "LlamaForCausalLM": SMALL,
    "T5ForConditionalGeneration": {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4, "vocab_size": 500},
    "ViTModel": {**SMALL, "image_size": 32, "patch_size": 8},
    "WhisperForConditionalGeneration": {
        "d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128, "vocab_size": 600,
        "decoder_start_token_id": 3, "max_source_positions": 60, "max_target_positions": 20, **ENDS},
}

EXPRESSIONS = {
    "nn.Transformer": "nn.Transformer(32, 4, 2, 2, 64)",
    "nn.LSTM": "nn.LSTM(20, 30, num_layers=3, bidirectional=True)",
}


# Recorded by the program too, one for each way in which a model is named.
BY_PROGRAM = ("resnet18", "vit_tiny_patch16_224", "LlamaForCausalLM", "nn.LSTM")


def models():
    """(name, EXPR, options) of each."""
    yield from ((name, f"torchvision.models.{name}()", {}) for name in TORCHVISION.split())
    yield from ((name, "timm:create_model", {"args": [name]}) for name in TIMM.split())
    yield from ((name, f"transformers:{name}", {"config": config}) for name, config in TRANSFORMERS.items())
    yield from ((name, expression, {}) for name, expression in EXPRESSIONS.items())
