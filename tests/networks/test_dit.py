import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import networks
from gendiff.networks import dit
from tests.networks.rig import LABEL, T, X, apply, fresh, moved, quickly
from tests.networks.rig import dit as tiny


def test_time_label_and_position_reach_the_output():
    def run(*inputs):
        return np.asarray(apply(networks.pure(tiny()), moved(fresh(tiny())), *inputs))

    output, flat = run(X, T, LABEL), run(np.ones_like(X), T, LABEL)
    assert np.abs(run(X, T + 50, LABEL) - output).max() > 1e-4
    assert np.abs(run(X, T, LABEL[::-1].copy())[0] - output[0]).max() > 1e-4
    assert np.abs(flat[0, :2] - flat[0, 2:4]).max() > 1e-4


def test_forward_over_reverse_passes_and_remat_agree():
    def loss(x, **changes):
        return jnp.mean(jnp.square(networks.pure(tiny(**changes))(moved(fresh(tiny())), x, T, LABEL)))

    (_, gradient), (rate, _) = quickly(lambda x: jax.jvp(jax.value_and_grad(loss), (x,), (jnp.ones_like(x),)))(X)
    np.testing.assert_allclose(rate, gradient.sum(), rtol=1e-4)
    np.testing.assert_allclose(quickly(jax.grad(lambda x: loss(x, remat=True)))(X), gradient, rtol=1e-4, atol=1e-5)


def test_patches_are_squares_row_by_row_and_image_undoes_them():
    x = jnp.arange(2 * 4 * 6 * 3.0).reshape(2, 4, 6, 3)
    tokens = dit.patches(x, 2)
    np.testing.assert_array_equal(tokens[1, 2], x[1, :2, 4:6].reshape(-1))
    np.testing.assert_array_equal(dit.image(tokens, 2, 3, 2), x)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch": 3}, r"\(3, 8, 4, 1\).*multiples of 3 \(patch\)"),
        ({"heads": 3}, "heads = 3 does not divide"),
        ({"mlp_epsilon": -1.0}, "mlp_epsilon"),
        ({"width": 18}, "divisible by 4"),
    ],
)
def test_a_size_or_field_that_does_not_fit_is_refused_with_the_rule(changes, message):
    with pytest.raises(ValueError, match=message):
        networks.init(tiny(**changes), jax.random.key(0), X, T, LABEL)
