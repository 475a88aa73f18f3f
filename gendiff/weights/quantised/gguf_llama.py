"""Llama, Qwen 2 and 3, Gemma 2 and 3 in GGUF files as `networks.LanguageModel`: fields, and rules for parameters.

Of Llama, as which Mistral is stored, llama.cpp orders the rows of queries and keys by neighbouring rotary pairs.
Nothing fails where they are left so, and the model is bad: the rules put them back. Gains of norms of Gemma are whole
there: transformers adds 1 to what its files hold.
"""

from typing import NamedTuple

import numpy as np

from gendiff.core import trees
from gendiff.core.errors import ConfigError
from gendiff.core.packed import is_packed
from gendiff.core.types import Config, Params
from gendiff.weights import layouts, settings
from gendiff.weights import rules as naming
from gendiff.weights.quantised import gguf_blocks
from gendiff.weights.quantised.gguf import Gguf, Packed
from gendiff.weights.rules import Maker, Rule

NEEDED = (
    "context_length",
    "embedding_length",
    "block_count",
    "feed_forward_length",
    "attention.head_count",
    "attention.layer_norm_rms_epsilon",
)
DEFAULTS: Config = {
    **dict.fromkeys(NEEDED[:-1], 1),
    "attention.layer_norm_rms_epsilon": 1e-5,
    "attention.head_count_kv": None,
    "attention.key_length": None,
    "attention.value_length": None,
    "rope.freq_base": 10_000.0,
    "rope.dimension_count": None,
    "rope.scaling.type": "linear",
    "rope.scaling.factor": 1.0,
    "vocab_size": None,
    "expert_count": 0,
    "expert_used_count": 0,
}
SUPPORTED: dict[str, tuple[object, ...]] = {
    "rope.scaling.type": ("none", "linear"),
    "expert_count": (0,),
    "expert_used_count": (0,),
}
OPTIONAL: dict[str, tuple[type, ...]] = {
    name: (int,)
    for name in (
        "attention.head_count_kv",
        "attention.key_length",
        "attention.value_length",
        "attention.sliding_window",
        "rope.dimension_count",
        "vocab_size",
    )
}
OPTIONAL["final_logit_softcapping"] = (float,)


class Architecture(NamedTuple):
    """What files with one value of general.architecture have in common.

    Attributes:
        fields: of the network, which no setting says.
        settings: those beside DEFAULTS, and what each is where a file has none.
        pairs: whether rows of queries and keys stand by neighbouring rotary pairs.
        largest: blocks of the model of Gemma whose scores are divided by the root of width / heads, not of head size.
    """

    fields: Config = {}
    settings: Config = {}
    pairs: bool = False
    largest: int | None = None


_GEMMA: Config = {"activation": "gelu_tanh", "norm_after": True, "scaled_tokens": True}
_CAPS: Config = {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}
_WINDOW, _PERIOD = "attention.sliding_window", "attention.sliding_window_pattern"
ARCHITECTURES = {
    "llama": Architecture(pairs=True),
    "qwen2": Architecture({"qkv_bias": True}),
    "qwen3": Architecture({"norm_heads": True}),
    "gemma2": Architecture(_GEMMA, {_WINDOW: 4096, _PERIOD: 2, **_CAPS}, largest=46),
    "gemma3": Architecture(
        {**_GEMMA, "norm_heads": True},
        {_WINDOW: None, _PERIOD: 6, "final_logit_softcapping": None, "rope.freq_base_swa": 10_000.0},
        largest=62,
    ),
}
"""By the value of general.architecture, with which the keys of their settings begin."""
NORMS = {
    "norm_0": "attn_norm",
    "norm_0_after": "post_attention_norm",
    "norm_1": "ffn_norm",
    "norm_1_after": "post_ffw_norm",
    "norm_query": "attn_q_norm",
    "norm_key": "attn_k_norm",
}
"""Norms of a block, here and there."""
TOKEN = "token"
"""The path of the table of tokens."""
TABLE, OUTPUT, STRETCH = "token_embd.weight", "output.weight", "rope_freqs.weight"
LLAMA_3 = {"low": 1.0, "high": 4.0, "original": 8192}
"""Numbers of the long contexts of Llama 3.1 and 3.2.

Their files hold only what follows from them and from one factor.
"""


