"""`MistralForCausalLM` of transformers as `networks.LanguageModel`: fields and rules.

It is a decoder as those of Llama. In files of its first version every layer has a sliding window.
"""

from gendiff.core.types import Config
from gendiff.weights import rules as naming
from gendiff.weights import settings
from gendiff.weights.rules import Rule
from gendiff.weights.transformers import transformers_llama, transformers_windows

KIND = "MistralForCausalLM"
DEFAULTS: Config = {
    **transformers_llama.OF_EVERY_DECODER,
    "vocab_size": 32000,
    "intermediate_size": 14336,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131072,
    "head_dim": None,
    "sliding_window": 4096,
    "architectures": (KIND,),
    "model_type": "mistral",
}
OPTIONAL: dict[str, tuple[type, ...]] = {
    **{name: transformers_llama.OPTIONAL[name] for name in transformers_llama.OPTIONAL if name in DEFAULTS},
    "sliding_window": (int,),
}


def network_fields(config: Config) -> Config:
    """Return the fields of `networks.LanguageModel` that make it equal to the model of a config.json.

    Raises:
        ConfigError: that names the setting and value without a match.
    """
    values = settings.from_config(config, (KIND,), DEFAULTS, transformers_llama.supported(KIND, "mistral"), OPTIONAL)
    layer = transformers_windows.FULL if values["sliding_window"] is None else transformers_windows.SLIDING
    layers = (layer,) * values["num_hidden_layers"]
    return {**transformers_llama.decoder_fields(KIND, values), **transformers_windows.fields(KIND, values, layers)}


def rules(config: Config) -> tuple[Rule, ...]:
    """Return the rules for every parameter of the model of a config.json, and no others.

    Raises:
        ConfigError: as `network_fields` does.
    """
    return transformers_llama.decoder_rules(network_fields(config))


params = naming.Conversion(
    rules, lambda config, arrays: transformers_llama.without_copies(network_fields(config), arrays)
)
