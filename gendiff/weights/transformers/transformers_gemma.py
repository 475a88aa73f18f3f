"""`Gemma2ForCausalLM` and `Gemma3ForCausalLM` of transformers as `networks.LanguageModel`: fields and rules.

They are decoders as those of Llama with norms before and after attention and MLP, whose gains are 1 + what the file
holds. Some layers have a sliding window: in Gemma 2 each second one, in Gemma 3 five of six, which also turn by a base
of their own. Gemma 2 caps scores and logits, Gemma 3 normalises the queries and keys of each head. Of
`Gemma3ForConditionalGeneration`, which reads pictures too, the text model is read.
"""

from collections.abc import Mapping

from gendiff.core.types import Config
from gendiff.weights import rules as naming
from gendiff.weights import settings
from gendiff.weights.rules import Arrays, Rule
from gendiff.weights.transformers import transformers_llama, transformers_rotary, transformers_windows
from gendiff.weights.transformers.transformers_windows import FULL, SLIDING

SECOND, THIRD, WITH_PICTURES = "Gemma2ForCausalLM", "Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"
TYPES = {"gemma2": SECOND, "gemma3_text": THIRD}
_BOTH: Config = {
    **{name: value for name, value in transformers_llama.OF_EVERY_DECODER.items() if name != "hidden_act"},
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_act": None,  # stands beside it in some files, and is not used there
    "tie_word_embeddings": True,
    "attention_bias": False,
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
    "sliding_window_size": None,  # another name of it
    "use_bidirectional_attention": None,
    "cache_implementation": None,  # how their cache is built, which changes no number
}
DEFAULTS: dict[str, Config] = {
    SECOND: {
        **_BOTH,
        "vocab_size": 256000,
        "max_position_embeddings": 8192,
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
        "architectures": (SECOND,),
        "model_type": "gemma2",
    },
    THIRD: {
        **_BOTH,
        "vocab_size": 262208,
        "max_position_embeddings": 131072,
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
        "rope_local_base_freq": None,
        "sliding_window_pattern": 6,
        "architectures": (THIRD,),
        "model_type": "gemma3_text",
    },
}
OPTIONAL: dict[str, tuple[type, ...]] = {
    **{name: transformers_llama.OPTIONAL[name] for name in transformers_llama.OPTIONAL if name in _BOTH},
    **dict.fromkeys(("attn_logit_softcapping", "final_logit_softcapping", "rope_local_base_freq"), (float,)),
    **dict.fromkeys(("sliding_window", "sliding_window_size"), (int,)),
    **dict.fromkeys(("hidden_act", "cache_implementation"), (str,)),
}
NOTES_OF_PICTURES = frozenset(
    "text_config vision_config mm_tokens_per_image boi_token_index eoi_token_index image_token_index boi_token_id "
    "eoi_token_id image_token_id bos_token_id eos_token_id pad_token_id initializer_range tie_word_embeddings "
    "architectures model_type dtype torch_dtype transformers_version use_cache".split()
)
"""Settings of WITH_PICTURES beside those of its text model, which say nothing of texts."""
LEFT_OUT = "vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector."
"""How names begin of what reads pictures."""
TEXT_MODEL = {"language_model.": "", "model.language_model.": "model."}
"""How names of its text model begin in files of transformers 4 and 5, and what stands there in files of THIRD."""
GLOBAL_BASE, LOCAL_BASE = 1e6, 1e4
"""Of rotary positions in Gemma 3, where a configuration names none."""


def network_fields(config: Config) -> Config:
    """Return the fields of `networks.LanguageModel` that make it equal to the model of a config.json.

    Raises:
        ConfigError: that names the setting and value without a match.
    """
    config = _of_texts(config)
    kind = transformers_llama.kind_of(config, TYPES)
    values = settings.from_config(
        {name: value for name, value in config.items() if name != "layer_types"},
        (kind,),
        DEFAULTS[kind],
        _supported(kind),
        OPTIONAL,
    )
    window, size, scalar = (values[name] for name in ("sliding_window", "sliding_window_size", "query_pre_attn_scalar"))
    settings.refuse_unless(size in (None, window), kind, "sliding_window_size", size, f"sliding_window = {window}")
    for name in ("query_pre_attn_scalar", "attn_logit_softcapping", "final_logit_softcapping"):
        settings.refuse_unless(values[name] is None or values[name] > 0, kind, name, values[name], "it must be above 0")
    turns, local = ({}, {}) if kind == SECOND else _positions(values)
    decoder = {**values, **turns, "hidden_act": values["hidden_activation"]}
    return {
        **transformers_llama.decoder_fields(kind, decoder),
        **transformers_windows.fields(kind, values, _layers(kind, values, config.get("layer_types"))),
        **local,
        "norm_heads": kind == THIRD,
        "norm": "rms_from_one",
        "norm_after": True,
        "query_scalar": None if scalar == values["head_dim"] else float(scalar),
        "score_cap": values["attn_logit_softcapping"],
        "logit_cap": values["final_logit_softcapping"],
        "scaled_tokens": True,
        "bias": values["attention_bias"],
        "mlp_bias": False if values["attention_bias"] else None,
    }


