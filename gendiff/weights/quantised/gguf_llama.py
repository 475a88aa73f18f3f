"""Models of the family of Llama in GGUF files as `networks.LanguageModel`: its fields, and rules for its parameters.

llama.cpp orders the rows of queries and keys by neighbouring rotary pairs. Nothing fails where they are left so, and
the model is bad: the rules put them back.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.core import trees
from gendiff.core.errors import ConfigError
from gendiff.core.packed import PackedKernel, is_packed
from gendiff.core.types import Config, DType, Params
from gendiff.weights import layouts, settings
from gendiff.weights import rules as naming
from gendiff.weights.quantised import gguf_blocks
from gendiff.weights.quantised.gguf import Gguf, Packed
from gendiff.weights.quantised.packed_kernels import JoinedKernel
from gendiff.weights.rules import Rule, Shape

KIND = "llama"
"""The value of general.architecture, with which the keys of its settings begin."""
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
    "rope.scaling.type": "none",
    "vocab_size": None,
    "expert_count": 0,
    "expert_used_count": 0,
}
SUPPORTED: dict[str, tuple[object, ...]] = {
    "rope.scaling.type": ("none",),
    "expert_count": (0,),
    "expert_used_count": (0,),
}
OPTIONAL: dict[str, tuple[type, ...]] = {
    name: (int,)
    for name in (
        "attention.head_count_kv",
        "attention.key_length",
        "attention.value_length",
        "rope.dimension_count",
        "vocab_size",
    )
}
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
    values = _settings(file)
    heads, width = values["attention.head_count"], values["embedding_length"]
    size = _head_size(values)
    base = _shortest(values["rope.freq_base"])
    return {
        "vocabulary": _vocabulary(file, values),
        "context": values["context_length"],
        "width": width,
        "depth": values["block_count"],
        "heads": heads,
        "key_value_heads": values["attention.head_count_kv"],
        "head_size": None if size * heads == width else size,
        "mlp_width": values["feed_forward_length"],
        "epsilon": _shortest(values["attention.layer_norm_rms_epsilon"]),
        "rotary_base": base,
        "rotary_stretch": _stretch(file, base, size),
        "tied": OUTPUT not in file.tensors,
    }


def rules(file: Gguf) -> tuple[Rule, ...]:
    """Return the rules for every parameter of the model of a file.

    Raises:
        ConfigError: as `network_fields` does.
    """
    fields = network_fields(file)
    heads, shared = fields["heads"], fields["key_value_heads"] or fields["heads"]
    turned = layouts.NeighbourPairs(fields["head_size"] or fields["width"] // heads)
    block = "blk.{block}"
    names = tuple(f"{block}.attn_{part}.weight" for part in "qkv")
    return (
        Rule(TOKEN, (TABLE,)),
        Rule("block_{block}/norm_0/scale", (f"{block}.attn_norm.weight",)),
        Rule("block_{block}/qkv/kernel", names, (turned, turned, layouts.LINEAR), shares=(heads, shared, shared)),
        *naming.linear(f"{block}.attn_output", "block_{block}/output"),
        Rule("block_{block}/norm_1/scale", (f"{block}.ffn_norm.weight",)),
        *naming.linear(f"{block}.ffn_gate {block}.ffn_up", "block_{block}/mlp_0"),
        *naming.linear(f"{block}.ffn_down", "block_{block}/mlp_1"),
        Rule("output_norm/scale", ("output_norm.weight",)),
        Rule("output/kernel", (OUTPUT,), layouts.LINEAR),
    )


def params(file: Gguf, like: Params, *, packed: bool = False) -> Params:
    """Return the tensors of a file as the parameters of `networks.LanguageModel(**network_fields(file))`.

    Args:
        file: as `gguf.load` reads it. Every tensor is used; that of stretched rotary positions is one of the fields.
        like: parameters of that network, or their shapes.
        packed: whether matrices stay as they are (see `gguf_blocks`), but for those of F32: the same weights in less
            memory, and rounded nowhere.

    Raises:
        ImportError: without the package of the extra `language`.
        ConfigError: as `network_fields` does.
        CheckpointMismatchError: as `rules.to_ours` does.
    """
    tensors = {name: tensor for name, tensor in file.tensors.items() if name != STRETCH}
    if not packed:
        return naming.to_ours({name: tensor.numbers() for name, tensor in tensors.items()}, rules(file), like)
    shapes = {name: np.broadcast_to(np.float32(0), tensor.shape) for name, tensor in tensors.items()}

    def make(
        path: str, rule: Rule, names: list[str], expected: Shape, read: Callable[[DType], jax.Array]
    ) -> jax.Array | PackedKernel:
        parts = [tensors[name] for name in names]
        if not all(part.kind in gguf_blocks.KINDS and len(part.shape) == 2 for part in parts):
            return jnp.asarray(rule.joined([part.numbers() for part in parts]), expected.dtype)
        if path == TOKEN:
            return gguf_blocks.kernel(parts[0].kind, parts[0].blocks, parts[0].shape, table=True)
        return _kernel(
            [
                (part.kind, layout.ours(part.blocks).T)
                for part, layout in zip(parts, rule.layouts_of_parts, strict=True)
            ],
            parts,
        )

    return naming.to_ours(shapes, rules(file), like, maker=make)


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


def _kernel(rows: list[tuple[str, np.ndarray]], parts: list[Packed]) -> PackedKernel:
    """One layer of all parts, whose rows (out, bytes) stand in our order."""
    inputs = parts[0].shape[1]
    if len({kind for kind, _ in rows}) == 1:
        blocks = np.concatenate([blocks for _, blocks in rows])
        return gguf_blocks.kernel(rows[0][0], blocks, (inputs, len(blocks)))
    return JoinedKernel(tuple(gguf_blocks.kernel(kind, blocks, (inputs, len(blocks))) for kind, blocks in rows))


def _settings(file: Gguf) -> Config:
    architecture = file.metadata.get("general.architecture")
    if architecture != KIND:
        raise ConfigError(f"general.architecture = {architecture!r}: these rules are for {KIND!r}")
    beginning = f"{KIND}."
    written = {key.removeprefix(beginning): value for key, value in file.metadata.items() if key.startswith(beginning)}
    missing = [name for name in NEEDED if name not in written]
    if missing:
        raise ConfigError(f"{KIND}: {missing[0]} is missing from the metadata")
    values = settings.from_config(written, (KIND,), DEFAULTS, SUPPORTED, OPTIONAL)
    for name in NEEDED[:-1]:
        settings.refuse_unless(values[name] > 0, KIND, name, values[name], "it must be above 0")
    return values


def _head_size(values: Config) -> int:
    heads, width = values["attention.head_count"], values["embedding_length"]
    size: int = values["attention.key_length"] or width // heads
    settings.refuse_unless(
        values["attention.key_length"] is not None or width % heads == 0,
        KIND,
        "attention.head_count",
        heads,
        f"it must divide {width}",
    )
    for name in ("attention.value_length", "rope.dimension_count"):
        settings.refuse_unless(
            values[name] in (None, size), KIND, name, values[name], f"only {size}, all channels of a head"
        )
    return size


def _vocabulary(file: Gguf, values: Config) -> int:
    if TABLE not in file.tensors:
        raise ConfigError(f"{KIND}: the file has no {TABLE}")
    size = file.tensors[TABLE].shape[0]
    settings.refuse_unless(
        values["vocab_size"] in (None, size), KIND, "vocab_size", values["vocab_size"], f"{TABLE} has {size} rows"
    )
    return size


def _stretch(file: Gguf, base: float, size: int) -> tuple[float, float, float, int] | None:
    """The stretch of the rotary positions, from the divisors of their frequencies; the last divisor is the factor."""
    if STRETCH not in file.tensors:
        return None
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
        bool(fits), KIND, STRETCH, f"divisors up to {factor:g}", f"only those that follow from {LLAMA_3}"
    )
    return factor, LLAMA_3["low"], LLAMA_3["high"], int(LLAMA_3["original"])


def _shortest(value: float) -> float:
    """The shortest decimal number that float32 stores as this one: 1e-05 for 9.999999747378752e-06."""
    return float(str(np.float32(value)))
