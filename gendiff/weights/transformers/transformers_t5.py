"""`T5EncoderModel` of transformers, version 1.1, as `networks.T5Encoder`: fields and rules.

Stable Diffusion 3 keeps it in the folder `text_encoder_3`, FLUX.1 in `text_encoder_2`:
`files.load_folder(path, stem="model")` reads it.
"""

import math

import numpy as np

from gendiff.core.errors import CheckpointMismatchError
from gendiff.core.types import Config
from gendiff.weights import layouts, settings
from gendiff.weights import rules as naming
from gendiff.weights.rules import Arrays, Rule

KIND, WHOLE = "T5EncoderModel", "T5ForConditionalGeneration"
GATES = {"gated-gelu": "gelu_tanh", "gated-silu": "silu"}
"""feed_forward_proj -> the activation of the gate; their "gelu" is the approximation by tanh."""
DEFAULTS: Config = {
    "vocab_size": 32128,
    "d_model": 512,
    "d_kv": 64,
    "d_ff": 2048,
    "num_layers": 6,
    "num_decoder_layers": None,  # of the decoder, which is not read
    "num_heads": 8,
    "relative_attention_num_buckets": 32,
    "relative_attention_max_distance": 128,
    "dropout_rate": 0.1,  # of training there; the network here has no dropout
    "layer_norm_epsilon": 1e-6,
    "initializer_factor": 1.0,
    "feed_forward_proj": "relu",
    "is_encoder_decoder": True,
    "use_cache": True,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "classifier_dropout": 0.0,
    "is_decoder": False,
    "dense_act_fn": None,  # these two follow from feed_forward_proj
    "is_gated_act": None,
    "decoder_start_token_id": None,
    "bos_token_id": None,
    "scale_decoder_outputs": None,
    "tie_word_embeddings": True,
    "output_past": True,
    "n_positions": 512,  # of before 2.0; distances have no end
    "task_specific_params": None,
    **settings.NOTES_OF_TRANSFORMERS,
    "architectures": (KIND,),
    "model_type": "t5",
}
SUPPORTED: dict[str, tuple[object, ...]] = {
    "architectures": ((KIND,), (WHOLE,), ("T5Model",), None),
    "model_type": ("t5",),
    "feed_forward_proj": tuple(GATES),
    "is_decoder": (False,),
}
OPTIONAL: dict[str, tuple[type, ...]] = {
    "num_decoder_layers": (int,),
    "pad_token_id": (int,),
    "bos_token_id": (int,),
    "eos_token_id": (int,),
    "decoder_start_token_id": (int,),
    "classifier_dropout": (float,),
    "dense_act_fn": (str,),
    "is_gated_act": (bool,),
    "scale_decoder_outputs": (bool,),
    "task_specific_params": (dict,),
    **settings.OPTIONAL_NOTES_OF_TRANSFORMERS,
}
TABLE, TIED = "shared.weight", "encoder.embed_tokens.weight"
"""Two names of one table, of which a file has one or both."""
LEFT_OUT = ("decoder.", "lm_head.")
"""How names begin of what is no parameter of the encoder."""


def network_fields(config: Config) -> Config:
    """Return the fields of `networks.T5Encoder` that make it equal to the encoder of the model of a config.json.

    Raises:
        ConfigError: that names the setting and value without a match. Version 1.0, whose MLPs have no gate, is one.
    """
    values = settings.from_config(config, (KIND,), DEFAULTS, SUPPORTED, OPTIONAL)
    gate = values["feed_forward_proj"]
    for name, allowed in (
        ("is_gated_act", (None, True)),
        ("dense_act_fn", (None, "gelu_new" if gate == "gated-gelu" else "silu")),
    ):
        settings.refuse_unless(
            values[name] in allowed, KIND, name, values[name], f"feed_forward_proj = {gate!r} says otherwise"
        )
    size, classes, farthest = (
        values[name] for name in ("d_kv", "relative_attention_num_buckets", "relative_attention_max_distance")
    )
    fits = size > 0 and math.isqrt(size) ** 2 == size and size & (size - 1) == 0
    settings.refuse_unless(fits, KIND, "d_kv", size, "only powers of 4, whose root is exact")
    settings.refuse_unless(
        classes > 0 and classes % 4 == 0,
        KIND,
        "relative_attention_num_buckets",
        classes,
        "only multiples of 4, above 0",
    )
    quarter = classes // 4
    settings.refuse_unless(
        farthest > quarter, KIND, "relative_attention_max_distance", farthest, f"it must be above {quarter}"
    )
    return {
        "vocabulary": values["vocab_size"],
        "width": values["d_model"],
        "depth": values["num_layers"],
        "heads": values["num_heads"],
        "head_size": size,
        "mlp_width": values["d_ff"],
        "activation": GATES[gate],
        "distances": classes,
        "farthest": farthest,
        "epsilon": values["layer_norm_epsilon"],
    }


def rules(config: Config) -> tuple[Rule, ...]:
    """Return the rules for every parameter of the encoder of a config.json.

    Their scores are query · key; ours are divided by the root of the head size, so our queries are as much larger.

    Raises:
        ConfigError: as `network_fields` does.
    """
    scaled = layouts.ScaledOutputs(math.isqrt(network_fields(config)["head_size"]))
    block = "encoder.block.{block}.layer"
    attention, mlp = f"{block}.0.SelfAttention", f"{block}.1.DenseReluDense"
    parts = tuple(f"{attention}.{part}.weight" for part in "qkv")
    return (
        Rule("token", (TABLE,)),
        Rule("distance", (f"{attention.format(block=0)}.relative_attention_bias.weight",)),
        Rule("block_{block}/norm_0/scale", (f"{block}.0.layer_norm.weight",)),
        Rule("block_{block}/qkv/kernel", parts, (scaled, layouts.LINEAR, layouts.LINEAR)),
        Rule("block_{block}/output/kernel", (f"{attention}.o.weight",), layouts.LINEAR),
        Rule("block_{block}/norm_1/scale", (f"{block}.1.layer_norm.weight",)),
        Rule("block_{block}/mlp_0/kernel", (f"{mlp}.wi_0.weight", f"{mlp}.wi_1.weight"), layouts.LINEAR),
        Rule("block_{block}/mlp_1/kernel", (f"{mlp}.wo.weight",), layouts.LINEAR),
        Rule("output_norm/scale", ("encoder.final_layer_norm.weight",)),
    )


def _used(config: Config, arrays: Arrays) -> Arrays:
    """Without the decoder of a whole T5; the table of tokens has either of its two names, or is equal under both."""
    remaining = {name: array for name, array in arrays.items() if not name.startswith(LEFT_OUT)}
    if TIED in remaining:
        tied = remaining.pop(TIED)
        if not np.array_equal(remaining.setdefault(TABLE, tied), tied):
            raise CheckpointMismatchError(f"{TIED} differs from {TABLE}, but the network has one table of tokens")
    return remaining


params = naming.Conversion(rules, _used)
