"""int8 per output is that of qwix but for its divisor, 127.5, and its least value, −128: ours are 127 and −127."""

import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.weights import quantised

qwix = pytest.importorskip("qwix", reason="needs qwix: make test-peers")

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]  # their warnings are not ours


def test_int8_with_their_divisor_stands_for_the_same_weights_and_ours_is_as_near_to_them():
    weights = np.random.default_rng(0).normal(size=(96, 40)).astype(np.float32)
    theirs = qwix.quantize(jnp.asarray(weights), jnp.int8, channelwise_axes=[1])
    same = quantised.packed_array(weights, quantised.Scaled("int8", 127.5))
    np.testing.assert_array_equal(same.values.T, np.maximum(theirs.qvalue, -127))
    inside = np.asarray(theirs.qvalue) > -128
    assert inside.mean() > 0.99
    np.testing.assert_allclose(
        np.asarray(same.dense(jnp.float32))[inside], np.asarray(qwix.dequantize(theirs))[inside], atol=1e-5
    )

    ours = quantised.packed_array(weights, quantised.int8())
    errors = [
        np.sqrt(np.mean((np.asarray(array) - weights) ** 2))
        for array in (ours.dense(jnp.float32), qwix.dequantize(theirs))
    ]
    assert errors[0] == pytest.approx(errors[1], rel=0.02)
