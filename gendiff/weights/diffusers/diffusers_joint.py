"""Rules for two streams, image and text, of `SD3Transformer2DModel` and `FluxTransformer2DModel` of diffusers."""

from gendiff.weights import layouts
from gendiff.weights.rules import Rule, linear

SWAPPED = layouts.SwappedOutputs()


def scaled_first(theirs: str, ours: str) -> tuple[Rule, ...]:
    """Rules for an `AdaLayerNormContinuous`, which has the scales before the shifts."""
    return linear(f"{theirs}.linear", ours, SWAPPED, bias=SWAPPED)


def attention(theirs: str, ours: str, order: layouts.Layout | None = None) -> tuple[Rule, ...]:
    """Rules for attention of one sequence, but for the layer behind it.

    Args:
        theirs: the name of their attention.
        ours: the path of a block of ours, and how the names of a stream begin, as in "block_{block}/own_".
        order: the layout of what their positions turn. None: as ours, since there are none.
    """
    names = " ".join(f"{theirs}.to_{part}" for part in "qkv")
    return (*_turned(names, f"{ours}qkv", order, 2), *_norms(f"{theirs}.norm_", ours, order))


def added_attention(theirs: str, ours: str, order: layouts.Layout | None = None) -> tuple[Rule, ...]:
    """Rules for the part that a text has in their attention, its output included: arguments as for `attention`.

    A text that is only looked at has no query here.
    """
    query, key, value = (f"{theirs}.add_{part}_proj" for part in "qkv")
    return (
        *_turned(f"{query} {key} {value}", f"{ours}qkv", order, 2),
        *_turned(f"{key} {value}", f"{ours}key_value", order, 1),
        *_norms(f"{theirs}.norm_added_", ours, order),
        *linear(f"{theirs}.to_add_out", f"{ours}output"),
    )


def feed_forward(theirs: str, ours: str) -> tuple[Rule, ...]:
    """Rules for a `FeedForward`."""
    return *linear(f"{theirs}.net.0.proj", f"{ours}mlp_0"), *linear(f"{theirs}.net.2", f"{ours}mlp_1")


def streams(block: str, path: str, order: layouts.Layout | None = None) -> tuple[Rule, ...]:
    """Rules for a block of two streams, but for what the condition gives the text.

    Args:
        block: the name of theirs.
        path: that of ours.
        order: as for `attention`.
    """
    text = f"{path}/stream_1_"
    return (
        *linear(f"{block}.norm1.linear", f"{path}/modulation"),
        *attention(f"{block}.attn", f"{path}/", order),
        *linear(f"{block}.attn.to_out.0", f"{path}/output"),
        *feed_forward(f"{block}.ff", f"{path}/"),
        *added_attention(f"{block}.attn", text, order),
        *feed_forward(f"{block}.ff_context", text),
    )


def embeddings() -> tuple[Rule, ...]:
    """Rules for what is told beside the image: time, guidance scale, the pooled text and its tokens."""
    embedder = "time_text_embed"
    layers = {"timestep_embedder": "time", "guidance_embedder": "guidance", "text_embedder": "added"}
    result = [
        rule
        for name, ours in layers.items()
        for number in (1, 2)
        for rule in linear(f"{embedder}.{name}.linear_{number}", f"embedding/{ours}_{number - 1}")
    ]
    return *result, *linear("context_embedder", "text_0")


def _turned(names: str, ours: str, order: layouts.Layout | None, number: int) -> tuple[Rule, ...]:
    """A linear layer whose first outputs, this number of them, positions turn; the last one is the value."""
    if order is None:
        return linear(names, ours)
    turned = (order,) * number
    return linear(names, ours, (*turned, layouts.LINEAR), bias=(*turned, layouts.SAME))


def _norms(theirs: str, ours: str, order: layouts.Layout | None) -> tuple[Rule, ...]:
    layout = layouts.SAME if order is None else order
    return tuple(Rule(f"{ours}norm_{name}/scale", (f"{theirs}{name[0]}.weight",), layout) for name in ("query", "key"))
