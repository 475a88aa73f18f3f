"""Qwen 3 of transformers as `networks.LanguageEncoder`: a language model whose hidden states encode a prompt.

Z-Image and FLUX.2 [klein] keep it in the folder `text_encoder`: `files.load_folder(path, stem="model")` reads it.
"""

from gendiff.core.errors import CheckpointMismatchError
from gendiff.core.types import Config
from gendiff.weights import rules as naming
from gendiff.weights import settings
from gendiff.weights.rules import Arrays, Rule
from gendiff.weights.transformers import transformers_llama, transformers_qwen

KINDS = ("Qwen3ForCausalLM", "Qwen3Model")
"""A folder of either may hold arrays of the other."""
READ = "_read"
"""The note in a configuration that says which of their hidden_states are read; −1 is the last."""
PREFIX = "model."


def network_fields(config: Config) -> Config:
    """Return the fields of `networks.LanguageEncoder` for the model of a config.json with the note `READ`.

    Raises:
        ConfigError: that names the setting and value without a match.
    """
    fields = _decoder(config)
    depth = fields["depth"]
    read = tuple(number if number >= 0 else depth + 1 + number for number in config.get(READ, (-2,)))
    settings.refuse_unless(
        all(0 < number < depth for number in read), KINDS[0], "num_hidden_layers", depth, f"blocks {read} are read"
    )
    for name, value in (("window", "use_sliding_window"), ("rotary_stretch", "rope_scaling")):
        settings.refuse_unless(fields[name] is None, KINDS[0], value, config.get(value), "none is")
    names = "vocabulary context width heads key_value_heads head_size mlp_width activation epsilon bias rotary_base"
    return {"read": tuple(sorted(read)), **{name: fields[name] for name in names.split()}}


def rules(config: Config) -> tuple[Rule, ...]:
    """Return the rules for every parameter of that network.

    Raises:
        ConfigError: as `network_fields` does.
    """
    rules_of_all = transformers_llama.decoder_rules(_decoder(config))
    return tuple(rule for rule in rules_of_all if rule.ours.startswith(("token", "block")))


def unused(config: Config) -> dict[str, tuple[int, ...]]:
    """Return the shapes, by name, of arrays that no output depends on: those behind the last block that is read.

    Raises:
        ConfigError: as `network_fields` does.
    """
    fields = _decoder(config)
    width, inner, heads = fields["width"], fields["mlp_width"], fields["heads"]
    size = fields["head_size"] or width // heads
    shared = (fields["key_value_heads"] or heads) * size
    layers: dict[str, tuple[int, ...]] = {
        **{"self_attn.q_proj": (heads * size, width), "self_attn.o_proj": (width, heads * size)},
        **{"self_attn.k_proj": (shared, width), "self_attn.v_proj": (shared, width)},
        **{"mlp.gate_proj": (inner, width), "mlp.up_proj": (inner, width), "mlp.down_proj": (width, inner)},
        **{"input_layernorm": (width,), "post_attention_layernorm": (width,)},
        **{"self_attn.q_norm": (size,), "self_attn.k_norm": (size,)},
    }
    shapes: dict[str, tuple[int, ...]] = {f"{PREFIX}norm.weight": (width,)}
    for number in range(network_fields(config)["read"][-1], fields["depth"]):
        block = f"{PREFIX}layers.{number}"
        shapes |= {f"{block}.{name}.weight": shape for name, shape in layers.items()}
        if fields["bias"]:
            biased = (name for name in layers if name.startswith("self_attn") and name.endswith("proj"))
            shapes |= {f"{block}.{name}.bias": layers[name][:1] for name in biased}
    return shapes


def _decoder(config: Config) -> Config:
    """The fields of the whole language model."""
    named = config.get("architectures")
    fits = named is None or (isinstance(named, list | tuple) and len(named) == 1 and named[0] in KINDS)
    settings.refuse_unless(fits, KINDS[0], "architectures", named, f"only {' and '.join(KINDS)}")
    return transformers_qwen.network_fields({**config, "architectures": [transformers_qwen.THIRD]})


def _used(config: Config, arrays: Arrays) -> Arrays:
    """Without what is not read, which must be there: a file that lacks it was cut, or is of another model."""
    flat = not any(name.startswith(PREFIX) for name in arrays)
    prefixed = {f"{PREFIX}{name}" if flat else name: array for name, array in arrays.items()}
    left_out = unused(config)
    if wrong := [name for name, shape in left_out.items() if name not in prefixed or prefixed[name].shape != shape]:
        raise CheckpointMismatchError(f"{len(wrong)} missing or of another shape: {wrong[0]}")
    ends = (transformers_llama.HEAD, transformers_llama.BUFFER)
    return {name: array for name, array in prefixed.items() if not name.endswith(ends)}


params = naming.Conversion(rules, _used, unused)
