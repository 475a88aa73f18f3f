"""Parameters and operations (FLOPs) of a network: by a formula per kind of layer, and by XLA's count of the program.

The formulas count products: 2 operations per multiplication and addition. Norms, activations, softmax, biases, the
changes of size without a kernel and the look-up of a row are left out, as is usual. XLA counts these too, so its number
is larger where layers are narrow.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax

from gendiff import networks
from gendiff.core import trees
from gendiff.core.types import Params, PyTree
from gendiff.networks import (
    attention,
    convolution,
    critic,
    efficientnet_lite,
    generator,
    inception,
    layers,
    minibatch,
    mixture_of_experts,
    resampling,
    transformer,
)
from gendiff.networks.adversarial.r3gan import R3GANPyramid
from gendiff.networks.blocks.clip_attention import ClipAttention
from gendiff.networks.blocks.sandwich_block import SandwichBlock
from gendiff.networks.calls import Call, recorded
from gendiff.networks.inputs.seen_tokens import SeenTokens
from gendiff.networks.layers.embeddings import Embedding
from gendiff.scaling import cost

Formula = Callable[[Call], int]
"""From one call of a layer to its operations."""

TABLES = ("token", "position", "type", "label")
"""Names of parameters of which each id takes a row."""


@dataclass(frozen=True)
class Accounted:
    """The parameters and operations of a network.

    Args:
        parameters: with embeddings or without, as one asked.
        embedding_parameters: those of the tables of which each id takes a row: tokens, learned positions, kinds of
            tokens, labels.
        forward_flops: operations of one forward pass of the whole batch.
        layers: operations by path, of those layers that have any.
    """

    parameters: int
    embedding_parameters: int
    forward_flops: int
    layers: dict[str, int]

    @property
    def training_flops(self) -> int:
        """Operations of a training step on the same batch: 3 forward passes (see `cost.training_flops`)."""
        return 3 * self.forward_flops


def count(
    network: Any,  # a Linen module: Flax is imported in networks/ alone
    *inputs: PyTree,
    embeddings: bool,
    method: str | None = None,
    params: Params | None = None,
    formulas: Mapping[tuple[type, str], Formula] | None = None,
) -> Accounted:
    """Count parameters and the operations of a forward pass by formula.

    Nothing is computed and no parameter is made. The operations of a last layer count, whether or not it shares the
    table of tokens. Attention counts every pair of tokens, hidden by a mask or not: that is what a program multiplies.

    Args:
        network: of this library, or any Linen module made of its layers.
        *inputs: of the network, with the batch whose operations are counted; arrays may be `jax.ShapeDtypeStruct`s.
        embeddings: whether `parameters` has the tables of embeddings. Hoffmann et al. count them; Kaplan et al. do not,
            and a table that is also the last layer is then left out whole. Laws fitted to one are not those of the
            other.
        method: the name of the method that is called, as in "decode"; None is `__call__`.
        params: of the network, or their shapes. None: those of fresh ones, which `inputs` must then be an example for.
        formulas: of layers of one's own, by (class, method): from a `calls.Call` to its operations. They come before
            those of here.

    Raises:
        TypeError: for what is no Linen module, a layer that has parameters and no formula, and a call with a cache.
        ValueError: for a method that the module lacks.

    References:
        Kaplan et al., 2020, section 2.1 and Table 1; Hoffmann et al., 2022, App. F; Porian et al., 2024, for what the
        choice does (from memory).
    """
    if params is None:
        params = jax.eval_shape(lambda: networks.init(network, jax.random.key(0), *inputs))
    sizes = {path: math.prod(leaf.shape) for path, leaf in trees.paths(params).items()}
    holders = {path.rpartition("/")[0] for path in sizes}
    rules = FORMULAS | dict(formulas or {})
    known = {layer for layer, _ in rules} | set(WITHOUT_PRODUCTS)
    flops: dict[str, int] = {}
    for call in recorded(network, params, *inputs, method=method):
        if call.path in holders and known.isdisjoint(call.layer.__mro__):
            raise TypeError(
                f"{call.layer.__name__} at {call.path or 'the top'!r} has parameters but no formula: give it one by "
                "formulas={(layer, '__call__'): …}, or count the program by accounting.xla_flops"
            )
        formula = next(
            (rules[layer, call.method] for layer in call.layer.__mro__ if (layer, call.method) in rules), None
        )
        if formula is not None:
            flops[call.path] = flops.get(call.path, 0) + formula(call)
    tables = sum(size for path, size in sizes.items() if path.rpartition("/")[2] in TABLES)
    total = sum(sizes.values())
    return Accounted(
        total if embeddings else total - tables,
        tables,
        sum(flops.values()),
        {path: n for path, n in flops.items() if n},
    )


def xla_flops(function: Callable[..., PyTree], *arguments: PyTree) -> float:
    """Return the operations that XLA counts in a program, before it is optimised. Nothing is compiled or computed.

    It counts every operation of every element, exp and its like apart. Where it differs from what runs: the body of a
    loop (`scan`, `while`) counts once, of a condition the dearest branch; a convolution's products with the zeros
    around an image do not count; a kernel that is unfolded or padded with zeros counts whole.

    Args:
        function: of arrays, as `jax.jit` takes it.
        *arguments: of the function; arrays may be `jax.ShapeDtypeStruct`s.

    Raises:
        NotImplementedError: on a platform that has no analysis.
    """
    stated: Mapping[str, float] | None = jax.jit(function).lower(*arguments).cost_analysis()
    if not stated or "flops" not in stated:
        raise NotImplementedError(
            f"XLA has no cost analysis on {jax.default_backend()}: count on a CPU, with JAX_PLATFORMS=cpu"
        )
    return float(stated["flops"])


def _doubling(call: Call) -> int:
    batch, height, width, channels = call.arguments["x"]
    # half a square beyond each edge is cut off
    return int(2 * batch * (height + 1) * (width + 1) * 4 * channels * 4 * call.output[-1])


def _attention(batch: int, queries: int, keys: int, heads: int, size: int) -> int:
    return int(batch * queries * cost.attention_flops(keys, 1, heads, size))


def _image_attention(call: Call) -> int:
    batch, height, width, channels = call.arguments["x"]
    heads = call.fields["heads"]
    return _attention(batch, height * width, height * width, heads, channels // heads)


def _clip_attention(call: Call) -> int:
    if call.arguments.get("cache") is not None:
        raise TypeError("a cache was given, whose kind decides how many keys are met: count whole clips without")
    batch, frames, height, width, channels = call.arguments["x"]
    heads, places = call.fields["heads"], height * width
    rows, tokens = (batch, frames * places) if call.fields["joint"] else (batch * places, frames)
    return _attention(rows, tokens, tokens, heads, channels // heads)


def _self_attention(call: Call) -> int:
    if call.arguments.get("cache") is not None:
        raise TypeError(
            "a cache was given, whose kind decides how many keys are met: count without, and add "
            "cost.attention_flops(context, …)"
        )
    x, heads = call.arguments["x"], call.fields["heads"]
    streams = x if isinstance(x[0], tuple) else (x,)
    queries, keys = (sum(stream[1] for stream in part) for part in (streams[: call.fields["answers"]], streams))
    if call.fields["axial"] is not None:
        keys = call.fields["axial"].visible_tokens(keys)
    return _attention(streams[0][0], queries, keys, heads, call.fields["head_size"] or streams[0][2] // heads)


def _own_attention(call: Call) -> int:
    batch, tokens, width = call.arguments["x"]
    heads = call.fields["heads"]
    return _attention(batch, tokens, tokens, heads, call.fields.get("head_size") or width // heads)


def _cross_attention(call: Call) -> int:
    batch, queries, width = call.arguments["x"]
    heads = call.fields["heads"]
    return _attention(batch, queries, call.arguments["context"][1], heads, width // heads)


def _experts(call: Call) -> int:
    batch, tokens, channels = call.arguments["x"]
    experts, width = call.fields["experts"], call.fields["width"]
    met = (
        tokens * experts.top_k
        if experts.capacity_factor is None
        else experts.number * int(experts.capacities(tokens)[-1])
    )
    return int(2 * batch * channels * (tokens * experts.number + met * width * (3 if call.fields["gated"] else 2)))


FORMULAS: dict[tuple[type, str], Formula] = {
    (layers.Dense, "__call__"): lambda call: 2 * math.prod(call.arguments["x"]) * call.fields["features"],
    (convolution.Convolution, "__call__"): lambda call: (
        2 * math.prod(call.output) * call.fields["size"] ** 2 * call.arguments["x"][-1]
    ),
    (convolution.GroupedConvolution, "__call__"): lambda call: (
        2 * math.prod(call.output) * 9 * call.fields["group_width"]
    ),
    (inception.Unit, "__call__"): lambda call: (
        2 * math.prod(call.output) * math.prod(call.fields["size"]) * call.arguments["x"][-1]
    ),
    (efficientnet_lite.Depthwise, "__call__"): lambda call: 2 * math.prod(call.output) * call.fields["size"] ** 2,
    (resampling.HalvingConvolution, "__call__"): lambda call: 2 * math.prod(call.output) * 16 * call.arguments["x"][-1],
    (resampling.DoublingConvolution, "__call__"): _doubling,
    (attention.ImageAttention, "__call__"): _image_attention,
    (ClipAttention, "__call__"): _clip_attention,
    (transformer.TransformerBlock, "__call__"): _self_attention,
    (transformer.TransformerBlock, "_cross_attention"): _cross_attention,
    (transformer.TransformerBlock, "_own_attention"): _own_attention,
    (SandwichBlock, "__call__"): _own_attention,
    (mixture_of_experts.MixtureOfExperts, "__call__"): _experts,
    (networks.LanguageModel, "_logits"): lambda call: (
        2 * math.prod(call.arguments["x"]) * call.fields["vocabulary"] if call.fields["tied"] else 0
    ),
    (networks.VQAutoencoder, "_quantized"): lambda call: 2 * math.prod(call.arguments["raw"]) * call.fields["entries"],
    (minibatch.MinibatchDiscrimination, "__call__"): lambda call: (
        2 * math.prod(call.arguments["x"]) * call.fields["projections"] * call.fields["dimensions"]
    ),
}
"""(layer, method) -> the operations of a call."""

WITHOUT_PRODUCTS: tuple[type, ...] = (
    *(layers.LayerNorm, layers.RMSNorm, layers.GroupNorm),
    *(
        Embedding,
        SeenTokens,
        generator.LabelledNoise,
        critic.CriticHead,
        networks.TextEncoder,
        networks.LanguageEncoder,
        networks.T5Encoder,
        networks.DiT,
        networks.SingleStreamTransformer,
        networks.PatchNormedAutoencoder,
    ),
    *(R3GANPyramid, mixture_of_experts.ExpertLayer),
)
"""Layers whose own parameters are added, looked up, multiplied entry by entry, or counted by the layer around them."""
