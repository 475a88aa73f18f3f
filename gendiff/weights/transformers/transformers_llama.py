"""`LlamaForCausalLM` of transformers as `networks.LanguageModel`: its fields, and the rules for its parameters.

SmolLM, Llama 2 and 3, TinyLlama and many others are stored so. `files.load_folder(path, stem="model")` reads their
folders, also in parts.
"""

from collections.abc import Mapping

import numpy as np

from gendiff.core.errors import ConfigError
from gendiff.core.types import Config
from gendiff.weights import layouts, settings
from gendiff.weights import rules as naming
from gendiff.weights.rules import Arrays, Rule
from gendiff.weights.transformers import transformers_rotary

KIND = "LlamaForCausalLM"
ACTIVATIONS = {"silu": "silu", "gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh"}
OF_EVERY_DECODER: Config = {
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "rms_norm_eps": 1e-6,
    "use_cache": True,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
    "tie_word_embeddings": False,
    "attention_dropout": 0.0,  # of training there; the network here has no dropout
    **transformers_rotary.DEFAULTS,
    **settings.NOTES_OF_TRANSFORMERS,
}
DEFAULTS: Config = {
    **OF_EVERY_DECODER,
    "vocab_size": 32000,
    "intermediate_size": 11008,
    "num_key_value_heads": None,
    "max_position_embeddings": 2048,
    "pretraining_tp": 1,
    "attention_bias": False,
    "mlp_bias": False,
    "head_dim": None,
    "rope_interleaved": False,
    "is_llama_config": True,  # a note of SmolLM's
    "transformers.js_config": None,
    "architectures": (KIND,),
    "model_type": "llama",
}
FURTHER: dict[str, tuple[object, ...]] = {
    "rope_interleaved": (False,),
    "pretraining_tp": (1,),  # other values compute the same sums in another order, and are read as this one would be
}
OPTIONAL: dict[str, tuple[type, ...]] = {
    "pad_token_id": (int,),
    "bos_token_id": (int,),
    "eos_token_id": (int, tuple),
    "num_key_value_heads": (int,),
    "head_dim": (int,),
    "transformers.js_config": (dict,),
    **transformers_rotary.OPTIONAL,
    **settings.OPTIONAL_NOTES_OF_TRANSFORMERS,
}
HEAD, TABLE = "lm_head.weight", "model.embed_tokens.weight"
BUFFER = ".rotary_emb.inv_freq"
"""How the names of frequencies end, which older files hold."""


def network_fields(config: Config) -> Config:
    """Return the fields of `networks.LanguageModel` that make it equal to the model of a config.json.

    Raises:
        ConfigError: that names the setting and value without a match.
    """
    values = settings.from_config(config, (KIND,), DEFAULTS, supported(KIND, "llama") | FURTHER, OPTIONAL)
    return {
        **decoder_fields(KIND, values),
        "bias": values["attention_bias"],
        "mlp_bias": None if values["mlp_bias"] == values["attention_bias"] else values["mlp_bias"],
    }


def rules(config: Config) -> tuple[Rule, ...]:
    """Return the rules for every parameter of the model of a config.json, and no others.

    Raises:
        ConfigError: as `network_fields` does.
    """
    return decoder_rules(network_fields(config))


params = naming.Conversion(rules, lambda config, arrays: without_copies(network_fields(config), arrays))


def kind_of(config: Config, types: Mapping[str, str]) -> str:
    """Return which class a configuration is of, by its `architectures` or, without these, its `model_type`.

    Args:
        config: of a config.json.
        types: the values of model_type, and the class of each.

    Raises:
        ConfigError: for one that says none of these.
    """
    named = config.get("architectures") if isinstance(config, Mapping) else None
    if isinstance(named, list | tuple) and len(named) == 1 and named[0] in types.values():
        return str(named[0])
    kind = config.get("model_type") if isinstance(config, Mapping) and named is None else None
    if kind not in types:
        raise ConfigError(
            f"architectures = {named!r} with model_type = {kind!r}: these rules are for {' and '.join(types.values())}"
        )
    return types[str(kind)]


def supported(kind: str, model_type: str) -> dict[str, tuple[object, ...]]:
    """Return the values of those settings of a decoder that have few: its class, its type and its activation."""
    return {
        "architectures": ((kind,), None),
        "model_type": (model_type,),
        "hidden_act": tuple(ACTIVATIONS),
    }


