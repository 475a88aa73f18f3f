"""A small tree beside frozen parameters, packed or not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gendiff import networks, training
from gendiff.core import trees
from gendiff.networks import lora
from gendiff.weights import quantised
from tests.networks.rig import random_params
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table

TOKENS = np.random.default_rng(0).integers(0, 50, (2, 12)).astype(np.int32)
MODEL = networks.LanguageModel(
    vocabulary=50, context=16, width=16, depth=1, heads=4, key_value_heads=2, mlp_width=20, remat="products"
)
PARAMS = random_params(MODEL, TOKENS)
RULES = (quantised.Packing("mlp_1/kernel$", quantised.int4()), *quantised.LINEAR)
PATHS = r"(qkv|mlp_1)/kernel$|^token$"
predict = networks.pure(MODEL)


@functools.cache
def base(kind):
    return PARAMS if kind == "float32" else quickly(lambda params: quantised.quantise(params, RULES))(PARAMS)


@functools.cache
def fresh():
    """A tree of rank 3, which packed and other parameters share."""
    return quickly(lambda params: lora.start(jax.random.key(1), params, 3, PATHS))(base("packed"))


def moved(tree):
    """Away from the zeros that change nothing."""
    rng = np.random.default_rng(3)
    return jax.tree.map(
        lambda leaf: leaf + rng.normal(size=leaf.shape).astype(np.float32) / 8, jax.tree.map(np.asarray, tree)
    )


def full_loss(params, key, batch):
    logits = predict(params, batch).logits
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits[:, :-1], batch[:, 1:])), {}


def test_a_fresh_tree_holds_the_chosen_paths_and_b_from_zero():
    tree = fresh()
    shapes = {path: leaf.shape for path, leaf in trees.paths(tree).items()}
    qkv = {"block_0/qkv/kernel/down": (16, 3), "block_0/qkv/kernel/up": (3, 32)}
    mlp = {"block_0/mlp_1/kernel/down": (20, 3), "block_0/mlp_1/kernel/up": (3, 16)}
    assert shapes == qkv | mlp | {"token/down": (50, 3), "token/up": (3, 16)}
    assert not any(np.any(leaf) for path, leaf in trees.paths(tree).items() if path.endswith("up"))
    downs = np.concatenate(
        [np.ravel(leaf) * len(leaf) ** 0.5 for path, leaf in trees.paths(tree).items() if path.endswith("down")]
    )
    assert np.std(downs) == pytest.approx(1.0, abs=0.1) and len(np.unique(downs)) == downs.size


@table("kind", ["float32", "packed"])
def test_merged_equals_apart_and_a_fresh_tree_changes_nothing(kind):
    @quickly
    def three(params, tree):
        return [
            predict(weights, TOKENS).logits
            for weights in (lora.unmerged(params, tree, 0.5), lora.merge(params, tree, 0.5), params)
        ]

    unmerged, _, plain = three(base(kind), fresh())
    np.testing.assert_array_equal(unmerged, plain)
    unmerged, merged, plain = map(np.asarray, three(base(kind), moved(fresh())))
    assert np.abs(unmerged - plain).max() > 0.05
    # the activations of packed kernels are split into digits, and merged kernels are not packed
    np.testing.assert_allclose(unmerged, merged, atol=1e-5 if kind == "float32" else 1e-3)


def test_products_of_an_adapted_kernel_are_those_of_the_sum():
    base, down, up = (
        np.random.default_rng(0).normal(size=shape).astype(np.float32) for shape in ((16, 5), (16, 2), (2, 5))
    )
    change = lora.LowRank(down, up)
    kernel = lora.AdaptedKernel(base, change, np.float32(0.5))
    total = base + 0.5 * change.down @ change.up

    @quickly
    def answers(kernel, x):
        return (
            kernel.dense(jnp.float32),
            kernel.product(x.T),
            kernel.product_with_rows(x),
            kernel.rows(jnp.array([[3, 0]])),
        )

    for answer, expected in zip(
        answers(kernel, base), (total, base.T @ total, base @ total.T, total[[[3, 0]]]), strict=True
    ):
        np.testing.assert_allclose(answer, expected, atol=1e-5)


@pytest.mark.slow
def test_training_over_packed_kernels_moves_the_tree_alone_and_lowers_the_loss():
    state = quickly(lambda tree: training.start(tree, optax.adam(3e-2), jax.random.key(2), ema=()))(fresh())

    @quickly
    def train(params, state, batch):
        step = training.make_step(lora.loss(full_loss, params, 2.0), optax.adam(3e-2))
        return jax.lax.scan(lambda state, _: step(state, batch), state, None, 8)

    after, metrics = train(base("packed"), state, TOKENS)
    losses = np.asarray(metrics["loss"])
    assert losses[-1] < 0.8 * losses[0] and np.all(metrics["finite"])
    moved_by = jax.tree.map(lambda a, b: np.abs(np.asarray(a) - np.asarray(b)).max(), after.params, state.params)
    assert all(change > 0 for change in jax.tree.leaves(moved_by))


def test_no_gradient_of_a_frozen_kernel_and_no_product_of_the_factors_is_ever_computed():
    kernels = {leaf.shape for leaf in jax.tree.leaves(PARAMS) if leaf.ndim == 2}

    def products(loss, params):
        """The shapes of kernels, either way round, that a product of the compiled program has; jax 0.10 lowers dead
        ones too.
        """
        gradient = quickly(jax.grad(lambda params: loss(params, jax.random.key(0), TOKENS)[0]))
        rows = [line for line in gradient.lower(params).compile().as_text().splitlines() if " dot(" in line]
        either_way = {shape: (f"= f32[{shape[0]},{shape[1]}]", f"= f32[{shape[1]},{shape[0]}]") for shape in kernels}
        return [shape for shape, texts in either_way.items() for line in rows if any(text in line for text in texts)]

    assert not products(lora.loss(full_loss, PARAMS), fresh())
    assert len(set(products(full_loss, PARAMS))) == len(kernels), (
        "the gradients of all parameters, which the search does find"
    )


def test_convolutions_are_adapted_too():
    network, x = (
        networks.convolution.Convolution(5),
        np.random.default_rng(0).normal(size=(2, 6, 6, 4)).astype(np.float32),
    )
    params = random_params(network, x)
    tree = moved(quickly(lambda params: lora.start(jax.random.key(1), params, 2, "kernel$"))(params))
    assert tree["kernel"].down.shape == (36, 2)

    @quickly
    def three(params, tree, x):
        return [
            networks.pure(network)(weights, x)
            for weights in (lora.unmerged(params, tree), lora.merge(params, tree), params)
        ]

    unmerged, merged, plain = map(np.asarray, three(params, tree, x))
    np.testing.assert_allclose(unmerged, merged, atol=1e-5)
    assert np.abs(unmerged - plain).max() > 0.05


test_a_tree_that_does_not_fit_is_refused = refusals(
    (lambda: lora.start(jax.random.key(0), PARAMS, 2, "query/kernel$"), "no parameter fits paths = 'query/kernel\\$'"),
    (
        lambda: lora.start(jax.random.key(0), PARAMS, 16, "qkv/kernel$"),
        "rank = 16 does not fit block_0/qkv/kernel of shape \\(16, 32\\)",
    ),
    (lambda: lora.start(jax.random.key(0), PARAMS, 2, "scale$"), "rank = 2 does not fit block_0/norm_0/scale"),
    (lambda: lora.start(jax.random.key(0), PARAMS, 0, "qkv"), "rank = 0"),
    (lambda: lora.start(np.zeros(2, np.uint32), PARAMS, 2, "qkv"), "typed key", TypeError),
    (lambda: lora.merge({"block_0": {}}, {"block_0": {"qkv": {}}}), "the parameters have no block_0/qkv"),
)
