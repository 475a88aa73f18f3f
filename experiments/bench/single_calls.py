"""One call of an operation: attention, a convolution, a product, a watermark. Of a decoder, "decode", only the weights.

"watermark" marks the logits of the next token of each text by a green list of a quarter of the `size` tokens; `tokens`
stand before it.
"""

import functools
from typing import Any, NamedTuple

import numpy as np

from experiments.bench.image_networks import build, laid_out, layout, precision, to_torch
from experiments.bench.lazily import (
    attention,
    convolution,
    devices,
    functional,
    jax,
    jnp,
    networks,
    text_watermarks,
    torch,
    transformers,
)
from experiments.bench.workloads import Case, Way, Workload, normal

SECRET = 15485863
"""The key of a watermark."""


def inputs(workload: Workload, _: Any = None) -> dict[str, np.ndarray]:
    """What is read, images channels last."""
    rng, batch, channels, size = np.random.default_rng(0), workload.batch, workload.channels, workload.size
    match workload.kind:
        case "attention":
            shape = batch, workload.tokens, workload.heads, workload.head_size
            return {name: normal(rng, *shape) for name in ("query", "key", "value")}
        case "convolution":
            x = normal(rng, batch, size, size, channels)
            return {"x": x, "kernel": normal(rng, 3, 3, channels, channels) / np.sqrt(9 * channels, dtype=np.float32)}
        case "watermark":
            return {
                "logits": normal(rng, batch, size),
                "ids": rng.integers(0, size, (batch, workload.tokens)).astype(np.int32),
            }
    return {"x": normal(rng, size, size) / np.sqrt(size, dtype=np.float32)}


def init(workload: Workload, key: Any) -> Any:
    """Parameters of the network."""
    return networks.init(build(workload), key, jnp.zeros((1, *workload.shape)))


def flops(workload: Workload) -> float:
    """By formula; a multiplication and an addition are 2."""
    if workload.kind == "attention":
        return 4.0 * workload.batch * workload.heads * workload.tokens**2 * workload.head_size
    if workload.kind == "convolution":
        return 18.0 * workload.batch * (workload.size * workload.channels) ** 2
    return 2.0 * workload.size**3 if workload.kind == "matmul" else 0.0


class _Text(NamedTuple):
    """What a processor of logits knows of the texts."""

    tokens: Any
    length: Any


def ours(workload: Workload, arrays: dict[str, Any], folder: str) -> Way:
    """The call, compiled."""
    if workload.kind == "watermark":
        mark, length = text_watermarks.green_list(SECRET, workload.size), jnp.full((workload.batch,), workload.tokens)
        marked = jax.jit(lambda mark, logits, ids: mark(logits, _Text(ids, length)))
        return Way(
            functools.partial(marked, mark, *arrays.values()), lambda after: {"output": marks(arrays["logits"], after)}
        )
    function: Any = {"attention": attention.attend, "convolution": convolution.convolve}.get(
        workload.kind, lambda x: jnp.matmul(x, x)
    )
    return Way(functools.partial(devices.jit(function), *arrays.values()))


def theirs(workload: Workload, arrays: dict[str, Any], folder: str, mode: str) -> Way:
    """The call by torch or transformers."""
    images, parts = False, list(arrays.values())
    function: Any
    if workload.kind == "convolution":
        function, images = functools.partial(functional.conv2d, padding=1), True
        kernel = arrays["kernel"].permute(3, 2, 0, 1).contiguous(memory_format=layout(mode))
        parts = [to_torch(arrays["x"], mode), kernel]
    elif workload.kind == "watermark":
        arguments: dict[str, Any] = {
            "greenlist_ratio": 0.25,
            "bias": 2.0,
            "hashing_key": SECRET,
            "seeding_scheme": "lefthash",
        }
        function = transformers.WatermarkLogitsProcessor(vocab_size=workload.size, device="cpu", **arguments)
        parts = [arrays["ids"].long(), arrays["logits"]]
    elif workload.kind == "attention":
        parts = [part.transpose(1, 2) for part in parts]
        function = lambda *parts: functional.scaled_dot_product_attention(*parts).transpose(1, 2)  # noqa: E731
    else:
        function = lambda x: torch.matmul(x, x)  # noqa: E731
    call = laid_out(function, mode)

    def run() -> Any:
        with torch.inference_mode(), precision(workload, parts[0]):
            return call(*parts)

    if workload.kind == "watermark":
        return Way(run, lambda after: {"output": marks(arrays["logits"], after)})
    return Way(run, lambda done: {"output": done.movedim(-3, -1) if images else done})


def marks(before: Any, after: Any) -> Any:
    """(the share of logits that a watermark raised, in hundredths, what it added to the others, and to those), which
    any key leaves.

    Keys choose other tokens on each side, so that the logits themselves cannot be equal.
    """
    added = np.asarray(after, np.float64) - np.asarray(before)
    raised = added > 1e-3
    return np.array(
        [
            np.round(raised.mean(), 2),
            np.abs(added[~raised]).max(initial=0.0),
            added[raised].sum() / max(1, int(raised.sum())),
        ]
    )


ATTENTION = Workload("attention", batch=16, tokens=256, heads=16, head_size=8)
WIDE = Workload("convolution", batch=16, size=32, channels=64)
MARKED = Workload("watermark", batch=8, size=49152, tokens=64)
CASES = (
    Case("matmul", "product of two 2048 × 2048 matrices", Workload("matmul", size=2048)),
    Case("attention", "attention alone: batch 16, 256 tokens, 16 heads of 8", ATTENTION),
    Case("convolution_64", "3×3 convolution alone: batch 16, 32×32, 64 channels", WIDE),
)
MARKING = Case(
    "text_watermark", "a green list on the logits of 8 texts, 49,152 tokens; the peer's is transformers'", MARKED
)
