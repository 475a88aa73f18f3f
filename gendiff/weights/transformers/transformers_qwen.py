"""`Qwen2ForCausalLM` and `Qwen3ForCausalLM` of transformers as `networks.LanguageModel`: fields and rules.

They are decoders as those of Llama. Qwen 2 has biases of queries, keys and values, Qwen 3 normalises queries and keys
of each head instead.
"""

from gendiff.core.types import Config
from gendiff.weights import rules as naming
from gendiff.weights import settings
from gendiff.weights.rules import Rule
from gendiff.weights.transformers import transformers_llama, transformers_windows
from gendiff.weights.transformers.transformers_windows import FULL, SLIDING

SECOND, THIRD = "Qwen2ForCausalLM", "Qwen3ForCausalLM"
TYPES = {"qwen2": SECOND, "qwen3": THIRD}
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
        ConfigError: that names the setting and value without a match, such as a layer of an unknown type.
    """
    kind = transformers_llama.kind_of(config, TYPES)
    values = settings.from_config(
        {name: value for name, value in config.items() if name != "layer_types"},
        (kind,),
        DEFAULTS[kind],
        transformers_llama.supported(kind, DEFAULTS[kind]["model_type"]),
        OPTIONAL,
    )
    extra = {"qkv_bias": True} if kind == SECOND else {"norm_heads": True, "bias": values["attention_bias"]}
    if extra.get("bias"):
        extra["mlp_bias"] = False
    fields = transformers_llama.decoder_fields(kind, {"head_dim": None, **values})
    return {**fields, **_windows(kind, values, config.get("layer_types")), **extra}


def rules(config: Config) -> tuple[Rule, ...]:
    """Return the rules for every parameter of the model of a config.json, and no others.

    Raises:
        ConfigError: as `network_fields` does.
    """
    return transformers_llama.decoder_rules(network_fields(config))


params = naming.Conversion(
    rules, lambda config, arrays: transformers_llama.without_copies(network_fields(config), arrays)
)


def _windows(kind: str, values: Config, layers: object) -> Config:
    """The windows of the layers, of which transformers lets the first ones see all."""
    window = values["sliding_window"] if values["use_sliding_window"] else None
    if layers is None:
        first = values["max_window_layers"] if window is not None else values["num_hidden_layers"]
        layers = [SLIDING if number >= first else FULL for number in range(values["num_hidden_layers"])]
    return transformers_windows.fields(kind, {**values, "sliding_window": window}, layers)
