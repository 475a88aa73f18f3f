"""Low-rank changes of their layers as one change of a kernel of ours, and back.

A kernel of ours may be several layers of theirs side by side, such as queries, keys and values. Each of these has two
factors of its own. The first factors then stand side by side in A, and the second ones form the blocks of B, which is 0
elsewhere:

    (A₁ A₂) (B₁ 0 ; 0 B₂) = (A₁ B₁  A₂ B₂)

Layers with one and the same first factor share it. Back, each layer gets the columns of A whose rows in its part of B
are not all 0. So any change of ours has factors in their layout, and both ways are exact.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gendiff.core.low_rank import LowRank
from gendiff.core.types import DType
from gendiff.weights import layouts
from gendiff.weights.rules import Rule


class Factors(NamedTuple):
    """A change of one layer of theirs, up · down.

    Attributes:
        down: (r, in), or (r, in, height, width) of a convolution.
        up: (out, r), or (out, r, 1, 1) of a convolution.
    """

    down: np.ndarray
    up: np.ndarray


def shapes(rule: Rule, kernel: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the shape of each foreign layer of a kernel.

    Args:
        rule: of the kernel.
        kernel: shape of ours.

    Raises:
        ValueError: for a kernel that has no such parts.
    """
    return [part.shape for part in rule.parts(np.broadcast_to(np.zeros((), np.float32), kernel))]


def joined(rule: Rule, kernel: tuple[int, ...], parts: Mapping[int, Factors], dtype: DType = np.float32) -> LowRank:
    """Join the changes of the layers of one kernel.

    Args:
        rule: of the kernel.
        kernel: its shape.
        parts: the number of a layer in the rule -> its factors; a layer that is left out does not change.
        dtype: of both factors.
    """
    ends = np.cumsum([shape[0] for shape in shapes(rule, kernel)])
    downs: list[np.ndarray] = []
    ups: list[np.ndarray] = []
    for number, factors in sorted(parts.items()):
        layout, rank = rule.layouts_of_parts[number], factors.down.shape[0]
        down = layouts.of_inputs(layout).ours(np.asarray(factors.down, dtype)).reshape(-1, rank)
        up = layouts.of_outputs(layout).ours(np.asarray(factors.up, dtype).reshape(-1, rank))
        position = next((at for at, other in enumerate(downs) if np.array_equal(other, down)), None)
        if position is None:
            position = len(downs)
            downs.append(down)
            ups.append(np.zeros((rank, kernel[-1]), dtype))
        ups[position][:, ends[number] - up.shape[-1] : ends[number]] = up
    return LowRank(jnp.asarray(np.concatenate(downs, 1)), jnp.asarray(np.concatenate(ups, 0)))


def split(rule: Rule, kernel: tuple[int, ...], change: LowRank) -> dict[int, Factors]:
    """Split the change of a kernel: the number of each layer that changes -> its factors.

    A change of 0 has those of all layers.

    Args:
        rule: of the kernel.
        kernel: its shape.
        change: of ours.
    """
    down, up = np.asarray(change.down), np.asarray(change.up)
    parts: dict[int, Factors] = {}
    begin = 0
    for number, shape in enumerate(shapes(rule, kernel)):
        block = up[:, begin : begin + shape[0]]
        begin += shape[0]
        used = block.any(1) if up.any() else np.ones(len(up), bool)
        if used.any():
            parts[number] = _theirs(rule.layouts_of_parts[number], kernel, shape, down[:, used], block[used])
    return parts


def _theirs(
    layout: layouts.Layout,
    kernel: tuple[int, ...],
    shape: tuple[int, ...],
    down: Float[np.ndarray, "p r"],
    up: Float[np.ndarray, "r d"],
) -> Factors:
    rank = up.shape[0]
    first = layouts.of_inputs(layout).theirs(down.reshape(*kernel[:-1], rank))
    second = layouts.of_outputs(layout).theirs(up).reshape(shape[0], rank, *(1,) * (len(shape) - 2))
    return Factors(np.ascontiguousarray(first), np.ascontiguousarray(second))