def rules(config: Config) -> tuple[Rule, ...]:
    """Return the rules for every parameter of the model of a config.json, and no others.

    Raises:
        ConfigError: as `network_fields` does.
    """
    return transformers_llama.decoder_rules(network_fields(config))


def _used(config: Config, arrays: Arrays) -> Arrays:
    """The arrays of the text model, by its names."""
    named = {}
    for name, array in arrays.items():
        begin = next((each for each in TEXT_MODEL if name.startswith(each)), "")
        if not name.startswith(LEFT_OUT):
            named[TEXT_MODEL.get(begin, "") + name.removeprefix(begin)] = array
    used = named if _reads_pictures(config) else arrays
    return transformers_llama.without_copies(network_fields(config), used)


params = naming.Conversion(rules, _used)


def _reads_pictures(config: Config) -> bool:
    named = config.get("architectures")
    return named in ([WITH_PICTURES], (WITH_PICTURES,)) if named else config.get("model_type") == "gemma3"


def _of_texts(config: Config) -> Config:
    """The configuration of the text model of one that reads pictures, too; any other as it is."""
    if not isinstance(config, Mapping) or not _reads_pictures(config):
        return config
    for name in sorted(set(config) - NOTES_OF_PICTURES):
        settings.refuse_unless(name.startswith("_"), WITH_PICTURES, name, config[name], "it is unknown")
    text = config.get("text_config")
    settings.refuse_unless(isinstance(text, Mapping), WITH_PICTURES, "text_config", text, "an object is needed")
    tied = {"tie_word_embeddings": config.get("tie_word_embeddings", True)}
    return {"model_type": "gemma3_text", **tied, **dict(text or {}), "architectures": [THIRD]}


def _supported(kind: str) -> dict[str, tuple[object, ...]]:
    supported = transformers_llama.supported(kind, DEFAULTS[kind]["model_type"])
    del supported["hidden_act"]
    supported |= {"hidden_activation": tuple(transformers_llama.ACTIVATIONS)}
    supported |= {"use_bidirectional_attention": (None, False)}
    return supported | ({} if kind == SECOND else {"attn_logit_softcapping": (None,)})


def _layers(kind: str, values: Config, layers: object) -> object:
    """What each layer is: as written, or all but the last of each period of layers have a window."""
    if layers is not None:
        return layers
    period = 2 if kind == SECOND else values["sliding_window_pattern"]
    settings.refuse_unless(period > 0, kind, "sliding_window_pattern", period, "it must be above 0")
    return [SLIDING if (number + 1) % period else FULL for number in range(values["num_hidden_layers"])]


def _positions(values: Config) -> tuple[Config, Config]:
    """The settings of rotary positions of global layers, and the field of those of the others."""
    nested = values["rope_parameters"] or {}
    fits = set(nested) <= {FULL, SLIDING} and all(isinstance(each, dict) for each in nested.values())
    settings.refuse_unless(fits, THIRD, "rope_parameters", nested, f"only objects named {FULL!r} and {SLIDING!r}")
    bases = {FULL: values["rope_theta"], SLIDING: values["rope_local_base_freq"]}
    for layer, base in ((FULL, GLOBAL_BASE), (SLIDING, LOCAL_BASE)):
        if bases[layer] is None and "rope_theta" not in nested.get(layer, {}):
            bases[layer] = base
    local = transformers_rotary.fields(
        THIRD, {"rope_theta": bases[SLIDING], "rope_scaling": None, "rope_parameters": nested.get(SLIDING)}
    )
    stretch = local["rotary_stretch"]
    settings.refuse_unless(stretch is None, THIRD, "rope_parameters", nested, f"{SLIDING!r} must be of type 'default'")
    turns = {"rope_theta": bases[FULL], "rope_parameters": nested.get(FULL)}
    return turns, {"local_rotary_base": local["rotary_base"]}
