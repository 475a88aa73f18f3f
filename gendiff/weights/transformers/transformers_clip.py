"""`CLIPTextModel` of transformers, with or without its projection, as `networks.TextEncoder`: fields and rules.

Stable Diffusion 1 and 2 keep their encoder of prompts in this form, in the folder `text_encoder`:
`files.load_folder("text_encoder", stem="model")` reads it.
"""

from gendiff.core.types import Config
from gendiff.weights import layouts, settings
from gendiff.weights import rules as naming
from gendiff.weights.rules import Arrays, Rule, linear, norm

KIND, PROJECTED = "CLIPTextModel", "CLIPTextModelWithProjection"
ACTIVATIONS = {"quick_gelu": "quick_gelu", "gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh"}
DEFAULTS: Config = {
    "vocab_size": 49408,
    "hidden_size": 512,
    "intermediate_size": 2048,
    "projection_dim": 512,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "attention_dropout": 0.0,
    "dropout": 0.0,
    "initializer_range": 0.02,
    "initializer_factor": 1.0,
    "pad_token_id": 1,
    "bos_token_id": 49406,
    "eos_token_id": 49407,
    **settings.NOTES_OF_TRANSFORMERS,
    "architectures": (KIND,),
    "model_type": "clip_text_model",
}
SUPPORTED: dict[str, tuple[object, ...]] = {
    "architectures": ((KIND,), (PROJECTED,), None),
    "model_type": ("clip_text_model",),
    "hidden_act": tuple(ACTIVATIONS),
    "attention_dropout": (0.0,),
    "dropout": (0.0,),
}
OPTIONAL: dict[str, tuple[type, ...]] = {
    "pad_token_id": (int,),
    "bos_token_id": (int,),
    **settings.OPTIONAL_NOTES_OF_TRANSFORMERS,
}
FORMER_END = 2
"""The eos_token_id in files of before transformers 4.31: no token of CLIP, it means the largest id of a text."""
PREFIX = "text_model."
"""How every name but the projection's begins in files, and not in a CLIPTextModel in memory since transformers 5.6."""
BUFFER = "text_model.embeddings.position_ids"
"""0, 1, 2, …, which older files hold."""


def network_fields(config: Config) -> Config:
    """Return the fields of `networks.TextEncoder` that make it equal to the model of a config.json.

    Where eos_token_id is 2, as in older files, texts are taken to end with the last id of the vocabulary, as CLIP's do.

    Raises:
        ConfigError: that names the setting and value without a match.
    """
    values = settings.from_config(config, (KIND, PROJECTED), DEFAULTS, SUPPORTED, OPTIONAL)
    end, size = values["eos_token_id"], values["vocab_size"]
    settings.refuse_unless(0 <= end < size, KIND, "eos_token_id", end, f"it must be one of the {size} ids (vocab_size)")
    return {
        "vocabulary": size,
        "positions": values["max_position_embeddings"],
        "width": values["hidden_size"],
        "depth": values["num_hidden_layers"],
        "heads": values["num_attention_heads"],
        "expansion": settings.expansion(KIND, values),
        "causal": True,
        "norm_first": True,
        "activation": ACTIVATIONS[values["hidden_act"]],
        "epsilon": values["layer_norm_eps"],
        "pooling": "end",
        "end": size - 1 if end == FORMER_END else end,
        "projection": values["projection_dim"] if values["architectures"] == (PROJECTED,) else None,
    }


def rules(config: Config) -> tuple[Rule, ...]:
    """Return the rules for every parameter of the model of a config.json.

    Raises:
        ConfigError: as `network_fields` does.
    """
    network_fields(config)
    model, block = "text_model", "text_model.encoder.layers.{block}"
    attention = f"{block}.self_attn"
    return (
        Rule("token", (f"{model}.embeddings.token_embedding.weight",)),
        Rule("position", (f"{model}.embeddings.position_embedding.weight",)),
        *norm(f"{block}.layer_norm1", "block_{block}/norm_0"),
        *linear(f"{attention}.q_proj {attention}.k_proj {attention}.v_proj", "block_{block}/qkv"),
        *linear(f"{attention}.out_proj", "block_{block}/output"),
        *norm(f"{block}.layer_norm2", "block_{block}/norm_1"),
        *linear(f"{block}.mlp.fc1", "block_{block}/mlp_0"),
        *linear(f"{block}.mlp.fc2", "block_{block}/mlp_1"),
        *norm(f"{model}.final_layer_norm", "output_norm"),
        Rule("projection/kernel", ("text_projection.weight",), layouts.LINEAR),
    )


def _used(config: Config, arrays: Arrays) -> Arrays:
    """All may lack "text_model.", as in a CLIPTextModel in memory; older files' buffer of positions is left out."""
    flat = not any(name.startswith(PREFIX) for name in arrays)
    named = {f"{PREFIX}{name}" if flat else name: array for name, array in arrays.items()}
    return {name: array for name, array in named.items() if name != BUFFER}


params = naming.Conversion(rules, _used)
