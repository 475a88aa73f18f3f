"""Inception-v3 against NumPy: every block is the table of its branches, and the network is its stem and its blocks in
order.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import networks
from gendiff.networks import inception
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table

AVERAGE, PADDED, MAXIMUM = "average", "padded average", "maximum"
POOL = "pool"
THREE_TWICE = ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3")
SEVEN_TWICE = tuple(f"branch7x7dbl_{number}" for number in (1, 2, 3, 4, 5))
FINE = (("branch1x1",), ("branch5x5_1", "branch5x5_2"), THREE_TWICE, (POOL, "branch_pool"))
TO_MEDIUM = (("branch3x3/2",), (*THREE_TWICE[:2], "branch3x3dbl_3/2"), ("halve",))
MEDIUM = (("branch1x1",), ("branch7x7_1", "branch7x7_2", "branch7x7_3"), SEVEN_TWICE, (POOL, "branch_pool"))
SEVEN = ("branch7x7x3_1", "branch7x7x3_2", "branch7x7x3_3", "branch7x7x3_4/2")
TO_COARSE = (("branch3x3_1", "branch3x3_2/2"), SEVEN, ("halve",))
COARSE = (
    ("branch1x1",),
    *(("branch3x3_1", f"branch3x3_2{part}") for part in "ab"),
    *((*THREE_TWICE[:2], f"branch3x3dbl_3{part}") for part in "ab"),
    (POOL, "branch_pool"),
)
"""Block -> its branches, in the order in which they are joined; "/2" halves the size, without padding."""
STEM = ("conv2d_1a_3x3/2", "conv2d_2a_3x3/1", "conv2d_2b_3x3", "halve", "conv2d_3b_1x1", "conv2d_4a_3x3/1", "halve")
MIXED = {"5": ("bcd", FINE), "6a": ("", TO_MEDIUM), "6": ("bcde", MEDIUM), "7a": ("", TO_COARSE), "7": ("bc", COARSE)}
BLOCKS = {
    "fine": (inception.Fine(32, AVERAGE), FINE, AVERAGE),
    "fine as published": (inception.Fine(64, PADDED), FINE, PADDED),
    "fine to medium": (inception.FineToMedium(), TO_MEDIUM, None),
    "medium": (inception.Medium(16, AVERAGE), MEDIUM, AVERAGE),
    "medium to coarse": (inception.MediumToCoarse(), TO_COARSE, None),
    "coarse": (inception.Coarse(AVERAGE), COARSE, AVERAGE),
    "coarse, the last one": (inception.Coarse(MAXIMUM), COARSE, MAXIMUM),
}


def windows(x, size, stride):
    """(b, h, w, c, rows, columns)."""
    return np.lib.stride_tricks.sliding_window_view(x, size, (1, 2))[:, ::stride, ::stride]


def around(x, rows, columns, value):
    return np.pad(x, ((0, 0), (rows, rows), (columns, columns), (0, 0)), constant_values=value)


def unit(params, x, stride, padded):
    rows, columns = (size // 2 if padded else 0 for size in params["kernel"].shape[:2])
    y = np.tensordot(
        windows(around(x, rows, columns, 0), params["kernel"].shape[:2], stride),
        params["kernel"],
        ([4, 5, 3], [0, 1, 2]),
    )
    return np.maximum((y - params["mean"]) / np.sqrt(params["variance"] + 1e-3) * params["scale"] + params["bias"], 0)


def chain(params, x, steps, pooling):
    for step in steps:
        name, _, stride = step.partition("/")
        if name == "halve":
            x = windows(x, (3, 3), 2).max((-2, -1))
        elif name == POOL and pooling == MAXIMUM:
            x = windows(around(x, 1, 1, -np.inf), (3, 3), 1).max((-2, -1))
        elif name == POOL:
            pixels = np.ones((1, *x.shape[1:3], 1))
            share = windows(around(pixels, 1, 1, 0), (3, 3), 1).sum((-2, -1)) if pooling == AVERAGE else 9
            x = windows(around(x, 1, 1, 0), (3, 3), 1).sum((-2, -1)) / share
        else:
            x = unit(params[name], x, int(stride or 1), not stride)
    return x


def block(params, x, branches, pooling):
    return np.concatenate([chain(params, x, steps, pooling) for steps in branches], -1)


def network(params, x, poolings):
    y = chain(params, x, STEM, None)
    for stage, (letters, branches) in MIXED.items():
        for letter in letters or ("",):
            name = f"mixed_{stage}{letter}"
            y = block(params[name], y, branches, poolings[name == "mixed_7c"])
    return y.mean((1, 2))


def random_params(module, x):
    """Random parameters, positive where a variance is meant, of a size that keeps that of activations."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: networks.init(module, jax.random.key(0), x))

    def draw(path, leaf):
        if path[-1].key == "kernel":
            return rng.normal(0, np.sqrt(2 / np.prod(leaf.shape[:-1])), leaf.shape).astype(np.float32)
        low, high = (0.5, 1.5) if path[-1].key in ("variance", "scale") else (-0.2, 0.2)
        return rng.uniform(low, high, leaf.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


@pytest.mark.slow
@table("module, branches, pooling", BLOCKS.values())
def test_a_block_joins_its_branches(module, branches, pooling):
    x = np.random.default_rng(1).normal(size=(2, 7, 5, 6)).astype(np.float32)
    params = random_params(module, x)
    expected = block(params, x.astype(np.float64), branches, pooling)
    joined = quickly(module.apply)({"params": params}, x)
    assert expected.std() > 0.1
    np.testing.assert_allclose(joined, expected, rtol=0, atol=2e-5)


@table("pooling", [AVERAGE, PADDED, MAXIMUM])
def test_pooling_at_the_border_is_of_the_pixels_that_there_are_or_of_the_zeros_too(pooling):
    x = np.full((1, 3, 4, 1), -2.0, np.float32)
    corner, inside = np.asarray(inception.pooled(jnp.asarray(x), pooling))[0, [0, 1], [0, 1], 0]
    assert inside == -2 and corner == pytest.approx(-2 * 4 / 9 if pooling == PADDED else -2)


@pytest.mark.slow
@table("variant", ["fid", "torchvision"])
def test_the_network_is_its_stem_and_its_blocks(variant):
    module = networks.Inception(variant)
    x = np.random.default_rng(2).uniform(-1, 1, (1, 91, 75, 3)).astype(np.float32)
    params = random_params(module, x)
    expected = network(params, x.astype(np.float64), inception.POOLING[variant])
    np.testing.assert_allclose(quickly(networks.pure(module))(params, x), expected, rtol=0, atol=1e-4)
    assert expected.shape == (1, 2048) and expected.std() > 0.1
    assert jax.eval_shape(networks.pure(module), params, x.astype(jnp.bfloat16)).dtype == jnp.bfloat16


def called(shape=(1, 80, 80, 3), dtype=np.float32, **fields):
    return networks.pure(networks.Inception(**fields))({}, np.zeros(shape, dtype))


test_what_it_cannot_take_is_refused = refusals(
    (lambda: called(variant="pytorch"), "variant = 'pytorch' is none of fid, torchvision"),
    (lambda: called((1, 74, 80, 3)), "sides of at least 75 pixels"),
    (lambda: called((1, 80, 80, 1)), "repeat a grey channel"),
    (lambda: called(dtype=np.uint8), "x must be a floating array", TypeError),
    (
        lambda: inception.pooled(jnp.zeros((1, 3, 3, 1)), "mean"),
        "pooling = 'mean' is none of average, padded average, maximum",
    ),
)
