"""Large pictures in bounded memory: a function of pictures that sees one tile, or a few samples, at a time.

Far enough from the edges of its tiles, `tiled` equals the function itself. Group norms and attention look at the whole
picture, so for them nothing is far enough: an autoencoder with them gives another picture in tiles. With random
parameters the difference is 5 to 25 % of a picture's deviation, as a test measures. Blending hides the seams, and does
not remove that difference.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.core import checks
from gendiff.core.types import ArrayLike, Params, PyTree
from gendiff.networks.layers import image_inputs

Apply = Callable[[Params, ArrayLike], PyTree]
"""A function (params, x of shape (b, h, w, c)) -> an array (b, h2, w2, d) or a pytree of such arrays.

`networks.pure(autoencoder, "decode")` is one.
"""


def tiled(function: Apply, tile: int = 64, overlap: int = 16, margin: int = 0, multiple: int = 1) -> Apply:
    """Return the function, run on overlapping tiles of its input one after the other.

    Outputs are blended linearly where tiles overlap. All lengths are in positions of the smaller grid, of input or
    output: for an autoencoder, in positions of the latent, in both directions. Sizes that fit into one tile are not
    cut. Otherwise neighbours share `overlap` positions or a little more, so that the last tile ends with the picture.
    In the middle of what two tiles share, the weight moves linearly from one to the other over overlap − 2 · margin
    positions; the rest belongs to the tile whose middle is nearer.

    The result equals the function's own at pixels that lie farther from the cut edges of their tiles than an output
    looks, and everywhere if `margin` is as long as that.

    Memory is that of the function on one tile, plus the whole input and output. One tile more costs no compilation.

    Args:
        function: (params, x) -> output. Output sizes are a whole multiple or a whole part of those of x, the same in
            both directions.
        tile: side of a tile.
        overlap: what neighbours share at least, at most a third of the tile.
        margin: what is thrown away at each cut edge of a tile, at most half of the overlap.
        multiple: what divides the position at which a tile begins, for functions that treat places differently, such as
            the autoencoder of FLUX.2 (`Autoencoder.latent_multiple`).

    Raises:
        ValueError: for lengths out of these ranges; when called, for another relation of sizes, and for a concrete x
            that is not finite.
        TypeError: when called, for outputs that are not floating: whole numbers have no blend.
    """
    checks.integer("tile", tile, 1)
    checks.integer("overlap", overlap, 0, tile // 3)
    checks.integer("margin", margin, 0, overlap // 2)
    checks.integer("multiple", multiple, 1)
    if tile % multiple or overlap % multiple:
        raise ValueError(f"tile = {tile}, overlap = {overlap}: both must be multiples of {multiple}")

    def run(params: Params, x: ArrayLike) -> PyTree:
        image_inputs.check_finite("x", x)
        full = jax.eval_shape(function, params, x)
        into, out = _ratio(x, jax.tree.leaves(full))
        rows, columns = (_tiling(size // into, tile, overlap, margin, out, multiple) for size in x.shape[1:3])
        piece = (x.shape[0], into * rows.side, into * columns.side, x.shape[3])
        x = jnp.asarray(x)

        def add(total: PyTree, position: tuple[jax.Array, ...]) -> tuple[PyTree, None]:
            top, left, vertical, horizontal = position
            output = function(params, jax.lax.dynamic_slice(x, (0, into * top, into * left, 0), piece))
            weight = vertical[None, :, None, None] * horizontal[None, None, :, None]

            def blended(before: jax.Array, part: jax.Array) -> jax.Array:
                corner = (0, out * top, out * left, 0)
                now = jax.lax.dynamic_slice(before, corner, part.shape) + weight.astype(part.dtype) * part
                return jax.lax.dynamic_update_slice(before, now, corner)

            return jax.tree.map(blended, total, output), None

        nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), full)
        return jax.lax.scan(add, nothing, _each(rows, columns))[0]

    return run


def sliced(function: Apply, size: int = 1) -> Apply:
    """Return the function, run on `size` samples at a time.

    A last slice that is not full repeats its last sample, unseen in the result.

    Args:
        function: (params, x) -> output, sample by sample.
        size: of a slice, at least 1.

    Raises:
        ValueError: for a size below 1.
    """
    checks.integer("size", size, 1)

    def run(params: Params, x: ArrayLike) -> PyTree:
        image_inputs.check_finite("x", x)
        count = x.shape[0]
        if count <= size:
            return function(params, x)
        slices = -(-count // size)
        rows = jnp.minimum(jnp.arange(slices * size), count - 1).reshape(slices, size)
        done = jax.lax.map(lambda some: function(params, jnp.asarray(x)[some]), rows)
        return jax.tree.map(lambda leaf: leaf.reshape(slices * size, *leaf.shape[2:])[:count], done)

    return run


class _Tiling(NamedTuple):
    """Tiles along one axis: side, starts (n,) on the smaller grid, and weights (n, pixels of the output)."""

    side: int
    starts: np.ndarray
    weights: np.ndarray


def _tiling(size: int, tile: int, overlap: int, margin: int, out: int, multiple: int = 1) -> _Tiling:
    """Tiles that share at least `overlap`, evenly, as few as there can be; the last one ends with the picture.

    A tile of at least three overlaps makes the blends of its two sides disjoint, so that the weights of each pixel sum
    to 1.
    """
    if size % multiple:
        raise ValueError(f"size {size} is no multiple of {multiple}, at which tiles begin")
    side = min(tile, size)
    gaps = -(-(size - side) // (tile - overlap))
    shifts = (size - side) // multiple
    starts = np.array([number * shifts // max(gaps, 1) * multiple for number in range(gaps + 1)], np.int32)
    pixels = out * starts[:, None] + np.arange(out * side)
    weights, blend = np.ones(pixels.shape), out * (overlap - 2 * margin)
    for before in range(gaps):
        # of the blend, in the middle of what the two share
        first = (out * (starts[before] + starts[before + 1] + side) - blend) // 2
        pair = pixels[before : before + 2]
        rise = np.clip((pair - first + 0.5) / blend, 0, 1) if blend else pair >= first
        weights[before] *= 1 - rise[0]
        weights[before + 1] *= rise[1]
    return _Tiling(side, starts, weights)


def _each(rows: _Tiling, columns: _Tiling) -> tuple[jax.Array, ...]:
    """Top, left, and both weights of every tile, row by row."""
    down, across = np.indices((len(rows.starts), len(columns.starts))).reshape(2, -1)
    return tuple(
        map(jnp.asarray, (rows.starts[down], columns.starts[across], rows.weights[down], columns.weights[across]))
    )


def _ratio(x: ArrayLike, full: list[jax.ShapeDtypeStruct]) -> tuple[int, int]:
    """Pixels of x, and of the output, per position of the smaller grid."""
    for leaf in full:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise TypeError(
                f"the function gives {leaf.dtype} of shape {leaf.shape}, which cannot be blended: tile a function of "
                "floats"
            )
    shapes = {leaf.shape[1:3] for leaf in full if len(leaf.shape) == 4}
    if len(shapes) == 1 and all(len(leaf.shape) == 4 for leaf in full):
        ((height, width),) = shapes
        for into, out in ((x.shape[1] // height, 1), (1, height // x.shape[1])):
            if (height * into, width * into) == (x.shape[1] * out, x.shape[2] * out):
                return into, out
    outputs = [leaf.shape for leaf in full]
    raise ValueError(
        f"x has shape {x.shape} and the function gives {outputs}: maps (b, h, w, c) with one whole ratio of sizes are "
        "needed"
    )
