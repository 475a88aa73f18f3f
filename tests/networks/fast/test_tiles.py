"""Tiles and slices give what the whole gives, wherever that is possible, in less memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import networks
from gendiff.networks import convolution, diagonal_gaussian, tiles
from tests.networks.rig import moved
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table

pytestmark = pytest.mark.numbers

RNG = np.random.default_rng(0)
KERNELS = [jax.device_put(RNG.normal(size=(3, 3, 2, 2)).astype(np.float32) / 4) for _ in range(3)]
LATENT = RNG.normal(size=(2, 20, 27, 2)).astype(np.float32)
REACH = 2
"""Positions that an output of `up` or `down` looks at beyond its own: 1 + 1/2 + 1/4, rounded up."""


def up(kernels, x):
    """A decoder of factor 4 without norms and attention. Biases would hide what a border does."""
    y = jnp.tanh(convolution.convolve(x, kernels[0]))
    y = jnp.tanh(convolution.convolve(convolution.double(y), kernels[1]))
    return convolution.convolve(convolution.double(y), kernels[2]) + 1


def down(kernels, x):
    """An encoder of factor 4, which halves as the networks do, with zeros below and to the right alone."""
    y = jnp.tanh(convolution.convolve(x, kernels[0], 2, 0))
    y = jnp.tanh(convolution.convolve(y, kernels[1], 2, 0))
    return {"mean": convolution.convolve(y, kernels[2]) + 1, "other": y}


PICTURE = RNG.normal(size=(2, 80, 108, 2)).astype(np.float32)


@table("function, x", [(up, LATENT), (down, PICTURE)])
def test_tiles_equal_the_whole_everywhere_where_the_margin_is_the_reach(function, x):
    full = quickly(function)(KERNELS, x)
    for tile, overlap in ((12, 4), (15, 5), (16, 4)):
        run = quickly(tiles.tiled(function, tile, overlap, margin=REACH))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), run(KERNELS, x), full)


def test_without_a_margin_tiles_equal_the_whole_away_from_seams_and_not_at_them():
    full, parts = quickly(up)(KERNELS, LATENT), quickly(tiles.tiled(up, 12, 4))(KERNELS, LATENT)
    off = np.abs(parts - full).max((0, 3))
    rows, columns = np.ones(80, bool), np.ones(108, bool)
    for start, end in ((8, 12),):  # tiles of rows begin at 0 and 8 and end at 12 and 20
        rows[4 * start : 4 * end] = False
    for start, end in ((7, 12), (15, 19)):  # and those of columns at 0, 7 and 15, and at 12, 19 and 27
        columns[4 * start : 4 * end] = False
    assert off[rows][:, columns].max() < 2e-6 and rows.sum() == 64 and columns.sum() == 72
    assert 1e-3 < off[~rows].max() < 1


def test_a_picture_of_one_tile_is_the_function_itself():
    run = quickly(tiles.tiled(up, 40, 8))
    np.testing.assert_allclose(run(KERNELS, LATENT), quickly(up)(KERNELS, LATENT), atol=1e-6)


def test_tiles_begin_at_multiples_where_squares_of_places_differ():
    def by_place(numbers, x):
        return x * jnp.tile(numbers, (x.shape[1] // 2, x.shape[2] // 2))[None, ..., None]

    numbers, x = np.float32([[1, 2], [3, 4]]), np.ones((1, 16, 22, 1), np.float32)
    np.testing.assert_allclose(tiles.tiled(by_place, 6, 2, multiple=2)(numbers, x), by_place(numbers, x), rtol=1e-6)
    for size in range(6, 60, 2):
        side, starts, _ = tiles._tiling(size, 6, 2, 0, 1, 2)
        assert not (starts % 2).any() and starts[-1] + side == size and (np.diff(starts) <= 4).all()


def test_the_weight_moves_linearly_from_one_tile_to_the_next():
    def mean(params, x):
        return jnp.broadcast_to(jnp.mean(x, (1, 2), keepdims=True), x.shape)

    x = np.zeros((1, 6, 20, 1), np.float32)
    x[:, :, 11:] = 1  # tiles of 12 columns begin at 0 and 8: means of 1/12 and 9/12
    row = tiles.tiled(mean, 12, 4)((), x)[0, 3, :, 0]
    np.testing.assert_allclose(
        row, (1 + 8 * np.array([0] * 8 + [1 / 8, 3 / 8, 5 / 8, 7 / 8] + [1] * 8)) / 12, rtol=1e-6
    )
    row = tiles.tiled(mean, 12, 4, margin=1)((), x)[0, 3, :, 0]
    np.testing.assert_allclose(row, (1 + 8 * np.array([0] * 9 + [1 / 4, 3 / 4] + [1] * 9)) / 12, rtol=1e-6)
    row = tiles.tiled(mean, 12, 4, margin=2)((), x)[0, 3, :, 0]
    np.testing.assert_allclose(row, (1 + 8 * np.array([0] * 10 + [1] * 10)) / 12, rtol=1e-6)


def test_whatever_the_size_weights_of_a_pixel_sum_to_1_and_the_margin_counts_for_nothing():
    for tile, overlap, margin in ((6, 2, 0), (6, 2, 1), (7, 2, 1), (9, 3, 1), (5, 0, 0), (12, 3, 0)):
        for size in range(1, 60):
            for out in (1, 3):
                side, starts, weights = tiles._tiling(size, tile, overlap, margin, out)
                assert starts[0] == 0 and starts[-1] + side == size and (np.diff(starts) <= tile - overlap).all()
                summed = np.zeros(out * size)
                for start, weight in zip(starts, weights, strict=True):
                    summed[out * start : out * (start + side)] += weight
                    assert start == 0 or not weight[: out * margin].any()
                    assert start + side == size or not weight[out * (side - margin) :].any()
                np.testing.assert_allclose(summed, 1, rtol=1e-12)


@table("size", [1, 2, 3, 5])
def test_slices_equal_the_whole_batch(size):
    x = RNG.normal(size=(5, 8, 8, 2)).astype(np.float32)
    parts = quickly(tiles.sliced(down, size))(KERNELS, x)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), parts, quickly(down)(KERNELS, x))


def test_a_slice_is_what_the_function_sees():
    shapes = []
    jax.eval_shape(
        tiles.sliced(lambda params, x: shapes.append(x.shape) or x, 2), (), np.zeros((5, 4, 4, 1), np.float32)
    )
    assert set(shapes) == {(2, 4, 4, 1)}


@pytest.mark.slow
@pytest.mark.slow
def test_an_autoencoder_differs_in_tiles_by_its_norms_and_attention():
    """What looks at the whole picture cannot be equal: the difference is measured, not hidden."""
    network = networks.Autoencoder((8, 16), 1, latent_channels=2, in_channels=2, groups=2)
    params = moved(networks.init(network, jax.random.key(0), np.zeros((1, 8, 8, 2), np.float32)))
    decode = networks.pure(network, "decode")
    full, parts = quickly(decode)(params, LATENT), quickly(tiles.tiled(decode, 12, 4))(params, LATENT)
    assert 0.05 < np.std(parts - full) / np.std(full) < 0.25
    encode = tiles.tiled(tiles.sliced(networks.pure(network, "encode")), 12, 4)
    gaussian = jax.eval_shape(encode, params, PICTURE[:, :40, :54])
    assert isinstance(gaussian, diagonal_gaussian.DiagonalGaussian) and gaussian.log_variance.shape == (2, 20, 27, 2)


GIB = 2**30
BUDGET = 1.0 * GIB
"""Of what decoding 1024 × 1024 pixels needs beside its parameters, in tiles of 64 × 64 latents."""


def memory_of(function, *shapes):
    """Bytes of temporaries and of the output, as XLA states them."""
    analysis = quickly(function).lower(*shapes).compile().memory_analysis()
    return analysis.temp_size_in_bytes + analysis.output_size_in_bytes


@pytest.mark.slow
@pytest.mark.slow
def test_decoding_a_thousand_pixels_squared_in_tiles_keeps_its_budget():
    """The published network of Stable Diffusion, compiled and not run."""
    network = networks.Autoencoder()
    params = jax.eval_shape(lambda: networks.init(network, jax.random.key(0), np.zeros((1, 64, 64, 3), np.float32)))
    latent, decode = jax.ShapeDtypeStruct((1, 128, 128, 4), jnp.float32), networks.pure(network, "decode")
    full, parts = memory_of(decode, params, latent), memory_of(tiles.tiled(decode), params, latent)
    assert parts < BUDGET < full / 3, (parts / GIB, full / GIB)


X = np.zeros((1, 16, 16, 1), np.float32)

test_lengths_out_of_range_are_refused = refusals(
    (lambda: tiles.tiled(up, 0), "tile"),
    (lambda: tiles.tiled(up, 12, 5), r"overlap = 5 is outside \[0, 4\]"),
    (lambda: tiles.tiled(up, 12, 3, multiple=2), "tile = 12, overlap = 3: both must be multiples of 2"),
    (lambda: tiles.tiled(up, 6, 2, multiple=2)(KERNELS, LATENT), "size 27 is no multiple of 2"),
    (lambda: tiles.tiled(up, 12, 4, 3), r"margin = 3 is outside \[0, 2\]"),
    (lambda: tiles.sliced(up, 0), "size"),
)
test_functions_that_cannot_be_tiled_are_refused = pytest.mark.fault("autoencoder: NaN latents")(
    refusals(
        (lambda: tiles.tiled(lambda params, x: x.astype(jnp.int32), 6, 2)((), X), "cannot be blended", TypeError),
        (lambda: tiles.tiled(lambda params, x: x[:, :, :8], 6, 2)((), X), "one whole ratio"),
        (lambda: tiles.tiled(lambda params, x: x[:, :11, :11], 6, 2)((), X), "one whole ratio"),
        (lambda: tiles.tiled(lambda params, x: x.mean((1, 2)), 6, 2)((), X), "maps"),
        (lambda: tiles.tiled(up, 6, 2)(KERNELS, X + np.float32("nan")), "not finite"),
        (lambda: tiles.sliced(up)(KERNELS, X + np.float32("nan")), "not finite"),
    )
)
