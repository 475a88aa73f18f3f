"""`Qwen2ForCausalLM` and `Qwen3ForCausalLM` of transformers as `networks.LanguageModel`: fields and rules.

They are decoders as those of Llama. Qwen 2 has biases of queries, keys and values, Qwen 3 normalises queries and keys
of each head instead.
"""

from collections.abc import Mapping

from gendiff.core.errors import ConfigError
from gendiff.core.types import Config
from gendiff.weights import rules as naming
from gendiff.weights import settings
from gendiff.weights.rules import Rule
from gendiff.weights.transformers import transformers_llama

SECOND, THIRD = "Qwen2ForCausalLM", "Qwen3ForCausalLM"
TYPES = {"qwen2": SECOND, "qwen3": THIRD}
FULL, SLIDING = "full_attention", "sliding_attention"
_BOTH: Config = {
    **transformers_llama.OF_EVERY_DECODER,
    "vocab_size": 151936,
    "intermediate_size": 22016,
    "num_key_value_heads": 32,
    "max_position_embeddings": 32768,
    "use_sliding_window": False,
    "sliding_window": 4096,
    "max_window_layers": 28,
    "layer_types": None,
}
DEFAULTS: dict[str, Config] = {
    SECOND: {**_BOTH, "architectures": (SECOND,), "model_type": "qwen2"},
    THIRD: {**_BOTH, "head_dim": 128, "attention_bias": False, "architectures": (THIRD,), "model_type": "qwen3"},
}
OPTIONAL: dict[str, tuple[type, ...]] = {
    **{name: transformers_llama.OPTIONAL[name] for name in transformers_llama.OPTIONAL if name in _BOTH},
    "sliding_window": (int,),
}


def network_fields(config: Config) -> Config:
    """Return the fields of `networks.LanguageModel` that make it equal to the model of a config.json.

    Raises:
        ConfigError: that names the setting and value without a match, such as a sliding window of some layers alone.
    """
    kind = kind_of(config)
    supported = {
        "architectures": ((kind,), None),
        "model_type": (DEFAULTS[kind]["model_type"],),
        "hidden_act": tuple(transformers_llama.ACTIVATIONS),
    }
    values = settings.from_config(
        {name: value for name, value in config.items() if name != "layer_types"},
        (kind,),
        DEFAULTS[kind],
        supported,
        OPTIONAL,
    )
    window = _window(kind, values, config.get("layer_types"))
    extra = {"qkv_bias": True} if kind == SECOND else {"norm_heads": True, "bias": values["attention_bias"]}
    if extra.get("bias"):
        extra["mlp_bias"] = False
    return {**transformers_llama.decoder_fields(kind, {"head_dim": None, **values}), "window": window, **extra}


def rules(config: Config) -> tuple[Rule, ...]:
    """Return the rules for every parameter of the model of a config.json, and no others.

    Raises:
        ConfigError: as `network_fields` does.
    """
    return transformers_llama.decoder_rules(network_fields(config))


params = naming.Conversion(
    rules, lambda config, arrays: transformers_llama.without_copies(network_fields(config), arrays)
)


def kind_of(config: Config) -> str:
    """Return which of the two a configuration is of.

    Raises:
        ConfigError: for one that says neither.
    """
    named = config.get("architectures") if isinstance(config, Mapping) else None
    if isinstance(named, list | tuple) and len(named) == 1 and named[0] in TYPES.values():
        return str(named[0])
    kind = config.get("model_type") if isinstance(config, Mapping) and named is None else None
    if kind not in TYPES:
        raise ConfigError(
            f"architectures = {named!r} with model_type = {kind!r}: these rules are for {SECOND} and {THIRD}"
        )
    return TYPES[kind]


def _window(kind: str, values: Config, layers: object) -> int | None:
    """The window of every layer; transformers lets the first ones see all."""
    window: int | None = values["sliding_window"]
    depth, active = values["num_hidden_layers"], values["use_sliding_window"] and window is not None
    if layers is None:
        layers = [SLIDING if active and number >= values["max_window_layers"] else FULL for number in range(depth)]
        culprit, value = "max_window_layers", values["max_window_layers"]
    else:
        culprit, value = "layer_types", layers
    kinds = set(layers) if isinstance(layers, list | tuple) and len(layers) == depth else set()
    needed = f"all {depth} layers must have one sliding window, or none of them"
    settings.refuse_unless(kinds in ({FULL}, {SLIDING}), kind, culprit, value, needed)
    if kinds == {FULL}:
        return None
    settings.refuse_unless(
        bool(active), kind, culprit, value, "use_sliding_window and sliding_window say that there is none"
    )
    settings.refuse_unless(window is None or window > 0, kind, "sliding_window", window, "it must be above 0")
    return window
