"""`GPT2LMHeadModel` of transformers as `networks.LanguageModel`: its fields, and the rules for its parameters.

Its linear layers are stored as (in, out), as here, and queries, keys and values are one array.
"""

from gendiff.core.types import Config
from gendiff.weights import layouts, settings
from gendiff.weights import rules as naming
from gendiff.weights.rules import Arrays, Rule, norm
from gendiff.weights.transformers import transformers_llama

KIND = "GPT2LMHeadModel"
ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu", "silu": "silu"}
DEFAULTS: Config = {
    "vocab_size": 50257,
    "n_positions": 1024,
    "n_ctx": None,  # the same in older files
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "n_inner": None,
    "activation_function": "gelu_new",
    "resid_pdrop": 0.1,  # of training there; the network here has no dropout
    "embd_pdrop": 0.1,
    "attn_pdrop": 0.1,
    "layer_norm_epsilon": 1e-5,
    "initializer_range": 0.02,
    "summary_type": "cls_index",  # of another model on the same trunk
    "summary_use_proj": True,
    "summary_activation": None,
    "summary_proj_to_labels": True,
    "summary_first_dropout": 0.1,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "reorder_and_upcast_attn": False,
    "add_cross_attention": False,
    "use_cache": True,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
    "tie_word_embeddings": True,
    "task_specific_params": None,
    "gradient_checkpointing": False,
    **settings.NOTES_OF_TRANSFORMERS,
    "architectures": (KIND,),
    "model_type": "gpt2",
}
SUPPORTED: dict[str, tuple[object, ...]] = {
    "architectures": ((KIND,), None),
    "model_type": ("gpt2",),
    "activation_function": tuple(ACTIVATIONS),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
}
OPTIONAL: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("n_ctx", "n_inner", "pad_token_id", "bos_token_id"), (int,)),
    "eos_token_id": (int, tuple),
    "summary_activation": (str,),
    "task_specific_params": (dict,),
    **settings.OPTIONAL_NOTES_OF_TRANSFORMERS,
}
PREFIX = "transformer."
"""How every name but the last layer's begins, and not in the files of the first GPT-2 models."""
HEAD, TABLE = transformers_llama.HEAD, "transformer.wte.weight"
BUFFERS = (".attn.bias", ".attn.masked_bias")
"""How the names of masks end, which older files hold."""


def network_fields(config: Config) -> Config:
    """Return the fields of `networks.LanguageModel` that make it equal to the model of a config.json.

    Raises:
        ConfigError: that names the setting and value without a match.
    """
    values = settings.from_config(config, (KIND,), DEFAULTS, SUPPORTED, OPTIONAL)
    for name in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head"):
        settings.refuse_unless(values[name] > 0, KIND, name, values[name], "it must be above 0")
    settings.refuse_unless(
        values["n_ctx"] in (None, values["n_positions"]), KIND, "n_ctx", values["n_ctx"], "it must be n_positions"
    )
    settings.refuse_unless(
        values["n_embd"] % values["n_head"] == 0, KIND, "n_head", values["n_head"], f"it must divide {values['n_embd']}"
    )
    return {
        "vocabulary": values["vocab_size"],
        "context": values["n_positions"],
        "width": values["n_embd"],
        "depth": values["n_layer"],
        "heads": values["n_head"],
        "mlp_width": values["n_inner"],
        "gated": False,
        "activation": ACTIVATIONS[values["activation_function"]],
        "norm": "layer",
        "epsilon": values["layer_norm_epsilon"],
        "bias": True,
        "positions": "learned",
        "tied": values["tie_word_embeddings"],
    }


def rules(config: Config) -> tuple[Rule, ...]:
    """Return the rules for every parameter of the model of a config.json, and no others.

    Raises:
        ConfigError: as `network_fields` does.
    """
    tied = network_fields(config)["tied"]
    block = f"{PREFIX}h.{{block}}"
    layers = {"qkv": "attn.c_attn", "output": "attn.c_proj", "mlp_0": "mlp.c_fc", "mlp_1": "mlp.c_proj"}
    return (
        Rule("token", (TABLE,)),
        Rule("position", (f"{PREFIX}wpe.weight",)),
        *norm(f"{block}.ln_1", "block_{block}/norm_0"),
        *norm(f"{block}.ln_2", "block_{block}/norm_1"),
        *(
            rule
            for ours, theirs in layers.items()
            for rule in naming.linear(f"{block}.{theirs}", f"block_{{block}}/{ours}", layouts.SAME)
        ),
        *norm(f"{PREFIX}ln_f", "output_norm"),
        *(() if tied else (Rule("output/kernel", (HEAD,), layouts.LINEAR),)),
    )


def _used(config: Config, arrays: Arrays) -> Arrays:
    """All may lack "transformer."; the masks of older files and a last layer that copies a tied table are left out."""
    flat = not any(name.startswith(PREFIX) for name in arrays)
    named = {
        f"{PREFIX}{name}" if flat and name != HEAD else name: array
        for name, array in arrays.items()
        if not name.endswith(BUFFERS)
    }
    return transformers_llama.without_copies(network_fields(config), named, TABLE)


params = naming.Conversion(rules, _used)
