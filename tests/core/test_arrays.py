import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core import arrays


def test_the_logistic_keeps_relative_precision_in_both_tails_and_the_namespace_of_its_value():
    for value in (-700.0, -40.0, 0.0, 3.0):
        found = arrays.logistic(np.float64(value))
        assert isinstance(found, np.float64)
        assert found == pytest.approx(np.exp(value) / (1 + np.exp(value)), rel=1e-14)
    assert isinstance(arrays.logistic(jnp.float32(-40.0)), jax.Array)
    np.testing.assert_allclose(arrays.logistic(jnp.float32(-40.0)), np.exp(-40.0), rtol=1e-5)


def test_numpys_own_values_stay_numpys():
    assert arrays.namespace(np.zeros(2)) is np
    assert arrays.namespace(np.float32(1)) is np
    assert arrays.namespace(jnp.zeros(2)) is jnp
    assert arrays.namespace(1.0) is jnp


def test_a_safe_root_has_no_gradient_where_there_is_nothing_to_take_it_of():
    value, slope = jax.vmap(jax.value_and_grad(arrays.safe_sqrt))(jnp.array([-1.0, 0.0, 4.0]))
    np.testing.assert_array_equal(value, [0.0, 0.0, 2.0])
    np.testing.assert_array_equal(slope, [0.0, 0.0, 0.25])


def test_a_safe_quotient_is_the_other_value_at_zero_with_no_gradient():
    of = jax.value_and_grad(lambda below: arrays.safe_divide(1.0, below, otherwise=7.0))
    assert of(jnp.float32(0.0)) == (7.0, 0.0)
    assert of(jnp.float32(2.0)) == (0.5, -0.25)


def test_a_number_a_batch_or_a_sample_expands_to_the_rank_and_dtype_of_its_samples():
    x = jnp.zeros((2, 3, 4), jnp.bfloat16)
    assert arrays.expand(0.5, x).shape == (1, 1, 1)
    assert arrays.expand(jnp.ones(2), x).shape == (2, 1, 1)
    assert arrays.expand(jnp.ones(2), x).dtype == jnp.bfloat16
    with pytest.raises(ValueError, match=r"got \(3,\)"):
        arrays.expand(jnp.ones(3), x)


def test_whether_a_value_can_be_looked_at():
    seen = []
    jax.jit(lambda x: seen.append(arrays.is_concrete(x)))(1.0)
    assert seen == [False]
    assert arrays.is_concrete(1.0)