def decoder_fields(kind: str, values: Config) -> Config:
    """Return the fields that decoders of the family of Llama share.

    Args:
        kind: the class, for messages.
        values: its settings.

    Raises:
        ConfigError: for numbers that do not fit each other, and rotary positions without a match.
    """
    heads, width, shared, size = (
        values[name] for name in ("num_attention_heads", "hidden_size", "num_key_value_heads", "head_dim")
    )
    for name in (
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "max_position_embeddings",
    ):
        settings.refuse_unless(values[name] > 0, kind, name, values[name], "it must be above 0")
    fits = shared is None or (shared > 0 and heads % shared == 0)
    settings.refuse_unless(fits, kind, "num_key_value_heads", shared, f"it must divide num_attention_heads = {heads}")
    fits = width % heads == 0 if size is None else size > 0 and size % 2 == 0
    settings.refuse_unless(
        fits, kind, "head_dim", size, f"an even number is needed, or none and {heads} heads that divide {width}"
    )
    return {
        "vocabulary": values["vocab_size"],
        "context": values["max_position_embeddings"],
        "width": width,
        "depth": values["num_hidden_layers"],
        "heads": heads,
        "key_value_heads": shared,
        "head_size": None if size is None or size * heads == width else size,
        "mlp_width": values["intermediate_size"],
        "activation": ACTIVATIONS[values["hidden_act"]],
        "epsilon": values["rms_norm_eps"],
        "tied": values["tie_word_embeddings"],
        **transformers_rotary.fields(kind, values),
    }


def decoder_rules(fields: Config) -> tuple[Rule, ...]:
    """Return the rules for every parameter of a decoder of the family of Llama.

    Args:
        fields: of its network.
    """
    heads, bias = fields["heads"], fields.get("bias", False)
    shares = (heads, *[fields["key_value_heads"] or heads] * 2)
    block = "model.layers.{block}"
    attention, mlp = f"{block}.self_attn", f"{block}.mlp"
    qkv = naming.linear(" ".join(f"{attention}.{part}_proj" for part in "qkv"), "block_{block}/qkv", shares=shares)
    output = naming.linear(f"{attention}.o_proj", "block_{block}/output")
    inner = (
        *naming.linear(f"{mlp}.gate_proj {mlp}.up_proj", "block_{block}/mlp_0"),
        *naming.linear(f"{mlp}.down_proj", "block_{block}/mlp_1"),
    )
    norms = {"norm_0": f"{block}.input_layernorm"}
    if fields.get("norm_after"):
        norms |= {"norm_0_after": f"{block}.post_attention_layernorm", "norm_1": f"{block}.pre_feedforward_layernorm"}
        norms |= {"norm_1_after": f"{block}.post_feedforward_layernorm"}
    else:
        norms |= {"norm_1": f"{block}.post_attention_layernorm"}
    if fields.get("norm_heads"):
        norms |= {"norm_query": f"{attention}.q_norm", "norm_key": f"{attention}.k_norm"}
    return (
        Rule("token", (TABLE,)),
        *(Rule(f"block_{{block}}/{ours}/scale", (f"{theirs}.weight",)) for ours, theirs in norms.items()),
        *_biased(qkv, fields.get("qkv_bias"), bias),
        *_biased(output, bias, bias),
        *_biased(inner, fields.get("mlp_bias"), bias),
        Rule("output_norm/scale", ("model.norm.weight",)),
        *(() if fields["tied"] else (Rule("output/kernel", (HEAD,), layouts.LINEAR),)),
    )


def without_copies(fields: Config, arrays: Arrays, table: str = TABLE) -> Arrays:
    """Return the arrays without buffers, and without a last layer that repeats a tied table.

    Args:
        fields: of the network.
        arrays: by name.
        table: the name of the table of tokens.
    """
    remaining = {name: array for name, array in arrays.items() if not name.endswith(BUFFER)}
    if (
        fields["tied"]
        and HEAD in remaining
        and table in remaining
        and np.array_equal(remaining[HEAD], remaining[table])
    ):
        del remaining[HEAD]
    return remaining


def _biased(candidates: tuple[Rule, ...], specific: bool | None, general: bool) -> tuple[Rule, ...]:
    """The rules, those of biases only where there are some."""
    return tuple(
        rule for rule in candidates if not rule.ours.endswith("/bias") or (general if specific is None else specific)
    )
