"""Measurements: adjoints, solves and pseudo-inverses against the matrices that the operators stand for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.diffusion import linear_operators

SHAPE = (4, 6, 2)
SIZE = int(np.prod(SHAPE))


def rand(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def mask(*shape):
    return np.random.default_rng(7).random(shape) < 0.4


OPERATORS = {
    "inpaint": lambda: linear_operators.inpaint(mask(1, *SHAPE)),
    "inpaint a channel mask": lambda: linear_operators.inpaint(mask(1, 4, 6, 1).astype(float)),
    "downsample": lambda: linear_operators.downsample(2),
    "blur": lambda: linear_operators.blur(np.random.default_rng(3).normal(size=(3, 4))),
    "blur one axis": lambda: linear_operators.blur(np.array([0.2, 0.5, 0.3])),
    "blur to nothing": lambda: linear_operators.blur(np.full((2, 2), 0.25)),  # keeps no highest frequency
}
every_operator = pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS.keys())


forward = jax.jit(lambda operator, x: operator.forward(x))


@jax.jit
def everything(operator, x, y, noise):
    return operator.forward(x), operator.adjoint(y), operator.solve(y, 0.7, noise), linear_operators.pseudo_inverse(operator, y)


def flat(y):
    return np.asarray(y).reshape(len(y), -1)


@pytest.mark.float64
@every_operator
def test_adjoint_solve_and_pseudo_inverse_are_those_of_the_matrix(operator):
    """Its columns are what the operator makes of each unit vector."""
    units, noise = jnp.eye(SIZE).reshape(SIZE, *SHAPE), np.linspace(0.1, 1.0, SIZE)
    y = rand(1, *jax.eval_shape(operator().forward, units).shape)
    columns, transposed, solved, least = everything(operator(), units, y, noise)
    matrix = flat(columns).T
    np.testing.assert_allclose(flat(transposed), flat(y) @ matrix, atol=1e-13)
    np.testing.assert_allclose(flat(least), flat(y) @ np.linalg.pinv(matrix, rcond=1e-9).T, atol=1e-10)
    for row in range(0, SIZE, 5):
        expected = np.linalg.solve(0.7 * matrix @ matrix.T + noise[row] * np.eye(len(matrix)), flat(y)[row])
        np.testing.assert_allclose(flat(solved)[row], expected, rtol=1e-11, atol=1e-12)


@pytest.mark.float64
def test_operators_do_what_they_are_named_for():
    x = rand(4, 2, 4, 4, 1)
    small = forward(linear_operators.downsample(2), x)
    np.testing.assert_allclose(small[:, 1, 0], x[:, 2:4, 0:2].mean(axis=(1, 2)), atol=1e-14)
    hidden = np.zeros((1, 4, 4, 1), bool)
    hidden[0, 1, 2] = True
    shown = forward(linear_operators.inpaint(hidden), x)
    assert np.all(shown[:, 1, 2] == 0) and np.array_equal(np.delete(flat(shown), 6, 1), np.delete(flat(x), 6, 1))
    shifted = forward(linear_operators.blur(np.array([0.0, 0.0, 1.0])), x)
    np.testing.assert_allclose(shifted, jnp.roll(x, 1, axis=1), atol=1e-14)
    np.testing.assert_allclose(forward(linear_operators.blur(np.array([[1.0]])), x), x, atol=1e-14)


@every_operator
def test_operators_keep_dtype_pass_through_jit_and_have_finite_gradients(operator):
    x = rand(5, 2, *SHAPE).astype(jnp.float32)

    def total(operator, x, noise):
        y = operator.forward(x)
        back = operator.adjoint(operator.solve(y, 0.5, noise))
        assert y.dtype == back.dtype == x.dtype and back.shape == x.shape
        return jnp.sum(back**2)

    both = jax.jit(jax.value_and_grad(total, argnums=(1, 2)))
    for noise in (0.0, 0.1):
        value, slopes = both(operator(), x, noise)
        assert np.isfinite(value) and all(np.all(np.isfinite(slope)) for slope in slopes)
    half = forward(operator(), x.astype(jnp.bfloat16))
    assert half.dtype == jnp.bfloat16 and np.allclose(half.astype(jnp.float32), forward(operator(), x), atol=0.1)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("mistake", "named"),
    [
        (lambda x: linear_operators.downsample(4).forward(x), "factor = 4"),
        (lambda x: linear_operators.downsample(0), "factor"),
        (lambda x: linear_operators.downsample(2).forward(jnp.ones((2, 4))), "channels"),
        (lambda x: linear_operators.inpaint(np.zeros((4, 6, 1))).forward(x), "mask"),
        (lambda x: linear_operators.inpaint(np.full((1, 4, 6, 1), 2.0)), "mask"),
        (lambda x: linear_operators.inpaint(np.zeros(4)), "rank"),
        (lambda x: linear_operators.blur(np.ones((5, 5))).forward(x), "kernel"),
        (lambda x: linear_operators.blur(np.array([1.0, np.nan])), "kernel"),
    ],
)
def test_what_does_not_fit_is_refused(mistake, named):
    with pytest.raises(ValueError, match=named):
        mistake(jnp.ones((2, 4, 6, 1)))