def network_fields(file: Gguf) -> Config:
    """Return the fields of `networks.LanguageModel` that make it equal to the model of a file.

    Raises:
        ConfigError: that names the setting and value without a match.
    """
    kind, values = _settings(file)
    heads, width = values["attention.head_count"], values["embedding_length"]
    size = _head_size(kind, values)
    base = _shortest(values["rope.freq_base"])
    return {
        "vocabulary": _vocabulary(kind, file, values),
        "context": values["context_length"],
        "width": width,
        "depth": values["block_count"],
        "heads": heads,
        "key_value_heads": values["attention.head_count_kv"],
        "head_size": None if size * heads == width else size,
        "mlp_width": values["feed_forward_length"],
        "epsilon": _shortest(values["attention.layer_norm_rms_epsilon"]),
        "rotary_base": base,
        "rotary_stretch": _stretch(kind, file, values, base, size),
        "tied": OUTPUT not in file.tensors,
        **ARCHITECTURES[kind].fields,
        **_gemma_fields(kind, values, size),
    }


def rules(file: Gguf) -> tuple[Rule, ...]:
    """Return the rules for every parameter of the model of a file.

    Raises:
        ConfigError: as `network_fields` does.
    """
    fields = network_fields(file)
    heads, shared = fields["heads"], fields["key_value_heads"] or fields["heads"]
    pairs = ARCHITECTURES[file.metadata["general.architecture"]].pairs
    order = layouts.NeighbourPairs(fields["head_size"] or fields["width"] // heads) if pairs else layouts.LINEAR
    block, layer = "blk.{block}", (order, order, layouts.LINEAR)
    names = " ".join(f"{block}.attn_{part}" for part in "qkv")
    return (
        Rule(TOKEN, (TABLE,)),
        *(Rule(f"block_{{block}}/{ours}/scale", (f"{block}.{theirs}.weight",)) for ours, theirs in NORMS.items()),
        *naming.linear(names, "block_{block}/qkv", layer, shares=(heads, shared, shared)),
        *naming.linear(f"{block}.attn_output", "block_{block}/output"),
        *naming.linear(f"{block}.ffn_gate {block}.ffn_up", "block_{block}/mlp_0"),
        *naming.linear(f"{block}.ffn_down", "block_{block}/mlp_1"),
        Rule("output_norm/scale", ("output_norm.weight",)),
        Rule("output/kernel", (OUTPUT,), layouts.LINEAR),
    )


def params(file: Gguf, like: Params, *, maker: Maker | None = None) -> Params:
    """Return the tensors of a file as the parameters of `networks.LanguageModel(**network_fields(file))`.

    Args:
        file: as `gguf.load` reads it. Every tensor is used; that of stretched rotary positions is one of the fields.
        like: parameters of that network, or their shapes.
        maker: as of `rules.to_ours`. With `packed_reading.as_stored` matrices stay as they are (see `gguf_blocks`), but
            for those of F32: the same weights in less memory, and rounded nowhere.

    Raises:
        ImportError: without the package of the extra `language`.
        ConfigError: as `network_fields` does.
        CheckpointMismatchError: as `rules.to_ours` does.
    """
    tensors = {name: tensor for name, tensor in file.tensors.items() if name != STRETCH}
    return naming.to_ours(tensors, rules(file), like, maker=maker)


def tensors(file: Gguf, params: Params) -> dict[str, Packed]:
    """Write parameters as the tensors of such a file, under its names and in its order: the inverse of `params`.

    Args:
        file: of the same model; what is no parameter is taken from it.
        params: arrays, which become float32, and packed kernels that `gguf_blocks.blocks` writes.

    Raises:
        CheckpointMismatchError: for a parameter without a rule.
        ValueError: as `gguf_blocks.blocks` does.
    """
    ours = trees.paths(params, is_leaf=is_packed)
    result = {STRETCH: file.tensors[STRETCH]} if STRETCH in file.tensors else {}
    for path, rule, names in naming.matched(ours, rules(file)):
        leaf = ours[path]
        if not is_packed(leaf):
            for (name,), part in zip(names, rule.parts(np.asarray(leaf, np.float32)), strict=True):
                raw = np.ascontiguousarray(part).view(np.uint8)
                result[name] = Packed("F32", part.shape, raw.reshape(*part.shape[:-1], -1))
            continue
        kind, raw = gguf_blocks.blocks(leaf)
        rows = [raw] if path == TOKEN else rule.parts(raw.T)
        for (name,), part in zip(names, rows, strict=True):
            result[name] = Packed(kind, (len(part), leaf.inputs), part)
    return result


def _settings(file: Gguf) -> tuple[str, Config]:
    """The architecture, and its settings."""
    kind = file.metadata.get("general.architecture")
    if not isinstance(kind, str) or kind not in ARCHITECTURES:
        raise ConfigError(f"general.architecture = {kind!r}: these rules are for {', '.join(ARCHITECTURES)}")
    beginning = f"{kind}."
    written = {key.removeprefix(beginning): value for key, value in file.metadata.items() if key.startswith(beginning)}
    missing = [name for name in NEEDED if name not in written]
    if missing:
        raise ConfigError(f"{kind}: {missing[0]} is missing from the metadata")
    values = settings.from_config(written, (kind,), {**DEFAULTS, **ARCHITECTURES[kind].settings}, SUPPORTED, OPTIONAL)
    for name in NEEDED[:-1]:
        settings.refuse_unless(values[name] > 0, kind, name, values[name], "it must be above 0")
    settings.check_depth(written, file.tensors)
    return kind, values


def _head_size(kind: str, values: Config) -> int:
    heads, width = values["attention.head_count"], values["embedding_length"]
    size: int = values["attention.key_length"] or width // heads
    settings.refuse_unless(
        values["attention.key_length"] is not None or width % heads == 0,
        kind,
        "attention.head_count",
        heads,
        f"it must divide {width}",
    )
    for name in ("attention.value_length", "rope.dimension_count"):
        settings.refuse_unless(
            values[name] in (None, size), kind, name, values[name], f"only {size}, all channels of a head"
        )
    shared = values["attention.head_count_kv"]
    fits = shared is None or (shared > 0 and heads % shared == 0)
    settings.refuse_unless(fits, kind, "attention.head_count_kv", shared, f"it must divide {heads}")
    return size


def _gemma_fields(kind: str, values: Config, size: int) -> Config:
    """The windows, caps and scale of scores of Gemma; {} for others."""
    largest = ARCHITECTURES[kind].largest
    if largest is None:
        return {}
    depth, window, period = values["block_count"], values[_WINDOW], values[_PERIOD]
    settings.refuse_unless(period > 0, kind, _PERIOD, period, "it must be above 0")
    scalar = values["embedding_length"] // values["attention.head_count"] if depth == largest else size
    fields = {
        "window": window or None,
        "global_blocks": tuple(range(period - 1, depth, period)) if window else (),
        "query_scalar": None if scalar == size else float(scalar),
        "score_cap": values.get("attn_logit_softcapping") or None,
        "logit_cap": values["final_logit_softcapping"] or None,
    }
    if "rope.freq_base_swa" in values:
        fields["local_rotary_base"] = _shortest(values["rope.freq_base_swa"])
    return fields


def _vocabulary(kind: str, file: Gguf, values: Config) -> int:
    if TABLE not in file.tensors:
        raise ConfigError(f"{kind}: the file has no {TABLE}")
    size = file.tensors[TABLE].shape[0]
    settings.refuse_unless(
        values["vocab_size"] in (None, size), kind, "vocab_size", values["vocab_size"], f"{TABLE} has {size} rows"
    )
    return size


def _stretch(
    kind: str, file: Gguf, values: Config, base: float, size: int
) -> tuple[float, float, float, int] | float | None:
    """The stretch of the rotary positions: one factor, or that of Llama 3, from the divisors of their frequencies.

    The last divisor is its factor.
    """
    linear = _shortest(values["rope.scaling.factor"]) if values["rope.scaling.type"] == "linear" else 1.0
    fits = linear >= 1 and (linear == 1 or STRETCH not in file.tensors)
    settings.refuse_unless(fits, kind, "rope.scaling.factor", linear, f"at least 1, and 1 beside {STRETCH}")
    if STRETCH not in file.tensors:
        return None if linear == 1 else linear
    divisors = file.tensors[STRETCH].numbers()
    factor = float(divisors.flat[-1])
    turns = LLAMA_3["original"] * base ** (-np.arange(size // 2) / (size // 2)) / (2 * np.pi)
    share = np.clip((turns - LLAMA_3["low"]) / (LLAMA_3["high"] - LLAMA_3["low"]), 0, 1)
    fits = (
        divisors.shape == share.shape
        and factor >= 1
        and np.allclose(1 / divisors, share + (1 - share) / factor, rtol=1e-4)
    )
    settings.refuse_unless(
        bool(fits), kind, STRETCH, f"divisors up to {factor:g}", f"only those that follow from {LLAMA_3}"
    )
    return factor, LLAMA_3["low"], LLAMA_3["high"], int(LLAMA_3["original"])


def _shortest(value: float) -> float:
    """The shortest decimal number that float32 stores as this one: 1e-05 for 9.999999747378752e-06."""
    return float(str(np.float32(value)))
