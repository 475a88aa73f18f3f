"""Norms are those of the singular value decomposition, a normalised critic is as steep as 1 at most, and its gradient
is the paper's.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.adversarial import spectral
from tests.quickly import quickly
from tests.refusals import refusals
from tests.traced import Traced


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


PARAMS = {
    "first": {"kernel": 3 * normal(0, 4, 8), "bias": normal(1, 8)},
    "second": {"kernel": 2 * normal(2, 8, 5), "bias": normal(3, 5)},
    "last": {"kernel": normal(4, 5, 1)},
}
OTHERS = {
    "convolution": normal(5, 3, 3, 2, 4),
    "zero": np.zeros((3, 2), np.float32),
    "wide": normal(6, 2, 6),
    "bias": normal(7, 4),
}


def critic(params, x):
    y = jax.nn.relu(x @ params["first"]["kernel"] + params["first"]["bias"][None])
    y = jax.nn.relu(y @ params["second"]["kernel"] + params["second"]["bias"][None])
    return (y @ params["last"]["kernel"])[:, 0]


SEED = 9  # for what fails before it draws
start = quickly(lambda params, iterations: spectral.start(jax.random.key(0), params, iterations))
norms_of, iterate = quickly(spectral.norms), quickly(spectral.iterate)
X, Y = normal(8, 2000, 4), normal(9, 2000, 4)
X[1000:] = Y[1000:] + 1e-2 * X[1000:]  # neighbours too
WEIGHTS = np.concatenate([normal(10, 2000), np.zeros(2000, np.float32)])


def judged(criticise, params):
    """Logits at X and Y, and the gradient of some sum of them."""

    def total(params):
        logits = criticise(params, jnp.concatenate([X, Y]))
        return jnp.sum(logits * WEIGHTS), logits

    return jax.grad(total, has_aux=True)(params)


run = Traced(judged, jit=quickly)
plainly = quickly(lambda params: judged(critic, params))


@functools.cache
def normalising():
    """The parameters with vectors that have settled, the gradient, and the logits at X and Y."""
    tree = start(PARAMS, 60)
    return (tree, *jax.device_get(run(spectral.normalised(critic), tree)))


@functools.cache
def divided():
    """The gradient and the logits of a critic whose kernels were divided by their exact norms."""
    exact = {
        name: {**layer, "kernel": layer["kernel"] / np.float32(largest(layer["kernel"]))}
        for name, layer in PARAMS.items()
    }
    return jax.device_get(plainly(exact))


def largest(kernel):
    return np.linalg.svd(np.asarray(kernel, np.float64).reshape(-1, kernel.shape[-1]), compute_uv=False)[0]


def steepest(logits):
    return np.max(np.abs(logits[:2000] - logits[2000:]) / np.linalg.norm(X - Y, axis=1))


def test_norms_are_the_largest_singular_values_after_50_iterations_and_never_above_them():
    tree, fresh = (start(OTHERS, iterations) for iterations in (50, 0))
    exact = {name: largest(kernel) for name, kernel in OTHERS.items() if kernel.ndim > 1}
    late, early = norms_of(tree), norms_of(fresh)
    assert late.keys() == exact.keys()
    for name, value in exact.items():
        np.testing.assert_allclose(late[name], value, rtol=1e-4)
        assert early[name] <= value * (1 + 1e-6)
    assert early["convolution"] < 0.95 * exact["convolution"]
    for vector in jax.tree.leaves([tree["vectors"], fresh["vectors"]]):
        np.testing.assert_allclose(np.linalg.norm(vector), 1, rtol=1e-6)


def test_one_iteration_after_each_update_is_what_the_start_does_many_times():
    tree = start(OTHERS, 0)
    for _ in range(3):
        tree = iterate(tree)
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5), tree, start(OTHERS, 3)
    )


def test_a_normalised_critic_of_linear_layers_and_relu_is_1_lipschitz():
    assert 0.05 < steepest(normalising()[2]) <= 1 + 1e-3
    assert steepest(plainly(PARAMS)[1]) > 2


def test_each_kernel_is_divided_by_its_norm_and_biases_are_not():
    np.testing.assert_allclose(normalising()[2], divided()[1], rtol=1e-3, atol=1e-4)


def test_the_gradient_is_the_one_of_the_paper_and_vectors_have_none():
    """(G − ⟨G, K / s⟩ u v') / s, where G is the gradient by the divided kernel: none along the kernel itself."""
    tree, by, _ = normalising()
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(by["vectors"]))
    kernel, gradient, g = PARAMS["first"]["kernel"], by["network"]["first"]["kernel"], divided()[0]["first"]["kernel"]
    s, v = largest(kernel), np.asarray(tree["vectors"]["first/kernel"])
    u = kernel @ v / np.linalg.norm(kernel @ v)
    np.testing.assert_allclose(
        gradient, (g - np.sum(g * kernel / s) * np.outer(u, v)) / s, rtol=1e-3, atol=1e-3 * np.abs(gradient).max()
    )
    assert abs(np.sum(gradient * kernel)) < 1e-3 * abs(np.sum(g * kernel))


def test_a_kernel_of_zeros_stays_and_learns():
    zeroed = PARAMS | {"last": {"kernel": np.zeros((5, 1), np.float32)}}
    by, logits = run(spectral.normalised(critic), start(zeroed, 5))
    assert np.all(logits == 0) and all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(by))
    assert np.any(by["network"]["last"]["kernel"] != 0)


def test_rebuilt_critics_are_equal_and_do_not_retrace():
    one, other = spectral.normalised(critic), spectral.normalised(critic)
    assert one == other and hash(one) == hash(other)
    tree, _, logits = normalising()
    np.testing.assert_allclose(run(other, iterate(tree))[1], logits, rtol=1e-3, atol=1e-4)
    assert run.traces == 1


test_mistakes_are_refused = refusals(
    (
        lambda: spectral.start(jax.random.key(SEED), {"bias": np.zeros(3, np.float32)}),
        "no floating leaf with two axes or more to normalise, only bias",
    ),
    (lambda: spectral.start(jax.random.key(SEED), {}), "only nothing"),
    (lambda: spectral.start(jax.random.key(SEED), PARAMS, -1), "iterations = -1"),
    (lambda: spectral.start(jax.random.split(jax.random.key(0)), PARAMS), "one key"),
    (lambda: spectral.start(None, PARAMS), "key is None", TypeError),
    (
        lambda: spectral.normalised(critic)(PARAMS, np.ones((2, 4), np.float32)),
        r"spectral.start, got \['first', 'last', 'second'\]",
    ),
    (lambda: spectral.iterate([1]), "got list"),
    (lambda: spectral.norms(PARAMS), "spectral.start"),
)
