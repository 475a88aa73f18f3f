import jax
import jax.numpy as jnp
import numpy as np

from gendiff.networks import initializers


def test_fill_gives_each_drawn_parameter_its_own_spread_and_leaves_the_others():
    key = jax.random.key(0)
    first, second, third = jax.random.split(key, 3)
    params = {
        "wide": initializers.normal(2.0)(first, (40, 50)),
        "kernel": initializers.kernel()(second, (3, 3, 8, 32)),
        "bias": initializers.zeros(third, (7,)),
    }
    filled = initializers.fill(jax.random.key(1), params)
    assert {name: leaf.shape for name, leaf in filled.items()} == {"wide": (40, 50), "kernel": (3, 3, 8, 32), "bias": (7,)}
    assert all(leaf.dtype == jnp.float32 for leaf in filled.values()) and not np.any(filled["bias"])
    np.testing.assert_allclose(np.std(filled["wide"]), 2.0, rtol=0.06)
    np.testing.assert_allclose(np.std(filled["kernel"]), 72**-0.5, rtol=0.06)
    assert abs(np.corrcoef(filled["wide"].ravel()[:2000], filled["kernel"].ravel()[:2000])[0, 1]) < 0.1
