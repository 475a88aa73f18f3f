"""How the axes of one array are ordered elsewhere and here; each layout is a bijection.

Torch keeps a linear layer as (out, in) and a convolution as (out, in, height, width); here they are (in, out) and
(height, width, in, out).
"""

import dataclasses
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped


@runtime_checkable
class Layout(Protocol):
    """Two functions, each the inverse of the other."""

    def ours(self, array: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
        """Turn their order of axes into ours."""

    def theirs(self, array: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
        """Turn our order of axes into theirs."""


@dataclasses.dataclass(frozen=True)
class Axes:
    """Their axes in our order; None leaves an array of any rank as it is."""

    order: tuple[int, ...] | None = None

    def ours(self, array: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
        """Transpose by `order`."""
        return array if self.order is None else array.transpose(self.order)

    def theirs(self, array: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
        """Transpose back."""
        return array if self.order is None else array.transpose(np.argsort(self.order))


@dataclasses.dataclass(frozen=True)
class Patches:
    """A convolution over patches, (out, in, size, size), as a linear layer (size · size · in, out).

    Its size and stride are `size`. Size 1 is a convolution of single pixels.
    """

    size: int = 1

    def ours(self, array: Shaped[np.ndarray, "d c u v"]) -> Shaped[np.ndarray, "p d"]:
        """Order the inputs by the rows of a patch, then its columns, then channels."""
        return array.transpose(2, 3, 1, 0).reshape(-1, array.shape[0])

    def theirs(self, array: Shaped[np.ndarray, "p d"]) -> Shaped[np.ndarray, "d c u v"]:
        """Return the kernel again."""
        return array.reshape(self.size, self.size, -1, array.shape[-1]).transpose(3, 2, 0, 1)


@dataclasses.dataclass(frozen=True)
class SwappedInputs:
    """A linear layer (out, in) whose inputs stand in the other order of halves: sines and cosines of the time, say."""

    def ours(self, array: Shaped[np.ndarray, "d c"]) -> Shaped[np.ndarray, "c d"]:
        """Put the second half of the inputs first."""
        return np.roll(array.T, array.shape[1] // 2, 0)

    def theirs(self, array: Shaped[np.ndarray, "c d"]) -> Shaped[np.ndarray, "d c"]:
        """Swap the halves back."""
        return np.roll(array, -(array.shape[0] // 2), 0).T


@dataclasses.dataclass(frozen=True)
class SwappedOutputs:
    """A linear layer (out, in), or its bias (out,), whose outputs have their halves swapped: gates of an MLP, say."""

    def ours(self, array: Shaped[np.ndarray, "d *c"]) -> Shaped[np.ndarray, "*c d"]:
        """Put the second half of the outputs first."""
        return np.roll(array.T, array.shape[0] // 2, -1)

    def theirs(self, array: Shaped[np.ndarray, "*c d"]) -> Shaped[np.ndarray, "d *c"]:
        """Swap the halves back."""
        return np.roll(array, -(array.shape[-1] // 2), -1).T


@dataclasses.dataclass(frozen=True)
class NeighbourPairs:
    """A linear layer (out, in) of queries or keys, or a vector (out,), whose rotary pairs are neighbours.

    The two of a pair of ours are half a head apart. llama.cpp orders the rows of each head by neighbours, as do the
    files of Meta and of FLUX.

    Args:
        size: channels of a head.
    """

    size: int

    def ours(self, array: Shaped[np.ndarray, "d *c"]) -> Shaped[np.ndarray, "*c d"]:
        """Put the first channels of all pairs of a head before the second ones."""
        return array.reshape(-1, self.size // 2, 2, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape).T

    def theirs(self, array: Shaped[np.ndarray, "*c d"]) -> Shaped[np.ndarray, "d *c"]:
        """Put each pair side by side again."""
        rows = array.T
        return rows.reshape(-1, 2, self.size // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


@dataclasses.dataclass(frozen=True)
class FirstOutputs:
    """A linear layer (out, in) of which the first outputs have a layout of their own; the others stand as they are.

    Args:
        count: of the first outputs.
        layout: that of them, of outputs.
    """

    count: int
    layout: NeighbourPairs

    def ours(self, array: Shaped[np.ndarray, "d c"]) -> Shaped[np.ndarray, "c d"]:
        """Order the first outputs."""
        return np.concatenate([self.layout.ours(array[: self.count]), array[self.count :].T], -1)

    def theirs(self, array: Shaped[np.ndarray, "c d"]) -> Shaped[np.ndarray, "d c"]:
        """Order them back."""
        return np.concatenate([self.layout.theirs(array[:, : self.count]), array[:, self.count :].T])


@dataclasses.dataclass(frozen=True)
class PackedInputs:
    """A linear layer (out, in) whose inputs are patches in the order channel, row, column.

    Our order is row, column, channel.

    Args:
        size: side of a patch.
    """

    size: int

    def ours(self, array: Shaped[np.ndarray, "d p"]) -> Shaped[np.ndarray, "p d"]:
        """Order the inputs by the rows of a patch, then its columns, then channels."""
        return Patches(self.size).ours(array.reshape(array.shape[0], -1, self.size, self.size))

    def theirs(self, array: Shaped[np.ndarray, "p d"]) -> Shaped[np.ndarray, "d p"]:
        """Order them by channels first."""
        return Patches(self.size).theirs(array).reshape(array.shape[::-1])


@dataclasses.dataclass(frozen=True)
class PackedOutputs:
    """A linear layer (out, in), or its bias (out,), whose outputs are patches in the order channel, row, column.

    Args:
        size: side of a patch.
    """

    size: int

    def ours(self, array: Shaped[np.ndarray, "p *c"]) -> Shaped[np.ndarray, "*c p"]:
        """Order the outputs by the rows of a patch, then its columns, then channels."""
        return np.moveaxis(array.reshape(-1, self.size, self.size, *array.shape[1:]), 0, 2).reshape(array.shape).T

    def theirs(self, array: Shaped[np.ndarray, "*c p"]) -> Shaped[np.ndarray, "p *c"]:
        """Order them by channels first."""
        rows = array.T
        return np.moveaxis(rows.reshape(self.size, self.size, -1, *rows.shape[1:]), 2, 0).reshape(rows.shape)


@dataclasses.dataclass(frozen=True)
class ScaledOutputs:
    """A linear layer (out, in) that gives a part of what ours gives.

    Args:
        factor: ours over theirs, a power of 2, so that no digit is lost.
    """

    factor: int

    def ours(self, array: Shaped[np.ndarray, "d c"]) -> Shaped[np.ndarray, "c d"]:
        """Multiply."""
        scaled: np.ndarray = array.T * array.dtype.type(self.factor)
        return scaled

    def theirs(self, array: Shaped[np.ndarray, "c d"]) -> Shaped[np.ndarray, "d c"]:
        """Divide."""
        scaled: np.ndarray = array.T / array.dtype.type(self.factor)
        return scaled


@dataclasses.dataclass(frozen=True)
class FirstOfOne:
    """An array with a leading axis of length 1, which ours lacks: a table with an axis for samples, say."""

    def ours(self, array: Shaped[np.ndarray, "one *d"]) -> Shaped[np.ndarray, "*d"]:
        """Take the only entry."""
        only: np.ndarray = array[0]
        return only

    def theirs(self, array: Shaped[np.ndarray, "*d"]) -> Shaped[np.ndarray, "one *d"]:
        """Put the axis back."""
        return array[None]


SAME = Axes()
LINEAR = Axes((1, 0))
CONVOLUTION = Axes((2, 3, 1, 0))
OF_OUTPUTS = SwappedOutputs | NeighbourPairs | FirstOutputs | PackedOutputs | ScaledOutputs
"""Layouts that order or scale outputs. All others are of inputs."""


def of_inputs(layout: Layout) -> Layout:
    """Return the layout of a layer's inputs alone: that of (r, in, …), which shares no outputs with the layer."""
    return LINEAR if isinstance(layout, OF_OUTPUTS) else layout


def of_outputs(layout: Layout) -> Layout:
    """Return the layout of a layer's outputs alone: that of (out, r), which shares no inputs with the layer."""
    return layout if isinstance(layout, OF_OUTPUTS) else LINEAR
