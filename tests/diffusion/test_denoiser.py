"""A network with its parameters and condition is a pytree that answers x at a level."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core.types import NO_LABEL
from gendiff.diffusion import denoiser, parameterization
from gendiff.diffusion.types import Level

LEVEL = Level(7.0, 0.6, 0.8)


def network(params, x, t, label):
    shape = (-1,) + (1,) * (x.ndim - 1)
    return params["gain"] * x + label.astype(x.dtype).reshape(shape) + 0.01 * t.astype(x.dtype).reshape(shape)


def build(label=2):
    return denoiser.from_network(network, {"gain": jnp.float32(0.5)}, parameterization.velocity(), label)


def test_prediction_is_the_parameterization_of_the_network_output():
    x = jnp.arange(6.0).reshape(3, 2)
    found = build()(x, LEVEL)
    output = 0.5 * np.asarray(x) + 2 + 0.07
    np.testing.assert_allclose(found.clean, 0.6 * np.asarray(x) - 0.8 * output, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.noise, 0.8 * np.asarray(x) + 0.6 * output, rtol=1e-5, atol=1e-6)


def test_network_gets_t_and_condition_one_a_sample():
    seen = {}

    def look(params, x, t, label):
        seen.update(t=t, label=label)
        return x

    given = denoiser.from_network(look, {}, parameterization.velocity(), NO_LABEL)
    given(jnp.ones((3, 2)), LEVEL)
    np.testing.assert_array_equal(seen["t"], [7.0, 7.0, 7.0])
    np.testing.assert_array_equal(seen["label"], [NO_LABEL] * 3)
    assert seen["label"].dtype == jnp.int32 and jnp.issubdtype(seen["t"].dtype, jnp.floating)
    per_sample = Level(jnp.array([1.0, 2.0, 3.0]), jnp.full(3, 0.6), jnp.full(3, 0.8))
    given.with_condition(jnp.array([4, 5, 6]))(jnp.ones((3, 2)), per_sample)
    np.testing.assert_array_equal(seen["t"], [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(seen["label"], [4, 5, 6])


def test_t_is_not_rounded_where_x_is():
    seen = []

    def look(params, x, t):
        seen.append(t)
        return x

    given = denoiser.from_network(look, {}, parameterization.velocity())
    for dtype, expected in ((jnp.bfloat16, jnp.float32), (jnp.float32, jnp.float32)):
        given(jnp.ones((1, 2), dtype), Level(999.0, 0.6, 0.8))
        assert seen[-1].dtype == expected and seen[-1] == 999.0


def test_edm_network_sees_scaled_input():
    seen = {}

    def look(params, x, t):
        seen["x"] = x
        return x

    denoiser.from_network(look, {}, parameterization.edm(0.5))(jnp.full((2, 3), 4.0), Level(0.1, 1.0, 2.0))
    np.testing.assert_allclose(seen["x"], 4 / np.sqrt(4 + 0.25), rtol=1e-6)


def test_parameters_and_condition_are_leaves_and_functions_are_structure():
    first, second = build(2), build(3)
    assert len(jax.tree.leaves(first)) == 2
    assert jax.tree.structure(first) == jax.tree.structure(second)
    traces = []

    @jax.jit
    def answer(given, x):
        traces.append(None)
        return given(x, LEVEL).clean

    x = jnp.ones((2, 3))
    np.testing.assert_allclose(answer(first, x), first(x, LEVEL).clean, rtol=1e-6)
    np.testing.assert_allclose(answer(second, x), second(x, LEVEL).clean, rtol=1e-6)
    assert len(traces) == 1


def test_with_condition_replaces_the_condition_and_nothing_else():
    changed = build(2).with_condition(5)
    np.testing.assert_array_equal(changed(jnp.ones((2, 3)), LEVEL).clean, build(5)(jnp.ones((2, 3)), LEVEL).clean)
    assert jax.tree.leaves(changed.params) == jax.tree.leaves(build().params)


def test_denoiser_is_differentiable_in_parameters_x_and_level():
    def total(given, x, alpha, sigma):
        found = given(x, Level(7.0, alpha, sigma))
        return jnp.sum(found.clean) + jnp.sum(found.noise)

    given = build(jnp.array([1.0, 2.0]))
    for alpha, sigma in ((0.6, 0.8), (0.0, 1.0), (1.0, 0.0)):
        slopes = jax.grad(total, argnums=(0, 1, 2, 3))(given, jnp.ones((2, 3)), alpha, sigma)
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slopes))


@pytest.mark.parametrize("shape", [(2, 3), (2, 5, 3), (2, 4, 4, 1), (2, 2, 2, 2, 1)])
def test_any_rank_of_x(shape):
    found = build()(jnp.ones(shape), LEVEL)
    assert found.clean.shape == found.noise.shape == shape and found.clean.dtype == jnp.float32


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "wrong",
    [lambda p, x, t: x[:, :1], lambda p, x, t: x[:1], lambda p, x, t: jnp.concatenate([x, x], -1)],
    ids=["narrow", "one sample", "double"],
)
def test_network_output_of_another_shape_is_refused_with_both_shapes(wrong):
    with pytest.raises(TypeError, match=r"\(2, 3\)"):
        denoiser.from_network(wrong, {}, parameterization.velocity())(jnp.ones((2, 3)), LEVEL)
